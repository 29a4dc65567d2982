//! Responses of upstream servers kept on disk: `proxy_cache` and its siblings.
//!
//! ```text
//!  lookup ──► Hit ───────────────────────────────► served from its file
//!    │  ├───► Stale, Updating ── allowed ────────► served, and perhaps updated behind the request's back
//!    │  └───► Expired ─┐
//!    └──────► Miss ────┴──► passed on ──► stored while it is relayed
//!                              ├─ 304 ──► Revalidated: the old file is served, its times are renewed
//!                              └─ error ► Stale, where `use_stale` allows it
//! ```
//!
//! A response is one file: times and the key ([`file`]), the head as the server sent it, the body. Which files there are all
//! workers know from shared memory ([`shm::CacheIndex`]); a file is written aside and renamed when it is complete, so nobody
//! ever sees half of one. One worker sees to what is too old or too much ([`manager`]).

mod file;
mod freshness;
mod key;
mod lookup;
mod manager;
mod plan;
mod saver;
mod serve;
mod status;
mod vary;

pub(crate) use freshness::Freshness;
pub(crate) use lookup::{Found, lookup};
pub use manager::start;
pub use plan::{Plan, Valid, Which};
pub use saver::Store;
pub(crate) use saver::{Saver, saver};
pub(crate) use serve::{answered_instead, failed_instead, note_head, offers_ranges, remember_error, serve};
pub use status::Status;
pub(crate) use status::Use;

use std::cell::OnceCell;
use std::path::PathBuf;
use std::rc::Rc;

use shm::CacheIndex;
use shm::cache::Key;

use crate::fault::Fault;
use crate::temp::TempPath;
use crate::zone::ZoneRef;

/// One `proxy_cache_path`.
pub struct Cache {
    /// `keys_zone`.
    pub zone: ZoneRef,
    /// The directory.
    pub dir: PathBuf,
    /// `levels`: widths of subdirectories' names.
    pub levels: Vec<usize>,
    /// `inactive` in seconds.
    pub inactive: u64,
    /// `max_size` in bytes; `None`: no limit.
    pub size_max: Option<u64>,
    /// `min_free` in bytes; 0: no limit.
    pub free_min: u64,
    /// Where responses are written before they are complete: `None` with `use_temp_path=on`, the location's then.
    pub temp: Option<Rc<TempPath>>,
    /// `manager_files`, `manager_sleep`, `manager_threshold`.
    pub manager: Pace,
    /// `loader_files`, `loader_sleep`, `loader_threshold`.
    pub loader: Pace,
    /// The zone's memory, opened on first use.
    pub index: OnceCell<CacheIndex>,
}

/// How much is done before others get a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Files.
    pub files: u64,
    /// Pause between two spells, ms.
    pub sleep_ms: u64,
    /// Longest spell, ms.
    pub threshold_ms: u64,
}

impl Default for Pace {
    /// nginx's defaults.
    fn default() -> Self {
        Self { files: 100, sleep_ms: 50, threshold_ms: 200 }
    }
}

impl Cache {
    /// The name of its zone.
    pub fn name(&self) -> &str {
        &self.zone.name
    }

    /// What is known of its files.
    fn index(&self) -> Result<&CacheIndex, Fault> {
        if let Some(index) = self.index.get() {
            return Ok(index);
        }
        let trouble = |error: &dyn std::fmt::Display| {
            Fault::internal(format!("cache keys zone \"{}\": {error}", self.name()))
        };
        let zone = self.zone.memory().ok_or_else(|| trouble(&"the zone is not attached"))?;
        let opened = CacheIndex::open(zone).map_err(|error| trouble(&error))?;
        Ok(self.index.get_or_init(|| opened))
    }

    /// Runs `work` on the index.
    fn with<T>(&self, work: impl FnOnce(&CacheIndex) -> shm::Result<T>) -> Result<T, Fault> {
        let result = work(self.index()?);
        result.map_err(|error| Fault::internal(format!("cache keys zone \"{}\": {error}", self.name())))
    }

    /// The file of `key`, and the directory it stands in.
    fn path(&self, key: &Key) -> (PathBuf, PathBuf) {
        let name = key::hex(key);
        let mut dir = self.dir.clone();
        let mut end = name.len();
        for width in &self.levels {
            dir.push(&name[end - width..end]);
            end -= width;
        }
        let path = dir.join(name);
        (dir, path)
    }

    /// Removes the files of entries that had to go.
    async fn remove_files(&self, keys: &[Key]) {
        for key in keys {
            let (_, path) = self.path(key);
            manager::unlink(&path).await;
        }
    }
}
