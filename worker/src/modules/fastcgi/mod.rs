//! `ngx_http_fastcgi_module`: passes requests to FastCGI servers.
//!
//! The protocol is in [`record`] (what is sent) and [`response`] (what comes back); everything it shares with its siblings is in
//! [`pass`](super::pass).

mod record;
mod response;
mod split;

use std::rc::Rc;

use ::conf::{Arity, Contexts, Directive, Result, Shape};

use super::pass::params::{self, Param, Params};
use super::pass::{Codec, Encoded, PassConf, pass_directive, target};
use crate::build::{Builder, Conf, LevelKind, MergeCx, Slot};
use crate::fault::Fault;
use crate::module::{Attach, Module};
use crate::regex::Regex;
use crate::request::Request;
use crate::settings;
use crate::upstream::Protocol;
use crate::variables::Variable;

/// The module.
pub const MODULE: Fastcgi = Fastcgi;

static CONF: Slot<FastcgiConf> = Slot::new();

/// See the module's documentation.
pub struct Fastcgi;

const HSL: Contexts = Contexts::HTTP_SERVER_LOCATION;

static DIRECTIVES: &[Directive<Builder>] = &[
    Directive {
        name: "fastcgi_pass",
        contexts: Contexts::LOCATION.or(Contexts::LOCATION_IF),
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "",
        doc: "Address of the FastCGI server requests are passed to.",
        apply: |cx, node| target::apply(cx, node, |cx| &mut cx.conf(&CONF).pass.set, |text| Ok(text)),
    },
    Directive {
        name: "fastcgi_param",
        contexts: HSL,
        arity: Arity::Range(2, 3),
        shape: Shape::Simple,
        default: "",
        doc: "A parameter passed to the server; with `if_not_empty` only if it has a value.",
        apply: |cx, node| {
            let param = params::parse(cx, node)?;
            let list = cx.conf(&CONF).set.params.or_insert_with(|| Rc::from([]));
            *list = list.iter().cloned().chain([param]).collect();
            Ok(())
        },
    },
    Directive {
        name: "fastcgi_index",
        contexts: HSL,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "",
        doc: "File name appended to URIs that end in a slash, in $fastcgi_script_name.",
        apply: |cx, node| cx.conf(&CONF).set.index.set(node.bytes(0).into()),
    },
    Directive {
        name: "fastcgi_split_path_info",
        contexts: HSL,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "",
        doc: "Pattern whose two groups are $fastcgi_script_name and $fastcgi_path_info.",
        apply: split::apply,
    },
    Directive {
        name: "fastcgi_keep_conn",
        contexts: HSL,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "off",
        doc: "Asks the server to leave the connection open.",
        apply: |cx, node| cx.conf(&CONF).set.keep_conn.set(node.flag()?),
    },
    Directive {
        name: "fastcgi_catch_stderr",
        contexts: HSL,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "",
        doc: "A text that makes a response invalid when the server writes it to its error stream.",
        apply: |cx, node| {
            let list = cx.conf(&CONF).set.catch_stderr.or_insert_with(|| Rc::from([]));
            *list = list.iter().cloned().chain([node.bytes(0).into()]).collect();
            Ok(())
        },
    },
    pass_directive!(buffering, "fastcgi_buffering", CONF),
    pass_directive!(request_buffering, "fastcgi_request_buffering", CONF),
    pass_directive!(ignore_client_abort, "fastcgi_ignore_client_abort", CONF),
    pass_directive!(bind, "fastcgi_bind", CONF),
    pass_directive!(socket_keepalive, "fastcgi_socket_keepalive", CONF),
    pass_directive!(socket_rcvbuf, "fastcgi_socket_rcvbuf", CONF),
    pass_directive!(socket_sndbuf, "fastcgi_socket_sndbuf", CONF),
    pass_directive!(connect_timeout, "fastcgi_connect_timeout", CONF),
    pass_directive!(send_timeout, "fastcgi_send_timeout", CONF),
    pass_directive!(send_lowat, "fastcgi_send_lowat", CONF),
    pass_directive!(buffer_size, "fastcgi_buffer_size", CONF),
    pass_directive!(pass_request_headers, "fastcgi_pass_request_headers", CONF),
    pass_directive!(pass_request_body, "fastcgi_pass_request_body", CONF),
    pass_directive!(intercept_errors, "fastcgi_intercept_errors", CONF),
    pass_directive!(read_timeout, "fastcgi_read_timeout", CONF),
    pass_directive!(buffers, "fastcgi_buffers", CONF),
    pass_directive!(busy_buffers_size, "fastcgi_busy_buffers_size", CONF),
    pass_directive!(force_ranges, "fastcgi_force_ranges", CONF),
    pass_directive!(limit_rate, "fastcgi_limit_rate", CONF),
    pass_directive!(temp_path, "fastcgi_temp_path", CONF),
    pass_directive!(max_temp_file_size, "fastcgi_max_temp_file_size", CONF),
    pass_directive!(temp_file_write_size, "fastcgi_temp_file_write_size", CONF),
    pass_directive!(next_upstream, "fastcgi_next_upstream", CONF),
    pass_directive!(next_upstream_tries, "fastcgi_next_upstream_tries", CONF),
    pass_directive!(next_upstream_timeout, "fastcgi_next_upstream_timeout", CONF),
    pass_directive!(pass_header, "fastcgi_pass_header", CONF),
    pass_directive!(hide_header, "fastcgi_hide_header", CONF),
    pass_directive!(ignore_headers, "fastcgi_ignore_headers", CONF),
];

static VARIABLES: &[Variable] = &[
    Variable::new(
        "fastcgi_script_name",
        "The URI, or its part that fastcgi_split_path_info says, with fastcgi_index behind a slash.",
        split::script_name,
    ),
    Variable::new(
        "fastcgi_path_info",
        "The part of the URI behind the script's name, as fastcgi_split_path_info says.",
        split::path_info,
    ),
];

settings! {
    /// Settings of FastCGI alone.
    pub struct Own, OwnSettings {
        /// `fastcgi_param`.
        params: Rc<[Param]> = Rc::from([]),
        /// `fastcgi_index`.
        index: Rc<[u8]> = Rc::from([]),
        /// `fastcgi_split_path_info`.
        split: Option<Regex> = None,
        /// `fastcgi_keep_conn`.
        keep_conn: bool = false,
        /// `fastcgi_catch_stderr`.
        catch_stderr: Rc<[Box<[u8]>]> = Rc::from([]),
    }
}

/// Settings of a location.
#[derive(Default)]
pub struct FastcgiConf {
    /// What it shares with its siblings.
    pub pass: PassConf,
    /// Its own.
    pub own: Own,
}

impl std::ops::Deref for FastcgiConf {
    type Target = Own;

    fn deref(&self) -> &Own {
        &self.own
    }
}

impl std::ops::DerefMut for FastcgiConf {
    fn deref_mut(&mut self) -> &mut Own {
        &mut self.own
    }
}

impl Conf for FastcgiConf {
    fn merge(&mut self, outer: &Self, cx: &mut MergeCx<'_>) -> Result<()> {
        self.own.merge_settings(&outer.own);
        self.pass.inherit(&outer.pass, cx, "fastcgi")
    }

    fn is_inherited_whole(&self, inner: &LevelKind) -> bool {
        self.pass.target.is_none() || matches!(inner, LevelKind::If | LevelKind::LimitExcept)
    }
}

impl Module for Fastcgi {
    fn name(&self) -> &'static str {
        "ngx_http_fastcgi_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }

    fn variables(&self) -> &'static [Variable] {
        VARIABLES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&CONF);
    }

    fn attach(&self, cx: &mut Attach<'_>) -> Result<()> {
        let conf = cx.confs.share(&CONF);
        let codec = FastcgiCodec {
            params: Params::new(&conf.params, conf.pass.pass_request_headers),
            keep_conn: conf.keep_conn,
            catch_stderr: Rc::clone(&conf.catch_stderr),
        };
        conf.pass.attach(cx, cx.is_own(&CONF), conf.pass.compile(), codec)
    }
}

struct FastcgiCodec {
    params: Params,
    keep_conn: bool,
    catch_stderr: Rc<[Box<[u8]>]>,
}

impl Codec for FastcgiCodec {
    fn scheme(&self) -> &'static str {
        "fastcgi://"
    }

    fn streams_unknown_lengths(&self) -> bool {
        true
    }

    fn encode(
        &self,
        req: &mut Request,
        _body: Encoded,
        out: &mut Vec<u8>,
    ) -> std::result::Result<Box<dyn Protocol>, Fault> {
        let mut pairs = Vec::new();
        self.params.each(req, |name, value| record::push_pair(&mut pairs, name, value));
        record::push_start(out, self.keep_conn);
        record::push_params(out, &pairs);
        Ok(Box::new(response::FastCgi {
            keep_conn: self.keep_conn,
            catch_stderr: Rc::clone(&self.catch_stderr),
        }))
    }
}
