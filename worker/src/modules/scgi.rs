//! `ngx_http_scgi_module`: passes requests to SCGI servers.
//!
//! A request is one netstring of parameters, of which `CONTENT_LENGTH` is the first, and the body as it is; a response is what a CGI
//! program writes, and ends with the connection.

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
pub const MODULE: Scgi = Scgi;

static CONF: Slot<ScgiConf> = Slot::new();

/// See the module's documentation.
pub struct Scgi;

const HSL: Contexts = Contexts::HTTP_SERVER_LOCATION;

static DIRECTIVES: &[Directive<Builder>] = &[
    Directive {
        name: "scgi_pass",
        contexts: Contexts::LOCATION.or(Contexts::LOCATION_IF),
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "",
        doc: "Address of the SCGI server requests are passed to.",
        apply: |cx, node| target::apply(cx, node, |cx| &mut cx.conf(&CONF).pass.set, |text| Ok(text)),
    },
    Directive {
        name: "scgi_param",
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
    pass_directive!(buffering, "scgi_buffering", CONF),
    pass_directive!(request_buffering, "scgi_request_buffering", CONF),
    pass_directive!(ignore_client_abort, "scgi_ignore_client_abort", CONF),
    pass_directive!(bind, "scgi_bind", CONF),
    pass_directive!(socket_keepalive, "scgi_socket_keepalive", CONF),
    pass_directive!(socket_rcvbuf, "scgi_socket_rcvbuf", CONF),
    pass_directive!(socket_sndbuf, "scgi_socket_sndbuf", CONF),
    pass_directive!(connect_timeout, "scgi_connect_timeout", CONF),
    pass_directive!(send_timeout, "scgi_send_timeout", CONF),
    pass_directive!(buffer_size, "scgi_buffer_size", CONF),
    pass_directive!(pass_request_headers, "scgi_pass_request_headers", CONF),
    pass_directive!(pass_request_body, "scgi_pass_request_body", CONF),
    pass_directive!(intercept_errors, "scgi_intercept_errors", CONF),
    pass_directive!(read_timeout, "scgi_read_timeout", CONF),
    pass_directive!(buffers, "scgi_buffers", CONF),
    pass_directive!(busy_buffers_size, "scgi_busy_buffers_size", CONF),
    pass_directive!(force_ranges, "scgi_force_ranges", CONF),
    pass_directive!(limit_rate, "scgi_limit_rate", CONF),
    pass_directive!(temp_path, "scgi_temp_path", CONF),
    pass_directive!(max_temp_file_size, "scgi_max_temp_file_size", CONF),
    pass_directive!(temp_file_write_size, "scgi_temp_file_write_size", CONF),
    pass_directive!(next_upstream, "scgi_next_upstream", CONF),
    pass_directive!(next_upstream_tries, "scgi_next_upstream_tries", CONF),
    pass_directive!(next_upstream_timeout, "scgi_next_upstream_timeout", CONF),
    pass_directive!(pass_header, "scgi_pass_header", CONF),
    pass_directive!(hide_header, "scgi_hide_header", CONF),
    pass_directive!(ignore_headers, "scgi_ignore_headers", CONF),
];

settings! {
    /// Settings of SCGI alone.
    pub struct Own, OwnSettings {
        /// `scgi_param`.
        params: Rc<[Param]> = Rc::from([]),
    }
}

/// Settings of a location.
#[derive(Default)]
pub struct ScgiConf {
    /// What it shares with its siblings.
    pub pass: PassConf,
    /// Its own.
    pub own: Own,
}

impl Conf for ScgiConf {
    fn merge(&mut self, outer: &Self, cx: &mut MergeCx<'_>) -> Result<()> {
        self.own.merge_settings(&outer.own);
        self.pass.inherit(&outer.pass, cx, "scgi")
    }

    fn is_inherited_whole(&self, inner: &LevelKind) -> bool {
        self.pass.target.is_none() || matches!(inner, LevelKind::If | LevelKind::LimitExcept)
    }
}

impl Module for Scgi {
    fn name(&self) -> &'static str {
        "ngx_http_scgi_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&CONF);
    }

    fn attach(&self, cx: &mut Attach<'_>) -> Result<()> {
        let conf = cx.confs.share(&CONF);
        let codec = ScgiCodec { params: Params::new(&conf.own.params, conf.pass.pass_request_headers) };
        conf.pass.attach(cx, cx.is_own(&CONF), conf.pass.compile(), codec)
    }
}

struct ScgiCodec {
    params: Params,
}

impl Codec for ScgiCodec {
    fn scheme(&self) -> &'static str {
        "scgi://"
    }

    fn encode(
        &self,
        req: &mut Request,
        body: Encoded,
        out: &mut Vec<u8>,
    ) -> std::result::Result<Box<dyn Protocol>, Fault> {
        let mut pairs = b"CONTENT_LENGTH\0".to_vec();
        http1::push_decimal(&mut pairs, body.length.unwrap_or(0));
        pairs.push(0);
        self.params.each(req, |name, value| push_pair(&mut pairs, name, value));
        http1::push_decimal(out, pairs.len() as u64);
        out.push(b':');
        out.extend_from_slice(&pairs);
        out.push(b',');
        Ok(Box::new(cgi::Gateway))
    }
}

/// Appends a parameter. A NUL would end its name or value and begin another one: it becomes a blank.
fn push_pair(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for text in [name, value] {
        out.extend(text.iter().map(|byte| if *byte == 0 { b' ' } else { *byte }));
        out.push(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scgi_parameters_cannot_bring_others_along() {
        let mut out = Vec::new();
        push_pair(&mut out, b"A", b"b\0REMOTE_USER\0root");
        assert_eq!(out, b"A\0b REMOTE_USER root\0");
    }
}
