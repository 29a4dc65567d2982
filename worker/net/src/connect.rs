//! Outgoing connections.

use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use socket2::{Socket, Type};

use crate::timer::Timeout;
use crate::{Addr, PollFd, Stream, runtime};

/// How to connect.
#[derive(Clone, Debug, Default)]
pub struct ConnectOptions {
    /// Local address to bind to (port 0: the kernel chooses when connecting).
    pub bind: Option<Addr>,
    /// Allows binding to a foreign address (IP_TRANSPARENT).
    pub transparent: bool,
    /// Sets SO_KEEPALIVE.
    pub so_keepalive: bool,
    /// Sets TCP_NODELAY.
    pub nodelay: bool,
    /// Size of the kernel's send buffer in bytes, if not the default.
    pub sndbuf: Option<usize>,
    /// Size of the kernel's receive buffer in bytes, if not the default.
    pub rcvbuf: Option<usize>,
    /// How long connecting may take.
    pub timeout: Option<Duration>,
}

/// Connects to `addr`. `TimedOut` when the limit passed. Drop-safe.
pub async fn connect(addr: &Addr, options: &ConnectOptions) -> io::Result<Stream> {
    let socket = prepare(addr, options)?;
    let pending = match socket.connect(&addr.to_sock_addr()?) {
        Ok(()) => false,
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => true,
        Err(error) => return Err(error),
    };
    if !pending {
        return Stream::from_fd(socket.into());
    }
    // A duplicate is registered for the wait only, because a stream's blocking mode must be right when it is made.
    let watched = PollFd::new(OwnedFd::from(socket.try_clone()?))?;
    wait(&watched, options.timeout.into()).await?;
    drop(watched);
    match socket.take_error()? {
        Some(error) => Err(error),
        None => Stream::from_fd(socket.into()),
    }
}

fn prepare(addr: &Addr, options: &ConnectOptions) -> io::Result<Socket> {
    let socket = Socket::new(addr.domain(), Type::STREAM.nonblocking().cloexec(), None)?;
    if options.so_keepalive {
        socket.set_keepalive(true)?;
    }
    if let Some(size) = options.sndbuf {
        socket.set_send_buffer_size(size)?;
    }
    if let Some(size) = options.rcvbuf {
        socket.set_recv_buffer_size(size)?;
    }
    if options.nodelay && !addr.is_unix() {
        socket.set_tcp_nodelay(true)?;
    }
    if let Some(local) = &options.bind {
        if options.transparent {
            set_transparent(&socket, addr)?;
        }
        if local.port() == 0 && !local.is_unix() {
            // The port is then chosen by connect, which can share ports between destinations.
            set_int(&socket, libc::SOL_IP, libc::IP_BIND_ADDRESS_NO_PORT)?;
        }
        socket.bind(&local.to_sock_addr()?)?;
    }
    Ok(socket)
}

fn set_transparent(socket: &Socket, addr: &Addr) -> io::Result<()> {
    match addr {
        Addr::V4(_) => set_int(socket, libc::SOL_IP, libc::IP_TRANSPARENT),
        Addr::V6(_) => set_int(socket, libc::SOL_IPV6, libc::IPV6_TRANSPARENT),
        Addr::Unix(_) => Ok(()),
    }
}

/// Switches a socket option on.
fn set_int(socket: &Socket, level: libc::c_int, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the value is an int of the given size.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const on).cast(), size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

async fn wait(watched: &PollFd, timeout: Timeout) -> io::Result<()> {
    let deadline = crate::timer::Deadline::new();
    if !timeout.is_never() {
        deadline.arm(timeout);
    }
    let mut writable = pin!(watched.writable());
    std::future::poll_fn(|cx| {
        if let Poll::Ready(result) = writable.as_mut().poll(cx) {
            return Poll::Ready(result);
        }
        if !timeout.is_never() && deadline.poll_expired(cx) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        debug_assert!(runtime::driver().is_some());
        Poll::Pending
    })
    .await
}
