//! `error_log`.

use std::rc::Rc;

use conf::{Node, Result};

use super::LOCATION;
use crate::build::Builder;
use crate::log::{Level, parse_target};

/// `error_log file [level]`, at every level of the configuration.
pub(super) fn apply(cx: &mut Builder, node: &Node) -> Result<()> {
    let level = match node.arg(1) {
        None => Level::Error,
        // `debug_http` and its like select parts of nginx's source: all of them are debug here
        Some(text) if text.starts_with("debug_") => Level::Debug,
        Some(text) => {
            Level::parse(text).ok_or_else(|| node.error(format!("invalid log level \"{text}\"")))?
        }
    };
    if node.len() > 2 {
        let extra = node.arg(2).unwrap_or_default();
        return Err(node.error(format!("invalid log level \"{extra}\"")));
    }
    let target = parse_target(cx, node, node.first())?;
    let targets = cx.conf(&LOCATION).set.error_log_targets.or_insert_with(|| Rc::from([]));
    *targets = targets.iter().cloned().chain([(target, level)]).collect();
    Ok(())
}
