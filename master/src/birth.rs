//! What passes from the master to a worker when it is started, and the worker's side of it.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;
use std::process::ExitCode;

use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::{Deserialize, Serialize};
use worker::boot::Boot;
use worker::log::Level;

use crate::identity::{self, Limits};
use crate::title::Program;
use crate::{journal, modules, spawn, title};

/// Everything a worker is told.
#[derive(Serialize, Deserialize)]
pub struct Birth {
    /// For the worker proper.
    pub boot: Boot,
    /// For the process it lives in.
    pub limits: Limits,
    /// The log until it has read which one to use.
    pub early_log: Option<PathBuf>,
}

/// The variable that names the descriptor with a [`Birth`].
const VARIABLE: &str = "URESTY_WORKER";

/// Digits of the number in the variable: with them there is room behind the short title a worker is started with for
/// the longer one it gets when it shuts down.
const DIGITS: usize = 32;

impl Birth {
    /// A descriptor to read it from.
    pub fn send(&self) -> io::Result<OwnedFd> {
        let bytes = postcard::to_stdvec(self).map_err(io::Error::other)?;
        let mut file = File::from(memfd_create(c"birth", MFdFlags::MFD_CLOEXEC)?);
        file.write_all(&bytes)?;
        Ok(file.into())
    }

    /// Reads it.
    fn receive(fd: OwnedFd) -> io::Result<Self> {
        let mut file = File::from(fd);
        let mut bytes = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut bytes)?;
        postcard::from_bytes(&bytes).map_err(io::Error::other)
    }
}

/// The variable for a child that finds its [`Birth`] in `fd`.
pub fn variable(fd: RawFd) -> CString {
    spawn::c_string(format!("{VARIABLE}={fd:0DIGITS$}"))
}

/// The descriptor this process was given, if it is a worker. The variable alone makes none: a worker's own children
/// may have it in their environment.
pub fn is_worker(argv: &[OsString]) -> Option<RawFd> {
    let value = spawn::take_variable(VARIABLE)?;
    let titled = argv.first().is_some_and(|argv0| title::is_worker(OsStr::new(argv0)));
    if titled { value.to_str()?.parse().ok() } else { None }
}

/// A worker from start to end.
pub fn live(fd: RawFd) -> ExitCode {
    let birth = spawn::adopt(fd).map_err(io::Error::from).and_then(Birth::receive);
    let birth = match birth {
        Ok(birth) => birth,
        Err(error) => {
            journal::print(format_args!("a worker process is started by the master process only ({error})"));
            return ExitCode::from(FATAL);
        }
    };
    journal::stop_printing();
    journal::open_early(birth.early_log.as_deref());
    let program = Program::of(OsStr::new(&birth.boot.program));
    identity::name(program.name());
    title::prepare(program);
    birth.limits.apply(journal::alert);
    if let Err(errno) = identity::pin(&birth.boot.cpu_mask) {
        journal::alert(format_args!("sched_setaffinity() failed ({})", conf::error::errno(&errno.into())));
    }
    journal::write(Level::Debug, format_args!("worker {} begins", birth.boot.slot));
    worker::run(birth.boot, modules::ALL)
}

/// Exit code of a worker that cannot work.
pub const FATAL: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_received() {
        let boot = Boot {
            program: "nginx".into(),
            sources: vec![1, 2, 3],
            main_file: "/x/nginx.conf".into(),
            prefix: "/x".into(),
            error_log: None,
            globals: Some("daemon off;".into()),
            slot: 3,
            workers: 4,
            generation: 5,
            listeners: Vec::new(),
            zones: Vec::new(),
            control: Some(7),
            gateway: None,
            cpu_mask: vec![8],
            epoll: true,
        };
        let birth = Birth { boot, limits: Limits::default(), early_log: Some("/x/error.log".into()) };
        let received = Birth::receive(birth.send().unwrap()).unwrap();
        assert_eq!(received.boot.sources, [1, 2, 3]);
        assert_eq!((received.boot.slot, received.boot.control), (3, Some(7)));
        assert_eq!(received.early_log, birth.early_log);
    }

    #[test]
    fn the_variable_leaves_room_for_a_longer_title() {
        let text = variable(12);
        assert_eq!(text.to_str().unwrap().split_once('=').unwrap().1.parse(), Ok(12));
        let longer = "nginx: worker process is shutting down".len() - "nginx: worker process".len();
        assert!(text.as_bytes().len() > longer);
    }
}
