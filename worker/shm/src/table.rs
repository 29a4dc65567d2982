//! A table of keys in shared memory: hash chains to find an entry, a list by last use to evict the oldest.
//!
//! ```text
//! 0      lock                    192    reserve: the user's own fixed part
//! 64     header                  …      buckets, 4 bytes each
//!                                …      slab with the entries
//!
//! entry: next in chain, newer, older, hash | value length, key length and mark | key, padded to 8 | value
//! ```
//!
//! References between entries are offsets in units of 8 bytes, so a table has at most 32 GB. Everything is done through
//! [`TableGuard`], which holds the lock. When the last holder was killed inside, [`Table::lock`] first repairs: whatever can still
//! be reached from the chains or the list is kept, all links and the slab are built anew, and at most the entry that was being
//! changed is lost (module `repair`). A contradiction met on the way ([`Error::Corrupt`]) has the same consequence at the next lock.

mod repair;
mod shards;

pub use shards::{Place, Shards};

use std::sync::atomic::{AtomicU64, Ordering, compiler_fence};

use crate::{
    error::{Error, Result},
    hash::HashKey,
    lock::{Guard, Lock},
    map::Region,
    slab::{Slab, Usage},
};

const MAGIC: u64 = u64::from_le_bytes(*b"urestytb");
const MAGIC_AT: usize = 64;
const BUCKETS_AT: usize = 72;
const RESERVE_AT: usize = 76;
const HASH_KEY_AT: usize = 80;
const NEWEST_AT: usize = 96;
const OLDEST_AT: usize = 100;
const LEN_AT: usize = 104;
const EPOCH_AT: usize = 108;
const JOURNAL_AT: usize = 112;
const EVICTED_AT: usize = 120;
const REPAIRS_AT: usize = 128;
/// Bytes of lock and header.
const HEADER: usize = 192;

// Fields of an entry.
const CHAIN: usize = 0;
const NEWER: usize = 4;
const OLDER: usize = 8;
const HASH: usize = 12;
const VALUE_LEN: usize = 16;
const KEY_LEN: usize = 20;
const KEY: usize = 24;

/// In the high half of KEY_LEN while the entry lives.
const LIVE: u32 = 0x5EA1 << 16;
/// Longest key, bytes.
pub const KEY_MAX: usize = u16::MAX as usize;
/// One bucket is made for so many bytes of the region: chains of two or so when it is full of the smallest entries.
const BYTES_PER_BUCKET: usize = 128;
const SHORT: Error = Error::Corrupt("a value is shorter than expected");
const REGION_MAX: usize = 8 << 32;

/// A handle on a table inside a [`Region`].
#[derive(Debug)]
pub struct Table {
    region: Region,
    lock: Lock,
    hash: HashKey,
    buckets: u32,
    buckets_at: usize,
    reserve: usize,
    slab: Slab,
}

/// An entry. Good until the entry is removed or evicted; using it later gives [`Error::Corrupt`] or another entry, never more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EntryRef(u32);

impl EntryRef {
    #[inline]
    fn at(self) -> usize {
        self.0 as usize * 8
    }
}

impl Table {
    /// Makes an empty table over the whole region, whose first bytes must be zero. `reserve` bytes (rounded up to 64) stay
    /// for the user, zero-filled; see [`TableGuard::reserve`].
    pub fn format(region: &Region, reserve: usize) -> Result<Self> {
        Self::format_with(region, reserve, HashKey::random())
    }

    fn format_with(region: &Region, reserve: usize, key: HashKey) -> Result<Self> {
        if region.len() > REGION_MAX {
            return Err(Error::TooLong { have: region.len(), max: REGION_MAX });
        }
        let wanted = (region.len() / BYTES_PER_BUCKET).max(2);
        let buckets = 1u32 << wanted.ilog2();
        let reserve = u32::try_from(reserve.next_multiple_of(64))
            .map_err(|_| Error::TooSmall { have: region.len(), need: reserve })?;
        let need = HEADER + reserve as usize + buckets as usize * 4;
        if region.len() < need {
            return Err(Error::TooSmall { have: region.len(), need });
        }
        region.store64(HASH_KEY_AT, key.0)?;
        region.store64(HASH_KEY_AT + 8, key.1)?;
        region.store32(BUCKETS_AT, buckets)?;
        region.store32(RESERVE_AT, reserve)?;
        Slab::format(region, need)?;
        region.store64(MAGIC_AT, MAGIC)?;
        Self::open(region)
    }

    /// The table that [`format`](Self::format) made there.
    pub fn open(region: &Region) -> Result<Self> {
        if region.load64(MAGIC_AT)? != MAGIC {
            return Err(Error::Mismatch("it holds no table"));
        }
        let buckets = region.load32(BUCKETS_AT)?;
        let reserve = region.load32(RESERVE_AT)? as usize;
        let buckets_at = HEADER + reserve;
        if !buckets.is_power_of_two() || buckets_at + buckets as usize * 4 > region.len() {
            return Err(Error::Mismatch("the table in it has another size"));
        }
        Ok(Self {
            lock: Lock::at(region, 0)?,
            hash: HashKey(region.load64(HASH_KEY_AT)?, region.load64(HASH_KEY_AT + 8)?),
            buckets,
            buckets_at,
            reserve,
            slab: Slab::open(region, buckets_at + buckets as usize * 4)?,
            region: region.clone(),
        })
    }

    /// Takes the lock, and repairs the table first if its last holder died inside.
    #[inline]
    pub fn lock(&self) -> Result<TableGuard<'_>> {
        let guard = TableGuard { table: self, guard: self.lock.lock()? };
        if guard.guard.poisoned() {
            guard.repair()?;
        }
        Ok(guard)
    }

    /// Repairs the table at once if its holder is dead; true when that was so. For the master, after it has reaped a worker.
    pub fn recover(&self) -> Result<bool> {
        match self.lock.take_from_dead() {
            None => Ok(false),
            Some(guard) => TableGuard { table: self, guard }.repair().map(|()| true),
        }
    }

    /// How often the lock was taken from a dead holder.
    pub fn takeovers(&self) -> u32 {
        self.lock.takeovers()
    }

    /// Hash of a key as the chains use it, the low half of 64 bits.
    #[inline]
    fn hash_of(&self, key: &[u8]) -> u32 {
        self.hash.hash(key) as u32
    }

    #[inline]
    fn bucket(&self, hash: u32) -> usize {
        self.buckets_at + (hash & (self.buckets - 1)) as usize * 4
    }

    fn entry_size(key_len: usize, value_len: usize) -> usize {
        KEY + key_len.next_multiple_of(8) + value_len
    }
}

/// The lock of a [`Table`], held, and every operation on it.
#[derive(Debug)]
pub struct TableGuard<'a> {
    table: &'a Table,
    guard: Guard<'a>,
}

impl TableGuard<'_> {
    // --- finding

    /// The entry with this key.
    #[inline]
    pub fn find(&self, key: &[u8]) -> Result<Option<EntryRef>> {
        self.noted(self.search(key, self.table.hash_of(key)))
    }

    /// As [`find`](Self::find), for a key whose hash [`Shards::of`] has told.
    #[inline]
    pub(crate) fn find_hashed(&self, key: &[u8], hash: u32) -> Result<Option<EntryRef>> {
        self.noted(self.search(key, hash))
    }

    /// Entries there are.
    pub fn len(&self) -> u32 {
        self.table.region.load32(LEN_AT).unwrap_or(0)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Counts how often the table was emptied as a whole; a reference from an earlier epoch is void.
    pub fn epoch(&self) -> u32 {
        self.table.region.load32(EPOCH_AT).unwrap_or(0)
    }

    /// Entries evicted by [`insert_evicting`](Self::insert_evicting) since the table was made.
    pub fn evicted(&self) -> u64 {
        self.table.region.load64(EVICTED_AT).unwrap_or(0)
    }

    /// How often the table was repaired since it was made.
    pub fn repairs(&self) -> u64 {
        self.table.region.load64(REPAIRS_AT).unwrap_or(0)
    }

    /// Pages of 4 KB in all and in use.
    pub fn usage(&self) -> Result<Usage> {
        self.table.slab.usage()
    }

    /// The entry that was used longest ago.
    pub fn oldest(&self) -> Result<Option<EntryRef>> {
        self.noted(self.link(OLDEST_AT))
    }

    /// The entry that was used next after `entry`.
    pub fn newer(&self, entry: EntryRef) -> Result<Option<EntryRef>> {
        self.noted(self.live(entry).and_then(|()| self.link(entry.at() + NEWER)))
    }

    // --- reading

    /// Shows the key to `use_it`.
    pub fn key<R>(&self, entry: EntryRef, use_it: impl FnOnce(&[u8]) -> R) -> Result<R> {
        self.noted(self.key_len(entry).and_then(|len| self.table.region.read(entry.at() + KEY, len, use_it)))
    }

    /// Shows the value to `use_it`.
    pub fn value<R>(&self, entry: EntryRef, use_it: impl FnOnce(&[u8]) -> R) -> Result<R> {
        self.noted(self.value_at(entry).and_then(|(at, len)| self.table.region.read(at, len, use_it)))
    }

    /// The value's 64-bit word number `index`.
    #[inline]
    pub fn word(&self, entry: EntryRef, index: usize) -> Result<u64> {
        self.noted(self.word_at(entry, index).and_then(|at| self.table.region.load64(at)))
    }

    /// The value's first `N` words, to be used while the lock is held. Each is stored by itself.
    #[inline]
    pub(crate) fn words<const N: usize>(&self, entry: EntryRef) -> Result<&[AtomicU64; N]> {
        let words = || {
            let (at, len) = self.value_at(entry)?;
            if N > len / 8 {
                return Err(SHORT);
            }
            Ok(self.table.region.words(at, N)?.first_chunk().expect("as many as were asked for"))
        };
        self.noted(words())
    }

    /// The user's own fixed part. Its words are atomics and may also be used without the lock.
    pub fn reserve(&self) -> Result<Region> {
        self.table.region.part(HEADER, self.table.reserve)
    }

    /// Word number `index` of the user's own fixed part.
    #[inline]
    pub(crate) fn reserve_word(&self, index: usize) -> Result<&AtomicU64> {
        self.table.region.word64(HEADER + index * 8)
    }

    // --- changing

    /// Stores the value's word number `index`. Words are stored one by one: a death in between leaves some of them new.
    #[inline]
    pub fn set_word(&mut self, entry: EntryRef, index: usize, word: u64) -> Result<()> {
        self.noted(self.word_at(entry, index).and_then(|at| self.table.region.store64(at, word)))
    }

    /// Replaces the value by one of the same length, wholly or – if we die meanwhile – not at all: the entry is dropped then.
    pub fn set_value(&mut self, entry: EntryRef, value: &[u8]) -> Result<()> {
        self.noted(self.overwrite(entry, value))
    }

    /// Makes `entry` the newest.
    pub fn touch(&mut self, entry: EntryRef) -> Result<()> {
        self.noted(self.move_to_front(entry))
    }

    /// A new entry, the newest, with a zero-filled value. The key must not be there yet. [`Error::NoMemory`] when full.
    pub fn insert(&mut self, key: &[u8], value_len: usize) -> Result<EntryRef> {
        self.noted(self.add(key, value_len, |_| Ok(())))
    }

    /// As [`insert`](Self::insert), but evicts up to `evict_max` of the oldest entries to make room; says how many it did.
    pub fn insert_evicting(
        &mut self,
        key: &[u8],
        value_len: usize,
        evict_max: u32,
    ) -> Result<(EntryRef, u32)> {
        self.noted(self.add_evicting(key, value_len, evict_max, None, |_| Ok(())))
    }

    /// Stores `value` under `key`, new or not, as the newest entry; evicts up to `evict_max` of the oldest to make room.
    /// [`Error::NoMemory`] leaves an old value in place.
    pub fn set(&mut self, key: &[u8], value: &[u8], evict_max: u32) -> Result<EntryRef> {
        self.noted(self.put(key, value, evict_max))
    }

    /// A new entry whose value is `parts` one behind the other, the newest. Evicts up to `evict_max` of the oldest, but never
    /// `keep`; says how many it did. An entry that has the key already is hidden until it is removed.
    pub(crate) fn insert_parts(
        &mut self,
        key: &[u8],
        parts: &[&[u8]],
        evict_max: u32,
        keep: Option<EntryRef>,
    ) -> Result<(EntryRef, u32)> {
        let fill = |entry| {
            let (mut at, _) = self.value_at(entry)?;
            for part in parts {
                self.table.region.write(at, part)?;
                at += part.len();
            }
            Ok(())
        };
        let len = parts.iter().map(|part| part.len()).sum();
        self.noted(self.add_evicting(key, len, evict_max, keep, fill))
    }

    /// Whether the memory of `entry` is what a value of `len` bytes would get.
    pub(crate) fn fits(&self, entry: EntryRef, len: usize) -> Result<bool> {
        let fits = || {
            let (_, old) = self.value_at(entry)?;
            let key = self.key_len(entry)?;
            let rounded = |len| Slab::rounded(Table::entry_size(key, len));
            Ok(old == len || rounded(old) == rounded(len))
        };
        self.noted(fits())
    }

    /// Changes the value of `entry` to one of `len` bytes for which its memory [`fits`](Self::fits). `change` gets the memory
    /// and where the value begins. If we die meanwhile the entry is dropped.
    pub(crate) fn change(
        &mut self,
        entry: EntryRef,
        len: usize,
        change: impl FnOnce(&Region, usize) -> Result<()>,
    ) -> Result<()> {
        let fits = self.fits(entry, len)?;
        let changed = || {
            let (at, old) = self.value_at(entry)?;
            if !fits {
                return Err(Error::TooLong { have: len, max: old });
            }
            let region = &self.table.region;
            region.store32(JOURNAL_AT, entry.0)?;
            compiler_fence(Ordering::SeqCst);
            change(region, at)?;
            region.store32(entry.at() + VALUE_LEN, len as u32)?;
            region.publish32(JOURNAL_AT, 0)
        };
        self.noted(changed())
    }

    /// Removes the entry.
    pub fn remove(&mut self, entry: EntryRef) -> Result<()> {
        self.noted(self.unlink_and_free(entry))
    }

    /// Removes everything and starts a new epoch.
    pub fn flush(&mut self) -> Result<()> {
        self.noted(self.clear())
    }

    // --- inside

    /// A contradiction is remembered for the next holder to repair.
    #[inline]
    fn noted<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(Error::Corrupt(_)) = result {
            self.guard.poison();
        }
        result
    }

    fn search(&self, key: &[u8], hash: u32) -> Result<Option<EntryRef>> {
        let region = &self.table.region;
        let mut link = self.link(self.table.bucket(hash))?;
        for _ in 0..=self.steps_max() {
            let Some(entry) = link else { return Ok(None) };
            let at = entry.at();
            if region.load32(at + HASH)? == hash
                && region.load32(at + KEY_LEN)? == LIVE | key.len() as u32
                && region.equals(at + KEY, key)?
            {
                return Ok(Some(entry));
            }
            link = self.link(at + CHAIN)?;
        }
        Err(Error::Corrupt("a hash chain does not end"))
    }

    fn add(
        &self,
        key: &[u8],
        value_len: usize,
        fill: impl FnOnce(EntryRef) -> Result<()>,
    ) -> Result<EntryRef> {
        if key.len() > KEY_MAX {
            return Err(Error::TooLong { have: key.len(), max: KEY_MAX });
        }
        let size = Table::entry_size(key.len(), value_len);
        let max = self.table.slab.size_max().min(u32::MAX as usize);
        if value_len > max || size > max {
            return Err(Error::TooLong { have: size, max });
        }
        let at = self.table.slab.alloc(size)?.ok_or(Error::NoMemory)?;
        let entry = EntryRef(u32::try_from(at / 8).map_err(|_| Error::Corrupt("offset outside the zone"))?);
        let hash = self.table.hash_of(key);
        let bucket = self.table.bucket(hash);
        let region = &self.table.region;
        region.store32(at + HASH, hash)?;
        region.store32(at + VALUE_LEN, value_len as u32)?;
        region.store32(at + KEY_LEN, LIVE | key.len() as u32)?;
        region.write(at + KEY, key)?;
        region.zero(at + KEY + key.len(), size - KEY - key.len())?;
        fill(entry)?;
        region.store32(at + CHAIN, region.load32(bucket)?)?;
        region.publish32(bucket, entry.0)?;
        self.link_front(entry)?;
        region.store32(LEN_AT, self.len().wrapping_add(1))?;
        Ok(entry)
    }

    fn add_evicting(
        &self,
        key: &[u8],
        value_len: usize,
        evict_max: u32,
        keep: Option<EntryRef>,
        fill: impl Fn(EntryRef) -> Result<()>,
    ) -> Result<(EntryRef, u32)> {
        let mut evicted = 0;
        loop {
            match self.add(key, value_len, &fill) {
                Err(Error::NoMemory) if evicted < evict_max => {}
                other => return other.map(|entry| (entry, evicted)),
            }
            let Some(oldest) = self.link(OLDEST_AT)?.filter(|&oldest| Some(oldest) != keep) else {
                return Err(Error::NoMemory);
            };
            self.unlink_and_free(oldest)?;
            evicted += 1;
            self.table.region.store64(EVICTED_AT, self.evicted().wrapping_add(1))?;
        }
    }

    fn put(&self, key: &[u8], value: &[u8], evict_max: u32) -> Result<EntryRef> {
        let fill = |entry| {
            let (at, _) = self.value_at(entry)?;
            self.table.region.write(at, value)
        };
        let Some(old) = self.search(key, self.table.hash_of(key))? else {
            return self.add_evicting(key, value.len(), evict_max, None, fill).map(|(entry, _)| entry);
        };
        self.move_to_front(old)?;
        let (_, old_len) = self.value_at(old)?;
        let rounded = |value_len| Slab::rounded(Table::entry_size(key.len(), value_len));
        if rounded(old_len) == rounded(value.len()) {
            self.overwrite(old, value)?;
            return Ok(old);
        }
        // For a moment both are there; the new one comes first in its chain and wins.
        let (new, _) = self.add_evicting(key, value.len(), evict_max, Some(old), fill)?;
        self.unlink_and_free(old)?;
        Ok(new)
    }

    /// The journal names the entry while its value is neither the old nor the new one.
    fn overwrite(&self, entry: EntryRef, value: &[u8]) -> Result<()> {
        let (at, old_len) = self.value_at(entry)?;
        let key_len = self.key_len(entry)?;
        let rounded = |value_len| Slab::rounded(Table::entry_size(key_len, value_len));
        if value.len() != old_len && rounded(value.len()) != rounded(old_len) {
            return Err(Error::TooLong { have: value.len(), max: old_len });
        }
        let region = &self.table.region;
        region.store32(JOURNAL_AT, entry.0)?;
        compiler_fence(Ordering::SeqCst);
        region.write(at, value)?;
        region.store32(entry.at() + VALUE_LEN, value.len() as u32)?;
        region.publish32(JOURNAL_AT, 0)
    }

    fn unlink_and_free(&self, entry: EntryRef) -> Result<()> {
        self.live(entry)?;
        let region = &self.table.region;
        let mut from = self.table.bucket(region.load32(entry.at() + HASH)?);
        let mut steps = 0;
        loop {
            let next = self.link(from)?.ok_or(Error::Corrupt("an entry is not in its hash chain"))?;
            if next == entry {
                break;
            }
            from = next.at() + CHAIN;
            steps += 1;
            if steps > self.steps_max() {
                return Err(Error::Corrupt("a hash chain does not end"));
            }
        }
        region.store32(from, region.load32(entry.at() + CHAIN)?)?;
        self.unlink_from_list(entry)?;
        region.store32(LEN_AT, self.len().saturating_sub(1))?;
        region.publish32(entry.at() + KEY_LEN, 0)?;
        self.table.slab.free(entry.at())
    }

    fn clear(&self) -> Result<()> {
        let (region, table) = (&self.table.region, self.table);
        region.store32(EPOCH_AT, self.epoch().wrapping_add(1))?;
        self.forget_links()?;
        compiler_fence(Ordering::SeqCst);
        table.slab.reset()
    }

    fn forget_links(&self) -> Result<()> {
        let region = &self.table.region;
        region.zero(self.table.buckets_at, self.table.buckets as usize * 4)?;
        for word in [NEWEST_AT, OLDEST_AT, LEN_AT, JOURNAL_AT] {
            region.store32(word, 0)?;
        }
        Ok(())
    }

    // --- the list by last use

    fn move_to_front(&self, entry: EntryRef) -> Result<()> {
        self.live(entry)?;
        if self.link(NEWEST_AT)? == Some(entry) {
            return Ok(());
        }
        self.unlink_from_list(entry)?;
        self.link_front(entry)
    }

    fn link_front(&self, entry: EntryRef) -> Result<()> {
        let region = &self.table.region;
        let front = region.load32(NEWEST_AT)?;
        region.store32(entry.at() + OLDER, front)?;
        region.store32(entry.at() + NEWER, 0)?;
        match self.link(NEWEST_AT)? {
            Some(front) => region.store32(front.at() + NEWER, entry.0)?,
            None => region.store32(OLDEST_AT, entry.0)?,
        }
        region.store32(NEWEST_AT, entry.0)
    }

    fn unlink_from_list(&self, entry: EntryRef) -> Result<()> {
        let region = &self.table.region;
        let (newer, older) = (entry.at() + NEWER, entry.at() + OLDER);
        let toward_older = self.link(newer)?.map_or(NEWEST_AT, |newer| newer.at() + OLDER);
        let toward_newer = self.link(older)?.map_or(OLDEST_AT, |older| older.at() + NEWER);
        region.store32(toward_older, region.load32(older)?)?;
        region.store32(toward_newer, region.load32(newer)?)
    }

    /// No chain is longer than this, even if the count of entries is garbage.
    #[inline]
    fn steps_max(&self) -> u32 {
        self.len().min((self.table.region.len() / KEY) as u32)
    }

    // --- addresses

    #[inline]
    fn link(&self, at: usize) -> Result<Option<EntryRef>> {
        match self.table.region.load32(at)? {
            0 => Ok(None),
            link => Ok(Some(EntryRef(link))),
        }
    }

    fn live(&self, entry: EntryRef) -> Result<()> {
        self.key_len(entry).map(|_| ())
    }

    #[inline]
    fn key_len(&self, entry: EntryRef) -> Result<usize> {
        let word = self.table.region.load32(entry.at() + KEY_LEN)?;
        if word & !0xFFFF != LIVE || entry.0 == 0 {
            return Err(Error::Corrupt("a reference to no entry"));
        }
        Ok((word & 0xFFFF) as usize)
    }

    /// Where the value is and how long.
    #[inline]
    fn value_at(&self, entry: EntryRef) -> Result<(usize, usize)> {
        let key_len = self.key_len(entry)?;
        let len = self.table.region.load32(entry.at() + VALUE_LEN)? as usize;
        Ok((entry.at() + KEY + key_len.next_multiple_of(8), len))
    }

    #[inline]
    fn word_at(&self, entry: EntryRef, index: usize) -> Result<usize> {
        let (at, len) = self.value_at(entry)?;
        if index >= len / 8 {
            return Err(SHORT);
        }
        Ok(at + index * 8)
    }
}

#[cfg(test)]
mod tests;
