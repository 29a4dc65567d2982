//! The request head as it goes upstream.
//!
//! As in the proxy module, framing is ours alone, `Host` occurs once, fields for one connection only go no further, and no
//! value can begin a line of its own. What APISIX's template sets is set: `X-Real-IP`, `X-Forwarded-*`.

use http1::{Known, connection_options};

use crate::fault::Fault;
use crate::request::Request;
use crate::upstream::{NameSet, Upload};

/// Fields of a client that are not passed on as they are.
const REPLACED: [Known; 9] = [
    Known::Host,
    Known::Connection,
    Known::ProxyConnection,
    Known::ContentLength,
    Known::TransferEncoding,
    Known::Te,
    Known::KeepAlive,
    Known::Expect,
    Known::Upgrade,
];

/// Those that have no number.
const FORWARDED: [&[u8]; 5] =
    [b"X-Real-IP", b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Host", b"X-Forwarded-Port"];

/// The fields that are left out of the client's.
pub(super) fn replaced() -> NameSet {
    NameSet::new(REPLACED.iter().map(|known| known.name().as_bytes()).chain(FORWARDED))
}

/// What a head is made of besides the request.
pub(super) struct Parts<'a> {
    pub(super) method: Option<&'a str>,
    /// What follows the method, escaped.
    pub(super) target: &'a [u8],
    pub(super) host: &'a [u8],
    pub(super) upload: Upload,
    /// Length of the body that is sent, if it is known.
    pub(super) length: Option<u64>,
    /// The client's `Upgrade` goes along.
    pub(super) websocket: bool,
    pub(super) replaced: &'a NameSet,
}

/// What was built.
pub(super) struct Built {
    /// Where the target stands.
    pub(super) target: std::ops::Range<usize>,
    pub(super) head_only: bool,
    pub(super) idempotent: bool,
    pub(super) upgrade: bool,
}

/// Builds the head in `out`.
pub(super) fn build(req: &mut Request, parts: &Parts<'_>, out: &mut Vec<u8>) -> Result<Built, Fault> {
    out.clear();
    out.extend_from_slice(parts.method.map_or(req.method_name(), str::as_bytes));
    let method = http1::Method::from_bytes(out);
    let head_only = method == http1::Method::Head;
    out.push(b' ');
    let start = out.len();
    push_target(out, parts.target);
    let target = start..out.len();
    if target.is_empty() {
        return Err(Fault::internal("zero length URI to proxy"));
    }
    out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
    push_value(out, parts.host);
    if let Upload::Streamed { chunked: true } = parts.upload {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    } else if let Some(length) = parts.length {
        out.extend_from_slice(b"Content-Length: ");
        http1::push_decimal(out, length);
        out.extend_from_slice(b"\r\n");
    }
    let upgrade = parts.websocket && push_upgrade(req, out);
    push_forwarded(req, out);
    push_client_fields(req, parts.replaced, out);
    out.extend_from_slice(b"\r\n");
    Ok(Built { target, head_only, idempotent: method.is_idempotent() && req.method.is_idempotent(), upgrade })
}

/// Replaces the value of `Host` in the head built for `req`: the server is known only now.
pub(super) fn replace_host(req: &mut Request, host: &[u8]) {
    const FIELD: &[u8] = b" HTTP/1.1\r\nHost: ";
    let head = &mut req.upstream.request;
    let Some(line) = memchr::memmem::find(head, FIELD) else { return };
    let start = line + FIELD.len();
    let Some(len) = memchr::memchr(b'\r', &head[start..]) else { return };
    head.splice(start..start + len, host.iter().copied());
}

/// `Upgrade` and `Connection`; whether the client asks for an upgrade.
fn push_upgrade(req: &Request, out: &mut Vec<u8>) -> bool {
    let Some(protocol) = req.headers.known(Known::Upgrade) else { return false };
    if !connection_options(&req.headers).any(|option| option.eq_ignore_ascii_case(b"upgrade")) {
        return false;
    }
    out.extend_from_slice(b"Upgrade: ");
    push_value(out, protocol);
    out.extend_from_slice(b"Connection: Upgrade\r\n");
    true
}

/// Who the client is and what it asked for, as this gateway saw it.
fn push_forwarded(req: &mut Request, out: &mut Vec<u8>) {
    out.extend_from_slice(b"X-Real-IP: ");
    out.extend_from_slice(req.client.text.as_bytes());
    out.extend_from_slice(b"\r\nX-Forwarded-For: ");
    for value in req.headers.known_all(Known::XForwardedFor) {
        out.extend_from_slice(value);
        out.extend_from_slice(b", ");
    }
    out.extend_from_slice(req.client.text.as_bytes());
    out.extend_from_slice(b"\r\n");
    for (field, variable) in [
        ("X-Forwarded-Proto: ", &b"scheme"[..]),
        ("X-Forwarded-Host: ", b"host"),
        ("X-Forwarded-Port: ", b"server_port"),
    ] {
        let line = out.len();
        out.extend_from_slice(field.as_bytes());
        let start = out.len();
        req.append_variable_by_name(variable, out);
        if out.len() == start {
            out.truncate(line);
        } else {
            clean(out, start);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// The client's fields but those that are replaced, and those `Connection` declares to be for us only.
fn push_client_fields(req: &Request, replaced: &NameSet, out: &mut Vec<u8>) {
    let headers = &req.headers;
    let named =
        |option: &[u8]| !option.eq_ignore_ascii_case(b"close") && !option.eq_ignore_ascii_case(b"keep-alive");
    if headers.contains_known(Known::Connection) && connection_options(headers).any(named) {
        headers.write_where(out, |known, name, _| {
            !replaced.contains(known, name)
                && !connection_options(headers).any(|option| option.eq_ignore_ascii_case(name))
        });
    } else {
        headers.write_where(out, |known, name, _| !replaced.contains(known, name));
    }
}

/// The target. What would end it or its line is escaped.
fn push_target(out: &mut Vec<u8>, target: &[u8]) {
    for byte in target {
        if *byte > b' ' && *byte != 0x7f {
            out.push(*byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
}

/// A value and the end of its line.
fn push_value(out: &mut Vec<u8>, value: &[u8]) {
    let start = out.len();
    out.extend_from_slice(value);
    clean(out, start);
    out.extend_from_slice(b"\r\n");
}

/// Turns line breaks and NUL from `start` on into blanks.
fn clean(out: &mut [u8], start: usize) {
    let value = &mut out[start..];
    if memchr::memchr3(b'\r', b'\n', 0, value).is_some() {
        value.iter_mut().filter(|byte| matches!(byte, b'\r' | b'\n' | 0)).for_each(|byte| *byte = b' ');
    }
}

/// What the client asked for, as it goes upstream: the text it sent, unless normalising changed its meaning. A path that
/// was judged in one spelling must not arrive in another.
pub(super) fn client_target(req: &Request) -> Vec<u8> {
    let raw = req.head.request_uri();
    if req.unparsed_valid && is_plain(raw) {
        return raw.to_vec();
    }
    let mut out = Vec::with_capacity(req.uri.len() + req.args.len() + 16);
    http1::escape_uri(&mut out, &req.uri, http1::Escape::Uri);
    if !req.args.is_empty() {
        out.push(b'?');
        out.extend_from_slice(&req.args);
    }
    out
}

/// Whether a path means the same before and after normalising: no dot segments, doubled slashes, backslashes, or escapes
/// of such.
fn is_plain(target: &[u8]) -> bool {
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    if path.first() != Some(&b'/') || memchr::memchr2(b'\\', b'#', path).is_some() {
        return false;
    }
    if path.windows(2).any(|pair| pair == b"//" || pair == b"/.") {
        return false;
    }
    !memchr::memchr_iter(b'%', path).any(|at| match path.get(at + 1..at + 3) {
        Some(code) => {
            let code = [code[0], code[1].to_ascii_lowercase()];
            matches!(&code, b"2e" | b"2f" | b"5c" | b"00" | b"23" | b"3f" | b"25")
        }
        None => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths() {
        for plain in ["/", "/a/b?x=//..", "/a%20b", "/%C3%A4", "/a.b/c..d"] {
            assert!(is_plain(plain.as_bytes()), "{plain}");
        }
        for other in [
            "/a//b",
            "/a/./b",
            "/a/../b",
            "/a/%2e%2E/b",
            "/a%2fb",
            "/a%5cb",
            "/a\\b",
            "/a%00",
            "/a%",
            "x",
            "/.git",
            "/%252e",
        ] {
            assert!(!is_plain(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn nothing_breaks_a_line() {
        let mut out = Vec::new();
        push_target(&mut out, b"/a b\r\nX: y");
        push_value(&mut out, b"a\r\nB: c\0");
        assert_eq!(out, b"/a%20b%0D%0AX:%20ya  B: c \r\n");
    }
}
