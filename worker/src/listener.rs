//! Listening addresses: what the configuration asks the master to open.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// One address to listen on with its socket options: the union of what all `listen` directives for it say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenSpec {
    /// Where to listen.
    pub addr: ListenAddr,
    /// `backlog=`; nginx's default is 511.
    pub backlog: u32,
    /// `rcvbuf=` in bytes.
    pub rcvbuf: Option<usize>,
    /// `sndbuf=` in bytes.
    pub sndbuf: Option<usize>,
    /// `deferred`: TCP_DEFER_ACCEPT.
    pub deferred: bool,
    /// `ipv6only=`; on by default.
    pub ipv6only: bool,
    /// `reuseport`: asked for by name. One socket per worker is how Uresty listens on TCP anyway.
    pub reuseport: bool,
    /// `fastopen=`.
    pub fastopen: Option<u32>,
    /// `so_keepalive=`.
    pub keepalive: Option<Keepalive>,
}

/// TCP keepalive parameters; unset ones are the system's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keepalive {
    /// `off`.
    pub off: bool,
    /// TCP_KEEPIDLE.
    pub idle: Option<Duration>,
    /// TCP_KEEPINTVL.
    pub interval: Option<Duration>,
    /// TCP_KEEPCNT.
    pub count: Option<u32>,
}

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ListenAddr {
    /// TCP.
    Tcp(SocketAddr),
    /// A unix stream socket.
    Unix(PathBuf),
}

impl fmt::Display for ListenAddr {
    /// As nginx prints it: `0.0.0.0:80`, `[::]:80`, `unix:/path`. Also the key that matches sockets across reloads,
    /// workers and binary upgrades.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddr::Tcp(addr) => write!(f, "{addr}"),
            ListenAddr::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl ListenSpec {
    /// A listener on `addr` with nginx's defaults.
    pub fn new(addr: ListenAddr) -> Self {
        Self {
            addr,
            backlog: BACKLOG_DEFAULT,
            rcvbuf: None,
            sndbuf: None,
            deferred: false,
            ipv6only: true,
            reuseport: false,
            fastopen: None,
            keepalive: None,
        }
    }
}

/// nginx's NGX_LISTEN_BACKLOG on Linux.
pub const BACKLOG_DEFAULT: u32 = 511;
