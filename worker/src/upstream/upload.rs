//! Sending a request: the head, and the body as it was kept or as it comes.

use std::io;

use bytes::Bytes;
use net::{Buf, Chain, Timeout};

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
pub(super) fn small(req: &Request, with_body: bool) -> Option<Buf> {
    let head = &req.upstream.request;
    let mut buf;
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

/// Sends a head and a kept body.
pub(super) async fn kept(
    stream: &Transport,
    head: Bytes,
    body: Vec<Chunk>,
    timeout: Timeout,
) -> Result<(), Unsent> {
    let mut chain = Chain::from(head);
    for chunk in body {
        match chunk {
            Chunk::Memory(bytes) => chain.push(bytes),
            Chunk::File(part) => {
                let (mut offset, end) = (part.offset, part.offset + part.len);
                while offset < end {
                    let want = usize::try_from(end - offset).unwrap_or(usize::MAX).min(FILE_PIECE_BYTES);
                    let bytes = read_file(&part.file, offset, want).await.map_err(Unsent::Body)?;
                    offset += bytes.len() as u64;
                    chain.push(bytes);
                    stream.send_vec(std::mem::take(&mut chain), timeout).await.map_err(Unsent::Server)?;
                }
            }
        }
    }
    if chain.is_empty() {
        return Ok(());
    }
    stream.send_vec(chain, timeout).await.map_err(Unsent::Server)
}

/// Sends a head, and the body piece by piece as the client sends it.
pub(super) async fn streamed(
    req: &mut Request,
    stream: &Transport,
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
            Some(bytes) => push(stream, &mut next, bytes, chunked, timeout).await?,
        }
    }
    if chunked {
        next.extend_from_slice(http1::LAST_CHUNK);
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
