//! The last changes: who, when, what was before and after.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

use schemas::Key;
use serde_json::Value;

/// Changes that are remembered.
const RECORDS_MAX: usize = 1000;
/// Values of more bytes are not kept: such a change cannot be undone.
const VALUE_BYTES_MAX: usize = 64 * 1024;

/// One change.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its revision.
    pub revision: u64,
    /// Milliseconds since the epoch.
    pub at_ms: u64,
    /// The role of the key it was made with.
    pub by: &'static str,
    /// `put`, `post`, `patch`, `delete`, `rollback`.
    pub action: String,
    /// The resource.
    pub key: Key,
    /// What it was.
    pub before: Kept,
    /// What it is.
    pub after: Kept,
}

/// A value as the history has it.
#[derive(Debug, Clone, PartialEq)]
pub enum Kept {
    /// There was none.
    None,
    /// It was this.
    Value(Value),
    /// It was too large to be kept.
    TooLarge,
}

impl Kept {
    /// Keeps a value if it is not too large.
    pub fn of(value: Option<&Value>) -> Self {
        match value {
            None => Kept::None,
            Some(value) if value.to_string().len() > VALUE_BYTES_MAX => Kept::TooLarge,
            Some(value) => Kept::Value(value.clone()),
        }
    }
}

/// See the module's documentation.
#[derive(Default)]
pub struct History(VecDeque<Record>);

impl History {
    /// Adds a change.
    pub(crate) fn add(&mut self, record: Record) {
        if self.0.len() == RECORDS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(record);
    }

    /// All changes, the last first.
    pub fn iter(&self) -> impl Iterator<Item = &Record> {
        self.0.iter().rev()
    }

    /// What the resources that changed after `revision` were at it; `None`: it is not known any more.
    pub fn at(&self, revision: u64) -> Option<HashMap<Key, Kept>> {
        if !self.0.iter().any(|record| record.revision == revision) {
            return None;
        }
        let later = self.iter().filter(|record| record.revision > revision);
        Some(later.map(|record| (record.key.clone(), record.before.clone())).collect())
    }
}

/// Milliseconds since the epoch.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::Kind;

    #[test]
    fn what_was_at_a_revision() {
        let mut history = History::default();
        let (none, value) = (Kept::None, |n: u64| Kept::Value(n.into()));
        for (revision, id, before, after) in [
            (2, "a", none.clone(), value(1)),
            (3, "a", value(1), value(2)),
            (4, "b", none.clone(), value(3)),
            (5, "a", value(2), none.clone()),
        ] {
            let key = Key::new(Kind::Route, id);
            history.add(Record { revision, at_ms: 0, by: "admin", action: "put".into(), key, before, after });
        }
        let (a, b) = (Key::new(Kind::Route, "a"), Key::new(Kind::Route, "b"));
        assert_eq!(history.at(2).unwrap(), HashMap::from([(a.clone(), value(1)), (b.clone(), none)]));
        assert_eq!(history.at(4).unwrap(), HashMap::from([(a, value(2))]));
        assert_eq!(history.at(5).unwrap(), HashMap::new());
        assert_eq!(history.at(9), None);
    }
}
