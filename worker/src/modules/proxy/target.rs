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
    Fixed(Scheme, Url),
    /// Made from variables.
    Template(Template),
}

/// How servers are spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scheme {
    /// In front of addresses.
    pub(super) prefix: &'static str,
    /// Where no port is named.
    port: u16,
    /// Connections are TLS.
    pub(super) secure: bool,
}

const SCHEMES: [Scheme; 2] = [
    Scheme { prefix: "http://", port: 80, secure: false },
    Scheme { prefix: "https://", port: 443, secure: true },
];

impl Scheme {
    /// The scheme `text` begins with, and the rest.
    fn split(text: &str) -> Option<(Self, &str)> {
        let begins = |scheme: &Self| {
            text.get(..scheme.prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme.prefix))
        };
        SCHEMES.into_iter().find(begins).map(|scheme| (scheme, &text[scheme.prefix.len()..]))
    }

    fn options(self) -> url::Options {
        url::Options { default_port: self.port, uri_part: true, no_resolve: true, ..url::Options::default() }
    }
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
        let (scheme, url) = parse(node, text)?;
        if !plain && !url.uri.is_empty() {
            return Err(node.error(
                "\"proxy_pass\" cannot have URI part in location given by regular expression, or inside named \
                 location, or inside \"if\" statement, or inside \"limit_except\" block",
            ));
        }
        (To::Fixed(scheme, url), if plain { name } else { Box::default() })
    };
    let pass = Pass { text: text.into(), span: node.span.clone(), location, to };
    cx.conf(&super::CONF).set.pass.set(Some(Rc::new(pass)))
}

fn check_unset(cx: &mut Builder) -> Result<()> {
    cx.conf(&super::CONF).set.pass.check_unset()
}

fn parse(node: &Node, text: &str) -> Result<(Scheme, Url)> {
    let Some((scheme, rest)) = Scheme::split(text) else { return Err(node.error("invalid URL prefix")) };
    let url = url::parse(rest, scheme.options())
        .map_err(|error| node.error(format!("{error} in upstream \"{rest}\"")))?;
    Ok((scheme, url))
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
    pub(super) scheme: Scheme,
    pub(super) upstream: Rc<Upstream>,
    /// `$proxy_host`: host, with its port unless it is the default one.
    pub(super) host: Rc<[u8]>,
    /// `$proxy_port`.
    pub(super) port: Rc<str>,
    /// The URI part, for targets made from variables; empty: none.
    pub(super) uri: Vec<u8>,
}

/// `$proxy_host` and `$proxy_port` of an address.
pub(super) fn host_and_port(scheme: Scheme, url: &Url) -> (Rc<[u8]>, Rc<str>) {
    if url.port == 0 {
        return (Rc::from(*b"localhost"), "".into());
    }
    if url.no_port || url.port == scheme.port {
        return (url.host.as_bytes().into(), scheme.port.to_string().into());
    }
    (format!("{}:{}", url.host, url.port_text).into_bytes().into(), url.port_text.as_str().into())
}

/// Evaluates a target made from variables.
pub(super) async fn evaluate(req: &mut Request, template: &Template) -> std::result::Result<Target, Fault> {
    let text = String::from_utf8_lossy(&template.eval(req)).into_owned();
    let us = |text: String| Fault::new(Side::Us, Kind::System, 500, text);
    let Some((scheme, rest)) = Scheme::split(&text) else {
        return Err(us(format!("invalid URL prefix in \"{text}\"")));
    };
    let url =
        url::parse(rest, scheme.options()).map_err(|error| us(format!("{error} in upstream \"{rest}\"")))?;
    let upstream = find(req, &url).await?;
    let (host, port) = host_and_port(scheme, &url);
    let mut uri = url.uri.into_bytes();
    if uri.first() == Some(&b'?') {
        uri.insert(0, b'/');
    }
    Ok(Target { scheme, upstream, host, port, uri })
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
