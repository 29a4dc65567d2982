//! Files, read and written at offsets: through the ring where there is one, else on threads beside the loop.

use std::fs::Metadata;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use monoio::buf::IoBufMut;

use crate::blocking::blocking;
use crate::runtime::{self, Driver};
use crate::Buf;

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

/// An open file.
pub struct File {
    std: Arc<std::fs::File>,
    ring: Option<monoio::fs::File>,
}

/// Opens a file. `O_NONBLOCK` is set, as nginx does: a FIFO must not hang the worker.
pub async fn open(path: impl AsRef<Path>, options: &OpenOptions) -> io::Result<File> {
    // A name in the kernel's caches opens in a microsecond or two, less than handing the call to anybody else would cost.
    // openat2 with RESOLVE_CACHED says whether it is one.
    let path = path.as_ref();
    match cached_open(path, options) {
        Some(result) => File::from_std(result?),
        None => {
            let (path, options) = (path.to_owned(), options.std());
            File::from_std(blocking(move || options.open(path)).await?)
        }
    }
}

/// Opens for reading when the name needs no disk; `None`: it does, or the kernel cannot tell.
fn cached_open(path: &Path, options: &OpenOptions) -> Option<io::Result<std::fs::File>> {
    if options.write || options.create || options.create_new || options.truncate {
        return None;
    }
    let how = nix::fcntl::OpenHow::new()
        .flags(nix::fcntl::OFlag::from_bits_retain(libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK | options.flags))
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
    /// Takes over an open file.
    pub fn from_std(std: std::fs::File) -> io::Result<Self> {
        let ring = match runtime::driver() {
            Some(Driver::IoUring) => Some(monoio::fs::File::from_std(std.try_clone()?)?),
            _ => None,
        };
        Ok(Self { std: Arc::new(std), ring })
    }

    /// Reads up to `len` bytes at `offset` behind the content of `buf`; 0 at the end of the file.
    pub async fn read_at(&self, buf: Buf, offset: u64, len: usize) -> (io::Result<usize>, Buf) {
        let mut buf = buf;
        buf.reserve(len);
        match &self.ring {
            Some(file) => {
                let (result, limited) = file.read_at(Limited { buf, len }, offset).await;
                (result, limited.buf)
            }
            None => self.read_beside(buf, offset, len).await,
        }
    }

    async fn read_beside(&self, mut buf: Buf, offset: u64, len: usize) -> (io::Result<usize>, Buf) {
        let file = Arc::clone(&self.std);
        let read = blocking(move || {
            let mut bytes = vec![0; len];
            let count = file.read_at(&mut bytes, offset)?;
            bytes.truncate(count);
            Ok(bytes)
        });
        match read.await {
            Ok(bytes) => {
                buf.extend_from_slice(&bytes);
                (Ok(bytes.len()), buf)
            }
            Err(error) => (Err(error), buf),
        }
    }

    /// Writes all of `bytes` at `offset`.
    pub async fn write_at(&self, bytes: Bytes, offset: u64) -> (io::Result<()>, Bytes) {
        match &self.ring {
            Some(file) => file.write_all_at(bytes, offset).await,
            None => {
                let (file, copy) = (Arc::clone(&self.std), bytes.clone());
                let result = blocking(move || file.write_all_at(&copy, offset)).await;
                (result, bytes)
            }
        }
    }

    /// Size, times, kind. Answered from the inode, which an open file keeps in memory.
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.std.metadata()
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.std.as_fd()
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
