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
const UNREAD: u64 = 0;
const OUTSIDE: u64 = u64::MAX;

struct Turn {
    ring: Cell<i32>,
    /// What the ring matches when it is asked to cancel what a descriptor waits for; 0: it cannot be asked.
    cancel_flags: Cell<u32>,
    polls: Cell<u32>,
    /// The time of the poll under way, ms: [`UNREAD`] until somebody asks, [`OUTSIDE`] between polls.
    time: Cell<u64>,
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
            cancel_flags: Cell::new(0),
            polls: Cell::new(0),
            time: Cell::new(OUTSIDE),
            kicked_at: Cell::new(0),
            waiting: RefCell::new(Vec::new()),
            ticker: Cell::new(false),
            number: Cell::new(0),
            ready: RefCell::new(None),
        }
    };
}

pub(crate) fn set_ring(descriptor: Option<i32>) {
    TURN.with(|turn| {
        turn.ring.set(descriptor.unwrap_or(NO_RING));
        turn.cancel_flags.set(descriptor.map_or(0, find_cancel_flags));
    });
}

/// `struct io_uring_sync_cancel_reg` of the kernel.
#[repr(C)]
struct SyncCancel {
    user_data: u64,
    fd: i32,
    flags: u32,
    timeout: [i64; 2],
    opcode: u8,
    pad: [u8; 7],
    pad2: [u64; 3],
}

const MATCH_DESCRIPTOR: u32 = 1 << 1;
const MATCH_OPCODE: u32 = 1 << 5;

/// Asks the ring to cancel one receive on `fd`; its completion then comes through the ring.
fn sync_cancel(ring: i32, fd: i32, flags: u32) -> io::Result<()> {
    const REGISTER_SYNC_CANCEL: libc::c_uint = 24;
    let request = SyncCancel {
        user_data: 0,
        fd,
        flags,
        timeout: [-1, -1],
        opcode: io_uring::opcode::Recv::CODE,
        pad: [0; 7],
        pad2: [0; 3],
    };
    // SAFETY: `request` is laid out as the kernel expects, and outlives the call.
    let result = unsafe {
        libc::syscall(libc::SYS_io_uring_register, ring, REGISTER_SYNC_CANCEL, &raw const request, 1u32)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The narrowest match the kernel knows (by opcode since 6.6, by descriptor since 6.0), or 0. Asked with a descriptor that
/// does not exist, a kernel that understands the question answers `EBADF`.
fn find_cancel_flags(ring: i32) -> u32 {
    let understood =
        |flags| sync_cancel(ring, -1, flags).is_err_and(|error| error.raw_os_error() == Some(libc::EBADF));
    [MATCH_DESCRIPTOR | MATCH_OPCODE, MATCH_DESCRIPTOR]
        .into_iter()
        .find(|&flags| understood(flags))
        .unwrap_or(0)
}

/// Whether [`cancel_receive`] works on this thread's loop.
pub(crate) fn cancels_by_descriptor() -> bool {
    TURN.with(|turn| turn.cancel_flags.get() != 0)
}

/// Cancels the receive that waits on `fd` (one system call). Where the kernel cannot tell operations apart, a send
/// that waits on the same descriptor may be hit instead: it starts again, and the receive is asked for once more.
pub(crate) fn cancel_receive(fd: i32) {
    TURN.with(|turn| {
        let (ring, flags) = (turn.ring.get(), turn.cancel_flags.get());
        // one receive and one send are the most that wait on a connection
        let matches = if flags & MATCH_OPCODE != 0 { 1 } else { 2 };
        let cancel = || (0..matches).take_while(|_| sync_cancel(ring, fd, flags).is_ok()).count();
        if cancel() == 0 {
            // completed already, or not yet handed to the kernel
            enter(ring, u32::MAX);
            cancel();
        }
    });
}

/// The loop ended; tasks that still wait are abandoned with their wakers.
pub(crate) fn stop() {
    TURN.with(|turn| {
        turn.ring.set(NO_RING);
        turn.cancel_flags.set(0);
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
        turn.time.set(UNREAD);
        if polls.is_multiple_of(POLLS_PER_LOOK) && turn.ring.get() != NO_RING {
            kick(turn);
        }
    });
}

/// A task poll is over: its time is no longer the present.
#[inline]
pub(crate) fn end_poll() {
    // the thread may be ending
    let _ = TURN.try_with(|turn| turn.time.set(OUTSIDE));
}

/// The time of the task poll under way, read with `read` when it is asked for first; outside of polls always read.
#[inline]
pub(crate) fn poll_time(read: impl Fn() -> u64) -> u64 {
    let cached = TURN.try_with(|turn| turn.time.get()).unwrap_or(OUTSIDE);
    match cached {
        OUTSIDE => read(),
        UNREAD => {
            let time = read();
            TURN.with(|turn| turn.time.set(time));
            time
        }
        time => time,
    }
}

fn kick(turn: &Turn) {
    let now = timer::coarse_ms();
    if turn.kicked_at.replace(now) != now {
        get_events(turn.ring.get());
    }
}

/// `io_uring_enter` that submits nothing and waits for nothing but does the ring's pending task work.
fn get_events(ring: i32) -> bool {
    enter(ring, 0)
}

/// `io_uring_enter` that submits up to `entries` of what is queued, waits for nothing and does pending task work.
fn enter(ring: i32, entries: u32) -> bool {
    const GETEVENTS: libc::c_uint = 1;
    // SAFETY: no memory is passed; a wrong descriptor yields an error.
    let result = unsafe {
        libc::syscall(
            libc::SYS_io_uring_enter,
            ring,
            entries,
            0u32,
            GETEVENTS,
            std::ptr::null::<u8>(),
            0usize,
        )
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
