//! Changing the URI, and its parts.

use super::Request;

impl Request {
    /// Replaces the path.
    pub fn set_uri(&mut self, uri: Vec<u8>) {
        self.uri = uri;
        self.unparsed_valid = false;
        self.valid_location = false;
    }

    /// The extension of the last path segment: what stands behind its last dot; empty without one. As in nginx a dot that
    /// ends the path is none, nor is the one of `/.name`.
    pub fn extension(&self) -> &[u8] {
        match memchr::memrchr2(b'/', b'.', &self.uri) {
            // the dot a name begins with is part of it
            Some(at) if at > 1 && self.uri[at] == b'.' && self.uri[at - 1] != b'/' => &self.uri[at + 1..],
            _ => b"",
        }
    }

    /// The value of argument `name`, still escaped; names compare without regard to case, as in nginx.
    pub fn arg(&self, name: &[u8]) -> Option<&[u8]> {
        http1::params::argument(&self.args, name)
    }

    /// The value of cookie `name`.
    pub fn cookie(&self, name: &[u8]) -> Option<&[u8]> {
        self.headers.known_all(http1::Known::Cookie).find_map(|line| http1::params::cookie(line, name))
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static [u8] {
        if self.conn.secure { b"https" } else { b"http" }
    }
}
