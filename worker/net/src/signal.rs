//! Signals as something to await.

use std::io;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::PollFd;

/// Blocks a set of signals and yields them one by one.
pub struct Signals {
    fd: SignalFd,
    poll: PollFd,
}

impl Signals {
    /// Takes `signals` (numbers) away from their default action, for the calling thread and threads it starts.
    pub fn new(signals: &[i32]) -> io::Result<Self> {
        let mut set = SigSet::empty();
        for number in signals {
            set.add(Signal::try_from(*number)?);
        }
        set.thread_block()?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let poll = PollFd::new(std::os::fd::AsFd::as_fd(&fd).try_clone_to_owned()?)?;
        Ok(Self { fd, poll })
    }

    /// The next signal's number. Drop-safe.
    pub async fn next(&mut self) -> io::Result<i32> {
        loop {
            if let Some(info) = self.fd.read_signal()? {
                return i32::try_from(info.ssi_signo).map_err(io::Error::other);
            }
            self.poll.readable().await?;
        }
    }
}
