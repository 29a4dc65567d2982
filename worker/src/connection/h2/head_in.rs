//! From a field list to a request.

use http1::{RequestError, Version};
use http2::Fields;

use crate::request::Request;

/// Why a head is refused.
pub(super) enum Refused {
    /// It breaks HTTP/2: answered, then reset.
    Malformed(http2::Malformed),
    /// It is a request no server here takes.
    Request(RequestError),
}

impl From<RequestError> for Refused {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

/// Fills `req.head` from `fields`. `end`: no body follows.
pub(super) fn fill(
    req: &mut Request,
    fields: &Fields,
    block_len: usize,
    end: bool,
    malformed: Option<http2::Malformed>,
    scratch: &mut Vec<u8>,
) -> Result<(), Refused> {
    let server = std::rc::Rc::clone(&req.server);
    let options = &server.confs.get(&crate::modules::http::SERVER).request_options;
    let head = &mut req.head;
    head.clear();
    head.version = Version::HTTP_20;
    if let Some(malformed) = malformed {
        return Err(Refused::Malformed(malformed));
    }
    let parts = http2::message::request(fields).map_err(Refused::Malformed)?;
    head.assemble(parts.method, parts.authority, parts.path, Version::HTTP_20, options)?;
    head.head_len = block_len;
    if fields.is_overflowed() {
        return Err(RequestError::TooLargeRequest.into());
    }
    let mut crumbs = 0;
    for (name, value) in fields.iter() {
        match name {
            [b':', ..] => {}
            b"cookie" => crumbs += 1,
            _ => head.add_field(name, value, options, scratch)?,
        }
    }
    if crumbs > 0 {
        // section 8.2.3: one field again, for everything that knows HTTP/1
        let mut cookie = Vec::new();
        for (_, value) in fields.iter().filter(|(name, _)| *name == b"cookie") {
            if !cookie.is_empty() {
                cookie.extend_from_slice(b"; ");
            }
            cookie.extend_from_slice(value);
        }
        head.add_field(b"cookie", &cookie, options, scratch)?;
    }
    if parts.authority.is_empty() && !head.headers.contains_known(http1::Known::Host) {
        return Err(Refused::Malformed(http2::Malformed("sent neither \":authority\" nor \"Host\" header")));
    }
    head.complete(parts.authority, end, options)?;
    Ok(())
}
