//! Bytes through TLS: a socket and a [`tls::Session`].
//!
//! What is received is decrypted into the engine's buffer, what is sent is encrypted into a buffer of its own that leaves with one
//! call. An idle connection holds neither: only an incomplete record, if the peer sent half of one.

use std::cell::{Cell, RefCell};
use std::io;
use std::time::Duration;

use net::{Buf, Chain, Received, Stream, Timeout};
use tls::{Progress, Session};

/// Both ends of a TLS connection.
pub struct Secure {
    stream: Stream,
    session: RefCell<Session>,
    /// Received and not decrypted: what did not fit the engine's buffer.
    pending: RefCell<Buf>,
    /// Encrypted, and to be sent before anything else.
    unsent: RefCell<Buf>,
    /// What an end without `close_notify` means: an error, where the peer's data has no other end (RFC 8446, 6.1).
    strict_end: bool,
    /// What we send ends in the middle.
    cut_off: Cell<bool>,
    received: Cell<u64>,
    sent: Cell<u64>,
}

/// Plaintext encrypted for one send.
const SEND_BYTES: usize = 128 * 1024;
/// What records add to plaintext: at most this per 4 KB, and once more for whatever waits.
const OVERHEAD: usize = 64;
/// Room for received records: small while heads are read.
const ROOM_MIN: usize = 4096;
const ROOM_MAX: usize = 64 * 1024;
/// How long the last words of a connection may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

impl std::fmt::Debug for Secure {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Secure({:?})", self.stream)
    }
}

impl Secure {
    /// A connection whose handshake is done; `pending` came behind it.
    pub(crate) fn new(stream: Stream, session: Session, pending: Buf, strict_end: bool) -> Self {
        Self {
            stream,
            session: RefCell::new(session),
            pending: RefCell::new(pending),
            unsent: RefCell::default(),
            strict_end,
            cut_off: Cell::new(false),
            received: Cell::new(0),
            sent: Cell::new(0),
        }
    }

    /// The socket.
    pub(crate) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Whether bytes of the peer wait here that nobody asked for.
    pub(crate) fn has_received(&self) -> bool {
        !self.pending.borrow().is_empty() || self.session.borrow_mut().has_plaintext()
    }

    /// Looks at the session.
    pub(crate) fn with_session<R>(&self, look: impl FnOnce(&Session) -> R) -> R {
        look(&self.session.borrow())
    }

    pub(crate) fn bytes_received(&self) -> u64 {
        self.received.get()
    }

    pub(crate) fn bytes_sent(&self) -> u64 {
        self.sent.get()
    }

    /// Decrypts what is here. `Some(0)`: the peer has ended.
    fn decrypt(&self, input: &mut Buf, out: &mut Buf) -> io::Result<Option<usize>> {
        let mut session = self.session.borrow_mut();
        match session.decrypt(input, out) {
            Ok(0) if session.has_ended() => Ok(Some(0)),
            Ok(0) => Ok(None),
            Ok(count) => {
                self.received.set(self.received.get() + count as u64);
                Ok(Some(count))
            }
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Decrypts what was received before.
    fn decrypt_pending(&self, out: &mut Buf) -> io::Result<Option<usize>> {
        let mut pending = self.pending.take();
        let result = self.decrypt(&mut pending, out);
        if !pending.is_empty() {
            self.pending.replace(pending);
        }
        result
    }

    /// Decrypts what was received just now; what does not fit stays for later.
    fn decrypt_received(&self, mut room: Buf, out: &mut Buf) -> io::Result<Option<usize>> {
        let result = self.decrypt(&mut room, out);
        if !room.is_empty() {
            self.pending.replace(room);
        }
        result
    }

    fn room(out: &Buf) -> Buf {
        let wanted = out.spare_len();
        Buf::with_capacity(if wanted <= ROOM_MIN { ROOM_MIN } else { wanted.min(ROOM_MAX) })
    }

    /// The peer closed the connection without saying so in TLS.
    fn cut(&self) -> io::Result<usize> {
        if self.strict_end {
            let text = "peer closed connection in SSL without close_notify";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        Ok(0)
    }

    /// See [`Stream::recv`].
    pub(crate) async fn recv(&self, mut out: Buf, timeout: Timeout) -> (io::Result<usize>, Buf) {
        if let Some(result) = self.decrypt_pending(&mut out).transpose() {
            return (self.alerting(result).await, out);
        }
        loop {
            let (result, room) = self.stream.recv(Self::room(&out), timeout).await;
            match result {
                Ok(0) => return (self.cut(), out),
                Ok(_) => {}
                Err(error) => return (Err(error), out),
            }
            if let Some(result) = self.decrypt_received(room, &mut out).transpose() {
                return (self.alerting(result).await, out);
            }
        }
    }

    /// See [`Stream::recv_idle`].
    pub(crate) async fn recv_idle(
        &self,
        mut out: Buf,
        grace: Duration,
        timeout: Timeout,
    ) -> (io::Result<Received>, Buf) {
        if let Some(result) = self.decrypt_pending(&mut out).transpose() {
            return (self.alerting(result).await.map(Received::Bytes), out);
        }
        loop {
            let (result, room) = self.stream.recv_idle(Self::room(&out), grace, timeout).await;
            match result {
                Ok(Received::Bytes(0)) => return (self.cut().map(Received::Bytes), out),
                Ok(Received::Bytes(_)) => {}
                Ok(Received::Idle) => return (Ok(Received::Idle), out),
                Err(error) => return (Err(error), out),
            }
            if let Some(result) = self.decrypt_received(room, &mut out).transpose() {
                return (self.alerting(result).await.map(Received::Bytes), out);
            }
        }
    }

    /// See [`Stream::readable`].
    pub(crate) async fn readable(&self, timeout: Timeout) -> io::Result<()> {
        if self.has_received() {
            return Ok(());
        }
        self.stream.readable(timeout).await
    }

    /// See [`Stream::recv_started`].
    pub(crate) async fn recv_started(&self, timeout: Timeout) -> (io::Result<usize>, Buf) {
        let mut out = Buf::with_capacity(ROOM_MIN);
        let (result, room) = self.stream.recv_started(timeout).await;
        match result {
            Ok(0) => return (self.cut(), out),
            Ok(_) => {}
            Err(error) => return (Err(error), out),
        }
        match self.decrypt_received(room, &mut out).transpose() {
            Some(result) => (self.alerting(result).await, out),
            None => self.recv(out, timeout).await,
        }
    }

    /// Sends the alert that a failed decryption asks for.
    async fn alerting(&self, result: io::Result<usize>) -> io::Result<usize> {
        if result.is_err() {
            let mut alert = Buf::new();
            self.session.borrow_mut().output(&mut alert);
            if !alert.is_empty() {
                // the connection is over either way
                let _ = self.stream.send_buf(alert, Timeout::after(CLOSE_TIMEOUT)).await;
            }
        }
        result
    }

    /// See [`Stream::start_send`]. What comes back when nothing can be started is empty: it is encrypted already, and leaves with
    /// the next call that sends or settles.
    pub(crate) fn start_send(&self, mut buf: Buf) -> Result<Buf, Buf> {
        if !self.unsent.borrow().is_empty() {
            return Err(buf);
        }
        let sealed = self.seal([&buf[..]], buf.len());
        self.sent.set(self.sent.get() + buf.len() as u64);
        buf.clear();
        match self.stream.start_send(sealed) {
            Ok(_) => Ok(buf),
            Err(sealed) => {
                self.unsent.replace(sealed);
                Err(buf)
            }
        }
    }

    /// See [`Stream::is_sending`].
    pub(crate) fn is_sending(&self) -> bool {
        !self.unsent.borrow().is_empty() || self.stream.is_sending()
    }

    /// See [`Stream::settle`].
    pub(crate) async fn settle(&self, timeout: Timeout) -> io::Result<()> {
        self.send_unsent(timeout).await?;
        self.stream.settle(timeout).await
    }

    async fn send_unsent(&self, timeout: Timeout) -> io::Result<()> {
        let unsent = self.unsent.take();
        if unsent.is_empty() {
            return Ok(());
        }
        self.stream.send_buf(unsent, timeout).await.0
    }

    /// See [`Stream::send_buf`].
    pub(crate) async fn send_buf(&self, mut buf: Buf, timeout: Timeout) -> (io::Result<()>, Buf) {
        let mut result = self.send_unsent(timeout).await;
        if result.is_err() {
            return (result, buf);
        }
        for piece in buf.chunks(SEND_BYTES) {
            let sealed = self.seal([piece], piece.len());
            result = self.stream.send_buf(sealed, timeout).await.0;
            if result.is_err() {
                break;
            }
            self.sent.set(self.sent.get() + piece.len() as u64);
        }
        buf.clear();
        (result, buf)
    }

    /// See [`Stream::send_vec`].
    pub(crate) async fn send_vec(&self, mut chain: Chain, timeout: Timeout) -> io::Result<()> {
        self.send_unsent(timeout).await?;
        while !chain.is_empty() {
            let len = chain.len().min(SEND_BYTES);
            let mut left = len;
            let pieces = chain.iter().map_while(|piece| {
                let take = piece.len().min(left);
                left -= take;
                (take > 0).then(|| &piece[..take])
            });
            let sealed = self.seal(pieces, len);
            chain.consume(len);
            self.stream.send_buf(sealed, timeout).await.0?;
            self.sent.set(self.sent.get() + len as u64);
        }
        Ok(())
    }

    /// Encrypts `len` bytes into a buffer to be sent.
    fn seal<'a>(&self, pieces: impl IntoIterator<Item = &'a [u8]>, len: usize) -> Buf {
        let mut sealed = Buf::with_capacity(len + OVERHEAD * (2 + len / ROOM_MIN));
        self.session.borrow_mut().encrypt(pieces, &mut sealed);
        sealed
    }

    /// Says that we send no more, and ends the sending direction.
    pub(crate) async fn end_sending(&self) -> io::Result<()> {
        self.close().await;
        self.stream.shutdown_write()
    }

    /// What we sent ends in the middle: the end of the connection must not look like the end of what was sent.
    pub(crate) fn cut_off(&self) {
        self.cut_off.set(true);
    }

    /// Says that we send no more, if that is so.
    pub(crate) async fn close(&self) {
        if self.cut_off.get() {
            return;
        }
        let mut last = self.unsent.take();
        self.session.borrow_mut().close(&mut last);
        if !last.is_empty() {
            // the peer may be gone already
            let _ = self.stream.send_buf(last, Timeout::after(CLOSE_TIMEOUT)).await;
        }
    }
}

/// Drives a handshake; `input` holds what was received already. Returns the session's state of things when data may flow.
///
/// # Errors
/// The handshake failed (the alert is sent), the peer closed (`UnexpectedEof`) or took too long (`TimedOut`).
pub(crate) async fn handshake(
    stream: &Stream,
    session: &mut Session,
    input: &mut Buf,
    until_ms: u64,
) -> io::Result<()> {
    loop {
        let progress = session.handshake(input);
        let left = until_ms.saturating_sub(net::now().0).max(1);
        // what ends a handshake leaves with the answer to a request that came along
        let answering =
            matches!(progress, Ok(Progress::Done)) && (!input.is_empty() || session.has_plaintext());
        if session.wants_output() && !answering {
            let mut output = Buf::with_capacity(ROOM_MIN);
            session.output(&mut output);
            stream.send_buf(output, Timeout::ms(left)).await.0?;
        }
        match progress {
            Ok(Progress::Done) => return Ok(()),
            Ok(Progress::Wait) => {}
            Err(error) => return Err(io::Error::other(error)),
        }
        let room = std::mem::take(input);
        let room = if room.capacity() < ROOM_MIN { Buf::with_capacity(ROOM_MIN) } else { room };
        let (result, room) = stream.recv(room, Timeout::ms(left)).await;
        *input = room;
        if result? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
