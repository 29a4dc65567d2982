//! Sending a request: the head, and the body as it was kept or as it comes.

use std::io;

use bytes::Bytes;
use net::{Buf, Chain, Timeout};
use smallvec::SmallVec;

use super::{Order, Protocol};
use crate::fault::Fault;
use crate::filter::Chunk;
use crate::output::read_file;
use crate::request::Request;
use crate::transport::Transport;

/// Heads with bodies up to this size leave in one piece.
const COPY_BYTES_MAX: u64 = 8 * 1024;
/// Kept bodies in files are sent in pieces of this size.
const FILE_PIECE_BYTES: usize = 128 * 1024;

/// Pieces of a streamed body are gathered up to this size before they are sent.
const GATHER_BYTES_MAX: usize = 64 * 1024;

/// Why a request was not sent completely.
#[derive(Debug)]
pub(super) enum Unsent {
    /// The server takes no more.
    Server(io::Error),
    /// The body could not be had: the client's fault, or ours.
    Body(Fault),
}

/// The request in one buffer, when it is small enough and in memory.
pub(super) fn small(req: &Request, order: &Order<'_>, with_body: bool) -> Option<Buf> {
    let head = &req.upstream.request;
    let mut buf;
    if let Some(protocol) = &order.protocol {
        return small_framed(req, &**protocol, with_body);
    }
    if with_body {
        if req.body.file.is_some() || req.body.len() > COPY_BYTES_MAX {
            return None;
        }
        buf = Buf::with_capacity(head.len() + req.body.len() as usize);
        buf.extend_from_slice(head);
        req.body.memory.iter().for_each(|piece| buf.extend_from_slice(piece));
    } else {
        buf = Buf::copy_of(head);
    }
    Some(buf)
}

/// The same in another protocol's frames.
fn small_framed(req: &Request, protocol: &dyn Protocol, with_body: bool) -> Option<Buf> {
    let mut chain = Chain::from(Bytes::copy_from_slice(&req.upstream.request));
    if with_body {
        if req.body.file.is_some() || req.body.len() > COPY_BYTES_MAX {
            return None;
        }
        req.body.memory.iter().for_each(|piece| protocol.frame(piece.clone(), &mut chain));
    }
    push_end(Some(protocol), &mut chain);
    Some(chain.to_buf())
}

/// Appends a piece of a body as it is, or in frames of its protocol.
fn push_piece(protocol: Option<&dyn Protocol>, piece: Bytes, chain: &mut Chain) {
    match protocol {
        None => chain.push(piece),
        Some(protocol) => protocol.frame(piece, chain),
    }
}

/// Appends what ends a request.
fn push_end(protocol: Option<&dyn Protocol>, chain: &mut Chain) {
    if let Some(end) = protocol.map(Protocol::body_end).filter(|end| !end.is_empty()) {
        chain.push(Bytes::from_static(end));
    }
}

/// Sends a head and a kept body.
pub(super) async fn kept(
    stream: &Transport,
    order: &Order<'_>,
    head: Bytes,
    body: Vec<Chunk>,
    timeout: Timeout,
) -> Result<(), Unsent> {
    let protocol = order.protocol.as_deref();
    let mut chain = Chain::from(head);
    for chunk in body {
        match chunk {
            Chunk::Memory(bytes) => push_piece(protocol, bytes, &mut chain),
            Chunk::File(part) => {
                let (mut offset, end) = (part.offset, part.offset + part.len);
                while offset < end {
                    let want = usize::try_from(end - offset).unwrap_or(usize::MAX).min(FILE_PIECE_BYTES);
                    let bytes = read_file(&part.file, offset, want).await.map_err(Unsent::Body)?;
                    offset += bytes.len() as u64;
                    push_piece(protocol, bytes, &mut chain);
                    stream.send_vec(std::mem::take(&mut chain), timeout).await.map_err(Unsent::Server)?;
                }
            }
        }
    }
    push_end(protocol, &mut chain);
    if chain.is_empty() {
        return Ok(());
    }
    stream.send_vec(chain, timeout).await.map_err(Unsent::Server)
}

/// Sends a head, and the body piece by piece as the client sends it. What is here at the same time leaves as one chunk.
pub(super) async fn streamed(
    req: &mut Request,
    stream: &Transport,
    order: &Order<'_>,
    chunked: bool,
    timeout: Timeout,
) -> Result<(), Unsent> {
    let mut next = Buf::copy_of(&req.upstream.request);
    let mut gathered = Gathered::default();
    let framing = match order.protocol.as_deref() {
        Some(protocol) => Framing::Protocol(protocol),
        None if chunked => Framing::Chunked,
        None => Framing::Length,
    };
    loop {
        let waiting = req.body_is_waited_for();
        if (waiting || gathered.len >= GATHER_BYTES_MAX) && gathered.len > 0 {
            push(stream, &mut next, std::mem::take(&mut gathered), framing, timeout).await?;
        }
        if waiting {
            // nothing more is here yet: what we have goes ahead
            send(stream, &mut next, timeout).await?;
        }
        match req.next_body_chunk().await.map_err(Unsent::Body)? {
            None => break,
            Some(bytes) => gathered.push(bytes),
        }
    }
    if gathered.len > 0 {
        push(stream, &mut next, gathered, framing, timeout).await?;
    }
    match framing {
        Framing::Protocol(protocol) => next.extend_from_slice(protocol.body_end()),
        Framing::Chunked => next.extend_from_slice(http1::LAST_CHUNK),
        Framing::Length => {}
    }
    send(stream, &mut next, timeout).await
}

/// Pieces of a body that came together.
#[derive(Default)]
struct Gathered {
    pieces: SmallVec<[Bytes; 4]>,
    len: usize,
}

impl Gathered {
    fn push(&mut self, bytes: Bytes) {
        self.len += bytes.len();
        self.pieces.push(bytes);
    }
}

/// Sends what is in `buf` and empties it.
async fn send(stream: &Transport, buf: &mut Buf, timeout: Timeout) -> Result<(), Unsent> {
    if buf.is_empty() {
        return Ok(());
    }
    let (result, empty) = stream.send_buf(std::mem::take(buf), timeout).await;
    *buf = empty;
    result.map_err(Unsent::Server)
}

/// How the body is framed that is passed on as it comes.
#[derive(Clone, Copy)]
enum Framing<'a> {
    /// By the length in the head.
    Length,
    /// In chunks.
    Chunked,
    /// As another protocol does it.
    Protocol(&'a dyn Protocol),
}

/// Adds pieces of the body in frames to what is sent next, or sends both when they are large.
async fn push_framed(
    stream: &Transport,
    next: &mut Buf,
    gathered: Gathered,
    protocol: &dyn Protocol,
    timeout: Timeout,
) -> Result<(), Unsent> {
    let mut chain = Chain::default();
    gathered.pieces.into_iter().for_each(|piece| protocol.frame(piece, &mut chain));
    if (next.len() + chain.len()) as u64 <= COPY_BYTES_MAX {
        chain.iter().for_each(|part| next.extend_from_slice(part));
        return Ok(());
    }
    chain.push_front(std::mem::take(next).freeze());
    stream.send_vec(chain, timeout).await.map_err(Unsent::Server)
}

/// Adds pieces of the body, as one chunk, to what is sent next, or sends both when they are large.
async fn push(
    stream: &Transport,
    next: &mut Buf,
    gathered: Gathered,
    framing: Framing<'_>,
    timeout: Timeout,
) -> Result<(), Unsent> {
    if let Framing::Protocol(protocol) = framing {
        return push_framed(stream, next, gathered, protocol, timeout).await;
    }
    let chunked = matches!(framing, Framing::Chunked);
    let Gathered { pieces, len } = gathered;
    if chunked {
        next.extend_from_slice(http1::chunk_head(len as u64, &mut [0; 18]));
    }
    if len as u64 <= COPY_BYTES_MAX {
        pieces.iter().for_each(|piece| next.extend_from_slice(piece));
        if chunked {
            next.extend_from_slice(http1::CHUNK_END);
        }
        if next.len() as u64 > COPY_BYTES_MAX {
            send(stream, next, timeout).await?;
        }
        return Ok(());
    }
    let mut chain = Chain::from(std::mem::take(next).freeze());
    pieces.into_iter().for_each(|piece| chain.push(piece));
    if chunked {
        chain.push(Bytes::from_static(http1::CHUNK_END));
    }
    stream.send_vec(chain, timeout).await.map_err(Unsent::Server)
}
