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
        let start = memchr::memrchr(b'/', &self.uri).map_or(0, |slash| slash + 1).max(2);
        let end = self.uri.len().saturating_sub(1);
        let Some(name) = self.uri.get(start..end) else { return b"" };
        memchr::memrchr(b'.', name).map_or(b"", |dot| &self.uri[start + dot + 1..])
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
