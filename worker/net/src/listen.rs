//! Accepting connections.
//!
//! A listener waits until its socket is readable and then accepts one connection, with one system call. No accept
//! operation is ever left with the kernel: it would take a connection out of the queue at a moment when the worker may be
//! busy with others, or dying, and that connection would be lost with the worker. What has not been accepted stays in the
//! queue, and the queue belongs to whoever accepts from the socket next.
//!
//! The socket is non-blocking under both drivers. That mode is shared by every process that has the socket, also with the
//! nginx that this program takes over from or hands back to, and non-blocking is what nginx expects.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::pin::pin;
use std::task::{Poll, Waker};

use socket2::SockRef;

use crate::runtime::{self, Driver};
use crate::{Addr, PollFd, Stream, addr};

/// A connection and where it comes from.
type Accepted = (Stream, Addr);

/// A listening socket, TCP or Unix-domain. One task may accept from it.
pub struct Listener {
    fd: PollFd,
    unix: bool,
    stopped: Cell<bool>,
    waiting: Cell<Option<Waker>>,
}

impl Listener {
    /// Takes over the listening socket `fd`, for example an inherited one.
    ///
    /// # Safety
    /// The descriptor is open and nobody else uses or closes this number.
    pub unsafe fn from_raw_fd(fd: RawFd) -> io::Result<Self> {
        // SAFETY: by this function's contract.
        Self::from_fd(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// Takes over a listening socket, and makes it non-blocking for every process that has it.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        let socket = SockRef::from(&fd);
        let unix = socket.domain()? == socket2::Domain::UNIX;
        socket.set_nonblocking(true)?;
        Ok(Self { fd: PollFd::new(fd)?, unix, stopped: Cell::new(false), waiting: Cell::new(None) })
    }

    /// Waits for a connection. Errors of single connections (ECONNABORTED) and of the process (EMFILE, ENFILE,
    /// ENOMEM) are returned; after the latter the caller should pause, since the next call fails at once.
    ///
    /// After [`Listener::stop`] it fails with `ECANCELED` (see [`is_cancelled`]). Drop-safe.
    pub async fn accept(&self) -> io::Result<(Stream, Addr)> {
        loop {
            let mut readable = pin!(self.fd.readable());
            poll_fn(|cx| {
                if self.stopped.get() {
                    return Poll::Ready(Err(cancelled()));
                }
                self.waiting.set(Some(cx.waker().clone()));
                readable.as_mut().poll(cx)
            })
            .await?;
            match self.accept_queued() {
                // another process that has the socket was faster
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }

    /// A connection that waits already; `WouldBlock` when there is none. Works after [`Listener::stop`], too.
    pub fn accept_queued(&self) -> io::Result<(Stream, Addr)> {
        let epoll = runtime::driver() == Some(Driver::Epoll);
        let flags = libc::SOCK_CLOEXEC | if epoll { libc::SOCK_NONBLOCK } else { 0 };
        accept_now(self.as_raw_fd(), self.unix, flags)
    }

    /// Stops accepting; the socket stays open until the listener is dropped.
    pub fn stop(&self) {
        self.stopped.set(true);
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    /// Whether [`Listener::stop`] was called.
    pub fn is_stopped(&self) -> bool {
        self.stopped.get()
    }

    /// The bound address.
    pub fn local_addr(&self) -> io::Result<Addr> {
        Addr::local(self)
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        addr::borrow(self.as_raw_fd())
    }
}

/// Whether the error says that accepting was stopped.
pub fn is_cancelled(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ECANCELED)
}

fn cancelled() -> io::Error {
    io::Error::from_raw_os_error(libc::ECANCELED)
}

/// accept4 on a non-blocking listener.
fn accept_now(listener: RawFd, unix: bool, flags: libc::c_int) -> io::Result<Accepted> {
    let accept = |storage: *mut socket2::SockAddrStorage, length: *mut libc::socklen_t| {
        // SAFETY: storage and length are valid for a socket address.
        let fd = unsafe { libc::accept4(listener, storage.cast(), length, flags) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a fresh descriptor that nobody else owns.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    };
    // SAFETY: accept4 fills in the address and its length.
    let (fd, peer) = unsafe { socket2::SockAddr::try_init(accept) }?;
    let peer = if unix { Addr::unix("") } else { Addr::from_sock_addr(&peer) };
    Ok((Stream::from_prepared(fd)?, peer))
}
