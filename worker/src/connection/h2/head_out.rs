//! Encoding the head of an HTTP/2 response.
//!
//! What stays the same for many responses of a connection (`Server`, `Date`, the type) goes through the encoder's table.

use http1::{Known, Version};
use http2::Encoder;

use super::super::head_out::complete_location;
use crate::clock;
use crate::modules::v2;
use crate::request::Request;

/// Hands the head to the connection.
pub(crate) fn write_head(req: &mut Request) {
    debug_assert_eq!(req.version, Version::HTTP_20);
    decide_body(req);
    // the place of fields does not matter here
    let _ = complete_location(req);
    let end = req.header_only || (req.out.content_length == Some(0) && !req.out_expects_trailers());
    let chunk = req.location.confs.get(&v2::LOCATION).chunk_size;
    let crate::io::Io::H2(h2) = &mut req.io else { return };
    let (shared, id) = (std::rc::Rc::clone(&h2.shared), h2.id);
    let mut proto = shared.proto.borrow_mut();
    proto.set_chunk(id, chunk);
    let mut len = 0;
    let sent = proto.send_head(id, false, end, |encoder, out| {
        let at = out.len();
        fields(req, encoder, out);
        len = (out.len() - at + http2::frame::HEADER_LEN) as u64;
    });
    drop(proto);
    req.out.head_bytes = len;
    req.out.bytes += len;
    if let crate::io::Io::H2(h2) = &mut req.io {
        h2.finished |= end;
        if !sent {
            h2.abort();
        }
    }
}

fn decide_body(req: &mut Request) {
    req.out.chunked = false;
    if matches!(req.out.status, 100..=199 | 204 | 304) {
        req.header_only = true;
        if req.out.status != 304 {
            req.out.content_length = None;
        }
    }
    if req.out_expects_trailers() && !req.header_only && req.out.content_length == Some(0) {
        req.out.content_length = None;
    }
}

fn fields(req: &Request, encoder: &mut Encoder, out: &mut Vec<u8>) {
    encoder.status(out, req.out.status);
    match &req.out.server {
        Some(server) if server.is_empty() => {}
        Some(server) => encoder.repeated(out, b"server", &clean(server)),
        None => encoder.repeated(out, b"server", value_of(req.http().server_tokens.header())),
    }
    match &req.out.date {
        Some(date) if date.is_empty() => {}
        Some(date) => encoder.field(out, b"date", &clean(date)),
        None => clock::with_date_header(|line| encoder.repeated(out, b"date", value_of(line))),
    }
    entity(req, encoder, out);
    if let Some(target) = &req.out.location {
        encoder.field(out, b"location", target);
    }
    if req.out.vary_encoding {
        encoder.repeated(out, b"vary", b"Accept-Encoding");
    }
    for (known, name, value) in req.out.headers.entries() {
        if !is_connection_specific(known) {
            with_lower(name, |name| encoder.field(out, name, value));
        }
    }
}

fn entity(req: &Request, encoder: &mut Encoder, out: &mut Vec<u8>) {
    if !req.out.content_type.is_empty() && !matches!(req.out.status, 204 | 100..=199) {
        if !req.out.charset.is_empty() && req.out.content_type_len == req.out.content_type.len() {
            let value = [&req.out.content_type[..], b"; charset=", &req.out.charset].concat();
            encoder.repeated(out, b"content-type", &clean(&value));
        } else {
            encoder.repeated(out, b"content-type", &clean(&req.out.content_type));
        }
    }
    if let Some(length) = req.out.content_length
        && req.out.status != 304
    {
        encoder.field(out, b"content-length", http1::encode::decimal(length, &mut [0; 20]));
    }
    if let Some(time) = req.out.last_modified
        && matches!(req.out.status, 200 | 206 | 304)
        && !req.out.headers.contains_known(Known::LastModified)
    {
        encoder.field(out, b"last-modified", &http1::http_time(time));
    }
}

/// What must not be in an HTTP/2 message (RFC 9113 section 8.2.2).
fn is_connection_specific(known: Option<Known>) -> bool {
    matches!(
        known,
        Some(
            Known::Connection
                | Known::KeepAlive
                | Known::ProxyConnection
                | Known::TransferEncoding
                | Known::Upgrade
        )
    )
}

/// The value in a line `Name: value\r\n`.
fn value_of(line: &[u8]) -> &[u8] {
    let at = memchr::memchr(b':', line).map_or(0, |colon| colon + 2);
    line.get(at..line.len().saturating_sub(2)).unwrap_or_default()
}

/// What came from modules and variables is not trusted to be free of what a reader could take for a line's end.
fn clean(value: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    if memchr::memchr3(b'\r', b'\n', 0, value).is_none() {
        return value.into();
    }
    let space = |byte: &u8| if matches!(byte, b'\r' | b'\n' | 0) { b' ' } else { *byte };
    value.iter().map(space).collect::<Vec<u8>>().into()
}

/// Calls `then` with `name` in lower case (RFC 9113 section 8.2.1).
pub(super) fn with_lower<T>(name: &[u8], then: impl FnOnce(&[u8]) -> T) -> T {
    let mut lower: smallvec::SmallVec<[u8; 64]> = smallvec::SmallVec::from_slice(name);
    lower.make_ascii_lowercase();
    then(&lower)
}
