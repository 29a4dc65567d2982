//! The streams of a connection by identifier, and how those ended that are not there any more.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use crate::stream::Stream;

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Both sides sent END_STREAM.
    Complete,
    /// The peer reset it.
    ByPeer,
    /// We reset it: what the peer sent before it knew is ignored.
    ByUs,
}

/// Endings that are remembered; frames for older ones are faults of the connection.
const ENDINGS_KEPT: usize = 256;

#[derive(Debug, Default)]
pub(crate) struct Streams {
    map: HashMap<u32, Stream, BuildHasherDefault<IdHasher>>,
    endings: VecDeque<(u32, Ended)>,
}

impl Streams {
    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    pub(crate) fn get(&self, id: u32) -> Option<&Stream> {
        self.map.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut Stream> {
        self.map.get_mut(&id)
    }

    pub(crate) fn insert(&mut self, id: u32, stream: Stream) {
        self.map.insert(id, stream);
    }

    pub(crate) fn remove(&mut self, id: u32) -> Option<Stream> {
        self.map.remove(&id)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut Stream)> {
        self.map.iter_mut().map(|(id, stream)| (*id, stream))
    }

    /// Remembers how `id` ended.
    pub(crate) fn remember(&mut self, id: u32, ended: Ended) {
        if self.endings.len() >= ENDINGS_KEPT {
            self.endings.pop_front();
        }
        self.endings.push_back((id, ended));
    }

    /// How `id` ended, if that is remembered.
    pub(crate) fn ended(&self, id: u32) -> Option<Ended> {
        self.endings.iter().rev().find(|(other, _)| *other == id).map(|(_, ended)| *ended)
    }
}

/// Identifiers are small numbers the peer chooses in ascending order, and few at a time: one multiplication spreads them.
#[derive(Debug, Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, id: u32) {
        self.0 = (self.0 ^ u64::from(id)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }
}
