//! What the client asked: its head, its arguments and cookies, its body.

use http1::{Framing, Known};

use super::{found, found_unless_empty, join, number, port, seconds};
use crate::body::Progress;
use crate::request::Request;
use crate::variables::Variable;

pub(super) const VARIABLES: &[Variable] = &[
    Variable::new("request", "The request line as sent.", |req, _, out| {
        found_unless_empty(out, req.head.request_line())
    }),
    Variable::new("request_method", "The method of the client's request.", |req, _, out| {
        // subrequests show what the client asked
        let method = if req.is_main() { req.method_name() } else { req.head.method_name() };
        found_unless_empty(out, method)
    }),
    Variable::new("request_uri", "Path and arguments as sent.", |req, _, out| {
        found_unless_empty(out, req.head.request_uri())
    }),
    Variable::new("server_protocol", "The version as sent, HTTP/1.1.", |req, _, out| {
        out.extend_from_slice(b"HTTP/");
        number(out, req.version.major.into());
        out.push(b'.');
        number(out, req.version.minor.into())
    }),
    Variable::new("host", "Host of the request in lower case, else the server's name.", |req, _, out| {
        if req.host.is_empty() {
            found(out, req.server_conf().display_name().as_bytes())
        } else {
            found(out, &req.host)
        }
    }),
    Variable::new("request_port", "The port named along with the host.", |req, _, out| {
        port(out, req.host_port.unwrap_or_default())
    }),
    Variable::new("is_request_port", "A colon if the request names a port.", |req, _, out| {
        let named = req.host_port.is_some_and(|port| port != 0);
        found(out, if named { b":" } else { b"" })
    }),
    Variable::new("args", "Arguments.", args).assignable(set_args),
    Variable::new("query_string", "Arguments.", args),
    Variable::new("is_args", "A question mark if there are arguments.", |req, _, out| {
        found(out, if req.args.is_empty() { b"" } else { b"?" })
    }),
    Variable::prefix("arg_", "One argument, not decoded.", |req, name, out| match req.arg(name) {
        Some(value) => found(out, value),
        None => false,
    }),
    Variable::prefix("cookie_", "One cookie.", |req, name, out| match req.cookie(name) {
        Some(value) => found(out, value),
        None => false,
    }),
    Variable::prefix("http_", "A request header field.", |req, name, out| {
        join(out, req.headers.get_variable_all(name), b", ")
    }),
    Variable::new("http_host", "The Host field.", |req, _, out| field(req, Known::Host, out)),
    Variable::new("http_user_agent", "The User-Agent field.", |req, _, out| {
        field(req, Known::UserAgent, out)
    }),
    Variable::new("http_referer", "The Referer field.", |req, _, out| field(req, Known::Referer, out)),
    Variable::new("http_via", "The Via field.", |req, _, out| field(req, Known::Via, out)),
    Variable::new("http_x_forwarded_for", "The X-Forwarded-For field.", |req, _, out| {
        field(req, Known::XForwardedFor, out)
    }),
    Variable::new("http_cookie", "The Cookie field.", |req, _, out| {
        join(out, req.headers.known_all(Known::Cookie), b"; ")
    }),
    Variable::new("content_type", "The Content-Type field.", |req, _, out| {
        field(req, Known::ContentType, out)
    }),
    Variable::new("content_length", "Length of the request body.", content_length),
    Variable::new("remote_user", "The user name given with Basic authentication.", |req, _, out| {
        match req.basic_credentials() {
            Some((user, _)) => found(out, &user),
            None => false,
        }
    }),
    Variable::new("request_body", "The request body, once it was read into memory.", |req, _, out| {
        let kept = req.body.in_memory().filter(|_| !req.body.memory.is_empty());
        kept.is_some_and(|body| found(out, &body))
    }),
    Variable::new("request_body_file", "The file the request body was read into.", |req, _, out| {
        let file = req.body.file.as_ref();
        file.is_some_and(|file| found(out, file.path.as_os_str().as_encoded_bytes()))
    }),
    Variable::new("request_length", "Bytes of the request, head and body.", |req, _, out| {
        number(out, req.length)
    }),
    Variable::new("request_time", "Seconds since the request began.", |req, _, out| {
        seconds(out, net::now().since(req.start).as_millis() as u64)
    }),
    Variable::new("request_id", "A random number of 128 bits, in hexadecimal.", |_, _, out| {
        use std::io::Write;
        // writing to memory does not fail
        let _ = write!(out, "{:032x}", rand::random::<u128>());
        true
    })
    .cached(),
    Variable::new("request_completion", "OK if the response is complete.", |req, _, out| {
        found(out, if req.is_complete() { b"OK" } else { b"" })
    }),
    Variable::new("pipe", "p if the request was pipelined, else a dot.", |req, _, out| {
        found(out, if req.pipelined { b"p" } else { b"." })
    }),
    Variable::new("limit_rate", "Bytes per second at which the response is sent.", |req, _, out| {
        number(out, req.limit_rate.unwrap_or_default())
    })
    .assignable(set_limit_rate),
];

fn field(req: &Request, known: Known, out: &mut Vec<u8>) -> bool {
    join(out, req.headers.known_all(known), b", ")
}

fn args(req: &mut Request, _: &[u8], out: &mut Vec<u8>) -> bool {
    found_unless_empty(out, &req.args)
}

fn set_args(req: &mut Request, value: &[u8]) {
    req.args.clear();
    req.args.extend_from_slice(value);
    req.unparsed_valid = false;
}

fn content_length(req: &mut Request, _: &[u8], out: &mut Vec<u8>) -> bool {
    if let Some(value) = req.header(Known::ContentLength) {
        return found(out, value);
    }
    // a chunked body has a length once it was read
    let read = req.body.framing != Framing::None && req.body.progress == Progress::Kept;
    read && number(out, req.body.len())
}

fn set_limit_rate(req: &mut Request, value: &[u8]) {
    let text = String::from_utf8_lossy(value);
    match conf::value::size::parse_size(&text) {
        Some(rate) => req.limit_rate = Some(rate as u64),
        None => req.log_error(format_args!("invalid $limit_rate \"{}\"", value.escape_ascii())),
    }
}
