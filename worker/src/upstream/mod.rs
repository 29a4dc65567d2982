//! Talking to upstream servers.

mod trace;

pub use trace::{Trace, Try};
