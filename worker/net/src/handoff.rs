//! Messages with descriptors between master and worker, over a SEQPACKET socket pair.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg,
    socketpair,
};

use crate::inherit::inherit_received;
use crate::{PollFd, addr};

/// Longest message in bytes; larger things travel as memfds.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Most descriptors in one message.
pub const DESCRIPTORS_MAX: usize = 64;

/// A connected pair of SEQPACKET sockets, closed on exec.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?)
}

/// Sends one message, without waiting where the socket says so. An empty or too large one is `InvalidInput`.
pub fn send(fd: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    // An empty message would look like the end to the receiver.
    if bytes.is_empty() || bytes.len() > MESSAGE_BYTES_MAX || fds.len() > DESCRIPTORS_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "message is empty or too large"));
    }
    let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control: &[ControlMessage<'_>] = if raw.is_empty() { &[] } else { &rights };
    loop {
        match sendmsg::<()>(
            fd.as_fd().as_raw_fd(),
            &[IoSlice::new(bytes)],
            control,
            MsgFlags::MSG_NOSIGNAL,
            None,
        ) {
            Err(Errno::EINTR) => {}
            result => return Ok(result.map(drop)?),
        }
    }
}

/// Receives one message. An end of the other side is `UnexpectedEof`, a message beyond the limit `InvalidData`.
pub fn recv(fd: impl AsFd) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut bytes = vec![0; MESSAGE_BYTES_MAX];
    let mut space = cmsg_space!([RawFd; DESCRIPTORS_MAX]);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let raw = fd.as_fd().as_raw_fd();
    let message = loop {
        match recvmsg::<()>(raw, &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC) {
            Err(Errno::EINTR) => {}
            result => break result?,
        }
    };
    let mut fds = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(received) = control {
            fds.extend(received.into_iter().map(inherit_received));
        }
    }
    let (len, truncated) = (message.bytes, message.flags.contains(MsgFlags::MSG_TRUNC));
    if truncated {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "message is too large"));
    }
    if len == 0 && fds.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    bytes.truncate(len);
    Ok((bytes, fds))
}

/// One end of a pair in a worker's loop.
pub struct Channel(PollFd);

impl Channel {
    /// Takes over one end.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        socket2::SockRef::from(&fd).set_nonblocking(true)?;
        Ok(Self(PollFd::new(fd)?))
    }

    /// Sends one message.
    pub async fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        loop {
            match send(self, bytes, fds) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.0.writable().await?,
                result => return result,
            }
        }
    }

    /// Receives one message. Drop-safe.
    pub async fn recv(&self) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
        loop {
            match recv(self) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.0.readable().await?,
                result => return result,
            }
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        addr::borrow(self.0.as_raw_fd())
    }
}
