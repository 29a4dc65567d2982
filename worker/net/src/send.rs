//! Sending: everything, or an error after which the stream is of no further use for sending.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use monoio::buf::{IoBuf, IoVecBuf};
use monoio::io::AsyncWriteRent;

use crate::stream::{Inner, Lease};
use crate::timer::Timeout;
use crate::{Buf, Chain};

/// Pieces given to one `writev`; the kernel's limit is 1024.
const PIECES_PER_CALL: usize = 64;
/// Chains up to this size are copied together and sent as one buffer, which is cheaper than a vector.
const COPY_UP_TO: usize = 8 * 1024;
/// Unused piece lists kept per thread.
const LISTS_KEPT: usize = 64;

/// What remains of a buffer to be sent.
pub(crate) struct Rest<T> {
    pub(crate) bytes: T,
    pub(crate) sent: usize,
}

// SAFETY: both types keep their content in place on the heap (or in static memory) while they are moved.
unsafe impl IoBuf for Rest<Buf> {
    fn read_ptr(&self) -> *const u8 {
        self.bytes[self.sent..].as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.bytes.len() - self.sent
    }
}

// SAFETY: as above.
unsafe impl IoBuf for Rest<Bytes> {
    fn read_ptr(&self) -> *const u8 {
        self.bytes[self.sent..].as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.bytes.len() - self.sent
    }
}

/// A chain and the vector that describes its first pieces to the kernel.
struct Gather {
    chain: Chain,
    pieces: Vec<libc::iovec>,
}

thread_local! {
    static LISTS: RefCell<Vec<Vec<libc::iovec>>> = const { RefCell::new(Vec::new()) };
}

impl Gather {
    fn new(chain: Chain) -> Self {
        let pieces = LISTS.try_with(|lists| lists.borrow_mut().pop()).ok().flatten();
        Self { chain, pieces: pieces.unwrap_or_else(|| Vec::with_capacity(PIECES_PER_CALL)) }
    }

    fn describe(&mut self) {
        self.pieces.clear();
        self.pieces.extend(
            self.chain
                .iter()
                .take(PIECES_PER_CALL)
                .map(|part| libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() }),
        );
    }
}

impl Drop for Gather {
    fn drop(&mut self) {
        let pieces = std::mem::take(&mut self.pieces);
        let _ = LISTS.try_with(|lists| {
            let mut lists = lists.borrow_mut();
            if lists.len() < LISTS_KEPT {
                lists.push(pieces);
            }
        });
    }
}

// SAFETY: the vector's memory and the pieces' contents stay in place on the heap while this is moved, and live as
// long as it does.
unsafe impl IoVecBuf for Gather {
    fn read_iovec_ptr(&self) -> *const libc::iovec {
        self.pieces.as_ptr()
    }

    fn read_iovec_len(&self) -> usize {
        self.pieces.len()
    }
}

/// Runs one write operation under the stream's write deadline.
pub(crate) struct Timed<'a, F> {
    stream: &'a Inner,
    timeout: Timeout,
    lease: Option<Lease<'a>>,
    operation: F,
}

impl<'a, F: Future> Timed<'a, F> {
    pub(crate) fn new(stream: &'a Inner, timeout: Timeout, operation: F) -> Self {
        Self { stream, timeout, lease: None, operation }
    }
}

impl<F: Future> Future for Timed<'_, F> {
    type Output = io::Result<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: only `operation` is pinned structurally, and it is not moved.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: as above.
        let operation = unsafe { Pin::new_unchecked(&mut this.operation) };
        if let Poll::Ready(output) = operation.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        if this.timeout.is_never() {
            return Poll::Pending;
        }
        let lease = this.lease.get_or_insert_with(|| this.stream.lease(this.timeout));
        if lease.poll_expired(cx) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

/// Marks the stream broken for sending unless everything was handed to the kernel.
pub(crate) struct Attempt<'a> {
    stream: &'a Inner,
    complete: bool,
}

impl<'a> Attempt<'a> {
    pub(crate) fn new(stream: &'a Inner) -> io::Result<Self> {
        stream.check_sending()?;
        Ok(Self { stream, complete: false })
    }

    pub(crate) fn complete(&mut self) {
        self.complete = true;
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.complete {
            self.stream.break_sending();
        }
    }
}

/// Whether nothing was sent and nothing is wrong: interrupted, or hit by the cancellation of a receive.
pub(crate) fn again(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Interrupted || error.raw_os_error() == Some(libc::ECANCELED)
}

impl Inner {
    pub(crate) async fn send_bytes(&self, bytes: Bytes, timeout: Timeout) -> io::Result<()> {
        self.send_rest(Rest { bytes, sent: 0 }, timeout).await.0
    }

    pub(crate) async fn send_buf(&self, buf: Buf, timeout: Timeout) -> (io::Result<()>, Buf) {
        let (result, rest) = self.send_rest(Rest { bytes: buf, sent: 0 }, timeout).await;
        let mut buf = rest.map(|rest| rest.bytes).unwrap_or_default();
        buf.clear();
        (result, buf)
    }

    /// Sends all, after what was started before; the buffer is returned unless the kernel still uses it.
    async fn send_rest<T>(&self, rest: Rest<T>, timeout: Timeout) -> (io::Result<()>, Option<Rest<T>>)
    where
        Rest<T>: IoBuf,
    {
        let mut attempt = match Attempt::new(self) {
            Ok(attempt) => attempt,
            Err(error) => return (Err(error), Some(rest)),
        };
        if self.has_departure()
            && let Err(error) = self.settle(timeout).await
        {
            return (Err(error), Some(rest));
        }
        let sent = self.send_all(rest, timeout).await;
        attempt.complete = sent.0.is_ok();
        sent
    }

    /// Sends all; after an error nothing more may be sent.
    pub(crate) async fn send_all<T>(
        &self,
        mut rest: Rest<T>,
        timeout: Timeout,
    ) -> (io::Result<()>, Option<Rest<T>>)
    where
        Rest<T>: IoBuf,
    {
        while rest.bytes_init() > 0 {
            // SAFETY: the operation is submitted by this call and then holds its own reference.
            let operation = unsafe { self.io() }.write(rest);
            let (result, back) = match Timed::new(self, timeout, operation).await {
                Ok(outcome) => outcome,
                Err(error) => return (Err(error), None),
            };
            rest = back;
            match result {
                Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), Some(rest)),
                Ok(count) => {
                    rest.sent += count;
                    self.count_sent(count);
                }
                Err(error) if again(&error) => {}
                Err(error) => return (Err(error), Some(rest)),
            }
        }
        (Ok(()), Some(rest))
    }

    pub(crate) async fn send_chain(&self, mut chain: Chain, timeout: Timeout) -> io::Result<()> {
        if chain.parts() == 1 {
            let only = chain.pop().expect("there is one piece");
            return self.send_bytes(only, timeout).await;
        }
        if chain.len() <= COPY_UP_TO {
            return self.send_buf(chain.to_buf(), timeout).await.0;
        }
        let mut attempt = Attempt::new(self)?;
        if self.has_departure() {
            self.settle(timeout).await?;
        }
        let mut gather = Gather::new(chain);
        while !gather.chain.is_empty() {
            gather.describe();
            // SAFETY: the operation is submitted by this call and then holds its own reference.
            let operation = unsafe { self.io() }.writev(gather);
            let (result, back) = Timed::new(self, timeout, operation).await?;
            gather = back;
            match result {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    gather.chain.consume(count);
                    self.count_sent(count);
                }
                Err(error) if again(&error) => {}
                Err(error) => return Err(error),
            }
        }
        attempt.complete = true;
        Ok(())
    }
}
