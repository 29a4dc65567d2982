//! Log files whose name the request decides: `access_log /logs/$host.log`, and `open_log_file_cache`.
//!
//! Without a cache the file is opened and closed for every line, as in nginx; with one, files that are used often enough
//! stay open. Opening is synchronous: a log belongs to a local disk, and the request's response is on its way already.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::rc::Rc;

use crate::log::{Level, Trouble, open_to_append};
use crate::request::Request;
use crate::script::Template;

/// A file named by a template.
pub struct NamedFile {
    name: Template,
    trouble: Trouble,
}

impl NamedFile {
    pub(super) fn new(name: Template) -> Self {
        Self { name, trouble: Trouble::default() }
    }

    /// Writes one line to the file of `req`. Nothing is written for a document root that does not exist: names made of
    /// what clients send must not create files at will (nginx's rule).
    pub(super) fn write(&self, req: &mut Request, line: &[u8], cache: Option<&FileCache>) {
        let root = req.document_root();
        let path = Path::new(OsStr::from_bytes(&root));
        let exists = std::fs::metadata(path).and_then(|found| {
            let not_directory = || io::Error::from_raw_os_error(nix::libc::ENOTDIR);
            found.is_dir().then_some(()).ok_or_else(not_directory)
        });
        if let Err(error) = exists {
            let error = conf::error::errno(&error);
            return req.log(
                Level::Error,
                format_args!("testing \"{}\" existence failed ({error})", path.display()),
            );
        }
        let name = self.name.eval(req);
        if self.trouble.is_full() {
            return self.trouble.dropped(line);
        }
        let path = Path::new(OsStr::from_bytes(&name));
        let opened = match cache {
            None => open_to_append(path).map(Rc::new),
            Some(cache) => cache.open(&name),
        };
        match opened {
            Err(error) => {
                let error = conf::error::errno(&error);
                req.log(Level::Crit, format_args!("open() \"{}\" failed ({error})", path.display()));
            }
            Ok(file) => {
                if let Err(error) = (&*file).write_all(line) {
                    self.trouble.happened(&path.to_string_lossy(), &error);
                    self.trouble.dropped(line);
                }
            }
        }
    }
}

/// What `open_log_file_cache` says.
#[derive(Debug, Clone, Copy)]
pub struct CacheOptions {
    /// Most files remembered.
    pub max: usize,
    /// A file not used for so long is forgotten, ms.
    pub inactive_ms: u64,
    /// Uses within that time from which on a file stays open.
    pub min_uses: usize,
    /// How often it is checked that the name still leads to the open file, ms.
    pub valid_ms: u64,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self { max: 0, inactive_ms: 10_000, min_uses: 1, valid_ms: 60_000 }
    }
}

/// Open files by name.
pub struct FileCache {
    options: CacheOptions,
    inner: RefCell<Inner>,
}

#[derive(Default)]
struct Inner {
    by_name: HashMap<Rc<[u8]>, Entry>,
    /// Names by the number of their last use: the first is the least recently used.
    by_use: BTreeMap<u64, Rc<[u8]>>,
    uses: u64,
}

struct Entry {
    file: Option<Rc<File>>,
    uses: usize,
    used: u64,
    used_ms: u64,
    checked_ms: u64,
}

impl FileCache {
    pub(super) fn new(options: CacheOptions) -> Self {
        Self { options, inner: RefCell::default() }
    }

    fn open(&self, name: &[u8]) -> io::Result<Rc<File>> {
        self.open_at(name, net::now().0)
    }

    fn open_at(&self, name: &[u8], now_ms: u64) -> io::Result<Rc<File>> {
        let options = &self.options;
        let mut inner = self.inner.borrow_mut();
        inner.forget_idle(now_ms, options.inactive_ms);
        let path = Path::new(OsStr::from_bytes(name));
        let open_file = inner.by_name.get_mut(name).and_then(|entry| {
            let file = Rc::clone(entry.file.as_ref()?);
            if now_ms.saturating_sub(entry.checked_ms) >= options.valid_ms {
                entry.checked_ms = now_ms;
                if !leads_to(path, &file) {
                    entry.file = None;
                    return None;
                }
            }
            Some(file)
        });
        let file = match open_file {
            Some(file) => file,
            None => Rc::new(open_to_append(path)?),
        };
        inner.used(name, &file, options, now_ms);
        Ok(file)
    }
}

fn leads_to(path: &Path, file: &File) -> bool {
    match (std::fs::metadata(path), file.metadata()) {
        (Ok(named), Ok(open)) => named.ino() == open.ino() && named.dev() == open.dev(),
        _ => false,
    }
}

impl Inner {
    fn forget_idle(&mut self, now_ms: u64, inactive_ms: u64) {
        while let Some((_, name)) = self.by_use.first_key_value() {
            let idle = self
                .by_name
                .get(name)
                .is_none_or(|entry| now_ms.saturating_sub(entry.used_ms) >= inactive_ms);
            if !idle {
                return;
            }
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, name)) = self.by_use.pop_first() {
            self.by_name.remove(&name);
        }
    }

    fn used(&mut self, name: &[u8], file: &Rc<File>, options: &CacheOptions, now_ms: u64) {
        self.uses += 1;
        let number = self.uses;
        if let Some(entry) = self.by_name.get_mut(name) {
            let key = self.by_use.remove(&entry.used);
            entry.uses += 1;
            (entry.used, entry.used_ms) = (number, now_ms);
            if entry.file.is_none() && entry.uses >= options.min_uses {
                entry.file = Some(Rc::clone(file));
                entry.checked_ms = now_ms;
            }
            self.by_use.extend(key.map(|key| (number, key)));
            return;
        }
        if self.by_name.len() >= options.max {
            self.forget_oldest();
        }
        let key: Rc<[u8]> = name.into();
        let kept = (options.min_uses <= 1).then(|| Rc::clone(file));
        let entry = Entry { file: kept, uses: 1, used: number, used_ms: now_ms, checked_ms: now_ms };
        self.by_name.insert(Rc::clone(&key), entry);
        self.by_use.insert(number, key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_stay_open_after_enough_uses_and_until_they_move() {
        let dir = std::env::temp_dir().join(format!("uresty-named-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let name = |n: &str| dir.join(n).into_os_string().into_encoded_bytes();
        let options = CacheOptions { max: 2, inactive_ms: 100, min_uses: 2, valid_ms: 50 };
        let cache = FileCache::new(options);
        let kept = |n: &str| cache.inner.borrow().by_name.get(&*name(n)).map(|e| e.file.is_some());
        for (file, at, expected) in [("a", 0, false), ("a", 1, true), ("b", 2, false), ("b", 3, true)] {
            cache.open_at(&name(file), at).unwrap();
            assert_eq!(kept(file), Some(expected), "{file} at {at}");
        }
        cache.open_at(&name("c"), 4).unwrap();
        assert_eq!(kept("a"), None, "least recently used");
        let before = cache.open_at(&name("b"), 40).unwrap();
        std::fs::remove_file(dir.join("b")).unwrap();
        assert!(Rc::ptr_eq(&before, &cache.open_at(&name("b"), 41).unwrap()), "not checked yet");
        assert!(!Rc::ptr_eq(&before, &cache.open_at(&name("b"), 60).unwrap()), "checked and opened again");
        cache.open_at(&name("d"), 200).unwrap();
        assert_eq!(kept("b"), None, "idle");
        std::fs::remove_dir_all(dir).unwrap();
    }
}
