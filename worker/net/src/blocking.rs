//! A small thread pool for calls that may block: disk metadata, and with epoll all file I/O.
//!
//! One pool per worker, started when first used. Results come back through an eventfd that the loop polls, because
//! the runtime's wakers must not leave their thread.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::{Notify, PollFd};

/// Threads of one worker's pool.
const THREADS: usize = 4;
/// Calls that may wait for a thread; further callers wait before they queue.
const QUEUE: usize = 256;
/// After so long without work a thread ends.
const LINGER: Duration = Duration::from_secs(30);

type Answer = Result<Box<dyn Any + Send>, Box<dyn Any + Send>>;
type Work = Box<dyn FnOnce() -> Box<dyn Any + Send> + Send>;

/// The part that the threads see.
struct Shared {
    state: Mutex<State>,
    work: Condvar,
    /// Made readable when an answer is there.
    signal: OwnedFd,
}

#[derive(Default)]
struct State {
    queue: VecDeque<(u64, Work)>,
    answers: Vec<(u64, Answer)>,
    threads: usize,
    idle: usize,
}

/// The part on the worker's thread.
struct Pool {
    shared: Arc<Shared>,
    calls: RefCell<HashMap<u64, Call>>,
    next: Cell<u64>,
    room: Notify,
}

/// A call whose caller still waits.
#[derive(Default)]
struct Call {
    waker: Option<Waker>,
    answer: Option<Answer>,
}

thread_local! {
    static POOL: RefCell<Option<Rc<Pool>>> = const { RefCell::new(None) };
}

/// Runs `call` on another thread and awaits its result; waits for room first when many calls are in line. When the
/// future is dropped the call still runs and its result is discarded. Only inside [`run`](crate::run).
///
/// # Errors
/// Whatever `call` returns; that the pool could not be started; that `call` panicked.
pub async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let pool = pool()?;
    while pool.shared.lock().queue.len() >= QUEUE {
        pool.room.notified().await;
    }
    let ticket = Ticket::new(&pool);
    pool.shared.push(ticket.id, Box::new(move || Box::new(call())))?;
    match ticket.answer().await {
        Ok(value) => *value.downcast().expect("the answer has the type of its call"),
        Err(_panic) => Err(io::Error::other("a blocking call panicked")),
    }
}

/// Ends this thread's pool; its threads finish what they run and end.
pub(crate) fn stop() {
    let _ = POOL.try_with(|pool| {
        if let Some(pool) = pool.take() {
            // Callers that still wait are abandoned with the loop.
            std::mem::forget(pool.calls.take());
        }
    });
}

fn pool() -> io::Result<Rc<Pool>> {
    if let Some(pool) = POOL.with(|pool| pool.borrow().clone()) {
        return Ok(pool);
    }
    // SAFETY: plain system call; the result is checked.
    let raw = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a fresh descriptor that nobody else owns.
    let signal = unsafe { OwnedFd::from_raw_fd(raw) };
    let watched = PollFd::new(signal.try_clone()?)?;
    let shared = Arc::new(Shared { state: Mutex::default(), work: Condvar::new(), signal });
    let pool = Rc::new(Pool { shared, calls: RefCell::default(), next: Cell::new(0), room: Notify::new() });
    POOL.with(|slot| slot.replace(Some(pool.clone())));
    let serving = Rc::downgrade(&pool);
    monoio::spawn(async move {
        while watched.readable().await.is_ok() {
            let Some(pool) = serving.upgrade() else { return };
            drain(watched.as_raw_fd());
            pool.deliver();
        }
    });
    Ok(pool)
}

/// Resets an eventfd.
fn drain(fd: i32) {
    let mut count = [0u8; 8];
    // SAFETY: eight bytes are what an eventfd writes.
    let _ = unsafe { libc::read(fd, count.as_mut_ptr().cast(), count.len()) };
}

impl Pool {
    fn deliver(&self) {
        let answers = std::mem::take(&mut self.shared.lock().answers);
        for (id, answer) in answers {
            self.room.notify_one();
            let waker = match self.calls.borrow_mut().get_mut(&id) {
                Some(call) => {
                    call.answer = Some(answer);
                    call.waker.take()
                }
                None => continue,
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

/// Registers a call until its future is gone.
struct Ticket {
    pool: Rc<Pool>,
    id: u64,
}

impl Ticket {
    fn new(pool: &Rc<Pool>) -> Self {
        let id = pool.next.get();
        pool.next.set(id + 1);
        pool.calls.borrow_mut().insert(id, Call::default());
        Self { pool: pool.clone(), id }
    }

    async fn answer(&self) -> Answer {
        poll_fn(|cx| {
            let waker = cx.waker().clone();
            let (answer, _old) = match self.pool.calls.borrow_mut().get_mut(&self.id) {
                Some(call) => (call.answer.take(), call.waker.replace(waker)),
                None => (None, None),
            };
            answer.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let call = self.pool.calls.borrow_mut().remove(&self.id);
        drop(call);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn push(self: &Arc<Self>, id: u64, work: Work) -> io::Result<()> {
        let mut state = self.lock();
        state.queue.push_back((id, work));
        if state.idle > 0 || state.threads == THREADS {
            drop(state);
            self.work.notify_one();
            return Ok(());
        }
        let shared = self.clone();
        match std::thread::Builder::new().name("blocking".into()).spawn(move || shared.serve()) {
            Ok(_) => state.threads += 1,
            // The threads there are will get to it.
            Err(_) if state.threads > 0 => {}
            Err(error) => {
                state.queue.pop_back();
                return Err(error);
            }
        }
        Ok(())
    }

    /// A pool thread's life.
    fn serve(&self) {
        block_signals();
        while let Some((id, work)) = self.next() {
            let answer = catch_unwind(AssertUnwindSafe(work));
            self.lock().answers.push((id, answer));
            let one = 1u64.to_ne_bytes();
            // SAFETY: eight bytes are what an eventfd reads.
            unsafe { libc::write(self.signal.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        }
    }

    fn next(&self) -> Option<(u64, Work)> {
        let mut state = self.lock();
        loop {
            if let Some(work) = state.queue.pop_front() {
                return Some(work);
            }
            state.idle += 1;
            let waited = self.work.wait_timeout(state, LINGER);
            let (guard, timeout) = waited.unwrap_or_else(|poisoned| poisoned.into_inner());
            state = guard;
            state.idle -= 1;
            if timeout.timed_out() && state.queue.is_empty() {
                state.threads -= 1;
                return None;
            }
        }
    }
}

/// Signals belong to the worker's thread.
fn block_signals() {
    // SAFETY: the set is initialised by sigfillset before use.
    unsafe {
        let mut all = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_BLOCK, &all, std::ptr::null_mut());
    }
}
