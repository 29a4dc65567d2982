//! Names to addresses while serving: the seam to the `resolver` directive.

use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;

use crate::phase::Wait;
use crate::request::Request;

/// Resolves host names at run time.
pub trait Resolve {
    /// The addresses of `name`, at least one.
    fn resolve<'r>(&'r self, name: &'r str) -> Wait<'r, Result<Vec<IpAddr>, ResolveError>>;
}

/// Why a name has no address, in nginx's words: `(3: Host not found)`, `(110: Operation timed out)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolveError {
    /// The DNS response code, or an errno for failures to get one.
    pub code: u32,
    /// Its text.
    pub text: Box<str>,
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}: {})", self.code, self.text)
    }
}

impl ResolveError {
    /// The name server failed.
    pub const SERVFAIL: u32 = 2;
    /// There is no such name, or it has no address.
    pub const NXDOMAIN: u32 = 3;
    /// Nothing was heard in time (`ETIMEDOUT`).
    pub const TIMED_OUT: u32 = 110;

    /// The error of a response code or of [`Self::TIMED_OUT`].
    pub fn of_code(code: u32) -> Self {
        let text = match code {
            1 => "Format error",
            Self::SERVFAIL => "Server failure",
            Self::NXDOMAIN => "Host not found",
            4 => "Unimplemented",
            5 => "Operation refused",
            Self::TIMED_OUT => "Operation timed out",
            _ => "Unknown error",
        };
        Self { code, text: text.into() }
    }
}

/// The resolver of the request's location; `None`: there is no `resolver` directive.
pub fn resolver(req: &Request) -> Option<Rc<dyn Resolve>> {
    let located = req.location.confs.get(&crate::modules::resolver::CONF).located.as_ref()?;
    Some(Rc::clone(located) as Rc<dyn Resolve>)
}
