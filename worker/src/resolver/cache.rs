//! Answers that were given, for their time to live and some time after it.

use std::collections::HashMap;
use std::rc::Rc;

use net::Tick;

use super::Answer;
use super::lookup::Key;

/// Most answers kept.
const ENTRIES_MAX: usize = 8192;
/// How long an answer that is no longer valid is kept for the case that the name servers fall silent, ms (RFC 8767 § 5:
/// one to three days).
const STALE_MS: u64 = 24 * 3600 * 1000;

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Cache {
    entries: HashMap<Key, Entry>,
}

struct Entry {
    answer: Rc<Answer>,
    used: Tick,
}

/// What the cache knows.
pub(super) enum Cached {
    /// A valid answer.
    Fresh(Rc<Answer>),
    /// An answer that was valid once.
    Stale(Rc<Answer>),
}

impl Cache {
    pub(super) fn get(&mut self, key: &Key, now: Tick) -> Option<Cached> {
        let entry = self.entries.get_mut(key)?;
        entry.used = now;
        let answer = Rc::clone(&entry.answer);
        if answer.valid_until > now {
            Some(Cached::Fresh(answer))
        } else if answer.valid_until.0 + STALE_MS > now.0 {
            Some(Cached::Stale(answer))
        } else {
            self.entries.remove(key);
            None
        }
    }

    pub(super) fn put(&mut self, key: Key, answer: Rc<Answer>, now: Tick) {
        if self.entries.len() >= ENTRIES_MAX && !self.entries.contains_key(&key) {
            self.make_room(now);
        }
        self.entries.insert(key, Entry { answer, used: now });
    }

    pub(super) fn remove(&mut self, key: &Key) {
        self.entries.remove(key);
    }

    /// Drops what is not valid any more, and if that is not enough the eighth that was not used for longest.
    fn make_room(&mut self, now: Tick) {
        self.entries.retain(|_, entry| entry.answer.valid_until > now);
        if self.entries.len() < ENTRIES_MAX {
            return;
        }
        let mut used: Vec<Tick> = self.entries.values().map(|entry| entry.used).collect();
        let (_, limit, _) = used.select_nth_unstable(ENTRIES_MAX / 8);
        let limit = *limit;
        let mut left = ENTRIES_MAX / 8;
        self.entries.retain(|_, entry| {
            let goes = entry.used <= limit && left > 0;
            left -= usize::from(goes);
            !goes
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::RecordType;
    use super::*;

    fn key(n: usize) -> Key {
        Key { name: n.to_string().into(), service: false }
    }

    fn answer(valid_until: u64) -> Rc<Answer> {
        Rc::new(Answer { ips: Vec::new(), services: Vec::new(), valid_until: Tick(valid_until) })
    }

    #[test]
    fn answers_grow_old() {
        let _ = RecordType::A;
        let mut cache = Cache::default();
        cache.put(key(1), answer(100), Tick(0));
        assert!(matches!(cache.get(&key(1), Tick(99)), Some(Cached::Fresh(_))));
        assert!(matches!(cache.get(&key(1), Tick(100)), Some(Cached::Stale(_))));
        assert!(cache.get(&key(1), Tick(100 + STALE_MS)).is_none());
        assert!(cache.get(&key(2), Tick(0)).is_none());
    }

    #[test]
    fn the_cache_is_bounded() {
        let mut cache = Cache::default();
        for n in 0..3 * ENTRIES_MAX {
            cache.put(key(n), answer(u64::MAX / 2), Tick(n as u64));
            cache.get(&key(0), Tick(n as u64));
        }
        assert!(cache.entries.len() <= ENTRIES_MAX);
        assert!(cache.get(&key(0), Tick(0)).is_some(), "used all the time");
        assert!(cache.get(&key(3 * ENTRIES_MAX - 1), Tick(0)).is_some());
    }
}
