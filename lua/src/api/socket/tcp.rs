//! A TCP or Unix-domain cosocket: the connection with what was received and not read.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bytes::Bytes;
use net::{Buf, Chain};
use worker::transport::Transport;

use super::until::{Found, Until};
use super::{error_text, limit, pool};
use crate::ffi::UserData;

/// Received bytes a socket keeps while it looks for the end of a line or a pattern.
const BUFFERED_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A cosocket; the Lua value and operations under way share it.
pub(crate) struct Tcp(pub(crate) Rc<Socket>);

impl UserData for Tcp {
    const NAME: &'static str = "ngx.socket.tcp";
}

/// The state of a cosocket.
pub(crate) struct Socket {
    transport: RefCell<Option<Transport>>,
    /// Received and not read.
    pub(crate) inbuf: RefCell<Buf>,
    /// Limits in milliseconds.
    pub(crate) connect_ms: Cell<u64>,
    pub(crate) send_ms: Cell<u64>,
    pub(crate) read_ms: Cell<u64>,
    /// Bytes read from the system at once.
    pub(crate) chunk: Cell<usize>,
    /// Somebody waits in a direction.
    pub(crate) reading: Cell<bool>,
    pub(crate) writing: Cell<bool>,
    pub(crate) connecting: Cell<bool>,
    /// The peer sent its end, or the connection broke.
    ended: Cell<bool>,
    /// How often the connection was used before.
    pub(crate) reused: Cell<u64>,
    /// The pool it belongs to.
    pub(crate) pool: RefCell<Option<Box<[u8]>>>,
    /// Whether the pool counts it as open.
    counted: Cell<bool>,
    /// The size the pool was asked for in `connect`.
    pub(crate) pool_size: Cell<usize>,
    /// Bytes of the request body that have yet to come, where the socket is for reading that.
    left: Cell<Option<u64>>,
    /// It is the client's connection: no connecting, no closing.
    pub(crate) of_client: Cell<bool>,
    /// Wakes what waits when the socket is closed.
    closing: net::Notify,
}

/// Why an operation failed, and what was received before.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) text: String,
    pub(crate) partial: Vec<u8>,
}

impl Failure {
    fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), partial: Vec::new() }
    }
}

/// What `receive` reads.
pub(crate) enum Pattern {
    /// A line; CR and LF are left out.
    Line,
    /// Until the peer ends.
    All,
    /// So many bytes.
    Bytes(usize),
    /// What comes first, at most so many bytes.
    Any(usize),
}

impl Socket {
    pub(crate) fn new(connect_ms: u64, send_ms: u64, read_ms: u64, chunk: usize) -> Rc<Self> {
        Rc::new(Self {
            transport: RefCell::new(None),
            inbuf: RefCell::new(Buf::new()),
            connect_ms: Cell::new(connect_ms),
            send_ms: Cell::new(send_ms),
            read_ms: Cell::new(read_ms),
            chunk: Cell::new(chunk.max(1)),
            reading: Cell::new(false),
            writing: Cell::new(false),
            connecting: Cell::new(false),
            ended: Cell::new(false),
            reused: Cell::new(0),
            pool: RefCell::new(None),
            counted: Cell::new(false),
            pool_size: Cell::new(0),
            left: Cell::new(None),
            of_client: Cell::new(false),
            closing: net::Notify::new(),
        })
    }

    /// The connection.
    pub(crate) fn transport(&self) -> Option<Transport> {
        self.transport.borrow().clone()
    }

    /// Makes `transport` the connection.
    pub(crate) fn open(&self, transport: Transport, reused: u64, counted: bool) {
        *self.transport.borrow_mut() = Some(transport);
        self.inbuf.borrow_mut().clear();
        self.ended.set(false);
        self.reused.set(reused);
        self.counted.set(counted);
    }

    /// Ends the stream after `bytes`, as a request body does.
    pub(crate) fn limit(&self, bytes: u64) {
        self.left.set(Some(bytes));
    }

    /// What came before the socket was made is the first that it receives.
    pub(crate) fn begin(&self, mut early: Buf) {
        self.count(&mut early, 0);
        *self.inbuf.borrow_mut() = early;
    }

    /// Takes what was added to `buf` behind `from` off what has yet to come; what is beyond that is dropped: the
    /// connection is not kept.
    fn count(&self, buf: &mut Buf, from: usize) {
        let Some(left) = self.left.get() else { return };
        let came = (buf.len() - from) as u64;
        if came > left {
            buf.truncate(from + left as usize);
        }
        self.left.set(Some(left.saturating_sub(came)));
    }

    /// Whether it is connected.
    pub(crate) fn is_open(&self) -> bool {
        self.transport.borrow().is_some()
    }

    /// Whether the peer ended and everything it sent was read.
    pub(crate) fn is_spent(&self) -> bool {
        self.ended.get() && self.inbuf.borrow().is_empty()
    }

    /// Whether received bytes were not read.
    pub(crate) fn has_unread(&self) -> bool {
        !self.inbuf.borrow().is_empty()
    }

    /// Closes the connection.
    pub(crate) fn close(&self) {
        let transport = self.transport.take();
        if transport.is_some()
            && self.counted.replace(false)
            && let Some(pool) = &*self.pool.borrow()
        {
            pool::closed(pool);
        }
        drop(transport);
        self.inbuf.borrow_mut().clear();
        self.closing.notify_all();
    }

    /// Takes the connection out, for a pool.
    pub(crate) fn take(&self) -> Option<Transport> {
        self.counted.set(false);
        self.transport.take()
    }

    /// Receives more; `Ok(false)`: the peer ended.
    async fn fill(&self) -> Result<bool, Failure> {
        if self.ended.get() || self.left.get() == Some(0) {
            return Ok(false);
        }
        let Some(transport) = self.transport() else { return Err(Failure::new("closed")) };
        let mut buf = std::mem::take(&mut *self.inbuf.borrow_mut());
        if buf.len() >= BUFFERED_BYTES_MAX {
            *self.inbuf.borrow_mut() = buf;
            return Err(Failure::new("too much unread data"));
        }
        let before = buf.len();
        buf.reserve(self.chunk.get().max(1));
        let received =
            net::select2(transport.recv(buf, limit(self.read_ms.get())), self.closing.notified()).await;
        let (result, mut buf) = match received {
            net::Either::Left(received) => received,
            net::Either::Right(()) => return Err(Failure::new("closed")),
        };
        self.count(&mut buf, before);
        *self.inbuf.borrow_mut() = buf;
        match result {
            Ok(0) => {
                self.ended.set(true);
                Ok(false)
            }
            Ok(_) => Ok(true),
            Err(error) => {
                if error.kind() != std::io::ErrorKind::TimedOut {
                    self.ended.set(true);
                }
                Err(Failure::new(error_text(&error)))
            }
        }
    }

    fn consume(&self, count: usize) -> Vec<u8> {
        let mut inbuf = self.inbuf.borrow_mut();
        let bytes = inbuf[..count].to_vec();
        inbuf.consume(count);
        bytes
    }

    /// Everything received, which a failed operation returns as its partial result.
    fn rest(&self) -> Vec<u8> {
        let count = self.inbuf.borrow().len();
        self.consume(count)
    }

    /// Fails with what was received so far.
    fn fail(&self, mut failure: Failure) -> Failure {
        failure.partial = self.rest();
        // a peer that ended may still be sent to
        if failure.text != "timeout" && failure.text != "closed" && !self.of_client.get() {
            self.close();
        }
        failure
    }

    /// Tries to satisfy `pattern` with what is here.
    pub(crate) fn try_receive(&self, pattern: &Pattern) -> Option<Vec<u8>> {
        let (len, line) = {
            let inbuf = self.inbuf.borrow();
            let line = if let Pattern::Line = pattern { memchr::memchr(b'\n', &inbuf) } else { None };
            (inbuf.len(), line)
        };
        match pattern {
            Pattern::Line => {
                let mut bytes = self.consume(line? + 1);
                bytes.retain(|byte| !matches!(byte, b'\r' | b'\n'));
                Some(bytes)
            }
            Pattern::Bytes(count) if len >= *count => Some(self.consume(*count)),
            Pattern::Any(max) if len > 0 => Some(self.consume(len.min(*max))),
            Pattern::All | Pattern::Bytes(_) | Pattern::Any(_) => None,
        }
    }

    /// `receive`.
    pub(crate) async fn receive(&self, pattern: Pattern) -> Result<Vec<u8>, Failure> {
        loop {
            if let Some(bytes) = self.try_receive(&pattern) {
                return Ok(bytes);
            }
            match self.fill().await {
                Ok(true) => {}
                Ok(false) if matches!(pattern, Pattern::All) => return Ok(self.rest()),
                Ok(false) => {
                    let mut failure = self.fail(Failure::new("closed"));
                    if let Pattern::Line = pattern {
                        failure.partial.retain(|byte| *byte != b'\r');
                    }
                    return Err(failure);
                }
                Err(failure) => return Err(self.fail(failure)),
            }
        }
    }

    /// Tries a step of `receiveuntil` with what is here.
    pub(crate) fn try_until(&self, until: &RefCell<Until>, size: Option<usize>) -> Option<Vec<u8>> {
        let found = until.borrow_mut().look(&self.inbuf.borrow(), size);
        match found {
            Found::Bytes { give, take, .. } => {
                let mut bytes = self.consume(take);
                bytes.truncate(give);
                Some(bytes)
            }
            Found::More => None,
        }
    }

    /// A step of `receiveuntil`.
    pub(crate) async fn receive_until(
        &self,
        until: &RefCell<Until>,
        size: Option<usize>,
    ) -> Result<Vec<u8>, Failure> {
        loop {
            if let Some(bytes) = self.try_until(until, size) {
                return Ok(bytes);
            }
            match self.fill().await {
                Ok(true) => {}
                Ok(false) => return Err(self.fail(Failure::new("closed"))),
                Err(failure) => return Err(self.fail(failure)),
            }
        }
    }

    /// `send`.
    pub(crate) async fn send(&self, data: Bytes) -> Result<usize, String> {
        let Some(transport) = self.transport() else { return Err("closed".into()) };
        let count = data.len();
        let mut chain = Chain::new();
        chain.push(data);
        match transport.send_vec(chain, limit(self.send_ms.get())).await {
            Ok(()) => Ok(count),
            Err(error) => {
                let text = error_text(&error);
                if text != "timeout" && !self.of_client.get() {
                    self.close();
                }
                Err(text)
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.close();
    }
}

/// Marks a direction as busy while it lives.
pub(crate) struct Busy(Rc<Socket>, fn(&Socket) -> &Cell<bool>);

impl Busy {
    pub(crate) fn mark(socket: &Rc<Socket>, direction: fn(&Socket) -> &Cell<bool>) -> Self {
        direction(socket).set(true);
        Self(Rc::clone(socket), direction)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        (self.1)(&self.0).set(false);
    }
}
