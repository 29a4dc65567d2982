//! The sessions behind `sticky learn`: which server a session is bound to.
//!
//! ```text
//! entry: MD5 of the session | when it was last used, ms; then the server's id
//! ```
//!
//! A session that was not used for the timeout is as good as gone; those at the old end of the list are removed as new
//! ones come, and when the zone is full the one unused longest gives way.

use crate::{
    error::{Error, Result},
    table::{Table, TableGuard},
    zone::{Kind, Zone},
};

/// Longest id of a server, bytes.
pub const SID_MAX: usize = 32;
/// Sessions removed to make room for one.
const EVICT_MAX: u32 = 8;
/// Sessions removed because of their age when one is made.
const EXPIRE_MAX: u32 = 4;
/// Bytes of an entry's value before the server's id.
const LAST: usize = 8;

/// The digest of a session's name.
pub type SessionKey = [u8; 16];

/// A `sticky learn` zone.
#[derive(Debug)]
pub struct Sticky(Table);

impl Sticky {
    /// What the zone is registered as.
    pub const KIND: Kind = Kind { id: *b"stky", layout: 1 };

    /// Prepares a new zone.
    pub fn format(zone: &Zone) -> Result<Self> {
        Table::format(zone.body(), 0).map(Self)
    }

    /// The sessions in a zone that was prepared.
    pub fn open(zone: &Zone) -> Result<Self> {
        Table::open(zone.body()).map(Self)
    }

    /// The id of the server the session is bound to.
    pub fn find(&self, key: &SessionKey, now_ms: u64, timeout_ms: u64) -> Result<Option<Vec<u8>>> {
        let guard = self.0.lock()?;
        let Some(entry) = guard.find(key)? else { return Ok(None) };
        if guard.word(entry, 0)?.saturating_add(timeout_ms) <= now_ms {
            return Ok(None);
        }
        guard.value(entry, |value| value.get(LAST..).map(<[u8]>::to_vec))
    }

    /// Binds a session to the server `sid` and notes its use. A session that does not exist is made only if `create`.
    /// `false`: it was not made for want of memory.
    pub fn learn(
        &self,
        key: &SessionKey,
        sid: &[u8],
        create: bool,
        now_ms: u64,
        timeout_ms: u64,
    ) -> Result<bool> {
        if sid.len() > SID_MAX {
            return Err(Error::TooLong { have: sid.len(), max: SID_MAX });
        }
        let mut guard = self.0.lock()?;
        expire(&mut guard, now_ms, timeout_ms)?;
        if guard.find(key)?.is_none() && !create {
            return Ok(true);
        }
        let mut value = [0; LAST + SID_MAX];
        value[..LAST].copy_from_slice(&now_ms.to_ne_bytes());
        value[LAST..LAST + sid.len()].copy_from_slice(sid);
        match guard.set(key, &value[..LAST + sid.len()], EVICT_MAX) {
            Ok(entry) => guard.touch(entry).map(|()| true),
            Err(Error::NoMemory) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sessions there are, those that have timed out included.
    pub fn len(&self) -> Result<u32> {
        Ok(self.0.lock()?.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> Result<bool> {
        self.len().map(|len| len == 0)
    }

    /// Repairs the zone if a dead worker holds its lock; true when that was so.
    pub fn recover(&self) -> Result<bool> {
        self.0.recover()
    }
}

/// Removes a few of the sessions that have timed out.
fn expire(guard: &mut TableGuard<'_>, now_ms: u64, timeout_ms: u64) -> Result<()> {
    for _ in 0..EXPIRE_MAX {
        let Some(entry) = guard.oldest()? else { break };
        if guard.word(entry, 0)?.saturating_add(timeout_ms) > now_ms {
            break;
        }
        guard.remove(entry)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::Spec;

    fn sessions(size: usize) -> (Zone, Sticky) {
        let zone = Zone::create(&Spec { name: "s".into(), size, kind: Sticky::KIND }).unwrap();
        let sticky = Sticky::format(&zone).unwrap();
        (zone, sticky)
    }

    fn key(n: u64) -> SessionKey {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&n.to_ne_bytes());
        key
    }

    #[test]
    fn sessions_are_made_moved_and_forgotten() {
        let (zone, one) = sessions(64 << 10);
        let two = Sticky::open(&zone).unwrap();
        assert!(one.learn(&key(1), b"a", false, 0, 100).unwrap());
        assert_eq!(two.find(&key(1), 0, 100).unwrap(), None, "only made on demand");
        one.learn(&key(1), b"a", true, 0, 100).unwrap();
        assert_eq!(two.find(&key(1), 99, 100).unwrap().as_deref(), Some(&b"a"[..]));
        assert_eq!(two.find(&key(1), 100, 100).unwrap(), None, "timed out");
        two.learn(&key(1), b"another server", false, 50, 100).unwrap();
        assert_eq!(one.find(&key(1), 140, 100).unwrap().as_deref(), Some(&b"another server"[..]));
        one.learn(&key(2), b"b", true, 500, 100).unwrap();
        assert_eq!(one.len().unwrap(), 1, "the old one was removed");
        assert!(one.learn(&key(2), &[b'x'; 33], true, 500, 100).is_err());
    }

    #[test]
    fn a_full_zone_gives_up_the_oldest() {
        let (_zone, sessions) = sessions(32 << 10);
        for n in 0..2000 {
            assert!(sessions.learn(&key(n), &[b'x'; 32], true, n, 1_000_000).unwrap(), "{n}");
        }
        assert!(sessions.len().unwrap() > 100);
        assert!(sessions.find(&key(1999), 2000, 1_000_000).unwrap().is_some());
        assert!(sessions.find(&key(0), 2000, 1_000_000).unwrap().is_none());
    }
}
