//! One TLS connection: bytes from the peer in, plaintext out, and the other way round.
//!
//! ```text
//!   handshake(input) … until it says Done, sending output() after each step
//!   decrypt(input, out)    received bytes to plaintext
//!   encrypt(parts, out)    plaintext to bytes to be sent
//!   close(out)             our close_notify
//! ```
//! Between calls nothing of what was received or is to be sent stays here except an incomplete record.

use std::io::{self, BufRead, IoSlice, Write};

use net::Buf;
use rustls::{ClientConnection, Connection, HandshakeKind, ServerConnection};

use crate::{Result, ciphers, curves, server};

/// A connection.
pub struct Session {
    connection: Connection,
    /// The peer said that it sends no more.
    ended: bool,
    session_id: Option<[u8; 32]>,
}

/// How far a handshake is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// More bytes of the peer are needed.
    Wait,
    /// Data may flow.
    Done,
}

/// The pieces of plaintext given to one encryption.
const PIECES_MAX: usize = 64;

impl Session {
    pub(crate) fn server(connection: ServerConnection) -> Self {
        let mut session = Self::new(Connection::Server(connection));
        // the ClientHello was processed just now
        session.session_id = server::take_session_id();
        session
    }

    pub(crate) fn client(connection: ClientConnection) -> Self {
        Self::new(Connection::Client(connection))
    }

    fn new(mut connection: Connection) -> Self {
        // what is encrypted is taken out at once
        connection.set_buffer_limit(None);
        Self { connection, ended: false, session_id: None }
    }

    /// Takes bytes from the front of `input` until the handshake is done or they are used up.
    ///
    /// # Errors
    /// The handshake failed; what [`output`](Self::output) gives then is the alert.
    pub fn handshake(&mut self, input: &mut Buf) -> Result<Progress> {
        while self.connection.is_handshaking() && !input.is_empty() {
            self.process(input)?;
        }
        Ok(if self.connection.is_handshaking() { Progress::Wait } else { Progress::Done })
    }

    /// Gives rustls what it takes at once and lets it work.
    fn process(&mut self, input: &mut Buf) -> Result<()> {
        let mut rest: &[u8] = input;
        let count =
            self.connection.read_tls(&mut rest).map_err(|error| rustls::Error::General(error.to_string()))?;
        input.consume(count);
        let state = self.connection.process_new_packets()?;
        if let Some(id) = server::take_session_id() {
            self.session_id = Some(id);
        }
        self.ended |= state.peer_has_closed();
        Ok(())
    }

    /// Appends plaintext to the spare room of `out`, taking bytes from the front of `input` as needed. Returns the number of
    /// bytes appended; 0: more input is needed, or the peer [has ended](Self::has_ended).
    ///
    /// # Errors
    /// The peer broke the protocol; what [`output`](Self::output) gives then is the alert.
    pub fn decrypt(&mut self, input: &mut Buf, out: &mut Buf) -> Result<usize> {
        let before = out.len();
        loop {
            self.take_plaintext(out);
            if out.spare_len() == 0 || input.is_empty() || self.ended {
                return Ok(out.len() - before);
            }
            self.process(input)?;
        }
    }

    fn take_plaintext(&mut self, out: &mut Buf) {
        while out.spare_len() > 0 {
            let mut reader = self.connection.reader();
            // no data is an error of the kind "would block"
            let Ok(chunk) = reader.fill_buf() else { return };
            if chunk.is_empty() {
                return;
            }
            let count = chunk.len().min(out.spare_len());
            out.extend_from_slice(&chunk[..count]);
            reader.consume(count);
        }
    }

    /// Whether plaintext waits here.
    pub fn has_plaintext(&mut self) -> bool {
        self.connection.reader().fill_buf().is_ok_and(|chunk| !chunk.is_empty())
    }

    /// Whether the peer said that it sends no more (`close_notify`).
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Encrypts `parts` one after the other as one stream and appends the records to `out`, behind whatever else is to be sent.
    pub fn encrypt<'a>(&mut self, parts: impl IntoIterator<Item = &'a [u8]>, out: &mut Buf) {
        let mut slices = [IoSlice::new(&[]); PIECES_MAX];
        let mut parts = parts.into_iter();
        loop {
            let mut count = 0;
            while count < PIECES_MAX
                && let Some(part) = parts.next()
            {
                slices[count] = IoSlice::new(part);
                count += 1;
            }
            if count == 0 {
                break;
            }
            let mut writer = self.connection.writer();
            // without a limit of the buffer all of it is taken, and memory is the only thing that is written to
            let _ = match &slices[..count] {
                [only] => writer.write(only),
                several => writer.write_vectored(several),
            };
        }
        self.output(out);
    }

    /// Appends what waits to be sent: handshake messages, alerts, tickets.
    pub fn output(&mut self, out: &mut Buf) {
        let mut sink = Sink(out);
        while self.connection.wants_write() {
            if !matches!(self.connection.write_tls(&mut sink), Ok(1..)) {
                return;
            }
        }
    }

    /// Whether [`output`](Self::output) has something.
    pub fn wants_output(&self) -> bool {
        self.connection.wants_write()
    }

    /// Appends our `close_notify`.
    pub fn close(&mut self, out: &mut Buf) {
        self.connection.send_close_notify();
        self.output(out);
    }

    /// The version as `$ssl_protocol` prints it.
    pub fn version(&self) -> &'static str {
        match self.connection.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "",
        }
    }

    /// The suite as `$ssl_cipher` prints it.
    pub fn cipher(&self) -> &'static str {
        let suite = self.connection.negotiated_cipher_suite();
        suite.and_then(|suite| ciphers::openssl_name(suite.suite())).unwrap_or("")
    }

    /// The group as `$ssl_curve` prints it; empty where none was used.
    pub fn curve(&self) -> String {
        let group = self.connection.negotiated_key_exchange_group();
        group.map(|group| curves::openssl_name(group.name()).into_owned()).unwrap_or_default()
    }

    /// Whether an earlier session was resumed.
    pub fn is_resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// What identifies the session, where one was made or resumed.
    pub fn id(&self) -> Option<&[u8; 32]> {
        self.session_id.as_ref()
    }

    /// The protocol both agreed on by ALPN.
    pub fn protocol(&self) -> Option<&[u8]> {
        self.connection.alpn_protocol()
    }

    /// The peer's certificates, its own first; those of the first connection when the session was resumed.
    pub fn peer_certificates(&self) -> Vec<Vec<u8>> {
        let certificates = self.connection.peer_certificates().unwrap_or_default();
        certificates.iter().map(|der| der.as_ref().to_vec()).collect()
    }
}

/// A buffer that takes many pieces with one call.
struct Sink<'a>(&'a mut Buf);

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let total = pieces.iter().map(|piece| piece.len()).sum();
        self.0.reserve(total);
        pieces.iter().for_each(|piece| self.0.extend_from_slice(piece));
        Ok(total)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
