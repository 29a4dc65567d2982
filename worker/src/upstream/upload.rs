//! Sending a request: the head, and the body as it was kept or as it comes.

use std::io;

use bytes::Bytes;
use net::{Buf, Chain, Timeout};

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

/// Sends a head, and the body piece by piece as the client sends it.
pub(super) async fn streamed(
    req: &mut Request,
    stream: &Transport,
    order: &Order<'_>,
    chunked: bool,
    timeout: Timeout,
) -> Result<(), Unsent> {
    let mut next = Buf::copy_of(&req.upstream.request);
    loop {
        if req.body_is_waited_for() {
            // nothing of it is here yet: what we have goes ahead
            send(stream, &mut next, timeout).await?;
        }
        match req.next_body_chunk().await.map_err(Unsent::Body)? {
            None => break,
            Some(bytes) => match order.protocol.as_deref().filter(|protocol| protocol.frames_body()) {
                None => push(stream, &mut next, bytes, chunked, timeout).await?,
                Some(protocol) => push_framed(stream, &mut next, bytes, protocol, timeout).await?,
            },
        }
    }
    match &order.protocol {
        Some(protocol) => next.extend_from_slice(protocol.body_end()),
        None if chunked => next.extend_from_slice(http1::LAST_CHUNK),
        None => {}
    }
    send(stream, &mut next, timeout).await
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

/// Sends what is in `next` and a piece of the body in frames.
async fn push_framed(
    stream: &Transport,
    next: &mut Buf,
    bytes: Bytes,
    protocol: &dyn Protocol,
    timeout: Timeout,
) -> Result<(), Unsent> {
    let mut chain = Chain::from(std::mem::take(next).freeze());
    protocol.frame(bytes, &mut chain);
    stream.send_vec(chain, timeout).await.map_err(Unsent::Server)
}

/// Adds a piece of the body to what is sent next, or sends both when it is large.
async fn push(
    stream: &Transport,
    next: &mut Buf,
    bytes: Bytes,
    chunked: bool,
    timeout: Timeout,
) -> Result<(), Unsent> {
    if chunked {
        next.extend_from_slice(http1::chunk_head(bytes.len() as u64, &mut [0; 18]));
    }
    if bytes.len() as u64 <= COPY_BYTES_MAX {
        next.extend_from_slice(&bytes);
        if chunked {
            next.extend_from_slice(http1::CHUNK_END);
        }
        if next.len() as u64 > COPY_BYTES_MAX {
            send(stream, next, timeout).await?;
        }
        return Ok(());
    }
    let mut chain = Chain::from(std::mem::take(next).freeze());
    chain.push(bytes);
    if chunked {
        chain.push(Bytes::from_static(http1::CHUNK_END));
    }
    stream.send_vec(chain, timeout).await.map_err(Unsent::Server)
}
