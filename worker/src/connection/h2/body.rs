//! Bodies of an HTTP/2 stream: the response into the stream's queue, the request out of its buffer.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http2::{Broken, Code};

use super::super::write::{pace, rate, rest};
use super::head_out::with_lower;
use super::{H2, READING_WINDOW_BYTES, fault};
use crate::fault::{Fault, Kind, Side};
use crate::filter::{Chain, Chunk};
use crate::io::Io;
use crate::output::read_file;
use crate::request::Request;

/// Pieces in which a body is queued, and files are read.
const PIECE_BYTES: usize = 32 * 1024;
/// What a client must take of a response between two timeouts at least: one that takes less holds the response on purpose.
const PROGRESS_BYTES_MIN: usize = 256;

impl Request {
    /// The stream of a request that has one.
    fn h2(&mut self) -> Result<&mut H2, Fault> {
        match &mut self.io {
            Io::H2(h2) => Ok(h2),
            _ => Err(Fault::internal("the request is not on a stream")),
        }
    }
}

/// Writes a piece of the body; returns when all of it is queued.
pub(crate) async fn write_body(req: &mut Request, chain: Chain) -> Result<(), Fault> {
    let Chain { chunks, last, .. } = chain;
    if !req.header_only {
        for chunk in chunks {
            match chunk {
                Chunk::Memory(bytes) => write_bytes(req, bytes).await?,
                Chunk::File(part) => {
                    let (mut offset, end) = (part.offset, part.offset + part.len);
                    while offset < end {
                        // nothing is read before there is room for it
                        room(req).await?;
                        let want = usize::try_from(end - offset).unwrap_or(usize::MAX).min(PIECE_BYTES);
                        let bytes = read_file(&part.file, offset, want).await?;
                        offset += bytes.len() as u64;
                        write_bytes(req, bytes).await?;
                    }
                }
            }
        }
    }
    if last {
        finish(req);
    }
    Ok(())
}

async fn write_bytes(req: &mut Request, mut bytes: Bytes) -> Result<(), Fault> {
    while !bytes.is_empty() {
        let allowed = pace(req, bytes.len()).await?;
        room(req).await?;
        let piece = bytes.split_to(allowed.min(bytes.len()).min(PIECE_BYTES));
        count(req, piece.len());
        let h2 = req.h2()?;
        let len = piece.len() as u64;
        h2.shared.proto.borrow_mut().queue_data(h2.id, piece);
        let rate = rate(req);
        if rate > 0 && !bytes.is_empty() {
            // as long as the piece takes at the rate
            rest(req, Duration::from_millis(len.saturating_mul(1000) / rate)).await?;
        }
    }
    Ok(())
}

fn count(req: &mut Request, len: usize) {
    req.out.body_bytes += len as u64;
    req.out.bytes += (len + http2::frame::HEADER_LEN) as u64;
}

/// Sends the end of a small body together with the head; `false`: nothing was done.
pub(crate) fn write_small(req: &mut Request, bytes: &[u8], last: bool) -> bool {
    if rate(req) > 0 {
        return false;
    }
    let trailers = last && (req.out.make_trailers.is_some() || !req.out.trailers.is_empty());
    let Ok(h2) = req.h2() else { return false };
    if h2.finished || trailers {
        return false;
    }
    if !h2.shared.proto.borrow_mut().send_small(h2.id, bytes, last) {
        return false;
    }
    h2.finished |= last;
    count(req, bytes.len());
    true
}

/// Ends the body.
fn finish(req: &mut Request) {
    if let Some(make_trailers) = req.out.make_trailers.take() {
        make_trailers(req);
    }
    let mut trailers = http2::Fields::new();
    for (name, value) in req.out.trailers.iter() {
        let value: Vec<u8> =
            value.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n' | 0)).collect();
        with_lower(name, |name| trailers.push(name, &value));
    }
    let Ok(h2) = req.h2() else { return };
    if h2.finished {
        return;
    }
    h2.finished = true;
    let mut proto = h2.shared.proto.borrow_mut();
    if !trailers.is_empty() || !proto.send_small(h2.id, b"", true) {
        proto.queue_end(h2.id, Some(trailers));
    }
}

/// Waits until the stream may queue more.
async fn room(req: &mut Request) -> Result<(), Fault> {
    progress(req, |proto, id, cx| proto.poll_room(id, cx)).await
}

/// Waits until everything was taken by the connection, which bounds what a slow client makes us keep.
pub(crate) async fn wait_until_sent(req: &mut Request) -> Result<(), Fault> {
    progress(req, |proto, id, cx| proto.poll_sent(id, cx)).await
}

/// Waits for `ready` as long as the client takes something within each `send_timeout`.
async fn progress(
    req: &mut Request,
    ready: impl Fn(&mut http2::Connection, u32, &mut Context<'_>) -> Poll<Result<(), Broken>>,
) -> Result<(), Fault> {
    let timeout = Duration::from_millis(req.http().send_timeout);
    let h2 = req.h2()?;
    if h2.aborted {
        return Err(Fault::new(Side::Client, Kind::Closed, 499, "response was given up"));
    }
    let (shared, id) = (Rc::clone(&h2.shared), h2.id);
    loop {
        let before = shared.proto.borrow().queued(id);
        let waiting = poll_fn(|cx| ready(&mut shared.proto.borrow_mut(), id, cx));
        match net::timeout(timeout, waiting).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(broken)) => {
                h2.abort();
                return Err(fault(broken));
            }
            Err(_) => {
                let after = shared.proto.borrow().queued(id);
                if before.saturating_sub(after) >= PROGRESS_BYTES_MIN {
                    continue;
                }
                h2.abort();
                h2.code = Code::PROTOCOL_ERROR;
                let text = "client timed out (110: Connection timed out)";
                return Err(Fault::new(Side::Client, Kind::Timeout, 408, text));
            }
        }
    }
}

/// The next piece of the request body; `None` at its end.
pub(crate) async fn receive_body(req: &mut Request) -> Result<Option<Bytes>, Fault> {
    if req.body.is_absent() {
        return Ok(None);
    }
    answer_expectation(req)?;
    let timeout = Duration::from_millis(req.http().client_body_timeout);
    let h2 = req.h2()?;
    let (shared, id) = (Rc::clone(&h2.shared), h2.id);
    let waiting = poll_fn(|cx| {
        let mut proto = shared.proto.borrow_mut();
        let polled = proto.poll_body(id, cx);
        if polled.is_pending() {
            // somebody waits for it: more may be under way
            proto.widen(id, READING_WINDOW_BYTES);
        }
        polled
    });
    match net::timeout(timeout, waiting).await {
        Ok(Ok(Some(bytes))) => {
            req.length += bytes.len() as u64;
            Ok(Some(bytes))
        }
        Ok(Ok(None)) => {
            let trailers = shared.proto.borrow_mut().take_trailers(id);
            for (name, value) in trailers.iter().flat_map(http2::Fields::iter) {
                req.trailers_in.push(name, value);
            }
            Ok(None)
        }
        Ok(Err(broken)) => Err(fault(broken)),
        Err(_) => {
            h2.code = Code::PROTOCOL_ERROR;
            let text = "client timed out (110: Connection timed out)";
            Err(Fault::new(Side::Client, Kind::Timeout, 408, text))
        }
    }
}

/// Sends `100` when the client waits for it and its body is wanted.
pub(crate) fn answer_expectation(req: &mut Request) -> Result<(), Fault> {
    if !req.body.expect_continue || req.body.expect_tested {
        return Ok(());
    }
    req.body.expect_tested = true;
    let h2 = req.h2()?;
    if !h2.has_body() {
        h2.send_interim(100, &http1::Headers::new());
    }
    Ok(())
}
