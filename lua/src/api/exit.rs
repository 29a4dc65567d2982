//! Ending a handler: `ngx.exit`, and the constants of statuses and methods.

use super::{Function, push_path};
use crate::ffi::call::Result;
use crate::ffi::{Call, Returns, State};
use crate::function;
use crate::phase::Phases;
use crate::sched::{Command, Exit};
use worker::log::Level;

/// The functions.
pub static FUNCTIONS: &[Function] = &[function!(
    "ngx.exit",
    Phases::REQUEST
        .or(Phases::TIMER)
        .or(Phases::SSL_CERT)
        .or(Phases::SSL_CLIENT_HELLO)
        .or(Phases::SSL_SESSION_FETCH),
    "Ends the handler with a status.",
    exit
)];

/// `ngx.OK` and its kin.
const CODES: &[(&str, i32)] = &[("OK", 0), ("ERROR", -1), ("AGAIN", -2), ("DONE", -4), ("DECLINED", -5)];

/// `ngx.HTTP_*`.
const STATUSES: &[(&str, i32)] = &[
    ("CONTINUE", 100),
    ("SWITCHING_PROTOCOLS", 101),
    ("OK", 200),
    ("CREATED", 201),
    ("ACCEPTED", 202),
    ("NO_CONTENT", 204),
    ("PARTIAL_CONTENT", 206),
    ("SPECIAL_RESPONSE", 300),
    ("MOVED_PERMANENTLY", 301),
    ("MOVED_TEMPORARILY", 302),
    ("SEE_OTHER", 303),
    ("NOT_MODIFIED", 304),
    ("TEMPORARY_REDIRECT", 307),
    ("PERMANENT_REDIRECT", 308),
    ("BAD_REQUEST", 400),
    ("UNAUTHORIZED", 401),
    ("PAYMENT_REQUIRED", 402),
    ("FORBIDDEN", 403),
    ("NOT_FOUND", 404),
    ("NOT_ALLOWED", 405),
    ("NOT_ACCEPTABLE", 406),
    ("REQUEST_TIMEOUT", 408),
    ("CONFLICT", 409),
    ("GONE", 410),
    ("UPGRADE_REQUIRED", 426),
    ("TOO_MANY_REQUESTS", 429),
    ("CLOSE", 444),
    ("ILLEGAL", 451),
    ("CLIENT_CLOSED_REQUEST", 499),
    ("INTERNAL_SERVER_ERROR", 500),
    ("METHOD_NOT_IMPLEMENTED", 501),
    ("BAD_GATEWAY", 502),
    ("SERVICE_UNAVAILABLE", 503),
    ("GATEWAY_TIMEOUT", 504),
    ("VERSION_NOT_SUPPORTED", 505),
    ("INSUFFICIENT_STORAGE", 507),
];

/// Methods, with nginx's bits.
pub(crate) const METHODS: &[(&str, u32)] = &[
    ("GET", 0x0002),
    ("HEAD", 0x0004),
    ("POST", 0x0008),
    ("PUT", 0x0010),
    ("DELETE", 0x0020),
    ("MKCOL", 0x0040),
    ("COPY", 0x0080),
    ("MOVE", 0x0100),
    ("OPTIONS", 0x0200),
    ("PROPFIND", 0x0400),
    ("PROPPATCH", 0x0800),
    ("LOCK", 0x1000),
    ("UNLOCK", 0x2000),
    ("PATCH", 0x4000),
    ("TRACE", 0x8000),
];

/// The constants.
pub(super) fn setup(lua: State<'_>) {
    push_path(lua, "ngx");
    for (name, code) in CODES {
        lua.push_int(*code);
        lua.raw_set_field(-2, name);
    }
    for (name, status) in STATUSES {
        lua.push_int(*status);
        lua.raw_set_field(-2, format!("HTTP_{name}"));
    }
    for (name, bit) in METHODS {
        lua.push_int(*bit);
        lua.raw_set_field(-2, format!("HTTP_{name}"));
    }
    lua.push_light(0);
    lua.raw_set_field(-2, "null");
}

fn exit(call: &mut Call<'_>) -> Result {
    let mut status = call.integer(1)? as i32;
    let phase = call.task().phase();
    if let Ok(req) = call.request() {
        let begun = req.out.sent || req.out.begun;
        if begun && phase.intersects(Phases::RESPONSE) && status >= 300 && !matches!(status, 408 | 444 | 499)
        {
            if status != i32::from(req.out.status) {
                let sent = req.out.status;
                req.log(
                    Level::Error,
                    format_args!(
                        "attempt to set status {status} via ngx.exit after sending out the response status {sent}"
                    ),
                );
            }
            status = 200;
        }
    }
    call.task().set_exit(Exit::Status(status));
    if call.lua.can_yield() {
        return call.yields(Command::Exit, 0);
    }
    Ok(Returns::NONE)
}
