//! Reading a ClientHello before anything is decided: which server it is for, which certificates it can use.

use std::borrow::Cow;

use net::Buf;
use rustls::server::{Accepted, Acceptor};

use crate::{Error, Result, ServerContext, Session, ciphers, curves};

/// Reads bytes of a new connection until its ClientHello is complete.
#[derive(Default)]
pub struct HelloReader {
    acceptor: Acceptor,
    read: usize,
}

/// A handshake that cannot go on: why, and the alert to send.
#[derive(Debug)]
pub struct Refusal {
    /// Why.
    pub error: Error,
    /// Bytes for the peer; may be empty.
    pub alert: Vec<u8>,
}

/// A complete ClientHello.
pub struct Hello(Accepted);

/// The most bytes a ClientHello may take on the wire. Those of browsers with post-quantum keys have about 2 KB.
const HELLO_BYTES_MAX: usize = 64 * 1024;

impl HelloReader {
    /// Takes bytes from the front of `input`; those that follow the ClientHello stay. `None`: more are needed.
    ///
    /// # Errors
    /// It is no ClientHello, or too long.
    pub fn read(&mut self, input: &mut Buf) -> std::result::Result<Option<Hello>, Refusal> {
        while !input.is_empty() {
            let mut rest: &[u8] = input;
            let count = self.acceptor.read_tls(&mut rest).unwrap_or(0);
            if count == 0 {
                return Err(Refusal::silent("ClientHello is too long"));
            }
            input.consume(count);
            self.read += count;
            if self.read > HELLO_BYTES_MAX {
                return Err(Refusal::silent("ClientHello is too long"));
            }
            match self.acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => return Ok(Some(Hello(accepted))),
                Err((error, mut alert)) => {
                    let mut bytes = Vec::new();
                    // writing to memory does not fail
                    let _ = alert.write_all(&mut bytes);
                    return Err(Refusal { error: error.into(), alert: bytes });
                }
            }
        }
        Ok(None)
    }
}

impl Refusal {
    fn silent(text: &str) -> Self {
        Self { error: Error::Protocol(rustls::Error::General(text.into())), alert: Vec::new() }
    }

    /// Refuses a name nobody serves: `unrecognized_name`, in a record of the plain, unencrypted kind (RFC 8446, 6.2).
    pub fn unrecognized_name() -> Self {
        // an alert record of TLS 1.2's number with two bytes: fatal, unrecognized_name
        let alert = vec![21, 3, 3, 0, 2, 2, 112];
        Self { error: Error::Protocol(rustls::Error::General("handshake rejected".into())), alert }
    }

    /// Refuses for a reason of our own: `internal_error`.
    pub fn internal() -> Self {
        let alert = vec![21, 3, 3, 0, 2, 2, 80];
        Self {
            error: Error::Protocol(rustls::Error::General("no certificate could be chosen".into())),
            alert,
        }
    }
}

/// What a client offered, by number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offer {
    suites: Box<[u16]>,
    groups: Box<[u16]>,
    schemes: Box<[u16]>,
}

impl Offer {
    /// The suites as `$ssl_ciphers` prints them.
    pub fn ciphers(&self) -> String {
        join(&self.suites, |suite| match ciphers::openssl_name(suite.into()) {
            Some(name) => name.into(),
            None => format!("0x{suite:04x}").into(),
        })
    }

    /// The groups as `$ssl_curves` prints them.
    pub fn curves(&self) -> String {
        join(&self.groups, |group| curves::openssl_name(group.into()))
    }

    /// The signature schemes as `$ssl_sigalgs` prints them.
    pub fn signature_schemes(&self) -> String {
        join(&self.schemes, |scheme| format!("0x{scheme:04x}").into())
    }
}

fn join(codes: &[u16], name: impl Fn(u16) -> Cow<'static, str>) -> String {
    codes.iter().map(|code| name(*code)).collect::<Vec<_>>().join(":")
}

impl Hello {
    /// The name the client wants (SNI), lower case.
    pub fn server_name(&self) -> Option<String> {
        self.0.client_hello().server_name().map(str::to_ascii_lowercase)
    }

    /// The protocols the client offers (ALPN), in its order.
    pub fn protocols(&self) -> Vec<Vec<u8>> {
        let hello = self.0.client_hello();
        hello.alpn().map(|names| names.map(<[u8]>::to_vec).collect()).unwrap_or_default()
    }

    /// What the client offers.
    pub fn offer(&self) -> Offer {
        let hello = self.0.client_hello();
        Offer {
            suites: hello.cipher_suites().iter().map(|suite| u16::from(*suite)).collect(),
            groups: hello.named_groups().unwrap_or_default().iter().map(|group| u16::from(*group)).collect(),
            schemes: hello.signature_schemes().iter().map(|scheme| u16::from(*scheme)).collect(),
        }
    }

    /// Goes on as `context` says.
    ///
    /// # Errors
    /// The two have nothing in common.
    pub fn accept(self, context: &ServerContext) -> std::result::Result<Session, Refusal> {
        match self.0.into_connection(context.config()) {
            Ok(connection) => Ok(Session::server(connection)),
            Err((error, mut alert)) => {
                let mut bytes = Vec::new();
                let _ = alert.write_all(&mut bytes);
                Err(Refusal { error: error.into(), alert: bytes })
            }
        }
    }
}

/// The server name in a ClientHello that stands at the start of `bytes`, for those who only look: `Ok(None)` when more bytes are
/// needed, `Ok(Some(None))` when there is no name.
///
/// # Errors
/// It is no ClientHello.
pub fn peek_server_name(bytes: &[u8]) -> Result<Option<Option<String>>> {
    let mut buf = Buf::copy_of(bytes);
    match HelloReader::default().read(&mut buf) {
        Ok(None) => Ok(None),
        Ok(Some(hello)) => Ok(Some(hello.server_name())),
        Err(refusal) => Err(refusal.error),
    }
}
