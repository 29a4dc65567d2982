//! Sends that nobody waits for.
//!
//! The answer to a request is usually small and fits the socket's buffer, and what its task does next is to receive. Waiting
//! for the send in between would cost a second wake-up of the task and a second turn of the loop per request. So the
//! operation is handed to the loop and looked at when the next one is to be sent, or before the connection is closed.
//!
//! ```text
//!           start_send              everything sent
//!   Nothing ──────────► In flight ───────────────────► Nothing
//!                           │      error: no more sends
//!                           └─ a part was sent: the rest is sent by whoever waits next
//! ```

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use monoio::io::AsyncWriteRent;
use monoio::net::UnixStream;

use crate::runtime::{self, Driver};
use crate::send::{Attempt, Rest, Timed, again};
use crate::stream::Inner;
use crate::timer::Timeout;
use crate::{Buf, Stream};

/// Free slots kept per thread.
const SLOTS_KEPT: usize = 128;

/// What a stream knows of a send nobody waits for.
#[derive(Default)]
pub(crate) enum Departure {
    #[default]
    Nothing,
    /// It ended as it should; its empty buffer waits to be used again.
    Done(Buf),
    /// An operation whose outcome is not known.
    InFlight(Box<dyn Slot>),
    /// It ended before everything was sent.
    Stopped(Box<Outcome>),
}

type Outcome = (io::Result<usize>, Rest<Buf>);

/// Room for one send operation.
pub(crate) trait Slot {
    /// Hands an operation to the loop.
    fn start(&mut self, io: &'static mut UnixStream, buf: Buf);
    /// Polls it; afterwards, when ready, the room is free.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome>;
}

struct SendSlot<M, F> {
    make: M,
    operation: Option<F>,
}

impl<M, F> Slot for SendSlot<M, F>
where
    M: Fn(&'static mut UnixStream, Rest<Buf>) -> F,
    F: Future<Output = Outcome>,
{
    fn start(&mut self, io: &'static mut UnixStream, buf: Buf) {
        debug_assert!(self.operation.is_none());
        self.operation = Some((self.make)(io, Rest { bytes: buf, sent: 0 }));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        let operation = self.operation.as_mut().expect("polled between start and outcome");
        // SAFETY: slots live in boxes, and the operation is never moved out, only dropped in place.
        let outcome = ready!(unsafe { Pin::new_unchecked(operation) }.poll(cx));
        self.operation = None;
        Poll::Ready(outcome)
    }
}

thread_local! {
    static SLOTS: RefCell<Vec<Box<dyn Slot>>> = const { RefCell::new(Vec::new()) };
}

fn take_slot() -> Box<dyn Slot> {
    let kept = SLOTS.try_with(|slots| slots.borrow_mut().pop()).ok().flatten();
    kept.unwrap_or_else(|| {
        let make = |io: &'static mut UnixStream, rest: Rest<Buf>| io.write(rest);
        Box::new(SendSlot { make, operation: None })
    })
}

fn give_slot(slot: Box<dyn Slot>) {
    let _ = SLOTS.try_with(|slots| {
        let mut slots = slots.borrow_mut();
        if slots.len() < SLOTS_KEPT {
            slots.push(slot);
        }
    });
}

impl Inner {
    /// Looks at the departure without waiting; the empty buffer of one that is over.
    fn look(&self, departure: Departure, cx: &mut Context<'_>) -> Poll<Result<Buf, Box<Outcome>>> {
        let mut slot = match departure {
            Departure::Nothing => return Poll::Ready(Ok(Buf::new())),
            Departure::Done(spare) => return Poll::Ready(Ok(spare)),
            Departure::Stopped(outcome) => return Poll::Ready(Err(outcome)),
            Departure::InFlight(slot) => slot,
        };
        let Poll::Ready((result, rest)) = slot.poll(cx) else {
            self.set_departure(Departure::InFlight(slot));
            return Poll::Pending;
        };
        give_slot(slot);
        match result {
            Ok(count) if count == rest.bytes.len() => {
                self.count_sent(count);
                let mut buf = rest.bytes;
                buf.clear();
                Poll::Ready(Ok(buf))
            }
            result => Poll::Ready(Err(Box::new((result, rest)))),
        }
    }

    /// Counts what a send that is over has sent.
    pub(crate) fn count_departure(&self) {
        let mut cx = Context::from_waker(Waker::noop());
        match self.look(self.take_departure(), &mut cx) {
            Poll::Pending => {}
            Poll::Ready(Ok(spare)) if spare.capacity() == 0 => {}
            Poll::Ready(Ok(spare)) => self.set_departure(Departure::Done(spare)),
            Poll::Ready(Err(outcome)) => self.set_departure(Departure::Stopped(outcome)),
        }
    }

    /// Sends what the kernel takes at once (one system call): without a ring nothing goes on by itself. The empty buffer if that
    /// was all of it; nothing could be sent now if the full one comes back.
    fn send_now(&self, buf: Buf) -> Result<Option<Buf>, Buf> {
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: pointer and length describe `buf`.
        let count = unsafe { libc::send(self.descriptor(), buf.as_ptr().cast(), buf.len(), flags) };
        let result = usize::try_from(count).map_err(|_| io::Error::last_os_error());
        match result {
            Ok(count) if count == buf.len() => {
                self.count_sent(count);
                let mut buf = buf;
                buf.clear();
                return Ok(Some(buf));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock || again(&error) => return Err(buf),
            result => {
                self.set_departure(Departure::Stopped(Box::new((result, Rest { bytes: buf, sent: 0 }))));
            }
        }
        Ok(None)
    }

    /// Waits for what was started, and sends what is left of it.
    pub(crate) async fn settle(&self, timeout: Timeout) -> io::Result<()> {
        let mut attempt = Attempt::new(self)?;
        let look = poll_fn(|cx| self.look(self.take_departure(), cx));
        let outcome = match Timed::new(self, timeout, look).await {
            Ok(Ok(_)) => None,
            Ok(Err(outcome)) => Some(outcome),
            Err(error) => {
                // the operation keeps the buffer that the kernel may still read
                drop(self.take_departure());
                return Err(error);
            }
        };
        if let Some(outcome) = outcome {
            let (result, mut rest) = *outcome;
            match result {
                Ok(count) => {
                    rest.sent += count;
                    self.count_sent(count);
                }
                Err(error) if again(&error) => {}
                Err(error) => return Err(error),
            }
            self.send_all(rest, timeout).await.0?;
        }
        attempt.complete();
        Ok(())
    }
}

impl Stream {
    /// Begins to send all of `buf` and returns an empty buffer at once. Whatever is sent next waits for it, and so must the
    /// caller, with [`Stream::settle`], before it ends the connection. For small answers: should the peer not take
    /// all of it, the rest is sent only then.
    ///
    /// # Errors
    /// The buffer comes back when it cannot be started now: an earlier one is under way, or the stream is broken.
    pub fn start_send(&self, buf: Buf) -> Result<Buf, Buf> {
        let inner = self.inner();
        if inner.check_sending().is_err() {
            return Err(buf);
        }
        let mut cx = Context::from_waker(Waker::noop());
        let spare = match inner.look(inner.take_departure(), &mut cx) {
            Poll::Ready(Ok(spare)) => spare,
            Poll::Pending => return Err(buf),
            Poll::Ready(Err(outcome)) => {
                inner.set_departure(Departure::Stopped(outcome));
                return Err(buf);
            }
        };
        if runtime::driver() == Some(Driver::Epoll) {
            return inner.send_now(buf).map(|sent| sent.unwrap_or(spare));
        }
        let mut slot = take_slot();
        // SAFETY: the operation is submitted by this call and then holds its own reference.
        slot.start(unsafe { inner.io() }, buf);
        inner.set_departure(Departure::InFlight(slot));
        Ok(spare)
    }

    /// Whether a send that was started may be under way still.
    pub fn is_sending(&self) -> bool {
        self.inner().has_departure()
    }

    /// Waits until what [`Stream::start_send`] began is sent.
    pub fn settle(&self, timeout: Timeout) -> impl Future<Output = io::Result<()>> {
        self.inner().settle(timeout)
    }
}
