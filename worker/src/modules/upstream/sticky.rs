//! `sticky cookie|route|learn …`.

use conf::value::{size, time};
use conf::{Arity, Contexts, Directive, Node, Result, Shape};

use super::zone::SIZE_MIN;
use super::{CONF, GROUPS};
use crate::balance::{Cookie, Expires, Learn, Sticky, is_same_site};
use crate::build::{Builder, LevelKind};
use crate::script::Template;
use crate::variables::VarId;
use crate::zone::ZoneKind;

/// Default of `timeout=`, ms.
const TIMEOUT_MS: u64 = 600_000;

pub(super) static DIRECTIVES: &[Directive<Builder>] = &[Directive {
    name: "sticky",
    contexts: Contexts::UPSTREAM,
    arity: Arity::AtLeast(2),
    shape: Shape::Simple,
    default: "",
    doc: "Sends the requests of a session to one server: by a cookie (`cookie`), a variable (`route`), or sessions the servers begin (`learn`).",
    apply: sticky,
}];

fn sticky(cx: &mut Builder, node: &Node) -> Result<()> {
    if cx.conf(&CONF).sticky.is_some() {
        return Err(node.predicate("is duplicate"));
    }
    let sticky = match node.first() {
        "cookie" => cookie(cx, node)?,
        "route" => {
            let lookup = (1..node.len()).map(|at| route(cx, node, at)).collect::<Result<_>>()?;
            Sticky { lookup, cookie: None, learn: None }
        }
        "learn" => learn(cx, node)?,
        other => return Err(node.error(format!("unknown parameter \"{other}\""))),
    };
    cx.conf(&CONF).sticky = Some(sticky);
    Ok(())
}

fn route(cx: &mut Builder, node: &Node, at: usize) -> Result<VarId> {
    let text = node.arg(at).unwrap_or_default();
    match text.strip_prefix('$') {
        Some(name) => Ok(cx.variables.use_name(name, &node.span)),
        None => Err(node.error(format!("invalid variable name \"{text}\""))),
    }
}

/// Takes a parameter that may be given once.
fn once<T>(node: &Node, place: &mut Option<T>, name: &str, value: T) -> Result<()> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(node.predicate(&format!("parameter \"{name}\" is duplicate"))),
    }
}

fn cookie(cx: &mut Builder, node: &Node) -> Result<Sticky> {
    let name = node.second();
    if name.is_empty() {
        return Err(node.predicate("empty cookie name"));
    }
    let mut cookie = Cookie {
        name: name.as_bytes().into(),
        domain: None,
        path: None,
        expires: None,
        http_only: false,
        secure: false,
        same_site: None,
    };
    let (mut http_only, mut secure) = (None, None);
    for at in 2..node.len() {
        let text = node.arg(at).unwrap_or_default();
        match text.split_once('=') {
            Some((name @ ("domain" | "path"), "")) => {
                return Err(node.predicate(&format!("no value for \"{name}\"")));
            }
            Some(("domain", value)) => {
                let template = Template::parse(cx, node, value)?;
                once(node, &mut cookie.domain, "domain", template)?;
            }
            Some(("path", value)) => once(node, &mut cookie.path, "path", value.as_bytes().into())?,
            Some(("expires", value)) => once(node, &mut cookie.expires, "expires", expires(node, value)?)?,
            Some(("samesite", value)) => {
                let template = Template::parse(cx, node, value)?;
                if template.as_literal().is_some_and(|value| !is_same_site(value)) {
                    return Err(node.predicate("invalid \"samesite\" parameter value"));
                }
                once(node, &mut cookie.same_site, "samesite", template)?;
            }
            None if text == "httponly" => once(node, &mut http_only, text, ())?,
            None if text == "secure" => once(node, &mut secure, text, ())?,
            _ => return Err(node.error(format!("unknown parameter \"{text}\""))),
        }
    }
    (cookie.http_only, cookie.secure) = (http_only.is_some(), secure.is_some());
    let variable = cx.variables.use_name(&format!("cookie_{name}"), &node.span);
    Ok(Sticky { lookup: vec![variable], cookie: Some(cookie), learn: None })
}

fn expires(node: &Node, value: &str) -> Result<Expires> {
    match value {
        "max" => Ok(Expires::Max),
        _ => match time::parse_sec(value) {
            Some(seconds) => Ok(Expires::After(seconds)),
            None => Err(node.predicate("invalid \"expires\" parameter value")),
        },
    }
}

fn learn(cx: &mut Builder, node: &Node) -> Result<Sticky> {
    let (mut zone, mut timeout, mut header) = (None, None, false);
    let (mut create, mut lookup) = (Vec::new(), Vec::new());
    for at in 1..node.len() {
        let text = node.arg(at).unwrap_or_default();
        match text.split_once('=') {
            Some(("zone", value)) => {
                if zone.replace(zone_size(node, value)?).is_some() {
                    return Err(node.predicate("duplicate zone"));
                }
            }
            Some(("timeout", value)) => {
                let parsed = time::parse_ms(value).filter(|ms| *ms > 0);
                if timeout.is_some() {
                    return Err(node.predicate("duplicate timeout"));
                }
                timeout = Some(parsed.ok_or_else(|| node.predicate("invalid timeout"))?);
            }
            Some((name @ ("create" | "lookup"), value)) => {
                let Some(variable) = value.strip_prefix('$') else {
                    return Err(node.predicate(&format!("missing variable in the \"{name}\" parameter")));
                };
                let id = cx.variables.use_name(variable, &node.span);
                if name == "create" { create.push(id) } else { lookup.push(id) }
            }
            None if text == "header" => header = true,
            _ => return Err(node.error(format!("unknown parameter \"{text}\""))),
        }
    }
    let unspecified = |name: &str| node.predicate(&format!("\"{name}\" parameter is not specified"));
    if lookup.is_empty() {
        return Err(unspecified("lookup"));
    }
    if create.is_empty() {
        return Err(unspecified("create"));
    }
    let (name, size) = zone.ok_or_else(|| unspecified("zone"))?;
    check_unused(cx, node, name)?;
    let zone = cx.zone(node, name, Some(size), ZoneKind::Sticky)?;
    let learn = Learn::new(create, zone, timeout.unwrap_or(TIMEOUT_MS), header);
    Ok(Sticky { lookup, cookie: None, learn: Some(learn) })
}

fn zone_size<'a>(node: &Node, value: &'a str) -> Result<(&'a str, usize)> {
    match value.split_once(':') {
        None => Err(node.predicate("zone size is not specified")),
        Some(("", _)) => Err(node.predicate("zone name is not specified")),
        Some((name, size)) => match size::parse_size(size) {
            None => Err(node.predicate("invalid zone size")),
            Some(size) if size < SIZE_MIN => Err(node.predicate("zone is too small")),
            Some(size) => Ok((name, size)),
        },
    }
}

/// Each upstream has sessions of its own.
fn check_unused(cx: &mut Builder, node: &Node, zone: &str) -> Result<()> {
    let LevelKind::Upstream(own) = cx.kind().clone() else { return Ok(()) };
    let used = &mut cx.http_conf(&GROUPS).sticky_zones;
    if let Some((_, upstream)) = used.iter().find(|(name, _)| &**name == zone) {
        return Err(node.error(format!("sticky zone \"{zone}\" is already used in upstream \"{upstream}\"")));
    }
    used.push((zone.into(), own));
    Ok(())
}
