//! Going to the background.
//!
//! The process that was started waits until the one in the background serves: a caller that sees exit code 0 finds the
//! sockets open and the pid file written, and one that sees 1 has read why on its terminal.

use std::fs::OpenOptions;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::process::exit;

use nix::unistd::ForkResult;

use crate::{journal, spawn};

/// The background process's way to let the caller go.
pub struct Caller {
    pipe: Option<OwnedFd>,
}

impl Caller {
    /// Nobody waits: the process stays in the foreground.
    pub fn none() -> Self {
        Self { pipe: None }
    }

    /// Forks; returns in the child only, which has no terminal any more. Standard error stays what it is until
    /// [`Caller::release`], for messages about a failed start.
    pub fn leave() -> Result<Self, String> {
        let (reader, writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)
            .map_err(|errno| format!("pipe() failed ({})", describe(errno.into())))?;
        match spawn::fork().map_err(|errno| format!("fork() failed ({})", describe(errno.into())))? {
            ForkResult::Parent { .. } => {
                drop(writer);
                let mut up = [0];
                let started = std::fs::File::from(reader).read_exact(&mut up).is_ok();
                exit(if started { 0 } else { 1 })
            }
            ForkResult::Child => {
                nix::unistd::setsid()
                    .map_err(|errno| format!("setsid() failed ({})", describe(errno.into())))?;
                // the caller's is no business of a server; nginx takes 0 and names the rights of every file
                nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
                let null = OpenOptions::new().read(true).write(true).open("/dev/null");
                let null =
                    null.map_err(|error| format!("open(\"/dev/null\") failed ({})", describe(error)))?;
                let failed = |name: &'static str| {
                    move |errno: nix::Error| format!("dup2({name}) failed ({})", describe(errno.into()))
                };
                nix::unistd::dup2_stdin(&null).map_err(failed("STDIN"))?;
                nix::unistd::dup2_stdout(&null).map_err(failed("STDOUT"))?;
                Ok(Self { pipe: Some(writer) })
            }
        }
    }

    /// Lets the caller go and moves standard error to `log`, or to nowhere.
    pub fn release(&mut self, log: Option<impl AsFd>) {
        let Some(pipe) = self.pipe.take() else { return };
        let moved = match log {
            Some(log) => nix::unistd::dup2_stderr(log),
            None => match OpenOptions::new().write(true).open("/dev/null") {
                Ok(null) => nix::unistd::dup2_stderr(null),
                Err(_) => Ok(()),
            },
        };
        if let Err(errno) = moved {
            // a daemon that keeps its caller's terminal for want of anything else still serves
            journal::alert(format_args!("dup2(STDERR) failed ({})", describe(errno.into())));
        }
        // the caller may have been killed meanwhile
        let _ = std::fs::File::from(pipe).write_all(&[1]);
    }
}

fn describe(error: io::Error) -> String {
    conf::error::errno(&error)
}
