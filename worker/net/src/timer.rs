//! Clocks, sleeps and deadlines, all driven by one timerfd per worker that is armed only for the next deadline.
//!
//! The runtime's own timers are not used: they stop firing while tasks keep each other busy. A timerfd completes
//! through the ring like any socket.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::wheel::{Key, NEVER, Wheel};
use crate::{PollFd, turn};

/// Milliseconds of the monotonic clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Tick(pub u64);

impl Tick {
    /// Time from `earlier` to here; zero when `earlier` is later.
    pub fn since(self, earlier: Tick) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// The monotonic clock in milliseconds. Read once per poll of a task that was started with [`spawn`](crate::spawn): a
/// request asks for it a dozen times, and what happens within one poll happens at once, as in one turn of nginx's loop.
pub fn now() -> Tick {
    Tick(turn::poll_time(precise_ms))
}

/// The monotonic clock in milliseconds, read right now.
fn precise_ms() -> u64 {
    nanoseconds(libc::CLOCK_MONOTONIC) / 1_000_000
}

/// The monotonic clock in microseconds, for latency measurements.
pub fn now_us() -> u64 {
    nanoseconds(libc::CLOCK_MONOTONIC) / 1_000
}

/// Milliseconds since 1970.
pub fn unix_ms() -> u64 {
    nanoseconds(libc::CLOCK_REALTIME) / 1_000_000
}

/// Seconds since 1970 as of the kernel's last tick (up to 10 ms old), a few nanoseconds to read.
pub fn unix_seconds_coarse() -> u64 {
    nanoseconds(libc::CLOCK_REALTIME_COARSE) / 1_000_000_000
}

/// The monotonic clock as of the kernel's last tick (up to 10 ms old), a few nanoseconds to read.
pub(crate) fn coarse_ms() -> u64 {
    nanoseconds(libc::CLOCK_MONOTONIC_COARSE) / 1_000_000
}

fn nanoseconds(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the answer; these clocks always exist.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// How long an operation on a stream may take. Coarse: it may fire late by about a sixty-fourth of its length, never
/// early. Costs a store per operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeout(u64);

/// Below this length the precise clock is read, because the coarse one would be a visible error.
const PRECISE_BELOW_MS: u64 = 256;
/// The most the coarse clock may lag behind (a kernel tick at 100 Hz).
const COARSE_LAG_MS: u64 = 10;

impl Timeout {
    /// No limit.
    pub const NEVER: Timeout = Timeout(NEVER);

    /// A limit of `milliseconds`.
    pub const fn ms(milliseconds: u64) -> Self {
        Self(milliseconds)
    }

    /// A limit of `duration`, in whole milliseconds (rounded up).
    pub fn after(duration: Duration) -> Self {
        Self(round_up_ms(duration))
    }

    /// Whether there is no limit.
    pub fn is_never(self) -> bool {
        self.0 == NEVER
    }

    /// The shorter of both.
    pub fn min(self, other: Timeout) -> Timeout {
        Timeout(self.0.min(other.0))
    }

    /// `(deadline, now)`; neighbouring deadlines share a millisecond so that they share a wake-up.
    fn deadline(self) -> (u64, u64) {
        if self.0 < PRECISE_BELOW_MS {
            // The current millisecond has partly passed.
            let now = precise_ms();
            return (now + self.0 + 1, now);
        }
        let now = coarse_ms();
        let grain = (self.0 / 64).clamp(4, 256).next_power_of_two();
        let exact = now.saturating_add(self.0).saturating_add(COARSE_LAG_MS).min(NEVER - grain);
        (exact.next_multiple_of(grain), now)
    }
}

impl From<Duration> for Timeout {
    fn from(duration: Duration) -> Self {
        Self::after(duration)
    }
}

impl From<Option<Duration>> for Timeout {
    fn from(duration: Option<Duration>) -> Self {
        duration.map_or(Self::NEVER, Self::after)
    }
}

fn round_up_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(NEVER - 1).min(NEVER - 1)
}

/// The thread's wheel and the descriptor that drives it.
struct Timers {
    wheel: Wheel,
    descriptor: Option<OwnedFd>,
    /// What the descriptor is armed for.
    armed: u64,
}

thread_local! {
    static TIMERS: RefCell<Timers> =
        const { RefCell::new(Timers { wheel: Wheel::new(), descriptor: None, armed: NEVER }) };
}

/// Runs `f` on the thread's timers; `None` when the thread is ending. Wakers must leave through the return value:
/// dropping one may drop a task, and with it other timers.
fn with_timers<R>(f: impl FnOnce(&mut Timers) -> R) -> Option<R> {
    TIMERS.try_with(|timers| f(&mut timers.borrow_mut())).ok()
}

impl Timers {
    fn arm(&mut self, key: Key, deadline: u64, now: u64) -> Key {
        let (key, queued_for) = self.wheel.arm(key, deadline, now);
        if let Some(time) = queued_for
            && time < self.armed
        {
            self.set(time);
        }
        key
    }

    /// Arms the descriptor for `time`; `NEVER` disarms it. Either way it stops being readable.
    fn set(&mut self, time: u64) {
        self.armed = time;
        let Some(descriptor) = &self.descriptor else { return };
        let mut spec: libc::itimerspec = zero_timer();
        if time != NEVER {
            // All zero would disarm: millisecond 0 of the clock is long past when this runs.
            spec.it_value.tv_sec = (time / 1000) as libc::time_t;
            spec.it_value.tv_nsec = (time % 1000) as libc::c_long * 1_000_000;
        }
        let (fd, flags) = (descriptor.as_raw_fd(), libc::TFD_TIMER_ABSTIME);
        // SAFETY: `spec` is valid, the old value is not asked for.
        let result = unsafe { libc::timerfd_settime(fd, flags, &spec, std::ptr::null_mut()) };
        debug_assert_eq!(result, 0, "timerfd_settime: {}", io::Error::last_os_error());
    }
}

fn zero_timer() -> libc::itimerspec {
    let zero = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    libc::itimerspec { it_interval: zero, it_value: zero }
}

/// Creates the timerfd of this thread and returns the endless future that serves it.
pub(crate) fn start() -> io::Result<impl Future<Output = ()>> {
    // SAFETY: plain system call; the result is checked.
    let raw = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a fresh descriptor that nobody else owns.
    let descriptor = unsafe { OwnedFd::from_raw_fd(raw) };
    let watched = PollFd::new(descriptor.try_clone()?)?;
    with_timers(|timers| {
        timers.descriptor = Some(descriptor);
        timers.set(timers.wheel.next_event().unwrap_or(NEVER));
    });
    Ok(async move {
        let mut due = Vec::new();
        loop {
            if watched.readable().await.is_err() {
                // Polling a timerfd fails only when the ring itself is unusable; do not spin on it.
                return;
            }
            serve(&mut due);
        }
    })
}

/// Ends this thread's use of the timerfd. Tasks that still wait for a time are abandoned with their wakers.
pub(crate) fn stop() {
    with_timers(|timers| {
        timers.descriptor = None;
        timers.armed = NEVER;
        let next = timers.wheel.successor();
        std::mem::forget(std::mem::replace(&mut timers.wheel, next));
    });
}

fn serve(due: &mut Vec<Waker>) {
    with_timers(|timers| {
        timers.wheel.advance(precise_ms(), due);
        let next = timers.wheel.next_event().unwrap_or(NEVER);
        timers.set(next);
    });
    due.drain(..).for_each(Waker::wake);
}

/// A re-armable deadline; re-arming to a later time is a store.
pub(crate) struct Deadline(Cell<Key>);

impl Deadline {
    pub(crate) const fn new() -> Self {
        Self(Cell::new(Key::NONE))
    }

    /// Starts or moves the deadline.
    pub(crate) fn arm(&self, timeout: Timeout) {
        let (deadline, now) = timeout.deadline();
        self.arm_at(deadline, now);
    }

    fn arm_at(&self, deadline: u64, now: u64) {
        if let Some(key) = with_timers(|timers| timers.arm(self.0.get(), deadline, now)) {
            self.0.set(key);
        }
    }

    /// Whether the deadline passed; if not, the task is woken when it does.
    pub(crate) fn poll_expired(&self, cx: &mut Context<'_>) -> bool {
        let key = self.0.get();
        let state =
            with_timers(|timers| (timers.wheel.fired(key), timers.wheel.needs_waker(key, cx.waker())));
        let (fired, needs_waker) = state.unwrap_or((false, false));
        if !fired && needs_waker {
            let waker = cx.waker().clone();
            drop(with_timers(|timers| timers.wheel.set_waker(key, waker)));
        }
        fired
    }

    /// Forgets the deadline and the task.
    pub(crate) fn disarm(&self) {
        drop(with_timers(|timers| timers.wheel.disarm(self.0.get())));
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        if self.0.get() != Key::NONE {
            drop(with_timers(|timers| timers.wheel.remove(self.0.get())));
        }
    }
}

/// Waits until a time; see [`sleep`].
pub struct Sleep {
    until: u64,
    armed: bool,
    deadline: Deadline,
}

impl Sleep {
    /// The time at which it ends.
    pub fn until(&self) -> Tick {
        Tick(self.until)
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.armed {
            self.armed = true;
            self.deadline.arm_at(self.until, precise_ms());
        }
        if self.deadline.poll_expired(cx) { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Waits for a time limit, as coarsely as one of a stream.
pub(crate) async fn wait(limit: Timeout) {
    let deadline = Deadline::new();
    deadline.arm(limit);
    std::future::poll_fn(|cx| if deadline.poll_expired(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
}

/// Waits for `duration`: never shorter, at most about a millisecond longer on an unloaded worker.
pub fn sleep(duration: Duration) -> Sleep {
    let now_ns = nanoseconds(libc::CLOCK_MONOTONIC);
    let end_ns = now_ns.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    Sleep { until: end_ns.div_ceil(1_000_000), armed: false, deadline: Deadline::new() }
}

/// Waits until `tick`.
pub fn sleep_until(tick: Tick) -> Sleep {
    Sleep { until: tick.0.min(NEVER - 1), armed: false, deadline: Deadline::new() }
}

/// The time was over before the future.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("timed out")
    }
}

impl std::error::Error for Elapsed {}

impl From<Elapsed> for io::Error {
    fn from(_: Elapsed) -> Self {
        io::ErrorKind::TimedOut.into()
    }
}

/// Runs `future` for at most `duration`, then drops it: only for futures that lose nothing by that.
pub async fn timeout<F: Future>(duration: Duration, future: F) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    let mut sleep = sleep(duration);
    std::future::poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        Pin::new(&mut sleep).poll(cx).map(|()| Err(Elapsed))
    })
    .await
}
