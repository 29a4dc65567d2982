//! `ngx_http_v2_module`: what is configured about HTTP/2. The protocol is in `connection::h2` and in the crate `http2`.

use conf::{Arity, Contexts, Directive, Node, Result, Shape};

use crate::build::{Builder, Conf, MergeCx, Slot};
use crate::io::Io;
use crate::module::Module;
use crate::settings;
use crate::variables::Variable;

/// The module.
pub const MODULE: V2 = V2;

/// Settings of servers.
pub static SERVER: Slot<V2ServerConf> = Slot::new();
/// Settings of locations.
pub static LOCATION: Slot<V2LocationConf> = Slot::new();

/// See the module's documentation.
pub struct V2;

settings! {
    /// HTTP/2 settings of a server.
    pub struct V2ServerConf, V2ServerSettings {
        /// `http2`.
        on: bool = false,
        /// `http2_recv_buffer_size`: each connection has a buffer of its own, no larger than a frame.
        recv_buffer_size: usize = 256 * 1024,
        /// `http2_pool_size`: memory is not managed in pools.
        pool_size: usize = 4096,
        /// `http2_max_concurrent_streams`.
        max_concurrent_streams: u64 = 128,
        /// `http2_body_preread_size` in bytes: what of a body a client may send before it is asked for.
        body_preread_size: usize = 65_536,
        /// `http2_streams_index_size`: streams are kept in a table that sizes itself.
        streams_index_size: u64 = 32,
    }
}

settings! {
    /// HTTP/2 settings of a location.
    pub struct V2LocationConf, V2LocationSettings {
        /// `http2_chunk_size` in bytes: how large a DATA frame may be.
        chunk_size: usize = 8 * 1024,
    }
}

impl Conf for V2ServerConf {
    fn merge(&mut self, outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        self.merge_settings(outer);
        Ok(())
    }
}

impl Conf for V2LocationConf {
    fn merge(&mut self, outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        self.merge_settings(outer);
        Ok(())
    }
}

/// Largest window a stream can have.
const WINDOW_MAX: usize = 0x7fff_ffff;
/// Largest frame there can be.
const FRAME_MAX: usize = (1 << 24) - 1;
/// What a pool must have at least in nginx, and what its size must be a multiple of.
const POOL_MIN: usize = 256;
const POOL_ALIGNMENT: usize = 16;

const HTTP_SERVER: Contexts = Contexts::HTTP.or(Contexts::SERVER);

/// A directive with one value that has no effect any more, and why.
const fn obsolete(
    name: &'static str,
    contexts: Contexts,
    arity: Arity,
    doc: &'static str,
    apply: fn(&mut Builder, &Node) -> Result<()>,
) -> Directive<Builder> {
    Directive { name, contexts, arity, shape: Shape::Simple, default: "", doc, apply }
}

static DIRECTIVES: &[Directive<Builder>] = &[
    Directive {
        name: "http2",
        contexts: HTTP_SERVER,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "off",
        doc: "HTTP/2 on the server's addresses: with TLS by ALPN, without by prior knowledge.",
        apply: |cx, node| cx.conf(&SERVER).set.on.set(node.flag()?),
    },
    Directive {
        name: "http2_recv_buffer_size",
        contexts: Contexts::HTTP,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "256k",
        doc: "Accepted: connections have buffers of their own that fit the largest frame.",
        apply: recv_buffer_size,
    },
    Directive {
        name: "http2_pool_size",
        contexts: HTTP_SERVER,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "4k",
        doc: "Accepted: memory is not managed in pools.",
        apply: pool_size,
    },
    Directive {
        name: "http2_max_concurrent_streams",
        contexts: HTTP_SERVER,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "128",
        doc: "Streams a client may have open at a time.",
        apply: |cx, node| cx.conf(&SERVER).set.max_concurrent_streams.set(node.number()?),
    },
    Directive {
        name: "http2_body_preread_size",
        contexts: HTTP_SERVER,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "64k",
        doc: "How much of a request's body a client may send before the body is asked for.",
        apply: body_preread_size,
    },
    Directive {
        name: "http2_streams_index_size",
        contexts: HTTP_SERVER,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "32",
        doc: "Accepted: streams are kept in a table that sizes itself.",
        apply: streams_index_size,
    },
    Directive {
        name: "http2_chunk_size",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "8k",
        doc: "Largest piece of a response body in one frame.",
        apply: chunk_size,
    },
    obsolete("http2_max_concurrent_pushes", HTTP_SERVER, Arity::Exactly(1), NO_PUSH, ignored),
    obsolete("http2_max_requests", HTTP_SERVER, Arity::Exactly(1), REPLACED, |cx, node| {
        replaced(cx, node, "keepalive_requests")
    }),
    obsolete("http2_max_field_size", HTTP_SERVER, Arity::Exactly(1), REPLACED, |cx, node| {
        replaced(cx, node, "large_client_header_buffers")
    }),
    obsolete("http2_max_header_size", HTTP_SERVER, Arity::Exactly(1), REPLACED, |cx, node| {
        replaced(cx, node, "large_client_header_buffers")
    }),
    obsolete("http2_recv_timeout", HTTP_SERVER, Arity::Exactly(1), REPLACED, |cx, node| {
        replaced(cx, node, "client_header_timeout")
    }),
    obsolete("http2_idle_timeout", HTTP_SERVER, Arity::Exactly(1), REPLACED, |cx, node| {
        replaced(cx, node, "keepalive_timeout")
    }),
    obsolete("http2_push_preload", Contexts::HTTP_SERVER_LOCATION, Arity::Flag, NO_PUSH, ignored),
    obsolete("http2_push", Contexts::HTTP_SERVER_LOCATION, Arity::Exactly(1), NO_PUSH, ignored),
];

const NO_PUSH: &str = "Obsolete: there is no server push.";
const REPLACED: &str = "Obsolete: the directive of HTTP/1 holds for HTTP/2 too.";

static VARIABLES: &[Variable] = &[Variable::new(
    "http2",
    "h2 or h2c (without TLS) for a request over HTTP/2, else empty.",
    |req, _, out| {
        if req.version == http1::Version::HTTP_20 && (matches!(req.io, Io::H2(_)) || !req.is_main()) {
            out.extend_from_slice(if req.conn.secure { b"h2" } else { b"h2c" });
        }
        true
    },
)];

fn recv_buffer_size(cx: &mut Builder, node: &Node) -> Result<()> {
    let size = node.size()?;
    if size < 2 * 16 {
        return Err(node.error("value must be no less than 32"));
    }
    cx.conf(&SERVER).set.recv_buffer_size.set(size)
}

fn pool_size(cx: &mut Builder, node: &Node) -> Result<()> {
    let size = node.size()?;
    if size < POOL_MIN {
        return Err(node.error(format!("the pool size must be no less than {POOL_MIN}")));
    }
    if !size.is_multiple_of(POOL_ALIGNMENT) {
        return Err(node.error(format!("the pool size must be a multiple of {POOL_ALIGNMENT}")));
    }
    cx.conf(&SERVER).set.pool_size.set(size)
}

fn body_preread_size(cx: &mut Builder, node: &Node) -> Result<()> {
    let size = node.size()?;
    if size > WINDOW_MAX {
        return Err(node.error(format!("the maximum body preread buffer size is {WINDOW_MAX}")));
    }
    cx.conf(&SERVER).set.body_preread_size.set(size)
}

fn streams_index_size(cx: &mut Builder, node: &Node) -> Result<()> {
    let size = node.number()?;
    if !size.is_power_of_two() {
        return Err(node.predicate("must be a power of two"));
    }
    cx.conf(&SERVER).set.streams_index_size.set(size)
}

fn chunk_size(cx: &mut Builder, node: &Node) -> Result<()> {
    let size = node.size()?;
    if size == 0 {
        return Err(node.error("the http2 chunk size cannot be zero"));
    }
    cx.conf(&LOCATION).set.chunk_size.set(size.min(FRAME_MAX))
}

fn ignored(cx: &mut Builder, node: &Node) -> Result<()> {
    let text = format!("the \"{}\" directive is obsolete, ignored", node.name.text());
    cx.warn(node.warning(text));
    Ok(())
}

fn replaced(cx: &mut Builder, node: &Node, by: &str) -> Result<()> {
    let text =
        format!("the \"{}\" directive is obsolete, use the \"{by}\" directive instead", node.name.text());
    cx.warn(node.warning(text));
    Ok(())
}

impl Module for V2 {
    fn name(&self) -> &'static str {
        "ngx_http_v2_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }

    fn variables(&self) -> &'static [Variable] {
        VARIABLES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&SERVER);
        cx.register(&LOCATION);
    }
}
