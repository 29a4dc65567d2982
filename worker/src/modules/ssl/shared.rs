//! Sessions and ticket keys that all workers share.

use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tls::{Key, SessionStore, TicketKeys};

use crate::log::{self, Level};
use crate::zone::ZoneRef;

/// `ssl_session_cache`.
#[derive(Debug, Clone, Default)]
pub enum SessionCache {
    /// `none`: clients are told that sessions may be resumed, and none is kept.
    #[default]
    None,
    /// `off`: nothing is resumed with an id.
    Off,
    /// `builtin`: each worker keeps so many sessions.
    Builtin(usize),
    /// `shared:name:size`.
    Shared(ZoneRef),
}

/// The zone with the keys of tickets.
pub const TICKET_ZONE_NAME: &str = "uresty ticket keys";
/// Its size.
pub const TICKET_ZONE_BYTES: usize = 64 * 1024;

/// A zone's sessions. The memory comes when the worker has it; before that nothing is kept.
#[derive(Debug, Default)]
pub struct SharedSessions(OnceLock<shm::Sessions>);

impl SharedSessions {
    /// Takes the zone's memory.
    pub(super) fn attach(&self, zone: &ZoneRef) {
        let Some(memory) = zone.memory() else { return };
        match shm::Sessions::open(memory) {
            // a second server with the same zone opens it for itself
            Ok(sessions) => drop(self.0.set(sessions)),
            Err(error) => log::process(Level::Alert, format_args!("zone \"{}\": {error}", zone.name)),
        }
    }

    fn find(&self, id: &[u8], remove: bool) -> Option<Vec<u8>> {
        match self.0.get()?.find(id, remove) {
            Ok(session) => session,
            Err(error) => {
                log::process(Level::Alert, format_args!("SSL session cache: {error}"));
                None
            }
        }
    }
}

impl SessionStore for SharedSessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.0.get().is_some_and(|sessions| sessions.put(&key, &value).unwrap_or(false))
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.find(key, false)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.find(key, true)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

/// Keys out of `ssl_session_ticket_key` files: the first one seals, all open.
#[derive(Debug, Clone)]
pub struct FileKeys(pub Vec<Key>);

impl TicketKeys for FileKeys {
    fn current(&self) -> Option<Key> {
        self.0.first().copied()
    }

    fn find(&self, name: &[u8; 16]) -> Option<Key> {
        self.0.iter().find(|key| key.name == *name).copied()
    }
}

/// A key is used for sealing no longer than this, seconds.
const ROTATE_S_MAX: u64 = 24 * 3600;
/// The most keys kept.
const KEYS_MAX: usize = 32;
/// Bytes of a key in memory: when it was made, its name, the secret.
const RECORD: usize = 8 + 16 + 32;

/// Keys in memory that all workers share, made anew from time to time. Without such memory a worker has its own.
#[derive(Debug, Default)]
pub struct SharedKeys {
    memory: OnceLock<shm::Sessions>,
    /// How long tickets live, seconds: the longest of all servers. A new key is made so often as well, so that what one key can
    /// tell about the past is limited to twice that.
    keep_s: AtomicU64,
    /// What the memory held when it was looked at last, the newest first.
    seen: Mutex<Vec<(u64, Key)>>,
}

impl SharedKeys {
    /// Takes the memory.
    pub(super) fn attach(&self, zone: &ZoneRef) {
        if let Some(memory) = zone.memory()
            && let Ok(sessions) = shm::Sessions::open(memory)
        {
            let _ = self.memory.set(sessions);
        }
    }

    /// Tickets of some server live so long.
    pub(super) fn keep_for(&self, seconds: u64) {
        self.keep_s.fetch_max(seconds, Ordering::Relaxed);
    }

    /// Looks at the memory, and puts a new key there if the newest is too old.
    fn refresh(&self) -> Vec<(u64, Key)> {
        let now = now_s();
        let rotate_s = self.rotate_s();
        let renew = |there: &[u8]| {
            let mut keys = decode(there);
            if keys.first().is_some_and(|(made, _)| now.saturating_sub(*made) < rotate_s) {
                return None;
            }
            keys.retain(|(made, _)| now.saturating_sub(*made) <= 2 * rotate_s);
            keys.insert(0, (now, Key::random().ok()?));
            keys.truncate(KEYS_MAX);
            Some(encode(&keys))
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = match self.memory.get() {
            Some(memory) => memory.ticket_keys(renew).ok(),
            None => renew(&encode(&seen)),
        };
        if let Some(bytes) = bytes {
            *seen = decode(&bytes);
        }
        seen.clone()
    }

    fn rotate_s(&self) -> u64 {
        self.keep_s.load(Ordering::Relaxed).clamp(1, ROTATE_S_MAX)
    }

    fn known(&self, fits: impl Fn(&(u64, Key)) -> bool) -> Option<Key> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().find(|key| fits(key)).map(|(_, key)| *key)
    }
}

impl TicketKeys for SharedKeys {
    fn current(&self) -> Option<Key> {
        let now = now_s();
        let rotate_s = self.rotate_s();
        self.known(|(made, _)| now.saturating_sub(*made) < rotate_s)
            .or_else(|| self.refresh().first().map(|(_, key)| *key))
    }

    fn find(&self, name: &[u8; 16]) -> Option<Key> {
        let named = |(_, key): &(u64, Key)| key.name == *name;
        // another worker may have made it a moment ago
        self.known(named).or_else(|| self.refresh().into_iter().find(named).map(|(_, key)| key))
    }
}

fn encode(keys: &[(u64, Key)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(keys.len() * RECORD);
    for (made, key) in keys {
        bytes.extend_from_slice(&made.to_ne_bytes());
        bytes.extend_from_slice(&key.name);
        bytes.extend_from_slice(&key.secret);
    }
    bytes
}

fn decode(bytes: &[u8]) -> Vec<(u64, Key)> {
    let record = |record: &[u8]| {
        let (made, rest) = record.split_first_chunk::<8>()?;
        let (name, secret) = rest.split_first_chunk::<16>()?;
        Some((u64::from_ne_bytes(*made), Key { name: *name, secret: secret.try_into().ok()? }))
    };
    bytes.chunks_exact(RECORD).filter_map(record).collect()
}

/// Seconds since 1970.
pub(crate) fn now_s() -> u64 {
    net::unix_ms() / 1000
}

thread_local! {
    /// The keys of this process: all servers without keys of their own share them.
    static KEYS: Arc<SharedKeys> = Arc::default();
}

/// The keys of this process.
pub(super) fn keys() -> Arc<SharedKeys> {
    KEYS.with(Arc::clone)
}

/// The sessions of a server, with what brings their memory.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    pub(super) sessions: Option<(Arc<SharedSessions>, ZoneRef)>,
    pub(super) keys: Option<ZoneRef>,
    pub(super) timeout_s: u64,
}

impl Memory {
    /// Takes the zones' memory; called once per worker.
    pub(super) fn attach(&self) {
        if let Some((sessions, zone)) = &self.sessions {
            sessions.attach(zone);
        }
        let keys = keys();
        keys.keep_for(self.timeout_s);
        if let Some(zone) = &self.keys {
            keys.attach(zone);
        }
    }
}

/// Where a server keeps sessions.
#[derive(Default)]
pub(super) struct Store {
    pub(super) sessions: Option<Arc<dyn SessionStore>>,
    /// What takes the zone's memory when it comes.
    pub(super) shared: Option<(Arc<SharedSessions>, ZoneRef)>,
}

/// What `cache` asks for.
pub(super) fn store(cache: &SessionCache) -> Store {
    match cache {
        SessionCache::None | SessionCache::Off => Store::default(),
        SessionCache::Builtin(size) => {
            Store { sessions: Some(tls::server::memory_sessions(*size)), shared: None }
        }
        SessionCache::Shared(zone) => {
            let store = Arc::new(SharedSessions::default());
            let sessions = Some(Arc::clone(&store) as Arc<dyn SessionStore>);
            Store { sessions, shared: Some((store, Rc::clone(zone))) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_once_and_found_again() {
        let keys = SharedKeys::default();
        keys.keep_for(300);
        let first = keys.current().unwrap();
        assert_eq!(keys.current(), Some(first));
        assert_eq!(keys.find(&first.name), Some(first));
        assert_eq!(keys.find(&[0; 16]), None);
        let listed = vec![(7, first)];
        assert_eq!(decode(&encode(&listed)), listed);
    }
}
