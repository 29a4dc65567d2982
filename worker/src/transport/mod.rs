//! What a connection sends and receives through: the socket itself, or something between it and the engine.
//!
//! The engine sees plain bytes either way. One enum instead of a trait object: the choice is made once per connection, a
//! plain connection pays one predictable branch per operation, and nothing is allocated for it.

pub(crate) mod secure;

use std::io;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use net::{Buf, Chain, Received, Stream, Timeout};

pub use secure::Secure;

/// A connected byte stream as the engine uses it. Clones share it; it is closed when the last one is dropped.
///
/// One task part may receive while another one sends, as with [`net::Stream`].
#[derive(Debug, Clone)]
pub enum Transport {
    /// Bytes go over the socket as they are.
    Plain(Stream),
    /// Bytes go through TLS.
    Secure(Rc<Secure>),
}

impl Transport {
    /// The socket below, for what concerns the connection and not its bytes: addresses, options, registration as idle.
    pub fn socket(&self) -> &Stream {
        match self {
            Self::Plain(stream) => stream,
            Self::Secure(secure) => secure.stream(),
        }
    }

    /// The TLS connection, if it is one.
    pub fn secure(&self) -> Option<&Rc<Secure>> {
        match self {
            Self::Plain(_) => None,
            Self::Secure(secure) => Some(secure),
        }
    }

    /// What was sent ends in the middle: nothing says goodbye, so that the peer notices.
    pub fn cut_off(&self) {
        if let Self::Secure(secure) = self {
            secure.cut_off();
        }
    }

    /// Says goodbye where the protocol has a word for it; the connection is dropped next.
    pub async fn close(&self) {
        if let Self::Secure(secure) = self {
            secure.close().await;
        }
    }

    /// See [`Stream::recv`].
    pub async fn recv(&self, buf: Buf, timeout: Timeout) -> (io::Result<usize>, Buf) {
        match self {
            Self::Plain(stream) => stream.recv(buf, timeout).await,
            Self::Secure(secure) => secure.recv(buf, timeout).await,
        }
    }

    /// See [`Stream::recv_idle`].
    pub async fn recv_idle(
        &self,
        buf: Buf,
        grace: Duration,
        timeout: Timeout,
    ) -> (io::Result<Received>, Buf) {
        match self {
            Self::Plain(stream) => stream.recv_idle(buf, grace, timeout).await,
            Self::Secure(secure) => secure.recv_idle(buf, grace, timeout).await,
        }
    }

    /// See [`Stream::readable`].
    pub async fn readable(&self, timeout: Timeout) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.readable(timeout).await,
            Self::Secure(secure) => secure.readable(timeout).await,
        }
    }

    /// See [`Stream::hung_up`].
    pub async fn hung_up(&self) {
        self.socket().hung_up().await;
    }

    /// See [`Stream::hung_up_from_now`].
    pub async fn hung_up_from_now(&self) {
        self.socket().hung_up_from_now().await;
    }

    /// See [`Stream::send_buf`].
    pub async fn send_buf(&self, buf: Buf, timeout: Timeout) -> (io::Result<()>, Buf) {
        match self {
            Self::Plain(stream) => stream.send_buf(buf, timeout).await,
            Self::Secure(secure) => secure.send_buf(buf, timeout).await,
        }
    }

    /// See [`Stream::start_send`].
    ///
    /// # Errors
    /// The buffer comes back when it cannot be started now; it is to be sent with [`Transport::send_buf`].
    pub fn start_send(&self, buf: Buf) -> Result<Buf, Buf> {
        match self {
            Self::Plain(stream) => stream.start_send(buf),
            Self::Secure(secure) => secure.start_send(buf),
        }
    }

    /// See [`Stream::is_sending`].
    pub fn is_sending(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_sending(),
            Self::Secure(secure) => secure.is_sending(),
        }
    }

    /// See [`Stream::settle`].
    ///
    /// # Errors
    /// The send failed, or the time limit passed.
    pub async fn settle(&self, timeout: Timeout) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.settle(timeout).await,
            Self::Secure(secure) => secure.settle(timeout).await,
        }
    }

    /// See [`Stream::send_vec`].
    pub async fn send_vec(&self, chain: Chain, timeout: Timeout) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.send_vec(chain, timeout).await,
            Self::Secure(secure) => secure.send_vec(chain, timeout).await,
        }
    }

    /// Starts the next receive of a connection that becomes idle; see [`Stream::start_ahead`].
    pub fn start_ahead(&self, buf: Buf, waker: &Waker) -> bool {
        if self.secure().is_some_and(|secure| secure.has_received()) {
            return false;
        }
        self.socket().start_ahead(buf, waker)
    }

    /// Whether the peer spoke out of turn or ended; see [`Stream::ahead_ended`].
    pub fn ahead_ended(&self, waker: &Waker) -> bool {
        self.socket().ahead_ended(waker)
    }

    /// See [`Stream::recv_started`].
    pub async fn recv_started(&self, timeout: Timeout) -> (io::Result<usize>, Buf) {
        match self {
            Self::Plain(stream) => stream.recv_started(timeout).await,
            Self::Secure(secure) => secure.recv_started(timeout).await,
        }
    }

    /// Bytes of the engine received over the connection's life.
    pub fn bytes_received(&self) -> u64 {
        match self {
            Self::Plain(stream) => stream.bytes_received(),
            Self::Secure(secure) => secure.bytes_received(),
        }
    }

    /// Bytes of the engine sent over the connection's life.
    pub fn bytes_sent(&self) -> u64 {
        match self {
            Self::Plain(stream) => stream.bytes_sent(),
            Self::Secure(secure) => secure.bytes_sent(),
        }
    }

    /// Ends the sending direction.
    ///
    /// # Errors
    /// The connection is gone already.
    pub async fn end_sending(&self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.shutdown_write(),
            Self::Secure(secure) => secure.end_sending().await,
        }
    }
}
