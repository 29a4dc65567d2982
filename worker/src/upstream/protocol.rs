//! The seam for servers that do not speak HTTP/1: FastCGI, SCGI, uwsgi, memcached.
//!
//! Their modules encode a request into `req.upstream.request` and give the [`Order`](super::Order) a [`Protocol`], which
//! frames request bodies and reads responses. Everything else (choosing servers, retries, buffering, limits, timeouts)
//! is the same for all. HTTP/1 has no such object: it is what happens without one.

use bytes::Bytes;
use http1::{BodyDecoder, BodyState, ChunkedError, Decoded, Headers, Progress, ResponseHead, Truncated};
use net::{Buf, Chain};

/// What another protocol than HTTP/1 does differently for one request.
pub trait Protocol {
    /// Begins to read a response whose head may have `head_max` bytes.
    fn response(&self, head_max: usize) -> Box<dyn Framed>;

    /// Appends a piece of a request body to `out`: as it is, unless the protocol frames it.
    fn frame(&self, piece: Bytes, out: &mut Chain) {
        out.push(piece);
    }

    /// What is sent when the request, with or without a body, is complete.
    fn body_end(&self) -> &'static [u8] {
        b""
    }
}

/// One response of another protocol: first its head, then its body.
pub trait Framed {
    /// Reads the head, taking what it has read out of `buf`. What remains in `buf` when it is complete is for
    /// [`Framed::decode`]. `head` is filled in, its framing included.
    ///
    /// # Errors
    /// The line for the log. The connection must not be used again.
    fn head(&mut self, buf: &mut Buf, head: &mut ResponseHead) -> Result<Progress, Box<str>>;

    /// Reads a part of the body, as [`BodyDecoder::decode`] does.
    ///
    /// # Errors
    /// The line for the log, without the place.
    fn decode(&mut self, input: &[u8]) -> Result<Decoded, Box<str>>;

    /// Whether the response is complete.
    fn is_end(&self) -> bool;

    /// The server closed its connection.
    ///
    /// # Errors
    /// The response is not complete.
    fn close(&self) -> Result<(), Truncated>;

    /// Bytes known to be still to come.
    fn left(&self) -> Option<u64> {
        None
    }

    /// Whether the connection can be used again, once the response is complete.
    fn is_reusable(&self) -> bool;

    /// What the server said besides its response, for the log; each is told once.
    fn messages(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// Takes the framing off a response body of any protocol.
#[allow(clippy::large_enum_variant)] // the large one is the common one: a box would cost every response
pub(super) enum Decoder {
    Http(BodyDecoder),
    Framed(Box<dyn Framed>),
}

impl Decoder {
    pub(super) fn decode(&mut self, input: &[u8]) -> Result<Decoded, Box<str>> {
        match self {
            Self::Http(decoder) => decoder.decode(input).map_err(|error| invalid(&error)),
            Self::Framed(framed) => framed.decode(input),
        }
    }

    pub(super) fn is_end(&self) -> bool {
        match self {
            Self::Http(decoder) => decoder.is_end(),
            Self::Framed(framed) => framed.is_end(),
        }
    }

    pub(super) fn close(&self) -> Result<(), Truncated> {
        match self {
            Self::Http(decoder) => decoder.close(),
            Self::Framed(framed) => framed.close(),
        }
    }

    pub(super) fn left(&self) -> Option<u64> {
        match self {
            Self::Http(decoder) => decoder.left(),
            Self::Framed(framed) => framed.left(),
        }
    }

    pub(super) fn trailers(&self) -> Option<&Headers> {
        match self {
            Self::Http(decoder) => decoder.trailers(),
            Self::Framed(_) => None,
        }
    }

    /// Whether the connection can be used again, as far as the end of the body tells.
    pub(super) fn is_reusable(&self) -> bool {
        match self {
            Self::Http(_) => true,
            Self::Framed(framed) => framed.is_reusable(),
        }
    }

    pub(super) fn messages(&mut self) -> Vec<String> {
        match self {
            Self::Http(_) => Vec::new(),
            Self::Framed(framed) => framed.messages(),
        }
    }

    /// What is said of bytes behind the end of the body.
    pub(super) fn complaint(&self) -> &'static str {
        match self {
            Self::Http(BodyDecoder::Chunked(_)) => "upstream sent data after final chunk",
            _ => "upstream sent more data than specified in \"Content-Length\" header",
        }
    }
}

fn invalid(error: &ChunkedError) -> Box<str> {
    format!("upstream sent invalid chunked response: {error}").into()
}

/// A body of a known length, or one that ends with the connection, whose bytes stand as they are: for protocols that
/// only have a head of their own.
pub struct Plain(BodyDecoder);

impl Plain {
    /// The body that follows `head`.
    pub fn after(head: &ResponseHead) -> Self {
        Self(BodyDecoder::new(head.framing))
    }

    /// See [`Framed::decode`].
    pub fn decode(&mut self, input: &[u8]) -> Decoded {
        // only chunked bodies can be invalid
        self.0.decode(input).unwrap_or(Decoded { consumed: input.len(), data: 0..0, state: BodyState::End })
    }

    /// See [`Framed::is_end`].
    pub fn is_end(&self) -> bool {
        self.0.is_end()
    }

    /// See [`Framed::close`].
    pub fn close(&self) -> Result<(), Truncated> {
        self.0.close()
    }

    /// See [`Framed::left`].
    pub fn left(&self) -> Option<u64> {
        self.0.left()
    }
}
