//! Files, read and written at offsets: through the ring where there is one, else on threads beside the loop.

use std::ffi::OsString;
use std::fs::Metadata;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use monoio::buf::IoBufMut;

use crate::blocking::blocking;
use crate::runtime::{self, Driver};
use crate::{Buf, addr};

/// How to open a file.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenOptions {
    /// For reading.
    pub read: bool,
    /// For writing.
    pub write: bool,
    /// Create it if it does not exist.
    pub create: bool,
    /// Create it, and fail if it exists.
    pub create_new: bool,
    /// Empty it.
    pub truncate: bool,
    /// Permissions of a created file.
    pub mode: u32,
    /// More `O_` flags (`O_NOFOLLOW`).
    pub flags: i32,
}

impl OpenOptions {
    fn std(&self) -> std::fs::OpenOptions {
        let mut options = std::fs::OpenOptions::new();
        options.read(self.read).write(self.write).create(self.create).create_new(self.create_new);
        options.truncate(self.truncate).custom_flags(self.flags | libc::O_NONBLOCK);
        if self.mode != 0 {
            options.mode(self.mode);
        }
        options
    }
}

/// An open file; closed when dropped.
pub struct File(Handle);

enum Handle {
    Ring(RingFile),
    Pool(Arc<std::fs::File>),
}

struct RingFile(ManuallyDrop<monoio::fs::File>);

impl Drop for RingFile {
    fn drop(&mut self) {
        if runtime::driver().is_some() {
            // SAFETY: dropped once, here.
            unsafe { ManuallyDrop::drop(&mut self.0) };
        } else {
            // SAFETY: the runtime would close through a loop that is gone, so its object is forgotten and the descriptor,
            // which nobody else owns, is closed here.
            drop(unsafe { OwnedFd::from_raw_fd(self.0.as_raw_fd()) });
        }
    }
}

/// Opens a file. A FIFO does not hang the worker, as in nginx: the open itself is non-blocking.
pub async fn open(path: impl AsRef<Path>, options: &OpenOptions) -> io::Result<File> {
    // A name in the kernel's caches opens in a microsecond or two, less than handing the call to anybody else would cost.
    // openat2 with RESOLVE_CACHED says whether it is one.
    let path = path.as_ref();
    let file = match cached_open(path, options) {
        Some(result) => result?,
        None => {
            let (path, options) = (path.to_owned(), options.std());
            blocking(move || options.open(path)).await?
        }
    };
    // Reads of a non-blocking file that are not in the page cache fail on a ring instead of waiting for the disk.
    socket2::SockRef::from(&file).set_nonblocking(false)?;
    File::from_std(file)
}

/// Looks a path up, following links.
pub async fn metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    let path = path.as_ref();
    let lookup = OpenOptions { flags: libc::O_PATH, ..OpenOptions::default() };
    match cached_open(path, &lookup) {
        Some(result) => result?.metadata(),
        None => {
            let path = path.to_owned();
            blocking(move || std::fs::metadata(path)).await
        }
    }
}

/// Removes a file.
pub async fn unlink(path: impl Into<PathBuf>) -> io::Result<()> {
    let path = path.into();
    blocking(move || std::fs::remove_file(path)).await
}

/// Renames a file, replacing an existing one.
pub async fn rename(from: impl Into<PathBuf>, to: impl Into<PathBuf>) -> io::Result<()> {
    let (from, to) = (from.into(), to.into());
    blocking(move || std::fs::rename(from, to)).await
}

/// Creates a folder and its missing parents.
pub async fn create_dir_all(path: impl Into<PathBuf>) -> io::Result<()> {
    let path = path.into();
    blocking(move || std::fs::create_dir_all(path)).await
}

/// An entry of a folder.
#[derive(Debug, Clone)]
pub struct DirEntry {
    /// Its name.
    pub name: OsString,
    /// Its metadata, of the target if it is a link that leads somewhere.
    pub metadata: Metadata,
}

/// Lists a folder, at most `limit` entries, unsorted, without `.` and `..`; entries that vanish meanwhile are left out.
pub async fn read_dir(path: impl Into<PathBuf>, limit: usize) -> io::Result<Vec<DirEntry>> {
    let path = path.into();
    blocking(move || {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(path)?.take(limit) {
            let entry = entry?;
            if let Ok(metadata) = std::fs::metadata(entry.path()).or_else(|_| entry.metadata()) {
                entries.push(DirEntry { name: entry.file_name(), metadata });
            }
        }
        Ok(entries)
    })
    .await
}

/// Opens for reading when the name needs no disk; `None`: it does, or the kernel cannot tell.
fn cached_open(path: &Path, options: &OpenOptions) -> Option<io::Result<std::fs::File>> {
    if options.write || options.create || options.create_new || options.truncate {
        return None;
    }
    // openat2 refuses to look a path up without blocking: O_PATH goes with few other flags
    let waiting = if options.flags & libc::O_PATH == 0 { libc::O_NONBLOCK } else { 0 };
    let how = nix::fcntl::OpenHow::new()
        .flags(nix::fcntl::OFlag::from_bits_retain(
            libc::O_RDONLY | libc::O_CLOEXEC | waiting | options.flags,
        ))
        .resolve(nix::fcntl::ResolveFlag::from_bits_retain(RESOLVE_CACHED));
    match nix::fcntl::openat2(nix::fcntl::AT_FDCWD, path, how) {
        Ok(fd) => Some(Ok(fd.into())),
        Err(nix::Error::EAGAIN | nix::Error::ENOSYS | nix::Error::EINVAL | nix::Error::EPERM) => None,
        Err(errno) => Some(Err(errno.into())),
    }
}

/// Linux 5.12.
const RESOLVE_CACHED: u64 = 0x20;

impl File {
    /// Takes over an open file (in blocking mode).
    pub fn from_std(std: std::fs::File) -> io::Result<Self> {
        Ok(Self(match runtime::driver() {
            Some(Driver::IoUring) => {
                Handle::Ring(RingFile(ManuallyDrop::new(monoio::fs::File::from_std(std)?)))
            }
            _ => Handle::Pool(Arc::new(std)),
        }))
    }

    /// Reads up to `len` bytes at `offset` behind the content of `buf`; 0 at the end of the file.
    pub async fn read_at(&self, mut buf: Buf, offset: u64, len: usize) -> (io::Result<usize>, Buf) {
        buf.reserve(len);
        let limited = Limited { buf, len };
        match &self.0 {
            Handle::Ring(file) => {
                let (result, limited) = file.0.read_at(limited, offset).await;
                (result, limited.buf)
            }
            Handle::Pool(file) => {
                let file = Arc::clone(file);
                match blocking(move || Ok(pread(&file, limited, offset))).await {
                    Ok((result, limited)) => (result, limited.buf),
                    Err(error) => (Err(error), Buf::new()),
                }
            }
        }
    }

    /// Writes all of `bytes` at `offset`.
    pub async fn write_at(&self, bytes: Bytes, offset: u64) -> (io::Result<()>, Bytes) {
        match &self.0 {
            Handle::Ring(file) => file.0.write_all_at(bytes, offset).await,
            Handle::Pool(file) => {
                let (file, copy) = (Arc::clone(file), bytes.clone());
                let result = blocking(move || file.write_all_at(&copy, offset)).await;
                (result, bytes)
            }
        }
    }

    /// Size, times, kind. Answered from the inode, which an open file keeps in memory.
    pub fn metadata(&self) -> io::Result<Metadata> {
        match &self.0 {
            Handle::Pool(file) => file.metadata(),
            Handle::Ring(file) => {
                // SAFETY: the descriptor is open as long as `self`; the object is never dropped, so it does not close it.
                let file = unsafe { ManuallyDrop::new(std::fs::File::from_raw_fd(file.0.as_raw_fd())) };
                file.metadata()
            }
        }
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Handle::Ring(file) => addr::borrow(file.0.as_raw_fd()),
            Handle::Pool(file) => file.as_fd(),
        }
    }
}

/// pread that fills the buffer in place.
fn pread(file: &std::fs::File, mut limited: Limited, offset: u64) -> (io::Result<usize>, Limited) {
    loop {
        let (target, length) = (limited.write_ptr().cast(), limited.bytes_total());
        // SAFETY: `length` bytes at `target` are room of the buffer.
        let count = unsafe { libc::pread64(file.as_raw_fd(), target, length, offset as libc::off64_t) };
        if let Ok(count) = usize::try_from(count) {
            // SAFETY: pread64 wrote that many bytes.
            unsafe { limited.set_init(count) };
            return (Ok(count), limited);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return (Err(error), limited);
        }
    }
}

/// A buffer that takes at most `len` bytes more.
struct Limited {
    buf: Buf,
    len: usize,
}

// SAFETY: pointer and length describe room behind the content, at least `len` bytes of which were reserved; it stays in
// place while the `Buf` is moved, and the kernel has written what `set_init` declares.
unsafe impl IoBufMut for Limited {
    fn write_ptr(&mut self) -> *mut u8 {
        self.buf.spare_ptr()
    }

    fn bytes_total(&mut self) -> usize {
        self.len.min(self.buf.spare_len())
    }

    unsafe fn set_init(&mut self, count: usize) {
        // SAFETY: by the trait's contract these bytes were written.
        unsafe { self.buf.advance_end(count) };
    }
}
