//! The master's messages: the error log, and standard error until somebody can look into the log.
//!
//! While the server starts, warnings and worse are printed as `nginx: [level] message` as well; people and tools read
//! that. The log itself is the one of the command line or the default until a configuration names another.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use conf::error::errno;
use worker::log::{self, ErrorLog, Level, LogRegistry, Target};

/// Whether messages are printed, too.
static PRINTS: AtomicBool = AtomicBool::new(true);

/// Opens the log for messages before a configuration is read; `None`: there is only standard error.
pub fn open_early(path: Option<&Path>) {
    let mut targets = Vec::new();
    let mut failure = None;
    if let Some(path) = path {
        let file = LogRegistry::default().file(path);
        match file.open() {
            Ok(()) => targets.push((Target::File(file), Level::Notice)),
            Err(error) => {
                let shown = path.display();
                failure = Some(format!(
                    "could not open error log file: open() \"{shown}\" failed ({})",
                    errno(&error)
                ));
            }
        }
    }
    log::set_process_log(ErrorLog::new(targets));
    if let Some(failure) = failure {
        write(Level::Alert, format_args!("{failure}"));
    }
}

/// Writes to `log` from now on.
pub fn use_log(log: ErrorLog) {
    log::set_process_log(log);
}

/// Prints nothing from now on: the server has started.
pub fn stop_printing() {
    PRINTS.store(false, Ordering::Relaxed);
}

/// One message.
pub fn write(level: Level, message: fmt::Arguments<'_>) {
    log::process(level, message);
    if level <= Level::Warn && PRINTS.load(Ordering::Relaxed) {
        eprintln!("nginx: [{}] {message}", level.name());
    }
}

/// `[emerg]`
pub fn emerg(message: fmt::Arguments<'_>) {
    write(Level::Emerg, message);
}

/// `[alert]`
pub fn alert(message: fmt::Arguments<'_>) {
    write(Level::Alert, message);
}

/// `[notice]`
pub fn notice(message: fmt::Arguments<'_>) {
    write(Level::Notice, message);
}

/// What nginx prints without a level: `nginx: message`.
pub fn print(message: fmt::Arguments<'_>) {
    eprintln!("nginx: {message}");
}
