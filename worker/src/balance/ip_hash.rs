//! `ip_hash`: the client's address decides: its first three bytes for IPv4, all of it for IPv6.

use super::pick::{Memory, Pick, TRIES_MAX};
use super::{Method, round_robin};

/// Where hashing begins.
const SEED: u64 = 89;
const FACTOR: u64 = 113;
const MODULUS: u64 = 6271;

/// See the module's documentation. [`Memory::key`] holds the bytes of the address.
pub struct IpHash;

impl Method for IpHash {
    fn choose(&self, pick: &mut Pick<'_>, memory: &mut Memory) -> Option<usize> {
        if memory.tries > TRIES_MAX || pick.count() < 2 {
            return round_robin::choose(pick);
        }
        if let Some(at) = pick.hinted() {
            return Some(at);
        }
        if memory.rehash == 0 {
            (memory.hash, memory.rehash) = (SEED, 1);
        }
        let mut hash = memory.hash;
        loop {
            hash = memory.key.iter().fold(hash, |hash, byte| (hash * FACTOR + u64::from(*byte)) % MODULUS);
            let at = super::hash::by_weight(pick.tier, hash);
            if pick.is_usable(at) {
                memory.hash = hash;
                return Some(at);
            }
            memory.tries += 1;
            if memory.tries > TRIES_MAX {
                return round_robin::choose(pick);
            }
        }
    }
}
