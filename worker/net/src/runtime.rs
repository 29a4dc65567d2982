//! Builds the worker's loop on the calling thread and runs tasks on it.
//!
//! With io_uring the flags decide the cost of a request: `SINGLE_ISSUER | DEFER_TASKRUN` was measured 25 % below
//! a ring without flags. Kernels that refuse them get fewer flags, and a kernel that refuses io_uring at all
//! (seccomp, `kernel.io_uring_disabled`) gets epoll, with every feature.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{FromRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

use monoio::{IoUringDriver, LegacyDriver, Runtime, RuntimeBuilder};

use crate::{blocking, recv, timer, turn};

/// What completes the worker's operations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Driver {
    /// An io_uring instance.
    IoUring,
    /// An epoll instance; file operations run on a small thread pool.
    Epoll,
}

/// Which driver to use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DriverChoice {
    /// io_uring with as many flags as the kernel grants, else epoll.
    #[default]
    Auto,
    /// io_uring or an error.
    IoUring,
    /// epoll.
    Epoll,
}

/// How to build the loop.
#[derive(Clone, Copy, Debug)]
pub struct RingOptions {
    /// Submission queue entries (256 to 32768); also the number of events taken per epoll call.
    pub entries: u32,
    /// Which driver to use.
    pub driver: DriverChoice,
}

impl Default for RingOptions {
    fn default() -> Self {
        Self { entries: 1024, driver: DriverChoice::Auto }
    }
}

/// Completion queue entries per submission queue entry. An overflow costs a detour in the kernel and makes the
/// runtime's wait fail, so there is room for many operations completing in one turn.
const COMPLETIONS_PER_ENTRY: u32 = 16;
/// Bounds of [`RingOptions::entries`].
const ENTRIES: std::ops::RangeInclusive<u32> = 256..=32768;

/// What was built, and what was tried before and refused.
#[derive(Clone, Debug)]
pub struct Report {
    /// The driver in use.
    pub driver: Driver,
    /// Ring flags in use, for the log; empty with epoll.
    pub flags: &'static str,
    /// One sentence for each better variant that was refused.
    pub refusals: Vec<String>,
}

/// Sets of ring flags, best first.
#[derive(Clone, Copy)]
enum Flags {
    Defer,
    Cooperative,
    None,
}

impl Flags {
    const ALL: [Flags; 3] = [Flags::Defer, Flags::Cooperative, Flags::None];

    fn name(self) -> &'static str {
        match self {
            Flags::Defer => "SINGLE_ISSUER|DEFER_TASKRUN",
            Flags::Cooperative => "SINGLE_ISSUER|COOP_TASKRUN",
            Flags::None => "none",
        }
    }

    fn builder(self, entries: u32) -> io_uring::Builder {
        let mut builder = io_uring::IoUring::builder();
        builder.setup_cqsize(entries * COMPLETIONS_PER_ENTRY).setup_clamp();
        match self {
            Flags::Defer => {
                builder.setup_single_issuer().setup_defer_taskrun();
            }
            Flags::Cooperative => {
                builder.setup_single_issuer().setup_coop_taskrun();
            }
            Flags::None => {}
        }
        builder
    }
}

/// Per-thread state of the running loop.
struct Current {
    driver: Cell<Option<Driver>>,
    live: Cell<usize>,
    report: RefCell<Option<Report>>,
}

thread_local! {
    static CURRENT: Current =
        const { Current { driver: Cell::new(None), live: Cell::new(0), report: RefCell::new(None) } };
}

/// The driver of the loop that runs on this thread.
pub fn driver() -> Option<Driver> {
    CURRENT.try_with(|current| current.driver.get()).ok().flatten()
}

/// What [`run`] built on this thread; `None` before the first.
pub fn report() -> Option<Report> {
    CURRENT.with(|current| current.report.borrow().clone())
}

/// Number of tasks spawned with [`spawn`] on this thread that have not ended.
pub fn live_tasks() -> usize {
    CURRENT.try_with(|current| current.live.get()).unwrap_or(0)
}

/// Builds the loop on this thread, runs the future that `f` makes to its end and returns its output.
///
/// Tasks still alive then are abandoned: neither awaited nor dropped. Wait for [`live_tasks`] to become zero first if
/// they matter. A panic of the main future passes through; give work that may panic to [`spawn`].
pub fn run<T, F: Future<Output = T>>(options: RingOptions, f: impl FnOnce(Driver) -> F) -> io::Result<T> {
    assert!(driver().is_none(), "a loop already runs on this thread");
    ignore_sigpipe();
    let entries = options.entries.clamp(*ENTRIES.start(), *ENTRIES.end());
    let mut refusals = Vec::new();
    if options.driver != DriverChoice::Epoll {
        for flags in Flags::ALL {
            match build_ring(flags, entries) {
                Ok((ring, descriptor)) => {
                    let report = Report { driver: Driver::IoUring, flags: flags.name(), refusals };
                    return run_ring(ring, descriptor, flags, report, f);
                }
                Err(error) => refusals.push(format!("io_uring with flags {}: {error}", flags.name())),
            }
        }
        if options.driver == DriverChoice::IoUring {
            return Err(io::Error::other(refusals.join("; ")));
        }
    }
    let epoll = RuntimeBuilder::<LegacyDriver>::new().with_entries(entries).build()?;
    // Never dropped: see `run_ring`.
    let mut epoll = ManuallyDrop::new(epoll);
    let report = Report { driver: Driver::Epoll, flags: "", refusals };
    enter(report, f, |main| epoll.block_on(main))
}

/// Builds a ring and finds its descriptor.
fn build_ring(flags: Flags, entries: u32) -> io::Result<(Runtime<IoUringDriver>, Option<i32>)> {
    let before = turn::rings();
    let builder = RuntimeBuilder::<IoUringDriver>::new().with_entries(entries);
    let ring = builder.uring_builder(flags.builder(entries)).build()?;
    let descriptor = turn::find_ring(&before);
    if matches!(flags, Flags::Defer) && descriptor.is_none() {
        // Completions could not be kept flowing while tasks are busy.
        return Err(io::Error::other("its descriptor was not found in /proc/self/fd"));
    }
    Ok((ring, descriptor))
}

fn run_ring<T, F: Future<Output = T>>(
    ring: Runtime<IoUringDriver>,
    descriptor: Option<i32>,
    flags: Flags,
    report: Report,
    f: impl FnOnce(Driver) -> F,
) -> io::Result<T> {
    // Never dropped: operations in flight own buffers that the kernel may still write to, and dropping what waits in
    // the loop would run code that needs the loop.
    let mut ring = ManuallyDrop::new(ring);
    turn::set_ring(descriptor.filter(|_| matches!(flags, Flags::Defer)));
    let result = enter(report, f, |main| ring.block_on(main));
    if let Some(descriptor) = descriptor {
        // SAFETY: the ring's descriptor, whose owner is never dropped. Closing it cancels what is in flight.
        drop(unsafe { OwnedFd::from_raw_fd(descriptor) });
    }
    result
}

type Main<'a, T> = Pin<&'a mut (dyn Future<Output = io::Result<T>> + 'a)>;

fn enter<T, F: Future<Output = T>>(
    report: Report,
    f: impl FnOnce(Driver) -> F,
    block_on: impl FnOnce(Main<'_, T>) -> io::Result<T>,
) -> io::Result<T> {
    let driver = report.driver;
    recv::forget_slots();
    CURRENT.with(|current| {
        current.driver.set(Some(driver));
        current.live.set(0);
        *current.report.borrow_mut() = Some(report);
    });
    let mut main = std::pin::pin!(async move {
        monoio::spawn(timer::start()?);
        Ok(f(driver).await)
    });
    let result = catch_unwind(AssertUnwindSafe(|| block_on(main.as_mut())));
    // What is dropped from here on must not use the loop any more.
    CURRENT.with(|current| current.driver.set(None));
    timer::stop();
    turn::stop();
    blocking::stop();
    result.unwrap_or_else(|panic| resume_unwind(panic))
}

/// A peer that closed must be an error code, not a signal: `writev` has no flag for that.
fn ignore_sigpipe() {
    // SAFETY: setting a disposition to "ignore" involves no handler code.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// Starts a detached task on this thread. A panic in it ends only the task and is given to the panic hook.
///
/// Memory: the task costs its future's size plus about 60 bytes. What a connection's task holds while it waits for
/// the next request is paid once per idle connection – box the part that handles a request.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    CURRENT.with(|current| current.live.set(current.live.get() + 1));
    drop(monoio::spawn(Guarded { future: Some(future), _live: Live }));
}

/// Counts a task until it is dropped.
struct Live;

impl Drop for Live {
    fn drop(&mut self) {
        let _ = CURRENT.try_with(|current| current.live.set(current.live.get().saturating_sub(1)));
    }
}

/// A future whose panics, also while it is dropped, do not leave it.
struct Guarded<F> {
    future: Option<F>,
    _live: Live,
}

impl<F: Future<Output = ()>> Future for Guarded<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        turn::count_poll();
        // SAFETY: `future` is pinned structurally: it is only polled in place or dropped in place by `set`.
        let mut future = unsafe { self.map_unchecked_mut(|guarded| &mut guarded.future) };
        let result = catch_unwind(AssertUnwindSafe(|| {
            let Some(inner) = future.as_mut().as_pin_mut() else { return Poll::Ready(()) };
            let poll = inner.poll(cx);
            if poll.is_ready() {
                future.set(None);
            }
            poll
        }));
        turn::end_poll();
        result.unwrap_or_else(|panic| {
            report_panic(panic);
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| future.set(None))) {
                report_panic(panic);
            }
            Poll::Ready(())
        })
    }
}

static PANIC_HOOK: Mutex<Option<fn(&str)>> = Mutex::new(None);

/// Sets what is called, in every thread of the process, with the message of a panic that ended a task. Without it,
/// only the standard panic message is printed.
pub fn set_panic_hook(hook: fn(&str)) {
    *PANIC_HOOK.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(hook);
}

pub(crate) fn report_panic(panic: Box<dyn Any + Send>) {
    let message = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a task panicked".to_owned());
    let hook = *PANIC_HOOK.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(hook) = hook {
        // A hook that panics must not end the worker either.
        let _ = catch_unwind(|| hook(&message));
    }
    // A payload's own drop may panic, too.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(panic)));
}
