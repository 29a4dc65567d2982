//! Shared memory zones, a robust lock, a slab allocator and the tables built on them.
//!
//! The master creates zones ([`zone::Registry`]) and passes their descriptors to the workers, which map them wherever the kernel
//! likes: nothing inside is a pointer. Zones outlive workers and reloads. Any process may be killed at any instruction, so every
//! structure here can be repaired by the next one that takes its lock ([`lock::Lock`]), and whatever a process counts in a zone is
//! kept under a slot of its own ([`slot`]) from which a successor can subtract it.

pub mod cache;
pub mod counter;
pub mod dict;
pub mod error;
mod hash;
pub mod limit;
pub mod lock;
pub mod map;
pub mod peers;
pub mod process;
pub mod sessions;
pub mod slab;
pub mod slot;
pub mod sticky;
pub mod table;
pub mod zone;

pub use cache::CacheIndex;
pub use counter::{Counters, Metric};
pub use dict::Dict;
pub use error::{Error, Result};
pub use limit::{LimitConn, LimitReq};
pub use lock::{Guard, Lock};
pub use map::Region;
pub use peers::PeerZone;
pub use process::Identity;
pub use sessions::Sessions;
pub use slab::Slab;
pub use slot::{SlotId, Slots};
pub use sticky::Sticky;
pub use table::{EntryRef, Shards, Table, TableGuard};
pub use zone::{Kind, Registry, Spec, Zone};
