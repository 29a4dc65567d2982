//! Body bytes onto an HTTP/1 connection: framing, rate limit, and when to send.

use std::time::Duration;

use bytes::Bytes;
use net::Timeout;

use super::h1::{COPY_BYTES_MAX, QUEUE_BYTES_MAX};
use crate::fault::Fault;
use crate::filter::{Chain, Chunk, FilePart};
use crate::output::read_file;
use crate::request::Request;

/// Files go out in pieces of this size.
const FILE_PIECE_BYTES: usize = 128 * 1024;

impl Request {
    /// `tcp_nodelay`: from now on pieces of a response leave at once. Not before the second piece, or request.
    pub(crate) fn set_nodelay(&self) {
        if self.http().tcp_nodelay {
            self.conn.set_nodelay();
        }
    }
}

/// Writes a piece of the body. On return either little waits to be sent or all of it is sent.
pub(crate) async fn write_body(req: &mut Request, chain: Chain) -> Result<(), Fault> {
    let Chain { chunks, last, flush } = chain;
    let rate = rate(req);
    if rate > 0 && req.out.body_bytes == 0 {
        Box::pin(trickle_head(req, rate)).await?;
    }
    if !req.header_only {
        for chunk in chunks {
            match chunk {
                Chunk::Memory(bytes) if rate == 0 => write_unpaced(req, bytes).await?,
                // boxed, as the head above: this future is part of many, and most bodies are neither paced nor files
                Chunk::Memory(bytes) => Box::pin(write_bytes(req, bytes)).await?,
                Chunk::File(part) => Box::pin(write_file(req, part)).await?,
            }
        }
    }
    if last {
        finish(req);
    }
    let postponed = req.http().postpone_output;
    let h1 = req.io.h1();
    // the end of a response waits for the connection's loop: pipelined responses leave together
    let pending = h1.pending();
    if (flush && pending > 0) || (!last && pending >= postponed) || pending >= QUEUE_BYTES_MAX {
        let timeout = Timeout::ms(req.http().send_timeout);
        req.set_nodelay();
        req.io.h1().flush(timeout).await?;
    }
    Ok(())
}

/// Copies a small body behind its head, where no rate limit and no file asks for more; `false`: nothing was done.
pub(crate) fn write_copied(req: &mut Request, bytes: &[u8], last: bool) -> bool {
    let rate = rate(req);
    let h1 = req.io.h1();
    if rate > 0 || bytes.len() > COPY_BYTES_MAX.saturating_sub(h1.outbuf.len()) {
        return false;
    }
    let before = h1.outbuf.len();
    if !bytes.is_empty() {
        if req.out.chunked {
            h1.outbuf.extend_from_slice(http1::chunk_head(bytes.len() as u64, &mut [0; 18]));
        }
        h1.outbuf.extend_from_slice(bytes);
        if req.out.chunked {
            h1.outbuf.extend_from_slice(http1::CHUNK_END);
        }
        req.out.body_bytes += bytes.len() as u64;
        req.out.bytes += (h1.outbuf.len() - before) as u64;
    }
    if last {
        finish(req);
    }
    true
}

/// Writes part of a file, piece by piece.
async fn write_file(req: &mut Request, part: FilePart) -> Result<(), Fault> {
    let (mut offset, end) = (part.offset, part.offset + part.len);
    while offset < end {
        let want = usize::try_from(end - offset).unwrap_or(usize::MAX).min(FILE_PIECE_BYTES);
        let bytes = read_file(&part.file, offset, want).await?;
        offset += bytes.len() as u64;
        write_bytes(req, bytes).await?;
    }
    Ok(())
}

/// Writes bytes without a rate limit.
async fn write_unpaced(req: &mut Request, bytes: Bytes) -> Result<(), Fault> {
    if bytes.is_empty() {
        return Ok(());
    }
    push_framed(req, bytes);
    if req.io.h1().pending() >= QUEUE_BYTES_MAX {
        let timeout = Timeout::ms(req.http().send_timeout);
        req.set_nodelay();
        req.io.h1().flush(timeout).await?;
    }
    Ok(())
}

async fn write_bytes(req: &mut Request, mut bytes: Bytes) -> Result<(), Fault> {
    while !bytes.is_empty() {
        let allowed = pace(req, bytes.len()).await?;
        let piece = bytes.split_to(allowed.min(bytes.len()));
        let len = piece.len() as u64;
        push_framed(req, piece);
        if req.io.h1().pending() >= QUEUE_BYTES_MAX {
            let timeout = Timeout::ms(req.http().send_timeout);
            req.set_nodelay();
            req.io.h1().flush(timeout).await?;
        }
        let rate = rate(req);
        if rate > 0 && !bytes.is_empty() {
            // as long as the piece takes at the rate
            rest(req, Duration::from_millis(len.saturating_mul(1000) / rate)).await?;
        }
    }
    Ok(())
}

fn push_framed(req: &mut Request, piece: Bytes) {
    let len = piece.len() as u64;
    let chunked = req.out.chunked;
    req.out.body_bytes += len;
    let h1 = req.io.h1();
    let before = h1.pending();
    if chunked {
        let mut room = [0; 18];
        h1.outbuf.extend_from_slice(http1::chunk_head(len, &mut room));
        h1.push(piece);
        h1.outbuf.extend_from_slice(b"\r\n");
    } else {
        h1.push(piece);
    }
    let written = (h1.pending() - before) as u64;
    req.out.bytes += written;
}

/// Writes what ends the body.
fn finish(req: &mut Request) {
    if let Some(make_trailers) = req.out.make_trailers.take() {
        make_trailers(req);
    }
    let chunked = req.out.chunked && !req.header_only;
    let h1 = match &mut req.io {
        crate::io::Io::H1(h1) => h1,
        _ => return,
    };
    if h1.finished {
        return;
    }
    h1.finished = true;
    if chunked {
        let before = h1.outbuf.len();
        h1.outbuf.extend_from_slice(b"0\r\n");
        for (name, value) in req.out.trailers.iter() {
            let clean = |byte: &u8| !matches!(byte, b'\r' | b'\n' | 0);
            if name.iter().all(clean) && value.iter().all(clean) {
                h1.outbuf.extend_from_slice(name);
                h1.outbuf.extend_from_slice(b": ");
                h1.outbuf.extend_from_slice(value);
                h1.outbuf.extend_from_slice(b"\r\n");
            }
        }
        h1.outbuf.extend_from_slice(b"\r\n");
        req.out.bytes += (h1.outbuf.len() - before) as u64;
    }
}

/// `limit_rate` in bytes per second, evaluated once per request; 0: no limit.
pub(super) fn rate(req: &mut Request) -> u64 {
    match req.limit_rate {
        Some(rate) => rate,
        None => {
            let rate = req.eval_limit_rate();
            *req.limit_rate.insert(rate)
        }
    }
}

/// Waits as `limit_rate` demands and says how many bytes may be sent now.
pub(super) async fn pace(req: &mut Request, wanted: usize) -> Result<usize, Fault> {
    let rate = rate(req);
    if rate == 0 {
        return Ok(wanted);
    }
    let after = req.eval_limit_rate_after();
    loop {
        let sent = req.out.bytes;
        if sent < after {
            return Ok(usize::try_from(after - sent).unwrap_or(wanted).min(wanted));
        }
        // one second's worth may go at once, as in nginx, and the head counts
        let elapsed = net::now().since(req.start);
        let limit = rate.saturating_mul(elapsed.as_secs() + 1);
        if limit > sent - after {
            let allowed = usize::try_from(limit - (sent - after)).unwrap_or(wanted);
            return Ok(allowed.min(wanted).min(QUEUE_BYTES_MAX));
        }
        let due = Duration::from_secs((sent - after) / rate);
        rest(req, due.saturating_sub(elapsed) + Duration::from_millis(1)).await?;
    }
}

/// Sends a head that is larger than what may be sent in a second.
async fn trickle_head(req: &mut Request, rate: u64) -> Result<(), Fault> {
    let mut allowed = rate.saturating_add(req.eval_limit_rate_after());
    if req.out.head_bytes <= allowed {
        return Ok(());
    }
    let mut head = std::mem::take(&mut req.io.h1().outbuf).freeze();
    while !head.is_empty() {
        let piece = head.split_to(usize::try_from(allowed).unwrap_or(usize::MAX).min(head.len()));
        let took = Duration::from_millis(piece.len() as u64 * 1000 / rate);
        req.io.h1().push(piece);
        rest(req, took).await?;
        allowed = rate;
    }
    Ok(())
}

/// Sends what waits and pauses.
pub(super) async fn rest(req: &mut Request, duration: Duration) -> Result<(), Fault> {
    let timeout = Timeout::ms(req.http().send_timeout);
    if let crate::io::Io::H1(h1) = &mut req.io {
        h1.flush(timeout).await?;
    }
    req.pause(duration)
        .await
        .map_err(|fault| Fault { text: format!("{fault} while sending response to client").into(), ..fault })
}
