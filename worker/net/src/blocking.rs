//! Calls that may block, on a few threads beside the loop.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, mpsc};

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::PollFd;

/// Threads at most; calls beyond wait in line.
const THREADS_MAX: usize = 8;
/// Calls that may wait in line.
const QUEUE_MAX: usize = 4096;

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Pool {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

static POOL: OnceLock<Arc<Pool>> = OnceLock::new();

/// Runs `call` on another thread and awaits its result.
///
/// # Errors
/// `WouldBlock` when too many calls wait already; otherwise whatever `call` returns.
pub async fn blocking<T: Send + 'static>(call: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let done = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
    let waiting: OwnedFd = std::os::fd::AsFd::as_fd(&*done).try_clone_to_owned()?;
    submit(Box::new(move || {
        // the waiting side may be gone, which loses nothing
        let _ = sender.send(call());
        let _ = done.write(1);
    }))?;
    PollFd::new(waiting)?.readable().await?;
    receiver.recv().map_err(|_| io::Error::other("a blocking call panicked"))?
}

fn submit(job: Job) -> io::Result<()> {
    let pool = POOL.get_or_init(Arc::default);
    let mut state = pool.state.lock().unwrap_or_else(PoisonError::into_inner);
    if state.jobs.len() >= QUEUE_MAX {
        return Err(io::Error::new(io::ErrorKind::WouldBlock, "too many blocking calls"));
    }
    if state.idle == 0 && state.threads < THREADS_MAX {
        let of_thread = Arc::clone(pool);
        std::thread::Builder::new().name("blocking".into()).spawn(move || work(&of_thread))?;
        state.threads += 1;
    }
    state.jobs.push_back(job);
    pool.wake.notify_one();
    Ok(())
}

fn work(pool: &Pool) {
    let mut state = pool.state.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        match state.jobs.pop_front() {
            Some(job) => {
                drop(state);
                // a panic is told to the waiting side by the channel that closes
                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
                state = pool.state.lock().unwrap_or_else(PoisonError::into_inner);
            }
            None => {
                state.idle += 1;
                state = pool.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            }
        }
    }
}
