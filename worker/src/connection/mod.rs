//! Connections: a protocol machine meets a stream and yields requests.

mod accept;
mod discard;
mod h1;
pub(crate) mod h2;
mod head_in;
mod head_out;
mod preface;
mod proxied;
mod secure;
mod serve;
mod write;

use std::cell::{Cell, OnceCell};
use std::rc::Rc;

use net::proxy_protocol::Proxied;

pub use accept::{Listening, ServerSet, accept_loop, accept_rest};
pub(crate) use discard::discard_body;
pub use h1::H1;
pub(crate) use h1::{answer_expectation, receive_body};
pub use h2::H2;
pub(crate) use head_out::write_head;
pub(crate) use secure::Greeting;
pub use secure::{Handshake, HandshakeHook, TlsFacts};
pub(crate) use write::{write_body, write_copied};

use crate::config::Server;
use crate::log::Level;
use crate::modules::http;
use crate::transport::Transport;

/// What all requests of one connection share.
pub struct Connection {
    /// Serial number of the connection in this worker, printed as `*N` in logs.
    pub number: u64,
    /// The stream.
    pub stream: Transport,
    /// The peer as connected: a proxy, if there is one before us.
    pub client: Rc<ClientAddr>,
    /// What a PROXY protocol header said.
    pub proxied: Option<Box<Proxied>>,
    /// Bytes that came together with that header and belong to what follows it.
    pub early: Cell<net::Buf>,
    /// Our end, once somebody asked.
    local: OnceCell<net::Addr>,
    /// TCP_NODELAY was set.
    nodelay: Cell<bool>,
    /// The listening address it came through.
    pub listening: Rc<Listening>,
    /// The server of requests that name no other: the address's default, or the one the TLS client asked for.
    pub server: Rc<Server>,
    /// Whether it is encrypted.
    pub secure: bool,
    /// What TLS told of the client.
    pub tls: Option<Box<TlsFacts>>,
    /// Requests so far, the current one included (`$connection_requests`).
    pub requests: Cell<u64>,
    /// When it was accepted.
    pub accepted: net::Tick,
}

impl Connection {
    /// A connection with nobody at its other end.
    pub(crate) fn nobody(stream: Transport, listening: Rc<Listening>) -> Self {
        Self {
            number: 0,
            stream,
            client: Rc::new(ClientAddr::new(net::Addr::unix(""))),
            proxied: None,
            early: Cell::default(),
            local: OnceCell::from(net::Addr::unix("")),
            nodelay: Cell::new(true),
            server: Rc::clone(&listening.servers.default),
            listening,
            secure: false,
            tls: None,
            requests: Cell::new(0),
            accepted: net::now(),
        }
    }

    /// Our end. A system call when it is first asked for, unless the listening address says it.
    pub fn local(&self) -> &net::Addr {
        // the address of a connection that is gone is of no interest to anybody
        self.local.get_or_init(|| self.stream.socket().local_addr().unwrap_or_else(|_| net::Addr::unix("")))
    }

    /// Sets TCP_NODELAY, once: a connection that is closed after one small response needs no such call.
    pub(crate) fn set_nodelay(&self) {
        if !self.nodelay.replace(true) {
            // a failure means the peer is gone already, which the next operation will tell
            let _ = self.stream.socket().set_nodelay(true);
        }
    }

    /// Logs what happens outside of requests, to the log of the address's default server.
    pub(crate) fn log(&self, level: Level, message: std::fmt::Arguments<'_>) {
        log_outside(&self.listening, self.number, &self.client, level, message);
    }
}

fn log_outside(
    listening: &Listening,
    number: u64,
    client: &ClientAddr,
    level: Level,
    message: std::fmt::Arguments<'_>,
) {
    let log = &listening.servers.default.root.confs.get(&http::LOCATION).error_log;
    if log.enabled(level) {
        let message = format_args!("{message}, client: {}, server: {}", client.text, listening.spec.addr);
        log.write(level, Some(number), message, None);
    }
}

/// A client's address with its text.
#[derive(Debug, Clone)]
pub struct ClientAddr {
    /// The address.
    pub addr: net::Addr,
    /// The address without port as `$remote_addr` prints it; `unix:` for unix sockets.
    pub text: Box<str>,
}

impl ClientAddr {
    /// Makes the text of `addr`.
    pub fn new(addr: net::Addr) -> Self {
        let text = match addr.ip() {
            Some(ip) => ip.to_string().into(),
            None => "unix:".into(),
        };
        Self { addr, text }
    }
}
