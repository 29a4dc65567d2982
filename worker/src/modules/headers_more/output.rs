//! Changing the fields of a response.

use super::parse::{Change, Field};
use crate::request::Request;

/// Carries out a directive, if it is meant for this response.
pub(super) fn apply(change: &Change, req: &mut Request) {
    if !change.statuses.is_empty() && !change.statuses.contains(&req.out.status) {
        return;
    }
    if !change.is_for_type(&req.out.content_type) {
        return;
    }
    for field in &change.fields {
        let value = field.value.eval(req);
        match (field.wildcard, value.is_empty()) {
            (true, _) => clear_all(req, field),
            (false, true) => req.out.clear_field(&field.name),
            (false, false) if change.append => {
                req.out.headers.push(&field.name, &value);
            }
            (false, false) => req.out.set_field(&field.name, &value),
        }
    }
}

fn clear_all(req: &mut Request, field: &Field) {
    const OWN: [&[u8]; 6] =
        [b"Server", b"Date", b"Content-Type", b"Content-Length", b"Last-Modified", b"Location"];
    for name in OWN.iter().filter(|name| field.means(name)) {
        req.out.clear_field(name);
    }
    req.out.headers.retain(|_, name, _| !field.means(name));
}
