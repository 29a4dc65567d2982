//! Where an error log goes: a file, standard error, or syslog.

use std::rc::Rc;

use conf::{Node, Result};

use super::LogFile;
use crate::build::Builder;

/// A destination of log lines.
#[derive(Clone)]
pub enum Target {
    /// A file (or standard error).
    File(Rc<LogFile>),
    /// `syslog:server=…`.
    Syslog(Rc<crate::syslog::Syslog>),
}

/// Reads the first argument of `error_log`.
pub fn parse_target(cx: &mut Builder, node: &Node, name: &str) -> Result<Target> {
    if let Some(options) = name.strip_prefix("syslog:") {
        return Ok(Target::Syslog(Rc::new(crate::syslog::Syslog::parse(node, options)?)));
    }
    if name.starts_with("memory:") {
        return Err(node.error("error_log to cyclic memory buffer is not supported yet"));
    }
    let path = if name == "stderr" { name.into() } else { cx.paths.full(name) };
    Ok(Target::File(cx.logs.file(&path)))
}
