//! What a response is written to and a request body is read from.

use bytes::Bytes;
use http1::{Headers, Version};

use crate::connection::{H1, H2, h2};
use crate::fault::Fault;
use crate::filter::Chain;
use crate::request::{Capture, PipeIn, Request};

/// A response of which more waits is sent before it is logged.
const LOG_AFTER_BYTES: usize = 64 * 1024;

/// The other end of a request.
#[derive(Default)]
pub enum Io {
    /// A client's HTTP/1 connection.
    H1(Box<H1>),
    /// A stream of a client's HTTP/2 connection.
    H2(Box<H2>),
    /// Memory: a subrequest whose response its parent uses.
    Memory(Capture),
    /// Its parent's response, piece by piece: a subrequest.
    Pipe(Box<PipeIn>),
    /// Nothing: a background subrequest, whose response is dropped.
    #[default]
    None,
}

impl Io {
    /// The client's HTTP/1 connection.
    ///
    /// # Panics
    /// On anything else: callers serve requests of HTTP/1 only.
    pub fn h1(&mut self) -> &mut H1 {
        match self {
            Io::H1(h1) => h1,
            Io::H2(_) | Io::Memory(_) | Io::Pipe(_) | Io::None => {
                panic!("the request is not on a connection of its own")
            }
        }
    }

    /// Gives the response up: the connection is closed after what was written so far.
    pub fn abort(&mut self) {
        match self {
            Io::H1(h1) => h1.abort(),
            Io::H2(h2) => h2.abort(),
            Io::Memory(capture) => capture.truncated = true,
            Io::Pipe(pipe) => pipe.abort(),
            Io::None => {}
        }
    }

    /// Whether the response was given up.
    pub fn is_aborted(&self) -> bool {
        match self {
            Io::H1(h1) => h1.aborted,
            Io::H2(h2) => h2.aborted,
            Io::Memory(capture) => capture.truncated,
            Io::Pipe(pipe) => pipe.is_aborted(),
            Io::None => false,
        }
    }
}

impl Request {
    /// Hands the response head to the other end.
    pub(crate) fn write_head(&mut self) {
        if self.post_action {
            return;
        }
        match &mut self.io {
            Io::H1(_) => crate::connection::write_head(self),
            Io::Pipe(pipe) => pipe.head(&self.out),
            Io::H2(_) => h2::write_head(self),
            Io::Memory(_) | Io::None => {}
        }
    }

    /// Hands a filtered piece of the body to the other end.
    pub(crate) async fn write_body(&mut self, chain: Chain) -> Result<(), Fault> {
        if self.post_action {
            return Ok(());
        }
        match &mut self.io {
            Io::H1(_) => crate::connection::write_body(self, chain).await,
            Io::H2(_) => h2::write_body(self, chain).await,
            Io::Memory(_) => crate::request::capture_body(self, chain).await,
            Io::Pipe(_) => crate::request::push_piece(self, chain).await,
            Io::None => Ok(()),
        }
    }

    /// Sends fields of a 103 response ahead of the response; nothing to clients that do not know such things.
    pub(crate) async fn send_early_hints(&mut self, fields: &Headers) -> Result<(), Fault> {
        if self.version < Version::HTTP_11 || self.out.sent {
            return Ok(());
        }
        let timeout = net::Timeout::ms(self.http().send_timeout);
        let h1 = match &mut self.io {
            Io::H1(h1) => h1,
            Io::H2(stream) => {
                stream.send_interim(103, fields);
                return Ok(());
            }
            Io::Memory(_) | Io::Pipe(_) | Io::None => return Ok(()),
        };
        let mut head = b"HTTP/1.1 103 Early Hints\r\n".to_vec();
        fields.write_where(&mut head, |_, _, _| true);
        head.extend_from_slice(b"\r\n");
        h1.outbuf.extend_from_slice(&head);
        h1.flush(timeout).await
    }

    /// Gets ready for a response that is dropped: the one before it leaves.
    pub(crate) async fn begin_post_action(&mut self) {
        self.post_action = true;
        self.header_only = true;
        self.error_page = false;
        self.err_status = 0;
        self.out.sent = false;
        self.filters = None;
        let timeout = net::Timeout::ms(self.http().send_timeout);
        if let Io::H1(h1) = &mut self.io
            && let Err(fault) = h1.flush(timeout).await
        {
            self.log(crate::log::Level::Info, format_args!("{fault}"));
        }
    }

    /// Gives the response up, unless it is one that nobody gets.
    pub(crate) fn abort(&mut self) {
        if !self.post_action {
            self.io.abort();
        }
    }

    /// Sends what is left of a large response, so that the log tells how long that took. Small ones leave with the
    /// connection's next turn: no client is too slow for the kernel's own buffer.
    pub(crate) async fn send_before_log(&mut self) {
        if let Io::H2(stream) = &self.io {
            if !stream.aborted
                && let Err(fault) = h2::wait_until_sent(self).await
            {
                self.log(crate::log::Level::Info, format_args!("{fault}"));
            }
            return;
        }
        let timeout = net::Timeout::ms(self.http().send_timeout);
        if let Io::H1(h1) = &mut self.io
            && !h1.aborted
            && h1.pending() > LOG_AFTER_BYTES
            && let Err(fault) = h1.flush(timeout).await
        {
            self.log(crate::log::Level::Info, format_args!("{fault}"));
        }
    }

    /// Sends everything that waits to be sent.
    pub(crate) async fn flush_to_client(&mut self) -> Result<(), Fault> {
        let timeout = net::Timeout::ms(self.http().send_timeout);
        match &mut self.io {
            Io::H1(h1) if !h1.aborted => h1.flush(timeout).await,
            _ => Ok(()),
        }
    }

    /// Takes a response back that cannot be completed, if no byte of it left yet: the client then sees no answer in place of a cut
    /// one.
    pub fn withdraw(&mut self) {
        let Io::H1(h1) = &mut self.io else { return };
        if usize::try_from(self.out.bytes).is_ok_and(|bytes| h1.withdraw(bytes)) {
            (self.out.bytes, self.out.head_bytes, self.out.body_bytes) = (0, 0, 0);
        }
    }

    /// Copies the end of a small body behind what waits to be sent; `false`: it must be written as a chain.
    pub(crate) fn write_copied(&mut self, bytes: &[u8], last: bool) -> bool {
        match &mut self.io {
            Io::H1(_) => crate::connection::write_copied(self, bytes, last),
            Io::H2(_) => h2::write_small(self, bytes, last),
            Io::Memory(_) | Io::Pipe(_) | Io::None => false,
        }
    }

    /// Tells a client that waits for it to go on sending.
    pub(crate) async fn answer_expectation(&mut self) -> Result<(), Fault> {
        match &mut self.io {
            Io::H1(_) => crate::connection::answer_expectation(self).await,
            Io::H2(_) => h2::answer_expectation(self),
            Io::Memory(_) | Io::Pipe(_) | Io::None => Ok(()),
        }
    }

    /// The next piece of the request body as it comes from the client; `None` at its end.
    pub(crate) async fn receive_body(&mut self) -> Result<Option<Bytes>, Fault> {
        match &mut self.io {
            Io::H1(_) => crate::connection::receive_body(self).await,
            Io::H2(_) => h2::receive_body(self).await,
            Io::Memory(_) | Io::Pipe(_) | Io::None => Ok(None),
        }
    }
}
