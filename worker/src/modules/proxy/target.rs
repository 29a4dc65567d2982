//! Where `proxy_pass` leads.

use std::rc::Rc;

use conf::value::url::{self, Url};
use conf::{Node, Result, Span};

use super::super::http::LOCATION;
use crate::build::{Builder, LevelKind, LocationKind};
use crate::fault::{Fault, Kind, Side};
use crate::request::Request;
use crate::script::Template;
use crate::upstream::{Upstream, resolver};

/// The argument of `proxy_pass`.
#[derive(Debug)]
pub struct Pass {
    /// The text as written.
    pub(super) text: Box<str>,
    pub(super) span: Span,
    /// What of a request's path the URI part replaces: the location's name; empty: nothing.
    pub(super) location: Box<[u8]>,
    pub(super) to: To,
}

/// See [`Pass`].
#[derive(Debug)]
pub(super) enum To {
    /// Known when the configuration is read.
    Fixed(Url),
    /// Made from variables.
    Template(Template),
}

/// The only scheme so far.
pub(super) const HTTP: &str = "http://";
const HTTP_PORT: u16 = 80;

fn options() -> url::Options {
    url::Options { default_port: HTTP_PORT, uri_part: true, no_resolve: true, ..url::Options::default() }
}

/// `proxy_pass URL`.
pub(super) fn apply(cx: &mut Builder, node: &Node) -> Result<()> {
    check_unset(cx)?;
    let text = node.first();
    let (name, plain) = location_name(cx.kind());
    if name.ends_with(b"/") {
        cx.conf(&LOCATION).set.auto_redirect.replace(true);
    }
    let (to, location) = if text.contains('$') {
        (To::Template(Template::parse(cx, node, text)?), Box::default())
    } else {
        let url = parse(node, text)?;
        if !plain && !url.uri.is_empty() {
            return Err(node.error(
                "\"proxy_pass\" cannot have URI part in location given by regular expression, or inside named \
                 location, or inside \"if\" statement, or inside \"limit_except\" block",
            ));
        }
        (To::Fixed(url), if plain { name } else { Box::default() })
    };
    let pass = Pass { text: text.into(), span: node.span.clone(), location, to };
    cx.conf(&super::CONF).set.pass.set(Some(Rc::new(pass)))
}

fn check_unset(cx: &mut Builder) -> Result<()> {
    cx.conf(&super::CONF).set.pass.check_unset()
}

fn parse(node: &Node, text: &str) -> Result<Url> {
    let prefix =
        |scheme: &str| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    if prefix("https://") {
        return Err(conf::Error::unsupported(
            &node.span,
            "https in \"proxy_pass\" is not supported yet (ngx_http_proxy_module)",
        ));
    }
    if !prefix(HTTP) {
        return Err(node.error("invalid URL prefix"));
    }
    let rest = &text[HTTP.len()..];
    url::parse(rest, options()).map_err(|error| node.error(format!("{error} in upstream \"{rest}\"")))
}

/// The location's name, and whether it is a plain prefix or path that a URI part may replace.
fn location_name(kind: &LevelKind) -> (Box<[u8]>, bool) {
    match kind {
        LevelKind::Location(spec) => {
            let plain = !matches!(spec.kind, LocationKind::Regex(_) | LocationKind::Named);
            (spec.name.clone(), plain)
        }
        _ => (Box::default(), false),
    }
}

/// Where one request goes.
pub(super) struct Target {
    pub(super) upstream: Rc<Upstream>,
    /// `$proxy_host`: host, with its port unless it is the default one.
    pub(super) host: Rc<[u8]>,
    /// `$proxy_port`.
    pub(super) port: Rc<str>,
    /// The URI part, for targets made from variables; empty: none.
    pub(super) uri: Vec<u8>,
}

/// `$proxy_host` and `$proxy_port` of an address.
pub(super) fn host_and_port(url: &Url) -> (Rc<[u8]>, Rc<str>) {
    if url.port == 0 {
        return (Rc::from(*b"localhost"), "".into());
    }
    if url.no_port || url.port == HTTP_PORT {
        return (url.host.as_bytes().into(), "80".into());
    }
    (format!("{}:{}", url.host, url.port_text).into_bytes().into(), url.port_text.as_str().into())
}

/// Evaluates a target made from variables.
pub(super) async fn evaluate(req: &mut Request, template: &Template) -> std::result::Result<Target, Fault> {
    let text = String::from_utf8_lossy(&template.eval(req)).into_owned();
    let us = |text: String| Fault::new(Side::Us, Kind::System, 500, text);
    let prefix =
        |scheme: &str| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    if prefix("https://") {
        return Err(us("https in \"proxy_pass\" is not supported yet".to_owned()));
    }
    if !prefix(HTTP) {
        return Err(us(format!("invalid URL prefix in \"{text}\"")));
    }
    let rest = &text[HTTP.len()..];
    let url = url::parse(rest, options()).map_err(|error| us(format!("{error} in upstream \"{rest}\"")))?;
    let upstream = find(req, &url).await?;
    let (host, port) = host_and_port(&url);
    let mut uri = url.uri.into_bytes();
    if uri.first() == Some(&b'?') {
        uri.insert(0, b'/');
    }
    Ok(Target { upstream, host, port, uri })
}

/// The group for a name at run time: one of the configuration, an address, or what the name resolves to.
pub(in crate::modules) async fn find(
    req: &mut Request,
    url: &Url,
) -> std::result::Result<Rc<Upstream>, Fault> {
    if let Some(found) = req.config.upstream_table.find(&url.host, url.port, url.no_port) {
        return Ok(Rc::clone(found));
    }
    if !url.addresses.is_empty() {
        let server = if url.port == 0 { format!("unix:{}", url.host) } else { url.host.clone() };
        return Ok(Rc::new(Upstream::of_addresses(&url.host, &server, &url.addresses)));
    }
    let bad_gateway = |text: String| Fault::new(Side::Us, Kind::Connect, 502, text);
    let Some(resolver) = resolver(req) else {
        return Err(bad_gateway(format!("no resolver defined to resolve {}", url.host)));
    };
    match resolver.resolve(&url.host).await {
        Ok(ips) => Ok(Rc::new(Upstream::of_ips(&url.host, url.port, &ips))),
        Err(error) => Err(bad_gateway(format!("{} could not be resolved {error}", url.host))),
    }
}
