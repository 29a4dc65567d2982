//! What to do with a table whose holder died inside.
//!
//! Every entry can be told from garbage: it lies inside the region, carries the mark of the living, and the hash stored in it is
//! that of its key under the table's secret. Operations are ordered so that an entry is reachable from its chain or from the list
//! for as long as it counts, and its memory is given back last. So: gather what is reachable, drop the entry in the journal and older
//! doubles of a key, and build chains, list and slab anew from the rest. Should even that contradict itself, the table is emptied.

use std::collections::{HashMap, HashSet};

use super::*;

impl TableGuard<'_> {
    /// Makes the table consistent and clears the poison.
    #[cold]
    pub(super) fn repair(&self) -> Result<()> {
        let region = &self.table.region;
        region.store64(REPAIRS_AT, self.repairs().wrapping_add(1))?;
        let kept = self.gather()?;
        if self.rebuild(&kept).is_err() {
            self.clear()?;
        }
        self.guard.clear_poison();
        Ok(())
    }

    /// What can be reached and is sound, newest first.
    fn gather(&self) -> Result<Vec<EntryRef>> {
        let dropped = self.link(JOURNAL_AT)?;
        let mut found = Found { guard: self, dropped, seen: HashSet::new(), by_hash: HashMap::new() };
        for bucket in 0..self.table.buckets as usize {
            self.walk(self.table.buckets_at + bucket * 4, CHAIN, |entry| found.offer(entry))?;
        }
        let (mut newest_first, mut oldest_first) = (Vec::new(), Vec::new());
        self.walk(NEWEST_AT, OLDER, |entry| newest_first.push(entry))?;
        self.walk(OLDEST_AT, NEWER, |entry| oldest_first.push(entry))?;
        for &entry in newest_first.iter().chain(&oldest_first) {
            found.offer(entry);
        }
        // The list may be torn: what its front half lacks comes from the back half, what both lack is taken for new.
        let kept = found.kept();
        let mut placed = HashSet::new();
        let mut order: Vec<EntryRef> =
            newest_first.into_iter().chain(oldest_first.into_iter().rev()).collect();
        order.retain(|entry| kept.contains(entry) && placed.insert(*entry));
        let mut all: Vec<EntryRef> = kept.into_iter().filter(|entry| !placed.contains(entry)).collect();
        all.extend(order);
        Ok(all)
    }

    /// Follows links from the word at `from` until the end, the first unsound entry or a cycle.
    fn walk(&self, from: usize, field: usize, mut visit: impl FnMut(EntryRef)) -> Result<()> {
        let mut visited = HashSet::new();
        let mut at = from;
        while let Some(entry) = self.link(at)? {
            if !self.is_sound(entry) || !visited.insert(entry) {
                break;
            }
            visit(entry);
            at = entry.at() + field;
        }
        Ok(())
    }

    fn is_sound(&self, entry: EntryRef) -> bool {
        let sound = || -> Result<bool> {
            let (at, len) = self.value_at(entry)?;
            self.table.region.read(at, len, |_| ())?;
            let key_len = self.key_len(entry)?;
            let hash = self.table.region.read(entry.at() + KEY, key_len, |key| self.table.hash_of(key))?;
            Ok(self.table.region.load32(entry.at() + HASH)? == hash)
        };
        sound().unwrap_or(false)
    }

    fn rebuild(&self, newest_first: &[EntryRef]) -> Result<()> {
        let mut used = Vec::with_capacity(newest_first.len());
        for &entry in newest_first {
            let (_, value_len) = self.value_at(entry)?;
            used.push((entry.at(), Table::entry_size(self.key_len(entry)?, value_len)));
        }
        // A second death from here on must not lose what the first one spared: chains and list are rebuilt link by link while
        // the old ones still lead everywhere. The slab's bookkeeping is derived and can go first.
        self.table.slab.rebuild(used)?;
        self.relink_list(newest_first)?;
        self.relink_chains(newest_first)?;
        self.table.region.store32(LEN_AT, newest_first.len() as u32)?;
        self.table.region.publish32(JOURNAL_AT, 0)
    }

    fn relink_list(&self, newest_first: &[EntryRef]) -> Result<()> {
        let region = &self.table.region;
        let raw = |entry: Option<&EntryRef>| entry.map_or(0, |entry| entry.0);
        for (i, entry) in newest_first.iter().enumerate() {
            let newer = i.checked_sub(1).and_then(|i| newest_first.get(i));
            region.store32(entry.at() + NEWER, raw(newer))?;
            region.store32(entry.at() + OLDER, raw(newest_first.get(i + 1)))?;
        }
        region.store32(NEWEST_AT, raw(newest_first.first()))?;
        region.publish32(OLDEST_AT, raw(newest_first.last()))
    }

    /// The list is complete by now, so the chains may be torn.
    fn relink_chains(&self, newest_first: &[EntryRef]) -> Result<()> {
        let region = &self.table.region;
        region.zero(self.table.buckets_at, self.table.buckets as usize * 4)?;
        for entry in newest_first.iter().rev() {
            let bucket = self.table.bucket(region.load32(entry.at() + HASH)?);
            region.store32(entry.at() + CHAIN, region.load32(bucket)?)?;
            region.store32(bucket, entry.0)?;
        }
        Ok(())
    }
}

/// Entries gathered so far, the first with each key.
struct Found<'a> {
    guard: &'a TableGuard<'a>,
    dropped: Option<EntryRef>,
    seen: HashSet<EntryRef>,
    by_hash: HashMap<u32, Vec<EntryRef>>,
}

impl Found<'_> {
    fn offer(&mut self, entry: EntryRef) {
        if Some(entry) == self.dropped || !self.seen.insert(entry) {
            return;
        }
        let guard = self.guard;
        let hash = guard.table.region.load32(entry.at() + HASH).unwrap_or(0);
        let same_hash = self.by_hash.entry(hash).or_default();
        let key = |entry| guard.key(entry, <[u8]>::to_vec).ok();
        let double = !same_hash.is_empty() && same_hash.iter().any(|&other| key(other) == key(entry));
        if !double {
            same_hash.push(entry);
        }
    }

    fn kept(&self) -> HashSet<EntryRef> {
        self.by_hash.values().flatten().copied().collect()
    }
}
