//! What went wrong with a request, whose doing it was, and whether trying again is safe.

use std::fmt;
use std::io;

/// Whose doing a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The client: aborted, too slow, or sent nonsense.
    Client,
    /// The upstream server.
    Upstream,
    /// This process or its machine.
    Us,
}

/// What kind of fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The peer closed or reset the connection.
    Closed,
    /// Nothing happened for too long.
    Timeout,
    /// The peer broke the protocol.
    Protocol,
    /// Something exceeded its limit.
    TooLarge,
    /// No connection could be made.
    Connect,
    /// Any other failure of the system.
    System,
    /// Nothing is wrong: a header filter answers with another status instead of the response.
    Answer,
}

/// A failed operation.
#[derive(Debug)]
pub struct Fault {
    /// Whose doing.
    pub side: Side,
    /// What kind.
    pub kind: Kind,
    /// The status to answer with, where an answer is still possible. `0`: none, close.
    pub status: u16,
    /// What to log.
    pub text: Box<str>,
}

impl Fault {
    /// A fault with a text.
    pub fn new(side: Side, kind: Kind, status: u16, text: impl Into<Box<str>>) -> Self {
        Self { side, kind, status, text: text.into() }
    }

    /// The client is gone or too slow: there is nobody to answer.
    pub fn client(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::TimedOut {
            Self::new(Side::Client, Kind::Timeout, 408, "client timed out (110: Connection timed out)")
        } else {
            Self::new(Side::Client, Kind::Closed, 499, format!("client closed connection ({error})"))
        }
    }

    /// A header filter answers with `status` in place of the response that passes it. Not logged.
    pub fn answer(status: u16) -> Self {
        Self::new(Side::Client, Kind::Answer, status, "")
    }

    /// Something on this machine failed.
    pub fn internal(text: impl Into<Box<str>>) -> Self {
        Self::new(Side::Us, Kind::System, 500, text)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Fault {}
