//! One stream (RFC 9113 section 5.1).
//!
//! ```text
//!                   HEADERS                END_STREAM either way            END_STREAM the other way
//!   idle ─────────────────────► open ─────────────────────► half-closed ─────────────────────► closed
//!                                 │                              │                               ▲
//!                                 └──────────── RST_STREAM ──────┴───────────────────────────────┘
//! ```
//!
//! Each direction is a state of its own here. A stream stays known until its user lets go of it, so that what the user
//! still holds counts against the peer's limits.

use std::collections::VecDeque;
use std::task::Waker;

use bytes::{Bytes, BytesMut};

use crate::error::Code;
use crate::flow::{RecvWindow, SendWindow};
use crate::hpack::Fields;
use crate::priority::Priority;

/// What was received and not fetched, and what is queued and not sent.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) recv: Recv,
    pub(crate) send: Send,
    /// Reset by either side; nothing goes either way any more.
    pub(crate) reset: Option<Reset>,
    /// The message breaks its own framing: it is reset once it is answered.
    pub(crate) malformed: bool,
    /// Whom to wake when the stream is reset.
    pub(crate) reset_waker: Option<Waker>,
}

/// Who reset a stream, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reset {
    /// The code.
    pub code: Code,
    /// The peer did it; otherwise we, or the connection ended.
    pub by_peer: bool,
    /// The peer says that it did nothing with the request: it may be sent again.
    pub refused: bool,
}

/// The receiving direction.
#[derive(Debug)]
pub(crate) struct Recv {
    /// END_STREAM was received.
    pub(crate) ended: bool,
    /// Body bytes nobody fetched yet.
    pub(crate) buf: BytesMut,
    /// Body bytes are dropped as they come.
    pub(crate) discard: bool,
    pub(crate) window: RecvWindow,
    /// What `content-length` still promises.
    pub(crate) promised: Option<u64>,
    /// The final head was received.
    pub(crate) head_seen: bool,
    /// Response heads nobody fetched yet.
    pub(crate) heads: VecDeque<Fields>,
    pub(crate) trailers: Option<Fields>,
    pub(crate) waker: Option<Waker>,
}

/// The sending direction.
#[derive(Debug)]
pub(crate) struct Send {
    /// The final head was sent.
    pub(crate) head_sent: bool,
    /// END_STREAM was sent.
    pub(crate) ended: bool,
    pub(crate) window: SendWindow,
    pub(crate) queue: VecDeque<Bytes>,
    pub(crate) queued: usize,
    /// END_STREAM follows the queue.
    pub(crate) end: bool,
    /// Trailers go between the queue and the end.
    pub(crate) trailers: Option<Fields>,
    /// Largest DATA frame.
    pub(crate) chunk: usize,
    pub(crate) priority: Priority,
    /// It is in the list of those that can send.
    pub(crate) listed: bool,
    pub(crate) waker: Option<Waker>,
}

impl Stream {
    pub(crate) fn new(send_window: u32, recv_window: u32, priority: Priority) -> Self {
        Self {
            recv: Recv {
                ended: false,
                buf: BytesMut::new(),
                discard: false,
                window: RecvWindow::new(recv_window),
                promised: None,
                head_seen: false,
                heads: VecDeque::new(),
                trailers: None,
                waker: None,
            },
            send: Send {
                head_sent: false,
                ended: false,
                window: SendWindow::new(send_window),
                queue: VecDeque::new(),
                queued: 0,
                end: false,
                trailers: None,
                chunk: usize::MAX,
                priority,
                listed: false,
                waker: None,
            },
            reset: None,
            malformed: false,
            reset_waker: None,
        }
    }

    /// Neither side may send any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.reset.is_some() || (self.recv.ended && self.send.ended)
    }

    /// Whether there is something to send for which the stream's own window is open.
    pub(crate) fn can_send(&self) -> bool {
        if self.reset.is_some() || self.send.ended || !self.send.head_sent {
            return false;
        }
        if self.send.queued == 0 { self.send.end } else { self.send.window.available() > 0 }
    }

    /// Wakes everybody who waits for this stream.
    pub(crate) fn wake_all(&mut self) {
        let wakers = [self.recv.waker.take(), self.send.waker.take(), self.reset_waker.take()];
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// The stream is reset: what waits on either side is dropped, but a message that is complete can still be fetched.
    /// Returns how many body bytes were dropped.
    pub(crate) fn reset(&mut self, reset: Reset) -> usize {
        self.reset.get_or_insert(reset);
        self.send.queue.clear();
        self.send.queued = 0;
        self.wake_all();
        if self.recv.ended {
            return 0;
        }
        self.recv.heads.clear();
        std::mem::take(&mut self.recv.buf).len()
    }
}
