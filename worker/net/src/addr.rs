//! Socket addresses of the three families a gateway listens on and connects to.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use socket2::{Domain, SockAddr, SockRef};

/// Where a socket is bound or connected.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Addr {
    /// IPv4 and port.
    V4(SocketAddrV4),
    /// IPv6 and port.
    V6(SocketAddrV6),
    /// Unix-domain socket path; empty for an unnamed socket, a leading NUL byte for an abstract name.
    Unix(Rc<Path>),
}

impl Addr {
    /// A Unix-domain address.
    pub fn unix(path: impl AsRef<Path>) -> Self {
        Addr::Unix(path.as_ref().into())
    }

    /// The IP address, unless Unix.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Addr::V4(addr) => Some(IpAddr::V4(*addr.ip())),
            Addr::V6(addr) => Some(IpAddr::V6(*addr.ip())),
            Addr::Unix(_) => None,
        }
    }

    /// The port, 0 if Unix.
    pub fn port(&self) -> u16 {
        match self {
            Addr::V4(addr) => addr.port(),
            Addr::V6(addr) => addr.port(),
            Addr::Unix(_) => 0,
        }
    }

    /// Whether it is a Unix-domain address.
    pub fn is_unix(&self) -> bool {
        matches!(self, Addr::Unix(_))
    }

    /// The IP socket address, unless Unix.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match self {
            Addr::V4(addr) => Some(SocketAddr::V4(*addr)),
            Addr::V6(addr) => Some(SocketAddr::V6(*addr)),
            Addr::Unix(_) => None,
        }
    }

    pub(crate) fn domain(&self) -> Domain {
        match self {
            Addr::V4(_) => Domain::IPV4,
            Addr::V6(_) => Domain::IPV6,
            Addr::Unix(_) => Domain::UNIX,
        }
    }

    pub(crate) fn to_sock_addr(&self) -> io::Result<SockAddr> {
        match self {
            Addr::V4(addr) => Ok((*addr).into()),
            Addr::V6(addr) => Ok((*addr).into()),
            Addr::Unix(path) => SockAddr::unix(path),
        }
    }

    pub(crate) fn from_sock_addr(addr: &SockAddr) -> Self {
        match addr.as_socket() {
            Some(addr) => addr.into(),
            None => match (addr.as_pathname(), addr.as_abstract_namespace()) {
                (Some(path), _) => Addr::unix(path),
                (None, Some(name)) => {
                    let name = [b"\0", name].concat();
                    Addr::unix(Path::new(std::ffi::OsStr::from_bytes(&name)))
                }
                (None, None) => Addr::unix(""),
            },
        }
    }

    /// The address a socket is bound to (getsockname).
    pub fn local(fd: impl AsFd) -> io::Result<Self> {
        Ok(Self::from_sock_addr(&SockRef::from(&fd).local_addr()?))
    }

    /// The address a socket is connected to (getpeername).
    pub fn peer(fd: impl AsFd) -> io::Result<Self> {
        Ok(Self::from_sock_addr(&SockRef::from(&fd).peer_addr()?))
    }
}

/// Borrows a descriptor that the caller keeps open.
pub(crate) fn borrow<'a>(fd: RawFd) -> BorrowedFd<'a> {
    // SAFETY: used for the length of one call on descriptors owned by a live object of the caller.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

impl From<SocketAddr> for Addr {
    fn from(addr: SocketAddr) -> Self {
        match addr {
            SocketAddr::V4(addr) => Addr::V4(addr),
            SocketAddr::V6(addr) => Addr::V6(addr),
        }
    }
}

impl fmt::Display for Addr {
    /// As nginx prints addresses: `127.0.0.1:80`, `[::1]:80`, `unix:/path`, `unix:`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Addr::V4(addr) => addr.fmt(out),
            Addr::V6(addr) => write!(out, "[{}]:{}", addr.ip(), addr.port()),
            Addr::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_like_nginx_and_survives_the_kernel_form() {
        for (addr, text) in [
            (Addr::from("127.0.0.1:80".parse::<SocketAddr>().unwrap()), "127.0.0.1:80"),
            (Addr::from("[::1]:8080".parse::<SocketAddr>().unwrap()), "[::1]:8080"),
            (Addr::unix("/run/a.sock"), "unix:/run/a.sock"),
            (Addr::unix("\0name"), "unix:\0name"),
        ] {
            assert_eq!(addr.to_string(), text);
            assert_eq!(Addr::from_sock_addr(&addr.to_sock_addr().unwrap()), addr);
        }
    }
}
