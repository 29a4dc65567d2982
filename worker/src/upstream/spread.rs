//! Equal turns over a few addresses: what groups without an `upstream` block use.
//!
//! As in nginx such a group has one server per address, each with weight 1, `max_fails=1` and `fail_timeout=10s`; a group
//! of one address is never taken out of service.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::{Balancer, Blame, NoPeer, Outcome, Peer, Picked, Tried};
use crate::phase::Step;
use crate::request::Request;

/// How long a failed address is left out, ms (`fail_timeout`'s default).
const FAIL_TIMEOUT_MS: u64 = 10_000;

/// See the module's documentation.
pub struct Spread {
    peers: Box<[Rc<Peer>]>,
    /// When each peer failed last, in ms of the monotonic clock; 0: it did not.
    failed: RefCell<Box<[u64]>>,
    next: Cell<usize>,
}

impl Spread {
    /// Turns over `peers`, of which there is at least one.
    pub fn new(peers: Vec<Rc<Peer>>) -> Self {
        let failed = vec![0; peers.len()].into();
        Self { peers: peers.into(), failed: RefCell::new(failed), next: Cell::new(0) }
    }

    fn choose(&self, tried: &Tried) -> Option<usize> {
        let count = self.peers.len();
        if count == 1 {
            return tried.peers.is_empty().then_some(0);
        }
        let (start, now) = (self.next.get(), net::now().0);
        let failed = self.failed.borrow();
        let usable = |at: &usize| {
            !tried.contains(&self.peers[*at])
                && (failed[*at] == 0 || now.saturating_sub(failed[*at]) > FAIL_TIMEOUT_MS)
        };
        (0..count).map(|step| (start + step) % count).find(usable)
    }
}

impl Balancer for Spread {
    fn pick<'r>(&'r self, _: &'r mut Request, tried: &'r mut Tried) -> Step<'r, Result<Picked, NoPeer>> {
        let Some(at) = self.choose(tried) else {
            // as in nginx: when none is left all are given another chance, by the next request
            self.failed.borrow_mut().fill(0);
            return Step::Ready(Err(NoPeer::NoneLive));
        };
        self.next.set((at + 1) % self.peers.len());
        Step::Ready(Ok(Picked { peer: Rc::clone(&self.peers[at]), token: at }))
    }

    fn done(&self, _: Option<&mut Request>, picked: Picked, outcome: Outcome) {
        if self.peers.len() == 1 {
            return;
        }
        let failed = &mut self.failed.borrow_mut()[picked.token];
        match outcome.blame {
            Blame::Failed => *failed = net::now().0.max(1),
            Blame::None => *failed = 0,
            Blame::Next | Blame::Unknown => {}
        }
    }

    fn tries(&self) -> usize {
        self.peers.len()
    }
}
