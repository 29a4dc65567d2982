//! The response, while it is made and after it was sent.

use super::{found, join, number};
use crate::request::Request;
use crate::variables::Variable;

pub(super) const VARIABLES: &[Variable] = &[
    Variable::new("status", "Status of the response.", |req, _, out| {
        use std::io::Write;
        // writing to memory does not fail
        let _ = write!(out, "{:03}", req.status());
        true
    }),
    Variable::new("bytes_sent", "Bytes sent to the client.", |req, _, out| number(out, req.out.bytes)),
    Variable::new("body_bytes_sent", "Bytes sent to the client, head not counted.", |req, _, out| {
        number(out, req.out.bytes.saturating_sub(req.out.head_bytes))
    }),
    Variable::prefix("sent_http_", "A response header field.", |req, name, out| {
        join(out, req.out.headers.get_variable_all(name), b", ")
    }),
    Variable::prefix("sent_trailer_", "A field behind the response.", |req, name, out| {
        join(out, req.out.trailers.get_variable_all(name), b", ")
    }),
    Variable::new("sent_http_content_type", "Content-Type of the response.", |req, _, out| {
        if req.out.content_type.is_empty() {
            return false;
        }
        out.extend_from_slice(&req.out.content_type);
        if req.out.sent && !req.out.charset.is_empty() {
            out.extend_from_slice(b"; charset=");
            out.extend_from_slice(&req.out.charset);
        }
        true
    }),
    Variable::new("sent_http_content_length", "Content-Length of the response.", |req, _, out| {
        match req.out.content_length {
            Some(length) => number(out, length),
            None => listed(req, b"Content-Length", out),
        }
    }),
    Variable::new("sent_http_location", "Location of the response.", |req, _, out| match &req.out.location {
        Some(location) => found(out, location),
        None => listed(req, b"Location", out),
    }),
    Variable::new("sent_http_last_modified", "Last-Modified of the response.", |req, _, out| {
        match req.out.last_modified {
            Some(time) => found(out, &http1::http_time(time)),
            None => listed(req, b"Last-Modified", out),
        }
    }),
    Variable::new("sent_http_connection", "Connection of the response.", |req, _, out| {
        let upgrades = req.out.status == 101;
        let keeps: &[u8] = if req.keepalive { b"keep-alive" } else { b"close" };
        found(out, if upgrades { b"upgrade" } else { keeps })
    }),
    Variable::new("sent_http_keep_alive", "Keep-Alive of the response.", |req, _, out| {
        match req.http().keepalive_header.filter(|_| req.keepalive) {
            Some(seconds) => found(out, b"timeout=") && number(out, seconds),
            None => false,
        }
    }),
    Variable::new("sent_http_transfer_encoding", "Transfer-Encoding of the response.", |req, _, out| {
        req.out.chunked && found(out, b"chunked")
    }),
    Variable::new("sent_http_server", "Server of the response, if an upstream's was kept.", |req, _, out| {
        match &req.out.server {
            Some(server) => found(out, server),
            None => listed(req, b"Server", out),
        }
    }),
    Variable::new("sent_http_date", "Date of the response, if an upstream's was kept.", |req, _, out| {
        match &req.out.date {
            Some(date) => found(out, date),
            None => listed(req, b"Date", out),
        }
    }),
];

/// A field that stands among the others after all.
fn listed(req: &Request, name: &[u8], out: &mut Vec<u8>) -> bool {
    join(out, req.out.headers.get_all(name), b", ")
}
