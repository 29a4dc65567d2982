//! The control plane: keeps the gateway's resources, checks changes, and brings them to every worker.
//!
//! ```text
//!   Admin API ──► check ──► Store::put ─┐                    ┌──► worker 0 ──(ack)──┐
//!                                       ▼                    │                      ▼
//!                       store ──(watch)──► State ──► publish ├──► worker 1 ──(ack)──► answer: applied n/n
//!                                                            └──► …
//! ```
//!
//! The watch is the only way in: what the Admin API writes is seen through it like everybody else's changes. A [`Plane`]
//! lives on a thread of its own in the master ([`start`]) and touches the rest of it through channels only. A panic there
//! ends neither the master nor a worker: the thread begins again, and workers get a snapshot.
#![forbid(unsafe_code)]

pub mod check;
pub mod history;
mod log;
mod member;
mod plane;
mod state;
pub mod store;
mod thread;

pub use log::{Log, LogLine};
pub use member::Member;
pub use plane::{Applied, Plane, WriteError, Writer};
pub use state::{Entry, State};
pub use thread::{Handle, Options, Service, StoreOptions, start};
