//! `ngx_http_not_modified_filter_module`: a client that has the response already gets 304, and one that asked for something
//! else 412.

use std::rc::Rc;

use conf::Result;
use http1::{Known, parse_http_time};

use crate::fault::Fault;
use crate::filter::{Filter, Interest, Position};
use crate::module::{Attach, Module};
use crate::modules::http::IfModifiedSince;
use crate::phase::Step;
use crate::request::Request;

/// The module.
pub const MODULE: NotModified = NotModified;

/// See the module's documentation.
pub struct NotModified;

impl Module for NotModified {
    fn name(&self) -> &'static str {
        "ngx_http_not_modified_filter_module"
    }

    fn attach(&self, cx: &mut Attach<'_>) -> Result<()> {
        cx.filter(Position::NotModified, Rc::new(NotModified));
        Ok(())
    }
}

impl Filter for NotModified {
    fn header<'r>(&'r self, req: &'r mut Request) -> Step<'r, std::result::Result<Interest, Fault>> {
        if req.out.status != 200 || !req.is_main() || req.out.from_upstream {
            return Step::Ready(Ok(Interest::None));
        }
        if fails_precondition(req) {
            req.out.reset();
            req.context.clear();
            return Step::Ready(Err(Fault::answer(412)));
        }
        if is_not_modified(req) {
            req.out.status = 304;
            req.out.status_text = None;
            req.out.set_content_type(b"");
            req.out.clear_length();
            req.out.clear_ranges();
            req.out.headers.remove_known(Known::ContentEncoding);
        }
        Step::Ready(Ok(Interest::None))
    }
}

/// Whether `If-Unmodified-Since` or `If-Match` ask for something else than this response.
fn fails_precondition(req: &Request) -> bool {
    if let Some(since) = req.header(Known::IfUnmodifiedSince) {
        // a date that cannot be read is older than everything
        let since = parse_http_time(since).unwrap_or(-1);
        if req.out.last_modified.is_none_or(|modified| since < modified) {
            return true;
        }
    }
    let etag = req.out.headers.known(Known::Etag);
    req.header(Known::IfMatch).is_some_and(|list| !matches(list, etag, Compare::Strong))
}

/// Whether the client has this very response, by `If-Modified-Since` and `If-None-Match`; both must say so when both are
/// there.
fn is_not_modified(req: &Request) -> bool {
    let since = req.header(Known::IfModifiedSince);
    let none_match = req.header(Known::IfNoneMatch);
    if since.is_none() && none_match.is_none() {
        return false;
    }
    if since.is_some_and(|since| is_modified(req, since)) {
        return false;
    }
    let etag = req.out.headers.known(Known::Etag);
    none_match.is_none_or(|list| matches(list, etag, Compare::Weak))
}

fn is_modified(req: &Request, since: &[u8]) -> bool {
    let Some(modified) = req.out.last_modified else { return true };
    let mode = req.http().if_modified_since;
    if mode == IfModifiedSince::Off {
        return true;
    }
    let since = parse_http_time(since).unwrap_or(-1);
    since != modified && (mode == IfModifiedSince::Exact || since < modified)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compare {
    Strong,
    Weak,
}

/// Whether one of the entity tags in `list` is `etag` (RFC 9110 section 8.8.3.2), or `list` is `*`.
fn matches(list: &[u8], etag: Option<&[u8]>, compare: Compare) -> bool {
    if list == b"*" {
        return true;
    }
    let Some(etag) = etag else { return false };
    let strip = |tag: &'_ [u8]| -> usize {
        if compare == Compare::Weak && tag.starts_with(b"W/") && tag.len() > 2 { 2 } else { 0 }
    };
    let etag = &etag[strip(etag)..];
    let mut rest = list;
    while !rest.is_empty() {
        rest = &rest[strip(rest)..];
        // a tag may hold a comma: compared as a whole before the list is cut
        if let Some(behind) = rest.strip_prefix(etag) {
            let behind = behind.trim_ascii_start();
            if matches!(behind.first(), None | Some(b',')) {
                return true;
            }
        }
        let Some(comma) = memchr::memchr(b',', rest) else { return false };
        let next = rest[comma..].iter().position(|byte| !matches!(byte, b' ' | b'\t' | b','));
        rest = next.map_or(&[], |next| &rest[comma + next..]);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_tags() {
        use Compare::{Strong, Weak};
        for (list, etag, compare, expected) in [
            ("*", None, Strong, true),
            ("\"a\"", None, Strong, false),
            ("\"a\"", Some("\"a\""), Strong, true),
            ("\"b\", \"a\"", Some("\"a\""), Strong, true),
            ("\"b\" ,\t, \"a\" ,\"c\"", Some("\"a\""), Strong, true),
            ("\"b\"", Some("\"a\""), Strong, false),
            ("W/\"a\"", Some("\"a\""), Strong, false),
            ("W/\"a\"", Some("\"a\""), Weak, true),
            ("W/\"a\"", Some("W/\"a\""), Strong, true),
            ("\"x\", \"a\"", Some("W/\"a\""), Weak, true),
            ("\"a,b\"", Some("\"a,b\""), Strong, true),
            ("\"c\", \"a,b\"", Some("\"a,b\""), Strong, true),
            ("\"a\"b", Some("\"a\""), Strong, false),
            ("\"a", Some("\"a\""), Strong, false),
            ("W/", Some("\"a\""), Weak, false),
            ("", Some("\"a\""), Weak, false),
        ] {
            let found = matches(list.as_bytes(), etag.map(str::as_bytes), compare);
            assert_eq!(found, expected, "{list} {etag:?} {compare:?}");
        }
    }
}
