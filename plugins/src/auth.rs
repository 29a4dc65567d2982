//! What plugins that identify consumers have in common.

use worker::gateway::{attach_consumer, find_anonymous};
use worker::plugin::{Answer, Verdict};
use worker::request::Request;

/// Refuses with 401, a `WWW-Authenticate` challenge and a message; or lets the request go on as the anonymous consumer.
pub(crate) fn refuse(req: &mut Request, anonymous: Option<&str>, challenge: &str, message: &str) -> Verdict {
    if let Some(name) = anonymous {
        if let Some(binding) = find_anonymous(req, name) {
            attach_consumer(req, &binding);
            return Verdict::Next;
        }
        req.log_error(format_args!("failed to get anonymous consumer {name}"));
        req.out.headers.set(b"WWW-Authenticate", challenge.as_bytes());
        return Answer::message(401, "Invalid user authorization").into();
    }
    req.out.headers.set(b"WWW-Authenticate", challenge.as_bytes());
    Answer::message(401, message).into()
}
