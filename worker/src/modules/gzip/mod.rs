//! `ngx_http_gzip_filter_module`, and the part of nginx's core that decides whether a client takes gzip.
//!
//! The header filter decides once per response; the body filter feeds a compressor that is borrowed from a pool of the
//! worker for as long as the response lasts. Input is worked off in pieces of at most [`PIECE_BYTES`], with a turn of the
//! loop between them, so that one large response does not hold up the others.

mod accept;
mod compressor;
mod conf;
mod filter;

use std::rc::Rc;

use ::conf::{Arity, Contexts, Directive, Node, Result, Shape};
use net::Buf;

pub use accept::{AcceptConf, accepts};
pub use conf::GzipConf;

use crate::build::{Builder, Slot};
use crate::filter::{Chain, Position};
use crate::module::{Attach, Module};
use crate::variables::Variable;

/// The module.
pub const MODULE: Gzip = Gzip;

/// How responses are compressed.
pub static CONF: Slot<GzipConf> = Slot::new();
/// For whom; also asked by `gunzip` and `gzip_static`.
pub static ACCEPT: Slot<AcceptConf> = Slot::new();

/// Most bytes compressed or decompressed in one go before the other tasks of the worker get their turn.
pub(crate) const PIECE_BYTES: usize = 64 * 1024;

/// See the module's documentation.
pub struct Gzip;

impl Module for Gzip {
    fn name(&self) -> &'static str {
        "ngx_http_gzip_filter_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }

    fn variables(&self) -> &'static [Variable] {
        filter::VARIABLES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&CONF);
        cx.register(&ACCEPT);
    }

    fn attach(&self, cx: &mut Attach<'_>) -> Result<()> {
        let conf = cx.confs.share(&CONF);
        if conf.enable {
            cx.filter(Position::Gzip, Rc::new(filter::GzipFilter { conf }));
        }
        Ok(())
    }
}

const HSL: Contexts = Contexts::HTTP_SERVER_LOCATION;

static DIRECTIVES: &[Directive<Builder>] = &[
    Directive {
        name: "gzip",
        contexts: HSL.or(Contexts::LOCATION_IF),
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "off",
        doc: "Compresses responses for clients that accept gzip.",
        apply: |cx, node| cx.conf(&CONF).set.enable.set(node.flag()?),
    },
    Directive {
        name: "gzip_buffers",
        contexts: HSL,
        arity: Arity::Exactly(2),
        shape: Shape::Simple,
        default: "8 16k",
        doc: "Number and size of the pieces of compressed data that are collected before they are passed on.",
        apply: |cx, node| cx.conf(&CONF).set.buffers.set(node.buffers()?),
    },
    Directive {
        name: "gzip_types",
        contexts: HSL,
        arity: Arity::AtLeast(1),
        shape: Shape::Simple,
        default: "text/html",
        doc: "Media types compressed besides text/html; `*`: all.",
        apply: |cx, node| {
            cx.extend_types(node, |cx| &mut cx.conf(&CONF).set.types);
            Ok(())
        },
    },
    Directive {
        name: "gzip_comp_level",
        contexts: HSL,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "1",
        doc: "Compression level from 1 (fast) to 9 (small).",
        apply: |cx, node| {
            cx.conf(&CONF).set.level.check_unset()?;
            let level = node.in_bounds(node.number()?, 1, Some(9))?;
            cx.conf(&CONF).set.level.set(level as i32)
        },
    },
    Directive {
        name: "gzip_window",
        contexts: HSL,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "32k",
        doc: "How far back the compressor looks for repetitions.",
        apply: |cx, node| {
            cx.conf(&CONF).set.window_bits.check_unset()?;
            let bits = exponent(node, 9..=15, 0, "must be 512, 1k, 2k, 4k, 8k, 16k, or 32k")?;
            cx.conf(&CONF).set.window_bits.set(bits)
        },
    },
    Directive {
        name: "gzip_hash",
        contexts: HSL,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "64k",
        doc: "Memory the compressor keeps symbols in.",
        apply: |cx, node| {
            cx.conf(&CONF).set.mem_level.check_unset()?;
            let text = "must be 512, 1k, 2k, 4k, 8k, 16k, 32k, 64k, or 128k";
            let level = exponent(node, 9..=17, 8, text)?;
            cx.conf(&CONF).set.mem_level.set(level)
        },
    },
    Directive {
        name: "postpone_gzipping",
        contexts: HSL,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "0",
        doc: "Bytes of a response that are collected before compression starts.",
        apply: |cx, node| cx.conf(&CONF).set.postpone.set(node.size()?),
    },
    Directive {
        name: "gzip_no_buffer",
        contexts: HSL,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "off",
        doc: "Passes on what the compressor gives at once, without waiting for a full buffer.",
        apply: |cx, node| cx.conf(&CONF).set.no_buffer.set(node.flag()?),
    },
    Directive {
        name: "gzip_min_length",
        contexts: HSL,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "20",
        doc: "Responses whose length is known and below this are not compressed.",
        apply: |cx, node| cx.conf(&CONF).set.min_length.set(node.size()? as u64),
    },
    Directive {
        name: "gzip_vary",
        contexts: HSL,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "off",
        doc: "Adds `Vary: Accept-Encoding` to responses that may be compressed.",
        apply: |cx, node| cx.conf(&ACCEPT).set.vary.set(node.flag()?),
    },
    Directive {
        name: "gzip_http_version",
        contexts: HSL,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "1.1",
        doc: "The lowest HTTP version of a request whose response may be compressed: `1.0` or `1.1`.",
        apply: |cx, node| {
            cx.conf(&ACCEPT).set.version.check_unset()?;
            let choices = [("1.0", http1::Version::HTTP_10), ("1.1", http1::Version::HTTP_11)];
            let version = node.choice(&choices)?;
            cx.conf(&ACCEPT).set.version.set(version)
        },
    },
    Directive {
        name: "gzip_proxied",
        contexts: HSL,
        arity: Arity::AtLeast(1),
        shape: Shape::Simple,
        default: "off",
        doc: "Which responses to requests that came through a proxy (those with `Via`) may be compressed.",
        apply: accept::apply_proxied,
    },
    Directive {
        name: "gzip_disable",
        contexts: HSL,
        arity: Arity::AtLeast(1),
        shape: Shape::Simple,
        default: "",
        doc: "Patterns of `User-Agent` for which nothing is compressed; `msie6`: old Internet Explorers.",
        apply: accept::apply_disable,
    },
];

/// Reads a size that is a power of two with an exponent in `range`; gives the exponent less `offset`.
fn exponent(
    node: &Node,
    mut range: std::ops::RangeInclusive<u32>,
    offset: u32,
    error: &'static str,
) -> Result<i32> {
    let size = node.size()?;
    let found = range.find(|exponent| 1 << exponent == size);
    found.map(|exponent| (exponent - offset) as i32).ok_or_else(|| node.predicate(error))
}

/// Appends bytes to a buffer of `size` bytes; full buffers go into the chain.
pub(super) fn append(out: &mut Buf, size: usize, mut bytes: &[u8], chain: &mut Chain) {
    while !bytes.is_empty() {
        if out.capacity() == 0 {
            *out = Buf::with_capacity(size);
        }
        let (now, later) = bytes.split_at(bytes.len().min(out.spare_len()));
        out.extend_from_slice(now);
        bytes = later;
        if out.spare_len() == 0 {
            chain.push(std::mem::take(out).freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::conf::{Span, Word};

    #[test]
    fn sizes_become_exponents() {
        let node = |text: &str| Node {
            name: Word::new(b"gzip_hash".to_vec(), false, 1),
            args: vec![Word::new(text.as_bytes().to_vec(), false, 1)],
            block: None,
            span: Span::new("f", 1),
            end_line: 1,
        };
        assert_eq!(exponent(&node("32k"), 9..=15, 0, "").ok(), Some(15));
        assert_eq!(exponent(&node("512"), 9..=15, 0, "").ok(), Some(9));
        assert_eq!(exponent(&node("128k"), 9..=17, 8, "").ok(), Some(9));
        assert_eq!(exponent(&node("512"), 9..=17, 8, "").ok(), Some(1));
        let error = exponent(&node("3k"), 9..=15, 0, "must be so").unwrap_err();
        assert_eq!(error.to_string(), "\"gzip_hash\" directive must be so in f:1");
    }

    #[test]
    fn output_is_cut_into_buffers() {
        let (mut out, mut chain) = (Buf::new(), Chain::default());
        append(&mut out, 4096, &[1; 5000], &mut chain);
        append(&mut out, 4096, &[2; 3191], &mut chain);
        assert_eq!((chain.len(), out.len()), (4096, 4095));
        append(&mut out, 4096, &[3; 1], &mut chain);
        assert_eq!((chain.len(), out.len()), (8192, 0));
    }
}
