//! Keeps strangers off our ports.
//!
//! Linux lets any process of the same user join a port whose sockets have SO_REUSEPORT, and then gives it a share of the
//! connections, without a word to anybody. A guard is one more socket on the address, bound and never listening, without
//! that option and without SO_REUSEADDR: who wants to bind the address conflicts with it and gets EADDRINUSE.
//!
//! The kernel remembers the last address that was bound with SO_REUSEPORT on a port and admits equal ones without
//! looking for conflicts. So after our sockets a decoy is bound on an address nobody uses, and closed at once. An
//! address for which no decoy can be found (`[::]` with `ipv6only=off`, or `0.0.0.0` on a machine without IPv6) stays as
//! open as nginx's `listen … reuseport` is.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// Last but one address of the loopback network.
const DECOY_V4: Ipv4Addr = Ipv4Addr::new(127, 255, 255, 254);

/// An address of the discard prefix (RFC 6666).
const DECOY_V6: Ipv6Addr = Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 1);

/// The guard of one address.
pub struct Guard(Socket);

impl Guard {
    /// Guards `addr`, on which sockets of ours are open. `None`: the kernel would not have it; they work without.
    pub fn new(addr: &SocketAddr, ipv6only: bool) -> Option<Self> {
        let guard = Self(shared(*addr, ipv6only).ok()?);
        guard.shut(addr);
        Some(guard)
    }

    /// Lets sockets with SO_REUSEPORT onto the address.
    pub fn open(&self) {
        self.admit(true);
    }

    /// Lets nobody onto the address `addr` any more.
    pub fn shut(&self, addr: &SocketAddr) {
        // either decoy does; which of them differs from what the kernel remembers depends on the address
        for decoy in [SocketAddr::from((DECOY_V4, addr.port())), SocketAddr::from((DECOY_V6, addr.port()))] {
            drop(shared(decoy, true));
        }
        self.admit(false);
    }

    fn admit(&self, admit: bool) {
        // the guard is an extra: without it the port is as safe as with any other server that uses SO_REUSEPORT
        let _ = self.0.set_reuse_port(admit).and_then(|()| self.0.set_reuse_address(admit));
    }
}

/// A socket bound to `addr` with both options, whether the machine has that address or not.
fn shared(addr: SocketAddr, ipv6only: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    match addr {
        SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
        SocketAddr::V6(_) => {
            socket.set_only_v6(ipv6only)?;
            socket.set_freebind_v6(true)?;
        }
    }
    socket.bind(&addr.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listening(addr: SocketAddr) -> Socket {
        let socket = shared(addr, true).unwrap();
        socket.listen(16).unwrap();
        socket
    }

    #[test]
    fn strangers_are_refused_and_friends_can_be_let_in() {
        for address in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
            let Ok(first) = shared(address.parse().unwrap(), true) else { continue };
            first.listen(16).unwrap();
            let addr = first.local_addr().unwrap().as_socket().unwrap();
            let second = listening(addr);
            // without a guard the port is open to anybody of this user
            drop(listening(addr));
            let guard = Guard::new(&addr, true).unwrap();
            let refused = shared(addr, true).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::AddrInUse, "{address}");
            guard.open();
            let third = listening(addr);
            guard.shut(&addr);
            assert!(shared(addr, true).is_err(), "{address}");
            drop((first, second, third, guard));
        }
    }
}
