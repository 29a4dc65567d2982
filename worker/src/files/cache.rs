//! `open_file_cache`: files kept open, and what is known of names.
//!
//! ```text
//!   (none) ──open──► Open ◄──used often enough── Known      Failed (only with open_file_cache_errors)
//!                      └── each is trusted for open_file_cache_valid, then checked: the same inode stays open ──┘
//! ```
//!
//! Each worker has its own. Entries that were not used for `inactive` are dropped one or two at a time as others are used, so
//! that no request pays for all of them.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::rc::Rc;

use super::conf::FilesConf;
use super::open;
use super::symlinks::Symlinks;
use super::{FileError, FileInfo, OpenFile, Opened};

/// Inactive entries dropped with each use.
const DROPPED_PER_USE_MAX: usize = 2;

/// A cache of open files.
pub struct FileCache {
    max: usize,
    inactive_ms: u64,
    inner: RefCell<Inner>,
}

#[derive(Default)]
struct Inner {
    entries: HashMap<Rc<[u8]>, Entry>,
    /// Names by their last use, the oldest first.
    order: BTreeMap<u64, Rc<[u8]>>,
    /// Number of the next use.
    next: u64,
}

struct Entry {
    state: State,
    symlinks: Symlinks,
    checked_ms: u64,
    used_ms: u64,
    uses: u64,
    /// Key in [`Inner::order`].
    place: u64,
}

#[derive(Clone)]
enum State {
    /// Kept open.
    Open(OpenFile),
    /// A directory, or a file that is not used often enough to be kept open.
    Known(FileInfo),
    /// The error number of the last attempt.
    Failed(i32),
}

/// What the cache says about a name.
enum Found {
    Nothing,
    Fresh(State),
    /// Must be checked.
    Stale(State),
}

impl FileCache {
    /// A cache for at most `max` names, each kept for `inactive` seconds after its last use.
    pub fn new(max: usize, inactive: u64) -> Self {
        Self { max, inactive_ms: inactive.saturating_mul(1000), inner: RefCell::default() }
    }

    /// Opens `path`, from the cache if it is there.
    pub(super) async fn open(
        &self,
        path: &[u8],
        symlinks: Symlinks,
        conf: &FilesConf,
    ) -> Result<Opened, FileError> {
        match self.find(path, symlinks, conf) {
            Found::Fresh(State::Open(open)) => return Ok(Opened::File(open)),
            Found::Fresh(State::Known(info)) if info.is_dir() => return Ok(Opened::Directory(info)),
            Found::Fresh(State::Failed(errno)) => return Err(cached_failure(symlinks, errno)),
            Found::Stale(State::Open(open)) => {
                let info = open::stat(path, symlinks).await;
                let info = info.inspect_err(|failure| self.keep_failure(path, symlinks, conf, failure))?;
                if info.inode == open.info.inode {
                    let open = OpenFile { file: open.file, info };
                    self.keep(path, symlinks, conf, State::Open(open.clone()));
                    return Ok(Opened::File(open));
                }
            }
            _ => {}
        }
        let opened = open::open(path, symlinks).await;
        let opened = opened.inspect_err(|failure| self.keep_failure(path, symlinks, conf, failure))?;
        let state = match &opened {
            Opened::File(open) => State::Open(open.clone()),
            Opened::Directory(info) => State::Known(*info),
        };
        self.keep(path, symlinks, conf, state);
        Ok(opened)
    }

    /// Looks at `path`, from the cache if it is there.
    pub(super) async fn stat(
        &self,
        path: &[u8],
        symlinks: Symlinks,
        conf: &FilesConf,
    ) -> Result<FileInfo, FileError> {
        let found = self.find(path, symlinks, conf);
        match &found {
            Found::Fresh(State::Open(open)) => return Ok(open.info),
            Found::Fresh(State::Known(info)) => return Ok(*info),
            Found::Fresh(State::Failed(errno)) => return Err(cached_failure(symlinks, *errno)),
            Found::Stale(_) | Found::Nothing => {}
        }
        let info = open::stat(path, symlinks).await;
        let info = info.inspect_err(|failure| self.keep_failure(path, symlinks, conf, failure))?;
        let state = match found {
            Found::Stale(State::Open(open)) if open.info.inode == info.inode => {
                State::Open(OpenFile { file: open.file, info })
            }
            _ => State::Known(info),
        };
        self.keep(path, symlinks, conf, state);
        Ok(info)
    }

    fn find(&self, path: &[u8], symlinks: Symlinks, conf: &FilesConf) -> Found {
        let now = net::now().0;
        let inner = &mut *self.inner.borrow_mut();
        inner.drop_inactive(now, self.inactive_ms);
        let Some(entry) = inner.entries.get_mut(path) else { return Found::Nothing };
        if let Some(name) = inner.order.remove(&entry.place) {
            inner.order.insert(inner.next, name);
            entry.place = inner.next;
            inner.next += 1;
        }
        entry.uses += 1;
        entry.used_ms = now;
        let age = now.saturating_sub(entry.checked_ms);
        let state = entry.state.clone();
        if age < conf.cache_valid.saturating_mul(1000) && entry.symlinks == symlinks {
            Found::Fresh(state)
        } else {
            Found::Stale(state)
        }
    }

    fn keep(&self, path: &[u8], symlinks: Symlinks, conf: &FilesConf, state: State) {
        let now = net::now().0;
        let inner = &mut *self.inner.borrow_mut();
        if !inner.entries.contains_key(path) {
            inner.add(path, symlinks, now, self.max);
        }
        let Some(entry) = inner.entries.get_mut(path) else { return };
        entry.checked_ms = now;
        entry.symlinks = symlinks;
        entry.state = match state {
            State::Open(open) if entry.uses < conf.cache_min_uses => State::Known(open.info),
            state => state,
        };
    }

    fn keep_failure(&self, path: &[u8], symlinks: Symlinks, conf: &FilesConf, failure: &FileError) {
        if conf.cache_errors && failure.errno() != 0 {
            self.keep(path, symlinks, conf, State::Failed(failure.errno()));
        } else {
            self.inner.borrow_mut().remove(path);
        }
    }
}

impl Inner {
    fn add(&mut self, path: &[u8], symlinks: Symlinks, now: u64, max: usize) {
        if self.entries.len() >= max
            && let Some((_, name)) = self.order.pop_first()
        {
            self.entries.remove(&name);
        }
        let name: Rc<[u8]> = path.into();
        let place = self.next;
        self.next += 1;
        self.order.insert(place, Rc::clone(&name));
        let state = State::Failed(0);
        self.entries.insert(name, Entry { state, symlinks, checked_ms: now, used_ms: now, uses: 1, place });
    }

    fn remove(&mut self, path: &[u8]) {
        if let Some(entry) = self.entries.remove(path) {
            self.order.remove(&entry.place);
        }
    }

    fn drop_inactive(&mut self, now: u64, inactive_ms: u64) {
        for _ in 0..DROPPED_PER_USE_MAX {
            let Some((_, name)) = self.order.first_key_value() else { return };
            let entry = self.entries.get(name);
            if entry.is_some_and(|entry| now.saturating_sub(entry.used_ms) <= inactive_ms) {
                return;
            }
            let name = Rc::clone(name);
            self.remove(&name);
        }
    }
}

fn cached_failure(symlinks: Symlinks, errno: i32) -> FileError {
    let call = if symlinks == Symlinks::Follow { "open()" } else { "openat()" };
    FileError::new(call, io::Error::from_raw_os_error(errno))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::FileKind;

    fn info(inode: u64) -> FileInfo {
        FileInfo { kind: FileKind::Directory, size: 0, mtime: 0, executable: false, inode }
    }

    fn names(cache: &FileCache) -> Vec<String> {
        let inner = cache.inner.borrow();
        assert_eq!(inner.order.len(), inner.entries.len());
        inner.order.values().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
    }

    #[test]
    fn the_least_recently_used_name_makes_room() {
        let (cache, conf) = (FileCache::new(2, 60), FilesConf::default());
        let keep = |name: &str| cache.keep(name.as_bytes(), Symlinks::Follow, &conf, State::Known(info(1)));
        keep("a");
        keep("b");
        assert!(matches!(cache.find(b"a", Symlinks::Follow, &conf), Found::Fresh(State::Known(_))));
        keep("c");
        assert_eq!(names(&cache), ["a", "c"]);
        assert!(matches!(cache.find(b"b", Symlinks::Follow, &conf), Found::Nothing));
        let other = Symlinks::Refuse { from: 0 };
        assert!(matches!(cache.find(b"a", other, &conf), Found::Stale(State::Known(_))));
    }

    #[test]
    fn failures_are_kept_only_when_asked_for() {
        let cache = FileCache::new(8, 60);
        let failure = FileError::new("open()", io::Error::from_raw_os_error(2));
        let mut conf = FilesConf::default();
        cache.keep_failure(b"a", Symlinks::Follow, &conf, &failure);
        assert!(names(&cache).is_empty());
        conf.cache_errors = true;
        cache.keep_failure(b"a", Symlinks::Follow, &conf, &failure);
        assert!(matches!(cache.find(b"a", Symlinks::Follow, &conf), Found::Fresh(State::Failed(2))));
    }

    #[test]
    fn nothing_is_trusted_when_nothing_is_valid() {
        let cache = FileCache::new(8, 0);
        let conf = FilesConf { cache_valid: 0, ..FilesConf::default() };
        cache.keep(b"a", Symlinks::Follow, &conf, State::Known(info(1)));
        assert!(matches!(cache.find(b"a", Symlinks::Follow, &conf), Found::Stale(State::Known(_))));
    }
}
