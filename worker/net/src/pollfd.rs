//! A descriptor whose readiness is awaited, while the system calls on it are made by its owner.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use monoio::net::UnixStream;

use crate::runtime;

/// Any pollable descriptor (socket, timerfd, signalfd, eventfd, pidfd, …) known to the worker's loop.
///
/// Waiting is drop-safe. At most one task may wait per direction.
pub struct PollFd {
    // The runtime's stream type is used for every descriptor: polling does not look at what kind it is.
    io: ManuallyDrop<UnixStream>,
}

impl PollFd {
    /// Registers the descriptor; must be called inside [`run`](crate::run).
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { io: ManuallyDrop::new(register(fd)?) })
    }

    /// Waits until reading would not block (or would fail).
    pub async fn readable(&self) -> io::Result<()> {
        self.io.readable(false).await
    }

    /// Waits until writing would not block (or would fail).
    pub async fn writable(&self) -> io::Result<()> {
        self.io.writable(false).await
    }
}

impl AsRawFd for PollFd {
    fn as_raw_fd(&self) -> RawFd {
        self.io.as_raw_fd()
    }
}

impl Drop for PollFd {
    fn drop(&mut self) {
        // SAFETY: taken once, here.
        close(unsafe { ManuallyDrop::take(&mut self.io) });
    }
}

/// Makes the descriptor known to the loop; it is closed when that fails.
pub(crate) fn register(fd: OwnedFd) -> io::Result<UnixStream> {
    UnixStream::from_std(fd.into())
}

/// Drops a registered descriptor. The runtime closes through the ring and would panic after its end.
pub(crate) fn close(io: UnixStream) {
    if runtime::driver().is_some() {
        drop(io);
        return;
    }
    let fd = io.as_raw_fd();
    // An operation may still hold the runtime's part of it, so that is given up; the loop it belonged to is gone.
    std::mem::forget(io);
    // SAFETY: the forgotten owner was the only one that would have closed it.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
}
