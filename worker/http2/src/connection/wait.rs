//! Waiting for something to happen to a stream or to the connection. Each kind of wait has one place for a waker: one task
//! waits for it.

use std::task::{Context, Poll};

use bytes::Bytes;

use super::Connection;
use crate::error::{Code, Fatal};
use crate::hpack::Fields;
use crate::stream::Reset;

/// Why a message goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// The stream was reset, or the connection ended.
    Reset(Reset),
    /// The peer sent more or less than it had announced.
    Malformed,
}

const GONE: Broken = Broken::Reset(Reset { code: Code::STREAM_CLOSED, by_peer: false, refused: false });

impl Connection {
    /// Waits until there is something to send or the connection is over. Body bytes are moved to the output first, up to
    /// `limit`.
    pub fn poll_output(&mut self, cx: &mut Context<'_>, limit: usize) -> Poll<()> {
        self.fill(limit);
        if !self.output.is_empty() || self.is_dead() || self.is_finished() {
            return Poll::Ready(());
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The next piece of a body; `None` at its end.
    pub fn poll_body(&mut self, id: u32, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        if let Some(bytes) = self.take_body(id) {
            return Poll::Ready(Ok(Some(bytes)));
        }
        let Some(stream) = self.streams.get_mut(id) else { return Poll::Ready(Err(GONE)) };
        if stream.malformed {
            return Poll::Ready(Err(Broken::Malformed));
        }
        if stream.recv.ended {
            return Poll::Ready(Ok(None));
        }
        if let Some(reset) = stream.reset {
            return Poll::Ready(Err(Broken::Reset(reset)));
        }
        stream.recv.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The next response head (clients): interim ones, then the final one.
    pub fn poll_head(&mut self, id: u32, cx: &mut Context<'_>) -> Poll<Result<Fields, Broken>> {
        let Some(stream) = self.streams.get_mut(id) else { return Poll::Ready(Err(GONE)) };
        if let Some(head) = stream.recv.heads.pop_front() {
            return Poll::Ready(Ok(head));
        }
        if let Some(reset) = stream.reset {
            return Poll::Ready(Err(Broken::Reset(reset)));
        }
        stream.recv.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Waits until `id` may queue more.
    pub fn poll_room(&mut self, id: u32, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let Some(stream) = self.streams.get(id) else { return Poll::Ready(Err(GONE)) };
        if let Some(reset) = stream.reset {
            return Poll::Ready(Err(Broken::Reset(reset)));
        }
        if stream.send.ended || self.has_room(stream) {
            return Poll::Ready(Ok(()));
        }
        self.park_sender(id, cx);
        Poll::Pending
    }

    /// Waits until everything queued on `id`, its end included, has gone to the output.
    pub fn poll_sent(&mut self, id: u32, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let Some(stream) = self.streams.get(id) else { return Poll::Ready(Err(GONE)) };
        if stream.send.ended || (stream.send.queued == 0 && !stream.send.end) {
            return Poll::Ready(Ok(()));
        }
        if let Some(reset) = stream.reset {
            return Poll::Ready(Err(Broken::Reset(reset)));
        }
        self.park_sender(id, cx);
        Poll::Pending
    }

    fn park_sender(&mut self, id: u32, cx: &Context<'_>) {
        if let Some(stream) = self.streams.get_mut(id) {
            stream.send.waker = Some(cx.waker().clone());
        }
    }

    /// Waits until `id` is reset.
    pub fn poll_reset(&mut self, id: u32, cx: &mut Context<'_>) -> Poll<Reset> {
        let Some(stream) = self.streams.get_mut(id) else {
            return Poll::Ready(Reset { code: Code::CANCEL, by_peer: false, refused: false });
        };
        if let Some(reset) = stream.reset {
            return Poll::Ready(reset);
        }
        stream.reset_waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Trailers of a message whose body has ended.
    pub fn take_trailers(&mut self, id: u32) -> Option<Fields> {
        self.streams.get_mut(id)?.recv.trailers.take()
    }

    /// Whether `id` has body bytes, or the end, ready to be fetched.
    pub fn has_body(&self, id: u32) -> bool {
        self.streams
            .get(id)
            .is_none_or(|stream| !stream.recv.buf.is_empty() || stream.recv.ended || stream.reset.is_some())
    }

    /// Body bytes of `id` that came and were not fetched.
    pub fn buffered(&self, id: u32) -> usize {
        self.streams.get(id).map_or(0, |stream| stream.recv.buf.len())
    }

    /// Whether everything the peer had to send on `id` has come.
    pub fn has_ended(&self, id: u32) -> bool {
        self.streams.get(id).is_none_or(|stream| stream.recv.ended)
    }

    /// Whether the end of the message we send on `id` has gone to the output.
    pub fn has_sent(&self, id: u32) -> bool {
        self.streams.get(id).is_none_or(|stream| stream.send.ended)
    }

    /// Whether `id` was reset.
    pub fn is_reset(&self, id: u32) -> bool {
        self.streams.get(id).is_none_or(|stream| stream.reset.is_some())
    }

    /// Body bytes queued on `id`.
    pub fn queued(&self, id: u32) -> usize {
        self.streams.get(id).map_or(0, |stream| stream.send.queued)
    }

    /// What ended the connection, if it was a fault.
    pub fn fatal(&self) -> Option<&Fatal> {
        self.fatal.as_ref()
    }
}
