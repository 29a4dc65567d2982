//! DATA in: into the stream's buffer under both windows, and giving the windows back when it is fetched.

use bytes::Bytes;

use super::Connection;
use crate::error::{Code, Fatal};
use crate::frame::{self, Header, flag};
use crate::streams::Ended;

/// DATA frames with fewer bytes, and no end, move nothing forward.
const TINY_BYTES_MAX: usize = 4;

impl Connection {
    pub(super) fn data_frame(&mut self, header: &Header, payload: &[u8]) -> Result<(), Fatal> {
        let id = header.stream;
        let (padding, bytes) = frame::unpad(header, payload, "DATA")?;
        let end = header.has(flag::END_STREAM);
        if bytes.len() <= TINY_BYTES_MAX && !end {
            self.budget.control(1)?;
        }
        self.budget.data(bytes.len());
        if !self.recv_window.receive(header.len) {
            return Err(Fatal::new(Code::FLOW_CONTROL_ERROR, "violated connection flow control"));
        }
        let Some(stream) = self.streams.get_mut(id) else { return self.data_for_nobody(id, header.len) };
        if let Some(reset) = stream.reset {
            self.consume_connection(header.len);
            return if reset.by_peer { self.stream_error(id, Code::STREAM_CLOSED) } else { Ok(()) };
        }
        if stream.recv.ended {
            if stream.send.ended {
                return Err(Fatal::new(Code::STREAM_CLOSED, "sent DATA frame for closed stream"));
            }
            self.consume_connection(header.len);
            return self.stream_error(id, Code::STREAM_CLOSED);
        }
        if !stream.recv.head_seen {
            self.consume_connection(header.len);
            return self.stream_error(id, Code::PROTOCOL_ERROR);
        }
        if !stream.recv.window.receive(header.len) {
            self.consume_connection(header.len);
            return self.stream_error(id, Code::FLOW_CONTROL_ERROR);
        }
        self.body(id, padding, bytes, end)
    }

    /// DATA on a stream that is gone.
    fn data_for_nobody(&mut self, id: u32, len: usize) -> Result<(), Fatal> {
        self.consume_connection(len);
        match self.streams.ended(id) {
            Some(Ended::ByUs) => Ok(()),
            Some(Ended::ByPeer) => self.stream_error(id, Code::STREAM_CLOSED),
            Some(Ended::Complete) | None => {
                Err(Fatal::new(Code::STREAM_CLOSED, "sent DATA frame for closed stream"))
            }
        }
    }

    fn body(&mut self, id: u32, padding: usize, bytes: &[u8], end: bool) -> Result<(), Fatal> {
        let Some(stream) = self.streams.get_mut(id) else { return Ok(()) };
        let mut dropped = padding;
        let len = bytes.len() as u64;
        match &mut stream.recv.promised {
            Some(left) if *left < len || (end && *left != len) => {
                // whoever reads the body is told; the stream is reset once that is answered
                stream.malformed = true;
                stream.recv.discard = true;
                stream.recv.promised = None;
                dropped += std::mem::take(&mut stream.recv.buf).len();
            }
            Some(left) => *left -= len,
            None => {}
        }
        if stream.recv.discard {
            dropped += bytes.len();
        } else {
            stream.recv.buf.extend_from_slice(bytes);
        }
        if let Some(waker) = stream.recv.waker.take() {
            waker.wake();
        }
        if stream.malformed {
            self.budget.error()?;
        }
        if end {
            self.consume_connection(dropped);
            return self.end_received(id);
        }
        self.consume(id, dropped);
        Ok(())
    }

    /// END_STREAM was received on `id`.
    pub(super) fn end_received(&mut self, id: u32) -> Result<(), Fatal> {
        let Some(stream) = self.streams.get_mut(id) else { return Ok(()) };
        stream.recv.ended = true;
        if stream.recv.promised.is_some_and(|left| left > 0) {
            stream.malformed = true;
            stream.recv.promised = None;
            self.budget.error()?;
        }
        let Some(stream) = self.streams.get_mut(id) else { return Ok(()) };
        if let Some(waker) = stream.recv.waker.take() {
            waker.wake();
        }
        if stream.send.ended {
            self.closed_stream(id, Ended::Complete);
        }
        self.budget.completed();
        Ok(())
    }

    /// Takes the body bytes that have come; their windows are given back.
    pub(super) fn take_body(&mut self, id: u32) -> Option<Bytes> {
        let stream = self.streams.get_mut(id)?;
        if stream.recv.buf.is_empty() {
            return None;
        }
        let bytes = stream.recv.buf.split().freeze();
        self.consume(id, bytes.len());
        Some(bytes)
    }

    /// From now on the body of `id` is dropped as it comes.
    pub fn discard_body(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        stream.recv.discard = true;
        let dropped = std::mem::take(&mut stream.recv.buf).len();
        self.consume(id, dropped);
    }

    /// Bytes of a stream were consumed: the stream's window and the connection's are given back.
    fn consume(&mut self, id: u32, bytes: usize) {
        if let Some(stream) = self.streams.get_mut(id)
            && !stream.recv.ended
            && stream.reset.is_none()
            && let Some(increment) = stream.recv.window.consume(bytes)
        {
            frame::window_update(self.output.tail(), id, increment);
            self.wake();
        }
        self.consume_connection(bytes);
    }

    /// Bytes were consumed that no stream's window counts any more.
    pub(super) fn consume_connection(&mut self, bytes: usize) {
        if let Some(increment) = self.recv_window.consume(bytes)
            && self.fatal.is_none()
            && !self.closed
        {
            frame::window_update(self.output.tail(), 0, increment);
            self.wake();
        }
    }

    /// Gives a stream whose body is being read a window of at least `size` bytes.
    pub fn widen(&mut self, id: u32, size: u32) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let more = size.saturating_sub(stream.recv.window.size());
        if more > 0 && !stream.recv.ended && stream.reset.is_none() {
            stream.recv.window.widen(more);
            frame::window_update(self.output.tail(), id, more);
            self.wake();
        }
    }
}
