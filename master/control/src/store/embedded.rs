//! A store in a file of our own (redb): durable when a write returns, nothing to install.
//!
//! Revisions count on across restarts. Keys with a time to live are removed when it is over, also when that happened
//! while nobody looked.

use std::path::Path;
use std::rc::{Rc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::{Opened, Store, StoreError, StoreEvent, Stored, Wait, Write};

const ENTRIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("entries");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// When keys go away, seconds since the epoch.
const EXPIRY: TableDefinition<'_, &str, u64> = TableDefinition::new("expiry");
const REVISION: &str = "revision";

/// How often keys are looked at that may go away.
const EXPIRY_TICK: Duration = Duration::from_secs(1);

#[derive(Serialize, Deserialize)]
struct Record {
    created: u64,
    modified: u64,
    value: Vec<u8>,
}

/// See the module's documentation.
pub struct Embedded {
    database: Database,
    events: UnboundedSender<StoreEvent>,
}

impl Embedded {
    /// Opens the file, made if need be, readable by its owner alone: it holds secrets.
    pub fn open(path: &Path) -> Result<Database, String> {
        let describe = |error: &dyn std::fmt::Display| format!("store \"{}\": {error}", path.display());
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(|error| describe(&error))?;
        }
        let mut options = std::fs::OpenOptions::new();
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.read(true).write(true).create(true).truncate(false).open(path);
        drop(file.map_err(|error| describe(&error))?);
        let database = Database::create(path).map_err(|error| describe(&error))?;
        let write = database.begin_write().map_err(|error| describe(&error))?;
        // tables come into being when they are opened first
        write.open_table(ENTRIES).map_err(|error| describe(&error))?;
        write.open_table(META).map_err(|error| describe(&error))?;
        write.open_table(EXPIRY).map_err(|error| describe(&error))?;
        write.commit().map_err(|error| describe(&error))?;
        Ok(database)
    }

    /// Serves an opened file; to be called on the control plane's thread.
    pub fn start(database: Database) -> Result<Opened, StoreError> {
        let (events, receiver) = unbounded_channel();
        let store = Rc::new(Self { database, events });
        let snapshot = store.snapshot().map_err(failed)?;
        // the receiver is ours and cannot be gone
        let _ = store.events.send(snapshot);
        tokio::task::spawn_local(expire(Rc::downgrade(&store)));
        Ok(Opened { store: Box::new(Shared(store)), events: receiver })
    }

    fn snapshot(&self) -> Result<StoreEvent, redb::Error> {
        let read = self.database.begin_read()?;
        let revision = read.open_table(META)?.get(REVISION)?.map_or(1, |value| value.value());
        let table = read.open_table(ENTRIES)?;
        let mut entries = Vec::new();
        for item in table.iter()? {
            let (key, value) = item?;
            let (key, bytes) = (key.value().to_owned(), value.value());
            // a record of ours that cannot be read is shown as garbage, which the state refuses by name
            let record = postcard::from_bytes(bytes).unwrap_or(Record {
                created: 0,
                modified: 0,
                value: bytes.to_vec(),
            });
            let Record { created, modified, value } = record;
            entries.push(Stored { key, created, modified, value: Some(value) });
        }
        Ok(StoreEvent::Snapshot { revision, entries })
    }

    fn apply(&self, write: Write) -> Result<u64, StoreError> {
        let (revision, changes) = self.transaction(write)?;
        if !changes.is_empty() {
            // nobody watches while the plane ends: the next one reads a snapshot
            let _ = self.events.send(StoreEvent::Changes { revision, changes });
        }
        Ok(revision)
    }

    fn transaction(&self, write: Write) -> Result<(u64, Vec<Stored>), StoreError> {
        let transaction = self.database.begin_write().map_err(failed)?;
        let revision;
        let mut changes = Vec::new();
        {
            let mut meta = transaction.open_table(META).map_err(failed)?;
            let last = meta.get(REVISION).map_err(failed)?.map_or(1, |value| value.value());
            revision = last + 1;
            meta.insert(REVISION, revision).map_err(failed)?;
            let mut entries = transaction.open_table(ENTRIES).map_err(failed)?;
            let mut expiry = transaction.open_table(EXPIRY).map_err(failed)?;
            let (puts, deletes, ttl) = match write {
                Write::Touch => (vec![], vec![], None),
                Write::Put { key, value, expected, ttl } => {
                    let known = entries.get(&*key).map_err(failed)?;
                    let known = known.and_then(|bytes| postcard::from_bytes::<Record>(bytes.value()).ok());
                    if expected.is_some_and(|expected| known.map(|known| known.modified) != Some(expected)) {
                        return Err(StoreError::Conflict);
                    }
                    (vec![(key, value)], vec![], ttl)
                }
                Write::Delete { keys } => (vec![], keys, None),
                Write::Many { puts, deletes } => (puts, deletes, None),
            };
            for (key, value) in puts {
                let known = entries.get(&*key).map_err(failed)?;
                let known = known.and_then(|bytes| postcard::from_bytes::<Record>(bytes.value()).ok());
                let created = known.map_or(revision, |known| known.created);
                let record = Record { created, modified: revision, value };
                let bytes = postcard::to_stdvec(&record).map_err(failed)?;
                entries.insert(&*key, &*bytes).map_err(failed)?;
                match ttl {
                    Some(ttl) => expiry.insert(&*key, unix_seconds() + ttl).map_err(failed)?,
                    None => expiry.remove(&*key).map_err(failed)?,
                };
                changes.push(Stored { key, created, modified: revision, value: Some(record.value) });
            }
            for key in deletes {
                let known = entries.remove(&*key).map_err(failed)?;
                let known = known.map(|bytes| postcard::from_bytes::<Record>(bytes.value()));
                expiry.remove(&*key).map_err(failed)?;
                if let Some(known) = known {
                    let created = known.map_or(0, |known| known.created);
                    changes.push(Stored { key, created, modified: revision, value: None });
                }
            }
        }
        transaction.commit().map_err(failed)?;
        Ok((revision, changes))
    }

    /// Keys whose time is over.
    fn expired(&self) -> Result<Vec<String>, redb::Error> {
        let read = self.database.begin_read()?;
        let table = read.open_table(EXPIRY)?;
        let now = unix_seconds();
        let mut keys = Vec::new();
        for item in table.iter()? {
            let (key, at) = item?;
            if at.value() <= now {
                keys.push(key.value().to_owned());
            }
        }
        Ok(keys)
    }
}

/// A store has one owner besides the task that looks at expiry.
struct Shared(Rc<Embedded>);

impl Store for Shared {
    fn write(&self, write: Write) -> Wait<'_, Result<u64, StoreError>> {
        // the file is local and a commit takes milliseconds: other tasks of the control plane can wait that long
        Box::pin(async move { self.0.apply(write) })
    }
}

async fn expire(store: Weak<Embedded>) {
    loop {
        tokio::time::sleep(EXPIRY_TICK).await;
        let Some(store) = store.upgrade() else { return };
        if let Ok(keys) = store.expired()
            && !keys.is_empty()
        {
            // what fails is tried again at the next tick
            let _ = store.apply(Write::Delete { keys });
        }
    }
}

fn failed(error: impl std::fmt::Display) -> StoreError {
    StoreError::Failed(error.to_string())
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, expected: Option<u64>) -> Write {
        Write::Put { key: key.into(), value: b"{}".to_vec(), expected, ttl: None }
    }

    fn on_thread(test: impl AsyncFnOnce()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async { test().await });
    }

    #[test]
    fn revisions_go_on_and_conflicts_are_seen() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/store.redb");
        on_thread(async || {
            let Opened { store, mut events } = Embedded::start(Embedded::open(&path).unwrap()).unwrap();
            assert!(matches!(events.recv().await, Some(StoreEvent::Snapshot { revision: 1, .. })));
            assert_eq!(store.write(put("/a", None)).await.unwrap(), 2);
            assert_eq!(store.write(put("/a", Some(2))).await.unwrap(), 3);
            assert!(matches!(store.write(put("/a", Some(2))).await, Err(StoreError::Conflict)));
            assert_eq!(store.write(Write::Touch).await.unwrap(), 4);
            assert_eq!(store.write(Write::Delete { keys: vec!["/none".into()] }).await.unwrap(), 5);
            let Some(StoreEvent::Changes { revision: 2, changes }) = events.recv().await else { panic!() };
            assert_eq!((changes[0].created, changes[0].modified), (2, 2));
            let Some(StoreEvent::Changes { revision: 3, changes }) = events.recv().await else { panic!() };
            assert_eq!((changes[0].created, changes[0].modified), (2, 3));
        });
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions()) & 0o777,
            0o600
        );
        on_thread(async || {
            let Opened { mut events, .. } = Embedded::start(Embedded::open(&path).unwrap()).unwrap();
            let Some(StoreEvent::Snapshot { revision: 5, entries }) = events.recv().await else { panic!() };
            assert_eq!(entries.len(), 1);
        });
    }

    #[test]
    fn keys_expire() {
        let directory = tempfile::tempdir().unwrap();
        on_thread(async || {
            let database = Embedded::open(&directory.path().join("s")).unwrap();
            let Opened { store, mut events } = Embedded::start(database).unwrap();
            let write = Write::Put { key: "/a".into(), value: vec![], expected: None, ttl: Some(0) };
            store.write(write).await.unwrap();
            let gone = async {
                while let Some(event) = events.recv().await {
                    if matches!(&event, StoreEvent::Changes { changes, .. } if changes[0].value.is_none()) {
                        return;
                    }
                }
            };
            tokio::time::timeout(Duration::from_secs(10), gone).await.unwrap();
        });
    }
}
