//! Request heads that come in parts instead of lines (HTTP/2 and HTTP/3): the same fields, the same checks.

use super::{RequestHead, RequestOptions};
use crate::{
    framing::Framing,
    host::validate_host,
    known::Known,
    method::Method,
    request_error::RequestError,
    request_line::{self, TargetForm, Version},
};

impl RequestHead {
    /// Begins a head with its control data. The request line becomes `METHOD path HTTP/2.0`, as nginx shows it in
    /// `$request`. `path` is empty for CONNECT.
    pub fn assemble(
        &mut self,
        method: &[u8],
        authority: &[u8],
        path: &[u8],
        version: Version,
        opts: &RequestOptions,
    ) -> Result<(), RequestError> {
        self.clear();
        self.version = version;
        let target = if path.is_empty() { authority } else { path };
        self.line.extend_from_slice(method);
        self.line.push(b' ');
        self.line.extend_from_slice(target);
        self.line.extend_from_slice(b" HTTP/");
        self.line.extend_from_slice(&[b'0' + version.major, b'.', b'0' + version.minor]);
        self.line_len = self.line.len();
        self.method_len = method.len();
        self.method = Method::from_bytes(method);
        self.target = method.len() + 1..method.len() + 1 + target.len();
        request_line::check_method_prefix(&self.line)?;
        if target.len() > opts.large_buffer_size as usize {
            return Err(RequestError::UriTooLong);
        }
        let origin = match path {
            b"" => {
                self.form = TargetForm::Authority;
                self.target.end..self.target.end
            }
            b"*" => {
                self.form = TargetForm::Asterisk;
                self.target.end..self.target.end
            }
            _ => self.target.clone(),
        };
        self.take_origin(origin, opts)?;
        if !authority.is_empty() {
            self.port = validate_host(authority, &mut self.host).map_err(|_| RequestError::InvalidHost)?;
        }
        Ok(())
    }

    /// Adds a field whose name and value are free of what would end them in HTTP/1.
    pub fn add_field(
        &mut self,
        name: &[u8],
        value: &[u8],
        opts: &RequestOptions,
        scratch: &mut Vec<u8>,
    ) -> Result<(), RequestError> {
        scratch.clear();
        scratch.extend_from_slice(name);
        scratch.extend_from_slice(b": ");
        scratch.extend_from_slice(value);
        if scratch.len() > opts.large_buffer_size as usize {
            return Err(RequestError::line_too_long(scratch));
        }
        self.take_field(scratch, 0..0, opts)
    }

    /// Checks the head as a whole. The authority becomes the `Host` field; one that says something else is refused (RFC 9113
    /// section 8.3.1). `end`: no body follows.
    pub fn complete(
        &mut self,
        authority: &[u8],
        end: bool,
        opts: &RequestOptions,
    ) -> Result<(), RequestError> {
        match self.headers.known(Known::Host) {
            Some(host) if !authority.is_empty() && !host.eq_ignore_ascii_case(authority) => {
                return Err(RequestError::InvalidHost);
            }
            Some(_) => {}
            None if authority.is_empty() => return Err(RequestError::MissingHost),
            None => self.headers.push_known(Known::Host, authority),
        }
        self.check(opts)?;
        if end {
            self.framing = Framing::None;
        } else if !self.headers.contains_known(Known::ContentLength) {
            self.framing = Framing::Chunked;
        }
        Ok(())
    }
}
