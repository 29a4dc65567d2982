//! The request head the parser fills, and what its fields must satisfy.

use std::ops::Range;

use super::RequestOptions;
use crate::{
    framing::{Framing, Persistence},
    headers::Headers,
    host::validate_host,
    known::Known,
    method::Method,
    request_error::{Duplicate, RequestError},
    request_line::{TargetForm, Version},
    syntax,
    uri::{self, Uri},
};

/// A request head. Used again and again it does not allocate.
#[derive(Debug, Clone)]
pub struct RequestHead {
    /// The request line without its line end; behind it, if needed, the origin form that was put together.
    pub(super) line: Vec<u8>,
    pub(super) line_len: usize,
    pub(super) method_len: usize,
    pub(super) target: Range<usize>,
    pub(super) origin: Range<usize>,
    pub(super) scheme: Range<usize>,
    /// The method.
    pub method: Method,
    /// Which form the target has.
    pub form: TargetForm,
    /// The version.
    pub version: Version,
    /// Normalised path, arguments and extension.
    pub uri: Uri,
    /// The host as nginx's `$host`: of the target if that has one, else of `Host`; in lower case, without port. Empty if the
    /// request names none.
    pub host: Vec<u8>,
    /// The port named along with the host.
    pub port: Option<u16>,
    /// The fields. With an absolute target `Host` holds its authority, whatever the client sent (RFC 9112 section 3.2.2).
    pub headers: Headers,
    /// Where the body ends.
    pub framing: Framing,
    /// What `Connection` asks for.
    pub connection: Persistence,
    /// Length of the head in bytes from the request line on, as nginx's `$request_length` counts it.
    pub head_len: usize,
    /// Field lines left out because of `ignore_invalid_headers`: ranges of the parser's buffer.
    pub ignored: Vec<Range<u32>>,
}

impl Default for RequestHead {
    fn default() -> Self {
        Self {
            line: Vec::new(),
            line_len: 0,
            method_len: 0,
            target: 0..0,
            origin: 0..0,
            scheme: 0..0,
            method: Method::Get,
            form: TargetForm::Origin,
            version: Version::HTTP_11,
            uri: Uri::new(),
            host: Vec::new(),
            port: None,
            headers: Headers::new(),
            framing: Framing::None,
            connection: Persistence::default(),
            head_len: 0,
            ignored: Vec::new(),
        }
    }
}

impl RequestHead {
    /// An empty head.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets the last request and keeps the memory.
    pub fn clear(&mut self) {
        self.line.clear();
        self.line_len = 0;
        self.method_len = 0;
        self.target = 0..0;
        self.origin = 0..0;
        self.scheme = 0..0;
        self.method = Method::Get;
        self.form = TargetForm::Origin;
        self.version = Version::HTTP_11;
        self.uri.clear();
        self.host.clear();
        self.port = None;
        self.headers.clear();
        self.framing = Framing::None;
        self.connection = Persistence::default();
        self.head_len = 0;
        self.ignored.clear();
    }

    /// The request line as sent, nginx's `$request`. After an error: as much as came of the refused one.
    pub fn request_line(&self) -> &[u8] {
        &self.line[..self.line_len]
    }

    /// The method as sent.
    pub fn method_name(&self) -> &[u8] {
        &self.line[..self.method_len]
    }

    /// The target as sent.
    pub fn target(&self) -> &[u8] {
        &self.line[self.target.clone()]
    }

    /// Path and query as sent, without a fragment: what may be passed on unchanged, nginx's `$request_uri`. `*` for
    /// `OPTIONS *`, `/` for CONNECT.
    pub fn request_uri(&self) -> &[u8] {
        &self.line[self.origin.clone()]
    }

    /// Scheme of an absolute target as sent, else empty.
    pub fn scheme(&self) -> &[u8] {
        &self.line[self.scheme.clone()]
    }

    /// Whether the connection may be used again after this request, as far as the client is concerned.
    pub fn keep_alive(&self) -> bool {
        if self.version >= Version::HTTP_11 {
            !self.connection.close
        } else {
            self.version == Version::HTTP_10 && self.connection.keep_alive && !self.connection.close
        }
    }

    /// Whether the host that decides is known: of the target, if that has one.
    pub(super) fn has_host(&self) -> bool {
        !self.host.is_empty() || self.headers.contains_known(Known::Host)
    }
}

impl RequestHead {
    /// Sets the normalised path and the origin form, of which `origin` is what the target holds.
    pub(super) fn take_origin(
        &mut self,
        origin: Range<usize>,
        opts: &RequestOptions,
    ) -> Result<(), RequestError> {
        if self.form == TargetForm::Origin && self.uri.parse_plain(&self.line[origin.clone()]) {
            self.origin = origin;
            return Ok(());
        }
        let target = &self.line[self.target.clone()];
        if opts.reject_fragment && memchr::memchr(b'#', target).is_some() {
            return Err(RequestError::InvalidRequest);
        }
        let sent = uri::without_fragment(&self.line[origin.clone()]);
        if sent.first() == Some(&b'/') {
            self.origin = origin.start..origin.start + sent.len();
        } else {
            // `http://host?query`, `http://host`, `host:port` and `*` have no path
            let sent = origin.start..origin.start + sent.len();
            let put = self.line.len();
            self.line.push(if self.form == TargetForm::Asterisk { b'*' } else { b'/' });
            self.line.extend_from_within(sent);
            self.origin = put..self.line.len();
        }
        if self.form == TargetForm::Asterisk {
            return Ok(());
        }
        let origin = &self.line[self.origin.clone()];
        self.uri.parse(origin, opts.merge_slashes).map_err(|_| RequestError::InvalidRequest)
    }

    /// Takes one field; `range` is where its line is in the parser's buffer.
    pub(super) fn take_field(
        &mut self,
        line: &[u8],
        range: Range<usize>,
        opts: &RequestOptions,
    ) -> Result<(), RequestError> {
        let field = syntax::field_line(line).map_err(|bad| {
            // a line that ends too early ends with its line end
            let byte = line.get(bad.at).copied().unwrap_or(b'\r');
            RequestError::InvalidHeaderLine(line[..bad.at].into(), byte)
        })?;
        let valid =
            if opts.underscores_in_headers { syntax::PLAIN | syntax::UNDERSCORE } else { syntax::PLAIN };
        if field.class & !valid != 0 && opts.ignore_invalid_headers {
            // the head is far shorter than 4 GiB
            self.ignored.push(range.start as u32..range.end as u32);
            return Ok(());
        }
        if self.headers.len() >= opts.max_headers as usize {
            return Err(RequestError::TooManyHeaders);
        }
        let name = &line[..field.name_len];
        let known = Known::from_name(name);
        if let Some(known) = known {
            self.check_field(known, name, &line[field.value.clone()])?;
        }
        self.headers.push_parsed(line, &field, known);
        Ok(())
    }

    fn check_field(&mut self, known: Known, name: &[u8], value: &[u8]) -> Result<(), RequestError> {
        if known == Known::Host {
            if self.headers.contains_known(known) {
                return Err(RequestError::DuplicateHost(Duplicate::new(&self.headers, name, value)));
            }
            return self.take_host(value);
        }
        if occurs_once(known) && self.headers.contains_known(known) {
            return Err(RequestError::DuplicateHeader(Duplicate::new(&self.headers, name, value)));
        }
        Ok(())
    }

    /// `Host` is checked even if the target names another host.
    fn take_host(&mut self, value: &[u8]) -> Result<(), RequestError> {
        if self.host.is_empty() {
            self.port = validate_host(value, &mut self.host).map_err(|_| RequestError::InvalidHost)?;
            return Ok(());
        }
        let mut ignored = Vec::new();
        validate_host(value, &mut ignored).map(|_| ()).map_err(|_| RequestError::InvalidHost)
    }

    /// What can be said only when all fields are there; in nginx's order.
    pub(super) fn check(&mut self, opts: &RequestOptions) -> Result<(), RequestError> {
        if self.version >= Version::HTTP_11 && !self.headers.contains_known(Known::Host) {
            return Err(RequestError::MissingHost);
        }
        self.framing = self.body_framing()?;
        match self.method {
            Method::Connect if self.version != Version::HTTP_11 || !opts.allow_connect => {
                return Err(RequestError::Connect);
            }
            Method::Connect if self.framing != Framing::None => return Err(RequestError::ConnectWithBody),
            Method::Trace => return Err(RequestError::Trace),
            _ => {}
        }
        self.connection = Persistence::of(&self.headers);
        if matches!(self.form, TargetForm::Absolute | TargetForm::Authority)
            && self.headers.contains_known(Known::Host)
        {
            let authority = self.authority();
            let authority = &self.line[authority];
            self.headers.set_known(Known::Host, authority);
        }
        Ok(())
    }

    /// Where `host[:port]` is in the line, for the forms that have it.
    fn authority(&self) -> Range<usize> {
        if self.form == TargetForm::Authority {
            return self.target.clone();
        }
        let start = self.scheme.end + 3;
        let rest = &self.line[start..self.target.end];
        let len = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
        start..start + len
    }

    fn body_framing(&self) -> Result<Framing, RequestError> {
        let length = match self.headers.known(Known::ContentLength) {
            Some(value) => Some(syntax::decimal(value).ok_or(RequestError::InvalidContentLength)?),
            None => None,
        };
        if let Some(coding) = self.headers.known(Known::TransferEncoding) {
            if self.version < Version::HTTP_11 {
                return Err(RequestError::TransferEncodingIn10);
            }
            if !coding.eq_ignore_ascii_case(b"chunked") {
                return Err(RequestError::UnknownTransferEncoding(coding.into()));
            }
            if length.is_some() {
                return Err(RequestError::LengthAndTransferEncoding);
            }
            return Ok(Framing::Chunked);
        }
        Ok(match length {
            None | Some(0) => Framing::None,
            Some(length) => Framing::Length(length),
        })
    }
}

/// The fields nginx refuses to see twice.
fn occurs_once(known: Known) -> bool {
    matches!(
        known,
        Known::ContentLength
            | Known::TransferEncoding
            | Known::IfModifiedSince
            | Known::IfUnmodifiedSince
            | Known::IfMatch
            | Known::IfNoneMatch
            | Known::IfRange
            | Known::ContentRange
            | Known::Expect
            | Known::Authorization
            | Known::ProxyAuthorization
    )
}
