//! Idle connections to the servers of one group: what `keepalive` in an `upstream` block keeps.
//!
//! A stack: the connection used last is used first, while its buffers are warm. An idle connection has its next receive
//! already under way. That costs nothing, since the next response needs it anyway, and tells at once when the server closes
//! or speaks out of turn: such a connection is never used again, or its bytes would answer somebody's request.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use net::{Addr, Buf};

use super::Upstream;
use super::secure::TlsKey;
use crate::transport::Transport;

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

/// Shortest pause between two looks for expired connections.
const SWEEP_MS_MIN: u64 = 50;

/// A connection that is not in use.
pub(super) struct Idle {
    pub(super) stream: Transport,
    pub(super) addr: Addr,
    /// Which location's settings it was made with.
    pub(super) tag: usize,
    /// With TLS: whose, and for whom.
    pub(super) tls: Option<TlsKey>,
    /// Requests served over it.
    pub(super) requests: u64,
    /// When it was connected, ms.
    pub(super) born: u64,
    /// When it became idle, ms.
    pub(super) since: u64,
}

/// The idle connections of one group in this worker.
pub struct Pool {
    settings: Option<Keepalive>,
    /// The one used last at the end.
    idle: RefCell<Vec<Idle>>,
    /// Wakes the sweeper.
    waker: RefCell<Waker>,
    sweeping: Cell<bool>,
}

impl Pool {
    pub(super) fn new(settings: Option<Keepalive>) -> Self {
        Self {
            settings: settings.filter(|settings| settings.max > 0),
            idle: RefCell::new(Vec::new()),
            waker: RefCell::new(Waker::noop().clone()),
            sweeping: Cell::new(false),
        }
    }

    /// The settings; `None`: nothing is kept.
    pub fn settings(&self) -> Option<&Keepalive> {
        self.settings.as_ref()
    }

    /// Number of idle connections.
    pub fn len(&self) -> usize {
        self.idle.borrow().len()
    }

    /// Whether no connection is idle.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the connection to `addr` that was used last. Connections found dead are dropped.
    pub(super) fn take(&self, addr: &Addr, tag: usize, tls: Option<TlsKey>, now: u64) -> Option<Idle> {
        let settings = self.settings.as_ref()?;
        let mut idle = self.idle.borrow_mut();
        let fits =
            |entry: &Idle| (!settings.local || entry.tag == tag) && entry.addr == *addr && entry.tls == tls;
        while let Some(at) = idle.iter().rposition(fits) {
            let entry = idle.remove(at);
            let expired = now.saturating_sub(entry.since) > settings.timeout;
            if !expired && !entry.stream.ahead_ended(Waker::noop()) {
                return Some(entry);
            }
        }
        None
    }

    /// Keeps a connection whose response is complete, unless it is used up. `buf` becomes the room of its next receive.
    pub(super) fn put(upstream: &Rc<Upstream>, entry: Idle, mut buf: Buf) {
        let pool = &upstream.pool;
        let Some(settings) = &pool.settings else { return };
        if entry.requests >= settings.requests || entry.since.saturating_sub(entry.born) > settings.time {
            return;
        }
        buf.clear();
        if !entry.stream.start_ahead(buf, &pool.waker.borrow()) {
            return;
        }
        let mut idle = pool.idle.borrow_mut();
        if idle.len() >= settings.max {
            idle.remove(0);
        }
        idle.push(entry);
        if !pool.sweeping.replace(true) {
            net::spawn(Sweeper { upstream: Rc::downgrade(upstream), sleep: None });
        }
    }

    /// Drops connections that ended or expired; how long until the next one expires, ms.
    fn sweep(&self, waker: &Waker) -> Option<u64> {
        let timeout = self.settings.as_ref()?.timeout;
        let now = net::now().0;
        let mut idle = self.idle.borrow_mut();
        idle.retain(|entry| now.saturating_sub(entry.since) < timeout && !entry.stream.ahead_ended(waker));
        let oldest = idle.iter().map(|entry| entry.since).min()?;
        Some((oldest + timeout).saturating_sub(now).max(SWEEP_MS_MIN))
    }
}

/// The task that closes idle connections; it lives while there are any.
struct Sweeper {
    upstream: Weak<Upstream>,
    sleep: Option<net::Sleep>,
}

impl Future for Sweeper {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(upstream) = self.upstream.upgrade() else { return Poll::Ready(()) };
        let pool = &upstream.pool;
        if !pool.waker.borrow().will_wake(cx.waker()) {
            *pool.waker.borrow_mut() = cx.waker().clone();
        }
        let next = pool.sweep(cx.waker());
        // it outlasts a pool that is empty for a moment only
        loop {
            if let Some(sleep) = &mut self.sleep {
                if Pin::new(sleep).poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.sleep = None;
            }
            match next {
                Some(ms) => self.sleep = Some(net::sleep(Duration::from_millis(ms))),
                None => {
                    pool.sweeping.set(false);
                    return Poll::Ready(());
                }
            }
        }
    }
}
