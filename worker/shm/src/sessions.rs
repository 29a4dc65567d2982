//! TLS sessions and ticket keys that all workers share.
//!
//! A zone of sessions is a table from session ids to what the TLS layer needs for resuming; the oldest give way when it is full.
//! What a session is bound to and how old it may be is the business of those who read it.
//!
//! A zone of ticket keys has one entry, the list of keys with the newest first. Whoever finds the newest too old adds one, under the
//! table's lock, so that all workers agree.

use crate::{
    error::{Error, Result},
    table::Table,
    zone::{Kind, Zone},
};

/// Longest session, bytes: one with a chain of client certificates included.
pub const SESSION_BYTES_MAX: usize = 16 * 1024;
/// Sessions removed to make room for one.
const EVICT_MAX: u32 = 64;
/// The key of the entry with ticket keys.
const TICKET_KEYS: &[u8] = b"ticket keys";

/// A zone of sessions.
#[derive(Debug)]
pub struct Sessions(Table);

impl Sessions {
    /// What the zone is registered as.
    pub const KIND: Kind = Kind { id: *b"tlss", layout: 1 };

    /// Prepares a new zone.
    pub fn format(zone: &Zone) -> Result<Self> {
        Table::format(zone.body(), 0).map(Self)
    }

    /// The sessions in a zone that was prepared.
    pub fn open(zone: &Zone) -> Result<Self> {
        Table::open(zone.body()).map(Self)
    }

    /// Keeps a session. `false`: there is no room for it.
    pub fn put(&self, id: &[u8], session: &[u8]) -> Result<bool> {
        if session.len() > SESSION_BYTES_MAX {
            return Ok(false);
        }
        let mut guard = self.0.lock()?;
        match guard.set(id, session, EVICT_MAX) {
            Ok(entry) => guard.touch(entry).map(|()| true),
            Err(Error::NoMemory | Error::TooLong { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A session; with `remove` nobody gets it again.
    pub fn find(&self, id: &[u8], remove: bool) -> Result<Option<Vec<u8>>> {
        let mut guard = self.0.lock()?;
        let Some(entry) = guard.find(id)? else { return Ok(None) };
        let session = guard.value(entry, <[u8]>::to_vec)?;
        if remove {
            guard.remove(entry)?;
        }
        Ok(Some(session))
    }

    /// The list of ticket keys as `renew` leaves it: it sees what is there and may return what to put in its place.
    pub fn ticket_keys(&self, renew: impl FnOnce(&[u8]) -> Option<Vec<u8>>) -> Result<Vec<u8>> {
        let mut guard = self.0.lock()?;
        let there = match guard.find(TICKET_KEYS)? {
            Some(entry) => guard.value(entry, <[u8]>::to_vec)?,
            None => Vec::new(),
        };
        match renew(&there) {
            Some(new) => {
                guard.set(TICKET_KEYS, &new, 0)?;
                Ok(new)
            }
            None => Ok(there),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::Spec;

    fn sessions() -> (Zone, Sessions) {
        let zone = Zone::create(&Spec { name: "s".into(), size: 64 << 10, kind: Sessions::KIND }).unwrap();
        let sessions = Sessions::format(&zone).unwrap();
        (zone, sessions)
    }

    #[test]
    fn sessions_are_found_once_or_often() {
        let (zone, one) = sessions();
        let two = Sessions::open(&zone).unwrap();
        assert!(one.put(&[1; 32], b"session").unwrap());
        assert_eq!(two.find(&[1; 32], false).unwrap().as_deref(), Some(&b"session"[..]));
        assert_eq!(two.find(&[1; 32], true).unwrap().as_deref(), Some(&b"session"[..]));
        assert_eq!(one.find(&[1; 32], false).unwrap(), None);
        assert!(!one.put(&[2; 32], &[0; SESSION_BYTES_MAX + 1]).unwrap());
    }

    #[test]
    fn the_oldest_give_way() {
        let (_zone, sessions) = sessions();
        for n in 0..1000u32 {
            assert!(sessions.put(&n.to_ne_bytes(), &[7; 500]).unwrap(), "{n}");
        }
        assert!(sessions.find(&999u32.to_ne_bytes(), false).unwrap().is_some());
        assert!(sessions.find(&0u32.to_ne_bytes(), false).unwrap().is_none());
    }

    #[test]
    fn ticket_keys_are_one_list() {
        let (zone, one) = sessions();
        let two = Sessions::open(&zone).unwrap();
        assert_eq!(one.ticket_keys(|there| there.is_empty().then(|| b"a".to_vec())).unwrap(), b"a");
        assert_eq!(two.ticket_keys(|there| there.is_empty().then(|| b"b".to_vec())).unwrap(), b"a");
    }
}
