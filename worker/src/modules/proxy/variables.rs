//! `$proxy_host`, `$proxy_port`, `$proxy_add_x_forwarded_for`, and what the default request head is made of.

use std::rc::Rc;

use http1::Known;

use super::target::{self, To};
use crate::request::Request;
use crate::variables::Variable;

/// Where a request goes whose target was made from variables.
pub(super) struct ProxyContext {
    pub(super) host: Rc<[u8]>,
    pub(super) port: Rc<str>,
}

pub(super) static VARIABLES: &[Variable] = &[
    Variable::new("proxy_host", "Name and port of the proxied server as in proxy_pass.", |req, _, out| {
        with_target(req, |host, _| out.extend_from_slice(host))
    }),
    Variable::new(
        "proxy_port",
        "Port of the proxied server as in proxy_pass, or the default port.",
        |req, _, out| with_target(req, |_, port| out.extend_from_slice(port.as_bytes())),
    ),
    Variable::new(
        "proxy_add_x_forwarded_for",
        "X-Forwarded-For of the request with the client's address behind it.",
        add_x_forwarded_for,
    ),
    Variable::new(
        "proxy_internal_body_length",
        "Length of the request body as it is passed on.",
        |req, _, out| {
            if req.body.is_absent() && req.body.declared.is_none() {
                return false;
            }
            let length =
                if req.body.started() { req.body.len() } else { req.body.declared.unwrap_or_default() };
            http1::push_decimal(out, length);
            true
        },
    ),
    Variable::new(
        "proxy_internal_chunked",
        "`chunked` if the request body is passed on in chunks.",
        |req, _, out| {
            let chunked = req.body.framing == http1::Framing::Chunked && !req.body.started();
            if chunked {
                out.extend_from_slice(b"chunked");
            }
            chunked
        },
    ),
];

/// Host and port of this request's target, if there is one.
fn with_target(req: &Request, mut found: impl FnMut(&[u8], &str)) -> bool {
    if let Some(context) = req.context.get::<ProxyContext>() {
        found(&context.host, &context.port);
        return true;
    }
    let conf = req.location.confs.get(&super::CONF);
    let Some(To::Fixed(scheme, url)) = conf.pass.as_ref().map(|pass| &pass.to) else { return false };
    let (host, port) = target::host_and_port(*scheme, url);
    found(&host, &port);
    true
}

fn add_x_forwarded_for(req: &mut Request, _: &[u8], out: &mut Vec<u8>) -> bool {
    for value in req.headers.known_all(Known::XForwardedFor) {
        out.extend_from_slice(value);
        out.extend_from_slice(b", ");
    }
    out.extend_from_slice(req.client.text.as_bytes());
    true
}
