//! Messages of the control plane, on their way to the master's log.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// The longest message in bytes; what is longer is cut.
const LINE_BYTES_MAX: usize = 4096;

/// Where messages go: the master reads them from the other end.
#[derive(Clone)]
pub struct Log(Arc<OwnedFd>);

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// nginx's number of the level: 2 alert, 4 error, 5 warn, 6 notice, 7 info.
    pub level: u8,
    /// The text.
    pub text: String,
}

impl Log {
    /// Sends messages into `fd`, one end of a SEQPACKET pair that does not block.
    pub fn new(fd: OwnedFd) -> Self {
        Self(Arc::new(fd))
    }

    fn write(&self, level: u8, text: fmt::Arguments<'_>) {
        let mut line = vec![level];
        line.extend_from_slice(text.to_string().as_bytes());
        line.truncate(LINE_BYTES_MAX);
        // a master that does not listen loses messages and nothing else
        let _ = net::handoff::send(self.0.as_fd(), &line, &[]);
    }

    /// `[alert]`
    pub fn alert(&self, text: fmt::Arguments<'_>) {
        self.write(2, text);
    }

    /// `[error]`
    pub fn error(&self, text: fmt::Arguments<'_>) {
        self.write(4, text);
    }

    /// `[warn]`
    pub fn warn(&self, text: fmt::Arguments<'_>) {
        self.write(5, text);
    }

    /// `[notice]`
    pub fn notice(&self, text: fmt::Arguments<'_>) {
        self.write(6, text);
    }
}

impl LogLine {
    /// Reads what [`Log`] wrote.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (level, text) = bytes.split_first()?;
        Some(Self { level: *level, text: String::from_utf8_lossy(text).into_owned() })
    }
}
