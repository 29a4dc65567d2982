//! `$upstream_*`: what happened upstream, one value per try. Tries of one pass are separated by commas, passes (after an
//! `X-Accel-Redirect` or an error page) by colons.

use std::io::Write as _;

use http1::{Headers, Known};

use super::Try;
use crate::request::Request;
use crate::variables::Variable;

/// The variables of `ngx_http_upstream_module`.
pub static VARIABLES: &[Variable] = &[
    Variable::new("upstream_addr", "Addresses of the servers tried.", |req, _, out| {
        per_try(req, out, |current, out| out.extend_from_slice(current.addr.as_bytes()))
    }),
    Variable::new("upstream_status", "Statuses of their responses.", |req, _, out| {
        per_try(req, out, |current, out| number(current.status.map(u64::from), out))
    }),
    Variable::new("upstream_connect_time", "Times to connect, in seconds.", |req, _, out| {
        per_try(req, out, |current, out| seconds(current.connect_ms, out))
    }),
    Variable::new(
        "upstream_header_time",
        "Times until a response head was read, in seconds.",
        |req, _, out| per_try(req, out, |current, out| seconds(current.header_ms, out)),
    ),
    Variable::new("upstream_response_time", "Times until a response was read, in seconds.", |req, _, out| {
        per_try(req, out, |current, out| seconds(current.response_ms, out))
    }),
    Variable::new("upstream_response_length", "Lengths of response bodies.", |req, _, out| {
        per_try(req, out, |current, out| number(Some(current.response_length), out))
    }),
    Variable::new("upstream_bytes_received", "Bytes received from servers.", |req, _, out| {
        per_try(req, out, |current, out| number(Some(current.bytes_received), out))
    }),
    Variable::new("upstream_bytes_sent", "Bytes sent to servers.", |req, _, out| {
        per_try(req, out, |current, out| number(Some(current.bytes_sent), out))
    }),
    Variable::new("upstream_cache_status", "What the cache had to say.", |req, _, out| {
        req.upstream.cache_status.is_some_and(|status| {
            out.extend_from_slice(status.name().as_bytes());
            true
        })
    }),
    Variable::new(
        "upstream_cache_last_modified",
        "Time of the last change of what is being revalidated.",
        |req, _, out| {
            let time = req.upstream.revalidated().and_then(crate::cache::Use::last_modified);
            time.is_some_and(|time| {
                out.extend_from_slice(&http1::http_time(time));
                true
            })
        },
    ),
    Variable::new("upstream_cache_etag", "Entity tag of what is being revalidated.", |req, _, out| {
        let etag = req.upstream.revalidated().and_then(crate::cache::Use::etag);
        etag.is_some_and(|etag| {
            out.extend_from_slice(etag);
            true
        })
    }),
    Variable::prefix("upstream_http_", "A field of the last response head.", |req, name, out| {
        req.upstream.response().is_some_and(|head| join(&head.headers, name, out))
    }),
    Variable::prefix("upstream_trailer_", "A trailer field of the last response.", |req, name, out| {
        join(&req.upstream.trailers, name, out)
    }),
    Variable::prefix("upstream_cookie_", "A cookie the last response set.", |req, name, out| {
        let Some(head) = req.upstream.response() else { return false };
        let found = head.headers.known_all(Known::SetCookie).find_map(|line| set_cookie(line, name));
        found.is_some_and(|value| {
            out.extend_from_slice(value);
            true
        })
    }),
];

/// One value per try; no value when there was none.
fn per_try(req: &Request, out: &mut Vec<u8>, print: impl Fn(&Try, &mut Vec<u8>)) -> bool {
    let tries = &req.upstream.tries;
    for (index, current) in tries.iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(if current.new_group { b" : " } else { b", " });
        }
        print(current, out);
    }
    !tries.is_empty()
}

fn number(value: Option<u64>, out: &mut Vec<u8>) {
    match value {
        Some(value) => http1::push_decimal(out, value),
        None => out.push(b'-'),
    }
}

fn seconds(ms: Option<u64>, out: &mut Vec<u8>) {
    match ms {
        // writing into memory does not fail
        Some(ms) => drop(write!(out, "{}.{:03}", ms / 1000, ms % 1000)),
        None => out.push(b'-'),
    }
}

fn join(headers: &Headers, name: &[u8], out: &mut Vec<u8>) -> bool {
    let mut found = false;
    for value in headers.get_variable_all(name) {
        if found {
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(value);
        found = true;
    }
    found
}

/// The value a `Set-Cookie` line gives cookie `name`.
fn set_cookie<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    let (start, rest) = line.split_at_checked(name.len())?;
    if !start.eq_ignore_ascii_case(name) {
        return None;
    }
    let value = skip_blanks(skip_blanks(rest).strip_prefix(b"=")?);
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    Some(&value[..end])
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    &text[text.iter().take_while(|byte| **byte == b' ').count()..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_by_name() {
        assert_eq!(set_cookie(b"a=b; Path=/", b"a"), Some(&b"b"[..]));
        assert_eq!(set_cookie(b"A = b", b"a"), Some(&b"b"[..]));
        assert_eq!(set_cookie(b"ab=c", b"a"), None);
        assert_eq!(set_cookie(b"x=1; a=b", b"a"), None);
    }

    #[test]
    fn times_have_three_digits() {
        let mut out = Vec::new();
        seconds(Some(12_034), &mut out);
        seconds(None, &mut out);
        assert_eq!(out, b"12.034-");
    }
}
