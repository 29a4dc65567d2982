//! Readers of arguments that need more than a helper of [`conf::Node`].

use std::rc::Rc;

use conf::{Node, Result};
use http1::Version;

use super::CONF;
use super::cookie::CookieFlags;
use super::rule::Rule;
use crate::build::Builder;
use crate::script::Template;
use crate::upstream::{Bind, Conditions, IgnoredHeaders};

pub(super) fn next_upstream(cx: &mut Builder, node: &Node) -> Result<()> {
    let mut all = cx.conf(&CONF).set.next_upstream.as_ref().copied().unwrap_or_default();
    for i in 0..node.len() {
        let name = node.arg(i).unwrap_or_default();
        let found = Conditions::NAMES.iter().find(|(known, _)| *known == name);
        let (_, condition) = found.ok_or_else(|| node.invalid_value(i))?;
        if all.contains(*condition) {
            cx.warn(node.warning(format!("duplicate value \"{name}\"")));
        }
        all = all.or(*condition);
    }
    cx.conf(&CONF).set.next_upstream.replace(all);
    Ok(())
}

pub(super) fn ignore_headers(cx: &mut Builder, node: &Node) -> Result<()> {
    let mut all = cx.conf(&CONF).set.ignore_headers.as_ref().copied().unwrap_or_default();
    for i in 0..node.len() {
        let name = node.arg(i).unwrap_or_default();
        let found = IgnoredHeaders::NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        let (_, header) = found.ok_or_else(|| node.invalid_value(i))?;
        if all.contains(*header) {
            cx.warn(node.warning(format!("duplicate value \"{name}\"")));
        }
        all = IgnoredHeaders(all.0 | header.0);
    }
    cx.conf(&CONF).set.ignore_headers.replace(all);
    Ok(())
}

/// `proxy_bind address [transparent] | off`.
pub(super) fn bind(cx: &mut Builder, node: &Node) -> Result<()> {
    cx.conf(&CONF).set.bind.check_unset()?;
    let text = node.first();
    if text == "off" && node.len() == 1 {
        return cx.conf(&CONF).set.bind.set(None);
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
    cx.conf(&CONF).set.bind.set(Some(Bind { addr, text, transparent }))
}

pub(super) fn http_version(cx: &mut Builder, node: &Node) -> Result<()> {
    let version = match node.first() {
        "1.0" => Version::HTTP_10,
        "1.1" => Version::HTTP_11,
        "2" => {
            return Err(conf::Error::unsupported(
                &node.span,
                "\"proxy_http_version 2\" is not supported yet (ngx_http_proxy_v2_module)",
            ));
        }
        _ => return Err(node.invalid_value(0)),
    };
    cx.conf(&CONF).set.http_version.set(version)
}

pub(super) fn method(cx: &mut Builder, node: &Node) -> Result<()> {
    let template = Rc::new(Template::parse(cx, node, node.first())?);
    cx.conf(&CONF).set.method.set(Some(template))
}

pub(super) fn set_body(cx: &mut Builder, node: &Node) -> Result<()> {
    let template = Rc::new(Template::parse(cx, node, node.first())?);
    cx.conf(&CONF).set.set_body.set(Some(template))
}

pub(super) fn limit_rate(cx: &mut Builder, node: &Node) -> Result<()> {
    if !node.first().contains('$') {
        node.size()?;
    }
    let template = Rc::new(Template::parse(cx, node, node.first())?);
    cx.conf(&CONF).set.limit_rate.set(template)
}

pub(super) fn temp_path(cx: &mut Builder, node: &Node) -> Result<()> {
    cx.conf(&CONF).set.temp_path.check_unset()?;
    let path = crate::modules::http::directives::parse_temp_path(cx, node)?;
    cx.conf(&CONF).set.temp_path.set(Rc::new(path))
}

pub(super) fn hide_header(cx: &mut Builder, node: &Node) -> Result<()> {
    let names = cx.conf(&CONF).set.hide_headers.or_insert_with(|| Rc::from([]));
    *names = names.iter().cloned().chain([node.bytes(0).into()]).collect();
    Ok(())
}

pub(super) fn pass_header(cx: &mut Builder, node: &Node) -> Result<()> {
    let names = cx.conf(&CONF).set.pass_headers.or_insert_with(|| Rc::from([]));
    *names = names.iter().cloned().chain([node.bytes(0).into()]).collect();
    Ok(())
}

pub(super) fn cookie_domain(cx: &mut Builder, node: &Node) -> Result<()> {
    if !one_is_off(cx, node, |cx| cx.conf(&CONF).set.cookie_domains.as_ref().map(|rules| rules.len()))? {
        let rule = Rule::parse_domain(cx, node)?;
        append(cx.conf(&CONF).set.cookie_domains.or_insert_with(|| Rc::from([])), rule);
        return Ok(());
    }
    cx.conf(&CONF).set.cookie_domains.set(Rc::from([]))
}

pub(super) fn cookie_path(cx: &mut Builder, node: &Node) -> Result<()> {
    if !one_is_off(cx, node, |cx| cx.conf(&CONF).set.cookie_paths.as_ref().map(|rules| rules.len()))? {
        let rule = Rule::parse(cx, node)?;
        append(cx.conf(&CONF).set.cookie_paths.or_insert_with(|| Rc::from([])), rule);
        return Ok(());
    }
    cx.conf(&CONF).set.cookie_paths.set(Rc::from([]))
}

pub(super) fn cookie_flags(cx: &mut Builder, node: &Node) -> Result<()> {
    if !one_is_off(cx, node, |cx| cx.conf(&CONF).set.cookie_flags.as_ref().map(|rules| rules.len()))? {
        let rule = CookieFlags::parse(cx, node)?;
        append(cx.conf(&CONF).set.cookie_flags.or_insert_with(|| Rc::from([])), rule);
        return Ok(());
    }
    cx.conf(&CONF).set.cookie_flags.set(Rc::from([]))
}

/// Whether the single argument is `off`. `off` and rules exclude each other; `count` tells how many there are.
fn one_is_off(cx: &mut Builder, node: &Node, count: impl Fn(&mut Builder) -> Option<usize>) -> Result<bool> {
    if count(cx) == Some(0) {
        return Err(node.predicate("is duplicate"));
    }
    match (node.len(), node.first()) {
        (1, "off") if count(cx).is_some() => Err(node.predicate("is duplicate")),
        (1, "off") => Ok(true),
        (1, _) => Err(node.invalid_parameter(0)),
        _ => Ok(false),
    }
}

fn append<T: Clone>(list: &mut Rc<[T]>, item: T) {
    *list = list.iter().cloned().chain([item]).collect();
}
