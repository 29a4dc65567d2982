//! Owned buffers that the kernel may fill or read while a task waits.

use std::fmt;
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use bytes::Bytes;

use crate::pool;

/// An owned byte buffer with a consumed front, a filled middle and spare room at the end.
///
/// Capacities up to 256 KB come from thread-local pools (4, 16, 64, 256 KB) and go back there when the buffer, or the
/// last [`Bytes`] made from it, is dropped. Larger ones are plain allocations. A buffer made by [`Buf::new`] owns
/// no memory at all.
pub struct Buf {
    memory: NonNull<u8>,
    capacity: u32,
    start: u32,
    end: u32,
}

// SAFETY: a `Buf` owns its memory alone; dropping it on another thread only feeds that thread's pool.
unsafe impl Send for Buf {}
// SAFETY: a shared `Buf` gives out nothing but `&[u8]`.
unsafe impl Sync for Buf {}

/// Largest capacity of one buffer in bytes; asking for more panics, because every caller has a smaller named limit.
pub const MAX_CAPACITY: usize = 1 << 30;

impl Buf {
    /// A buffer without memory.
    pub const fn new() -> Self {
        Self { memory: NonNull::dangling(), capacity: 0, start: 0, end: 0 }
    }

    /// An empty buffer with room for at least `wanted` bytes, rounded up to a pool size.
    pub fn with_capacity(wanted: usize) -> Self {
        if wanted == 0 {
            return Self::new();
        }
        assert!(wanted <= MAX_CAPACITY, "a buffer of {wanted} bytes was asked for");
        let capacity = pool::round_up(wanted);
        Self { memory: pool::take(capacity), capacity: capacity as u32, start: 0, end: 0 }
    }

    /// A buffer holding a copy of `bytes`.
    pub fn copy_of(bytes: &[u8]) -> Self {
        let mut buf = Self::with_capacity(bytes.len());
        buf.extend_from_slice(bytes);
        buf
    }

    /// Number of filled bytes that were not consumed.
    pub fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether nothing is left to read.
    pub fn is_empty(&self) -> bool {
        self.end == self.start
    }

    /// Size of the memory in bytes, consumed part included.
    pub fn capacity(&self) -> usize {
        self.capacity as usize
    }

    /// Room after the filled part in bytes.
    pub fn spare_len(&self) -> usize {
        (self.capacity - self.end) as usize
    }

    /// The filled part that was not consumed.
    pub fn as_slice(&self) -> &[u8] {
        self
    }

    /// The room after the filled part; see [`Buf::advance_end`].
    pub fn spare(&mut self) -> &mut [MaybeUninit<u8>] {
        let (end, room) = (self.end as usize, self.spare_len());
        // SAFETY: `end..capacity` lies in our memory, and `MaybeUninit` asks for no initialisation.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr().add(end).cast(), room) }
    }

    /// Declares the first `count` bytes of [`Buf::spare`] filled.
    ///
    /// # Safety
    /// Those bytes were written.
    pub unsafe fn advance_end(&mut self, count: usize) {
        assert!(count <= self.spare_len(), "{count} bytes do not fit the spare room");
        self.end += count as u32;
    }

    /// Drops `count` bytes at the front. Panics when there are fewer.
    pub fn consume(&mut self, count: usize) {
        assert!(count <= self.len(), "{count} bytes consumed of {}", self.len());
        self.start += count as u32;
        if self.start == self.end {
            self.clear();
        }
    }

    /// Keeps the first `count` filled bytes; does nothing when there are fewer.
    pub fn truncate(&mut self, count: usize) {
        if count < self.len() {
            self.end = self.start + count as u32;
        }
    }

    /// Forgets all content, keeps the memory.
    pub fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Moves the filled part to the front of the memory, so that the consumed part becomes spare room.
    pub fn compact(&mut self) {
        if self.start == 0 {
            return;
        }
        let length = self.len();
        // SAFETY: both ranges lie in our memory; `copy` allows overlap.
        unsafe {
            let base = self.memory.as_ptr();
            std::ptr::copy(base.add(self.start as usize), base, length);
        }
        self.start = 0;
        self.end = length as u32;
    }

    /// Makes room for `additional` more bytes: first by moving the content to the front, else in a larger memory.
    #[inline]
    pub fn reserve(&mut self, additional: usize) {
        if self.spare_len() < additional {
            self.make_room(additional);
        }
    }

    #[cold]
    fn make_room(&mut self, additional: usize) {
        let needed = self.len() + additional;
        if needed <= self.capacity() {
            self.compact();
            return;
        }
        // Doubling keeps appending linear for buffers beyond the pooled sizes.
        let doubled = (self.capacity() * 2).min(MAX_CAPACITY);
        let mut larger = Self::with_capacity(needed.max(doubled));
        larger.extend_from_slice(self);
        *self = larger;
    }

    /// Appends `bytes`, growing as needed.
    #[inline]
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        let end = self.end as usize;
        // SAFETY: `reserve` made room for the bytes after `end`; the source is a different object, since we are
        // borrowed mutably.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.memory.as_ptr().add(end), bytes.len()) };
        self.end += bytes.len() as u32;
    }

    /// Appends one byte.
    pub fn push(&mut self, byte: u8) {
        self.extend_from_slice(&[byte]);
    }

    /// Takes the first `count` bytes out as a buffer of their own (a copy, unless it is everything).
    pub fn split_to(&mut self, count: usize) -> Buf {
        if count == self.len() {
            return std::mem::take(self);
        }
        let front = Self::copy_of(&self[..count]);
        self.consume(count);
        front
    }

    /// Turns the filled part into shareable [`Bytes`] without copying. The memory returns to its pool when the last
    /// of them is dropped.
    pub fn freeze(self) -> Bytes {
        if self.is_empty() {
            return Bytes::new();
        }
        Bytes::from_owner(self)
    }

    pub(crate) fn spare_ptr(&mut self) -> *mut u8 {
        // SAFETY: `end` never exceeds the capacity.
        unsafe { self.memory.as_ptr().add(self.end as usize) }
    }
}

impl Drop for Buf {
    fn drop(&mut self) {
        if self.capacity != 0 {
            pool::give(self.memory, self.capacity as usize);
        }
    }
}

impl Default for Buf {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for Buf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `start..end` was written before `end` moved past it.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr().add(self.start as usize), self.len()) }
    }
}

impl DerefMut for Buf {
    fn deref_mut(&mut self) -> &mut [u8] {
        let length = self.len();
        // SAFETY: as in `deref`, and we are borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr().add(self.start as usize), length) }
    }
}

impl AsRef<[u8]> for Buf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl std::io::Write for Buf {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Buf {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Buf({} of {} bytes)", self.len(), self.capacity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacity_is_rounded_up_to_a_class() {
        for (wanted, capacity) in [
            (0, 0),
            (1, 4096),
            (4096, 4096),
            (4097, 16384),
            (65536, 65536),
            (262144, 262144),
            (262145, 262145),
        ] {
            assert_eq!(Buf::with_capacity(wanted).capacity(), capacity);
        }
    }

    #[test]
    fn the_buffer_freed_last_is_taken_first() {
        let first = Buf::with_capacity(16000);
        let second = Buf::with_capacity(16000);
        let address = second.memory;
        drop(first);
        drop(second);
        assert_eq!(Buf::with_capacity(16000).memory, address);
    }

    #[test]
    fn content_survives_consume_compact_and_growth() {
        let mut buf = Buf::with_capacity(10);
        buf.extend_from_slice(&[7; 4090]);
        buf.extend_from_slice(b"abcdef");
        assert_eq!(buf.spare_len(), 0);
        buf.consume(4090);
        buf.reserve(100);
        assert_eq!((buf.capacity(), &buf[..]), (4096, &b"abcdef"[..]));
        buf.reserve(5000);
        assert_eq!((buf.capacity(), &buf[..]), (16384, &b"abcdef"[..]));
        assert_eq!(&buf.split_to(2)[..], b"ab");
        buf.truncate(3);
        assert_eq!(&buf.split_to(3)[..], b"cde");
        assert!(buf.is_empty());
    }

    #[test]
    fn frozen_memory_returns_to_the_pool_with_the_last_bytes() {
        let free = pool::free_buffers(60000);
        let mut buf = Buf::with_capacity(60000);
        buf.extend_from_slice(b"hello world");
        buf.consume(6);
        let bytes = buf.freeze();
        let tail = bytes.slice(3..);
        drop(bytes);
        assert_eq!(&tail[..], b"ld");
        assert_eq!(pool::free_buffers(60000), free.saturating_sub(1));
        drop(tail);
        assert_eq!(pool::free_buffers(60000), free.max(1));
    }
}
