//! Connections: a protocol machine meets a stream and yields requests.

mod accept;
mod discard;
mod h1;
mod head_in;
mod head_out;
mod proxied;
mod serve;
mod write;

use std::cell::Cell;
use std::rc::Rc;

use net::proxy_protocol::Proxied;

pub use accept::{Listening, ServerSet, accept_loop};
pub(crate) use discard::discard_body;
pub use h1::H1;
pub(crate) use h1::receive_body;
pub(crate) use head_out::write_head;
pub(crate) use write::write_body;

/// What all requests of one connection share.
pub struct Connection {
    /// Serial number of the connection in this worker, printed as `*N` in logs.
    pub number: u64,
    /// The stream.
    pub stream: net::Stream,
    /// The peer as connected: a proxy, if there is one before us.
    pub client: Rc<ClientAddr>,
    /// What a PROXY protocol header said.
    pub proxied: Option<Proxied>,
    /// Bytes that came together with that header and belong to what follows it.
    pub early: Cell<net::Buf>,
    /// Our end.
    pub local: net::Addr,
    /// The listening address it came through.
    pub listening: Rc<Listening>,
    /// Whether it is encrypted.
    pub secure: bool,
    /// Requests so far, the current one included (`$connection_requests`).
    pub requests: Cell<u64>,
    /// When it was accepted.
    pub accepted: net::Tick,
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
