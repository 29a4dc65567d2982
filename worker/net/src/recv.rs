//! Receiving without ever losing data.
//!
//! An operation in flight lives in a pooled *slot* on the heap. When the deadline passes, the operation is cancelled
//! and its outcome awaited: data that came first is delivered. When the future is dropped, the slot with the operation
//! becomes the stream's backlog, and the next receive starts with its outcome.
//!
//! There are two ways to cancel. The runtime's own costs every operation four hash computations, whether it is
//! cancelled or not; where the ring can be asked to cancel what a descriptor waits for (Linux 6.0), the operation is a
//! plain one.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use monoio::buf::IoBufMut;
use monoio::io::{AsyncReadRent, CancelHandle, CancelableAsyncReadRent, Canceller};
use monoio::net::UnixStream;

use crate::runtime::{self, Driver};
use crate::stream::{Inner, Lease};
use crate::timer::Timeout;
use crate::{Buf, Stream, turn};

/// Free slots kept per thread.
const SLOTS_KEPT: usize = 128;

/// What [`Stream::recv_idle`] got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Received {
    /// So many bytes were appended; 0 means the peer will send no more.
    Bytes(usize),
    /// The grace period passed without data; the buffer can be given up and [`Stream::readable`] awaited.
    Idle,
}

/// Lets the kernel write behind a buffer's content.
pub(crate) struct Spare(pub(crate) Buf);

// SAFETY: pointer and length describe the spare room, which stays in place while the `Buf` is moved, and the kernel
// has written what `set_init` declares.
unsafe impl IoBufMut for Spare {
    fn write_ptr(&mut self) -> *mut u8 {
        self.0.spare_ptr()
    }

    fn bytes_total(&mut self) -> usize {
        self.0.spare_len()
    }

    unsafe fn set_init(&mut self, count: usize) {
        // SAFETY: by the trait's contract these bytes were written.
        unsafe { self.0.advance_end(count) };
    }
}

type Outcome = (io::Result<usize>, Spare);

/// Room for one receive operation.
pub(crate) trait Slot {
    /// Starts an operation and polls it once.
    fn start(&mut self, io: &'static mut UnixStream, buf: Buf, cx: &mut Context<'_>) -> Poll<Outcome>;
    /// Polls the operation; afterwards, when ready, the slot is free.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome>;
    /// Asks the kernel to end the operation on `fd`; its outcome is still to be polled.
    fn cancel(&mut self, fd: RawFd);
    /// Gives the operation up.
    fn clear(&mut self);
}

/// A slot for operations that the runtime cancels.
struct HandledSlot<M, F> {
    make: M,
    operation: Option<F>,
    canceller: Option<Canceller>,
}

/// A slot for operations that the ring cancels by descriptor.
struct PlainSlot<M, F> {
    make: M,
    operation: Option<F>,
}

/// Polls the operation in its place and drops it there when it is done.
fn poll_in_place<F: Future<Output = Outcome>>(place: &mut Option<F>, cx: &mut Context<'_>) -> Poll<Outcome> {
    let operation = place.as_mut().expect("a slot is polled between start and outcome");
    // SAFETY: slots live in boxes, and the operation is never moved out, only dropped in place.
    let outcome = ready!(unsafe { Pin::new_unchecked(operation) }.poll(cx));
    *place = None;
    Poll::Ready(outcome)
}

impl<M, F> Slot for PlainSlot<M, F>
where
    M: Fn(&'static mut UnixStream, Spare) -> F,
    F: Future<Output = Outcome>,
{
    fn start(&mut self, io: &'static mut UnixStream, buf: Buf, cx: &mut Context<'_>) -> Poll<Outcome> {
        debug_assert!(self.operation.is_none());
        self.operation = Some((self.make)(io, Spare(buf)));
        self.poll(cx)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        poll_in_place(&mut self.operation, cx)
    }

    fn cancel(&mut self, fd: RawFd) {
        turn::cancel_receive(fd);
    }

    fn clear(&mut self) {
        self.operation = None;
    }
}

impl<M, F> Slot for HandledSlot<M, F>
where
    M: Fn(&'static mut UnixStream, Spare, CancelHandle) -> F,
    F: Future<Output = Outcome>,
{
    fn start(&mut self, io: &'static mut UnixStream, buf: Buf, cx: &mut Context<'_>) -> Poll<Outcome> {
        debug_assert!(self.operation.is_none());
        let handle = self.canceller.get_or_insert_with(Canceller::new).handle();
        self.operation = Some((self.make)(io, Spare(buf), handle));
        self.poll(cx)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        poll_in_place(&mut self.operation, cx)
    }

    fn cancel(&mut self, _fd: RawFd) {
        self.canceller = self.canceller.take().map(Canceller::cancel);
    }

    fn clear(&mut self) {
        self.operation = None;
    }
}

thread_local! {
    static SLOTS: RefCell<Vec<Box<dyn Slot>>> = const { RefCell::new(Vec::new()) };
}

fn take_slot() -> Box<dyn Slot> {
    let kept = SLOTS.try_with(|slots| slots.borrow_mut().pop()).ok().flatten();
    kept.unwrap_or_else(|| {
        if turn::cancels_by_descriptor() {
            let make = |io: &'static mut UnixStream, buf| io.read(buf);
            return Box::new(PlainSlot { make, operation: None });
        }
        let make = |io: &'static mut UnixStream, buf, handle| io.cancelable_read(buf, handle);
        Box::new(HandledSlot { make, operation: None, canceller: None })
    })
}

/// Slots fit the loop they were made on.
pub(crate) fn forget_slots() {
    SLOTS.with(|slots| slots.borrow_mut().clear());
}

fn give_slot(slot: Box<dyn Slot>) {
    let _ = SLOTS.try_with(|slots| {
        let mut slots = slots.borrow_mut();
        if slots.len() < SLOTS_KEPT {
            slots.push(slot);
        }
    });
}

/// What a dropped receive left on its stream.
#[derive(Default)]
pub(crate) enum Backlog {
    #[default]
    Nothing,
    /// An operation whose outcome is not known.
    Operation(Box<dyn Slot>),
    /// Data that did not fit the buffer of the receive that found it.
    Data(Box<Buf>),
}

/// A receive; see [`Stream::recv`].
pub(crate) struct Recv<'a> {
    stream: &'a Inner,
    /// The caller's buffer while it is not in the slot.
    buf: Option<Buf>,
    slot: Option<Box<dyn Slot>>,
    /// Whether the slot's operation was left by an earlier receive and owns a buffer of its own.
    inherited: bool,
    /// Whether that buffer is to be returned instead of being copied from: the receive was started ahead.
    ahead: bool,
    cancelled: bool,
    timeout: Timeout,
    lease: Option<Lease<'a>>,
}

impl<'a> Recv<'a> {
    pub(crate) fn new(stream: &'a Stream, buf: Buf, timeout: Timeout) -> Self {
        let stream = stream.inner();
        Self {
            stream,
            buf: Some(buf),
            slot: None,
            inherited: false,
            ahead: false,
            cancelled: false,
            timeout,
            lease: None,
        }
    }

    /// Takes the outcome of a receive that was started ahead, in its own buffer.
    pub(crate) fn started(stream: &'a Stream, timeout: Timeout) -> Self {
        let mut recv = Self::new(stream, Buf::new(), timeout);
        recv.ahead = true;
        recv
    }

    /// First poll: serve from the backlog or start an operation.
    fn begin(&mut self, cx: &mut Context<'_>) -> Poll<(io::Result<usize>, Buf)> {
        let mut buf = self.buf.take().expect("a receive is not polled after its end");
        if self.ahead && !self.stream.has_operation() {
            self.ahead = false;
            buf.reserve(AHEAD_BYTES);
        }
        if buf.spare_len() == 0 && !self.ahead {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "no room in the receive buffer");
            return Poll::Ready((Err(error), buf));
        }
        if !self.timeout.is_never() {
            self.lease = Some(self.stream.lease(self.timeout));
        }
        match self.stream.take_backlog() {
            Backlog::Nothing => self.start(buf, cx),
            Backlog::Data(mut data) => {
                let count = move_bytes(&mut data, &mut buf);
                if !data.is_empty() {
                    self.stream.set_backlog(Backlog::Data(data));
                }
                Poll::Ready((Ok(count), buf))
            }
            Backlog::Operation(slot) => {
                self.buf = Some(buf);
                self.slot = Some(slot);
                self.inherited = true;
                self.poll_slot(cx)
            }
        }
    }

    fn start(&mut self, buf: Buf, cx: &mut Context<'_>) -> Poll<(io::Result<usize>, Buf)> {
        let slot = self.slot.insert(take_slot());
        // SAFETY: used only during this first poll (the operation then holds its own reference to the descriptor).
        let io = unsafe { self.stream.io() };
        let poll = slot.start(io, buf, cx);
        self.settle(poll, cx)
    }

    fn poll_slot(&mut self, cx: &mut Context<'_>) -> Poll<(io::Result<usize>, Buf)> {
        let poll = self.slot.as_mut().expect("polled while an operation is in flight").poll(cx);
        self.settle(poll, cx)
    }

    /// Looks at what polling the operation gave.
    fn settle(&mut self, poll: Poll<Outcome>, cx: &mut Context<'_>) -> Poll<(io::Result<usize>, Buf)> {
        let Poll::Ready((result, Spare(filled))) = poll else {
            if !self.cancelled && self.lease.as_ref().is_some_and(|lease| lease.poll_expired(cx)) {
                self.cancelled = true;
                let fd = self.stream.descriptor();
                self.slot.as_mut().expect("an operation is pending").cancel(fd);
                return self.poll_slot(cx);
            }
            return Poll::Pending;
        };
        give_slot(self.slot.take().expect("an operation was polled"));
        let was_cancelled = result.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::ECANCELED));
        if std::mem::take(&mut self.inherited) {
            let buf = self.buf.take().expect("kept beside an inherited operation");
            return self.settle_inherited(result, was_cancelled, filled, buf, cx);
        }
        match result {
            Err(_) if was_cancelled && self.cancelled => Poll::Ready((Err(timed_out()), filled)),
            result => Poll::Ready((result, filled)),
        }
    }

    /// The operation of an earlier, dropped receive ended.
    fn settle_inherited(
        &mut self,
        result: io::Result<usize>,
        was_cancelled: bool,
        mut filled: Buf,
        mut buf: Buf,
        cx: &mut Context<'_>,
    ) -> Poll<(io::Result<usize>, Buf)> {
        if self.ahead {
            let result = if was_cancelled && self.cancelled { Err(timed_out()) } else { result };
            return Poll::Ready((result, filled));
        }
        match result {
            Ok(count) => {
                // The buffer may hold older content of its former owner before what was received now.
                filled.consume(filled.len() - count);
                let taken = move_bytes(&mut filled, &mut buf);
                if !filled.is_empty() {
                    self.stream.set_backlog(Backlog::Data(Box::new(filled)));
                }
                Poll::Ready((Ok(taken), buf))
            }
            Err(_) if was_cancelled && self.cancelled => Poll::Ready((Err(timed_out()), buf)),
            Err(_) if was_cancelled => self.start(buf, cx),
            Err(error) => Poll::Ready((Err(error), buf)),
        }
    }
}

impl Stream {
    /// Starts to receive into `buf` although nobody waits for it yet: what an idle connection does, so that its next
    /// response needs no further operation and anything that comes too early is noticed. `waker` is woken when it ends.
    /// `false`: it ended at once (data, end or error), or another receive is under way.
    pub fn start_ahead(&self, buf: Buf, waker: &Waker) -> bool {
        let inner = self.inner();
        match inner.take_backlog() {
            Backlog::Nothing => {}
            backlog => {
                inner.set_backlog(backlog);
                return false;
            }
        }
        let mut slot = take_slot();
        // SAFETY: used only during this first poll (the operation then holds its own reference to the descriptor).
        let io = unsafe { inner.io() };
        if slot.start(io, buf, &mut Context::from_waker(waker)).is_ready() {
            give_slot(slot);
            return false;
        }
        inner.set_backlog(Backlog::Operation(slot));
        true
    }

    /// Whether a receive started ahead has ended (data, end or error: the peer spoke out of turn), or none was started.
    /// What it received is dropped. Otherwise `waker` is woken when it ends.
    pub fn ahead_ended(&self, waker: &Waker) -> bool {
        let inner = self.inner();
        let Backlog::Operation(mut slot) = inner.take_backlog() else { return true };
        if slot.poll(&mut Context::from_waker(waker)).is_ready() {
            give_slot(slot);
            return true;
        }
        inner.set_backlog(Backlog::Operation(slot));
        false
    }

    /// Waits for the receive that was started ahead and returns its buffer; without one it receives into a fresh buffer.
    pub fn recv_started(&self, timeout: Timeout) -> impl Future<Output = (io::Result<usize>, Buf)> {
        Recv::started(self, timeout)
    }
}

/// Room of a receive that was to have been started ahead and was not.
const AHEAD_BYTES: usize = 4096;

fn timed_out() -> io::Error {
    io::ErrorKind::TimedOut.into()
}

/// Moves as many bytes as fit.
fn move_bytes(from: &mut Buf, to: &mut Buf) -> usize {
    let count = from.len().min(to.spare_len());
    to.extend_from_slice(&from[..count]);
    from.consume(count);
    count
}

impl Future for Recv<'_> {
    type Output = (io::Result<usize>, Buf);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let (result, buf) = ready!(match this.slot {
            None => this.begin(cx),
            Some(_) => this.poll_slot(cx),
        });
        this.lease = None;
        if let Ok(count) = &result {
            this.stream.count_received(*count);
        }
        Poll::Ready((result, buf))
    }
}

impl Drop for Recv<'_> {
    fn drop(&mut self) {
        let Some(mut slot) = self.slot.take() else { return };
        if runtime::driver() == Some(Driver::IoUring) {
            if !self.cancelled && !self.inherited {
                slot.cancel(self.stream.descriptor());
            }
            self.stream.set_backlog(Backlog::Operation(slot));
        } else {
            // With epoll nothing is in flight between polls.
            slot.clear();
            give_slot(slot);
        }
    }
}
