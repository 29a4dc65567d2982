//! Directories and log files a configuration needs, made before workers start: workers may lack the rights.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use conf::error::errno;
use worker::modules::main::Identity;

use crate::engine::Plan;
use crate::journal;
use crate::place::Place;

/// Makes the directories for temporary files and opens the logs. The error is nginx's message.
pub fn prepare(plan: &Plan) -> Result<(), String> {
    for path in &plan.temp_paths {
        make_directory(path, plan.user())?;
    }
    plan.config.logs.open_all()
}

/// Opens the logs again, for log rotation, and gives new files to the workers' user, who opens them next.
pub fn reopen(plan: &Plan) {
    if let Err(reason) = plan.config.logs.open_all() {
        journal::emerg(format_args!("{reason}"));
    }
    let Some(user) = plan.user() else { return };
    for file in plan.config.logs.files() {
        // standard error and devices belong to others
        if fs::metadata(&file.path).is_ok_and(|meta| meta.is_file())
            && let Err(reason) = give(&file.path, user, 0o600)
        {
            journal::emerg(format_args!("{reason}"));
        }
    }
}

/// Makes the directory of the default error log, so that a fresh prefix works.
pub fn make_log_directory(log: &Path) {
    if let Some(directory) = log.parent() {
        // opening the log says what is wrong
        let _ = fs::create_dir_all(directory);
    }
}

/// Where standard error of a server in the background goes: to its early log, or to nowhere.
pub fn stderr(place: &Place) -> Option<OwnedFd> {
    let log = place.early_log.as_deref().and_then(|log| worker::log::open_to_append(log).ok());
    let null = || OpenOptions::new().write(true).open("/dev/null").ok();
    log.or_else(null).map(OwnedFd::from)
}

fn make_directory(path: &Path, user: Option<&Identity>) -> Result<(), String> {
    // a prefix that was never installed is made as well: the paths of a packaged configuration are all elsewhere
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|error| failed("mkdir()", parent, &error))?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed("mkdir()", path, &error)),
    }
    match user {
        Some(user) => give(path, user, 0o700),
        None => Ok(()),
    }
}

/// Makes `user` the owner of `path`, with at least the rights `mode`.
fn give(path: &Path, user: &Identity, mode: u32) -> Result<(), String> {
    let meta = fs::metadata(path).map_err(|error| failed("stat()", path, &error))?;
    if meta.uid() != user.uid {
        std::os::unix::fs::chown(path, Some(user.uid), None).map_err(|error| {
            format!("chown(\"{}\", {}) failed ({})", path.display(), user.uid, errno(&error))
        })?;
    }
    if meta.mode() & mode != mode {
        let wider = Permissions::from_mode(meta.mode() | mode);
        fs::set_permissions(path, wider).map_err(|error| failed("chmod()", path, &error))?;
    }
    Ok(())
}

fn failed(call: &str, path: &Path, error: &io::Error) -> String {
    format!("{call} \"{}\" failed ({})", path.display(), errno(error))
}
