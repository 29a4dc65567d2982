//! `ngx_http_ssi_filter_module`: server-side includes.
//!
//! A page is read piece by piece ([`parser`]); commands change the state of the page ([`commands`]) and include the responses of
//! other locations, which are subrequests ([`filter`]). Variables and blocks belong to the page as a whole ([`shared`]). Everything is
//! limited: lengths of names and values, memory of variables and blocks, depth and number of includes.

mod commands;
mod expand;
mod filter;
mod parser;
mod shared;
mod time;

use std::rc::Rc;

use ::conf::{Arity, Contexts, Directive, Result, Shape};

use crate::build::{Builder, Conf, MergeCx, Slot};
use crate::filter::Position;
use crate::module::{Attach, Module};
use crate::modules::http::TypeSet;
use crate::settings;
use crate::variables::Variable;

/// The module.
pub const MODULE: Ssi = Ssi;

static CONF: Slot<SsiConf> = Slot::new();

/// See the module's documentation.
pub struct Ssi;

const HSL: Contexts = Contexts::HTTP_SERVER_LOCATION;
const HSLI: Contexts = HSL.or(Contexts::LOCATION_IF);

static DIRECTIVES: &[Directive<Builder>] = &[
    Directive {
        name: "ssi",
        contexts: HSLI,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "off",
        doc: "Carries out the commands in responses.",
        apply: |cx, node| cx.conf(&CONF).set.enable.set(node.flag()?),
    },
    Directive {
        name: "ssi_silent_errors",
        contexts: HSL,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "off",
        doc: "Whether errors of commands leave no text in pages.",
        apply: |cx, node| cx.conf(&CONF).set.silent_errors.set(node.flag()?),
    },
    Directive {
        name: "ssi_ignore_recycled_buffers",
        contexts: HSL,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "off",
        doc: "Accepted without effect: buffers are never used again while something points to them.",
        apply: |cx, node| cx.conf(&CONF).set.ignore_recycled_buffers.set(node.flag()?),
    },
    Directive {
        name: "ssi_min_file_chunk",
        contexts: HSL,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "1k",
        doc: "Accepted without effect: included files are sent as files whatever their size.",
        apply: |cx, node| cx.conf(&CONF).set.min_file_chunk.set(node.size()?),
    },
    Directive {
        name: "ssi_value_length",
        contexts: HSL,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "256",
        doc: "Longest value of a parameter in bytes.",
        apply: |cx, node| cx.conf(&CONF).set.value_length.set(node.size()?),
    },
    Directive {
        name: "ssi_types",
        contexts: HSL,
        arity: Arity::AtLeast(1),
        shape: Shape::Simple,
        default: "text/html",
        doc: "Media types of pages besides text/html; `*`: all.",
        apply: |cx, node| {
            cx.extend_types(node, |cx| &mut cx.conf(&CONF).set.types);
            Ok(())
        },
    },
    Directive {
        name: "ssi_last_modified",
        contexts: HSL,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "off",
        doc: "Keeps `Last-Modified` and a weak `ETag` although the page is made anew each time.",
        apply: |cx, node| cx.conf(&CONF).set.last_modified.set(node.flag()?),
    },
];

static VARIABLES: &[Variable] = &[
    Variable::new("date_local", "The local time, in the format `config timefmt` set.", time::local),
    Variable::new("date_gmt", "The time in GMT, in the format `config timefmt` set.", time::gmt),
];

settings! {
    /// Server-side includes in a location.
    pub struct SsiConf, SsiSettings {
        /// `ssi`.
        enable: bool = false,
        /// `ssi_silent_errors`.
        silent_errors: bool = false,
        /// `ssi_ignore_recycled_buffers`.
        ignore_recycled_buffers: bool = false,
        /// `ssi_min_file_chunk` in bytes.
        min_file_chunk: usize = 1024,
        /// `ssi_value_length` in bytes.
        value_length: usize = 256,
        /// `ssi_types`.
        types: TypeSet = TypeSet::html(),
        /// `ssi_last_modified`.
        last_modified: bool = false,
    }
}

impl Conf for SsiConf {
    fn merge(&mut self, outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        self.merge_settings(outer);
        Ok(())
    }
}

impl Module for Ssi {
    fn name(&self) -> &'static str {
        "ngx_http_ssi_filter_module"
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
        if conf.enable {
            cx.filter(Position::Ssi, Rc::new(filter::SsiFilter { conf }));
        }
        Ok(())
    }
}
