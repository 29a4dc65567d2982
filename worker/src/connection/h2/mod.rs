//! HTTP/2 connections: one task per connection owns the socket, one task per stream runs the phases.
//!
//! ```text
//!   socket ──► serve (read) ──► http2::Connection ──► stream task: phases ──► http2::Connection ──► serve (write) ──► socket
//! ```
//!
//! Both kinds of tasks share the protocol machine behind a [`Shared`]. Stream tasks never touch the socket: what they send is
//! queued in the machine, bounded per stream and per connection, and leaves with the next turn of the connection's task, so
//! that the responses of many streams go out with one system call.

mod body;
mod head_in;
mod head_out;
mod serve;
mod stream;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;

use http2::{Broken, Code, Reset};

pub(crate) use body::{answer_expectation, receive_body, wait_until_sent, write_body, write_small};
pub(crate) use head_out::write_head;
pub(super) use serve::serve;

/// What the tasks of one connection share.
pub struct Shared {
    /// The protocol machine. Never borrowed across an await.
    pub(super) proto: RefCell<http2::Connection>,
    /// Woken when output was sent: a congested connection may be read on.
    pub(super) sent: net::Notify,
    /// When something last happened, ms: from then on the connection is idle.
    pub(super) quiet_since: Cell<u64>,
    /// Whether the connection is kept when it has no streams (`keepalive_timeout` is not 0).
    pub(super) keeps: bool,
}

/// One stream of a connection: what a request is read from and its response written to.
pub struct H2 {
    /// The connection.
    pub(super) shared: Rc<Shared>,
    /// The stream.
    pub(super) id: u32,
    /// The response is cut short: the stream is reset.
    pub aborted: bool,
    /// The last byte of the response was handed over.
    pub finished: bool,
    /// Why it was given up, for the reset.
    pub(super) code: Code,
}

/// Body bytes of one stream under way once its body is being read.
const READING_WINDOW_BYTES: u32 = 256 * 1024;

impl H2 {
    pub(super) fn new(shared: Rc<Shared>, id: u32) -> Self {
        Self { shared, id, aborted: false, finished: false, code: Code::INTERNAL_ERROR }
    }

    /// Gives up: what was not sent is dropped and the stream will be reset.
    pub fn abort(&mut self) {
        self.aborted = true;
        self.finished = true;
    }

    /// A reference that subrequests may share.
    pub(crate) fn watch(&self) -> Watch {
        Watch { shared: Rc::clone(&self.shared), id: self.id }
    }

    /// Whether a piece of the request's body, or its end, is here.
    pub(crate) fn has_body(&self) -> bool {
        self.shared.proto.borrow().has_body(self.id)
    }

    /// Whether all of the request has come, with so many bytes at most that were not read.
    pub(crate) fn has_ended(&self, bytes_max: usize) -> bool {
        let proto = self.shared.proto.borrow();
        proto.has_ended(self.id) && proto.buffered(self.id) <= bytes_max
    }

    /// Sends a head that another one will follow.
    pub(crate) fn send_interim(&self, status: u16, fields: &http1::Headers) {
        self.shared.proto.borrow_mut().send_head(self.id, true, false, |encoder, out| {
            encoder.status(out, status);
            for (name, value) in fields.iter() {
                head_out::with_lower(name, |name| encoder.field(out, name, value));
            }
        });
    }

    /// Drops the request's body as it comes.
    pub(crate) fn discard_body(&self) {
        self.shared.proto.borrow_mut().discard_body(self.id);
    }
}

/// Tells when the client gives a stream up.
#[derive(Clone)]
pub struct Watch {
    shared: Rc<Shared>,
    id: u32,
}

impl Watch {
    /// Waits until the client resets the stream or its connection ends.
    pub async fn hung_up(&self) {
        poll_fn(|cx| self.shared.proto.borrow_mut().poll_reset(self.id, cx)).await;
    }
}

/// What a broken stream is to the request on it.
fn fault(broken: Broken) -> crate::fault::Fault {
    use crate::fault::{Fault, Kind, Side};
    match broken {
        Broken::Malformed => {
            Fault::new(Side::Client, Kind::Protocol, 400, "client sent body with incorrect length")
        }
        Broken::Reset(Reset { by_peer: true, .. }) => {
            Fault::new(Side::Client, Kind::Closed, 499, "client canceled stream")
        }
        Broken::Reset(_) => Fault::new(Side::Client, Kind::Closed, 499, "client's stream was closed"),
    }
}
