//! Logs: levels, files that are opened once and reopened on demand, the error log and its line format.

mod error_log;
mod file;
mod target;
pub mod time;
mod trouble;

pub use error_log::{ErrorLog, Level, RequestContext, Text, process, process_enabled, set_process_log};
pub use file::{Buffering, LogFile, LogRegistry, open_to_append};
pub use target::{Target, parse_target};
pub use trouble::Trouble;
