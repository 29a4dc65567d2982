//! One choice: what a method may look at and change while it makes it.

use std::rc::Rc;

use shm::peers::{DRAINING, Field};

use super::states::Access;
use super::tier::{Member, Tier};
use crate::upstream::Peer;

/// Choices that a hashing or random method makes before it falls back to turns, for one request.
pub(super) const TRIES_MAX: u32 = 20;

/// The world of a method while it chooses.
pub struct Pick<'a> {
    /// The servers to choose from.
    pub tier: &'a Tier,
    /// Their numbers.
    pub access: Access<'a>,
    /// Servers this request has tried.
    pub tried: &'a [Rc<Peer>],
    /// The session is bound to the server with this id.
    pub hint: Option<&'a [u8]>,
    /// Seconds of the monotonic clock.
    pub now: i64,
    /// Milliseconds of the same.
    pub now_ms: i64,
}

/// What a method remembers between the choices of one request.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// Whether the backups are being tried.
    pub backup: bool,
    /// The key that is hashed, or the bytes of the client's address.
    pub key: Vec<u8>,
    /// The hash so far, or the point reached on the ring.
    pub hash: u64,
    /// How often the key was hashed.
    pub rehash: u32,
    /// Servers that were looked at in vain.
    pub tries: u32,
    /// The session, as `sticky` found it in the request; empty: none.
    pub session: Vec<u8>,
    /// The `Set-Cookie` value that `sticky cookie` added.
    pub cookie: Vec<u8>,
}

impl Pick<'_> {
    /// A number of member `at`.
    #[inline]
    pub fn get(&self, at: usize, field: Field) -> i64 {
        self.access.get(self.tier.members[at].place, field)
    }

    /// Changes it.
    #[inline]
    pub fn set(&mut self, at: usize, field: Field, value: i64) {
        self.access.set(self.tier.members[at].place, field, value);
    }

    /// Member `at`.
    pub fn member(&self, at: usize) -> &Member {
        &self.tier.members[at]
    }

    /// How many members there are.
    pub fn count(&self) -> usize {
        self.tier.members.len()
    }

    /// Whether this request has tried member `at`.
    pub fn is_tried(&self, at: usize) -> bool {
        let peer = &self.tier.members[at].peer;
        self.tried.iter().any(|tried| Rc::ptr_eq(tried, peer))
    }

    /// Whether member `at` may be chosen: not tried, not down, not failed, not full.
    pub fn is_usable(&self, at: usize) -> bool {
        !self.is_tried(at) && self.get(at, Field::Down) == 0 && self.is_live(at)
    }

    /// Whether member `at` is neither out of service after failures nor full.
    fn is_live(&self, at: usize) -> bool {
        let max_fails = self.get(at, Field::MaxFails);
        let failed = max_fails != 0
            && self.get(at, Field::Fails) >= max_fails
            && self.now - self.get(at, Field::Checked) <= self.get(at, Field::FailTimeout);
        !failed && !self.is_full(at)
    }

    /// Whether member `at` has all the connections it may have.
    pub fn is_full(&self, at: usize) -> bool {
        let max_conns = self.get(at, Field::MaxConns);
        max_conns != 0 && self.get(at, Field::Conns) >= max_conns
    }

    /// The member the session is bound to, if it may be chosen. A draining one may.
    pub fn hinted(&self) -> Option<usize> {
        let hint = self.hint?;
        let at = self.tier.members.iter().position(|member| &*member.sid == hint)?;
        let down = self.get(at, Field::Down) & !DRAINING != 0;
        (!self.is_tried(at) && !down && self.is_live(at)).then_some(at)
    }

    /// Gives member `at` its turn: raises its weight in the round. Returns by how much.
    pub fn step(&mut self, at: usize) -> i64 {
        let effective = self.get(at, Field::EffectiveWeight);
        self.set(at, Field::CurrentWeight, self.get(at, Field::CurrentWeight) + effective);
        if effective < self.get(at, Field::Weight) {
            // a server that failed comes back gradually
            self.set(at, Field::EffectiveWeight, effective + 1);
        }
        effective
    }

    /// Takes `total` off the weight of member `at`, which won the round.
    pub fn win(&mut self, at: usize, total: i64) {
        self.set(at, Field::CurrentWeight, self.get(at, Field::CurrentWeight) - total);
    }

    /// Notes that member `at` was chosen: its connection, and when it was tried after a failure.
    pub(super) fn take(&mut self, at: usize) {
        if !self.tier.single && self.now - self.get(at, Field::Checked) > self.get(at, Field::FailTimeout) {
            self.set(at, Field::Checked, self.now);
        }
        let place = self.tier.members[at].place;
        self.access.opened(place);
    }
}
