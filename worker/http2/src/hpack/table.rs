//! The dynamic table (RFC 7541 section 2.3.2): newest entry first, evicted from the other end by size.

use std::collections::VecDeque;

/// What an entry costs besides its bytes.
pub(super) const ENTRY_OVERHEAD: usize = 32;

/// Entries in an arena that is used as a ring of whole entries: bytes of the oldest go when the arena is compacted.
#[derive(Debug)]
pub(super) struct Table {
    /// Newest first: where name and value are.
    entries: VecDeque<Slot>,
    bytes: Vec<u8>,
    /// Sum of the entries' sizes as RFC 7541 section 4.1 counts them.
    size: usize,
    size_max: usize,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    at: usize,
    name_len: usize,
    value_len: usize,
}

impl Slot {
    fn size(&self) -> usize {
        self.name_len + self.value_len + ENTRY_OVERHEAD
    }
}

impl Table {
    pub(super) fn new(size_max: usize) -> Self {
        Self { entries: VecDeque::new(), bytes: Vec::new(), size: 0, size_max }
    }

    pub(super) fn size_max(&self) -> usize {
        self.size_max
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Entry `index`, counted from 0 for the newest.
    pub(super) fn get(&self, index: usize) -> Option<(&[u8], &[u8])> {
        let slot = self.entries.get(index)?;
        let value_at = slot.at + slot.name_len;
        Some((&self.bytes[slot.at..value_at], &self.bytes[value_at..value_at + slot.value_len]))
    }

    /// Changes the limit and evicts what is beyond it.
    pub(super) fn resize(&mut self, size_max: usize) {
        self.size_max = size_max;
        self.evict(0);
    }

    /// Adds an entry; one that is larger than the whole table empties it (section 4.4).
    pub(super) fn insert(&mut self, name: &[u8], value: &[u8]) {
        let size = name.len() + value.len() + ENTRY_OVERHEAD;
        self.evict(size);
        if size > self.size_max {
            return;
        }
        self.compact(name.len() + value.len());
        let slot = Slot { at: self.bytes.len(), name_len: name.len(), value_len: value.len() };
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
        self.entries.push_front(slot);
        self.size += size;
    }

    fn evict(&mut self, room: usize) {
        while self.size + room > self.size_max {
            let Some(oldest) = self.entries.pop_back() else { return };
            self.size -= oldest.size();
        }
        if self.entries.is_empty() {
            self.bytes.clear();
        }
    }

    /// Drops the bytes of evicted entries when they are more than those in use may ever be: the arena never grows beyond
    /// twice the limit.
    fn compact(&mut self, more: usize) {
        if self.bytes.len() + more <= 2 * self.size_max {
            return;
        }
        let Some(oldest) = self.entries.back() else { return };
        let dead = oldest.at;
        self.bytes.drain(..dead);
        self.entries.iter_mut().for_each(|slot| slot.at -= dead);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oldest_entries_go_first() {
        let mut table = Table::new(3 * 34);
        for name in [b"a", b"b", b"c", b"d"] {
            table.insert(name, b"1");
        }
        assert_eq!(table.len(), 3);
        assert_eq!(table.get(0), Some((&b"d"[..], &b"1"[..])));
        assert_eq!(table.get(2), Some((&b"b"[..], &b"1"[..])));
        assert_eq!(table.get(3), None);
        table.resize(34);
        assert_eq!((table.len(), table.size), (1, 34));
        table.insert(&[b'x'; 100], b"");
        assert_eq!(table.len(), 0, "too large an entry empties the table");
    }

    #[test]
    fn the_arena_stays_bounded() {
        let mut table = Table::new(4096);
        for number in 0..10_000u32 {
            table.insert(b"x-name", &vec![b'v'; (number % 900) as usize]);
            assert!(table.bytes.len() <= 2 * 4096);
            let (name, value) = table.get(0).unwrap();
            assert_eq!((name, value.len()), (&b"x-name"[..], (number % 900) as usize));
        }
    }
}
