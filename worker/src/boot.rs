//! What the master tells a worker when it starts one, and what the two say to each other afterwards.
//!
//! A worker is the same binary, exec'd with a memfd that holds a postcard-encoded [`Boot`]. It gets the *text* of the
//! configuration and not a file name: a worker that is started again after a crash runs what the master checked, even
//! when somebody is editing the file.

use std::os::fd::RawFd;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::zone::ZoneSpec;

/// Everything a worker needs to know at birth.
#[derive(Debug, Serialize, Deserialize)]
pub struct Boot {
    /// The name the program was called by (`uresty`, `nginx`, `openresty`): titles and messages follow it.
    pub program: String,
    /// Encoded [`conf::Sources`]: every file of the configuration as the master read it.
    pub sources: Vec<u8>,
    /// The main file among the sources.
    pub main_file: PathBuf,
    /// `-p`.
    pub prefix: PathBuf,
    /// `-e`, if given.
    pub error_log: Option<PathBuf>,
    /// `-g`, if given.
    pub globals: Option<String>,
    /// Position of this worker among its siblings, from 0.
    pub slot: u32,
    /// Number of workers of this generation.
    pub workers: u32,
    /// Counts reloads: 0 for the first configuration.
    pub generation: u64,
    /// Listening sockets, in no particular order.
    pub listeners: Vec<BootListener>,
    /// Shared-memory zones.
    pub zones: Vec<BootZone>,
    /// SEQPACKET socket to the master; `None` when there is none (`master_process off`).
    pub control: Option<RawFd>,
    /// SEQPACKET socket to the control plane, where there is a `gateway` block.
    pub gateway: Option<RawFd>,
    /// Processors to run on, as a bit mask in words of 64; empty: any.
    pub cpu_mask: Vec<u64>,
    /// Forces epoll instead of io_uring.
    pub epoll: bool,
}

/// The sockets of one listening address that this worker serves.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BootListener {
    /// The address as [`ListenSpec::key`](crate::listener::ListenSpec) prints it.
    pub key: String,
    /// Descriptors: usually one; more when the number of workers shrank and sockets of former workers still queue
    /// connections.
    pub fds: Vec<RawFd>,
}

/// A zone's memory.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BootZone {
    /// Name, size and use.
    pub spec: ZoneSpec,
    /// The memfd.
    pub fd: RawFd,
}

/// Master to worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Accept what queues on the listening sockets, for nobody may do so afterwards; finish what is in flight, then end
    /// (also SIGQUIT).
    Quit,
    /// End now (also SIGTERM, SIGINT).
    Terminate,
    /// Open the log files again (also SIGUSR1).
    Reopen,
}

/// Worker to master.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The worker accepts connections; `driver` is `io_uring` or `epoll`.
    Ready {
        /// What drives its I/O.
        driver: String,
    },
    /// The worker cannot start; it ends after this.
    Failed {
        /// Why, as logged.
        reason: String,
    },
}
