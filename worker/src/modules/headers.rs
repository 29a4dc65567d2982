//! `ngx_http_headers_filter_module`: fields and trailers added to responses, and how long clients may keep them.

mod expires;

use std::rc::Rc;

use conf::{Arity, Contexts, Directive, Node, Result, Setting, Shape};
use http1::{Known, parse_http_time};

use crate::build::{Builder, Conf, LevelKind, MergeCx, Slot};
use crate::fault::Fault;
use crate::filter::{Filter, Interest, Position};
use crate::module::{Attach, Module};
use crate::phase::Step;
use crate::request::Request;
use crate::script::Template;
use crate::settings;
use expires::Expires;

/// The module.
pub const MODULE: Headers = Headers;

/// Where the module's settings stand.
pub static CONF: Slot<HeadersConf> = Slot::new();

/// See the module's documentation.
pub struct Headers;

/// What a block does with the fields added around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inherit {
    /// Nothing.
    Off,
    /// Takes them if it adds none of its own.
    On,
    /// Adds them behind its own.
    Merge,
}

/// One `add_header` or `add_trailer`.
#[derive(Clone)]
pub struct Added {
    name: Box<[u8]>,
    value: Template,
    /// Whatever the status.
    always: bool,
    action: Action,
}

/// What adding a field does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    /// One more line.
    Push,
    /// Replaces `ETag`, or removes it.
    Etag,
    /// Replaces `Last-Modified` and the time other filters compare, or removes both.
    LastModified,
}

settings! {
    /// Settings of a location.
    pub struct HeadersConf, HeadersSettings {
        /// `expires`.
        expires: Expires = Expires::OFF,
        /// `add_header`.
        headers: Rc<[Added]> = Rc::from([]),
        /// `add_trailer`.
        trailers: Rc<[Added]> = Rc::from([]),
        /// `add_header_inherit`.
        headers_inherit: Inherit = Inherit::On,
        /// `add_trailer_inherit`.
        trailers_inherit: Inherit = Inherit::On,
    }
}

impl Conf for HeadersConf {
    fn merge(&mut self, outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        let mode = |own: &Setting<Inherit>, around: Inherit| own.as_ref().copied().unwrap_or(around);
        inherit(
            &mut self.set.headers,
            &outer.headers,
            mode(&self.set.headers_inherit, outer.headers_inherit),
        );
        inherit(
            &mut self.set.trailers,
            &outer.trailers,
            mode(&self.set.trailers_inherit, outer.trailers_inherit),
        );
        self.merge_settings(outer);
        Ok(())
    }

    fn is_inherited_whole(&self, _inner: &LevelKind) -> bool {
        let kept = |mode: Inherit, list: &[Added]| mode != Inherit::Off || list.is_empty();
        kept(self.headers_inherit, &self.headers) && kept(self.trailers_inherit, &self.trailers)
    }
}

fn inherit(own: &mut Setting<Rc<[Added]>>, outer: &Rc<[Added]>, mode: Inherit) {
    match (mode, own.as_ref()) {
        (Inherit::Off, None) => {
            own.replace(Rc::from([]));
        }
        (Inherit::Merge, Some(list)) => {
            let all = list.iter().chain(outer.iter()).cloned().collect();
            own.replace(all);
        }
        (Inherit::Off, Some(_)) | (Inherit::On, _) | (Inherit::Merge, None) => {}
    }
}

const HSL_IF: Contexts = Contexts::HTTP_SERVER_LOCATION.or(Contexts::LOCATION_IF);
const INHERIT: &[(&str, Inherit)] = &[("off", Inherit::Off), ("on", Inherit::On), ("merge", Inherit::Merge)];

static DIRECTIVES: &[Directive<Builder>] = &[
    Directive {
        name: "expires",
        contexts: HSL_IF,
        arity: Arity::Range(1, 2),
        shape: Shape::Simple,
        default: "off",
        doc: "Sets Expires and Cache-Control: a time from now, from the last change (modified), of the day (@15h30m), epoch, max, off.",
        apply: |cx, node| {
            cx.conf(&CONF).set.expires.check_unset()?;
            let value = Expires::read(cx, node)?;
            cx.conf(&CONF).set.expires.set(value)
        },
    },
    Directive {
        name: "add_header",
        contexts: HSL_IF,
        arity: Arity::Range(2, 3),
        shape: Shape::Simple,
        default: "",
        doc: "Adds a field to responses with status 200, 201, 204, 206, 301, 302, 303, 304, 307 and 308, or to all (always).",
        apply: |cx, node| {
            let added = added(cx, node, true)?;
            push(cx.conf(&CONF).set.headers.or_insert_with(|| Rc::from([])), added);
            Ok(())
        },
    },
    Directive {
        name: "add_trailer",
        contexts: HSL_IF,
        arity: Arity::Range(2, 3),
        shape: Shape::Simple,
        default: "",
        doc: "Adds a field behind the body of a response, which is then sent in chunks.",
        apply: |cx, node| {
            let added = added(cx, node, false)?;
            push(cx.conf(&CONF).set.trailers.or_insert_with(|| Rc::from([])), added);
            Ok(())
        },
    },
    Directive {
        name: "add_header_inherit",
        contexts: HSL_IF,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "on",
        doc: "Whether fields of add_header around this block are taken over: on, if there are none inside; off; merge, in addition.",
        apply: |cx, node| cx.conf(&CONF).set.headers_inherit.set(node.choice(INHERIT)?),
    },
    Directive {
        name: "add_trailer_inherit",
        contexts: HSL_IF,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "on",
        doc: "The same for add_trailer.",
        apply: |cx, node| cx.conf(&CONF).set.trailers_inherit.set(node.choice(INHERIT)?),
    },
];

fn push(list: &mut Rc<[Added]>, added: Added) {
    *list = list.iter().cloned().chain([added]).collect();
}

fn added(cx: &mut Builder, node: &Node, is_header: bool) -> Result<Added> {
    let name: Box<[u8]> = node.bytes(0).into();
    let value = Template::parse(cx, node, node.second())?;
    let always = match node.arg(2) {
        None => false,
        Some("always") => true,
        Some(_) => return Err(node.invalid_parameter(2)),
    };
    let action = match Known::from_name(&name) {
        Some(Known::Etag) if is_header => Action::Etag,
        Some(Known::LastModified) if is_header => Action::LastModified,
        _ => Action::Push,
    };
    Ok(Added { name, value, always, action })
}

impl Module for Headers {
    fn name(&self) -> &'static str {
        "ngx_http_headers_filter_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&CONF);
    }

    fn attach(&self, cx: &mut Attach<'_>) -> Result<()> {
        let conf = cx.confs.share(&CONF);
        if !conf.expires.is_off() || !conf.headers.is_empty() || !conf.trailers.is_empty() {
            cx.filter(Position::Headers, Rc::new(HeadersFilter { conf }));
        }
        Ok(())
    }
}

struct HeadersFilter {
    conf: Rc<HeadersConf>,
}

impl Filter for HeadersFilter {
    fn header<'r>(&'r self, req: &'r mut Request) -> Step<'r, std::result::Result<Interest, Fault>> {
        if req.is_main() {
            let is_safe = is_safe_status(req.out.status);
            if is_safe {
                self.conf.expires.apply(req);
            }
            for added in self.conf.headers.iter().filter(|added| is_safe || added.always) {
                added.apply(req);
            }
            if self.conf.trailers.iter().any(|added| is_safe || added.always) {
                req.out.expects_trailers = true;
                req.out.make_trailers = Some(make_trailers);
            }
        }
        Step::Ready(Ok(Interest::None))
    }
}

/// Whether fields are added without `always`.
fn is_safe_status(status: u16) -> bool {
    matches!(status, 200 | 201 | 204 | 206 | 301..=304 | 307 | 308)
}

impl Added {
    fn apply(&self, req: &mut Request) {
        let value = self.value.eval(req);
        let head = &mut req.out;
        match self.action {
            Action::Push if value.is_empty() => {}
            Action::Push => head.headers.push(&self.name, &value),
            Action::Etag => replace(&mut head.headers, &self.name, &value),
            Action::LastModified => {
                replace(&mut head.headers, &self.name, &value);
                head.last_modified = parse_http_time(&value);
            }
        }
    }
}

fn replace(headers: &mut http1::Headers, name: &[u8], value: &[u8]) {
    if value.is_empty() {
        headers.remove(name);
    } else {
        headers.set(name, value);
    }
}

/// Fills in the trailer fields when the body has ended: their values may depend on it.
fn make_trailers(req: &mut Request) {
    let conf = req.location.confs.share(&CONF);
    let is_safe = is_safe_status(req.out.status);
    for added in conf.trailers.iter().filter(|added| is_safe || added.always) {
        let value = added.value.eval(req);
        if !value.is_empty() {
            req.out.trailers.push(&added.name, &value);
        }
    }
}
