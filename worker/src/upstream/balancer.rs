//! Choosing a server for a try.

use std::any::Any;
use std::cell::Cell;
use std::rc::Rc;

use super::Peer;
use crate::fault::Fault;
use crate::phase::Step;
use crate::request::Request;

/// Chooses servers of one upstream group.
///
/// Every [`Picked`] is handed back through [`Balancer::done`] exactly once, also when the request is given up, so that
/// counts of active connections stay right.
pub trait Balancer {
    /// Chooses a server for the next try of `req`. `tried` tells what was tried before and belongs to this request alone.
    fn pick<'r>(&'r self, req: &'r mut Request, tried: &'r mut Tried) -> Step<'r, Result<Picked, NoPeer>>;

    /// Hears how a try ended. `req` is the request it was made for, if it still runs: for log lines and for `sticky learn`,
    /// which looks at variables; `None` when the request's task was dropped.
    fn done(&self, req: Option<&mut Request>, picked: Picked, outcome: Outcome);

    /// The most tries one request may make here: the number of servers, as a rule (nginx's `peer.tries`).
    fn tries(&self) -> usize;

    /// The addresses to choose from, as `$upstream_addr` prints them; empty where nobody asks.
    fn names(&self) -> Vec<Rc<str>> {
        Vec::new()
    }

    /// Whether one more try may be made for `req` after one that failed, within [`tries`](Self::tries).
    fn may_try_again(&self, _req: &Request) -> bool {
        true
    }

    /// Hears that the head of a response from `picked` is about to be passed on; may add fields to it (`sticky cookie`).
    fn header(&self, _req: &mut Request, _picked: &Picked) {}
}

/// A chosen server.
pub struct Picked {
    /// The server.
    pub peer: Rc<Peer>,
    /// The balancer's own mark, for [`Balancer::header`] and [`Balancer::done`].
    pub token: Cell<usize>,
}

impl Picked {
    /// A choice without a mark.
    pub fn new(peer: Rc<Peer>) -> Self {
        Self { peer, token: Cell::new(0) }
    }
}

/// What one request tried so far in this group.
#[derive(Default)]
pub struct Tried {
    /// The servers, in order; a server may occur twice. Filled by the engine after each pick.
    pub peers: Vec<Rc<Peer>>,
    /// Whatever the balancer remembers between the picks of one request (a hash, how often it was rehashed).
    pub state: Option<Box<dyn Any>>,
}

impl Tried {
    /// Whether `peer` was tried.
    pub fn contains(&self, peer: &Rc<Peer>) -> bool {
        self.peers.iter().any(|tried| Rc::ptr_eq(tried, peer))
    }
}

/// Why there is no server.
#[derive(Debug)]
pub enum NoPeer {
    /// All are down, failed, full or tried already: `no live upstreams`, 502.
    NoneLive,
    /// Choosing failed.
    Failed(Fault),
}

/// How a try ended, for the balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Whether the server is to blame.
    pub blame: Blame,
    /// Milliseconds until the response head, if one was read.
    pub header_ms: Option<u64>,
    /// Milliseconds until the end of the response or the failure.
    pub response_ms: u64,
}

/// Whether the server is to blame for how a try ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// It answered.
    None,
    /// It failed: counts towards `max_fails`.
    Failed,
    /// Its answer sends the request to another server without being a failure (403 and 404 in `proxy_next_upstream`).
    Next,
    /// The request was given up for other reasons: nothing is known of the server.
    Unknown,
}
