//! The `keys_zone` of a `proxy_cache_path`: what all workers know of the files of a cache without opening them.
//!
//! An entry stands for one key: whether there is a file, how large it is, how often it was asked for, who is fetching it, and for
//! how long an error is remembered in its place. Entries form a list by last use, which is how the manager finds what nobody asks
//! for any more. Whoever fetches leaves a token with a time limit: a worker that dies meanwhile holds the others up no longer.

use std::sync::atomic::Ordering::Relaxed;

use crate::error::{Error, Result};
use crate::table::{EntryRef, Table, TableGuard};
use crate::zone::{Kind, Zone};

/// MD5 of a cache key.
pub type Key = [u8; 16];

// Words of an entry.
/// When it has not been used for too long, seconds since the epoch.
const EXPIRE: usize = 0;
const USES: usize = 1;
/// 1: there is a file.
const EXISTS: usize = 2;
/// Bytes of the file on disk.
const BYTES: usize = 3;
/// Until when somebody fetches it, ms of the monotonic clock; 0: nobody does.
const FETCHED_UNTIL: usize = 4;
/// Who does.
const TOKEN: usize = 5;
/// A status that is remembered in place of a response; 0: none.
const ERROR: usize = 6;
/// Until when, seconds since the epoch.
const ERROR_UNTIL: usize = 7;
const VALUE_LEN: usize = 64;

// Words of the reserve.
/// Bytes of all files.
const SIZE: usize = 0;
/// 1: the files on disk were entered.
const LOADED: usize = 1;
const RESERVE_LEN: usize = 64;

/// How many entries one lookup may displace: entries of one kind take the same room, so one is enough.
const DISPLACED_MAX: usize = 4;

/// See the module's documentation.
#[derive(Debug)]
pub struct CacheIndex {
    table: Table,
}

/// What a lookup found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// There is a file.
    pub exists: bool,
    /// How often the key was asked for, this time included.
    pub uses: u64,
    /// A status remembered in place of a response.
    pub error: Option<u16>,
    /// The entry is new, or an error was remembered in it and is not any more.
    pub fresh: bool,
    /// Entries that had to go to make room: their files are to be removed.
    pub displaced: Vec<Key>,
}

/// The entry that was not used for longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Oldest {
    /// Its key.
    pub key: Key,
    /// When it has not been used for too long, seconds since the epoch.
    pub expire: i64,
}

impl CacheIndex {
    /// What the zone is registered as.
    pub const KIND: Kind = Kind { id: *b"cach", layout: 1 };

    /// Prepares a new zone.
    pub fn format(zone: &Zone) -> Result<Self> {
        Ok(Self { table: Table::format(zone.body(), RESERVE_LEN)? })
    }

    /// The index in a zone that was prepared.
    pub fn open(zone: &Zone) -> Result<Self> {
        Ok(Self { table: Table::open(zone.body())? })
    }

    /// Looks `key` up and counts a use. `now` and `inactive` in seconds.
    pub fn touch(&self, key: &Key, now: i64, inactive: u64) -> Result<Seen> {
        let mut guard = self.table.lock()?;
        let mut seen = Seen::default();
        let entry = match guard.find(key)? {
            Some(entry) => {
                guard.touch(entry)?;
                entry
            }
            None => {
                seen.fresh = true;
                insert(&mut guard, key, &mut seen.displaced)?
            }
        };
        seen.uses = guard.word(entry, USES)? + 1;
        guard.set_word(entry, USES, seen.uses)?;
        guard.set_word(entry, EXPIRE, expire(now, inactive))?;
        seen.exists = guard.word(entry, EXISTS)? != 0;
        let error = guard.word(entry, ERROR)?;
        if error != 0 {
            if guard.word(entry, ERROR_UNTIL)? as i64 >= now {
                seen.error = u16::try_from(error).ok();
            } else {
                guard.set_word(entry, ERROR, 0)?;
                seen.fresh = true;
            }
        }
        Ok(seen)
    }

    /// Begins to fetch `key` under `token`, which is not 0; `false`: somebody else does.
    pub fn begin(&self, key: &Key, token: u64, now_ms: u64, until_ms: u64) -> Result<bool> {
        let mut guard = self.table.lock()?;
        let Some(entry) = guard.find(key)? else { return Ok(true) };
        if guard.word(entry, FETCHED_UNTIL)? > now_ms {
            return Ok(false);
        }
        guard.set_word(entry, TOKEN, token)?;
        guard.set_word(entry, FETCHED_UNTIL, until_ms)?;
        Ok(true)
    }

    /// Whether somebody is fetching `key`.
    pub fn is_fetched(&self, key: &Key, now_ms: u64) -> Result<bool> {
        let guard = self.table.lock()?;
        let Some(entry) = guard.find(key)? else { return Ok(false) };
        Ok(guard.word(entry, FETCHED_UNTIL)? > now_ms)
    }

    /// The fetch that began under `token` is over.
    pub fn end(&self, key: &Key, token: u64) -> Result<()> {
        let mut guard = self.table.lock()?;
        if let Some(entry) = guard.find(key)?
            && guard.word(entry, TOKEN)? == token
        {
            guard.set_word(entry, FETCHED_UNTIL, 0)?;
        }
        Ok(())
    }

    /// A file of so many bytes stands for `key` now; nobody fetches it any more.
    pub fn stored(&self, key: &Key, bytes: u64, now: i64, inactive: u64) -> Result<Vec<Key>> {
        let mut displaced = Vec::new();
        let mut guard = self.table.lock()?;
        let entry = match guard.find(key)? {
            Some(entry) => entry,
            None => insert(&mut guard, key, &mut displaced)?,
        };
        guard.set_word(entry, FETCHED_UNTIL, 0)?;
        guard.set_word(entry, ERROR, 0)?;
        guard.set_word(entry, EXPIRE, expire(now, inactive))?;
        exists(&mut guard, entry, bytes)?;
        Ok(displaced)
    }

    /// A file of so many bytes was found for `key`; nothing happens where the index knows it.
    pub fn found(&self, key: &Key, bytes: u64, now: i64, inactive: u64) -> Result<()> {
        let mut guard = self.table.lock()?;
        let entry = match guard.find(key)? {
            Some(entry) if guard.word(entry, EXISTS)? != 0 => return Ok(()),
            Some(entry) => entry,
            // found files displace nobody: what does not fit is found again when it is asked for
            None => guard.insert(key, VALUE_LEN)?,
        };
        guard.set_word(entry, EXPIRE, expire(now, inactive))?;
        exists(&mut guard, entry, bytes)
    }

    /// Remembers `status` in place of a response until `until`, seconds since the epoch.
    pub fn failed(&self, key: &Key, status: u16, until: i64) -> Result<()> {
        let mut guard = self.table.lock()?;
        let Some(entry) = guard.find(key)? else { return Ok(()) };
        guard.set_word(entry, ERROR_UNTIL, until as u64)?;
        guard.set_word(entry, ERROR, status.into())
    }

    /// Removes `key`, if its entry still expires when it did.
    pub fn remove(&self, oldest: &Oldest) -> Result<bool> {
        let mut guard = self.table.lock()?;
        match guard.find(&oldest.key)? {
            Some(entry) if guard.word(entry, EXPIRE)? as i64 == oldest.expire => {
                forget(&mut guard, entry)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// The entry that was not used for longest.
    pub fn oldest(&self) -> Result<Option<Oldest>> {
        let guard = self.table.lock()?;
        let Some(entry) = guard.oldest()? else { return Ok(None) };
        let expire = guard.word(entry, EXPIRE)? as i64;
        Ok(Some(Oldest { key: key_of(&guard, entry)?, expire }))
    }

    /// Bytes of all files.
    pub fn size(&self) -> Result<u64> {
        Ok(self.table.lock()?.reserve_word(SIZE)?.load(Relaxed))
    }

    /// Number of entries.
    pub fn len(&self) -> Result<u32> {
        Ok(self.table.lock()?.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Whether the files on disk were entered.
    pub fn is_loaded(&self) -> Result<bool> {
        Ok(self.table.lock()?.reserve_word(LOADED)?.load(Relaxed) != 0)
    }

    /// They were.
    pub fn set_loaded(&self) -> Result<()> {
        self.table.lock()?.reserve_word(LOADED)?.store(1, Relaxed);
        Ok(())
    }
}

fn expire(now: i64, inactive: u64) -> u64 {
    now.saturating_add(i64::try_from(inactive).unwrap_or(i64::MAX)) as u64
}

fn key_of(guard: &TableGuard<'_>, entry: EntryRef) -> Result<Key> {
    let key = guard.key(entry, |key| Key::try_from(key).ok())?;
    key.ok_or(Error::Corrupt("a cache key has another length"))
}

/// A new entry; the oldest ones go where there is no room.
fn insert(guard: &mut TableGuard<'_>, key: &Key, displaced: &mut Vec<Key>) -> Result<EntryRef> {
    loop {
        match guard.insert(key, VALUE_LEN) {
            Err(Error::NoMemory) if displaced.len() < DISPLACED_MAX => {
                let Some(oldest) = guard.oldest()? else { return Err(Error::NoMemory) };
                displaced.push(key_of(guard, oldest)?);
                forget(guard, oldest)?;
            }
            result => return result,
        }
    }
}

fn exists(guard: &mut TableGuard<'_>, entry: EntryRef, bytes: u64) -> Result<()> {
    let old = if guard.word(entry, EXISTS)? != 0 { guard.word(entry, BYTES)? } else { 0 };
    guard.set_word(entry, BYTES, bytes)?;
    guard.set_word(entry, EXISTS, 1)?;
    add_size(guard, old, bytes)
}

fn forget(guard: &mut TableGuard<'_>, entry: EntryRef) -> Result<()> {
    if guard.word(entry, EXISTS)? != 0 {
        add_size(guard, guard.word(entry, BYTES)?, 0)?;
    }
    guard.remove(entry)
}

fn add_size(guard: &TableGuard<'_>, old: u64, new: u64) -> Result<()> {
    let size = guard.reserve_word(SIZE)?;
    size.store(size.load(Relaxed).saturating_sub(old).saturating_add(new), Relaxed);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::Region;

    fn index(bytes: usize) -> CacheIndex {
        let region = Region::anonymous(bytes).expect("memory");
        CacheIndex { table: Table::format(&region, RESERVE_LEN).expect("room") }
    }

    #[test]
    fn uses_files_and_errors() {
        let index = index(64 << 10);
        let key = [1; 16];
        let seen = index.touch(&key, 100, 10).unwrap();
        assert_eq!((seen.exists, seen.uses, seen.error, seen.fresh), (false, 1, None, true));
        index.stored(&key, 4096, 100, 10).unwrap();
        let seen = index.touch(&key, 101, 10).unwrap();
        assert_eq!((seen.exists, seen.uses, seen.fresh), (true, 2, false));
        index.stored(&key, 8192, 101, 10).unwrap();
        assert_eq!(index.size().unwrap(), 8192);
        index.failed(&key, 502, 110).unwrap();
        assert_eq!(index.touch(&key, 110, 10).unwrap().error, Some(502));
        let seen = index.touch(&key, 111, 10).unwrap();
        assert_eq!((seen.error, seen.fresh), (None, true));
        let oldest = index.oldest().unwrap().unwrap();
        assert_eq!(oldest, Oldest { key, expire: 121 });
        assert!(!index.remove(&Oldest { key, expire: 120 }).unwrap(), "it was used meanwhile");
        assert!(index.remove(&oldest).unwrap());
        assert_eq!((index.size().unwrap(), index.len().unwrap()), (0, 0));
    }

    #[test]
    fn one_fetches_and_not_for_ever() {
        let index = index(64 << 10);
        let key = [2; 16];
        index.touch(&key, 0, 10).unwrap();
        assert!(index.begin(&key, 7, 1000, 2000).unwrap());
        assert!(!index.begin(&key, 8, 1500, 2500).unwrap());
        assert!(index.is_fetched(&key, 1999).unwrap() && !index.is_fetched(&key, 2000).unwrap());
        assert!(index.begin(&key, 8, 2000, 3000).unwrap(), "the first took too long");
        index.end(&key, 7).unwrap();
        assert!(index.is_fetched(&key, 2001).unwrap(), "its end is not that of the second");
        index.end(&key, 8).unwrap();
        assert!(!index.is_fetched(&key, 2001).unwrap());
    }

    #[test]
    fn the_oldest_goes_when_there_is_no_room() {
        let index = index(32 << 10);
        let key = |n: u32| {
            let mut key = [0; 16];
            key[..4].copy_from_slice(&n.to_le_bytes());
            key
        };
        let mut displaced = Vec::new();
        for n in 0..1000 {
            displaced.extend(index.touch(&key(n), 0, 10).unwrap().displaced);
            displaced.extend(index.stored(&key(n), 1, 0, 10).unwrap());
        }
        assert!(!displaced.is_empty());
        assert_eq!(displaced[0], key(0));
        assert_eq!(index.size().unwrap(), u64::from(index.len().unwrap()), "sizes go with their entries");
    }

    #[test]
    fn found_files_are_entered_once() {
        let index = index(64 << 10);
        assert!(!index.is_loaded().unwrap());
        index.found(&[3; 16], 10, 0, 10).unwrap();
        index.found(&[3; 16], 99, 0, 10).unwrap();
        index.set_loaded().unwrap();
        assert_eq!((index.size().unwrap(), index.is_loaded().unwrap()), (10, true));
    }
}
