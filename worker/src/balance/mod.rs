//! Load balancing: which server of a group gets the next try.
//!
//! A [`Group`] is what an `upstream` block describes: its servers, a [`Method`], perhaps `sticky` sessions, and the
//! numbers of each server ([`states`]), which all workers share if the group has a zone. A choice takes the group's
//! lock once, looks at the servers of the first rank, then at the backups, and counts a connection; the end of the try
//! counts it off and notes success or failure. Order, arithmetic and corner cases are nginx's, so that keys stay on
//! their servers when one replaces the other.
//!
//! The methods know nothing of HTTP: what they hash is handed to them as bytes.

mod carry;
mod chash;
pub mod crc32;
mod group;
mod hash;
mod ip_hash;
mod least_conn;
mod least_time;
mod pick;
mod random;
mod round_robin;
mod server;
mod states;
mod sticky;
mod tier;

#[cfg(test)]
mod tests;

pub use carry::{DynamicRoom, carry};
pub use chash::ConsistentHash;
pub use group::{Group, Seed};
pub use hash::Hash;
pub use ip_hash::IpHash;
pub use least_conn::LeastConn;
pub use least_time::{LeastTime, Measure};
pub use pick::{Memory, Pick};
pub use random::Random;
pub use round_robin::RoundRobin;
pub use server::{Dynamic, Server, digest};
pub use states::{Access, Place, States};
pub use sticky::{Cookie, Expires, Learn, Sticky, is_same_site};
pub use tier::{Member, PeerSet, Tier};

/// A load balancing method.
pub trait Method {
    /// Chooses a member of [`Pick::tier`]; `None`: none can be used.
    fn choose(&self, pick: &mut Pick<'_>, memory: &mut Memory) -> Option<usize>;

    /// Whether what [`Method::choose`] chose is counted as running until [`Method::header`] or [`Method::done`].
    fn counts_inflight(&self) -> bool {
        false
    }

    /// Hears that the response head of a try that is counted as running is passed on; whether it is not counted any more.
    fn header(&self, _access: &mut Access<'_>, _place: Place, _end: &Finish) -> bool {
        false
    }

    /// Hears that a try has ended.
    fn done(&self, _access: &mut Access<'_>, _place: Place, _end: &Finish) {}
}

/// How far a try got.
#[derive(Debug, Clone, Copy)]
pub struct Finish {
    /// The server gave an answer that was used.
    pub answered: bool,
    /// Milliseconds until the response head.
    pub header_ms: Option<i64>,
    /// Milliseconds in all.
    pub response_ms: i64,
    /// The try is counted as running.
    pub inflight: bool,
    /// Now, milliseconds of the monotonic clock.
    pub now_ms: i64,
}
