//! Readers of arguments that need more than a helper of [`conf::Node`]. `set` finds the module's settings.

use std::rc::Rc;

use conf::{Node, Result};

use super::PassSettings;
use crate::build::Builder;
use crate::script::Template;
use crate::upstream::{Bind, Conditions, IgnoredHeaders};

type Find = fn(&mut Builder) -> &mut PassSettings;

pub(in crate::modules) fn next_upstream(cx: &mut Builder, node: &Node, set: Find) -> Result<()> {
    next_upstream_of(cx, node, set, Conditions::NAMES)
}

/// `memcached_next_upstream`: reasons have names of their own.
pub(in crate::modules) fn next_upstream_of(
    cx: &mut Builder,
    node: &Node,
    set: Find,
    names: &[(&str, Conditions)],
) -> Result<()> {
    let mut all = set(cx).next_upstream.as_ref().copied().unwrap_or_default();
    for i in 0..node.len() {
        let name = node.arg(i).unwrap_or_default();
        let found = names.iter().find(|(known, _)| *known == name);
        let (_, condition) = found.ok_or_else(|| node.invalid_value(i))?;
        if all.contains(*condition) {
            cx.warn(node.warning(format!("duplicate value \"{name}\"")));
        }
        all = all.or(*condition);
    }
    set(cx).next_upstream.replace(all);
    Ok(())
}

pub(in crate::modules) fn ignore_headers(cx: &mut Builder, node: &Node, set: Find) -> Result<()> {
    let mut all = set(cx).ignore_headers.as_ref().copied().unwrap_or_default();
    for i in 0..node.len() {
        let name = node.arg(i).unwrap_or_default();
        let found = IgnoredHeaders::NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        let (_, header) = found.ok_or_else(|| node.invalid_value(i))?;
        if all.contains(*header) {
            cx.warn(node.warning(format!("duplicate value \"{name}\"")));
        }
        all = IgnoredHeaders(all.0 | header.0);
    }
    set(cx).ignore_headers.replace(all);
    Ok(())
}

/// `*_bind address [transparent] | off`.
pub(in crate::modules) fn bind(cx: &mut Builder, node: &Node, set: Find) -> Result<()> {
    set(cx).bind.check_unset()?;
    let text = node.first();
    if text == "off" && node.len() == 1 {
        return set(cx).bind.set(None);
    }
    let mut addr = None;
    if !text.contains('$') {
        let parsed = conf::value::addr::parse_ip_port(text);
        addr = Some(parsed.ok_or_else(|| node.error(format!("invalid address \"{text}\"")))?.into());
    }
    let transparent = match node.arg(1) {
        None => false,
        Some("transparent") => true,
        Some(_) => return Err(node.invalid_parameter(1)),
    };
    let text = Rc::new(Template::parse(cx, node, text)?);
    set(cx).bind.set(Some(Bind { addr, text, transparent }))
}

pub(in crate::modules) fn limit_rate(cx: &mut Builder, node: &Node, set: Find) -> Result<()> {
    if !node.first().contains('$') {
        node.size()?;
    }
    let template = Rc::new(Template::parse(cx, node, node.first())?);
    set(cx).limit_rate.set(template)
}

pub(in crate::modules) fn temp_path(cx: &mut Builder, node: &Node, set: Find) -> Result<()> {
    set(cx).temp_path.check_unset()?;
    let path = crate::modules::http::directives::parse_temp_path(cx, node)?;
    set(cx).temp_path.set(Rc::new(path))
}

pub(in crate::modules) fn hide_header(cx: &mut Builder, node: &Node, set: Find) -> Result<()> {
    push(set(cx).hide_headers.or_insert_with(|| Rc::from([])), node);
    Ok(())
}

pub(in crate::modules) fn pass_header(cx: &mut Builder, node: &Node, set: Find) -> Result<()> {
    push(set(cx).pass_headers.or_insert_with(|| Rc::from([])), node);
    Ok(())
}

fn push(names: &mut Rc<[Box<[u8]>]>, node: &Node) {
    *names = names.iter().cloned().chain([node.bytes(0).into()]).collect();
}
