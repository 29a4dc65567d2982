//! Accepting connections.
//!
//! With io_uring an accept operation stays in flight: it wakes one worker only when several share the socket, which
//! a poll would not. The operation belongs to the listener, not to the waiting future, so dropping the future loses
//! no connection; stopping cancels it and hands out a connection that was accepted in the meantime.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use monoio::io::{CancelHandle, Canceller};
use monoio::net::{TcpListener, UnixListener};
use socket2::SockRef;

use crate::runtime::{self, Driver};
use crate::{Addr, PollFd, Stream, addr};

/// A connection and where it comes from.
type Accepted = (Stream, Addr);
type Operation = Pin<Box<dyn Future<Output = io::Result<Accepted>>>>;

/// A listening socket, TCP or Unix-domain. One task may accept from it.
pub struct Listener {
    socket: Rc<Socket>,
    operation: RefCell<Option<Operation>>,
    canceller: Cell<Option<Canceller>>,
    waiting: Cell<Option<Waker>>,
    stopped: Cell<bool>,
}

enum Socket {
    RingTcp(ManuallyDrop<TcpListener>),
    RingUnix(ManuallyDrop<UnixListener>),
    Epoll { fd: PollFd, unix: bool },
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

    /// Takes over a listening socket.
    ///
    /// Its blocking mode – shared with every process that inherited it – is set to what the driver needs, so all
    /// workers on one socket must use the same driver.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        let socket = SockRef::from(&fd);
        let unix = socket.domain()? == socket2::Domain::UNIX;
        let epoll = runtime::driver() == Some(Driver::Epoll);
        socket.set_nonblocking(epoll)?;
        let socket = match (epoll, unix) {
            (true, unix) => Socket::Epoll { fd: PollFd::new(fd)?, unix },
            (false, false) => Socket::RingTcp(ManuallyDrop::new(TcpListener::from_std(fd.into())?)),
            (false, true) => Socket::RingUnix(ManuallyDrop::new(UnixListener::from_std(fd.into())?)),
        };
        Ok(Self {
            socket: Rc::new(socket),
            operation: RefCell::new(None),
            canceller: Cell::new(None),
            waiting: Cell::new(None),
            stopped: Cell::new(false),
        })
    }

    /// Waits for a connection. Errors of single connections (ECONNABORTED) and of the process (EMFILE, ENFILE,
    /// ENOMEM) are returned; after the latter the caller should pause, since the next call fails at once.
    ///
    /// After [`Listener::stop`] it still returns a connection that was accepted before, then `ECANCELED` (see
    /// [`is_cancelled`]). Drop-safe.
    pub async fn accept(&self) -> io::Result<(Stream, Addr)> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        loop {
            let mut operation = self.operation.borrow_mut();
            let current = match &mut *operation {
                Some(current) => current,
                None if self.stopped.get() => return Poll::Ready(Err(cancelled())),
                none => none.insert(self.start()),
            };
            let poll = current.as_mut().poll(cx);
            if poll.is_ready() {
                *operation = None;
            }
            match poll {
                Poll::Ready(Err(error)) if is_cancelled(&error) => {}
                Poll::Ready(result) => return Poll::Ready(result),
                Poll::Pending if self.stopped.get() && matches!(*self.socket, Socket::Epoll { .. }) => {
                    *operation = None;
                }
                Poll::Pending => {
                    self.waiting.set(Some(cx.waker().clone()));
                    return Poll::Pending;
                }
            }
        }
    }

    fn start(&self) -> Operation {
        let canceller = self.canceller.take().unwrap_or_default();
        let handle = canceller.handle();
        self.canceller.set(Some(canceller));
        Box::pin(accept(self.socket.clone(), handle))
    }

    /// Stops accepting; the socket stays open until the listener is dropped.
    pub fn stop(&self) {
        self.stopped.set(true);
        if matches!(*self.socket, Socket::Epoll { .. }) {
            if let Some(waker) = self.waiting.take() {
                waker.wake();
            }
        } else {
            self.cancel();
        }
    }

    fn cancel(&self) {
        self.canceller.set(self.canceller.take().map(Canceller::cancel));
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
        self.socket.as_raw_fd()
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        addr::borrow(self.as_raw_fd())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let Some(operation) = self.operation.take() else { return };
        if runtime::driver() == Some(Driver::IoUring) {
            // An accept that already succeeded would leak its descriptor if the operation were dropped.
            self.cancel();
            monoio::spawn(async move { drop(operation.await) });
        }
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Socket::RingTcp(listener) => listener.as_raw_fd(),
            Socket::RingUnix(listener) => listener.as_raw_fd(),
            Socket::Epoll { fd, .. } => fd.as_raw_fd(),
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let open = self.as_raw_fd();
        let ended = runtime::driver().is_none();
        match self {
            // SAFETY: the runtime would close through a loop that is gone, so its object is forgotten and the
            // descriptor, which nobody else owns, is closed here.
            Socket::RingTcp(_) | Socket::RingUnix(_) if ended => drop(unsafe { OwnedFd::from_raw_fd(open) }),
            // SAFETY: taken once, here.
            Socket::RingTcp(listener) => unsafe { ManuallyDrop::drop(listener) },
            // SAFETY: taken once, here.
            Socket::RingUnix(listener) => unsafe { ManuallyDrop::drop(listener) },
            Socket::Epoll { .. } => {}
        }
    }
}

/// Whether the error says that accepting was stopped.
pub fn is_cancelled(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ECANCELED)
}

fn cancelled() -> io::Error {
    io::Error::from_raw_os_error(libc::ECANCELED)
}

async fn accept(socket: Rc<Socket>, handle: CancelHandle) -> io::Result<Accepted> {
    loop {
        let result = match &*socket {
            Socket::Epoll { fd, unix } => accept_now(fd.as_raw_fd(), *unix),
            Socket::RingTcp(listener) => accept_tcp(listener, handle.clone()).await,
            Socket::RingUnix(listener) => accept_unix(listener, handle.clone()).await,
        };
        match result {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => match &*socket {
                Socket::Epoll { fd, .. } => fd.readable().await?,
                // Another process made the shared socket non-blocking.
                Socket::RingTcp(listener) => listener.readable(false).await?,
                Socket::RingUnix(listener) => listener.readable(false).await?,
            },
            result => return result,
        }
    }
}

async fn accept_tcp(listener: &TcpListener, handle: CancelHandle) -> io::Result<Accepted> {
    let (stream, peer) = listener.cancelable_accept(handle).await?;
    // SAFETY: the runtime's stream was its only owner.
    let fd = unsafe { OwnedFd::from_raw_fd(stream.into_raw_fd()) };
    set_cloexec(fd.as_raw_fd())?;
    Ok((Stream::from_prepared(fd)?, peer.into()))
}

async fn accept_unix(listener: &UnixListener, handle: CancelHandle) -> io::Result<Accepted> {
    let (stream, _) = listener.cancelable_accept(handle).await?;
    set_cloexec(stream.as_raw_fd())?;
    Ok((Stream::from_registered(stream), Addr::unix("")))
}

/// The runtime's accept operation has no flag for it.
fn set_cloexec(fd: RawFd) -> io::Result<()> {
    // SAFETY: no memory is passed.
    let result = unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// accept4 on a non-blocking listener.
fn accept_now(listener: RawFd, unix: bool) -> io::Result<Accepted> {
    let accept = |storage: *mut socket2::SockAddrStorage, length: *mut libc::socklen_t| {
        let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
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
