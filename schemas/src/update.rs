//! What the control plane sends to workers, and what they answer.
//!
//! An [`Update`] travels as postcard in a sealed memfd; its descriptor goes along with a [`Message`] over a SEQPACKET
//! socket of its own. A worker answers each with an [`Ack`].

use serde::{Deserialize, Serialize};

use crate::Key;

/// One resource as it is from a revision on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Which.
    pub key: Key,
    /// The revision that created it.
    pub created: u64,
    /// The revision of this change.
    pub modified: u64,
    /// Its JSON; `None`: it is gone.
    pub value: Option<Vec<u8>>,
}

/// Changes that lead from one revision to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// The revision it builds on; `None`: it is a snapshot and replaces everything.
    pub from: Option<u64>,
    /// The revision after it.
    pub to: u64,
    /// The changes, ordered so that what others refer to comes first.
    pub changes: Vec<Change>,
}

/// An update that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("update cannot be read: {0}")]
pub struct UpdateError(postcard::Error);

impl Update {
    /// As bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, UpdateError> {
        postcard::to_stdvec(self).map_err(UpdateError)
    }

    /// From bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, UpdateError> {
        postcard::from_bytes(bytes).map_err(UpdateError)
    }
}

/// Control plane to worker: an update whose memfd comes along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The revision after it.
    pub to: u64,
    /// Bytes in the memfd.
    pub len: u64,
}

/// Worker to control plane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ack {
    /// The worker serves this revision.
    Applied {
        /// The revision.
        revision: u64,
        /// Microseconds it took.
        took_us: u64,
        /// Objects that could not be used, with the reason; their last good version goes on serving.
        refused: Vec<(Key, String)>,
    },
    /// The update does not fit: a snapshot is needed.
    Refused {
        /// What the worker serves.
        revision: u64,
        /// Why.
        reason: String,
    },
}

impl Message {
    /// As bytes.
    pub fn to_bytes(self) -> Result<Vec<u8>, UpdateError> {
        postcard::to_stdvec(&self).map_err(UpdateError)
    }

    /// From bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, UpdateError> {
        postcard::from_bytes(bytes).map_err(UpdateError)
    }
}

impl Ack {
    /// As bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, UpdateError> {
        postcard::to_stdvec(self).map_err(UpdateError)
    }

    /// From bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, UpdateError> {
        postcard::from_bytes(bytes).map_err(UpdateError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    #[test]
    fn updates_travel() {
        let change =
            Change { key: Key::new(Kind::Route, "1"), created: 3, modified: 5, value: Some(b"{}".to_vec()) };
        let update = Update { from: Some(4), to: 5, changes: vec![change] };
        assert_eq!(Update::from_bytes(&update.to_bytes().unwrap()).unwrap(), update);
        assert!(Update::from_bytes(b"\xff\xff").is_err());
    }
}
