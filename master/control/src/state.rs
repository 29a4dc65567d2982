//! What the store holds, as the control plane knows it: every resource by kind and id, and the last changes.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;

use schemas::{Change, Key, Kind, Update};
use serde_json::Value;

use crate::store::Stored;

/// Changes that are remembered: a worker that is further behind gets a snapshot.
const LOG_LEN_MAX: usize = 8192;

/// A resource.
#[derive(Debug)]
pub struct Entry {
    /// Its key.
    pub key: Key,
    /// The revision that created it (`createdIndex`).
    pub created: u64,
    /// The revision that changed it last (`modifiedIndex`).
    pub modified: u64,
    /// Its value.
    pub value: Value,
    json: Vec<u8>,
}

/// See the module's documentation.
#[derive(Default)]
pub struct State {
    tables: HashMap<Kind, BTreeMap<Box<str>, Rc<Entry>>>,
    /// Values that cannot be used, with the reason. What stood under the key before goes on being served.
    refused: BTreeMap<Key, String>,
    log: VecDeque<Change>,
    /// Revisions after this one are in the log.
    floor: u64,
    revision: u64,
}

impl State {
    /// The revision of the last change.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// A resource.
    pub fn get(&self, kind: Kind, id: &str) -> Option<&Rc<Entry>> {
        self.tables.get(&kind)?.get(id)
    }

    /// All resources of a kind, by id.
    pub fn all(&self, kind: Kind) -> impl Iterator<Item = &Rc<Entry>> {
        self.tables.get(&kind).into_iter().flat_map(BTreeMap::values)
    }

    /// How many resources of a kind there are.
    pub fn count(&self, kind: Kind) -> usize {
        self.tables.get(&kind).map_or(0, BTreeMap::len)
    }

    /// Values that cannot be used.
    pub fn refused(&self) -> impl Iterator<Item = (&Key, &str)> {
        self.refused.iter().map(|(key, reason)| (key, &**reason))
    }

    /// Notes that the value under `key` cannot be used; whether that is news.
    pub(crate) fn refuse(&mut self, key: Key, reason: String) -> bool {
        self.refused.insert(key, reason.clone()) != Some(reason)
    }

    /// Takes a change in.
    pub(crate) fn set(&mut self, key: Key, stored: Stored, value: Value) {
        let Stored { created, modified, value: json, .. } = stored;
        self.refused.remove(&key);
        let json = json.unwrap_or_default();
        let change = Change { key: key.clone(), created, modified, value: Some(json.clone()) };
        let entry = Entry { key: key.clone(), created, modified, value, json };
        self.tables.entry(key.kind).or_default().insert(key.id, Rc::new(entry));
        self.remember(change);
    }

    /// Removes a resource.
    pub(crate) fn remove(&mut self, key: &Key, modified: u64) {
        self.refused.remove(key);
        if self.tables.get_mut(&key.kind).and_then(|table| table.remove(&key.id)).is_some() {
            self.remember(Change { key: key.clone(), created: 0, modified, value: None });
        }
    }

    /// Keys of everything.
    pub(crate) fn keys(&self) -> Vec<Key> {
        self.tables.values().flat_map(|table| table.values().map(|entry| entry.key.clone())).collect()
    }

    fn remember(&mut self, change: Change) {
        self.log.push_back(change);
        if self.log.len() > LOG_LEN_MAX
            && let Some(dropped) = self.log.pop_front()
        {
            self.floor = self.floor.max(dropped.modified);
        }
    }

    /// All changes up to `revision` are in.
    pub(crate) fn reached(&mut self, revision: u64) {
        self.revision = revision;
    }

    /// The log begins anew: who was not there before needs a snapshot.
    pub(crate) fn forget_log(&mut self, revision: u64) {
        self.log.clear();
        self.floor = revision;
    }

    /// What a worker needs that has `have`; `None`: it has nothing.
    pub(crate) fn update(&self, have: Option<u64>) -> Update {
        let mut changes = match have {
            Some(have) if have >= self.floor && have <= self.revision => return self.delta(have),
            _ => Vec::new(),
        };
        for kind in Kind::ALL {
            changes.extend(self.all(kind).map(|entry| Change {
                key: entry.key.clone(),
                created: entry.created,
                modified: entry.modified,
                value: Some(entry.json.clone()),
            }));
        }
        Update { from: None, to: self.revision, changes }
    }

    fn delta(&self, have: u64) -> Update {
        let mut last: HashMap<&Key, &Change> = HashMap::new();
        for change in self.log.iter().rev().take_while(|change| change.modified > have) {
            last.entry(&change.key).or_insert(change);
        }
        let mut changes: Vec<Change> = last.into_values().cloned().collect();
        changes.sort_by(|a, b| a.key.kind.cmp(&b.key.kind).then(a.modified.cmp(&b.modified)));
        Update { from: Some(have), to: self.revision, changes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(state: &mut State, id: &str, revision: u64) {
        let key = Key::new(Kind::Route, id);
        let stored = Stored {
            key: key.to_string(),
            created: revision,
            modified: revision,
            value: Some(b"{}".to_vec()),
        };
        state.set(key, stored, Value::Null);
        state.reached(revision);
    }

    #[test]
    fn deltas_hold_the_last_change_of_each_key() {
        let mut state = State::default();
        set(&mut state, "1", 2);
        set(&mut state, "2", 3);
        set(&mut state, "1", 4);
        state.remove(&Key::new(Kind::Route, "2"), 5);
        state.reached(5);
        let update = state.update(Some(2));
        let found: Vec<_> =
            update.changes.iter().map(|c| (&*c.key.id, c.modified, c.value.is_some())).collect();
        assert_eq!((update.from, update.to), (Some(2), 5));
        assert_eq!(found, [("1", 4, true), ("2", 5, false)]);
        assert_eq!(state.update(None).changes.len(), 1);
        assert_eq!(state.update(Some(99)).from, None, "a worker of another history");
    }

    #[test]
    fn who_is_too_far_behind_gets_a_snapshot() {
        let mut state = State::default();
        for revision in 2..LOG_LEN_MAX as u64 + 10 {
            set(&mut state, "1", revision);
        }
        assert_eq!(state.update(Some(2)).from, None);
        assert!(state.update(Some(LOG_LEN_MAX as u64)).from.is_some());
    }
}
