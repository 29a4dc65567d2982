//! Changing the fields of a request.

use http1::Known;

use super::parse::{Change, Field};
use crate::request::Request;

/// Carries out a directive, if it is meant for this request.
pub(super) fn apply(change: &Change, req: &mut Request) {
    if !change.is_for_type(req.header(Known::ContentType).unwrap_or_default()) {
        return;
    }
    for field in &change.fields {
        if change.replace && !req.headers.contains(&field.name) {
            continue;
        }
        let value = field.value.eval(req);
        if field.wildcard || value.is_empty() {
            clear(req, field);
        } else {
            req.headers.set(&field.name, &value);
        }
        follow(req, field);
    }
}

fn clear(req: &mut Request, field: &Field) {
    req.headers.retain(|_, name, _| !field.means(name));
}

/// What the engine has read from a field follows the field.
fn follow(req: &mut Request, field: &Field) {
    if field.means(b"Host") {
        let host = req.header(Known::Host).unwrap_or_default().to_vec();
        req.host = host;
        req.host_port = None;
    }
    if field.means(b"Connection") {
        let close = req.header(Known::Connection).is_some_and(|value| value.eq_ignore_ascii_case(b"close"));
        if close {
            req.keepalive = false;
        }
    }
}
