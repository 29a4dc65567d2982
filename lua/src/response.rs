//! What a Lua handler's response is like when it has said nothing about it, and how its end becomes a [`Flow`].

use http1::Version;
use worker::phase::{Flow, Jump};
use worker::request::Request;

use crate::api::header::NoType;
use crate::api::output::{self, Ended};
use crate::conf::{self, LuaConf};
use crate::phase::Phases;
use crate::sched::{End, Exit};

/// The settings of the request's location.
pub(crate) fn settings(req: &Request) -> &LuaConf {
    req.location.confs.get(&conf::LOCATION)
}

/// The content type where the code chose none (`lua_use_default_type`).
pub(crate) fn default_type(req: &mut Request) {
    let wanted = settings(req).use_default_type && req.context.get::<NoType>().is_none();
    if wanted && req.out.content_type.is_empty() {
        req.set_content_type_by_extension();
    }
}

/// Whether the response is kept until it is complete, so that its length can be told: to HTTP/1.0 clients.
pub(crate) fn is_buffered(req: &Request) -> bool {
    req.version < Version::HTTP_11
        && req.is_main()
        && !req.out.sent
        && settings(req).http10_buffering
        && !req.out.headers.contains(b"Content-Length")
        && req.out.content_length.is_none()
}

/// Tells the length of a response that is complete now and was kept.
pub(crate) fn seal(req: &mut Request) {
    if is_buffered(req) && req.method != http1::Method::Head {
        req.out.content_length = Some(req.outgoing.len() as u64);
    }
}

/// Ends the response as it is.
fn complete(req: &mut Request) -> Flow {
    if req.context.get::<Ended>().is_some() {
        return Flow::Finish;
    }
    output::begin(req);
    seal(req);
    Flow::Complete
}

/// What a handler's end means to the engine.
pub(crate) fn flow(req: &mut Request, phase: Phases, end: End) -> Flow {
    let begun = req.out.begun || req.out.sent;
    match end {
        End::Failed if begun => Flow::Close,
        End::Failed => Flow::Status(500),
        End::Done => done(req, phase, begun),
        End::Exit(Exit::Status(status)) => exit(req, phase, begun, status),
        End::Exit(Exit::Redirect(status)) => Flow::Status(status),
        End::Exit(Exit::Uri(uri, args)) => Flow::Jump(Jump::Uri { uri, args: Some(args) }),
        End::Exit(Exit::Named(name)) => Flow::Jump(Jump::Named(name.into())),
        End::Exit(Exit::Rewrite) => Flow::Next,
    }
}

fn done(req: &mut Request, phase: Phases, begun: bool) -> Flow {
    if phase == Phases::CONTENT || begun {
        return complete(req);
    }
    if phase == Phases::ACCESS { Flow::Done } else { Flow::Next }
}

fn exit(req: &mut Request, phase: Phases, begun: bool, status: i32) -> Flow {
    match status {
        0 => done(req, phase, begun),
        -5 if phase == Phases::CONTENT && !begun => Flow::Next,
        -5 => done(req, phase, begun),
        200..=203 | 205..=299 => {
            if req.out.status == 0 {
                req.out.status = status as u16;
            }
            complete(req)
        }
        444 => Flow::Status(444),
        499 if begun => Flow::Close,
        -1 => Flow::Close,
        _ if begun => complete(req),
        100..=999 => Flow::Status(status as u16),
        _ => Flow::Close,
    }
}
