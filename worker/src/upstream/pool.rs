//! Idle connections to the servers of one group: what `keepalive` in an `upstream` block keeps.

/// Settings of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keepalive {
    /// The most idle connections per worker; the one unused longest is closed first (`keepalive`).
    pub max: usize,
    /// Connections are shared only among locations with the same settings (`keepalive N local`; nginx's default).
    pub local: bool,
    /// Requests after which a connection is closed (`keepalive_requests`).
    pub requests: u64,
    /// Age in ms after which a connection is closed once its response is complete (`keepalive_time`).
    pub time: u64,
    /// How long a connection may be idle, ms (`keepalive_timeout`).
    pub timeout: u64,
}

impl Default for Keepalive {
    /// What an `upstream` block has that says nothing of it.
    fn default() -> Self {
        Self { max: 32, local: true, requests: 1000, time: 3_600_000, timeout: 60_000 }
    }
}

/// The idle connections of one group in this worker.
pub struct Pool {
    settings: Option<Keepalive>,
}

impl Pool {
    pub(super) fn new(settings: Option<Keepalive>) -> Self {
        Self { settings }
    }

    /// The settings; `None`: nothing is kept.
    pub fn settings(&self) -> Option<&Keepalive> {
        self.settings.as_ref()
    }
}
