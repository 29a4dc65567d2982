//! What a worker process is before it begins to work: its priority, its limits, its processors, its name.
//!
//! All of this may need the master's privileges; the worker itself gives them up once it has read its files.

use std::fmt;
use std::path::Path;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use conf::error::errno;
use worker::modules::main::MainConf;

use crate::spawn;

/// Limits and priority of workers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// `worker_priority`.
    pub priority: i32,
    /// `worker_rlimit_nofile`.
    pub open_files: Option<u64>,
    /// `worker_rlimit_core`, in bytes.
    pub core_bytes: Option<u64>,
}

impl Limits {
    /// What the configuration says.
    pub fn of(main: &MainConf) -> Self {
        Self {
            priority: *main.priority.get(),
            open_files: main.rlimit_nofile.as_ref().copied(),
            core_bytes: main.rlimit_core.as_ref().copied(),
        }
    }

    /// Makes them this process's. What cannot be set is reported and left: a worker with other limits serves, too.
    pub fn apply(&self, mut report: impl FnMut(fmt::Arguments<'_>)) {
        if self.priority != 0
            && let Err(error) = spawn::set_priority(self.priority)
        {
            report(format_args!("setpriority({}) failed ({})", self.priority, errno(&error)));
        }
        let limits = [
            ("NOFILE", Resource::RLIMIT_NOFILE, self.open_files),
            ("CORE", Resource::RLIMIT_CORE, self.core_bytes),
        ];
        for (name, resource, limit) in limits {
            if let Some(limit) = limit
                && let Err(error) = setrlimit(resource, limit, limit)
            {
                report(format_args!("setrlimit(RLIMIT_{name}, {limit}) failed ({})", errno(&error.into())));
            }
        }
    }
}

/// Keeps this process on the processors of `mask` (bit `n % 64` of word `n / 64` is processor `n`; empty: any).
pub fn pin(mask: &[u64]) -> nix::Result<()> {
    if mask.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    for cpu in (0..mask.len() * 64).filter(|cpu| mask[cpu / 64] & (1 << (cpu % 64)) != 0) {
        set.set(cpu)?;
    }
    sched_setaffinity(Pid::from_raw(0), &set)
}

/// Gives the process the short name that `top`, `pgrep` and `killall` show; the kernel took "exe" from the path it was
/// started by.
pub fn name(program: &str) {
    // where there is no /proc nobody shows names either
    let _ = std::fs::write(Path::new("/proc/self/comm"), program);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_cannot_be_set_are_reported() {
        let mut messages = Vec::new();
        let limits = Limits { open_files: Some(u64::MAX - 1), ..Limits::default() };
        limits.apply(|message| messages.push(message.to_string()));
        assert_eq!(messages.len(), 1, "{messages:?}");
        assert!(
            messages[0].starts_with("setrlimit(RLIMIT_NOFILE, 18446744073709551614) failed (1: "),
            "{messages:?}"
        );
        Limits::default().apply(|message| panic!("{message}"));
    }

    #[test]
    fn processors_that_do_not_exist_are_refused() {
        assert_eq!(pin(&[]), Ok(()));
        assert!(pin(&[0]).is_err());
        assert!(pin(&[0; 1000]).is_err());
    }
}
