//! Turns of the loop: yielding until the next one, and keeping completions flowing while tasks are busy.
//!
//! The runtime parks only when no task is ready. Until then it submits without asking for completions, and a ring
//! with deferred task work then posts none: tasks that keep waking each other would stop all I/O and all timers of
//! the worker. So every task poll is counted here, and now and then the ring is told to do its task work.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::runtime::{Driver, driver};
use crate::{PollFd, timer};

/// Task polls between two looks at the clock.
const POLLS_PER_LOOK: u32 = 64;
const NO_RING: i32 = -1;

struct Turn {
    ring: Cell<i32>,
    polls: Cell<u32>,
    kicked_at: Cell<u64>,
    waiting: RefCell<Vec<Waker>>,
    ticker: Cell<bool>,
    number: Cell<u64>,
    ready: RefCell<Option<Rc<PollFd>>>,
}

thread_local! {
    static TURN: Turn = const {
        Turn {
            ring: Cell::new(NO_RING),
            polls: Cell::new(0),
            kicked_at: Cell::new(0),
            waiting: RefCell::new(Vec::new()),
            ticker: Cell::new(false),
            number: Cell::new(0),
            ready: RefCell::new(None),
        }
    };
}

pub(crate) fn set_ring(descriptor: Option<i32>) {
    TURN.with(|turn| turn.ring.set(descriptor.unwrap_or(NO_RING)));
}

/// The loop ended; tasks that still wait are abandoned with their wakers.
pub(crate) fn stop() {
    TURN.with(|turn| {
        turn.ring.set(NO_RING);
        turn.ticker.set(false);
        std::mem::forget(turn.waiting.take());
        turn.ready.take();
    });
}

/// Counts a task poll; at most once per tick of the coarse clock it lets the ring post completions.
#[inline]
pub(crate) fn count_poll() {
    TURN.with(|turn| {
        let polls = turn.polls.get().wrapping_add(1);
        turn.polls.set(polls);
        if polls.is_multiple_of(POLLS_PER_LOOK) && turn.ring.get() != NO_RING {
            kick(turn);
        }
    });
}

fn kick(turn: &Turn) {
    let now = timer::coarse_ms();
    if turn.kicked_at.replace(now) != now {
        get_events(turn.ring.get());
    }
}

/// `io_uring_enter` that submits nothing and waits for nothing but does the ring's pending task work.
fn get_events(ring: i32) -> bool {
    const GETEVENTS: libc::c_uint = 1;
    // SAFETY: no memory is passed; a wrong descriptor yields an error.
    let result = unsafe {
        libc::syscall(libc::SYS_io_uring_enter, ring, 0u32, 0u32, GETEVENTS, std::ptr::null::<u8>(), 0usize)
    };
    result >= 0
}

/// Descriptors of all rings this process has open.
pub(crate) fn rings() -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return Vec::new() };
    let is_ring = |entry: &std::fs::DirEntry| {
        std::fs::read_link(entry.path()).is_ok_and(|target| target.as_os_str() == "anon_inode:[io_uring]")
    };
    entries
        .filter_map(Result::ok)
        .filter(is_ring)
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// The ring that was opened since `before` by this thread: a single-issuer ring answers nobody else.
pub(crate) fn find_ring(before: &[i32]) -> Option<i32> {
    rings().into_iter().filter(|ring| !before.contains(ring)).find(|&ring| get_events(ring))
}

/// Lets everything else that is ready run, including I/O that completed meanwhile, and resumes in the next turn of
/// the loop. Never wakes itself, so it starves nobody.
pub async fn yield_turn() {
    let mut entered = None;
    poll_fn(|cx| {
        TURN.with(|turn| {
            let number = turn.number.get();
            if *entered.get_or_insert(number) != number {
                return Poll::Ready(());
            }
            turn.waiting.borrow_mut().push(cx.waker().clone());
            if !turn.ticker.replace(true) {
                monoio::spawn(tick());
            }
            Poll::Pending
        })
    })
    .await;
}

/// Ends the current turn for everybody who yielded: waits for something that completes in the next turn, then wakes.
async fn tick() {
    // Without a descriptor to wait for, the wait is simply short.
    if next_turn().await.is_err() {
        timer::sleep(std::time::Duration::from_millis(1)).await;
    }
    let waiting = TURN.with(|turn| {
        turn.ticker.set(false);
        turn.number.set(turn.number.get() + 1);
        turn.waiting.take()
    });
    waiting.into_iter().for_each(Waker::wake);
}

/// Completes in the next turn of the loop.
async fn next_turn() -> io::Result<()> {
    if driver() == Some(Driver::Epoll) {
        // An edge-triggered registration reports readiness once: a new one is needed for every turn.
        return PollFd::new(ready_eventfd()?)?.readable().await;
    }
    let kept = TURN.with(|turn| turn.ready.borrow().clone());
    let ready = match kept {
        Some(ready) => ready,
        None => {
            let ready = Rc::new(PollFd::new(ready_eventfd()?)?);
            TURN.with(|turn| turn.ready.replace(Some(ready.clone())));
            ready
        }
    };
    ready.readable().await
}

/// An eventfd that is always readable.
fn ready_eventfd() -> io::Result<OwnedFd> {
    // SAFETY: plain system call; the result is checked.
    let raw = unsafe { libc::eventfd(1, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a fresh descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}
