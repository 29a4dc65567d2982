//! Workers whose master was killed: they serve on, and hold the port. A new master takes their sockets over, connections
//! that queue on them included, and sends the workers home once its own ones serve.
//!
//! They are recognised without doubt: the pid file names a master that is no more, and their environment says that they
//! were started by it. Where the system does not let one process take descriptors of another (`ptrace_scope`, a missing
//! CAP_SYS_PTRACE) the port stays in use, and the start fails as it does with nginx.

use std::collections::HashSet;
use std::ffi::{CString, OsStr};
use std::fs;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{getsockopt, sockopt};
use nix::sys::stat::fstat;
use nix::unistd::Pid;
use worker::log::Level;

use crate::{journal, pid, spawn, title};

/// The variable that tells a worker's master.
const VARIABLE: &str = "URESTY_MASTER";

/// What a dead master left behind.
#[derive(Default)]
pub struct Orphans {
    /// Its workers.
    pub workers: Vec<Pid>,
    /// Their listening sockets, now ours as well.
    pub sockets: Vec<OwnedFd>,
}

/// The variable for workers of this process.
pub fn variable() -> CString {
    spawn::c_string(format!("{VARIABLE}={}", Pid::this()))
}

/// Looks for workers of the master that `pid_file` names, if that is gone.
pub fn find(pid_file: &Path) -> Orphans {
    let mut orphans = Orphans::default();
    let Ok(master) = pid::read(pid_file) else { return orphans };
    if kill(master, None) != Err(Errno::ESRCH)
        && cmdline(master).is_some_and(|title| title::is_master(&title))
    {
        return orphans;
    }
    orphans.workers = workers_of(master);
    let mut seen = HashSet::new();
    for worker in &orphans.workers {
        match take_sockets(*worker, &mut seen) {
            Ok(sockets) => orphans.sockets.extend(sockets),
            Err(errno) => journal::write(
                Level::Warn,
                format_args!(
                    "cannot take over the sockets of worker process {worker}, whose master process {master} is gone ({})",
                    errno.desc()
                ),
            ),
        }
    }
    if !orphans.sockets.is_empty() {
        let (sockets, workers) = (orphans.sockets.len(), orphans.workers.len());
        journal::notice(format_args!(
            "taking over {sockets} sockets of {workers} worker processes whose master process {master} is gone"
        ));
    }
    orphans
}

/// Tells the workers to finish what they have.
pub fn dismiss(workers: &[Pid]) {
    for worker in workers {
        // one that has ended meanwhile has done what is asked
        let _ = kill(*worker, Signal::SIGQUIT);
    }
}

fn workers_of(master: Pid) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).map(Pid::from_raw);
    pids.filter(|pid| {
        cmdline(*pid).is_some_and(|title| title::is_worker(OsStr::from_bytes(&title)))
            && was_started_by(*pid, master)
    })
    .collect()
}

/// The first argument, which is the title of our processes.
fn cmdline(pid: Pid) -> Option<Vec<u8>> {
    let text = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    Some(text.split(|byte| *byte == 0).next()?.to_owned())
}

fn was_started_by(pid: Pid, master: Pid) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let wanted = format!("{VARIABLE}={master}");
    environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
}

/// Duplicates the listening sockets of `worker`, each socket once.
fn take_sockets(worker: Pid, seen: &mut HashSet<u64>) -> nix::Result<Vec<OwnedFd>> {
    let process = spawn::pidfd_open(worker)?;
    let numbers = fs::read_dir(format!("/proc/{worker}/fd")).map_err(|_| Errno::EACCES)?;
    let numbers = numbers.flatten().filter_map(|entry| {
        let is_socket =
            fs::read_link(entry.path()).is_ok_and(|to| to.as_os_str().as_bytes().starts_with(b"socket:"));
        let number: RawFd = entry.file_name().to_str()?.parse().ok()?;
        is_socket.then_some(number)
    });
    let mut sockets = Vec::new();
    for number in numbers {
        let socket = match spawn::pidfd_getfd(&process, number) {
            Ok(socket) => socket,
            // closed since we looked
            Err(Errno::EBADF) => continue,
            Err(errno) => return Err(errno),
        };
        if getsockopt(&socket, sockopt::AcceptConn) == Ok(true) && seen.insert(fstat(&socket)?.st_ino) {
            sockets.push(socket);
        }
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_tells_who_started_it() {
        let master = Pid::from_raw(4_000_001);
        let mut child =
            std::process::Command::new("sleep").arg("10").env(VARIABLE, master.to_string()).spawn().unwrap();
        let pid = Pid::from_raw(child.id() as i32);
        // until it has executed its program it has our environment
        while cmdline(pid).is_none_or(|title| title != b"sleep") {
            std::thread::yield_now();
        }
        assert!(was_started_by(pid, master));
        assert!(!was_started_by(pid, Pid::from_raw(400_000)));
        assert!(workers_of(master).is_empty(), "it is not titled as a worker");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn nothing_is_looked_for_while_the_master_lives_or_without_a_pid_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.pid");
        assert!(find(&file).workers.is_empty());
        fs::write(&file, "4000001\n").unwrap();
        assert!(find(&file).workers.is_empty());
    }

    #[test]
    fn listening_sockets_can_be_taken() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut seen = HashSet::new();
        let sockets = take_sockets(Pid::this(), &mut seen).unwrap();
        let addresses: Vec<_> = sockets
            .into_iter()
            .filter_map(|socket| std::net::TcpListener::from(socket).local_addr().ok())
            .collect();
        assert!(addresses.contains(&listener.local_addr().unwrap()), "{addresses:?}");
        assert!(take_sockets(Pid::this(), &mut seen).unwrap().is_empty());
    }
}
