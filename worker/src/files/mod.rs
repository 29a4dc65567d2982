//! Files that responses are made of: looking at them, opening them, sending them.
//!
//! Everything that turns a URI into a file (`static`, `index`, `gzip_static`, `try_files`, …) goes through
//! [`Request::open_file`] and [`Request::stat_file`], so that `open_file_cache` and `disable_symlinks` hold everywhere.

mod cache;
mod conf;
mod list;
mod open;
mod send;
mod symlinks;

use std::ffi::OsStr;
use std::fmt;
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::rc::Rc;

use nix::libc;

pub use cache::FileCache;
pub use conf::{CONF, DIRECTIVES, FilesConf, FilesSettings};
pub use list::Entry;
pub use send::{send_file, set_head};
pub use symlinks::{SymlinkRule, Symlinks};

use crate::log::Level;
use crate::phase::Flow;
use crate::request::Request;

/// What a name leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A device, pipe or socket.
    Other,
}

/// What is known of a file without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileInfo {
    /// What it is.
    pub kind: FileKind,
    /// Its size in bytes.
    pub size: u64,
    /// When it was changed last, in seconds since the epoch.
    pub mtime: i64,
    /// Whether its owner may execute it.
    pub executable: bool,
    /// Its inode: whether a name still leads to the same file.
    pub inode: u64,
}

impl FileInfo {
    fn of(metadata: &Metadata) -> Self {
        let kind = match metadata.file_type() {
            kind if kind.is_file() => FileKind::Regular,
            kind if kind.is_dir() => FileKind::Directory,
            _ => FileKind::Other,
        };
        const OWNER_MAY_EXECUTE: u32 = 0o100;
        let executable = metadata.mode() & OWNER_MAY_EXECUTE != 0;
        Self { kind, size: metadata.len(), mtime: metadata.mtime(), executable, inode: metadata.ino() }
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind == FileKind::Directory
    }

    /// Whether it is a regular file.
    pub fn is_regular(&self) -> bool {
        self.kind == FileKind::Regular
    }
}

/// What opening a name gave.
pub enum Opened {
    /// A file, or something else that can be read.
    File(OpenFile),
    /// A directory.
    Directory(FileInfo),
}

/// An open file.
#[derive(Clone)]
pub struct OpenFile {
    /// The file.
    pub file: Rc<net::File>,
    /// What it was when it was opened.
    pub info: FileInfo,
}

/// Why a file could not be opened or looked at.
#[derive(Debug)]
pub struct FileError {
    /// The system's answer.
    pub error: io::Error,
    /// What was tried, as nginx names it: `open()`, `stat()`, `openat()`.
    pub call: &'static str,
}

impl FileError {
    fn new(call: &'static str, error: io::Error) -> Self {
        Self { error, call }
    }

    /// The system's error number; 0 when there is none.
    pub fn errno(&self) -> i32 {
        self.error.raw_os_error().unwrap_or(0)
    }

    /// There is nothing of that name.
    pub fn is_not_found(&self) -> bool {
        matches!(self.errno(), libc::ENOENT | libc::ENOTDIR | libc::ENAMETOOLONG)
    }

    /// Permissions or `disable_symlinks` forbid it.
    pub fn is_forbidden(&self) -> bool {
        matches!(self.errno(), libc::EACCES | libc::EMLINK | libc::ELOOP)
    }

    /// How a request for the file is answered: 404, 403 or 500.
    pub fn flow(&self) -> Flow {
        Flow::Status(if self.is_not_found() {
            404
        } else if self.is_forbidden() {
            403
        } else {
            500
        })
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed ({})", self.call, ::conf::error::errno(&self.error))
    }
}

impl Request {
    /// Opens the file called `path` for reading.
    pub async fn open_file(&mut self, path: &[u8]) -> Result<Opened, FileError> {
        let conf = self.location.confs.share(&CONF);
        let symlinks = conf.symlinks.for_path(self, path);
        match &conf.cache {
            None => open::open(path, symlinks).await,
            Some(cache) => cache.open(path, symlinks, &conf).await,
        }
    }

    /// Looks at the file called `path` without opening it.
    pub async fn stat_file(&mut self, path: &[u8]) -> Result<FileInfo, FileError> {
        let conf = self.location.confs.share(&CONF);
        let symlinks = conf.symlinks.for_path(self, path);
        match &conf.cache {
            None => open::stat(path, symlinks).await,
            Some(cache) => cache.stat(path, symlinks, &conf).await,
        }
    }

    /// Logs a failed attempt on `path` as nginx does and says how to answer.
    pub fn refuse_file(&self, path: &[u8], failure: &FileError) -> Flow {
        let flow = failure.flow();
        let level = if matches!(flow, Flow::Status(500)) { Level::Crit } else { Level::Error };
        if !failure.is_not_found() || self.http().log_not_found {
            self.log_file(level, path, failure);
        }
        flow
    }

    /// Logs a failed attempt on `path`.
    pub fn log_file(&self, level: Level, path: &[u8], failure: &FileError) {
        let errno = ::conf::error::errno(&failure.error);
        self.log(level, format_args!("{} \"{}\" failed ({errno})", failure.call, path.escape_ascii()));
    }
}

/// A file name as the system takes it.
pub fn as_path(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}
