//! The handshake of a client's TLS connection: which server is meant, with which certificate, and what is known of the client then.
//!
//! ```text
//!   first byte ──► plain HTTP by mistake: answered with a page (497)
//!       │
//!   ClientHello ──► server by SNI ──► hooks (which may wait) ──► handshake ──► facts for variables and checks
//! ```

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;

use net::{Buf, Stream, Timeout};
use tls::{Failure, Hello, HelloReader, Identity, Offer, Purpose, Refusal, ServerContext, TrustStore};

use super::accept::Listening;
use super::{ClientAddr, Connection, log_outside};
use crate::config::Server;
use crate::io::Io;
use crate::log::Level;
use crate::modules::{http, ssl};
use crate::phase::Flow;
use crate::regex::Captures;
use crate::request::Request;
use crate::transport::secure::handshake;
use crate::transport::{Secure, Transport};
use crate::worker::Worker;

/// What is known of a TLS connection once its handshake is done.
#[derive(Debug)]
pub struct TlsFacts {
    /// The name the client asked for (SNI).
    pub server_name: Option<Box<str>>,
    /// The protocol both agreed on (ALPN).
    pub protocol: Option<Box<[u8]>>,
    /// What the client offered.
    pub offer: Offer,
    /// The client's certificates, its own first; empty: it sent none.
    pub certificates: Vec<Vec<u8>>,
    /// What is wrong with them.
    pub failure: Option<Failure>,
}

/// Who is at the other end, for handlers of the handshake.
pub struct Handshake<'a> {
    /// The worker.
    pub worker: &'a Rc<Worker>,
    /// Number of the connection.
    pub number: u64,
    /// The client's address.
    pub client: &'a ClientAddr,
    /// Where it connected to.
    pub listening: &'a Listening,
    /// The server chosen so far.
    pub server: Rc<Server>,
    /// The ClientHello.
    pub hello: &'a Hello,
    /// Certificates to use instead of the server's.
    pub identities: Option<Vec<Identity>>,
    /// Everything to use instead of what the server's directives say, and whom client certificates must come from then.
    pub context: Option<(ServerContext, TrustStore)>,
}

/// Runs during a handshake and may wait: what `ssl_client_hello_by_lua` and `ssl_certificate_by_lua` are.
pub trait HandshakeHook {
    /// Looks at the handshake, and may put certificates in.
    ///
    /// # Errors
    /// The handshake is given up, with an alert.
    fn run<'a>(&'a self, at: &'a mut Handshake<'_>)
    -> Pin<Box<dyn Future<Output = Result<(), String>> + 'a>>;
}

/// A connection on a TLS port that begins.
pub(crate) struct Greeting<'a> {
    pub(crate) worker: &'a Rc<Worker>,
    pub(super) number: u64,
    pub(crate) listening: &'a Rc<Listening>,
    pub(super) client: &'a ClientAddr,
}

/// What became of it.
pub(super) struct Greeted {
    pub(super) transport: Transport,
    /// Who serves requests that name nobody else.
    pub(super) server: Rc<Server>,
    /// `None`: the client speaks plain HTTP.
    pub(super) tls: Option<Box<TlsFacts>>,
    /// Received and not consumed.
    pub(super) early: Buf,
}

/// First byte of a TLS record with a handshake message.
const HANDSHAKE: u8 = 0x16;
/// Room for the ClientHello: with post-quantum keys it has about 2 KB.
const ROOM_BYTES: usize = 4096;
const DOING: &str = "SSL handshaking";

impl Greeting<'_> {
    /// Carries out the handshake. `None`: the connection is of no use; what there was to say is logged and sent.
    pub(super) async fn run(&self, stream: Stream, early: Buf) -> Option<Greeted> {
        let default = Rc::clone(&self.listening.servers.default);
        let until = net::now().0 + default.confs.get(&http::SERVER).client_header_timeout;
        let mut input = early;
        if input.is_empty() {
            self.receive(&stream, &mut input, until).await?;
        }
        // SSL 2's hello has the highest bit set: it is for TLS to refuse
        if input[0] != HANDSHAKE && input[0] & 0x80 == 0 {
            let transport = Transport::Plain(stream);
            return Some(Greeted { transport, server: default, tls: None, early: input });
        }
        let mut reader = HelloReader::default();
        let hello = loop {
            match reader.read(&mut input) {
                Ok(Some(hello)) => break hello,
                Ok(None) => self.receive(&stream, &mut input, until).await?,
                Err(refusal) => return self.refuse(&stream, &refusal, until).await,
            }
        };
        match self.proceed(&stream, hello, input, until).await {
            Ok((transport, server, tls)) => {
                Some(Greeted { transport, server, tls: Some(tls), early: Buf::new() })
            }
            Err(Some(refusal)) => self.refuse(&stream, &refusal, until).await,
            Err(None) => None,
        }
    }

    async fn proceed(
        &self,
        stream: &Stream,
        hello: Hello,
        mut input: Buf,
        until: u64,
    ) -> Result<(Transport, Rc<Server>, Box<TlsFacts>), Option<Refusal>> {
        let server_name = hello.server_name();
        let server = self.server_of(server_name.as_deref());
        let conf = server.confs.get(&ssl::CONF);
        if conf.reject_handshake {
            return Err(Some(Refusal::unrecognized_name()));
        }
        let mut at = Handshake {
            worker: self.worker,
            number: self.number,
            client: self.client,
            listening: self.listening,
            server: Rc::clone(&server),
            hello: &hello,
            identities: None,
            context: None,
        };
        for hook in conf.hooks() {
            if let Err(text) = hook.run(&mut at).await {
                self.log(Level::Error, &text);
                return Err(Some(Refusal::internal()));
            }
        }
        let (identities, replaced) = (at.identities.take(), at.context.take());
        // a server without certificates of its own uses those of the address's default server
        let default = self.listening.servers.default.confs.get(&ssl::CONF);
        let Some(compiled) = conf.compiled().or_else(|| default.compiled()) else {
            return Err(Some(Refusal::unrecognized_name()));
        };
        let context = match (&replaced, identities) {
            (Some((context, _)), _) => context.clone(),
            (None, Some(identities)) => compiled.context(self.listening.http2).with_identities(identities),
            (None, None) => compiled.for_hello(self, &server, &hello).await.map_err(|text| {
                self.log(Level::Error, &text);
                Some(Refusal::internal())
            })?,
        };
        let offer = hello.offer();
        let mut session = match hello.accept(&context) {
            Ok(session) => session,
            Err(refusal) => return Err(Some(refusal)),
        };
        if let Err(error) = handshake(stream, &mut session, &mut input, until).await {
            self.log_failure(&error);
            return Err(None);
        }
        let certificates = session.peer_certificates();
        let trust = replaced.as_ref().map_or(compiled.trust(), |(_, trust)| trust);
        let failure = ssl::verify(trust, &certificates, Purpose::Client);
        let facts = TlsFacts {
            server_name: server_name.map(String::into_boxed_str),
            protocol: session.protocol().map(Box::from),
            offer,
            certificates,
            failure,
        };
        let secure = Secure::new(stream.clone(), session, input, false);
        Ok((Transport::Secure(Rc::new(secure)), server, Box::new(facts)))
    }

    /// The server the name leads to.
    fn server_of(&self, name: Option<&str>) -> Rc<Server> {
        let servers = &self.listening.servers;
        let mut captures = Captures::default();
        let found = name.and_then(|name| servers.names.find(name.as_bytes(), &mut captures));
        Rc::clone(found.map_or(&servers.default, |(server, _)| server))
    }

    /// A request for nothing but the variables in the names of certificates.
    pub(crate) fn request(&self, server: &Rc<Server>, hello: &Hello) -> Option<Box<Request>> {
        let (stream, _) = Stream::pair().ok()?;
        let mut conn = Connection::nobody(Transport::Plain(stream), Rc::clone(self.listening));
        conn.number = self.number;
        conn.client = Rc::new(self.client.clone());
        conn.secure = true;
        conn.tls = Some(Box::new(TlsFacts {
            server_name: hello.server_name().map(String::into_boxed_str),
            protocol: None,
            offer: hello.offer(),
            certificates: Vec::new(),
            failure: None,
        }));
        let conn = Rc::new(conn);
        let mut req = self.worker.request(&conn, Io::None);
        req.client = Rc::clone(&conn.client);
        req.location = Rc::clone(&server.root);
        req.server = Rc::clone(server);
        Some(req)
    }

    /// Receives behind what is there.
    async fn receive(&self, stream: &Stream, input: &mut Buf, until: u64) -> Option<()> {
        let mut room = std::mem::take(input);
        if room.spare_len() == 0 {
            room.reserve(ROOM_BYTES);
        }
        let left = until.saturating_sub(net::now().0).max(1);
        let (result, room) = stream.recv(room, Timeout::ms(left)).await;
        *input = room;
        match result {
            // a health check, or a browser's connection in reserve
            Ok(0) => {
                self.log(Level::Info, &"client closed connection");
                None
            }
            Ok(_) => Some(()),
            Err(error) => {
                self.log_failure(&error);
                None
            }
        }
    }

    async fn refuse(&self, stream: &Stream, refusal: &Refusal, until: u64) -> Option<Greeted> {
        self.log(Level::Info, &format_args!("SSL_do_handshake() failed (SSL: {})", refusal.error));
        if !refusal.alert.is_empty() {
            let left = Timeout::ms(until.saturating_sub(net::now().0).max(1));
            // the client may be gone
            let _ = stream.send_buf(Buf::copy_of(&refusal.alert), left).await;
            super::discard::linger(Transport::Plain(stream.clone()), LINGER_MS, LINGER_MS).await;
        }
        None
    }

    fn log_failure(&self, error: &io::Error) {
        match error.kind() {
            io::ErrorKind::TimedOut => {
                self.log(Level::Info, &"client timed out (110: Connection timed out)");
            }
            io::ErrorKind::UnexpectedEof => self.log(Level::Info, &"peer closed connection in SSL handshake"),
            io::ErrorKind::Other => {
                self.log(Level::Info, &format_args!("SSL_do_handshake() failed (SSL: {error})"));
            }
            _ => {
                let text = conf::error::errno(error);
                self.log(Level::Info, &format_args!("peer closed connection in SSL handshake ({text})"));
            }
        }
    }

    fn log(&self, level: Level, what: &dyn std::fmt::Display) {
        let message = format_args!("{what} while {DOING}");
        log_outside(self.listening, self.number, self.client, level, message);
    }
}

/// How long a client may take to read an alert, ms.
const LINGER_MS: u64 = 500;

impl Request {
    /// What TLS has against serving this request: `None` is nothing. The texts and codes are nginx's.
    pub(super) fn tls_objection(&mut self) -> Option<Flow> {
        let conn = Rc::clone(&self.conn);
        if !conn.listening.secure {
            return None;
        }
        let refuse = |req: &mut Self, text: std::fmt::Arguments<'_>, status: u16| {
            req.log(Level::Info, format_args!("{text} while reading client request headers"));
            Some(Flow::Status(status))
        };
        let Some(tls) = &conn.tls else {
            return refuse(self, format_args!("client sent plain HTTP request to HTTPS port"), 497);
        };
        let server = Rc::clone(&self.server);
        let conf = server.confs.get(&ssl::CONF);
        let verify = conf.verify_client;
        if verify == ssl::Verify::Off {
            return None;
        }
        // the client's certificate was verified as another server demands; nginx lets clients pass that gave no name
        if !Rc::ptr_eq(&server, &conn.server) {
            let text =
                "client attempted to request the server name different from the one that was negotiated";
            return refuse(self, format_args!("{text}"), 421);
        }
        if let Some(failure) = tls.failure
            && !tls.certificates.is_empty()
            && !(verify == ssl::Verify::OptionalNoCa && failure.is_unknown_issuer())
        {
            let Failure { code, text } = failure;
            return refuse(self, format_args!("client SSL certificate verify error: ({code}:{text})"), 495);
        }
        if verify == ssl::Verify::On && tls.certificates.is_empty() {
            return refuse(self, format_args!("client sent no required SSL certificate"), 496);
        }
        None
    }
}
