//! `ngx_http_uwsgi_module`: passes requests to uwsgi servers.
//!
//! A request is a packet of parameters with two modifiers, and the body as it is; a response is what a CGI program writes, or HTTP, and
//! ends with the connection.

use std::rc::Rc;

use ::conf::{Arity, Contexts, Directive, Result, Shape};

use super::pass::params::{self, Param, Params};
use super::pass::{Codec, Encoded, PassConf, cgi, pass_directive, target};
use crate::build::{Builder, Conf, LevelKind, MergeCx, Slot};
use crate::fault::Fault;
use crate::module::{Attach, Module};
use crate::request::Request;
use crate::settings;
use crate::upstream::Protocol;

/// The module.
pub const MODULE: Uwsgi = Uwsgi;

static CONF: Slot<UwsgiConf> = Slot::new();

/// See the module's documentation.
pub struct Uwsgi;

const HSL: Contexts = Contexts::HTTP_SERVER_LOCATION;

static DIRECTIVES: &[Directive<Builder>] = &[
    Directive {
        name: "uwsgi_pass",
        contexts: Contexts::LOCATION.or(Contexts::LOCATION_IF),
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "",
        doc: "Address of the uwsgi server requests are passed to.",
        apply: |cx, node| target::apply(cx, node, |cx| &mut cx.conf(&CONF).pass.set, strip),
    },
    Directive {
        name: "uwsgi_param",
        contexts: HSL,
        arity: Arity::Range(2, 3),
        shape: Shape::Simple,
        default: "",
        doc: "A parameter passed to the server; with `if_not_empty` only if it has a value.",
        apply: |cx, node| {
            let param = params::parse(cx, node)?;
            let list = cx.conf(&CONF).own.set.params.or_insert_with(|| Rc::from([]));
            *list = list.iter().cloned().chain([param]).collect();
            Ok(())
        },
    },
    Directive {
        name: "uwsgi_modifier1",
        contexts: HSL,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "0",
        doc: "First modifier of packets, which says what the server is to do with them.",
        apply: |cx, node| {
            cx.conf(&CONF).own.set.modifier1.check_unset()?;
            let value = node.in_bounds(node.number()?, 0, Some(255))?;
            cx.conf(&CONF).own.set.modifier1.set(value as u8)
        },
    },
    Directive {
        name: "uwsgi_modifier2",
        contexts: HSL,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "0",
        doc: "Second modifier of packets.",
        apply: |cx, node| {
            cx.conf(&CONF).own.set.modifier2.check_unset()?;
            let value = node.in_bounds(node.number()?, 0, Some(255))?;
            cx.conf(&CONF).own.set.modifier2.set(value as u8)
        },
    },
    Directive {
        name: "uwsgi_string",
        contexts: HSL,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "",
        doc: "Bytes behind the parameters of packets.",
        apply: |cx, node| cx.conf(&CONF).own.set.string.set(node.bytes(0).into()),
    },
    pass_directive!(buffering, "uwsgi_buffering", CONF),
    pass_directive!(request_buffering, "uwsgi_request_buffering", CONF),
    pass_directive!(ignore_client_abort, "uwsgi_ignore_client_abort", CONF),
    pass_directive!(bind, "uwsgi_bind", CONF),
    pass_directive!(socket_keepalive, "uwsgi_socket_keepalive", CONF),
    pass_directive!(socket_rcvbuf, "uwsgi_socket_rcvbuf", CONF),
    pass_directive!(socket_sndbuf, "uwsgi_socket_sndbuf", CONF),
    pass_directive!(connect_timeout, "uwsgi_connect_timeout", CONF),
    pass_directive!(send_timeout, "uwsgi_send_timeout", CONF),
    pass_directive!(buffer_size, "uwsgi_buffer_size", CONF),
    pass_directive!(pass_request_headers, "uwsgi_pass_request_headers", CONF),
    pass_directive!(pass_request_body, "uwsgi_pass_request_body", CONF),
    pass_directive!(intercept_errors, "uwsgi_intercept_errors", CONF),
    pass_directive!(read_timeout, "uwsgi_read_timeout", CONF),
    pass_directive!(buffers, "uwsgi_buffers", CONF),
    pass_directive!(busy_buffers_size, "uwsgi_busy_buffers_size", CONF),
    pass_directive!(force_ranges, "uwsgi_force_ranges", CONF),
    pass_directive!(limit_rate, "uwsgi_limit_rate", CONF),
    pass_directive!(temp_path, "uwsgi_temp_path", CONF),
    pass_directive!(max_temp_file_size, "uwsgi_max_temp_file_size", CONF),
    pass_directive!(temp_file_write_size, "uwsgi_temp_file_write_size", CONF),
    pass_directive!(next_upstream, "uwsgi_next_upstream", CONF),
    pass_directive!(next_upstream_tries, "uwsgi_next_upstream_tries", CONF),
    pass_directive!(next_upstream_timeout, "uwsgi_next_upstream_timeout", CONF),
    pass_directive!(pass_header, "uwsgi_pass_header", CONF),
    pass_directive!(hide_header, "uwsgi_hide_header", CONF),
    pass_directive!(ignore_headers, "uwsgi_ignore_headers", CONF),
];

settings! {
    /// Settings of uwsgi alone.
    pub struct Own, OwnSettings {
        /// `uwsgi_param`.
        params: Rc<[Param]> = Rc::from([]),
        /// `uwsgi_modifier1`.
        modifier1: u8 = 0,
        /// `uwsgi_modifier2`.
        modifier2: u8 = 0,
        /// `uwsgi_string`.
        string: Rc<[u8]> = Rc::from([]),
    }
}

/// Settings of a location.
#[derive(Default)]
pub struct UwsgiConf {
    /// What it shares with its siblings.
    pub pass: PassConf,
    /// Its own.
    pub own: Own,
}

impl Conf for UwsgiConf {
    fn merge(&mut self, outer: &Self, cx: &mut MergeCx<'_>) -> Result<()> {
        self.own.merge_settings(&outer.own);
        self.pass.inherit(&outer.pass, cx, "uwsgi")
    }

    fn is_inherited_whole(&self, inner: &LevelKind) -> bool {
        self.pass.target.is_none() || matches!(inner, LevelKind::If | LevelKind::LimitExcept)
    }
}

impl Module for Uwsgi {
    fn name(&self) -> &'static str {
        "ngx_http_uwsgi_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&CONF);
    }

    fn attach(&self, cx: &mut Attach<'_>) -> Result<()> {
        let conf = cx.confs.share(&CONF);
        let codec = UwsgiCodec {
            params: Params::new(&conf.own.params, conf.pass.pass_request_headers),
            modifiers: [conf.own.modifier1, conf.own.modifier2],
            string: Rc::clone(&conf.own.string),
        };
        conf.pass.attach(cx, cx.is_own(&CONF), conf.pass.compile(), codec)
    }
}

struct UwsgiCodec {
    params: Params,
    modifiers: [u8; 2],
    string: Rc<[u8]>,
}

impl Codec for UwsgiCodec {
    fn scheme(&self) -> &'static str {
        "uwsgi://"
    }

    fn strip(&self) -> fn(&str) -> std::result::Result<&str, String> {
        strip
    }

    fn encode(
        &self,
        req: &mut Request,
        _body: Encoded,
        out: &mut Vec<u8>,
    ) -> std::result::Result<Box<dyn Protocol>, Fault> {
        out.extend_from_slice(&[self.modifiers[0], 0, 0, self.modifiers[1]]);
        let mut fits = true;
        self.params.each(req, |name, value| fits &= push_pair(out, name, value));
        out.extend_from_slice(&self.string);
        let len = out.len() - HEADER_BYTES;
        match u16::try_from(len) {
            Ok(len) if fits => out[1..3].copy_from_slice(&len.to_le_bytes()),
            _ => return Err(Fault::internal(format!("uwsgi request is too big: {len}"))),
        }
        Ok(Box::new(cgi::Gateway))
    }
}

/// Modifier, length of the parameters, modifier.
const HEADER_BYTES: usize = 4;

/// Appends a parameter; `false`: it is too long for the protocol, and nothing was appended.
fn push_pair(out: &mut Vec<u8>, name: &[u8], value: &[u8]) -> bool {
    let (Ok(name_len), Ok(value_len)) = (u16::try_from(name.len()), u16::try_from(value.len())) else {
        return false;
    };
    out.extend_from_slice(&name_len.to_le_bytes());
    out.extend_from_slice(name);
    out.extend_from_slice(&value_len.to_le_bytes());
    out.extend_from_slice(value);
    true
}

/// Takes `uwsgi://` off a target.
fn strip(text: &str) -> std::result::Result<&str, String> {
    let is = |scheme: &str| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    if is("suwsgi://") {
        return Err("suwsgi in \"uwsgi_pass\" is not supported yet (ngx_http_uwsgi_module)".to_owned());
    }
    Ok(if is("uwsgi://") { &text["uwsgi://".len()..] } else { text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uwsgi_lengths_never_wrap() {
        let mut out = Vec::new();
        assert!(push_pair(&mut out, b"AB", b"c"));
        assert_eq!(out, b"\x02\x00AB\x01\x00c");
        assert!(!push_pair(&mut out, b"AB", &[b'x'; 65_536]), "a length that does not fit is refused");
        assert_eq!(out.len(), 7);
    }

    #[test]
    fn schemes() {
        assert_eq!(strip("UWSGI://u"), Ok("u"));
        assert_eq!(strip("u:1"), Ok("u:1"));
        assert!(strip("suwsgi://u").is_err());
    }
}
