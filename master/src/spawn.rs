//! The calls that need `unsafe`: forking, adopting inherited descriptors, and the memory that holds the process title.
//!
//! New programs are started with `posix_spawn`, which neither copies the master's memory nor runs any of its code in the
//! child: it stays safe when the master has threads. Everything the child gets is prepared before.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag};
use nix::libc;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::SigSet;
use nix::unistd::{ForkResult, Pid};

/// This very program, even when its file has been replaced or removed meanwhile: a worker must understand what the
/// master tells it.
pub const SELF: &CStr = c"/proc/self/exe";

/// A program to start.
pub struct Child<'a> {
    /// Its file.
    pub path: &'a CStr,
    /// Its arguments; the first is what `ps` shows.
    pub argv: Vec<CString>,
    /// Its whole environment.
    pub env: Vec<CString>,
    /// Descriptors it keeps, under their own numbers. All others of this process are close-on-exec.
    pub keep: Vec<RawFd>,
    /// What becomes its standard error; `None`: this process's.
    pub stderr: Option<RawFd>,
    /// Signals that are blocked in it.
    pub blocked: SigSet,
}

impl Child<'_> {
    /// Starts the program. An error means that it does not run; that includes a missing or unusable file.
    pub fn start(&self) -> nix::Result<Pid> {
        let mut actions = PosixSpawnFileActions::init()?;
        for fd in &self.keep {
            // onto itself: clears close-on-exec in the child
            actions.add_dup2(*fd, *fd)?;
        }
        if let Some(fd) = self.stderr {
            actions.add_dup2(fd, libc::STDERR_FILENO)?;
        }
        let mut attributes = PosixSpawnAttr::init()?;
        attributes.set_flags(PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK)?;
        attributes.set_sigmask(&self.blocked)?;
        posix_spawn(self.path, &actions, &attributes, &self.argv, &self.env)
    }
}

/// Forks. For a process that has one thread and goes on as itself in the child: the daemon.
pub fn fork() -> nix::Result<ForkResult> {
    // SAFETY: the callers run before any thread is started, so the child may do whatever the parent could.
    unsafe { nix::unistd::fork() }
}

/// Takes over a descriptor this process was started with, and makes it close-on-exec. Fails for a number that is not
/// open.
pub fn adopt(fd: RawFd) -> nix::Result<OwnedFd> {
    // SAFETY: the number is only used for one system call, which checks it.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd.max(0)) };
    if fd < 0 {
        return Err(Errno::EBADF);
    }
    nix::fcntl::fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    // SAFETY: the descriptor is open and was passed to this program by number; each number is adopted once, because the
    // lists that name them are checked for repetitions and removed from the environment.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A descriptor that stands for the process `pid`.
pub fn pidfd_open(pid: Pid) -> nix::Result<OwnedFd> {
    // SAFETY: a system call without pointers.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })?;
    // SAFETY: the kernel has just given this descriptor to us alone. It is close-on-exec.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Our own descriptor of what the process `of` has as `fd`. The kernel asks for the rights of a debugger.
pub fn pidfd_getfd(of: &OwnedFd, fd: RawFd) -> nix::Result<OwnedFd> {
    // SAFETY: a system call without pointers.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_getfd, of.as_raw_fd(), fd, 0) })?;
    // SAFETY: the kernel has just given this descriptor to us alone. It is close-on-exec.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Another number for what `fd` is, close-on-exec.
pub fn duplicate(fd: RawFd) -> nix::Result<RawFd> {
    // SAFETY: the number is only used for one system call, which checks it.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd.max(0)) };
    nix::fcntl::fcntl(borrowed, FcntlArg::F_DUPFD_CLOEXEC(0))
}

/// Becomes this very program anew, with the descriptors `keep`. Returns only when that fails.
pub fn replace_self(argv: &[CString], env: &[CString], keep: &[RawFd]) -> Errno {
    for fd in keep {
        // SAFETY: the number is only used for one system call, which checks it.
        let borrowed = unsafe { BorrowedFd::borrow_raw((*fd).max(0)) };
        if let Err(errno) = nix::fcntl::fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::empty())) {
            return errno;
        }
    }
    match nix::unistd::execve(SELF, argv, env) {
        Err(errno) => errno,
        Ok(never) => match never {},
    }
}

/// Makes `variables` the whole environment of this process.
pub fn replace_environment(variables: Vec<CString>) {
    let names: Vec<OsString> = std::env::vars_os().map(|(name, _)| name).collect();
    for name in names {
        // SAFETY: called before any thread is started.
        unsafe { std::env::remove_var(name) };
    }
    for variable in variables {
        let text = OsStr::from_bytes(variable.as_bytes());
        let Some(at) = text.as_bytes().iter().position(|byte| *byte == b'=') else { continue };
        let (name, value) = text.as_bytes().split_at(at);
        if !name.is_empty() {
            // SAFETY: as above.
            unsafe { std::env::set_var(OsStr::from_bytes(name), OsStr::from_bytes(&value[1..])) };
        }
    }
}

/// Removes a variable from the environment and returns what it was.
pub fn take_variable(name: &str) -> Option<OsString> {
    let value = std::env::var_os(name)?;
    // SAFETY: called at the beginning of main, before any thread is started.
    unsafe { std::env::remove_var(name) };
    Some(value)
}

/// Sets this process's scheduling priority.
pub fn set_priority(nice: i32) -> io::Result<()> {
    // SAFETY: a system call without pointers.
    match unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The memory the kernel shows as the process's command line: arguments and, right behind them, environment.
pub struct TitleMemory {
    start: *mut u8,
    len: usize,
}

impl TitleMemory {
    /// Finds the memory and moves the environment out of it. `None` where `/proc` is not there; titles then stay as
    /// they are. [`std::env::args`] must not be used after [`TitleMemory::set`].
    pub fn claim() -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        let [arg_start, arg_end, env_start, env_end] = addresses(&stat)?;
        move_environment();
        let end = if env_start == arg_end { env_end } else { arg_end };
        let len = end.checked_sub(arg_start)?;
        (arg_start != 0 && len > 1).then_some(Self { start: arg_start as *mut u8, len })
    }

    /// Shows `title`, cut to what fits.
    pub fn set(&self, title: &OsStr) {
        let title = title.as_bytes();
        let shown = &title[..title.len().min(self.len - 1)];
        // SAFETY: the kernel says that this is where the strings of arguments and environment lie: writable memory of
        // this process that lives as long as it. Nothing refers to the environment's strings since they were copied,
        // and nobody reads the arguments' any more. The title fits and is followed by zeroes to the end.
        unsafe {
            std::ptr::copy_nonoverlapping(shown.as_ptr(), self.start, shown.len());
            std::ptr::write_bytes(self.start.add(shown.len()), 0, self.len - shown.len());
        }
    }
}

/// The fields arg_start, arg_end, env_start and env_end of `/proc/self/stat`.
fn addresses(stat: &str) -> Option<[usize; 4]> {
    // the second field is the program's name in parentheses and may contain anything
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(45).map(|field| field.parse().ok());
    Some([fields.next()??, fields.next()??, fields.next()??, fields.next()??])
}

/// Replaces every string of the environment by a copy elsewhere.
fn move_environment() {
    unsafe extern "C" {
        static environ: *mut *mut libc::c_char;
    }
    // SAFETY: `environ` is a null-terminated array of C strings, and no other thread exists that could change it. The
    // copies live for ever.
    unsafe {
        let mut at = environ;
        while !at.is_null() && !(*at).is_null() {
            *at = CStr::from_ptr(*at).to_owned().into_raw();
            at = at.add(1);
        }
    }
}

/// Bytes as an argument or environment string; what lies behind a zero byte is lost.
pub fn c_string(text: impl Into<OsString>) -> CString {
    let mut bytes = text.into().into_vec();
    if let Some(zero) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(zero);
    }
    CString::new(bytes).expect("zero bytes were cut off")
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::wait::{WaitStatus, waitpid};
    use std::io::{Read as _, Write as _};

    #[test]
    fn addresses_are_found_behind_any_name() {
        let fields: Vec<String> = (3..=52).map(|n| n.to_string()).collect();
        let stat = format!("17 (a) b (c) {}", fields.join(" "));
        assert_eq!(addresses(&stat), Some([48, 49, 50, 51]));
        assert_eq!(addresses("17 (x) S 1"), None);
    }

    #[test]
    fn a_child_gets_its_descriptors_environment_and_stderr() {
        let (reader, writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap();
        let mut kept = std::fs::File::from(
            nix::sys::memfd::memfd_create(c"t", nix::sys::memfd::MFdFlags::MFD_CLOEXEC).unwrap(),
        );
        kept.write_all(b"kept").unwrap();
        let lost = std::fs::File::open("/dev/null").unwrap();
        let script = format!(
            "cat /proc/self/fd/{} >&2; test -e /proc/self/fd/{} && printf lost >&2; printf %s \"$A\" >&2",
            kept.as_raw_fd(),
            lost.as_raw_fd()
        );
        let child = Child {
            path: c"/bin/sh",
            argv: ["sh", "-c", &script].map(c_string).to_vec(),
            env: vec![c_string("A=b"), c_string("PATH=/bin:/usr/bin")],
            keep: vec![kept.as_raw_fd()],
            stderr: Some(writer.as_raw_fd()),
            blocked: SigSet::empty(),
        };
        let pid = child.start().unwrap();
        drop(writer);
        let mut text = String::new();
        std::fs::File::from(reader).read_to_string(&mut text).unwrap();
        assert_eq!(text, "keptb");
        assert_eq!(waitpid(pid, None), Ok(WaitStatus::Exited(pid, 0)));
    }

    #[test]
    fn a_missing_program_is_an_error_of_the_start() {
        let child = Child {
            path: c"/no/such/program",
            argv: vec![c_string("x")],
            env: vec![],
            keep: vec![],
            stderr: None,
            blocked: SigSet::empty(),
        };
        assert_eq!(child.start(), Err(Errno::ENOENT));
    }

    #[test]
    fn only_open_numbers_are_adopted() {
        assert_eq!(adopt(-1).unwrap_err(), Errno::EBADF);
        assert_eq!(adopt(1_000_000).unwrap_err(), Errno::EBADF);
    }

    #[test]
    fn strings_end_at_a_zero_byte() {
        assert_eq!(c_string("a\0b").to_bytes(), b"a");
    }
}
