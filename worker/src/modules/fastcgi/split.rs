//! `$fastcgi_script_name` and `$fastcgi_path_info`.

use conf::{Node, Result};

use super::CONF;
use crate::build::Builder;
use crate::log::Level;
use crate::regex::{Captures, Regex};
use crate::request::Request;

/// `fastcgi_split_path_info pattern`.
pub(super) fn apply(cx: &mut Builder, node: &Node) -> Result<()> {
    let regex = Regex::new(node.first(), false).map_err(|error| node.error(error))?;
    if regex.group_count() != 2 {
        return Err(node.error(format!("pattern \"{}\" must have 2 captures", node.first())));
    }
    // given again, the last one counts
    cx.conf(&CONF).set.split.replace(Some(regex));
    Ok(())
}

pub(super) fn script_name(req: &mut Request, _: &[u8], out: &mut Vec<u8>) -> bool {
    let conf = req.location.confs.share(&CONF);
    let start = out.len();
    match split(req, conf.split.as_ref()) {
        Some(parts) => out.extend_from_slice(parts.get(1).unwrap_or_default()),
        None => out.extend_from_slice(&req.uri),
    }
    if out[start..].ends_with(b"/") {
        out.extend_from_slice(&conf.index);
    }
    true
}

pub(super) fn path_info(req: &mut Request, _: &[u8], out: &mut Vec<u8>) -> bool {
    let conf = req.location.confs.share(&CONF);
    if let Some(parts) = split(req, conf.split.as_ref()) {
        out.extend_from_slice(parts.get(2).unwrap_or_default());
    }
    true
}

/// The two parts of the URI; `None`: it is the script's name as a whole.
fn split(req: &Request, regex: Option<&Regex>) -> Option<Captures> {
    let regex = regex?;
    let mut captures = Captures::default();
    match regex.captures(&req.uri, &mut captures) {
        Ok(true) => Some(captures),
        Ok(false) => None,
        Err(error) => {
            let (uri, pattern) = (req.uri.escape_ascii(), regex.pattern());
            req.log(
                Level::Alert,
                format_args!("pcre2_match() failed: {error} on \"{uri}\" using \"{pattern}\""),
            );
            None
        }
    }
}
