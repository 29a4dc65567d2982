//! `ngx_http_sub_module`: replaces strings in responses.
//!
//! All patterns are looked for in one pass. The leftmost match wins; of several that begin at the same byte, the one
//! configured first. Matches are found across the borders of pieces of the body: what may be the beginning of a match is
//! held back until the next piece, or the end, decides.

mod conf;
mod filter;
mod matcher;
mod stream;

use std::rc::Rc;

use ::conf::{Arity, Contexts, Directive, Result, Shape};

pub use conf::SubConf;

use crate::build::{Builder, Slot};
use crate::filter::Position;
use crate::module::{Attach, Module};

/// The module.
pub const MODULE: Sub = Sub;

/// Its settings.
pub static CONF: Slot<SubConf> = Slot::new();

/// See the module's documentation.
pub struct Sub;

impl Module for Sub {
    fn name(&self) -> &'static str {
        "ngx_http_sub_filter_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&CONF);
    }

    fn attach(&self, cx: &mut Attach<'_>) -> Result<()> {
        let conf = cx.confs.share(&CONF);
        if !conf.pairs.is_empty() {
            cx.filter(Position::Sub, Rc::new(filter::SubFilter { conf }));
        }
        Ok(())
    }
}

const HSL: Contexts = Contexts::HTTP_SERVER_LOCATION;

static DIRECTIVES: &[Directive<Builder>] = &[
    Directive {
        name: "sub_filter",
        contexts: HSL,
        arity: Arity::Exactly(2),
        shape: Shape::Simple,
        default: "",
        doc: "A string to look for, regardless of case, and what replaces it.",
        apply: conf::apply_sub_filter,
    },
    Directive {
        name: "sub_filter_types",
        contexts: HSL,
        arity: Arity::AtLeast(1),
        shape: Shape::Simple,
        default: "text/html",
        doc: "Media types in which strings are replaced besides text/html; `*`: all.",
        apply: |cx, node| {
            cx.extend_types(node, |cx| &mut cx.conf(&CONF).set.types);
            Ok(())
        },
    },
    Directive {
        name: "sub_filter_once",
        contexts: HSL,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "on",
        doc: "Replaces each string once and not everywhere.",
        apply: |cx, node| cx.conf(&CONF).set.once.set(node.flag()?),
    },
    Directive {
        name: "sub_filter_last_modified",
        contexts: HSL,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "off",
        doc: "Keeps `Last-Modified` and a weak `ETag` although the body changes.",
        apply: |cx, node| cx.conf(&CONF).set.last_modified.set(node.flag()?),
    },
];
