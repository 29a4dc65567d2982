//! The state of an HTTP/1 connection while it is busy. An idle connection has none of this.

use bytes::Bytes;
use http1::{BodyDecoder, BodyState, Framing, RequestParser};
use net::{Buf, Timeout};

use crate::fault::{Fault, Kind, Side};
use crate::request::Request;
use crate::transport::Transport;

/// Bytes in and bytes out.
pub struct H1 {
    /// The stream.
    pub stream: Transport,
    /// Received and not consumed: the rest of a head, body bytes, pipelined requests.
    pub inbuf: Buf,
    /// Reads heads.
    pub parser: RequestParser,
    /// Takes the body of the current request apart.
    pub decoder: BodyDecoder,
    /// Encoded and not sent: small things are copied together here.
    pub outbuf: Buf,
    /// Encoded and not sent, in front of `outbuf`.
    pub queue: net::Chain,
    /// The response is cut short: close, and do not pretend that it ended.
    pub aborted: bool,
    /// The last byte of the response was handed over.
    pub finished: bool,
    /// The connection became a tunnel; nothing more is parsed.
    pub upgraded: bool,
    /// A part of the response has been sent and awaited, so the peer may be behind.
    pub awaited: bool,
}

/// Responses up to this size are copied behind their head and sent with one call.
pub const COPY_BYTES_MAX: usize = 8 * 1024;
/// Encoded bytes that wait for more before they are sent (`postpone_output` below, memory above).
pub const QUEUE_BYTES_MAX: usize = 256 * 1024;

impl H1 {
    /// A connection that just became busy.
    pub fn new(stream: Transport) -> Self {
        Self {
            stream,
            inbuf: Buf::new(),
            parser: RequestParser::new(),
            decoder: BodyDecoder::new(Framing::None),
            outbuf: Buf::new(),
            queue: net::Chain::new(),
            aborted: false,
            finished: false,
            upgraded: false,
            awaited: false,
        }
    }

    /// Prepares for the next request.
    pub fn next_request(&mut self) {
        self.parser.reset();
        self.finished = false;
    }

    /// Gives up: what was not sent is dropped and the connection will be closed.
    pub fn abort(&mut self) {
        self.aborted = true;
        self.finished = true;
    }

    /// Takes the last `bytes` that were handed over back, if all of them still wait together.
    pub fn withdraw(&mut self, bytes: usize) -> bool {
        let kept = self.outbuf.len().checked_sub(bytes).filter(|_| self.queue.is_empty());
        if let Some(kept) = kept {
            self.outbuf.truncate(kept);
        }
        kept.is_some()
    }

    /// Bytes waiting to be sent.
    pub fn pending(&self) -> usize {
        self.queue.len() + self.outbuf.len()
    }

    /// Appends bytes to what will be sent, by copy when they are few.
    pub fn push(&mut self, bytes: Bytes) {
        if bytes.len() <= COPY_BYTES_MAX.saturating_sub(self.outbuf.len()) {
            self.outbuf.extend_from_slice(&bytes);
        } else {
            self.seal_outbuf();
            self.queue.push(bytes);
        }
    }

    fn seal_outbuf(&mut self) {
        if !self.outbuf.is_empty() {
            self.queue.push(std::mem::take(&mut self.outbuf).freeze());
        }
    }

    /// Begins to send what waits, if it is the whole of a small response: the task that goes on to receive needs not be woken
    /// for its end. `false`: nothing was done, and [`H1::flush`] is to be awaited.
    pub fn flush_ahead(&mut self) -> bool {
        if self.outbuf.is_empty() && self.queue.is_empty() {
            self.awaited = false;
            return !self.aborted;
        }
        if self.aborted
            || !self.queue.is_empty()
            || self.outbuf.len() > COPY_BYTES_MAX
            || std::mem::take(&mut self.awaited)
        {
            return false;
        }
        match self.stream.start_send(std::mem::take(&mut self.outbuf)) {
            Ok(spare) => {
                self.outbuf = spare;
                true
            }
            Err(outbuf) => {
                self.outbuf = outbuf;
                false
            }
        }
    }

    /// Waits for what [`H1::flush_ahead`] began, before the connection is closed or goes idle.
    pub async fn settle(&mut self, timeout: Timeout) -> Result<(), Fault> {
        if !self.stream.is_sending() {
            return Ok(());
        }
        self.stream.settle(timeout).await.map_err(|error| {
            self.aborted = true;
            Fault::client(&error)
        })
    }

    /// Sends everything that waits.
    pub async fn flush(&mut self, timeout: Timeout) -> Result<(), Fault> {
        if self.aborted {
            return Err(Fault::new(Side::Client, Kind::Closed, 499, "response was given up"));
        }
        let result = if self.queue.is_empty() {
            if self.outbuf.is_empty() {
                return self.settle(timeout).await;
            }
            self.awaited = true;
            let (result, mut buf) = self.stream.send_buf(std::mem::take(&mut self.outbuf), timeout).await;
            buf.clear();
            self.outbuf = buf;
            result
        } else {
            self.awaited = true;
            self.seal_outbuf();
            self.stream.send_vec(std::mem::take(&mut self.queue), timeout).await
        };
        result.map_err(|error| {
            self.aborted = true;
            Fault::client(&error)
        })
    }
}

/// The next piece of the request body; `None` at its end.
pub(crate) async fn receive_body(req: &mut Request) -> Result<Option<Bytes>, Fault> {
    if req.body.is_absent() {
        return Ok(None);
    }
    answer_expectation(req).await?;
    let buffer_len = req.http().client_body_buffer_size.clamp(4096, 64 * 1024);
    loop {
        let h1 = req.io.h1();
        if h1.decoder.is_end() {
            let trailers = h1.decoder.trailers().filter(|trailers| !trailers.is_empty());
            if let Some(trailers) = trailers {
                req.trailers_in.copy_from(trailers);
            }
            return Ok(None);
        }
        if !h1.inbuf.is_empty() {
            match decode(h1)? {
                Some(bytes) => {
                    req.length += bytes.len() as u64;
                    return Ok(Some(bytes));
                }
                None => continue,
            }
        }
        // large reads for large bodies, and none beyond what is known to come
        let want = h1
            .decoder
            .left()
            .map_or(buffer_len, |left| usize::try_from(left).unwrap_or(buffer_len).min(buffer_len));
        let buf = if h1.inbuf.capacity() >= want {
            std::mem::take(&mut h1.inbuf)
        } else {
            Buf::with_capacity(want)
        };
        let stream = h1.stream.clone();
        let Some(timeout) = req.body_patience() else {
            return Err(Fault::client(&std::io::ErrorKind::TimedOut.into()));
        };
        let (result, buf) = stream.recv(buf, timeout).await;
        req.io.h1().inbuf = buf;
        match result {
            Ok(0) => {
                return Err(Fault::new(
                    Side::Client,
                    Kind::Closed,
                    400,
                    "client prematurely closed connection",
                ));
            }
            Ok(_) => {}
            Err(error) => return Err(Fault::client(&error)),
        }
    }
}

/// Takes the next data bytes out of the input; `None` when only framing was consumed.
fn decode(h1: &mut H1) -> Result<Option<Bytes>, Fault> {
    let decoded = h1.decoder.decode(&h1.inbuf).map_err(|error| {
        Fault::new(Side::Client, Kind::Protocol, 400, format!("client sent invalid chunked body: {error}"))
    })?;
    let whole = decoded.consumed == h1.inbuf.len();
    debug_assert!(decoded.consumed > 0 || decoded.state == BodyState::End);
    if decoded.data.is_empty() {
        h1.inbuf.consume(decoded.consumed);
        return Ok(None);
    }
    if whole && decoded.data.len() * 2 > h1.inbuf.capacity() {
        // the buffer is mostly this piece: hand it over as it is
        let bytes = std::mem::take(&mut h1.inbuf).freeze();
        return Ok(Some(bytes.slice(decoded.data)));
    }
    let bytes = Bytes::copy_from_slice(&h1.inbuf[decoded.data]);
    h1.inbuf.consume(decoded.consumed);
    Ok(Some(bytes))
}

/// Sends `100 Continue` when the client waits for it and its body is wanted.
pub(crate) async fn answer_expectation(req: &mut Request) -> Result<(), Fault> {
    if !req.body.expect_continue || req.body.expect_tested {
        return Ok(());
    }
    req.body.expect_tested = true;
    let timeout = Timeout::ms(req.http().send_timeout);
    let h1 = req.io.h1();
    if !h1.inbuf.is_empty() {
        // it did not wait
        return Ok(());
    }
    h1.outbuf.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
    h1.flush(timeout).await
}
