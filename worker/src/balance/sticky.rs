//! `sticky`: requests of one session go to one server.
//!
//! The request says which: with the server's id in a cookie that an earlier response set (`cookie`), in a variable
//! (`route`), or by naming a session whose server the zone remembers (`learn`).

use std::cell::OnceCell;
use std::rc::Rc;

use chrono::{DateTime, Datelike};
use md5::{Digest, Md5};

use super::Memory;
use crate::log::Level;
use crate::request::Request;
use crate::script::Template;
use crate::variables::VarId;
use crate::zone::ZoneRef;

/// How sessions are bound to servers.
pub struct Sticky {
    /// Variables that tell the server or the session; the first that is not empty counts.
    pub lookup: Vec<VarId>,
    /// `sticky cookie`.
    pub cookie: Option<Cookie>,
    /// `sticky learn`.
    pub learn: Option<Learn>,
}

/// The cookie a response sets.
pub struct Cookie {
    /// Its name.
    pub name: Box<[u8]>,
    /// `domain=`.
    pub domain: Option<Template>,
    /// `path=`.
    pub path: Option<Box<[u8]>>,
    /// `expires=`.
    pub expires: Option<Expires>,
    /// `httponly`.
    pub http_only: bool,
    /// `secure`.
    pub secure: bool,
    /// `samesite=`.
    pub same_site: Option<Template>,
}

/// When the browser forgets the cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expires {
    /// `max`: at the end of 2037.
    Max,
    /// After so many seconds.
    After(u64),
}

/// Sessions that servers begin.
pub struct Learn {
    /// Variables that tell the session a response begins; the first that is not empty counts.
    pub create: Vec<VarId>,
    /// Where sessions are kept.
    pub zone: ZoneRef,
    /// How long an unused session is kept, ms.
    pub timeout: u64,
    /// Whether sessions are learnt when the response head arrives, and not at the end of the response.
    pub after_header: bool,
    /// The typed view of the zone's memory, opened on first use.
    pub sessions: OnceCell<shm::Sticky>,
}

impl Sticky {
    /// What the request says: an id or a session; empty when it says nothing.
    pub(super) fn session(&self, req: &mut Request) -> Vec<u8> {
        first(req, &self.lookup)
    }

    /// The id of the server that `session` is bound to.
    pub(super) fn hint(&self, session: &[u8]) -> Option<Vec<u8>> {
        if session.is_empty() {
            return None;
        }
        match &self.learn {
            None => Some(session.to_vec()),
            Some(learn) => {
                let key = Md5::digest(session).into();
                learn.sessions()?.find(&key, net::now().0, learn.timeout).ok().flatten()
            }
        }
    }

    /// Adds the cookie that binds the session to the server `sid`, in place of the one for a server tried before.
    pub(super) fn set_cookie(&self, req: &mut Request, sid: &[u8], memory: &mut Memory) {
        let Some(cookie) = &self.cookie else { return };
        let value = cookie.value(req, sid);
        if !memory.cookie.is_empty() {
            let old = &memory.cookie;
            req.out.headers.retain(|_, _, value| value != &**old);
        }
        req.out.headers.push(b"Set-Cookie", &value);
        memory.cookie = value;
    }

    /// Binds the session of `req`'s response to the server `sid`; `header` says whether the response has just begun.
    pub(super) fn learn(&self, req: &mut Request, sid: &[u8], header: bool) {
        let Some(learn) = self.learn.as_ref().filter(|learn| learn.after_header == header) else { return };
        let created = first(req, &learn.create);
        let create = !created.is_empty();
        let session = if create { created } else { self.session(req) };
        let Some(sessions) = learn.sessions().filter(|_| !session.is_empty() && !sid.is_empty()) else {
            return;
        };
        let key = Md5::digest(&session).into();
        match sessions.learn(&key, sid, create, net::now().0, learn.timeout) {
            Ok(true) => {}
            Ok(false) | Err(_) => req.log(
                Level::Alert,
                format_args!("could not allocate node in sticky session zone \"{}\"", learn.zone.name),
            ),
        }
    }
}

/// The value of the first variable that has one that is not empty.
fn first(req: &mut Request, variables: &[VarId]) -> Vec<u8> {
    let mut value = Vec::new();
    for id in variables {
        if req.append_variable(*id, &mut value) && !value.is_empty() {
            break;
        }
        value.clear();
    }
    value
}

impl Learn {
    fn sessions(&self) -> Option<&shm::Sticky> {
        if let Some(sessions) = self.sessions.get() {
            return Some(sessions);
        }
        let sessions = shm::Sticky::open(self.zone.memory()?).ok()?;
        Some(self.sessions.get_or_init(|| sessions))
    }
}

impl Cookie {
    /// The whole value of `Set-Cookie`.
    fn value(&self, req: &mut Request, sid: &[u8]) -> Vec<u8> {
        let mut value = [&*self.name, b"=", sid].concat();
        if let Some(expires) = self.expires {
            append_expires(&mut value, expires);
        }
        let domain = self.domain.as_ref().map(|template| template.eval(req)).unwrap_or_default();
        if !domain.is_empty() {
            value.extend_from_slice(b"; domain=");
            value.extend_from_slice(&domain);
        }
        if self.http_only {
            value.extend_from_slice(b"; httponly");
        }
        if self.secure {
            value.extend_from_slice(b"; secure");
        }
        if let Some(template) = &self.same_site {
            let mut same_site = template.eval(req);
            if template.as_literal().is_none() && !same_site.is_empty() && !is_same_site(&same_site) {
                same_site = b"strict".to_vec();
            }
            if !same_site.is_empty() {
                value.extend_from_slice(b"; samesite=");
                value.extend_from_slice(&same_site);
            }
        }
        if let Some(path) = &self.path {
            value.extend_from_slice(b"; path=");
            value.extend_from_slice(path);
        }
        value
    }
}

/// Whether `value` is one that browsers know for `SameSite`.
pub fn is_same_site(value: &[u8]) -> bool {
    [&b"strict"[..], b"lax", b"none"].iter().any(|known| value.eq_ignore_ascii_case(known))
}

fn append_expires(value: &mut Vec<u8>, expires: Expires) {
    match expires {
        Expires::Max => value.extend_from_slice(b"; expires=Thu, 31-Dec-37 23:55:55 GMT; max-age=315360000"),
        Expires::After(seconds) => {
            let time = net::unix_ms() / 1000 + seconds;
            let text = format!("; expires={}; max-age={seconds}", cookie_time(time));
            value.extend_from_slice(text.as_bytes());
        }
    }
}

/// A time as cookies have it. Two digits of the year are what old browsers expect, while they are unambiguous.
fn cookie_time(unix_seconds: u64) -> String {
    let seconds = i64::try_from(unix_seconds).unwrap_or(i64::MAX);
    let time = DateTime::from_timestamp(seconds, 0).unwrap_or(DateTime::UNIX_EPOCH);
    let format = if time.year() > 2037 { "%a, %d-%b-%Y %H:%M:%S GMT" } else { "%a, %d-%b-%y %H:%M:%S GMT" };
    time.format(format).to_string()
}

impl Learn {
    /// Sessions kept in `zone`.
    pub fn new(create: Vec<VarId>, zone: ZoneRef, timeout: u64, after_header: bool) -> Self {
        Self { create, zone: Rc::clone(&zone), timeout, after_header, sessions: OnceCell::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_cookies() {
        assert_eq!(cookie_time(2_145_916_555), "Thu, 31-Dec-37 23:55:55 GMT");
        assert_eq!(cookie_time(2_145_916_555 + 86_400), "Fri, 01-Jan-2038 23:55:55 GMT");
        assert_eq!(cookie_time(0), "Thu, 01-Jan-70 00:00:00 GMT");
    }
}
