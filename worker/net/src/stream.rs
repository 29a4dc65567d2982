//! Connected stream sockets, TCP or Unix-domain.

use std::cell::{Cell, UnsafeCell};
use std::future::Future;
use std::io;
use std::mem::ManuallyDrop;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use monoio::net::UnixStream;
use socket2::SockRef;

use crate::departure::Departure;
use crate::recv::{Backlog, Recv};
use crate::timer::{Deadline, Timeout, wait};
use crate::{Addr, Buf, Chain, Received, addr, pollfd, sleep};

/// How long [`Stream::hung_up`] waits before it begins to watch, ms: most requests are answered by then, and the watch
/// would cost them two ring operations. Long enough for the coarse clock.
const WATCH_AFTER_MS: u64 = 256;
/// How often a peer that sent ahead is checked for having closed, since its data hides that from a poll.
const CHECK_EVERY: Duration = Duration::from_millis(250);

/// A connected stream socket. Clones share it; it is closed when the last one is dropped.
///
/// One task part may receive (or wait in [`Stream::readable`] or [`Stream::hung_up`]) while another one sends.
#[derive(Clone)]
pub struct Stream(Rc<Inner>);

pub(crate) struct Inner {
    io: ManuallyDrop<UnsafeCell<UnixStream>>,
    /// One per direction; which is used for which is decided by who comes first, so that a connection that only
    /// receives and sends in turn keeps one timer node.
    deadlines: [Deadline; 2],
    first_leased: Cell<bool>,
    received: Cell<u64>,
    sent: Cell<u64>,
    backlog: Cell<Backlog>,
    departure: Cell<Departure>,
    broken: Cell<bool>,
}

impl Inner {
    /// The runtime's stream, for starting one operation.
    ///
    /// # Safety
    /// The reference is used only until the operation is submitted, and that happens before anything else runs. (The
    /// runtime asks for `&mut` but only clones the reference to the descriptor.)
    pub(crate) unsafe fn io(&self) -> &'static mut UnixStream {
        // SAFETY: by this function's contract no two of these references are in use at the same time.
        unsafe { &mut *self.io.get() }
    }

    /// The runtime's stream, for polls.
    fn poller(&self) -> &UnixStream {
        // SAFETY: exclusive references end before any other code runs (see `io`).
        unsafe { &*self.io.get() }
    }

    /// A deadline that is not in use, armed. At most two operations, one per direction, have one at a time.
    pub(crate) fn lease(&self, timeout: Timeout) -> Lease<'_> {
        let first = !self.first_leased.replace(true);
        let lease = Lease { stream: self, first };
        lease.deadline().arm(timeout);
        lease
    }

    pub(crate) fn descriptor(&self) -> RawFd {
        self.poller().as_raw_fd()
    }

    pub(crate) fn take_backlog(&self) -> Backlog {
        self.backlog.take()
    }

    fn has_backlog(&self) -> bool {
        let backlog = self.backlog.take();
        let some = !matches!(backlog, Backlog::Nothing);
        self.backlog.set(backlog);
        some
    }

    pub(crate) fn set_backlog(&self, backlog: Backlog) {
        self.backlog.set(backlog);
    }

    pub(crate) fn take_departure(&self) -> Departure {
        self.departure.take()
    }

    pub(crate) fn set_departure(&self, departure: Departure) {
        self.departure.set(departure);
    }

    /// Whether a send without an owner has not been looked at.
    pub(crate) fn has_departure(&self) -> bool {
        let departure = self.departure.take();
        let some = !matches!(departure, Departure::Nothing | Departure::Done(_));
        self.departure.set(departure);
        some
    }

    /// Whether a receive without an owner is in flight.
    pub(crate) fn has_operation(&self) -> bool {
        let backlog = self.backlog.take();
        let has = matches!(backlog, Backlog::Operation(_));
        self.backlog.set(backlog);
        has
    }

    pub(crate) fn count_received(&self, count: usize) {
        self.received.set(self.received.get() + count as u64);
    }

    pub(crate) fn count_sent(&self, count: usize) {
        self.sent.set(self.sent.get() + count as u64);
    }

    pub(crate) fn check_sending(&self) -> io::Result<()> {
        if self.broken.get() { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }

    pub(crate) fn break_sending(&self) {
        self.broken.set(true);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        drop(self.backlog.take());
        drop(self.departure.take());
        // SAFETY: taken once, here.
        pollfd::close(unsafe { ManuallyDrop::take(&mut self.io) }.into_inner());
    }
}

impl Stream {
    /// Takes over a connected socket; its blocking mode is set to what the driver needs.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        let nonblocking = crate::runtime::driver() == Some(crate::Driver::Epoll);
        SockRef::from(&fd).set_nonblocking(nonblocking)?;
        Self::from_prepared(fd)
    }

    /// As [`Stream::from_fd`] when the blocking mode is right already.
    pub(crate) fn from_prepared(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self::from_registered(pollfd::register(fd)?))
    }

    pub(crate) fn from_registered(io: UnixStream) -> Self {
        Self(Rc::new(Inner {
            io: ManuallyDrop::new(UnsafeCell::new(io)),
            deadlines: [Deadline::new(), Deadline::new()],
            first_leased: Cell::new(false),
            received: Cell::new(0),
            sent: Cell::new(0),
            backlog: Cell::new(Backlog::Nothing),
            departure: Cell::new(Departure::Nothing),
            broken: Cell::new(false),
        }))
    }

    /// A connected pair of Unix-domain streams.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (a, b) = std::os::unix::net::UnixStream::pair()?;
        Ok((Self::from_fd(a.into())?, Self::from_fd(b.into())?))
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    /// Appends received bytes to the spare room of `buf` and returns their number; 0 means the peer will send no
    /// more. A full buffer is an `InvalidInput` error.
    ///
    /// `TimedOut` when the limit passed first: nothing was received then, and the stream remains usable. Dropping
    /// the future is safe as well: what arrives meanwhile is given to the next receive.
    pub fn recv(&self, buf: Buf, timeout: Timeout) -> impl Future<Output = (io::Result<usize>, Buf)> {
        Recv::new(self, buf, timeout)
    }

    /// Like [`Stream::recv`], but gives [`Received::Idle`] when no data came within `grace`, so that the caller can
    /// drop the buffer and wait in [`Stream::readable`].
    pub async fn recv_idle(
        &self,
        buf: Buf,
        grace: Duration,
        timeout: Timeout,
    ) -> (io::Result<Received>, Buf) {
        let grace = Timeout::after(grace);
        let (result, buf) = Recv::new(self, buf, grace.min(timeout)).await;
        let result = match result {
            Ok(count) => Ok(Received::Bytes(count)),
            Err(error) if error.kind() == io::ErrorKind::TimedOut && grace.min(timeout) == grace => {
                Ok(Received::Idle)
            }
            Err(error) => Err(error),
        };
        (result, buf)
    }

    /// Waits until there is something to receive (data, end or error), holding no buffer. Drop-safe.
    pub fn readable(&self, timeout: Timeout) -> impl Future<Output = io::Result<()>> {
        let stream = self.inner();
        Readable { stream, timeout, lease: None, poll: stream.poller().readable(false) }
    }

    /// Resolves when the peer closed or reset the connection, as nginx understands a client's abort. Begins to
    /// watch after a quarter of a second. Drop-safe; may run beside a send, but not beside a receive.
    pub async fn hung_up(&self) {
        wait(Timeout::ms(WATCH_AFTER_MS)).await;
        self.hung_up_from_now().await;
    }

    /// Like [`Stream::hung_up`], beginning to watch at once.
    pub async fn hung_up_from_now(&self) {
        loop {
            if self.has_hung_up() {
                return;
            }
            match self.try_peek(&mut [0]) {
                // End or error.
                Ok(0) => return,
                // Data waits, and a poll would return at once, again and again.
                Ok(_) => sleep(CHECK_EVERY).await,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.0.poller().readable(false).await.is_err() {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    }

    /// Whether the peer closed or reset the connection, even if it sent data before (one system call).
    pub fn has_hung_up(&self) -> bool {
        let mut poll = libc::pollfd { fd: self.as_raw_fd(), events: libc::POLLRDHUP, revents: 0 };
        // SAFETY: one valid entry is passed.
        let ready = unsafe { libc::poll(&mut poll, 1, 0) };
        ready > 0 && poll.revents & (libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR) != 0
    }

    /// Sends all of `data`. After an error (or a dropped call) nothing more can be sent. `TimedOut` when for `timeout`
    /// the kernel took no byte.
    pub fn send(&self, data: impl Into<Bytes>, timeout: Timeout) -> impl Future<Output = io::Result<()>> {
        self.0.send_bytes(data.into(), timeout)
    }

    /// Like [`Stream::send`] for a buffer that is used again: it is returned empty (without memory if the send
    /// timed out, because the kernel may still read it).
    pub fn send_buf(&self, buf: Buf, timeout: Timeout) -> impl Future<Output = (io::Result<()>, Buf)> {
        self.0.send_buf(buf, timeout)
    }

    /// Sends all pieces in order: up to 8 KB copied together into one send, more with `writev`.
    pub fn send_vec(
        &self,
        chain: impl Into<Chain>,
        timeout: Timeout,
    ) -> impl Future<Output = io::Result<()>> {
        self.0.send_chain(chain.into(), timeout)
    }

    /// Looks at received data without taking it and without waiting (one system call): `WouldBlock` when there is
    /// none, 0 at the end.
    pub fn try_peek(&self, into: &mut [u8]) -> io::Result<usize> {
        let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
        // SAFETY: pointer and length describe `into`.
        let count = unsafe { libc::recv(self.as_raw_fd(), into.as_mut_ptr().cast(), into.len(), flags) };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    /// Bytes received over the connection's life.
    pub fn bytes_received(&self) -> u64 {
        self.0.received.get()
    }

    /// Bytes the kernel took for sending over the connection's life.
    pub fn bytes_sent(&self) -> u64 {
        self.0.count_departure();
        self.0.sent.get()
    }

    /// Ends the sending direction (FIN).
    pub fn shutdown_write(&self) -> io::Result<()> {
        self.socket().shutdown(Shutdown::Write)
    }

    /// Ends both directions; waiting operations return.
    pub fn shutdown(&self) -> io::Result<()> {
        self.socket().shutdown(Shutdown::Both)
    }

    /// Sets TCP_NODELAY.
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.socket().set_tcp_nodelay(on)
    }

    /// Makes the close send a reset and discard what was not sent.
    pub fn set_linger_reset(&self) -> io::Result<()> {
        self.socket().set_linger(Some(Duration::ZERO))
    }

    /// The bound address (one system call).
    pub fn local_addr(&self) -> io::Result<Addr> {
        Addr::local(self)
    }

    /// The connected address (one system call).
    pub fn peer_addr(&self) -> io::Result<Addr> {
        Addr::peer(self)
    }

    /// The socket, for options this type does not name.
    pub fn socket(&self) -> SockRef<'_> {
        SockRef::from(self)
    }

    /// Whether both are the same connection.
    pub fn same(&self, other: &Stream) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

/// An armed deadline of a stream, disarmed when dropped.
pub(crate) struct Lease<'a> {
    stream: &'a Inner,
    first: bool,
}

impl Lease<'_> {
    fn deadline(&self) -> &Deadline {
        &self.stream.deadlines[usize::from(!self.first)]
    }

    /// Whether the deadline passed; if not, the task is woken when it does.
    pub(crate) fn poll_expired(&self, cx: &mut Context<'_>) -> bool {
        self.deadline().poll_expired(cx)
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.deadline().disarm();
        if self.first {
            self.stream.first_leased.set(false);
        }
    }
}

/// See [`Stream::readable`].
struct Readable<'a, F> {
    stream: &'a Inner,
    timeout: Timeout,
    lease: Option<Lease<'a>>,
    poll: F,
}

impl<F: Future<Output = io::Result<()>>> Future for Readable<'_, F> {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // SAFETY: only `poll` is pinned structurally, and it is not moved.
        let this = unsafe { self.get_unchecked_mut() };
        if this.stream.has_backlog() {
            // Whether it holds data is found out by receiving.
            return Poll::Ready(Ok(()));
        }
        // SAFETY: as above.
        let poll = unsafe { Pin::new_unchecked(&mut this.poll) };
        if let Poll::Ready(result) = poll.poll(cx) {
            return Poll::Ready(result);
        }
        if !this.timeout.is_never() {
            let lease = this.lease.get_or_insert_with(|| this.stream.lease(this.timeout));
            if lease.poll_expired(cx) {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        Poll::Pending
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.0.poller().as_raw_fd()
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        addr::borrow(self.as_raw_fd())
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Stream({})", self.as_raw_fd())
    }
}
