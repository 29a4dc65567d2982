//! Opening and looking at files, with or without symbolic links on the way.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, fstat, fstatat};

use super::symlinks::Symlinks;
use super::{FileError, FileInfo, OpenFile, Opened, as_path};

/// Opens `path` for reading.
pub(super) async fn open(path: &[u8], symlinks: Symlinks) -> Result<Opened, FileError> {
    let file = match symlinks {
        Symlinks::Follow => {
            let options = net::OpenOptions { read: true, ..net::OpenOptions::default() };
            let file = net::open(as_path(path), &options).await;
            file.map_err(|error| FileError::new("open()", error))?
        }
        Symlinks::Refuse { .. } | Symlinks::SameOwner { .. } => {
            let file = open_guarded(path, symlinks).await?;
            net::File::from_std(file).map_err(|error| FileError::new("openat()", error))?
        }
    };
    let info = FileInfo::of(&file.metadata().map_err(|error| FileError::new("fstat()", error))?);
    Ok(if info.is_dir() {
        Opened::Directory(info)
    } else {
        Opened::File(OpenFile { file: Rc::new(file), info })
    })
}

/// Looks at `path`.
pub(super) async fn stat(path: &[u8], symlinks: Symlinks) -> Result<FileInfo, FileError> {
    let metadata = match symlinks {
        Symlinks::Follow => {
            net::metadata(as_path(path)).await.map_err(|error| FileError::new("stat()", error))?
        }
        Symlinks::Refuse { .. } | Symlinks::SameOwner { .. } => {
            let file = open_guarded(path, symlinks).await?;
            file.metadata().map_err(|error| FileError::new("fstat()", error))?
        }
    };
    Ok(FileInfo::of(&metadata))
}

async fn open_guarded(path: &[u8], symlinks: Symlinks) -> Result<File, FileError> {
    let file = match open_cached(path, symlinks) {
        Some(file) => file,
        None => {
            let path = path.to_owned();
            let walked = net::blocking(move || Ok(walk(&path, symlinks))).await;
            walked.map_err(|error| FileError::new("openat()", error))??
        }
    };
    // a read that waits for the disk must not fail
    socket2::SockRef::from(&file).set_nonblocking(false).map_err(|error| FileError::new("fcntl()", error))?;
    Ok(file)
}

/// Linux 5.12: fail instead of waiting for the disk.
const RESOLVE_CACHED: ResolveFlag = ResolveFlag::from_bits_retain(0x20);

/// Opens a file that has no link on its way and needs no disk: one call instead of one per component. `None`: it is not that
/// simple.
fn open_cached(path: &[u8], symlinks: Symlinks) -> Option<File> {
    if !matches!(symlinks, Symlinks::Refuse { from: 0 }) {
        return None;
    }
    let how = OpenHow::new().flags(READ).resolve(ResolveFlag::RESOLVE_NO_SYMLINKS | RESOLVE_CACHED);
    openat2(AT_FDCWD, as_path(path), how).ok().map(File::from)
}

const READ: OFlag = OFlag::O_RDONLY.union(OFlag::O_NONBLOCK).union(OFlag::O_CLOEXEC);
const SEARCH: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// Opens `path` component by component, as nginx does: of a link in the middle comes `ENOTDIR`, of one at the end `ELOOP`.
fn walk(path: &[u8], symlinks: Symlinks) -> Result<File, FileError> {
    let (from, same_owner) = match symlinks {
        Symlinks::Follow => (0, false),
        Symlinks::Refuse { from } => (from, false),
        Symlinks::SameOwner { from } => (from, true),
    };
    let (start, rest) = if from > 0 { (&path[..from], &path[from..]) } else { (&b"/"[..], path) };
    let mut at = openat(AT_FDCWD, as_path(start), SEARCH, Mode::empty())
        .map_err(|errno| FileError::new("open()", errno.into()))?;
    let mut components = rest.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).peekable();
    let wants_directory = path.ends_with(b"/");
    while let Some(name) = components.next() {
        let is_last = components.peek().is_none();
        let flags = if is_last && !wants_directory { READ } else { SEARCH };
        at =
            step(&at, as_path(name), flags, same_owner).map_err(|error| FileError::new("openat()", error))?;
        if is_last && !wants_directory {
            return Ok(at.into());
        }
    }
    let file = openat(&at, ".", READ, Mode::empty());
    file.map(File::from).map_err(|errno| FileError::new("openat()", errno.into()))
}

fn step(at: &OwnedFd, name: &Path, flags: OFlag, same_owner: bool) -> io::Result<OwnedFd> {
    if !same_owner {
        return Ok(openat(at, name, flags | OFlag::O_NOFOLLOW, Mode::empty())?);
    }
    // a link may be put in place between the two calls: owners must be equal even if the name is none now
    let file = openat(at, name, flags, Mode::empty())?;
    let link = fstatat(at.as_fd(), name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    if fstat(&file)?.st_uid != link.st_uid {
        return Err(nix::Error::ELOOP.into());
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::libc;
    use std::os::unix::ffi::OsStrExt;

    fn errno(path: &Path, symlinks: Symlinks) -> Result<(), i32> {
        walk(path.as_os_str().as_bytes(), symlinks).map(drop).map_err(|failure| failure.errno())
    }

    #[test]
    fn links_are_refused_where_they_stand() {
        let dir = std::env::temp_dir().join(format!("uresty-links-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("real")).unwrap();
        let dir = dir.canonicalize().unwrap();
        std::fs::write(dir.join("real/file"), "x").unwrap();
        for (target, link) in [("real", "dirlink"), ("file", "real/link"), ("nothing", "real/broken")] {
            let _ = std::fs::remove_file(dir.join(link));
            std::os::unix::fs::symlink(target, dir.join(link)).unwrap();
        }
        let from = dir.as_os_str().len();
        let refuse = Symlinks::Refuse { from: 0 };
        let same_owner = Symlinks::SameOwner { from: 0 };
        for (path, symlinks, expected) in [
            ("real/file", refuse, Ok(())),
            ("real//./../real/file", refuse, Ok(())),
            ("real/", refuse, Ok(())),
            ("real/link", refuse, Err(libc::ELOOP)),
            ("dirlink/file", refuse, Err(libc::ENOTDIR)),
            ("real/file/", refuse, Err(libc::ENOTDIR)),
            ("real/none", refuse, Err(libc::ENOENT)),
            ("real/link", same_owner, Ok(())),
            ("dirlink/file", same_owner, Ok(())),
            ("real/broken", same_owner, Err(libc::ENOENT)),
            ("dirlink/file", Symlinks::Refuse { from: from + "/dirlink".len() }, Ok(())),
        ] {
            assert_eq!(errno(&dir.join(path), symlinks), expected, "{path} {symlinks:?}");
        }
        assert!(open_cached(dir.join("real/link").as_os_str().as_bytes(), refuse).is_none());
        std::fs::remove_dir_all(dir).unwrap();
    }
}
