//! Where resources are kept.
//!
//! A store numbers changes like etcd does: every write has a revision, one more than the one before; a key has the
//! revision that created it and the one that changed it last. Whatever changes, by whose hand ever, comes out of its
//! watch, in order.

mod embedded;
mod yaml;

use std::pin::Pin;

use tokio::sync::mpsc::UnboundedReceiver;

pub use embedded::Embedded;
pub use yaml::Yaml;

/// Something to wait for.
pub type Wait<'s, T> = Pin<Box<dyn Future<Output = T> + 's>>;

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The whole key: `/apisix/routes/1`.
    pub key: String,
    /// The revision that created it.
    pub created: u64,
    /// The revision that changed it last.
    pub modified: u64,
    /// The value; `None`: it was removed by revision `modified`.
    pub value: Option<Vec<u8>>,
}

/// What a watch says.
#[derive(Debug)]
pub enum StoreEvent {
    /// Everything, as of a revision: at the beginning, and when changes may have been missed.
    Snapshot {
        /// The revision.
        revision: u64,
        /// All keys.
        entries: Vec<Stored>,
    },
    /// Changes up to a revision.
    Changes {
        /// The revision after them.
        revision: u64,
        /// The keys that changed.
        changes: Vec<Stored>,
    },
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The key was changed meanwhile.
    #[error("the resource was changed meanwhile")]
    Conflict,
    /// The store is a file that people write.
    #[error("the configuration is kept in a file, change it there")]
    ReadOnly,
    /// The store cannot be reached or is broken.
    #[error("{0}")]
    Failed(String),
}

/// One write.
#[derive(Debug, Clone)]
pub enum Write {
    /// Sets a key.
    Put {
        /// The key.
        key: String,
        /// The value.
        value: Vec<u8>,
        /// The revision that must have changed it last, if that matters.
        expected: Option<u64>,
        /// Seconds after which it goes away by itself.
        ttl: Option<u64>,
    },
    /// Removes keys.
    Delete {
        /// The keys.
        keys: Vec<String>,
    },
    /// Sets and removes keys, all or none.
    Many {
        /// Keys with their values.
        puts: Vec<(String, Vec<u8>)>,
        /// Keys that go.
        deletes: Vec<String>,
    },
    /// Takes a revision and changes nothing: ids are made from it.
    Touch,
}

/// A store.
pub trait Store {
    /// Carries out a write; the result is its revision.
    fn write(&self, write: Write) -> Wait<'_, Result<u64, StoreError>>;
}

/// A store and what comes out of its watch.
pub struct Opened {
    /// The store.
    pub store: Box<dyn Store>,
    /// Its watch; ends with the store.
    pub events: UnboundedReceiver<StoreEvent>,
}
