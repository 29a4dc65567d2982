//! What happened upstream on behalf of one request, for `$upstream_*` variables and log lines.

use std::rc::Rc;

/// One try to get a response from one server.
#[derive(Debug, Clone, Default)]
pub struct Try {
    /// The server's address as `$upstream_addr` prints it.
    pub addr: Rc<str>,
    /// Its status, once its head was read.
    pub status: Option<u16>,
    /// Milliseconds until connected.
    pub connect_ms: Option<u64>,
    /// Milliseconds until the head was read.
    pub header_ms: Option<u64>,
    /// Milliseconds until the response was read or the try failed.
    pub response_ms: Option<u64>,
    /// Bytes of the body.
    pub response_length: u64,
    /// All bytes received.
    pub bytes_received: u64,
    /// All bytes sent.
    pub bytes_sent: u64,
    /// The try began after an `X-Accel-Redirect` or error page: a new group in the variables.
    pub new_group: bool,
}

/// All tries of a request.
#[derive(Debug, Default)]
pub struct Trace {
    /// In order.
    pub tries: Vec<Try>,
    /// `http://127.0.0.1:8080/uri` of the try under way, for log lines.
    pub url: Option<String>,
}

impl Trace {
    /// What the request is talking to.
    pub fn current(&self) -> Option<&str> {
        self.url.as_deref()
    }

    /// Forgets everything; keeps the memory.
    pub fn reset(&mut self) {
        self.tries.clear();
        self.url = None;
    }
}
