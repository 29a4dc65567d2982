//! `hash key`: the key's CRC-32 decides, as the Perl client Cache::Memcached computes it:
//! `((crc32([REHASH] KEY) >> 16) & 0x7fff) + PREVIOUS`, with REHASH left out at first.

use super::crc32::Crc32;
use super::pick::{Memory, Pick, TRIES_MAX};
use super::tier::Tier;
use super::{Method, round_robin};

/// See the module's documentation. [`Memory::key`] holds the key.
pub struct Hash;

impl Method for Hash {
    fn choose(&self, pick: &mut Pick<'_>, memory: &mut Memory) -> Option<usize> {
        if memory.tries > TRIES_MAX || pick.count() < 2 || memory.key.is_empty() {
            return round_robin::choose(pick);
        }
        if let Some(at) = pick.hinted() {
            return Some(at);
        }
        loop {
            let mut crc = Crc32::new();
            if memory.rehash > 0 {
                crc.update(memory.rehash.to_string().as_bytes());
            }
            crc.update(&memory.key);
            // nginx adds in 32 bits
            let sum = (memory.hash as u32).wrapping_add(crc.finish() >> 16 & 0x7fff);
            memory.hash = u64::from(sum);
            memory.rehash += 1;
            let at = by_weight(pick.tier, memory.hash);
            if pick.is_usable(at) {
                return Some(at);
            }
            memory.tries += 1;
            if memory.tries > TRIES_MAX {
                return round_robin::choose(pick);
            }
        }
    }
}

/// The member that `hash`, taken modulo the sum of weights, falls on. There must be one.
pub(super) fn by_weight(tier: &Tier, hash: u64) -> usize {
    let mut left = (hash % tier.total_weight.max(1) as u64) as i64;
    for (at, member) in tier.members.iter().enumerate() {
        if left < member.weight {
            return at;
        }
        left -= member.weight;
    }
    0
}
