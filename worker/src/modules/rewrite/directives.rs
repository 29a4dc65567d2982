//! The directives of the rewrite module.

use conf::{Arity, Contexts, Directive, Node, Result, Shape};

use super::CONF;
use super::condition::Condition;
use super::program::{Code, Replacement, RewriteCode};
use crate::build::{Builder, LevelKind};
use crate::modules::http;
use crate::regex::Regex;
use crate::script::Template;
use crate::variables::{Source, VarId};

/// Servers, locations and `if` blocks of both.
const BLOCKS: Contexts =
    Contexts::SERVER.or(Contexts::LOCATION).or(Contexts::SERVER_IF).or(Contexts::LOCATION_IF);

pub(super) static DIRECTIVES: &[Directive<Builder>] = &[
    Directive {
        name: "rewrite",
        contexts: BLOCKS,
        arity: Arity::Range(2, 3),
        shape: Shape::Simple,
        default: "",
        doc: "Replaces a URI that matches a pattern, or redirects the client.",
        apply: rewrite,
    },
    Directive {
        name: "return",
        contexts: BLOCKS,
        arity: Arity::Range(1, 2),
        shape: Shape::Simple,
        default: "",
        doc: "Answers with a status and a text, or redirects the client.",
        apply: return_,
    },
    Directive {
        name: "break",
        contexts: BLOCKS,
        arity: Arity::Exactly(0),
        shape: Shape::Simple,
        default: "",
        doc: "Ends the rewrite instructions.",
        apply: |cx, _| {
            push(cx, Code::Break);
            Ok(())
        },
    },
    Directive {
        name: "if",
        contexts: Contexts::SERVER.or(Contexts::LOCATION),
        arity: Arity::AtLeast(1),
        shape: Shape::Block,
        default: "",
        doc: "Rewrite instructions and settings under a condition.",
        apply: if_,
    },
    Directive {
        name: "set",
        contexts: BLOCKS,
        arity: Arity::Exactly(2),
        shape: Shape::Simple,
        default: "",
        doc: "Assigns a variable.",
        apply: set,
    },
    Directive {
        name: "rewrite_log",
        contexts: Contexts::HTTP.or(BLOCKS),
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "off",
        doc: "Logs what rewrite instructions do, at notice.",
        apply: |cx, node| cx.conf(&CONF).log.set(node.flag()?),
    },
    Directive {
        name: "uninitialized_variable_warn",
        contexts: Contexts::HTTP.or(BLOCKS),
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "on",
        doc: "Warns about variables of set that were not assigned.",
        apply: |cx, node| cx.conf(&http::LOCATION).set.uninitialized_variable_warn.set(node.flag()?),
    },
];

fn push(cx: &mut Builder, code: Code) {
    cx.conf_around_if(&CONF).codes.push(code);
}

/// `rewrite pattern replacement [flag]`.
fn rewrite(cx: &mut Builder, node: &Node) -> Result<()> {
    let text = node.second();
    if text.is_empty() {
        return Err(node.error("empty replacement"));
    }
    let regex = Regex::new(node.first(), false).map_err(|error| node.error(error))?;
    regex.declare_names(cx, node)?;
    let (text, keeps_args) = match text.strip_suffix('?') {
        Some(text) => (text, false),
        None => (text, true),
    };
    let mut redirect = is_absolute(node.second()).then_some(302);
    let mut is_last = redirect.is_some();
    let mut stays = false;
    if let Some(flag) = node.arg(2) {
        is_last = true;
        match flag {
            "last" => {}
            "break" => stays = true,
            "redirect" => redirect = Some(302),
            "permanent" => redirect = Some(301),
            _ => return Err(node.invalid_parameter(2)),
        }
    }
    let replacement = match (redirect, text.split_once('?')) {
        (Some(status), split) => {
            let target = Template::parse(cx, node, text)?;
            Replacement::Redirect { target, has_args: split.is_some(), status }
        }
        (None, Some((path, args))) => {
            let (path, args) = (Template::parse(cx, node, path)?, Template::parse(cx, node, args)?);
            Replacement::Uri { path, args: Some(args), stays }
        }
        (None, None) => Replacement::Uri { path: Template::parse(cx, node, text)?, args: None, stays },
    };
    push(cx, Code::Rewrite(Box::new(RewriteCode { regex, replacement, keeps_args, is_last })));
    Ok(())
}

fn is_absolute(text: &str) -> bool {
    ["http://", "https://", "$scheme"].iter().any(|start| text.starts_with(start))
}

/// `return code [text | URL]` and `return URL`.
fn return_(cx: &mut Builder, node: &Node) -> Result<()> {
    const STATUS_MAX: u64 = 999;
    let invalid = || node.error(format!("invalid return code \"{}\"", node.first()));
    let (status, text) = match conf::value::number::parse(node.first()) {
        Some(status) if status <= STATUS_MAX => (status as u16, node.second()),
        Some(_) => return Err(invalid()),
        None if node.len() == 1 && is_absolute(node.first()) => (302, node.first()),
        None => return Err(invalid()),
    };
    let text = Template::parse(cx, node, text)?;
    push(cx, Code::Return { status, text });
    Ok(())
}

/// `set $variable value`.
fn set(cx: &mut Builder, node: &Node) -> Result<()> {
    let variable = assigned(cx, node, node.first())?;
    let value = Template::parse(cx, node, node.second())?;
    push(cx, Code::Set { variable, value });
    Ok(())
}

/// Declares the variable written as `name` to be assigned by instructions.
pub(super) fn assigned(cx: &mut Builder, node: &Node, name: &str) -> Result<VarId> {
    let Some(bare) = name.strip_prefix('$') else {
        return Err(node.error(format!("invalid variable name \"{name}\"")));
    };
    if bare.is_empty() {
        return Err(node.error("invalid variable name \"$\""));
    }
    cx.variables.declare(node, bare, Source::Set, true)
}

/// `if (condition) { … }`.
fn if_(cx: &mut Builder, node: &Node) -> Result<()> {
    let condition = Box::new(Condition::parse(cx, node)?);
    let in_location = matches!(cx.kind(), LevelKind::Location(_));
    let ifs = cx.level_mut().children.iter().filter(|level| matches!(level.kind, LevelKind::If));
    let block = in_location.then(|| ifs.count());
    let at = cx.conf(&CONF).codes.len();
    push(cx, Code::If { condition, block, behind: usize::MAX });
    let context = if in_location { Contexts::LOCATION_IF } else { Contexts::SERVER_IF };
    cx.block(node, LevelKind::If, context)?;
    let codes = &mut cx.conf(&CONF).codes;
    let end = codes.len();
    if let Some(Code::If { behind, .. }) = codes.get_mut(at) {
        *behind = end;
    }
    Ok(())
}
