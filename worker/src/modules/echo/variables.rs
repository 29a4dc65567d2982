//! Variables about the request.

use bytes::Bytes;
use http1::Escape;

use crate::request::Request;
use crate::variables::Variable;

/// `$echo_it`.
pub(super) struct It(pub(super) Vec<u8>);

/// Since when `$echo_timer_elapsed` counts.
pub(super) struct Timer(pub(super) net::Tick);

/// `$echo_incr`, one for a client's request and its subrequests.
#[derive(Clone)]
struct Count(u64);

pub(super) static VARIABLES: &[Variable] = &[
    Variable::new("echo_it", "The piece of text echo_foreach_split is at.", |req, _, out| {
        let Some(It(piece)) = req.context.get() else { return false };
        out.extend_from_slice(piece);
        true
    }),
    Variable::new(
        "echo_timer_elapsed",
        "Seconds since the request began or echo_reset_timer.",
        |req, _, out| {
            let since = req.context.get().map_or(req.start, |Timer(since)| *since);
            let elapsed = net::now().since(since).as_millis();
            out.extend_from_slice(format!("{}.{:03}", elapsed / 1000, elapsed % 1000).as_bytes());
            true
        },
    ),
    Variable::new(
        "echo_request_body",
        "The body of the request, if it was read and is in memory.",
        |req, _, out| {
            let Some(body) = req.body.in_memory().filter(|body| !body.is_empty()) else { return false };
            out.extend_from_slice(&body);
            true
        },
    ),
    Variable::new("echo_request_method", "The method of the request or subrequest.", |req, _, out| {
        out.extend_from_slice(req.method_name());
        true
    }),
    Variable::new("echo_client_request_method", "The method of the client's request.", |req, _, out| {
        out.extend_from_slice(req.head.method_name());
        true
    }),
    Variable::new(
        "echo_client_request_headers",
        "The request line and the header of the client's request.",
        |req, _, out| {
            match req.context.lasting() {
                Some(ClientHead(head)) => out.extend_from_slice(&head),
                None => append_head(req, out),
            }
            true
        },
    ),
    Variable::new("echo_request_uri", "The URI of the request or subrequest with its arguments.", uri),
    Variable::new("echo_cacheable_request_uri", "The same, as it was when it was first asked for.", uri)
        .cached(),
    Variable::new(
        "echo_incr",
        "Counts how often it was used in a request and its subrequests.",
        |req, _, out| {
            let Count(count) = req.context.lasting().unwrap_or(Count(0));
            req.context.keep_lasting(Count(count + 1));
            out.extend_from_slice((count + 1).to_string().as_bytes());
            true
        },
    ),
    Variable::new("echo_response_status", "The status of the response, once there is one.", |req, _, out| {
        let status = req.out.status;
        if status == 0 {
            return false;
        }
        out.extend_from_slice(status.to_string().as_bytes());
        true
    }),
];

/// The head of the client's request, for its subrequests.
#[derive(Clone)]
struct ClientHead(Bytes);

/// Remembers the head of the client's request before a subrequest is made of it.
pub(super) fn keep_client_head(req: &Request) {
    if req.context.lasting::<ClientHead>().is_none() {
        let mut head = Vec::with_capacity(512);
        append_head(req, &mut head);
        req.context.keep_lasting(ClientHead(head.into()));
    }
}

fn append_head(req: &Request, out: &mut Vec<u8>) {
    out.extend_from_slice(req.head.request_line());
    out.extend_from_slice(b"\r\n");
    for run in req.headers.wire() {
        out.extend_from_slice(run);
    }
    out.extend_from_slice(b"\r\n");
}

fn uri(req: &mut Request, _: &[u8], out: &mut Vec<u8>) -> bool {
    http1::escape_uri(out, &req.uri, Escape::Uri);
    if !req.args.is_empty() {
        out.push(b'?');
        out.extend_from_slice(&req.args);
    }
    true
}
