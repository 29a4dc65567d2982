//! Accepting connections on one listening address.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use http1::RequestOptions;
use net::{Listener, Stream};

use super::serve;
use crate::config::Server;
use crate::listener::ListenSpec;
use crate::locate::NameTable;
use crate::log::{self, Level};
use crate::worker::{ConnectionGuard, Worker};

/// A listening address as requests see it.
pub struct Listening {
    /// The address and its socket options.
    pub spec: ListenSpec,
    /// The address itself, when every connection has it as its end: one IP address with a port.
    pub fixed: Option<net::Addr>,
    /// Servers on it.
    pub servers: ServerSet,
    /// How heads are read until their host is known, when that decides how they are read on.
    pub until_host: Option<RequestOptions>,
    /// Connections begin with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// Connections are TLS.
    pub secure: bool,
    /// HTTP/2 is spoken where the client asks for it.
    pub http2: bool,
    /// Addresses of this wildcard that have servers of their own.
    pub specific: Vec<(IpAddr, Rc<Listening>)>,
}

impl Listening {
    /// The listening address that serves connections to `local`.
    pub fn of_local(this: &Rc<Self>, local: &net::Addr) -> Rc<Self> {
        let found = this.specific.iter().find(|(ip, _)| Some(*ip) == local.ip());
        Rc::clone(found.map_or(this, |(_, listening)| listening))
    }
}

/// The servers of one address.
pub struct ServerSet {
    /// Serves what no name matches.
    pub default: Rc<Server>,
    /// The others by name.
    pub names: NameTable,
}

/// Pause after accept failed for lack of descriptors or memory: trying on at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The same when idle connections were ended: they are gone in a moment.
const ACCEPT_PAUSE_SHED: Duration = Duration::from_millis(5);
/// The log says once in so many ms that connections cannot be accepted.
const SCARCE_LOG_MS: u64 = 1000;

/// Accepts until the listener is stopped.
pub async fn accept_loop(worker: Rc<Worker>, listener: Rc<Listener>, listening: Rc<Listening>) {
    let mut told: Option<u64> = None;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => welcome(&worker, &listening, stream, peer),
            Err(error) if net::is_cancelled(&error) => return,
            Err(error) => {
                let raw = error.raw_os_error();
                let scarce = matches!(
                    raw,
                    Some(nix::libc::EMFILE | nix::libc::ENFILE | nix::libc::ENOMEM | nix::libc::ENOBUFS)
                );
                let now = net::now().0;
                if !scarce || told.is_none_or(|told| now >= told + SCARCE_LOG_MS) {
                    let level = if scarce { Level::Crit } else { Level::Error };
                    log::process(level, format_args!("accept4() failed ({})", conf::error::errno(&error)));
                    told = Some(now);
                }
                if scarce {
                    let pause = if worker.shed_idle() { ACCEPT_PAUSE_SHED } else { ACCEPT_PAUSE };
                    net::sleep(pause).await;
                }
            }
        }
    }
}

/// Accepts what queues on a listener that was stopped: others may have the socket, but perhaps nobody does.
pub fn accept_rest(worker: &Rc<Worker>, listener: &Listener, listening: &Rc<Listening>) {
    for _ in 0..listening.spec.backlog {
        match listener.accept_queued() {
            Ok((stream, peer)) => welcome(worker, listening, stream, peer),
            Err(_) => return,
        }
    }
}

fn welcome(worker: &Rc<Worker>, listening: &Rc<Listening>, stream: Stream, peer: net::Addr) {
    worker.counters.accepted();
    if worker.connections.get() >= worker.connections_max {
        log::process(
            Level::Alert,
            format_args!("{} worker_connections are not enough", worker.connections_max),
        );
        if !worker.shed_idle() {
            return;
        }
    }
    worker.counters.handled();
    // it counts from now on: a worker that is told to quit before its task begins must wait for it
    let guard = ConnectionGuard::new(worker);
    net::spawn(serve::connection(guard, Rc::clone(listening), stream, peer));
}
