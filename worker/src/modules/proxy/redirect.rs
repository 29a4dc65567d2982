//! `proxy_redirect`.

use std::rc::Rc;

use conf::{Node, Result};

use super::conf::Redirects;
use super::rule::{Pattern, Rule};
use super::target::{Pass, To};
use crate::build::Builder;
use crate::script::Template;

/// The rule that leads redirects of the server back through the location.
pub(super) fn default_rule(pass: &Pass) -> Option<Rule> {
    let To::Fixed(_, url) = &pass.to else { return None };
    let (pattern, replacement) = if url.uri.is_empty() {
        (format!("{}/", pass.text).into_bytes(), b"/".to_vec())
    } else {
        (pass.text.as_bytes().to_vec(), pass.location.to_vec())
    };
    Some(Rule {
        pattern: Pattern::Prefix(Template::literal(pattern)),
        replacement: Template::literal(replacement),
    })
}

/// `proxy_redirect default|off|pattern replacement`.
pub(super) fn apply(cx: &mut Builder, node: &Node) -> Result<()> {
    let duplicate = |cx: &mut Builder| match cx.conf(&super::CONF).set.redirects.as_ref() {
        Some(Redirects::Off) => Err(node.predicate("is duplicate")),
        Some(Redirects::Rules(_)) if node.len() == 1 && node.first() == "off" => {
            Err(node.predicate("is duplicate"))
        }
        _ => Ok(()),
    };
    duplicate(cx)?;
    let rule = match (node.first(), node.len()) {
        ("off", 1) => return cx.conf(&super::CONF).set.redirects.set(Redirects::Off),
        ("default", 1) => default_here(cx, node)?,
        (_, 1) => return Err(node.invalid_parameter(0)),
        _ => Rule::parse(cx, node)?,
    };
    let redirects = &mut cx.conf(&super::CONF).set.redirects;
    let rules = match redirects.as_ref() {
        Some(Redirects::Rules(rules)) => rules.iter().cloned().chain([rule]).collect(),
        _ => Rc::from([rule]),
    };
    redirects.replace(Redirects::Rules(rules));
    Ok(())
}

fn default_here(cx: &mut Builder, node: &Node) -> Result<Rule> {
    let pass = cx.conf(&super::CONF).set.pass.as_ref().cloned().flatten();
    let Some(pass) = pass else {
        return Err(
            node.error("\"proxy_redirect default\" should be placed after the \"proxy_pass\" directive")
        );
    };
    default_rule(&pass).ok_or_else(|| {
        node.error("\"proxy_redirect default\" cannot be used with \"proxy_pass\" directive with variables")
    })
}
