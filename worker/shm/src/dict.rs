//! `ngx.shared.DICT`: a dictionary that all workers share, with times to live, flags, counters and lists.
//!
//! ```text
//! value of an entry:  expires, ms, 0: never | flags, type | payload
//! payload of a list:  see module `list`
//! ```
//!
//! Semantics are OpenResty's (lua-nginx-module's documentation of `ngx.shared.DICT`), down to what counts as a use: reading
//! makes an entry the newest, asking for its time to live does not; every operation removes up to two entries that have
//! expired at the old end; storing evicts up to 30 of the oldest when memory is short. A large zone is several tables
//! ([`Shards`]) so that workers seldom meet: each evicts on its own, and no value is larger than a table.
//!
//! Times are milliseconds of a clock that all processes of the machine share and that does not jump: the monotonic one.

mod list;

use std::fmt;

use crate::{
    error::Error,
    map::Region,
    table::{EntryRef, Place, Shards, TableGuard},
    zone::{Kind, Zone},
};

/// Longest key, bytes (OpenResty's limit, and what an entry has room for).
pub const KEY_MAX: usize = crate::table::KEY_MAX;
/// Entries evicted to make room for one.
const EVICT_MAX: u32 = 30;
/// Expired entries removed in passing by one operation.
const EXPIRE_MAX: u32 = 2;
/// One table is made for so many bytes of a zone. Larger than elsewhere, for values have any size.
const BYTES_PER_SHARD: usize = 4 << 20;
/// Bytes of a value before its payload.
const HEADER: usize = 16;
/// What `flush_all` sets as the time of expiry.
const LONG_AGO: u64 = 1;

// The types of values, Lua's numbers for them.
const BOOLEAN: u8 = 1;
const NUMBER: u8 = 3;
const STRING: u8 = 4;
const LIST: u8 = 5;

/// A dictionary in a zone.
#[derive(Debug)]
pub struct Dict {
    shards: Shards,
    capacity: usize,
}

/// A value that is not a list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// `true` or `false`.
    Boolean(bool),
    /// A number.
    Number(f64),
    /// Any bytes.
    String(&'a [u8]),
}

/// A value with what is kept beside it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found<'a> {
    /// The value.
    pub value: Value<'a>,
    /// The caller's flags.
    pub flags: u32,
    /// It has expired.
    pub stale: bool,
}

/// Why an operation was refused; the text is OpenResty's.
#[derive(Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// `add` of a key that is there.
    Exists,
    /// There is no such key.
    NotFound,
    /// There is no room, and eviction was not allowed or not enough.
    NoMemory,
    /// `incr` of something else.
    NotANumber,
    /// A list operation on something else.
    NotAList,
    /// `get` of a list.
    IsAList,
    /// The memory itself is at fault.
    Memory(Error),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Exists => f.write_str("exists"),
            Refusal::NotFound => f.write_str("not found"),
            Refusal::NoMemory => f.write_str("no memory"),
            Refusal::NotANumber => f.write_str("not a number"),
            Refusal::NotAList => f.write_str("value not a list"),
            Refusal::IsAList => f.write_str("value is a list"),
            Refusal::Memory(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Refusal {}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            // larger than the memory there is: no other words for it in the API
            Error::NoMemory | Error::TooLong { .. } => Refusal::NoMemory,
            other => Refusal::Memory(other),
        }
    }
}

/// What [`Dict::store`] does when the key is or is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Stores whatever was there.
    Set,
    /// Only if the key is not there or has expired.
    Add,
    /// Only if the key is there and has not expired.
    Replace,
}

/// How a value is stored.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// On what condition.
    pub mode: Mode,
    /// Entries that have not expired are never evicted for it.
    pub safe: bool,
    /// Time to live, ms; 0: for ever.
    pub ttl_ms: u64,
    /// The caller's flags.
    pub flags: u32,
}

impl Order {
    /// Stores for ever, whatever was there.
    pub const SET: Self = Self { mode: Mode::Set, safe: false, ttl_ms: 0, flags: 0 };
}

/// The end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its beginning: `lpush`, `lpop`.
    Left,
    /// Its end: `rpush`, `rpop`.
    Right,
}

/// What `incr` made, and whether entries that had not expired were evicted for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Increased {
    /// The new value.
    pub value: f64,
    /// Valid entries were evicted.
    pub forcible: bool,
}

type Answer<T> = Result<T, Refusal>;

/// Type, flags and time of an entry.
#[derive(Clone, Copy)]
struct Meta {
    expires: u64,
    flags: u32,
    kind: u8,
}

impl Meta {
    fn has_expired(self, now_ms: u64) -> bool {
        self.expires != 0 && self.expires < now_ms
    }

    fn header(self) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        header[..8].copy_from_slice(&self.expires.to_ne_bytes());
        header[8..].copy_from_slice(&self.word().to_ne_bytes());
        header
    }

    fn word(self) -> u64 {
        u64::from(self.flags) | u64::from(self.kind) << 32
    }
}

impl Dict {
    /// What the zone is registered as.
    pub const KIND: Kind = Kind { id: *b"dict", layout: 1 };

    /// Prepares a new zone.
    pub fn format(zone: &Zone) -> crate::Result<Self> {
        Ok(Self { capacity: zone.spec().size, ..Self::format_region(zone.body())? })
    }

    /// The dictionary in a zone that was prepared.
    pub fn open(zone: &Zone) -> crate::Result<Self> {
        Ok(Self { capacity: zone.spec().size, ..Self::open_region(zone.body())? })
    }

    /// The dictionary in a piece of memory where [`Shards::format_sized`] made the tables.
    pub fn open_region(region: &Region) -> crate::Result<Self> {
        Ok(Self { shards: Shards::open_sized(region, BYTES_PER_SHARD)?, capacity: region.len() })
    }

    /// Prepares a piece of memory.
    pub fn format_region(region: &Region) -> crate::Result<Self> {
        Ok(Self { shards: Shards::format_sized(region, 0, BYTES_PER_SHARD)?, capacity: region.len() })
    }

    /// Bytes the zone was declared with.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes in pages that are free; pages in use may have room, too.
    pub fn free_space(&self) -> Answer<usize> {
        let mut free = 0;
        for table in self.shards.iter() {
            let usage = table.lock()?.usage()?;
            free += usage.pages.saturating_sub(usage.pages_used) as usize * crate::slab::PAGE;
        }
        Ok(free)
    }

    /// Repairs what a dead worker left locked; how many tables that were.
    pub fn recover(&self) -> crate::Result<usize> {
        self.shards.recover()
    }

    /// Locks the table of `key` after removing what has expired at its old end; finds the entry.
    #[inline]
    fn enter<'d>(&'d self, key: &[u8], now_ms: u64) -> Answer<(TableGuard<'d>, Option<(EntryRef, Meta)>)> {
        let Place { table, hash, .. } = self.shards.of(key);
        let mut guard = table.lock()?;
        expire(&mut guard, now_ms)?;
        let found = match guard.find_hashed(key, hash)? {
            Some(entry) => Some((entry, meta(&guard, entry)?)),
            None => None,
        };
        Ok((guard, found))
    }

    /// Shows the value under `key` to `use_it`, and makes it the newest. `None`: it is not there, or it has expired and
    /// `stale` ones are not wanted. `use_it` runs while the table is locked: it copies and nothing else.
    #[inline]
    pub fn get<R>(
        &self,
        key: &[u8],
        now_ms: u64,
        stale: bool,
        use_it: impl FnOnce(Found<'_>) -> R,
    ) -> Answer<Option<R>> {
        let Place { table, hash, .. } = self.shards.of(key);
        let mut guard = table.lock()?;
        if !stale {
            expire(&mut guard, now_ms)?;
        }
        let Some(entry) = guard.find_hashed(key, hash)? else { return Ok(None) };
        guard.touch(entry)?;
        let meta = meta(&guard, entry)?;
        let has_expired = meta.has_expired(now_ms);
        if has_expired && !stale {
            return Ok(None);
        }
        let shown = guard.value(entry, |bytes| {
            let value = payload(meta.kind, &bytes[HEADER..])?;
            Ok(use_it(Found { value, flags: meta.flags, stale: has_expired }))
        })?;
        shown.map(Some)
    }

    /// Stores `value` under `key`. True: entries that had not expired were evicted for it. The refusal's flag says the same.
    pub fn store(
        &self,
        key: &[u8],
        value: Value<'_>,
        order: Order,
        now_ms: u64,
    ) -> Result<bool, (Refusal, bool)> {
        let mut evicted = false;
        match self.store_value(key, value, order, now_ms, &mut evicted) {
            Ok(()) => Ok(evicted),
            Err(refusal) => Err((refusal, evicted)),
        }
    }

    fn store_value(
        &self,
        key: &[u8],
        value: Value<'_>,
        order: Order,
        now_ms: u64,
        evicted: &mut bool,
    ) -> Answer<()> {
        let (mut guard, found) = self.enter(key, now_ms)?;
        let is_valid = found.is_some_and(|(_, meta)| !meta.has_expired(now_ms));
        match order.mode {
            Mode::Add if is_valid => return Err(Refusal::Exists),
            Mode::Replace if !is_valid => return Err(Refusal::NotFound),
            _ => {}
        }
        let (number, boolean);
        let (kind, payload) = match value {
            Value::Boolean(value) => {
                boolean = [u8::from(value)];
                (BOOLEAN, &boolean[..])
            }
            Value::Number(value) => {
                number = value.to_ne_bytes();
                (NUMBER, &number[..])
            }
            Value::String(value) => (STRING, value),
        };
        let expires = expiry(order.ttl_ms, now_ms);
        let header = Meta { expires, flags: order.flags, kind }.header();
        let evict_max = if order.safe { 0 } else { EVICT_MAX };
        put(&mut guard, key, &[&header, payload], found.map(|(entry, _)| entry), evict_max, evicted)
    }

    /// Removes the key, if it is there.
    pub fn delete(&self, key: &[u8], now_ms: u64) -> Answer<()> {
        let (mut guard, found) = self.enter(key, now_ms)?;
        if let Some((entry, _)) = found {
            guard.remove(entry)?;
        }
        Ok(())
    }

    /// Adds `by` to the number under `key`. Where there is none or it has expired, it becomes `init` plus `by` for the time to
    /// live, ms, that stands beside it.
    #[inline]
    pub fn incr(&self, key: &[u8], by: f64, init: Option<(f64, u64)>, now_ms: u64) -> Answer<Increased> {
        let (mut guard, found) = self.enter(key, now_ms)?;
        let entry = match found {
            Some((entry, meta)) if !meta.has_expired(now_ms) => {
                if meta.kind != NUMBER {
                    return Err(Refusal::NotANumber);
                }
                guard.touch(entry)?;
                let value = f64::from_bits(guard.word(entry, HEADER / 8)?) + by;
                // one word: it is the old or the new number whenever we may die
                guard.set_word(entry, HEADER / 8, value.to_bits())?;
                return Ok(Increased { value, forcible: false });
            }
            Some((entry, _)) => Some(entry),
            None => None,
        };
        let (init, ttl_ms) = init.ok_or(Refusal::NotFound)?;
        let value = init + by;
        let header = Meta { expires: expiry(ttl_ms, now_ms), flags: 0, kind: NUMBER }.header();
        let mut forcible = false;
        put(&mut guard, key, &[&header, &value.to_ne_bytes()], entry, EVICT_MAX, &mut forcible)?;
        Ok(Increased { value, forcible })
    }

    /// Milliseconds until the entry expires, less than 0 when it has; 0: never. Not a use of the entry.
    pub fn ttl_ms(&self, key: &[u8], now_ms: u64) -> Answer<i64> {
        let Place { table, hash, .. } = self.shards.of(key);
        let guard = table.lock()?;
        let entry = guard.find_hashed(key, hash)?.ok_or(Refusal::NotFound)?;
        let expires = meta(&guard, entry)?.expires;
        if expires == 0 {
            return Ok(0);
        }
        Ok(expires as i64 - now_ms as i64)
    }

    /// Gives the entry, expired or not, another time to live, ms; 0: for ever. Not a use of the entry.
    pub fn expire(&self, key: &[u8], ttl_ms: u64, now_ms: u64) -> Answer<()> {
        let Place { table, hash, .. } = self.shards.of(key);
        let mut guard = table.lock()?;
        let entry = guard.find_hashed(key, hash)?.ok_or(Refusal::NotFound)?;
        guard.set_word(entry, 0, expiry(ttl_ms, now_ms))?;
        Ok(())
    }

    /// Lets every entry expire; their memory is taken back as it is needed.
    pub fn flush_all(&self) -> Answer<()> {
        for table in self.shards.iter() {
            let mut guard = table.lock()?;
            let mut next = guard.oldest()?;
            while let Some(entry) = next {
                guard.set_word(entry, 0, LONG_AGO)?;
                next = guard.newer(entry)?;
            }
        }
        Ok(())
    }

    /// Removes up to `max` (0: all) expired entries, beginning with the oldest; how many there were.
    pub fn flush_expired(&self, max: usize, now_ms: u64) -> Answer<usize> {
        let mut removed = 0;
        for table in self.shards.iter() {
            let mut guard = table.lock()?;
            let mut next = guard.oldest()?;
            while let Some(entry) = next.filter(|_| max == 0 || removed < max) {
                next = guard.newer(entry)?;
                if meta(&guard, entry)?.has_expired(now_ms) {
                    guard.remove(entry)?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }

    /// Shows up to `max` (0: all) keys that have not expired to `visit`, beginning with the oldest. It runs while a table is
    /// locked: it copies and nothing else.
    pub fn keys(&self, max: usize, now_ms: u64, mut visit: impl FnMut(&[u8])) -> Answer<()> {
        let mut seen = 0;
        for table in self.shards.iter() {
            let guard = table.lock()?;
            let mut next = guard.oldest()?;
            while let Some(entry) = next.filter(|_| max == 0 || seen < max) {
                if !meta(&guard, entry)?.has_expired(now_ms) {
                    guard.key(entry, &mut visit)?;
                    seen += 1;
                }
                next = guard.newer(entry)?;
            }
        }
        Ok(())
    }
}

fn expiry(ttl_ms: u64, now_ms: u64) -> u64 {
    if ttl_ms == 0 { 0 } else { now_ms.saturating_add(ttl_ms) }
}

/// Removes a few expired entries at the old end.
#[inline]
fn expire(guard: &mut TableGuard<'_>, now_ms: u64) -> Answer<()> {
    for _ in 0..EXPIRE_MAX {
        let Some(entry) = guard.oldest()? else { break };
        let expires = guard.word(entry, 0)?;
        if expires == 0 || expires >= now_ms {
            break;
        }
        guard.remove(entry)?;
    }
    Ok(())
}

#[inline]
fn meta(guard: &TableGuard<'_>, entry: EntryRef) -> Answer<Meta> {
    let words = guard.words::<2>(entry)?;
    let word = |i: usize| words[i].load(std::sync::atomic::Ordering::Relaxed);
    Ok(Meta { expires: word(0), flags: word(1) as u32, kind: (word(1) >> 32) as u8 })
}

/// Reads what stands behind the header of a value.
#[inline]
fn payload(kind: u8, bytes: &[u8]) -> Answer<Value<'_>> {
    match (kind, bytes) {
        (STRING, bytes) => Ok(Value::String(bytes)),
        (NUMBER, bytes) => match bytes.try_into() {
            Ok(bytes) => Ok(Value::Number(f64::from_ne_bytes(bytes))),
            Err(_) => Err(Refusal::Memory(Error::Corrupt("a number of another size"))),
        },
        (BOOLEAN, [byte]) => Ok(Value::Boolean(*byte != 0)),
        (LIST, _) => Err(Refusal::IsAList),
        _ => Err(Refusal::Memory(Error::Corrupt("the type of a value"))),
    }
}

/// Stores `parts` under `key`, where `old` is what is there. Its memory is used again if it fits; else the old value goes when
/// the new one is there, or before if there is no room for both.
fn put(
    guard: &mut TableGuard<'_>,
    key: &[u8],
    parts: &[&[u8]],
    old: Option<EntryRef>,
    evict_max: u32,
    evicted: &mut bool,
) -> Answer<()> {
    if let Some(old) = old {
        let len = parts.iter().map(|part| part.len()).sum();
        if guard.fits(old, len)? {
            guard.touch(old)?;
            guard.change(old, len, |region, mut at| {
                for part in parts {
                    region.write(at, part)?;
                    at += part.len();
                }
                Ok(())
            })?;
            return Ok(());
        }
        match guard.insert_parts(key, parts, 0, Some(old)) {
            Ok(_) => return guard.remove(old).map_err(Refusal::from),
            Err(Error::NoMemory) => guard.remove(old)?,
            Err(error) => return Err(error.into()),
        }
    }
    let before = guard.evicted();
    let stored = guard.insert_parts(key, parts, evict_max, None);
    *evicted = guard.evicted() != before;
    stored?;
    Ok(())
}

#[cfg(test)]
mod tests;
