//! Files and trees: looking, removing, copying, renaming. Everything runs beside the loop, and no link is followed on the way
//! down.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::libc;

use super::parent;

/// Directories inside directories a tree may have.
const DEPTH_MAX: usize = 256;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
    /// A link, a device, …
    Other,
}

impl Kind {
    fn of(kind: fs::FileType) -> Self {
        match kind {
            _ if kind.is_dir() => Self::Directory,
            _ if kind.is_file() => Self::File,
            _ => Self::Other,
        }
    }
}

/// A failed operation.
#[derive(Debug)]
pub(super) struct Failed {
    call: &'static str,
    path: PathBuf,
    error: io::Error,
}

impl Failed {
    pub(super) fn new(call: &'static str, path: &Path, error: io::Error) -> Self {
        Self { call, path: path.to_owned(), error }
    }

    pub(super) fn errno(&self) -> i32 {
        self.error.raw_os_error().unwrap_or(0)
    }

    pub(super) fn is(&self, errno: i32) -> bool {
        self.errno() == errno
    }

    /// There is nothing of that name.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self.errno(), libc::ENOENT | libc::ENOTDIR | libc::ENAMETOOLONG)
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errno = ::conf::error::errno(&self.error);
        write!(f, "{} \"{}\" failed ({errno})", self.call, self.path.display())
    }
}

/// Runs `work` on a thread of its own.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failed> + Send + 'static,
) -> Result<T, Failed> {
    match net::blocking(move || Ok(work())).await {
        Ok(result) => result,
        Err(error) => Err(Failed::new("thread", Path::new(""), error)),
    }
}

/// What `path` is, itself and not what it leads to.
pub(super) async fn look(path: PathBuf) -> Result<Kind, Failed> {
    blocking(move || kind_of(&path)).await
}

fn kind_of(path: &Path) -> Result<Kind, Failed> {
    let metadata = fs::symlink_metadata(path).map_err(|error| Failed::new("lstat()", path, error))?;
    Ok(Kind::of(metadata.file_type()))
}

/// Makes one directory.
pub(super) async fn make_directory(path: PathBuf, mode: u32) -> Result<(), Failed> {
    blocking(move || make(&path, mode)).await
}

fn make(path: &Path, mode: u32) -> Result<(), Failed> {
    DirBuilder::new().mode(mode).create(path).map_err(|error| Failed::new("mkdir()", path, error))
}

/// Makes the directories above `path` that are missing.
pub(super) fn create_parents(path: &Path, mode: u32) -> Result<(), Failed> {
    let above = parent(path);
    let made = DirBuilder::new().recursive(true).mode(mode).create(above);
    made.map_err(|error| Failed::new("mkdir()", above, error))
}

/// Removes a file, a link, or a tree.
pub(super) async fn remove(path: PathBuf, kind: Kind) -> Result<(), Failed> {
    blocking(move || remove_now(&path, kind)).await
}

fn remove_now(path: &Path, kind: Kind) -> Result<(), Failed> {
    if kind == Kind::Directory {
        // the standard library's walk follows no links, even if one appears while it is under way
        return fs::remove_dir_all(path).map_err(|error| Failed::new("rmdir()", path, error));
    }
    fs::remove_file(path).map_err(|error| Failed::new("unlink()", path, error))
}

/// Copies a file or a tree.
pub(super) async fn copy(from: PathBuf, to: PathBuf, kind: Kind) -> Result<(), Failed> {
    blocking(move || copy_now(&from, &to, kind, 0)).await
}

fn copy_now(from: &Path, to: &Path, kind: Kind, depth: usize) -> Result<(), Failed> {
    match kind {
        Kind::Directory if depth == DEPTH_MAX => {
            Err(Failed::new("mkdir()", to, io::Error::from_raw_os_error(libc::ELOOP)))
        }
        Kind::Directory => copy_directory(from, to, depth),
        Kind::File => copy_file(from, to),
        // links and devices are left behind
        Kind::Other if depth > 0 => Ok(()),
        Kind::Other => Err(Failed::new("open()", from, io::Error::from_raw_os_error(libc::ELOOP))),
    }
}

fn copy_directory(from: &Path, to: &Path, depth: usize) -> Result<(), Failed> {
    let metadata = fs::symlink_metadata(from).map_err(|error| Failed::new("lstat()", from, error))?;
    make(to, metadata.mode() & 0o777)?;
    let entries = fs::read_dir(from).map_err(|error| Failed::new("opendir()", from, error))?;
    for entry in entries {
        let entry = entry.map_err(|error| Failed::new("readdir()", from, error))?;
        let kind = entry.file_type().map_err(|error| Failed::new("lstat()", from, error))?;
        copy_now(&entry.path(), &to.join(entry.file_name()), Kind::of(kind), depth + 1)?;
    }
    if let (Ok(modified), Ok(directory)) = (metadata.modified(), File::open(to)) {
        // times are a courtesy
        let _ = directory.set_modified(modified);
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> Result<(), Failed> {
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(from);
    let mut source = opened.map_err(|error| Failed::new("open()", from, error))?;
    let metadata = source.metadata().map_err(|error| Failed::new("fstat()", from, error))?;
    let opened = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(metadata.mode() & 0o777)
        .custom_flags(libc::O_NOFOLLOW)
        .open(to);
    let mut target = opened.map_err(|error| Failed::new("open()", to, error))?;
    io::copy(&mut source, &mut target).map_err(|error| Failed::new("write()", to, error))?;
    if let Ok(modified) = metadata.modified() {
        // times are a courtesy
        let _ = target.set_modified(modified);
    }
    Ok(())
}

/// Moves a file or a tree; across file systems it is copied and removed.
pub(super) async fn rename(from: PathBuf, to: PathBuf, kind: Kind, mode: u32) -> Result<(), Failed> {
    blocking(move || {
        let mut renamed = fs::rename(&from, &to);
        if kind != Kind::Directory
            && renamed.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        {
            kind_of(&from)?;
            create_parents(&to, mode)?;
            renamed = fs::rename(&from, &to);
        }
        match renamed {
            Err(error) if error.raw_os_error() == Some(libc::EXDEV) => {
                copy_now(&from, &to, kind, 0)?;
                remove_now(&from, kind)
            }
            result => result.map_err(|error| Failed::new("rename()", &to, error)),
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn dav_trees_do_not_follow_links() {
        let dir = std::env::temp_dir().join(format!("uresty-dav-{:x}", rand::random::<u64>()));
        let (outside, inside) = (dir.join("outside"), dir.join("inside"));
        fs::create_dir_all(inside.join("sub")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("secret"), "s").unwrap();
        fs::write(inside.join("sub/file"), "f").unwrap();
        symlink(&outside, inside.join("link")).unwrap();
        symlink(outside.join("secret"), inside.join("sub/link")).unwrap();
        let copy = dir.join("copy");
        copy_now(&inside, &copy, Kind::Directory, 0).unwrap();
        assert_eq!(fs::read_to_string(copy.join("sub/file")).unwrap(), "f");
        assert!(fs::symlink_metadata(copy.join("link")).is_err());
        assert!(fs::symlink_metadata(copy.join("sub/link")).is_err());
        assert!(copy_file(&inside.join("sub/link"), &dir.join("x")).is_err(), "a link is no file");
        assert!(copy_file(&inside.join("sub/file"), &inside.join("sub/link")).is_err(), "nor a target");
        remove_now(&inside, Kind::Directory).unwrap();
        assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "s");
        fs::remove_dir_all(&dir).unwrap();
    }
}
