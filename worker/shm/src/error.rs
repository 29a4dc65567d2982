//! What can go wrong with shared memory, one sentence each.

use std::io;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call refused; `call` is its name.
    #[error("{call}() failed ({}: {source})", .source.raw_os_error().unwrap_or(0))]
    System {
        /// The system call.
        call: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The memory given cannot hold even the empty structure.
    #[error("zone is too small: {have} bytes, at least {need} are needed")]
    TooSmall {
        /// Bytes given.
        have: usize,
        /// Bytes the empty structure takes.
        need: usize,
    },
    /// The descriptor or the header in it is not what was expected; the text says in which respect.
    #[error("shared memory zone does not match: {0}")]
    Mismatch(&'static str),
    /// A live process has held the lock longer than [`LOCK_WAIT_MAX`](crate::lock::LOCK_WAIT_MAX).
    #[error("shared memory lock is held too long by process {pid}")]
    Stuck {
        /// The holder.
        pid: u32,
    },
    /// The zone is full and nothing in it may be evicted.
    #[error("no memory")]
    NoMemory,
    /// A key or a value is longer than the structure can hold.
    #[error("too long: {have} bytes, at most {max} are allowed")]
    TooLong {
        /// Bytes given.
        have: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// A name is in use twice, or an entry that must exist does not.
    #[error("no such entry")]
    NotFound,
    /// The structure contradicts itself; it is repaired or emptied at the next use.
    #[error("shared memory zone is damaged: {0}")]
    Corrupt(&'static str),
}

/// The result type of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The error `errno` holds now, blamed on `call`.
    pub(crate) fn last_os(call: &'static str) -> Self {
        Self::System { call, source: io::Error::last_os_error() }
    }
}
