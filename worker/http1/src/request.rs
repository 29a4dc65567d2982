//! Request heads: a parser that is given a growing buffer, and the head it fills.
//!
//! The parser keeps where it is, not what it read: each call gets the same bytes again with more behind them, and no byte is
//! looked at twice. What is accepted is narrower than what nginx accepts wherever two readers of one message could disagree
//! about it.

use std::ops::Range;

use crate::{
    framing::{Framing, Persistence},
    headers::Headers,
    host::validate_host,
    known::Known,
    method::Method,
    request_error::{Duplicate, RequestError},
    request_line::{self, TargetForm, Version},
    syntax,
    uri::{self, Uri},
};

/// Empty lines skipped before a request line (RFC 9112 section 2.2 asks for at least one).
pub const LEADING_EMPTY_LINES_MAX: u8 = 8;

/// What of the server's configuration decides whether a head is accepted. The defaults are nginx's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestOptions {
    /// `underscores_in_headers`: names with `_` are valid.
    pub underscores_in_headers: bool,
    /// `ignore_invalid_headers`: fields with names nginx calls invalid are left out instead of passed on. Names that are no
    /// token at all are refused in either case.
    pub ignore_invalid_headers: bool,
    /// `merge_slashes`: runs of slashes in the path become one.
    pub merge_slashes: bool,
    /// `max_headers`: most fields a head may have.
    pub max_headers: u32,
    /// `client_header_buffer_size`, bytes.
    pub header_buffer_size: u32,
    /// First number of `large_client_header_buffers`.
    pub large_buffers: u32,
    /// Second number of `large_client_header_buffers`, bytes.
    pub large_buffer_size: u32,
    /// Whether CONNECT is answered; otherwise 405.
    pub allow_connect: bool,
    /// Refuses a target with `#` (RFC 9112 section 3.2 knows none) instead of dropping the fragment as nginx does.
    pub reject_fragment: bool,
}

impl Default for RequestOptions {
    fn default() -> Self {
        Self {
            underscores_in_headers: false,
            ignore_invalid_headers: true,
            merge_slashes: true,
            max_headers: 1000,
            header_buffer_size: 1024,
            large_buffers: 4,
            large_buffer_size: 8192,
            allow_connect: false,
            reject_fragment: false,
        }
    }
}

impl RequestOptions {
    /// Most bytes a head can have; a buffer that grows to this size always suffices.
    pub fn head_bytes_max(&self) -> usize {
        let leading = 2 * LEADING_EMPTY_LINES_MAX as usize;
        let large = self.large_buffers as usize * self.large_buffer_size as usize;
        leading + self.header_buffer_size as usize + large
    }
}

/// What a call of a parser came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The head is not complete; call again with more bytes behind the same ones.
    NeedMore,
    /// The head is complete.
    Done {
        /// How many bytes of the buffer belong to it; what follows is body or the next message.
        consumed: usize,
    },
}

/// A request head. Used again and again it does not allocate.
#[derive(Debug, Clone)]
pub struct RequestHead {
    /// The request line without its line end; behind it, if needed, the origin form that was put together.
    line: Vec<u8>,
    line_len: usize,
    method_len: usize,
    target: Range<usize>,
    origin: Range<usize>,
    scheme: Range<usize>,
    /// The method.
    pub method: Method,
    /// Which form the target has.
    pub form: TargetForm,
    /// The version; [`Version::HTTP_09`] for a request line without one.
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

    /// Whether this is an HTTP/0.9 request: the answer has no head and ends with the connection.
    pub fn is_http_09(&self) -> bool {
        self.version == Version::HTTP_09
    }
}

/// nginx's header buffers as arithmetic: a line lies in one buffer, and there are only so many.
#[derive(Debug, Clone, Copy)]
struct Room {
    capacity: usize,
    used: usize,
    large_in_use: u32,
}

impl Room {
    const fn new() -> Self {
        Self { capacity: 0, used: 0, large_in_use: 0 }
    }

    /// Whether an unfinished line of `len` bytes can still be finished.
    fn may_grow(&self, len: usize, opts: &RequestOptions) -> bool {
        if self.used + len < self.capacity {
            return true;
        }
        len < opts.large_buffer_size as usize && self.large_in_use < opts.large_buffers
    }

    /// Takes the room for a line of `len` bytes, its end included.
    fn take(&mut self, len: usize, opts: &RequestOptions) -> bool {
        if self.used + len <= self.capacity {
            self.used += len;
            return true;
        }
        if len > opts.large_buffer_size as usize || self.large_in_use >= opts.large_buffers {
            return false;
        }
        self.large_in_use += 1;
        self.capacity = opts.large_buffer_size as usize;
        self.used = len;
        true
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Before the request line, after so many empty lines.
    Start { empty_lines: u8 },
    /// Behind the request line.
    Fields,
    /// The head was complete or refused.
    Ended,
}

/// Reads one request head from a buffer that grows.
#[derive(Debug, Clone)]
pub struct RequestParser {
    stage: Stage,
    /// Where the line that is read begins.
    at: usize,
    /// Up to where a line end was looked for.
    scan: usize,
    /// Where the request line began.
    began: usize,
    room: Room,
}

impl Default for RequestParser {
    fn default() -> Self {
        Self::new()
    }
}

impl RequestParser {
    /// A parser at the start of a request.
    pub const fn new() -> Self {
        Self { stage: Stage::Start { empty_lines: 0 }, at: 0, scan: 0, began: 0, room: Room::new() }
    }

    /// Back to the start, for the next request; its buffer begins behind what the last one consumed.
    pub fn reset(&mut self) {
        *self = Self::new();
    }

    /// Whether nothing of a request has come in `buf` yet but empty lines: a connection that ends here was idle.
    pub fn is_idle(&self, buf: &[u8]) -> bool {
        matches!(self.stage, Stage::Start { .. }) && buf[self.at.min(buf.len())..].iter().all(|&b| b == b'\r')
    }

    /// Whether the request line is complete.
    pub fn has_request_line(&self) -> bool {
        self.stage == Stage::Fields
    }

    /// Reads on. `buf` must begin with the bytes of the call before; the first call of a request clears `head`.
    ///
    /// After an error or [`Progress::Done`] the parser must be [`reset`](Self::reset) before it is used again.
    pub fn parse(
        &mut self,
        buf: &[u8],
        opts: &RequestOptions,
        head: &mut RequestHead,
    ) -> Result<Progress, RequestError> {
        let result = self.advance(buf, opts, head);
        if !matches!(result, Ok(Progress::NeedMore)) {
            self.stage = Stage::Ended;
        }
        result
    }

    fn advance(
        &mut self,
        buf: &[u8],
        opts: &RequestOptions,
        head: &mut RequestHead,
    ) -> Result<Progress, RequestError> {
        if self.stage == (Stage::Start { empty_lines: 0 }) {
            head.clear();
            self.room.capacity = opts.header_buffer_size as usize;
        }
        while let Stage::Start { empty_lines } = self.stage {
            let Some((line, next)) = syntax::next_line(buf, self.at, &mut self.scan) else {
                return self.unfinished_request_line(buf, opts, head);
            };
            if !line.is_empty() {
                self.take_request_line(&buf[line], next, opts, head)?;
                if head.is_http_09() {
                    return Ok(self.finish(next, head));
                }
            } else if empty_lines >= LEADING_EMPTY_LINES_MAX {
                return Err(RequestError::InvalidRequest);
            } else {
                self.stage = Stage::Start { empty_lines: empty_lines + 1 };
            }
            self.at = next;
        }
        if self.stage == Stage::Ended {
            return Err(RequestError::InvalidRequest);
        }
        self.take_fields(buf, opts, head)
    }

    /// Garbage and lines without end are refused before their end comes.
    fn unfinished_request_line(
        &mut self,
        buf: &[u8],
        opts: &RequestOptions,
        head: &mut RequestHead,
    ) -> Result<Progress, RequestError> {
        let line = &buf[self.at.min(buf.len())..];
        if line == b"\r" {
            return Ok(Progress::NeedMore);
        }
        let checked = request_line::check_method_prefix(line);
        let refused = if checked.is_ok() && !self.room.may_grow(line.len(), opts) {
            Err(RequestError::UriTooLong)
        } else {
            checked
        };
        if refused.is_err() {
            head.line.extend_from_slice(line);
            head.line_len = line.len();
        }
        refused.map(|()| Progress::NeedMore)
    }

    fn take_request_line(
        &mut self,
        line: &[u8],
        next: usize,
        opts: &RequestOptions,
        head: &mut RequestHead,
    ) -> Result<(), RequestError> {
        self.began = self.at;
        head.line.clear();
        head.line.extend_from_slice(line);
        head.line_len = line.len();
        request_line::check_method_prefix(line)?;
        if !self.room.take(next - self.at, opts) {
            return Err(RequestError::UriTooLong);
        }
        let parsed = request_line::request_line(line)?;
        head.method = parsed.method;
        head.method_len = parsed.method_len;
        head.form = parsed.form;
        head.version = parsed.version;
        head.target = parsed.target;
        head.scheme = parsed.scheme;
        head.take_origin(parsed.origin, opts)?;
        if !parsed.authority.is_empty() || parsed.form == TargetForm::Absolute {
            head.port = validate_host(&line[parsed.authority], &mut head.host)
                .map_err(|_| RequestError::InvalidHostInRequestLine)?;
        }
        self.stage = Stage::Fields;
        Ok(())
    }

    fn take_fields(
        &mut self,
        buf: &[u8],
        opts: &RequestOptions,
        head: &mut RequestHead,
    ) -> Result<Progress, RequestError> {
        loop {
            let Some((line, next)) = syntax::next_line(buf, self.at, &mut self.scan) else {
                let unfinished = &buf[self.at.min(buf.len())..];
                if !self.room.may_grow(unfinished.len(), opts) {
                    return Err(too_large(unfinished));
                }
                return Ok(Progress::NeedMore);
            };
            if !self.room.take(next - self.at, opts) {
                return Err(too_large(&buf[line]));
            }
            self.at = next;
            if line.is_empty() {
                head.check(opts)?;
                return Ok(self.finish(next, head));
            }
            head.take_field(&buf[line.clone()], line, opts)?;
        }
    }

    fn finish(&mut self, consumed: usize, head: &mut RequestHead) -> Progress {
        head.head_len = consumed - self.began;
        Progress::Done { consumed }
    }
}

fn too_large(line: &[u8]) -> RequestError {
    if line.is_empty() { RequestError::TooLargeRequest } else { RequestError::line_too_long(line) }
}

impl RequestHead {
    /// Sets the normalised path and the origin form, of which `origin` is what the target holds.
    fn take_origin(&mut self, origin: Range<usize>, opts: &RequestOptions) -> Result<(), RequestError> {
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
    fn take_field(
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
    fn check(&mut self, opts: &RequestOptions) -> Result<(), RequestError> {
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

#[cfg(test)]
mod tests;
