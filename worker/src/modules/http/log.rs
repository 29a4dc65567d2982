//! `error_log`.

use std::rc::Rc;

use conf::{Node, Result};

use super::LOCATION;
use crate::build::Builder;
use crate::log::{Level, parse_target};

/// `error_log file [level]`, at every level of the configuration.
pub(super) fn apply(cx: &mut Builder, node: &Node) -> Result<()> {
    let level = level(node)?;
    let target = parse_target(cx, node, node.first())?;
    let targets = cx.conf(&LOCATION).set.error_log_targets.or_insert_with(|| Rc::from([]));
    *targets = targets.iter().cloned().chain([(target, level)]).collect();
    Ok(())
}

/// `debug_http` and its like, of which there may be several, select parts of nginx's source: all of them are debug here.
fn level(node: &Node) -> Result<Level> {
    let mut found = None;
    let mut debug_parts = false;
    for text in node.str_args().skip(1) {
        let invalid = || node.error(format!("invalid log level \"{text}\""));
        let part = DEBUG_PARTS.contains(&text);
        match (found, Level::parse(text)) {
            (Some(_), Some(_)) if !debug_parts => {
                return Err(node.error(format!("duplicate log level \"{text}\"")));
            }
            (None, Some(level)) => found = Some(level),
            (None, None) if part => (found, debug_parts) = (Some(Level::Debug), true),
            (Some(_), None) if part && debug_parts => {}
            _ => return Err(invalid()),
        }
    }
    Ok(found.unwrap_or(Level::Error))
}

const DEBUG_PARTS: [&str; 7] =
    ["debug_core", "debug_alloc", "debug_mutex", "debug_event", "debug_http", "debug_mail", "debug_stream"];
