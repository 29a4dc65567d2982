//! `limit_conn`: connections at this moment per key.
//!
//! Every connection is counted twice: in the key's total, which is compared with the limit, and under the [`Slots`] number of the
//! worker that has it. nginx loses what a killed worker had counted – its clients stay limited until the zone is made anew; here
//! the count under the dead worker's slot is taken off the total.
//!
//! ```text
//! entry 'k' key        total, and (slot, count) of one worker
//! entry 'w' slot key   count of any further worker
//! ```

use std::{
    ops::Deref,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    error::{Error, Result},
    map::Region,
    process::Identity,
    slot::{SlotId, Slots},
    table::{EntryRef, Shards, TableGuard},
    zone::{Kind, Zone},
};

/// Longest key, bytes; longer ones are not limited.
pub const KEY_MAX: usize = 255;
/// Workers that can count at the same time, those that drain after a reload included; more share the overflow slot.
const SLOTS: u16 = 256;
/// Decrements that wait because the zone's lock was stuck. What is beyond is made good when this worker ends.
const DEFERRED_MAX: usize = 4096;

const TOTAL_OF: u8 = b'k';
const WORKER_OF: u8 = b'w';
const TOTAL: usize = 0;
/// Slot in the high half, its count in the low.
const FIRST: usize = 1;
const TOTAL_LEN: usize = 16;
const COUNT: usize = 0;
const COUNT_LEN: usize = 8;
/// In each table's reserve: the number of the repair after which the totals were last recomputed.
const RECOMPUTED: usize = 0;

/// A `limit_conn_zone`. Cloning shares it.
#[derive(Clone, Debug)]
pub struct LimitConn(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    slots: Slots,
    shards: Shards,
    who: Option<Identity>,
    mine: OnceLock<SlotId>,
    deferred: Mutex<Vec<Claim>>,
    /// Whether there are any.
    any_deferred: AtomicBool,
}

/// One connection counted; dropping it counts it off.
#[must_use]
#[derive(Debug)]
pub struct Held {
    inner: Arc<Inner>,
    claim: Claim,
}

#[derive(Clone, Copy, Debug)]
struct Claim {
    entry: EntryRef,
    shard: usize,
    epoch: u32,
}

impl LimitConn {
    /// What the zone is registered as.
    pub const KIND: Kind = Kind { id: *b"lcon", layout: 1 };

    /// Prepares a new zone.
    pub fn format(zone: &Zone) -> Result<Self> {
        Shards::format(&tables(zone.body())?, 64)?;
        Self::open(zone)
    }

    /// The counts in a zone that was prepared.
    pub fn open(zone: &Zone) -> Result<Self> {
        Self::open_as(zone, None)
    }

    fn open_as(zone: &Zone, who: Option<Identity>) -> Result<Self> {
        Ok(Self(Arc::new(Inner {
            slots: Slots::at(zone.body(), SLOTS)?,
            shards: Shards::open(&tables(zone.body())?)?,
            who,
            mine: OnceLock::new(),
            deferred: Mutex::new(Vec::new()),
            any_deferred: AtomicBool::new(false),
        })))
    }

    /// Counts one more connection under `key` unless there are `max` already (`None`). [`Error::NoMemory`], when the
    /// zone is full, is a refusal to nginx as well.
    pub fn acquire(&self, key: &[u8], max: u32) -> Result<Option<Held>> {
        if key.len() > KEY_MAX {
            return Err(Error::TooLong { have: key.len(), max: KEY_MAX });
        }
        let inner = &self.0;
        inner.catch_up();
        let slot = inner.slot()?;
        let (name, place) = (StoredKey::total(key), inner.shards.of(key));
        let mut guard = consistent(place.table.lock()?)?;
        let entry = match guard.find(&name)? {
            Some(entry) if guard.word(entry, TOTAL)? >= u64::from(max) => return Ok(None),
            Some(entry) => entry,
            None => guard.insert(&name, TOTAL_LEN)?,
        };
        add(&mut guard, entry, key, slot)?;
        let claim = Claim { entry, shard: place.number, epoch: guard.epoch() };
        drop(guard);
        Ok(Some(Held { inner: Arc::clone(inner), claim }))
    }

    /// Connections counted under `key` now.
    pub fn count(&self, key: &[u8]) -> Result<u64> {
        let guard = consistent(self.0.shards.of(key).table.lock()?)?;
        match guard.find(&StoredKey::total(key))? {
            Some(entry) => guard.word(entry, TOTAL),
            None => Ok(0),
        }
    }

    /// Takes off what dead workers had counted; how many there were. For the master after it has reaped one; a new worker
    /// does the same at its first [`acquire`](Self::acquire).
    pub fn retire_dead(&self) -> Result<usize> {
        self.0.shards.recover()?;
        self.0.slots.retire_dead(|slot| self.0.forget(slot))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.inner.catch_up();
        if self.inner.release(self.claim).is_err()
            && let Ok(mut deferred) = self.inner.deferred.lock()
            && deferred.len() < DEFERRED_MAX
        {
            deferred.push(self.claim);
            self.inner.any_deferred.store(true, Ordering::Relaxed);
        }
    }
}

impl Inner {
    fn slot(&self) -> Result<SlotId> {
        if let Some(&slot) = self.mine.get() {
            return Ok(slot);
        }
        let who = self.who.unwrap_or_else(Identity::current);
        let slot = self.slots.claim(who, |dead| self.forget(dead))?;
        Ok(*self.mine.get_or_init(|| slot))
    }

    /// Does the decrements that a stuck lock had put off.
    fn catch_up(&self) {
        if !self.any_deferred.load(Ordering::Relaxed) {
            return;
        }
        let Ok(mut deferred) = self.deferred.lock() else { return };
        while let Some(&claim) = deferred.last() {
            if self.release(claim).is_err() {
                return;
            }
            deferred.pop();
        }
        self.any_deferred.store(false, Ordering::Relaxed);
    }

    fn release(&self, claim: Claim) -> Result<()> {
        let slot = self.slot()?;
        let mut guard = consistent(self.shards.table(claim.shard)?.lock()?)?;
        if guard.epoch() != claim.epoch {
            return Ok(()); // the zone was emptied, and this count with it
        }
        subtract(&mut guard, claim.entry, slot)
    }

    /// Takes off everything counted under `slot`.
    fn forget(&self, slot: SlotId) -> Result<()> {
        for table in self.shards.iter() {
            let mut guard = consistent(table.lock()?)?;
            let mut next = guard.oldest()?;
            while let Some(entry) = next {
                next = guard.newer(entry)?;
                let name = Name::of(&guard, entry)?;
                if name.worker == Some(slot) {
                    guard.set_word(entry, COUNT, 0)?;
                    guard.remove(entry)?;
                } else if name.worker.is_none() && unpack(guard.word(entry, FIRST)?).0 == slot {
                    guard.set_word(entry, FIRST, 0)?;
                }
            }
            recompute(&mut guard)?;
        }
        Ok(())
    }
}

/// The tables' part of the zone.
fn tables(body: &Region) -> Result<Region> {
    let slots = Slots::bytes(SLOTS);
    let len = body.len().checked_sub(slots).ok_or(Error::TooSmall { have: body.len(), need: slots })?;
    body.part(slots, len)
}

/// A worker that died here may have changed a count but not its total. After a repair the totals are added up again.
fn consistent(mut guard: TableGuard<'_>) -> Result<TableGuard<'_>> {
    if guard.reserve_word(RECOMPUTED)?.load(Ordering::Relaxed) != guard.repairs() {
        recompute(&mut guard)?;
        guard.reserve_word(RECOMPUTED)?.store(guard.repairs(), Ordering::Release);
    }
    Ok(guard)
}

fn add(guard: &mut TableGuard<'_>, entry: EntryRef, key: &[u8], slot: SlotId) -> Result<()> {
    let total = guard.word(entry, TOTAL)?;
    let (first, count) = unpack(guard.word(entry, FIRST)?);
    if count == 0 || first == slot {
        guard.set_word(entry, FIRST, pack(slot, count + 1))?;
    } else {
        let name = StoredKey::worker(slot, key);
        let own = match guard.find(&name)? {
            Some(own) => own,
            None => guard.insert(&name, COUNT_LEN)?,
        };
        guard.set_word(own, COUNT, guard.word(own, COUNT)? + 1)?;
    }
    guard.set_word(entry, TOTAL, total + 1)
}

fn subtract(guard: &mut TableGuard<'_>, entry: EntryRef, slot: SlotId) -> Result<()> {
    // A connection may have been counted in the entry and others of this worker under its own name, or the reverse: they are all
    // alike, so it does not matter which is taken off.
    let (first, count) = unpack(guard.word(entry, FIRST)?);
    if first == slot && count > 0 {
        guard.set_word(entry, FIRST, pack(slot, count - 1))?;
    } else {
        let name = Name::of(guard, entry)?;
        let Some(own) = guard.find(&StoredKey::worker(slot, &name.key))? else {
            return Ok(()); // already taken off
        };
        let count = guard.word(own, COUNT)?.saturating_sub(1);
        guard.set_word(own, COUNT, count)?;
        if count == 0 {
            guard.remove(own)?;
        }
    }
    let total = guard.word(entry, TOTAL)?.saturating_sub(1);
    guard.set_word(entry, TOTAL, total)?;
    if total == 0 { guard.remove(entry) } else { Ok(()) }
}

/// Makes every total the sum of its counts and drops those of nothing.
fn recompute(guard: &mut TableGuard<'_>) -> Result<()> {
    let all = entries(guard)?;
    for &entry in &all {
        if Name::of(guard, entry)?.worker.is_none() {
            let (_, count) = unpack(guard.word(entry, FIRST)?);
            guard.set_word(entry, TOTAL, count.into())?;
        }
    }
    for &entry in &all {
        let name = Name::of(guard, entry)?;
        if name.worker.is_none() {
            continue;
        }
        let count = guard.word(entry, COUNT)?;
        match guard.find(&StoredKey::total(&name.key))? {
            Some(total) if count > 0 => guard.set_word(total, TOTAL, guard.word(total, TOTAL)? + count)?,
            _ => guard.remove(entry)?,
        }
    }
    for entry in entries(guard)? {
        if Name::of(guard, entry)?.worker.is_none() && guard.word(entry, TOTAL)? == 0 {
            guard.remove(entry)?;
        }
    }
    Ok(())
}

fn entries(guard: &TableGuard<'_>) -> Result<Vec<EntryRef>> {
    let mut all = Vec::with_capacity(guard.len() as usize);
    let mut next = guard.oldest()?;
    while let Some(entry) = next {
        all.push(entry);
        next = guard.newer(entry)?;
    }
    Ok(all)
}

fn pack(slot: SlotId, count: u32) -> u64 {
    u64::from(slot.0) << 32 | u64::from(count)
}

fn unpack(word: u64) -> (SlotId, u32) {
    (SlotId((word >> 32) as u16), word as u32)
}

/// A key as it is stored: with the kind of entry before it.
struct StoredKey {
    bytes: [u8; KEY_MAX + 3],
    len: usize,
}

impl StoredKey {
    fn total(key: &[u8]) -> Self {
        Self::new(&[TOTAL_OF], key)
    }

    fn worker(slot: SlotId, key: &[u8]) -> Self {
        let [low, high] = slot.0.to_le_bytes();
        Self::new(&[WORKER_OF, low, high], key)
    }

    /// Keys are at most `KEY_MAX` long when they come in; one from a damaged zone is cut.
    fn new(kind: &[u8], key: &[u8]) -> Self {
        let key = &key[..key.len().min(KEY_MAX)];
        let mut bytes = [0; KEY_MAX + 3];
        bytes[..kind.len()].copy_from_slice(kind);
        bytes[kind.len()..][..key.len()].copy_from_slice(key);
        Self { bytes, len: kind.len() + key.len() }
    }
}

impl Deref for StoredKey {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// What an entry's key says.
struct Name {
    worker: Option<SlotId>,
    key: Vec<u8>,
}

impl Name {
    fn of(guard: &TableGuard<'_>, entry: EntryRef) -> Result<Self> {
        guard
            .key(entry, |stored| match stored {
                [WORKER_OF, low, high, key @ ..] => {
                    Ok(Self { worker: Some(SlotId(u16::from_le_bytes([*low, *high]))), key: key.to_vec() })
                }
                [TOTAL_OF, key @ ..] => Ok(Self { worker: None, key: key.to_vec() }),
                _ => Err(Error::Corrupt("a key of no known kind")),
            })
            .flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{map::kill, slot::tests::dead, zone::Spec};

    fn zone(size: usize) -> Zone {
        let zone = Zone::create(&Spec { name: "addr".into(), size, kind: LimitConn::KIND }).unwrap();
        LimitConn::format(&zone).unwrap();
        zone
    }

    /// A handle that counts as another, living process.
    fn other(zone: &Zone) -> LimitConn {
        let parent = Identity::of_pid(std::os::unix::process::parent_id()).unwrap();
        LimitConn::open_as(zone, Some(parent)).unwrap()
    }

    fn entries_left(conn: &LimitConn) -> u32 {
        conn.0.shards.iter().map(|table| table.lock().unwrap().len()).sum()
    }

    #[test]
    fn counts_up_to_the_limit_and_back() {
        let zone = zone(64 << 10);
        let (a, b) = (LimitConn::open(&zone).unwrap(), other(&zone));
        let one = a.acquire(b"k", 3).unwrap().unwrap();
        let two = b.acquire(b"k", 3).unwrap().unwrap();
        let three = b.acquire(b"k", 3).unwrap().unwrap();
        assert!(a.acquire(b"k", 3).unwrap().is_none());
        assert!(b.acquire(b"other", 1).unwrap().is_some(), "another key");
        drop(two);
        assert_eq!(a.count(b"k").unwrap(), 2);
        drop(one);
        let four = a.acquire(b"k", 3).unwrap().unwrap();
        drop((three, four));
        assert_eq!(a.count(b"k").unwrap(), 0);
        assert_eq!(entries_left(&a), 0);
        assert!(matches!(a.acquire(&[0; 256], 1), Err(Error::TooLong { .. })));
    }

    #[test]
    fn the_dead_no_longer_count() {
        let zone = zone(64 << 10);
        let ghost = LimitConn::open_as(&zone, Some(dead(1))).unwrap();
        let live = other(&zone);
        let mut kept = vec![live.acquire(b"shared", 9).unwrap().unwrap()];
        for key in [&b"shared"[..], b"shared", b"own"] {
            // A killed process drops nothing.
            std::mem::forget(ghost.acquire(key, 9).unwrap().unwrap());
        }
        kept.push(live.acquire(b"own", 9).unwrap().unwrap());
        assert_eq!((live.count(b"shared").unwrap(), live.count(b"own").unwrap()), (3, 2));
        assert_eq!(live.retire_dead().unwrap(), 1);
        assert_eq!((live.count(b"shared").unwrap(), live.count(b"own").unwrap()), (1, 1));
        assert_eq!(live.retire_dead().unwrap(), 0);
        kept.clear();
        assert_eq!(entries_left(&live), 0);
    }

    #[test]
    fn a_full_zone_refuses() {
        let zone = zone(32 << 10);
        let conn = LimitConn::open(&zone).unwrap();
        let mut held = Vec::new();
        let end = (0u32..).find_map(|n| match conn.acquire(&n.to_be_bytes(), 1) {
            Ok(one) => {
                held.push(one.unwrap());
                None
            }
            Err(error) => Some(error),
        });
        assert!(matches!(end, Some(Error::NoMemory)));
        assert!(held.len() > 300, "{}", held.len());
        held.clear();
        assert_eq!(entries_left(&conn), 0);
    }

    /// What all workers have noted under `key`.
    fn noted(conn: &LimitConn, key: &[u8]) -> u64 {
        let guard = conn.0.shards.of(key).table.lock().unwrap();
        let count = |entry| {
            let name = Name::of(&guard, entry).unwrap();
            match name.worker {
                _ if name.key != key => 0,
                Some(_) => guard.word(entry, COUNT).unwrap(),
                None => unpack(guard.word(entry, FIRST).unwrap()).1.into(),
            }
        };
        entries(&guard).unwrap().into_iter().map(count).sum()
    }

    #[test]
    fn death_at_any_store_keeps_totals_true() {
        for release in [false, true] {
            for n in 0.. {
                let zone = zone(64 << 10);
                let (mine, theirs) = (LimitConn::open(&zone).unwrap(), other(&zone));
                let others: Vec<_> = (0..3).map(|_| theirs.acquire(b"k", 9).unwrap().unwrap()).collect();
                let before = mine.acquire(b"k", 9).unwrap().unwrap();
                let died = kill::dies_at(n, || match release {
                    true => drop(mine.0.release(before.claim)),
                    false => std::mem::forget(mine.acquire(b"k", 9)),
                });
                let count = theirs.count(b"k").unwrap();
                assert!((3..=5).contains(&count), "store {n}: {count}");
                assert_eq!(count, noted(&theirs, b"k"), "store {n}");
                mine.0.slots.set_owner(mine.0.slot().unwrap(), dead(1).raw()).unwrap();
                assert_eq!(theirs.retire_dead().unwrap(), 1);
                assert_eq!(theirs.count(b"k").unwrap(), 3, "store {n}");
                drop(others);
                assert_eq!(entries_left(&theirs), 0, "store {n}");
                std::mem::forget(before);
                if !died {
                    break;
                }
            }
        }
    }
}
