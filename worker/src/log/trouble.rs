//! Logs that cannot be written: said once a minute, counted, and otherwise without consequences.

use std::cell::Cell;
use std::io;

use super::{Level, process};
use crate::clock::unix_seconds;

/// Seconds between two complaints about one log.
const COMPLAINTS_SECONDS_MIN: i64 = 60;

/// What went wrong with one log so far.
#[derive(Default)]
pub struct Trouble {
    /// The second in which the disk was found full: nothing more is tried in it, as in nginx.
    full_at: Cell<i64>,
    complained_at: Cell<Option<i64>>,
    dropped: Cell<u64>,
}

impl Trouble {
    /// Whether writing was found to be futile in this very second.
    pub fn is_full(&self) -> bool {
        self.full_at.get() == unix_seconds()
    }

    /// Takes note of a failed write to the log called `name`.
    pub fn happened(&self, name: &str, error: &io::Error) {
        let now = unix_seconds();
        if error.kind() == io::ErrorKind::StorageFull {
            self.full_at.set(now);
        }
        if self.complained_at.get().is_none_or(|then| now - then >= COMPLAINTS_SECONDS_MIN) {
            self.complained_at.set(Some(now));
            process(
                Level::Alert,
                format_args!("write() to \"{name}\" failed ({})", conf::error::errno(error)),
            );
        }
    }

    /// Counts the lines in `bytes` as lost.
    pub fn dropped(&self, bytes: &[u8]) {
        let lines = memchr::memchr_iter(b'\n', bytes).count() as u64;
        self.dropped.set(self.dropped.get() + lines);
    }

    /// Lines lost so far.
    pub fn lines_dropped(&self) -> u64 {
        self.dropped.get()
    }
}
