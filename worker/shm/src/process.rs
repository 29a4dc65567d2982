//! Who holds something in shared memory, in 64 bits that a reused process id cannot forge.
//!
//! A process id alone is not enough: the kernel hands it out again, and the newcomer would seem to hold the dead one's
//! locks for ever. The id is therefore paired with the process's start time, which `/proc/<pid>/stat` tells for everybody.

use std::{
    fs::File,
    io::Read,
    num::NonZeroU64,
    sync::{
        Once,
        atomic::{AtomicU64, Ordering},
    },
};

/// A process: its id in the low 32 bits, the low 32 bits of its start time (clock ticks since boot) in the high ones.
///
/// Bit 31 is always clear (Linux process ids have at most 22 bits), so users may keep a flag there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity(NonZeroU64);

/// The caller's identity; zero until asked for, and again in the child of a fork.
static CURRENT: AtomicU64 = AtomicU64::new(0);
static FORK_HOOK: Once = Once::new();

impl Identity {
    /// The calling process.
    #[inline]
    pub fn current() -> Self {
        match NonZeroU64::new(CURRENT.load(Ordering::Relaxed)) {
            Some(known) => Self(known),
            None => Self::learn(),
        }
    }

    /// The process a stored word names; `None` for zero, which stands for nobody.
    pub fn from_raw(raw: u64) -> Option<Self> {
        NonZeroU64::new(raw).map(Self)
    }

    /// The process that has this id now; `None` when there is none.
    pub fn of_pid(pid: u32) -> Option<Self> {
        let stat = Stat::read(pid)?;
        Some(Self::pack(pid, stat.start_ticks))
    }

    /// The word to store.
    #[inline]
    pub fn raw(self) -> u64 {
        self.0.get()
    }

    /// The process id.
    pub fn pid(self) -> u32 {
        self.0.get() as u32
    }

    /// Whether the process can still run. A zombie cannot. In doubt (no `/proc`, or it hides others) the answer is yes.
    pub fn is_alive(self) -> bool {
        if self == Self::current() {
            return true;
        }
        if self.pid() == 0 {
            return false; // nobody's: a damaged word, and kill(0) would mean our own group
        }
        // SAFETY: signal 0 sends nothing; it only asks whether the process exists.
        if unsafe { libc::kill(self.pid() as libc::pid_t, 0) } == -1
            && std::io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH)
        {
            return false;
        }
        match Stat::read(self.pid()) {
            None => true,
            Some(stat) => {
                let start = (self.0.get() >> 32) as u32;
                let same = start == 0 || start == stat.start_ticks;
                same && !stat.gone
            }
        }
    }

    fn pack(pid: u32, start_ticks: u32) -> Self {
        let raw = u64::from(start_ticks) << 32 | u64::from(pid);
        Self(NonZeroU64::new(raw).expect("process ids are positive"))
    }

    #[cold]
    fn learn() -> Self {
        // A forked child must not go by its parent's name.
        FORK_HOOK.call_once(|| {
            // SAFETY: the hook is a plain function that only stores to a static atomic, allowed in a forked child.
            unsafe { libc::pthread_atfork(None, None, Some(forget)) };
        });
        let pid = std::process::id();
        let me = Self::pack(pid, Stat::read(pid).map_or(0, |stat| stat.start_ticks));
        CURRENT.store(me.raw(), Ordering::Relaxed);
        me
    }
}

unsafe extern "C" fn forget() {
    CURRENT.store(0, Ordering::Relaxed);
}

/// The three fields of `/proc/<pid>/stat` that matter here.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    start_ticks: u32,
    /// Dead but not reaped.
    gone: bool,
}

impl Stat {
    /// Enough for the first 22 of about 52 fields.
    const BYTES_MAX: usize = 1024;

    fn read(pid: u32) -> Option<Self> {
        let mut buf = [0; Self::BYTES_MAX];
        let n = File::open(format!("/proc/{pid}/stat")).ok()?.read(&mut buf).ok()?;
        Self::parse(&buf[..n])
    }

    /// proc_pid_stat(5): state, num_threads and starttime are fields 3, 20 and 22; the name before them may hold anything.
    fn parse(text: &[u8]) -> Option<Self> {
        let after_name = text.iter().rposition(|&b| b == b')')? + 1;
        let mut fields = std::str::from_utf8(&text[after_name..]).ok()?.split_ascii_whitespace();
        let state = fields.next()?;
        let threads: u64 = fields.nth(16)?.parse().ok()?;
        let start: u64 = fields.nth(1)?.parse().ok()?;
        // A zombie leader with live threads is a process that still runs.
        let gone = matches!(state, "Z" | "X" | "x") && threads <= 1;
        Some(Self { start_ticks: start as u32, gone })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_fields_behind_a_hostile_name() {
        let line = b"12 (a) Z 9 (b) Z) S 1 12 12 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4321 10 20";
        assert_eq!(Stat::parse(line), Some(Stat { start_ticks: 4321, gone: false }));
        let line = b"12 (x) Z 1 12 12 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 77 10 20";
        assert_eq!(Stat::parse(line), Some(Stat { start_ticks: 77, gone: true }));
        let line = b"12 (x) Z 1 12 12 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 3 0 77 10 20";
        assert_eq!(Stat::parse(line), Some(Stat { start_ticks: 77, gone: false }));
        assert_eq!(Stat::parse(b"nonsense"), None);
    }

    #[test]
    fn knows_itself_and_the_dead() {
        let me = Identity::current();
        assert_eq!(me.pid(), std::process::id());
        assert_eq!(Identity::of_pid(me.pid()), Some(me));
        assert!(me.is_alive());

        let mut child = std::process::Command::new("/bin/cat")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let it = Identity::of_pid(child.id()).unwrap();
        assert!(it.is_alive());
        let reused = Identity::pack(it.pid(), (it.raw() >> 32) as u32 ^ 1);
        assert!(!reused.is_alive(), "same id, other start time");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!it.is_alive());
    }
}
