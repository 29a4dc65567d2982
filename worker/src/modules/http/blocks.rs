//! The blocks: `http`, `server`, `location`, `limit_except`; and `server_name`.

use std::rc::Rc;

use conf::{Contexts, Node, Result};

use super::{LOCATION, SERVER};
use crate::build::{Builder, LevelKind, LocationKind, LocationSpec};
use crate::locate::ServerName;
use crate::regex::Regex;

pub(super) fn http(cx: &mut Builder, node: &Node) -> Result<()> {
    if cx.level_mut().children.iter().any(|level| matches!(level.kind, LevelKind::Http)) {
        return Err(node.predicate("is duplicate"));
    }
    cx.block(node, LevelKind::Http, Contexts::HTTP).map(drop)
}

pub(super) fn server(cx: &mut Builder, node: &Node) -> Result<()> {
    cx.block(node, LevelKind::Server, Contexts::SERVER).map(drop)
}

pub(super) fn location(cx: &mut Builder, node: &Node) -> Result<()> {
    let spec = location_spec(node)?;
    if let LevelKind::Location(outer) = cx.kind() {
        check_nesting(node, outer, &spec)?;
    }
    if let LocationKind::Regex(regex) = &spec.kind {
        regex.declare_names(cx, node)?;
    }
    cx.block(node, LevelKind::Location(spec), Contexts::LOCATION).map(drop)
}

fn location_spec(node: &Node) -> Result<LocationSpec> {
    let regex = |pattern: &str, caseless: bool| {
        Regex::new(pattern, caseless).map(LocationKind::Regex).map_err(|error| node.error(error))
    };
    let (kind, name) = match (node.first(), node.arg(1)) {
        ("=", Some(name)) => (LocationKind::Exact, name),
        ("^~", Some(name)) => (LocationKind::PrefixNoRegex, name),
        ("~", Some(name)) => (regex(name, false)?, name),
        ("~*", Some(name)) => (regex(name, true)?, name),
        (other, Some(_)) => return Err(node.error(format!("invalid location modifier \"{other}\""))),
        (name, None) => {
            // the modifier may be written together with the name
            if let Some(rest) = name.strip_prefix("~*") {
                (regex(rest, true)?, rest)
            } else if let Some(rest) = name.strip_prefix("^~") {
                (LocationKind::PrefixNoRegex, rest)
            } else if let Some(rest) = name.strip_prefix('~') {
                (regex(rest, false)?, rest)
            } else if let Some(rest) = name.strip_prefix('=') {
                (LocationKind::Exact, rest)
            } else if name.starts_with('@') {
                (LocationKind::Named, name)
            } else {
                (LocationKind::Prefix, name)
            }
        }
    };
    Ok(LocationSpec { kind, name: name.as_bytes().into() })
}

fn check_nesting(node: &Node, outer: &LocationSpec, inner: &LocationSpec) -> Result<()> {
    let show = |spec: &LocationSpec| String::from_utf8_lossy(&spec.name).into_owned();
    match (&outer.kind, &inner.kind) {
        (LocationKind::Exact, _) => {
            let text = format!(
                "location \"{}\" cannot be inside the exact location \"{}\"",
                show(inner),
                show(outer)
            );
            Err(node.error(text))
        }
        (LocationKind::Named, _) => {
            let text = format!(
                "location \"{}\" cannot be inside the named location \"{}\"",
                show(inner),
                show(outer)
            );
            Err(node.error(text))
        }
        (_, LocationKind::Named) => {
            Err(node.error(format!("named location \"{}\" can be on the server level only", show(inner))))
        }
        (LocationKind::Prefix | LocationKind::PrefixNoRegex, LocationKind::Regex(_)) => Ok(()),
        (LocationKind::Prefix | LocationKind::PrefixNoRegex, _) if !inner.name.starts_with(&outer.name) => {
            Err(node.error(format!("location \"{}\" is outside location \"{}\"", show(inner), show(outer))))
        }
        _ => Ok(()),
    }
}

/// `limit_except method … { }`.
pub(super) fn limit_except(cx: &mut Builder, node: &Node) -> Result<()> {
    let mut methods = Vec::new();
    for name in node.str_args() {
        let method = http1::Method::from_bytes(name.to_ascii_uppercase().as_bytes());
        if matches!(method, http1::Method::Other | http1::Method::Connect | http1::Method::Trace) {
            return Err(node.error(format!("invalid method \"{name}\"")));
        }
        methods.push(method);
        if method == http1::Method::Get {
            methods.push(http1::Method::Head);
        }
    }
    let at = cx.block(node, LevelKind::LimitExcept, Contexts::LIMIT_EXCEPT)?;
    let level = &mut cx.level_mut().children[at];
    level.conf(&LOCATION).set.except_methods.replace(methods.into());
    Ok(())
}

/// `server_name name …`.
pub(super) fn server_name(cx: &mut Builder, node: &Node) -> Result<()> {
    let mut names = Vec::new();
    for text in node.str_args() {
        let shown = if text == "$hostname" {
            nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default()
        } else {
            text.to_owned()
        };
        let name = ServerName::parse(&shown).map_err(|error| node.error(error))?;
        if let ServerName::Regex(regex) = &name {
            regex.declare_names(cx, node)?;
        }
        if shown.contains('/') && !shown.starts_with('~') {
            cx.warn(node.warning(format!("server name \"{shown}\" has suspicious symbols")));
        }
        // patterns keep their case; `.example.com` is called `example.com`
        let display = match &name {
            ServerName::Regex(_) => shown,
            _ => shown.strip_prefix('.').unwrap_or(&shown).to_ascii_lowercase(),
        };
        names.push((display.into_boxed_str(), name));
    }
    let set = cx.server_conf(&SERVER).set.server_names.or_insert_with(|| Rc::from([]));
    *set = set.iter().cloned().chain(names).collect();
    Ok(())
}
