//! Failed tries, and whether another one may follow: `proxy_next_upstream` and its rules.
//!
//! A request that may have had an effect is never sent twice: one that is not idempotent goes to another server only while
//! no byte of it was sent, unless `non_idempotent` says otherwise; one whose body went by (`proxy_request_buffering off`)
//! cannot be repeated at all.

use std::io;

use super::{Conditions, Order, Upload};
use crate::request::Request;

/// A try that failed.
#[derive(Debug)]
pub(super) struct Failure {
    /// Why.
    pub(super) condition: Conditions,
    /// What to log; empty: it was logged.
    pub(super) text: Box<str>,
    /// A kept connection turned out dead before any byte of a response: a fresh one to the same server may do.
    pub(super) stale: bool,
}

impl Failure {
    pub(super) fn new(condition: Conditions, text: impl Into<Box<str>>) -> Self {
        Self { condition, text: text.into(), stale: false }
    }

    /// A failed system call `call` while `doing` something.
    pub(super) fn io(error: &io::Error, call: &str, doing: &str) -> Self {
        if error.kind() == io::ErrorKind::TimedOut && error.raw_os_error().is_none() {
            let text = format!("upstream timed out (110: Connection timed out) while {doing}");
            return Self::new(Conditions::TIMEOUT, text);
        }
        Self::new(Conditions::ERROR, format!("{call}() failed ({}) while {doing}", conf::error::errno(error)))
    }
}

/// Tries of one request so far.
pub(super) struct Tries {
    /// How many more may be made, the current one included.
    left: usize,
    /// When the first began, ms.
    start: u64,
}

impl Tries {
    /// None so far.
    pub(super) fn new(order: &Order<'_>) -> Self {
        let servers = order.upstream.balancer.tries().max(1);
        let left = match order.settings.tries_max {
            0 => servers,
            max => servers.min(max),
        };
        Self { left, start: if order.settings.tries_timeout == 0 { 0 } else { net::now().0 } }
    }

    /// Whether a response of this status goes to the client or the request to another server.
    pub(super) fn may_skip(&self, req: &Request, order: &Order<'_>, condition: Conditions) -> bool {
        self.left > 1 && self.allowed(req, order, condition)
    }

    /// Counts a failed try; whether another may follow.
    pub(super) fn failed(&mut self, req: &Request, order: &Order<'_>, condition: Conditions) -> bool {
        self.left = self.left.saturating_sub(1);
        self.left > 0 && self.allowed(req, order, condition)
    }

    fn allowed(&self, req: &Request, order: &Order<'_>, condition: Conditions) -> bool {
        let sent = req.upstream.sent() > 0;
        let timeout = order.settings.tries_timeout;
        let condition =
            if sent && !order.idempotent { condition.or(Conditions::NON_IDEMPOTENT) } else { condition };
        order.settings.next_upstream.contains(condition)
            && order.upstream.balancer.may_try_again(req)
            && is_repeatable(order, sent)
            && (timeout == 0 || net::now().0.saturating_sub(self.start) < timeout)
    }
}

/// Whether the same request may be sent once more over a fresh connection after a kept one turned out dead.
pub(super) fn may_refresh(req: &Request, order: &Order<'_>) -> bool {
    let sent = req.upstream.sent() > 0;
    let idempotent = order.idempotent || order.settings.next_upstream.contains(Conditions::NON_IDEMPOTENT);
    (!sent || idempotent) && is_repeatable(order, sent)
}

fn is_repeatable(order: &Order<'_>, sent: bool) -> bool {
    !(sent && matches!(order.upload, Upload::Streamed { .. }))
}
