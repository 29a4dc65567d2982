//! Datagram sockets, for DNS and syslog.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use socket2::{SockAddr, SockRef, Socket, Type};

use crate::{Addr, Buf, PollFd, addr, timeout};

/// A datagram socket, UDP or Unix-domain. Sends and receives are tried at once and wait only if they must; every
/// wait is drop-safe.
pub struct Udp(PollFd);

impl Udp {
    /// A socket bound to `local`.
    pub fn bind(local: &Addr) -> io::Result<Self> {
        let socket = Self::socket(local)?;
        socket.bind(&local.to_sock_addr()?)?;
        Self::from_fd(socket.into())
    }

    /// A socket that sends to and receives from `peer` only, optionally from the address `local`.
    pub fn connect(peer: &Addr, local: Option<&Addr>) -> io::Result<Self> {
        let socket = Self::socket(peer)?;
        if let Some(local) = local {
            socket.bind(&local.to_sock_addr()?)?;
        }
        socket.connect(&peer.to_sock_addr()?)?;
        Self::from_fd(socket.into())
    }

    /// Takes over a datagram socket.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        SockRef::from(&fd).set_nonblocking(true)?;
        Ok(Self(PollFd::new(fd)?))
    }

    fn socket(addr: &Addr) -> io::Result<Socket> {
        Socket::new(addr.domain(), Type::DGRAM.nonblocking().cloexec(), None)
    }

    /// Sends one datagram to the connected peer.
    pub async fn send(&self, datagram: &[u8]) -> io::Result<()> {
        loop {
            match SockRef::from(self).send(datagram) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.0.writable().await?,
                result => return result.map(drop),
            }
        }
    }

    /// Sends one datagram to `peer`.
    pub async fn send_to(&self, datagram: &[u8], peer: &Addr) -> io::Result<()> {
        let peer = peer.to_sock_addr()?;
        loop {
            match SockRef::from(self).send_to(datagram, &peer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.0.writable().await?,
                result => return result.map(drop),
            }
        }
    }

    /// Sends one datagram if that needs no waiting; `WouldBlock` otherwise.
    pub fn try_send(&self, datagram: &[u8]) -> io::Result<()> {
        SockRef::from(self).send(datagram).map(drop)
    }

    /// Receives one datagram into the spare room of `buf` (what does not fit is lost) and says who sent it.
    /// `TimedOut` when none came within `limit`.
    pub async fn recv_from(&self, buf: &mut Buf, limit: Duration) -> io::Result<(usize, Addr)> {
        timeout(limit, async {
            loop {
                match SockRef::from(self).recv_from(buf.spare()) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.0.readable().await?,
                    result => {
                        let (count, from) = result?;
                        // SAFETY: recv_from wrote that many bytes.
                        unsafe { buf.advance_end(count) };
                        return Ok((count, sender(&from)));
                    }
                }
            }
        })
        .await?
    }

    /// Like [`Udp::recv_from`] without the sender.
    pub async fn recv(&self, buf: &mut Buf, limit: Duration) -> io::Result<usize> {
        Ok(self.recv_from(buf, limit).await?.0)
    }

    /// Waits until there is a datagram.
    pub async fn readable(&self) -> io::Result<()> {
        self.0.readable().await
    }

    /// The bound address.
    pub fn local_addr(&self) -> io::Result<Addr> {
        Addr::local(self)
    }
}

fn sender(from: &SockAddr) -> Addr {
    Addr::from_sock_addr(from)
}

impl AsRawFd for Udp {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl AsFd for Udp {
    fn as_fd(&self) -> BorrowedFd<'_> {
        addr::borrow(self.as_raw_fd())
    }
}
