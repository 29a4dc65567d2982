//! The servers of a group as they are now: ordinary ones and backups.

use std::cell::OnceCell;
use std::rc::Rc;

use super::chash::Ring;
use super::states::Place;
use crate::upstream::Peer;

/// One server.
pub struct Member {
    /// The address.
    pub peer: Rc<Peer>,
    /// Where its numbers stand.
    pub place: Place,
    /// `weight=`.
    pub weight: i64,
    /// What `sticky` binds sessions to: `route=`, or a digest of the address.
    pub sid: Rc<[u8]>,
    /// Whether it was `down` when the set was made.
    pub down: bool,
}

/// Servers of the same rank.
#[derive(Default)]
pub struct Tier {
    /// In the order of the configuration; those found by name follow in the order they were found.
    pub members: Vec<Member>,
    /// Sum of the weights.
    pub total_weight: i64,
    /// The only server of a group without backups: it is never taken out of service.
    pub single: bool,
    ring: OnceCell<Ring>,
}

impl Tier {
    fn new(members: Vec<Member>) -> Self {
        let total_weight = members.iter().map(|member| member.weight).sum();
        Self { members, total_weight, single: false, ring: OnceCell::new() }
    }

    /// The points of consistent hashing, made on first use.
    pub fn ring(&self) -> &Ring {
        self.ring.get_or_init(|| Ring::new(&self.members))
    }

    fn tries(&self) -> usize {
        self.members.iter().filter(|member| !member.down).count()
    }
}

/// All servers of a group at one time. Requests keep the set they began with.
#[derive(Default)]
pub struct PeerSet {
    /// Those that are used first.
    pub primary: Tier,
    /// Those that are used when no primary one can be.
    pub backup: Tier,
    /// The zone's count of changes when the set was made.
    pub generation: u64,
}

impl PeerSet {
    /// A set of these servers.
    pub fn new(primary: Vec<Member>, backup: Vec<Member>, generation: u64) -> Self {
        let mut set = Self { primary: Tier::new(primary), backup: Tier::new(backup), generation };
        set.primary.single = set.primary.members.len() == 1 && set.backup.members.is_empty();
        set
    }

    /// How many servers a request may try.
    pub fn tries(&self) -> usize {
        self.primary.tries() + self.backup.tries()
    }

    /// All members.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.primary.members.iter().chain(&self.backup.members)
    }
}
