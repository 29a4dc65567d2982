//! Memory that several processes map: a sealed memfd, and bounds-checked access to a piece of it.
//!
//! The size is sealed, so nobody can shrink the file under a reader (which would end it with SIGBUS). Workers map it at any
//! address; only offsets are stored inside. All words are atomics; byte runs are copied in and out. An offset that a damaged
//! structure made up therefore ends in [`Error::Corrupt`], never outside the mapping.

use std::{
    ffi::CString,
    fmt,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
    ptr::NonNull,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use crate::error::{Error, Result};

const SEALS: libc::c_int = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;

/// Creates a zero-filled memory file of exactly `size` bytes whose size can never change. `name` is what `/proc` shows.
///
/// The descriptor is close-on-exec; whoever passes it to a new program clears that.
pub fn create(name: &str, size: usize) -> Result<OwnedFd> {
    let shown: Vec<u8> = name.bytes().filter(|&b| b != 0).take(200).collect();
    let shown = CString::new(shown).expect("zero bytes were removed");
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the name is a live C string.
    let mut fd = unsafe { libc::memfd_create(shown.as_ptr(), flags | libc::MFD_NOEXEC_SEAL) };
    if fd == -1 && std::io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL) {
        // Kernels before 6.3 do not know MFD_NOEXEC_SEAL.
        // SAFETY: as above.
        fd = unsafe { libc::memfd_create(shown.as_ptr(), flags) };
    }
    if fd == -1 {
        return Err(Error::last_os("memfd_create"));
    }
    // SAFETY: the kernel has just given this descriptor to us alone.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let length =
        libc::off_t::try_from(size).map_err(|_| Error::TooLong { have: size, max: i64::MAX as usize })?;
    // SAFETY: a plain system call on an open descriptor.
    if unsafe { libc::ftruncate(fd.as_raw_fd(), length) } == -1 {
        return Err(Error::last_os("ftruncate"));
    }
    // SAFETY: a plain system call on an open descriptor.
    if unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, SEALS) } == -1 {
        return Err(Error::last_os("fcntl"));
    }
    Ok(fd)
}

/// Maps a descriptor made by [`create`]; refuses one of another size or whose size is not sealed.
pub fn attach(fd: impl AsFd, size: usize) -> Result<Region> {
    let fd = fd.as_fd();
    // SAFETY: F_GET_SEALS takes no argument and touches no memory.
    let seals = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS) };
    if seals == -1 {
        return Err(Error::last_os("fcntl"));
    }
    if seals & SEALS != SEALS {
        return Err(Error::Mismatch("its size is not sealed"));
    }
    // SAFETY: all-zero bytes are a valid stat.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the buffer is a live stat.
    if unsafe { libc::fstat(fd.as_raw_fd(), &raw mut stat) } == -1 {
        return Err(Error::last_os("fstat"));
    }
    if usize::try_from(stat.st_size) != Ok(size) || size == 0 {
        return Err(Error::Mismatch("its size differs"));
    }
    // SAFETY: a new shared mapping at an address of the kernel's choice; the sealed size covers it.
    let ptr = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            size,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            fd.as_raw_fd(),
            0,
        )
    };
    if ptr == libc::MAP_FAILED {
        return Err(Error::last_os("mmap"));
    }
    let ptr = NonNull::new(ptr.cast::<u8>()).expect("mmap without MAP_FIXED never returns page zero");
    Ok(Region { ptr, len: size, _map: Arc::new(Map { ptr, len: size }) })
}

/// A whole mapping; unmapped with its last [`Region`].
struct Map {
    ptr: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to no thread; access to it goes through atomics and locks inside it.
unsafe impl Send for Map {}
// SAFETY: as above.
unsafe impl Sync for Map {}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `attach` with this length, and no Region is left.
        unsafe { libc::munmap(self.ptr.as_ptr().cast(), self.len) };
    }
}

/// A piece of a mapping, addressed by byte offsets from its own start. Cloning shares the memory.
#[derive(Clone)]
pub struct Region {
    ptr: NonNull<u8>,
    len: usize,
    _map: Arc<Map>,
}

// SAFETY: see `Map`.
unsafe impl Send for Region {}
// SAFETY: see `Map`.
unsafe impl Sync for Region {}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region").field("len", &self.len).finish_non_exhaustive()
    }
}

const OUTSIDE: Error = Error::Corrupt("offset outside the zone");

impl Region {
    /// Bytes in it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The piece of `len` bytes at `start`, which must be a multiple of 64 (so that locks have a cache line each).
    pub fn part(&self, start: usize, len: usize) -> Result<Self> {
        if !start.is_multiple_of(64) || start > self.len || len > self.len - start {
            return Err(OUTSIDE);
        }
        // SAFETY: start <= len of this region, so the pointer stays inside or one past the mapping.
        let ptr = unsafe { self.ptr.add(start) };
        Ok(Self { ptr, len, _map: Arc::clone(&self._map) })
    }

    /// A fresh private-to-this-process-tree region of `size` bytes, for callers that need no descriptor.
    pub fn anonymous(size: usize) -> Result<Self> {
        attach(create("anonymous", size)?, size)
    }

    #[inline]
    fn check(&self, offset: usize, len: usize) -> Result<*mut u8> {
        if offset > self.len || len > self.len - offset {
            return Err(OUTSIDE);
        }
        // SAFETY: the offset was just found to be inside.
        Ok(unsafe { self.ptr.as_ptr().add(offset) })
    }

    /// The 32-bit word at `offset`, a multiple of 4.
    #[inline]
    pub fn word32(&self, offset: usize) -> Result<&AtomicU32> {
        let at = self.check(offset, 4)?;
        if !offset.is_multiple_of(4) {
            return Err(Error::Corrupt("unaligned offset"));
        }
        // SAFETY: inside the mapping, aligned, alive as long as `self`, and words are only accessed atomically.
        Ok(unsafe { AtomicU32::from_ptr(at.cast()) })
    }

    /// The 64-bit word at `offset`, a multiple of 8.
    #[inline]
    pub fn word64(&self, offset: usize) -> Result<&AtomicU64> {
        let at = self.check(offset, 8)?;
        if !offset.is_multiple_of(8) {
            return Err(Error::Corrupt("unaligned offset"));
        }
        // SAFETY: inside the mapping, aligned, alive as long as `self`, and words are only accessed atomically.
        Ok(unsafe { AtomicU64::from_ptr(at.cast()) })
    }

    /// `count` words at `offset`, a multiple of 8.
    #[inline]
    pub(crate) fn words(&self, offset: usize, count: usize) -> Result<&[AtomicU64]> {
        let first = self.word64(offset)?;
        self.check(offset, count.saturating_mul(8))?;
        // SAFETY: all of it is inside the mapping and aligned like the first; words are only accessed atomically.
        Ok(unsafe { std::slice::from_raw_parts(first, count) })
    }

    #[inline]
    pub(crate) fn load32(&self, offset: usize) -> Result<u32> {
        Ok(self.word32(offset)?.load(Ordering::Relaxed))
    }

    #[inline]
    pub(crate) fn store32(&self, offset: usize, value: u32) -> Result<()> {
        kill_point();
        self.word32(offset)?.store(value, Ordering::Relaxed);
        Ok(())
    }

    /// A store after which everything stored before is there too, for whoever finds the memory after our death.
    #[inline]
    pub(crate) fn publish32(&self, offset: usize, value: u32) -> Result<()> {
        kill_point();
        self.word32(offset)?.store(value, Ordering::Release);
        Ok(())
    }

    #[inline]
    pub(crate) fn load64(&self, offset: usize) -> Result<u64> {
        Ok(self.word64(offset)?.load(Ordering::Relaxed))
    }

    #[inline]
    pub(crate) fn store64(&self, offset: usize, value: u64) -> Result<()> {
        kill_point();
        self.word64(offset)?.store(value, Ordering::Relaxed);
        Ok(())
    }

    /// Whether the bytes at `offset` are `bytes`. The caller holds the lock that guards them.
    #[inline]
    pub(crate) fn equals(&self, offset: usize, bytes: &[u8]) -> Result<bool> {
        let at = self.check(offset, bytes.len())?;
        // SAFETY: inside the mapping; nobody writes while the caller holds the lock.
        Ok(unsafe { std::slice::from_raw_parts(at, bytes.len()) } == bytes)
    }

    /// Lets `use_it` read `len` bytes at `offset`. The caller holds the lock that guards them.
    #[inline]
    pub(crate) fn read<R>(&self, offset: usize, len: usize, use_it: impl FnOnce(&[u8]) -> R) -> Result<R> {
        let at = self.check(offset, len)?;
        // SAFETY: inside the mapping; nobody writes while the caller holds the lock, and the slice ends with `use_it`.
        Ok(use_it(unsafe { std::slice::from_raw_parts(at, len) }))
    }

    /// Copies `bytes` to `offset`. The caller holds the lock that guards them.
    #[inline]
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) -> Result<()> {
        kill_point();
        let at = self.check(offset, bytes.len())?;
        // SAFETY: inside the mapping, and `bytes` is this process's own memory or read under the same lock at another place
        // (`copy` tolerates overlap).
        unsafe { std::ptr::copy(bytes.as_ptr(), at, bytes.len()) };
        Ok(())
    }

    /// Copies `len` bytes from one place to another, which may overlap. The caller holds the lock that guards them.
    pub(crate) fn shift(&self, from: usize, to: usize, len: usize) -> Result<()> {
        kill_point();
        let (from, to) = (self.check(from, len)?, self.check(to, len)?);
        // SAFETY: both are inside the mapping, and `copy` tolerates overlap.
        unsafe { std::ptr::copy(from, to, len) };
        Ok(())
    }

    /// Zeroes `len` bytes at `offset`. The caller holds the lock that guards them.
    pub(crate) fn zero(&self, offset: usize, len: usize) -> Result<()> {
        kill_point();
        let at = self.check(offset, len)?;
        // SAFETY: inside the mapping.
        unsafe { std::ptr::write_bytes(at, 0, len) };
        Ok(())
    }
}

#[cfg(not(test))]
#[inline(always)]
fn kill_point() {}

#[cfg(test)]
pub(crate) use kill::kill_point;

/// Lets a test die, as if killed, before the n-th store of an operation.
#[cfg(test)]
pub(crate) mod kill {
    use std::cell::Cell;

    thread_local!(static LEFT: Cell<Option<u32>> = const { Cell::new(None) });

    /// The panic's payload.
    pub(crate) struct Killed;

    pub(crate) fn kill_point() {
        LEFT.with(|left| match left.get() {
            None => {}
            Some(0) => {
                left.set(None);
                std::panic::resume_unwind(Box::new(Killed));
            }
            Some(n) => left.set(Some(n - 1)),
        });
    }

    /// Runs `f` but dies before its store number `n` (from 0). True when it got that far.
    pub(crate) fn dies_at(n: u32, f: impl FnOnce()) -> bool {
        LEFT.with(|left| left.set(Some(n)));
        let end = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
        LEFT.with(|left| left.set(None));
        match end {
            Ok(()) => false,
            Err(payload) if payload.is::<Killed>() => true,
            Err(payload) => std::panic::resume_unwind(payload),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_mappings_show_the_same_memory() {
        let fd = create("two", 8192).unwrap();
        let (a, b) = (attach(&fd, 8192).unwrap(), attach(&fd, 8192).unwrap());
        a.store64(4096, 7).unwrap();
        assert_eq!(b.load64(4096).unwrap(), 7);
        b.write(100, b"abc").unwrap();
        assert!(a.equals(100, b"abc").unwrap());
        let part = a.part(4096, 64).unwrap();
        assert_eq!(part.load64(0).unwrap(), 7);
    }

    #[test]
    fn the_size_is_sealed_and_checked() {
        let fd = create("sealed", 8192).unwrap();
        // SAFETY: a plain system call on an open descriptor.
        assert_eq!(unsafe { libc::ftruncate(fd.as_raw_fd(), 4096) }, -1);
        assert!(matches!(attach(&fd, 4096), Err(Error::Mismatch(_))));
        // SAFETY: a plain system call; the name is a C string.
        let open =
            unsafe { libc::memfd_create(c"open".as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) };
        // SAFETY: just created.
        let open = unsafe { OwnedFd::from_raw_fd(open) };
        assert!(matches!(attach(&open, 4096), Err(Error::Mismatch(_))));
    }

    #[test]
    fn nothing_reaches_outside() {
        let r = Region::anonymous(4096).unwrap();
        assert!(r.load32(4096).is_err());
        assert!(r.load32(2).is_err());
        assert!(r.load64(4092).is_err());
        assert!(r.word64(usize::MAX - 3).is_err());
        assert!(r.write(4090, b"1234567").is_err());
        assert!(r.read(usize::MAX, 2, |_| ()).is_err());
        assert!(r.part(64, 4096).is_err());
        assert!(r.part(32, 64).is_err());
    }
}
