//! `ngx_http_charset_filter_module`: names the charset of responses, and converts between charsets with tables.
//!
//! A conversion is known when the configuration is read ([`map`]); it runs piece by piece ([`recode`]). A subrequest's response is
//! converted to the charset of the response it becomes a part of.

mod filter;
mod map;
mod recode;

use std::rc::Rc;

use ::conf::{Arity, Contexts, Directive, Error, Node, Result, Shape};

use crate::build::{Builder, Conf, MergeCx, Slot};
use crate::filter::Position;
use crate::module::{Attach, Module};
use crate::modules::http::TypeSet;
use crate::script::Template;
use crate::settings;
use map::Maps;

/// The module.
pub const MODULE: Charset = Charset;

static CONF: Slot<CharsetConf> = Slot::new();
/// Of the `http` level.
static MAPS: Slot<Maps> = Slot::new();

/// See the module's documentation.
pub struct Charset;

const HSL: Contexts = Contexts::HTTP_SERVER_LOCATION;

static DIRECTIVES: &[Directive<Builder>] = &[
    Directive {
        name: "charset",
        contexts: HSL.or(Contexts::LOCATION_IF),
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "off",
        doc: "Charset of responses, added to Content-Type and converted to where the source charset is another one.",
        apply: |cx, node| {
            cx.conf(&CONF).set.charset.check_unset()?;
            let name = if node.first() == "off" { Name::Off } else { Name::parse(cx, node)? };
            cx.conf(&CONF).set.charset.set(name)
        },
    },
    Directive {
        name: "source_charset",
        contexts: HSL.or(Contexts::LOCATION_IF),
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "",
        doc: "Charset responses have before they are converted.",
        apply: |cx, node| {
            cx.conf(&CONF).set.source.check_unset()?;
            let name = Name::parse(cx, node)?;
            cx.conf(&CONF).set.source.set(name)
        },
    },
    Directive {
        name: "override_charset",
        contexts: HSL.or(Contexts::LOCATION_IF),
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "off",
        doc: "Whether responses of upstream servers are converted that name their charset.",
        apply: |cx, node| cx.conf(&CONF).set.overrides.set(node.flag()?),
    },
    Directive {
        name: "charset_types",
        contexts: HSL,
        arity: Arity::AtLeast(1),
        shape: Shape::Simple,
        default: "text/html text/xml text/plain text/vnd.wap.wml application/javascript application/rss+xml",
        doc: "Media types that get a charset, text/html among them always; `*`: all.",
        apply: |cx, node| {
            cx.extend_types(node, |cx| &mut cx.conf(&CONF).set.types);
            Ok(())
        },
    },
    Directive {
        name: "charset_map",
        contexts: Contexts::HTTP,
        arity: Arity::Exactly(2),
        shape: Shape::Block,
        default: "",
        doc: "Codes of the same characters in two charsets, the second of which may be utf-8.",
        apply: map::apply,
    },
];

/// A charset as a directive names it.
#[derive(Debug, Clone)]
pub enum Name {
    /// `off`, or nothing said.
    Off,
    /// A name.
    Fixed(Rc<[u8]>),
    /// A variable.
    Variable(Rc<Template>),
}

impl Name {
    fn parse(cx: &mut Builder, node: &Node) -> Result<Self> {
        if node.first().starts_with('$') {
            return Ok(Self::Variable(Rc::new(Template::parse(cx, node, node.first())?)));
        }
        let name: Rc<[u8]> = node.bytes(0).into();
        cx.http_conf(&MAPS).learn(&name);
        Ok(Self::Fixed(name))
    }
}

settings! {
    /// Charsets of a location.
    pub struct CharsetConf, CharsetSettings {
        /// `charset`.
        charset: Name = Name::Off,
        /// `source_charset`.
        source: Name = Name::Off,
        /// `override_charset`.
        overrides: bool = false,
        /// `charset_types`.
        types: TypeSet = TypeSet::new(&[
            "text/html",
            "text/xml",
            "text/plain",
            "text/vnd.wap.wml",
            "application/javascript",
            "application/rss+xml",
        ]),
    }
}

impl Conf for CharsetConf {
    fn merge(&mut self, outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        self.merge_settings(outer);
        Ok(())
    }
}

impl Module for Charset {
    fn name(&self) -> &'static str {
        "ngx_http_charset_filter_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&CONF);
        cx.register(&MAPS);
    }

    fn attach(&self, cx: &mut Attach<'_>) -> Result<()> {
        let (conf, maps) = (cx.confs.share(&CONF), cx.confs.share(&MAPS));
        if !maps.is_used() {
            return Ok(());
        }
        if let (Name::Fixed(from), Name::Fixed(to)) = (&conf.source, &conf.charset)
            && !from.eq_ignore_ascii_case(to)
            && maps.find(from, to).is_none()
        {
            return Err(Error::without_place(no_map(from, to)));
        }
        cx.filter(Position::Charset, Rc::new(filter::CharsetFilter { conf, maps }));
        Ok(())
    }
}

fn no_map(from: &[u8], to: &[u8]) -> String {
    let (from, to) = (from.escape_ascii(), to.escape_ascii());
    format!("no \"charset_map\" between the charsets \"{from}\" and \"{to}\"")
}
