//! `ngx_http_autoindex_module`: lists the directory of a URI that ends in a slash.

mod html;
mod json;
mod xml;

use std::rc::Rc;

use conf::{Arity, Contexts, Directive, Result, Shape};
use http1::Method;

use crate::build::{Builder, Conf, MergeCx, Slot};
use crate::fault::Fault;
use crate::files::{Entry, FileKind};
use crate::filter::Chain;
use crate::log::Level;
use crate::module::{Attach, Module};
use crate::phase::{Flow, Handler, Phase, Step, order};
use crate::request::Request;
use crate::settings;

/// The module.
pub const MODULE: Autoindex = Autoindex;

/// Where the module's settings stand.
pub static CONF: Slot<AutoindexConf> = Slot::new();

/// See the module's documentation.
pub struct Autoindex;

/// `autoindex_format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A page.
    Html,
    /// A list of objects.
    Json,
    /// The same as the argument of a function call.
    Jsonp,
    /// A document.
    Xml,
}

settings! {
    /// Settings of a location.
    pub struct AutoindexConf, AutoindexSettings {
        /// `autoindex`.
        enabled: bool = false,
        /// `autoindex_format`.
        format: Format = Format::Html,
        /// `autoindex_localtime`.
        localtime: bool = false,
        /// `autoindex_exact_size`.
        exact_size: bool = true,
    }
}

impl Conf for AutoindexConf {
    fn merge(&mut self, outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        self.merge_settings(outer);
        Ok(())
    }
}

static DIRECTIVES: &[Directive<Builder>] = &[
    Directive {
        name: "autoindex",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "off",
        doc: "Lists directories.",
        apply: |cx, node| cx.conf(&CONF).set.enabled.set(node.flag()?),
    },
    Directive {
        name: "autoindex_format",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "html",
        doc: "Form of the listing: html, json, jsonp, xml.",
        apply: |cx, node| {
            let value = node.choice(&[
                ("html", Format::Html),
                ("json", Format::Json),
                ("jsonp", Format::Jsonp),
                ("xml", Format::Xml),
            ])?;
            cx.conf(&CONF).set.format.set(value)
        },
    },
    Directive {
        name: "autoindex_localtime",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "off",
        doc: "Shows local times instead of UTC in the html format.",
        apply: |cx, node| cx.conf(&CONF).set.localtime.set(node.flag()?),
    },
    Directive {
        name: "autoindex_exact_size",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "on",
        doc: "Shows sizes in bytes instead of rounded ones in the html format.",
        apply: |cx, node| cx.conf(&CONF).set.exact_size.set(node.flag()?),
    },
];

impl Module for Autoindex {
    fn name(&self) -> &'static str {
        "ngx_http_autoindex_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&CONF);
    }

    fn attach(&self, cx: &mut Attach<'_>) -> Result<()> {
        let conf = cx.confs.share(&CONF);
        if conf.enabled {
            cx.handler(Phase::Content, order::AUTOINDEX, Rc::new(AutoindexHandler { conf }));
        }
        Ok(())
    }
}

struct AutoindexHandler {
    conf: Rc<AutoindexConf>,
}

impl Handler for AutoindexHandler {
    fn handle<'r>(&'r self, req: &'r mut Request) -> Step<'r> {
        if req.uri.last() != Some(&b'/') || !matches!(req.method, Method::Get | Method::Head) {
            return Step::Ready(Flow::Next);
        }
        Step::wait(self.list(req))
    }
}

impl AutoindexHandler {
    async fn list(&self, req: &mut Request) -> Flow {
        if let Err(fault) = req.discard_body().await {
            return req.fail(&fault);
        }
        let mut path = req.map_uri_to_path();
        if path.len() > 1 && path.ends_with(b"/") {
            path.pop();
        }
        let callback = match self.conf.format {
            Format::Jsonp => match callback(req) {
                Ok(callback) => callback,
                Err(flow) => return flow,
            },
            _ => None,
        };
        let mut entries = match req.list_directory(&path).await {
            Ok(Some(entries)) => entries,
            Ok(None) => return Flow::Status(500),
            Err(failure) => {
                // unlike a file's, a missing directory's line does not depend on log_not_found
                let flow = failure.flow();
                let level = if matches!(flow, Flow::Status(500)) { Level::Crit } else { Level::Error };
                req.log_file(level, &path, &failure);
                return flow;
            }
        };
        entries.sort_unstable_by(|a, b| (b.info.is_dir(), &a.name).cmp(&(a.info.is_dir(), &b.name)));
        match self.send(req, &entries, callback.as_deref()).await {
            Ok(()) => Flow::Finish,
            Err(fault) => req.fail(&fault),
        }
    }

    async fn send(
        &self,
        req: &mut Request,
        entries: &[Entry],
        callback: Option<&[u8]>,
    ) -> std::result::Result<(), Fault> {
        req.out.status = 200;
        let content_type: &[u8] = match self.conf.format {
            Format::Html => b"text/html",
            Format::Jsonp if callback.is_some() => b"application/javascript",
            Format::Json | Format::Jsonp => b"application/json",
            Format::Xml => b"text/xml",
        };
        req.out.set_content_type(content_type);
        if self.conf.format == Format::Xml {
            req.out.charset.extend_from_slice(b"utf-8");
        }
        req.send_header().await?;
        if req.header_only {
            return req.output(Chain::end()).await;
        }
        let body = match self.conf.format {
            Format::Html => html::page(req, entries, &self.conf),
            Format::Json | Format::Jsonp => json::list(entries, callback),
            Format::Xml => xml::document(entries),
        };
        req.output(Chain::last(body)).await
    }
}

/// Longest name of a function.
const CALLBACK_BYTES_MAX: usize = 128;

/// The function of argument `callback`; `None`: there is none, and plain JSON is sent.
fn callback(req: &Request) -> std::result::Result<Option<Vec<u8>>, Flow> {
    let Some(name) = req.arg(b"callback").filter(|name| !name.is_empty()) else { return Ok(None) };
    if name.len() > CALLBACK_BYTES_MAX {
        let text = name.escape_ascii();
        req.log(Level::Info, format_args!("client sent too long callback name: \"{text}\""));
        return Err(Flow::Status(400));
    }
    if !name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.')) {
        let text = name.escape_ascii();
        req.log(Level::Info, format_args!("client sent invalid callback name: \"{text}\""));
        return Err(Flow::Status(400));
    }
    Ok(Some(name.to_vec()))
}

/// How formats name what an entry is.
fn kind_name(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Directory => "directory",
        FileKind::Regular => "file",
        FileKind::Other => "other",
    }
}
