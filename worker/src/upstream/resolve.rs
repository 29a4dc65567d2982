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

/// The resolver of the request's location; `None`: there is no `resolver` directive.
pub fn resolver(_req: &Request) -> Option<Rc<dyn Resolve>> {
    None
}
