//! Encoding the head of an HTTP/1 response, fields in nginx's order.

use http1::{Known, Method, Version};

use crate::clock;
use crate::request::Request;

/// Decides framing and persistence and appends the encoded head to the output.
pub(crate) fn write_head(req: &mut Request) {
    if req.worker.is_draining() {
        // a client that was told `keep-alive` earlier may still send: it is answered, and told here
        req.keepalive = false;
    }
    decide_framing(req);
    let is_ours = complete_location(req);
    let mut out = std::mem::take(&mut req.io.h1().outbuf);
    let start = out.len();
    status_line(req, &mut out);
    server_and_date(req, &mut out);
    entity(req, &mut out);
    if is_ours {
        location(req, &mut out);
    }
    if req.out.chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    connection(req, &mut out);
    if req.out.vary_encoding {
        out.extend_from_slice(b"Vary: Accept-Encoding\r\n");
    }
    if !is_ours {
        location(req, &mut out);
    }
    // fields in here hold no line break, whoever added them
    for run in req.out.headers.wire() {
        out.extend_from_slice(run);
    }
    out.extend_from_slice(b"\r\n");
    req.out.head_bytes = (out.len() - start) as u64;
    req.out.bytes += req.out.head_bytes;
    req.io.h1().outbuf = out;
}

fn decide_framing(req: &mut Request) {
    let no_body = matches!(req.out.status, 100..=199 | 204 | 304);
    if no_body {
        req.header_only = true;
        if req.out.status != 304 {
            req.out.content_length = None;
        }
        if req.out.status == 101 || req.out.status == 204 || req.out.status == 304 {
            return;
        }
    }
    if no_body || req.method == Method::Head {
        return;
    }
    let trailers = req.out_expects_trailers();
    if req.out.content_length.is_some() && !trailers {
        return;
    }
    if req.version < Version::HTTP_11 || !req.http().chunked_transfer_encoding {
        if req.out.content_length.is_none() {
            req.keepalive = false;
        }
    } else {
        req.out.chunked = true;
        req.out.content_length = None;
    }
}

fn status_line(req: &Request, out: &mut net::Buf) {
    match &req.out.status_text {
        Some(text) => {
            out.extend_from_slice(b"HTTP/1.1 ");
            out.extend_from_slice(text);
            out.extend_from_slice(b"\r\n");
        }
        None => out.extend_from_slice(http1::status_line(req.out.status)),
    }
}

fn server_and_date(req: &Request, out: &mut net::Buf) {
    match &req.out.server {
        Some(server) if server.is_empty() => {}
        Some(server) => field(out, b"Server", server),
        None => out.extend_from_slice(req.http().server_tokens.header()),
    }
    match &req.out.date {
        Some(date) if date.is_empty() => {}
        Some(date) => field(out, b"Date", date),
        None => clock::with_date_header(|line| out.extend_from_slice(line)),
    }
}

fn entity(req: &Request, out: &mut net::Buf) {
    if !req.out.content_type.is_empty() && !matches!(req.out.status, 204 | 100..=199) {
        out.extend_from_slice(b"Content-Type: ");
        out.extend_from_slice(&req.out.content_type);
        // a type that came with a charset is sent as it came
        if !req.out.charset.is_empty() && req.out.content_type_len == req.out.content_type.len() {
            out.extend_from_slice(b"; charset=");
            out.extend_from_slice(&req.out.charset);
        }
        out.extend_from_slice(b"\r\n");
    }
    if let Some(length) = req.out.content_length
        && req.out.status != 304
    {
        out.extend_from_slice(b"Content-Length: ");
        out.extend_from_slice(http1::encode::decimal(length, &mut [0; 20]));
        out.extend_from_slice(b"\r\n");
    }
    if let Some(time) = req.out.last_modified
        && matches!(req.out.status, 200 | 206 | 304)
        && !req.out.headers.contains_known(Known::LastModified)
    {
        out.extend_from_slice(b"Last-Modified: ");
        out.extend_from_slice(&http1::http_time(time));
        out.extend_from_slice(b"\r\n");
    }
}

fn location(req: &Request, out: &mut net::Buf) {
    if let Some(target) = &req.out.location {
        field(out, b"Location", target);
    }
}

/// Makes a redirect to a path of our own absolute, unless `absolute_redirect off` says otherwise. What came from a variable
/// may hold control characters; they are percent-encoded, as they would have to be in any URI. Whether the host was put in
/// decides where nginx has the field.
pub(super) fn complete_location(req: &mut Request) -> bool {
    let Some(target) = req.out.location.take() else { return false };
    let mut location = Vec::with_capacity(target.len() + 64);
    let conf = req.http();
    let is_ours = target.starts_with(b"/") && conf.absolute_redirect;
    if is_ours {
        location.extend_from_slice(req.scheme());
        location.extend_from_slice(b"://");
        location.extend_from_slice(&req.redirect_host());
        if conf.port_in_redirect {
            let port = req.conn.local().port();
            let default = if req.conn.secure { 443 } else { 80 };
            if port != 0 && port != default {
                location.push(b':');
                http1::push_decimal(&mut location, port.into());
            }
        }
    }
    for byte in target {
        if byte.is_ascii_control() {
            http1::escape_uri(&mut location, &[byte], http1::Escape::Uri);
        } else {
            location.push(byte);
        }
    }
    req.out.location = Some(location);
    is_ours
}

fn connection(req: &Request, out: &mut net::Buf) {
    if req.out.status == 101 {
        out.extend_from_slice(b"Connection: upgrade\r\n");
    } else if req.keepalive {
        out.extend_from_slice(b"Connection: keep-alive\r\n");
        if let Some(seconds) = req.http().keepalive_header {
            out.extend_from_slice(b"Keep-Alive: timeout=");
            out.extend_from_slice(http1::encode::decimal(seconds, &mut [0; 20]));
            out.extend_from_slice(b"\r\n");
        }
    } else {
        out.extend_from_slice(b"Connection: close\r\n");
    }
}

fn field(out: &mut net::Buf, name: &[u8], value: &[u8]) {
    if value.is_empty() && name.is_empty() {
        return;
    }
    write_value(out, name);
    out.extend_from_slice(b": ");
    write_value(out, value);
    out.extend_from_slice(b"\r\n");
}

/// The last line against response splitting: whatever module or variable a value came from, CR, LF and NUL end here
/// as spaces.
fn write_value(out: &mut net::Buf, value: &[u8]) {
    if memchr::memchr3(b'\r', b'\n', 0, value).is_none() {
        out.extend_from_slice(value);
        return;
    }
    for byte in value {
        out.push(if matches!(byte, b'\r' | b'\n' | 0) { b' ' } else { *byte });
    }
}
