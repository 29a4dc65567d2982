//! A lock between processes that survives the death of its holder.
//!
//! ```text
//!             compare-exchange              store + wake
//!   Free ───────────────────────► Held(me) ─────────────► Free
//!                                    │ killed
//!                                    ▼
//!                  Held(dead) ── a waiter finds out ──► Held(waiter), poisoned
//! ```
//!
//! The word is the holder's [`Identity`] – process id and start time, so that a reused id is not mistaken for the holder –
//! and one bit that says "somebody sleeps". Waiters spin briefly, then sleep on a futex in slices: no slice trusts that a
//! wake-up comes, because whoever owes it may have been killed. At the end of a slice the holder is looked up; if it is gone the
//! waiter takes the lock over and marks it poisoned. The mark stays until [`Guard::clear_poison`], so that a second death during
//! the repair is not forgotten. A panic inside the guarded section poisons too.
//!
//! Every wait ends: after [`LOCK_WAIT_MAX`] behind a holder that lives but does not let go, the waiter gets [`Error::Stuck`].

use std::{
    ptr::NonNull,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use crate::{
    error::{Error, Result},
    map::Region,
    process::Identity,
};

/// A waiter gives up after this long.
pub const LOCK_WAIT_MAX: Duration = Duration::from_secs(2);
/// How long a waiter sleeps before it looks whether the holder lives: the bound of a takeover.
pub const LOCK_SLICE: Duration = Duration::from_millis(20);
/// Tries before the first sleep; a guarded section lasts about as long as a few dozen of them.
const SPINS: u32 = 100;
/// Set in the word while somebody may sleep. Free in every [`Identity`].
const WAITERS: u64 = 1 << 31;

/// What lies in shared memory. Zero-filled memory is a free lock.
#[repr(C, align(64))]
struct Cell {
    word: AtomicU64,
    poisoned: AtomicU32,
    takeovers: AtomicU32,
}

/// A handle on a lock inside a [`Region`].
#[derive(Debug)]
pub struct Lock {
    cell: NonNull<Cell>,
    _region: Region,
}

// SAFETY: the cell consists of atomics and lives as long as the region the handle owns.
unsafe impl Send for Lock {}
// SAFETY: as above.
unsafe impl Sync for Lock {}

impl Lock {
    /// Bytes a lock takes, a cache line of its own.
    pub const SIZE: usize = size_of::<Cell>();

    /// The lock at `offset`, a multiple of 64. Zero-filled memory there is a free lock.
    pub fn at(region: &Region, offset: usize) -> Result<Self> {
        let part = region.part(offset, Self::SIZE)?;
        let cell = NonNull::from(part.word64(0)?).cast();
        Ok(Self { cell, _region: part })
    }

    #[inline]
    fn cell(&self) -> &Cell {
        // SAFETY: 64 bytes at a multiple of 64 inside a page-aligned mapping that `_region` keeps; only atomics are in it.
        unsafe { self.cell.as_ref() }
    }

    /// Takes the lock; waits if need be, at most [`LOCK_WAIT_MAX`]. Look at [`Guard::poisoned`].
    #[inline]
    pub fn lock(&self) -> Result<Guard<'_>> {
        let me = Identity::current().raw();
        if self.cell().word.compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed).is_err() {
            self.lock_slow(me)?;
        }
        Ok(Guard { cell: self.cell() })
    }

    /// Takes the lock if it is free now.
    #[inline]
    pub fn try_lock(&self) -> Option<Guard<'_>> {
        let me = Identity::current().raw();
        self.cell().word.compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed).ok()?;
        Some(Guard { cell: self.cell() })
    }

    /// Takes the lock from a holder that has died: what the master does for a worker it has reaped, so that nobody need wait.
    /// `None` if the lock is free or its holder lives.
    pub fn take_from_dead(&self) -> Option<Guard<'_>> {
        let seen = self.cell().word.load(Ordering::Relaxed);
        let holder = Identity::from_raw(seen & !WAITERS)?;
        if holder.is_alive() || !self.take_over(seen, Identity::current().raw()) {
            return None;
        }
        Some(Guard { cell: self.cell() })
    }

    /// Who holds it at this moment.
    pub fn holder(&self) -> Option<Identity> {
        Identity::from_raw(self.cell().word.load(Ordering::Relaxed) & !WAITERS)
    }

    /// How often a dead holder's lock was taken over since the zone was made.
    pub fn takeovers(&self) -> u32 {
        self.cell().takeovers.load(Ordering::Relaxed)
    }

    #[cold]
    fn lock_slow(&self, me: u64) -> Result<()> {
        if self.spin(me) {
            return Ok(());
        }
        let word = &self.cell().word;
        let give_up = Instant::now() + LOCK_WAIT_MAX;
        loop {
            let seen = word.load(Ordering::Relaxed);
            if seen == 0 {
                // Others may sleep behind us, and their mark went with the last holder's word: put it back.
                if word.compare_exchange(0, me | WAITERS, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                    return Ok(());
                }
                continue;
            }
            let marked = seen | WAITERS;
            if seen != marked
                && word.compare_exchange(seen, marked, Ordering::Relaxed, Ordering::Relaxed).is_err()
            {
                continue;
            }
            let woken = futex::wait(word, marked, LOCK_SLICE);
            let holder = Identity::from_raw(seen & !WAITERS).ok_or(Error::Corrupt("lock word"))?;
            // A slice without any change: the holder may be gone.
            if !woken && !holder.is_alive() && self.take_over(marked, me | WAITERS) {
                return Ok(());
            }
            if Instant::now() >= give_up {
                return Err(Error::Stuck { pid: holder.pid() });
            }
        }
    }

    /// Tries for the time of a short guarded section, unless others sleep already.
    fn spin(&self, me: u64) -> bool {
        let word = &self.cell().word;
        for _ in 0..SPINS {
            let seen = word.load(Ordering::Relaxed);
            if seen == 0 && word.compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                return true;
            }
            if seen & WAITERS != 0 {
                return false;
            }
            std::hint::spin_loop();
        }
        false
    }

    /// Moves the lock from the dead holder in `seen` to `to`. An identity never comes back, so an unchanged word means that the
    /// same dead process still has it.
    fn take_over(&self, seen: u64, to: u64) -> bool {
        let cell = self.cell();
        let to = to | (seen & WAITERS);
        if cell.word.compare_exchange(seen, to, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return false;
        }
        // Dying before this store is no loss: whoever takes over from us sets it.
        cell.poisoned.store(1, Ordering::Relaxed);
        cell.takeovers.fetch_add(1, Ordering::Relaxed);
        true
    }
}

/// The right to touch what the lock guards; lets go when dropped.
#[must_use]
#[derive(Debug)]
pub struct Guard<'a> {
    cell: &'a Cell,
}

impl std::fmt::Debug for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cell")
            .field("word", &self.word)
            .field("poisoned", &self.poisoned)
            .finish_non_exhaustive()
    }
}

impl Guard<'_> {
    /// Whether a holder died or panicked inside since the last [`clear_poison`](Self::clear_poison).
    #[inline]
    pub fn poisoned(&self) -> bool {
        self.cell.poisoned.load(Ordering::Relaxed) != 0
    }

    /// Says that what is guarded has been repaired or emptied.
    pub fn clear_poison(&self) {
        self.cell.poisoned.store(0, Ordering::Release);
    }

    /// Says that what is guarded is damaged and has to be repaired by the next holder.
    pub fn poison(&self) {
        self.cell.poisoned.store(1, Ordering::Relaxed);
    }
}

impl Drop for Guard<'_> {
    #[inline]
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.poison();
        }
        if self.cell.word.swap(0, Ordering::Release) & WAITERS != 0 {
            futex::wake_one(&self.cell.word);
        }
    }
}

mod futex {
    use super::*;

    /// The kernel compares 32 bits: the half of the word with the process id and the waiters' bit.
    fn low_half(word: &AtomicU64) -> *mut u32 {
        let half = word.as_ptr().cast::<u32>();
        if cfg!(target_endian = "big") { half.wrapping_add(1) } else { half }
    }

    /// Sleeps while the word is `seen`. False when `slice` passed without a wake-up or a change.
    pub(super) fn wait(word: &AtomicU64, seen: u64, slice: Duration) -> bool {
        let timeout =
            libc::timespec { tv_sec: slice.as_secs() as libc::time_t, tv_nsec: slice.subsec_nanos().into() };
        // SAFETY: the word is mapped and aligned, the timeout is alive. FUTEX_WAIT without the private flag, as the memory is
        // shared between processes.
        let end = unsafe {
            libc::syscall(libc::SYS_futex, low_half(word), libc::FUTEX_WAIT, seen as u32, &raw const timeout)
        };
        end == 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::ETIMEDOUT)
    }

    #[cold]
    pub(super) fn wake_one(word: &AtomicU64) {
        // SAFETY: the word is mapped and aligned; the call touches no other memory.
        unsafe { libc::syscall(libc::SYS_futex, low_half(word), libc::FUTEX_WAKE, 1) };
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use super::*;

    fn fresh() -> (Region, Lock) {
        let region = Region::anonymous(4096).unwrap();
        let lock = Lock::at(&region, 64).unwrap();
        (region, lock)
    }

    #[test]
    fn excludes() {
        let (_region, lock) = fresh();
        let held = lock.lock().unwrap();
        assert!(lock.try_lock().is_none());
        assert_eq!(lock.holder(), Some(Identity::current()));
        assert!(lock.take_from_dead().is_none(), "the holder lives");
        drop(held);
        assert_eq!(lock.holder(), None);
        assert!(!lock.try_lock().unwrap().poisoned());
    }

    #[test]
    fn no_increment_is_lost() {
        let (region, lock) = fresh();
        let lock = Arc::new(lock);
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (region, lock) = (region.clone(), Arc::clone(&lock));
                thread::spawn(move || {
                    for _ in 0..20_000 {
                        let _guard = lock.lock().unwrap();
                        let n = region.load64(1024).unwrap();
                        region.store64(1024, n + 1).unwrap();
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(region.load64(1024).unwrap(), 80_000);
        assert_eq!(lock.takeovers(), 0);
    }

    #[test]
    fn a_panic_poisons_until_cleared() {
        let (_region, lock) = fresh();
        let lock = Arc::new(lock);
        let theirs = Arc::clone(&lock);
        let end = thread::spawn(move || {
            let _guard = theirs.lock().unwrap();
            std::panic::resume_unwind(Box::new(()));
        });
        assert!(end.join().is_err());
        assert!(lock.lock().unwrap().poisoned());
        let guard = lock.lock().unwrap();
        assert!(guard.poisoned(), "nobody repaired it");
        guard.clear_poison();
        drop(guard);
        assert!(!lock.lock().unwrap().poisoned());
    }

    #[test]
    fn a_reused_process_id_does_not_hold_the_lock() {
        let (region, lock) = fresh();
        // This very process id, but started at another time.
        let stale = Identity::current().raw() ^ 1 << 40;
        region.word64(64).unwrap().store(stale, Ordering::Relaxed);
        let began = Instant::now();
        let guard = lock.lock().unwrap();
        assert!(guard.poisoned());
        assert!(began.elapsed() < Duration::from_millis(500));
        assert_eq!(lock.takeovers(), 1);
    }

    #[test]
    fn waiting_for_oneself_ends() {
        let (_region, lock) = fresh();
        let _held = lock.lock().unwrap();
        assert!(matches!(lock.lock(), Err(Error::Stuck { pid }) if pid == std::process::id()));
    }
}
