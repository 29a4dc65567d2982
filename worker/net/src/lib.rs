//! The only crate that names the io_uring runtime: rings, timers, buffers, sockets, files.
//!
//! Everything above it sees plain futures over owned buffers and does not know whether an io_uring or an epoll loop
//! completes them. House rules that follow from the runtime's known limits are kept here and nowhere else:
//! one timerfd per worker feeds an own timer wheel, a receive is never simply dropped (it is cancelled and its outcome
//! kept), a task that wants to yield waits for the next turn of the ring, and a panic ends one task only.
//!
//! All types are bound to the worker's thread; nothing here is `Send` unless it says so.

mod addr;
mod blocking;
mod buffer;
mod chain;
mod connect;
pub mod cpu;
mod departure;
pub mod file;
pub mod handoff;
mod inherit;
mod listen;
mod memory;
mod notify;
mod pollfd;
mod pool;
pub mod proxy_protocol;
mod recv;
pub mod runtime;
pub mod select;
mod send;
pub mod signal;
mod stream;
mod tcp_info;
pub mod timer;
mod turn;
mod udp;
mod wheel;

pub use addr::Addr;
pub use blocking::blocking;
pub use buffer::Buf;
pub use chain::Chain;
pub use connect::{ConnectOptions, connect};
pub use file::{DirEntry, File, OpenOptions, create_dir_all, metadata, open, read_dir, rename, unlink};
pub use inherit::inherit;
pub use listen::{Listener, is_cancelled};
pub use memory::release_free_memory;
pub use notify::{Notified, Notify};
pub use pollfd::PollFd;
pub use recv::Received;
pub use runtime::{Driver, DriverChoice, RingOptions, live_tasks, run, set_panic_hook, spawn};
pub use select::{Either, join2, select2};
pub use signal::Signals;
pub use stream::Stream;
pub use tcp_info::TcpInfo;
pub use timer::{Elapsed, Sleep, Tick, Timeout, now, sleep, timeout, unix_ms, unix_seconds_coarse};
pub use turn::yield_turn;
pub use udp::Udp;
