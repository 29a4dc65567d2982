//! Logs: levels, files that are opened once and reopened on demand, the error log and its line format.

mod error_log;
mod file;
mod target;
pub mod time;

pub use error_log::{ErrorLog, Level, RequestContext, process, set_process_log};
pub use file::{LogFile, LogRegistry};
pub use target::{Target, parse_target};
