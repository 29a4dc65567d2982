//! `ngx_http_gzip_static_module`: the file with `.gz` behind its name, where there is one and the client takes it.

use std::rc::Rc;

use conf::{Arity, Contexts, Directive, Result, Shape};
use http1::Method;

use crate::build::{Builder, Conf, MergeCx, Slot};
use crate::files::{self, Opened};
use crate::log::Level;
use crate::module::{Attach, Module};
use crate::modules::gzip;
use crate::phase::{Flow, Handler, Phase, Step, order};
use crate::request::Request;
use crate::settings;

/// The module.
pub const MODULE: GzipStatic = GzipStatic;

/// Where the module's settings stand.
pub static CONF: Slot<GzipStaticConf> = Slot::new();

/// See the module's documentation.
pub struct GzipStatic;

/// `gzip_static`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The file as it is.
    Off,
    /// The compressed file for clients that take it.
    On,
    /// The compressed file for all; `gunzip` may undo it.
    Always,
}

settings! {
    /// Settings of a location.
    pub struct GzipStaticConf, GzipStaticSettings {
        /// `gzip_static`.
        mode: Mode = Mode::Off,
    }
}

impl Conf for GzipStaticConf {
    fn merge(&mut self, outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        self.merge_settings(outer);
        Ok(())
    }
}

static DIRECTIVES: &[Directive<Builder>] = &[Directive {
    name: "gzip_static",
    contexts: Contexts::HTTP_SERVER_LOCATION,
    arity: Arity::Exactly(1),
    shape: Shape::Simple,
    default: "off",
    doc: "Serves the file with .gz behind its name: off, on (to clients that take it), always.",
    apply: |cx, node| {
        let mode = node.choice(&[("off", Mode::Off), ("on", Mode::On), ("always", Mode::Always)])?;
        cx.conf(&CONF).set.mode.set(mode)
    },
}];

impl Module for GzipStatic {
    fn name(&self) -> &'static str {
        "ngx_http_gzip_static_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&CONF);
    }

    fn attach(&self, cx: &mut Attach<'_>) -> Result<()> {
        let always = match cx.confs.get(&CONF).mode {
            Mode::Off => return Ok(()),
            Mode::On => false,
            Mode::Always => true,
        };
        let vary = cx.confs.get(&gzip::ACCEPT).vary;
        cx.handler(Phase::Content, order::GZIP_STATIC, Rc::new(GzipStaticHandler { always, vary }));
        Ok(())
    }
}

struct GzipStaticHandler {
    always: bool,
    /// `gzip_vary`: clients that do not take the file are told that it exists.
    vary: bool,
}

impl Handler for GzipStaticHandler {
    fn handle<'r>(&'r self, req: &'r mut Request) -> Step<'r> {
        if !matches!(req.method, Method::Get | Method::Head) || req.uri.last() == Some(&b'/') {
            return Step::Ready(Flow::Next);
        }
        let accepted = self.always || gzip::accepts(req);
        if !accepted && !self.vary {
            return Step::Ready(Flow::Next);
        }
        Step::wait(self.serve(req, accepted))
    }
}

impl GzipStaticHandler {
    async fn serve(&self, req: &mut Request, accepted: bool) -> Flow {
        let mut path = req.map_uri_to_path();
        path.extend_from_slice(b".gz");
        let opened = match req.open_file(&path).await {
            Ok(opened) => opened,
            Err(failure) => {
                if !failure.is_not_found() {
                    let level = if failure.is_forbidden() { Level::Error } else { Level::Crit };
                    req.log_file(level, &path, &failure);
                }
                return Flow::Next;
            }
        };
        if !self.always {
            req.out.vary_encoding |= self.vary;
            if !accepted {
                return Flow::Next;
            }
        }
        let Opened::File(open) = opened else { return Flow::Next };
        if !open.info.is_regular() {
            req.log(Level::Crit, format_args!("\"{}\" is not a regular file", path.escape_ascii()));
            return Flow::Status(404);
        }
        files::send_file(req, open, Some("gzip")).await
    }
}
