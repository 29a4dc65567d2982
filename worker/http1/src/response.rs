//! Response heads of upstream servers.
//!
//! An upstream is trusted no more than a client: garbage is an error (nginx passes it on as HTTP/0.9), and a head that could be
//! framed in two ways is refused, so that its connection is never used again.

use std::{fmt, ops::Range};

use crate::{
    framing::{Framing, Persistence},
    headers::Headers,
    known::Known,
    request::Progress,
    request_error::{Duplicate, lossy},
    request_line::Version,
    syntax,
};

/// Most interim (1xx) heads before the final one.
pub const INTERIM_HEADS_MAX: u8 = 16;

/// What the parser must know of the request and of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseOptions {
    /// The request was HEAD: the answer has no body.
    pub head: bool,
    /// The request asked for an upgrade that may be granted: 101 is accepted.
    pub upgrade: bool,
    /// Most fields of a head. The bytes of a head are limited by the caller's buffer (`upstream sent too big header`).
    pub max_headers: u32,
}

impl Default for ResponseOptions {
    fn default() -> Self {
        Self { head: false, upgrade: false, max_headers: 1000 }
    }
}

/// A refused response head. `Display` is the line nginx writes to its error log (level `error`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResponseError {
    /// The first line is no status line of HTTP/1.
    NoStatusLine,
    /// Malformed field line: what comes before the bad byte, and that byte.
    InvalidHeader(Box<[u8]>, u8),
    /// A second `Content-Length` or `Transfer-Encoding`.
    DuplicateHeader(Box<Duplicate>),
    /// `Content-Length` is not a decimal number below 2^63: name and value.
    InvalidContentLength(Box<[u8]>, Box<[u8]>),
    /// `Content-Length` and `Transfer-Encoding`.
    LengthAndTransferEncoding,
    /// A transfer coding that is not exactly `chunked`.
    UnknownTransferEncoding(Box<[u8]>),
    /// `Transfer-Encoding` in an HTTP/1.0 response (RFC 9112 section 6.1: faulty framing).
    TransferEncodingIn10,
    /// 103 in an HTTP/1.0 response.
    EarlyHintsIn10,
    /// 101 that was not asked for.
    UnexpectedUpgrade,
    /// More than [`INTERIM_HEADS_MAX`] interim heads.
    TooManyInterim,
    /// More fields than [`ResponseOptions::max_headers`].
    TooManyHeaders,
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("upstream sent ")?;
        match self {
            Self::NoStatusLine => f.write_str("no valid HTTP/1.0 header"),
            Self::InvalidHeader(line, byte) => {
                write!(f, "invalid header: \"{}\\x{byte:02x}...\"", lossy(line))
            }
            Self::DuplicateHeader(duplicate) => write!(f, "duplicate header line: {duplicate}"),
            Self::InvalidContentLength(name, value) => {
                write!(f, "invalid \"Content-Length\" header: \"{}: {}\"", lossy(name), lossy(value))
            }
            Self::LengthAndTransferEncoding => {
                f.write_str("\"Content-Length\" and \"Transfer-Encoding\" headers at the same time")
            }
            Self::UnknownTransferEncoding(value) => {
                write!(f, "unknown \"Transfer-Encoding\": \"{}\"", lossy(value))
            }
            Self::TransferEncodingIn10 => f.write_str("HTTP/1.0 response with \"Transfer-Encoding\" header"),
            Self::EarlyHintsIn10 => f.write_str("HTTP/1.0 response with early hints"),
            Self::UnexpectedUpgrade => f.write_str("unexpected 101 response"),
            Self::TooManyInterim => f.write_str("too many interim responses"),
            Self::TooManyHeaders => f.write_str("too many header lines"),
        }
    }
}

impl std::error::Error for ResponseError {}

/// A response head. Used again and again it does not allocate.
#[derive(Debug, Clone)]
pub struct ResponseHead {
    /// Status code and reason as sent: `404 Not Found`.
    status_line: Vec<u8>,
    /// Version of the upstream.
    pub version: Version,
    /// Status code, 100 to 999.
    pub status: u16,
    /// The fields, repeated ones that may occur once left out.
    pub headers: Headers,
    /// Where the body ends.
    pub framing: Framing,
    /// What `Connection` asks for.
    pub connection: Persistence,
    /// The number in `Content-Length`, also where it frames nothing (HEAD, 304).
    pub content_length: Option<u64>,
    /// Field lines left out because their field may occur once: ranges of the parser's buffer. nginx logs each as
    /// `upstream sent duplicate header line: "…", ignored`.
    pub ignored: Vec<Range<u32>>,
}

impl Default for ResponseHead {
    fn default() -> Self {
        Self {
            status_line: Vec::new(),
            version: Version::HTTP_11,
            status: 0,
            headers: Headers::new(),
            framing: Framing::None,
            connection: Persistence::default(),
            content_length: None,
            ignored: Vec::new(),
        }
    }
}

impl ResponseHead {
    /// An empty head.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets the last response and keeps the memory.
    pub fn clear(&mut self) {
        self.status_line.clear();
        self.version = Version::HTTP_11;
        self.status = 0;
        self.headers.clear();
        self.framing = Framing::None;
        self.connection = Persistence::default();
        self.content_length = None;
        self.ignored.clear();
    }

    /// Status code and reason as sent, e.g. `404 Not Found`; passed on unchanged.
    pub fn status_line(&self) -> &[u8] {
        &self.status_line
    }

    /// Replaces the status: for gateways that say it in a field. `line` is the code, and perhaps a reason behind a blank.
    /// `false`: it is no status, and nothing was changed.
    pub fn set_status(&mut self, line: &[u8]) -> bool {
        let [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', reason @ ..] = line else { return false };
        if !matches!(reason.first(), None | Some(b' ')) || !syntax::is_field_text(reason) {
            return false;
        }
        let digit = |byte: &u8| u16::from(byte - b'0');
        self.status = digit(a) * 100 + digit(b) * 10 + digit(c);
        self.status_line.clear();
        self.status_line.extend_from_slice(line);
        if reason.is_empty()
            && let known = crate::encode::status_text(self.status)
            && !known.is_empty()
        {
            self.status_line.push(b' ');
            self.status_line.extend_from_slice(known.as_bytes());
        }
        true
    }

    /// The reason phrase; may be empty.
    pub fn reason(&self) -> &[u8] {
        self.status_line.get(4..).unwrap_or_default()
    }

    /// Whether another head follows for the same request: any 1xx but 101.
    pub fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }

    /// Whether the connection may be used again once the body has been read, as far as the upstream is concerned.
    pub fn keep_alive(&self) -> bool {
        let persistent = self.version >= Version::HTTP_11 || self.connection.keep_alive;
        persistent && !self.connection.close && self.framing != Framing::UntilClose && self.status != 101
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    StatusLine,
    Fields,
    Ended,
}

/// Reads one response head from a buffer that grows.
#[derive(Debug, Clone)]
pub struct ResponseParser {
    stage: Stage,
    at: usize,
    scan: usize,
    interim: u8,
}

impl Default for ResponseParser {
    fn default() -> Self {
        Self::new()
    }
}

impl ResponseParser {
    /// A parser at the start of a response.
    pub const fn new() -> Self {
        Self { stage: Stage::StatusLine, at: 0, scan: 0, interim: 0 }
    }

    /// Back to the start, for the response to another request.
    pub fn reset(&mut self) {
        *self = Self::new();
    }

    /// Goes on to the next head for the same request after an interim one; the buffer begins behind what was consumed.
    pub fn reset_after_interim(&mut self) {
        *self = Self { interim: self.interim, ..Self::new() };
    }

    /// Reads on. `buf` must begin with the bytes of the call before; the first call of a head clears `head`.
    ///
    /// After an error the connection must not be used again; after [`Progress::Done`] the parser must be reset.
    pub fn parse(
        &mut self,
        buf: &[u8],
        opts: &ResponseOptions,
        head: &mut ResponseHead,
    ) -> Result<Progress, ResponseError> {
        let result = self.advance(buf, opts, head);
        if !matches!(result, Ok(Progress::NeedMore)) {
            self.stage = Stage::Ended;
        }
        result
    }

    fn advance(
        &mut self,
        buf: &[u8],
        opts: &ResponseOptions,
        head: &mut ResponseHead,
    ) -> Result<Progress, ResponseError> {
        match self.stage {
            Stage::Ended => return Err(ResponseError::NoStatusLine),
            Stage::Fields => {}
            Stage::StatusLine => {
                head.clear();
                let Some((line, next)) = syntax::next_line(buf, self.at, &mut self.scan) else {
                    check_start(buf)?;
                    return Ok(Progress::NeedMore);
                };
                head.take_status_line(&buf[line])?;
                self.at = next;
                self.stage = Stage::Fields;
            }
        }
        while let Some((line, next)) = syntax::next_line(buf, self.at, &mut self.scan) {
            self.at = next;
            if line.is_empty() {
                head.check(opts)?;
                self.count_interim(head)?;
                return Ok(Progress::Done { consumed: next });
            }
            head.take_field(&buf[line.clone()], line, opts)?;
        }
        Ok(Progress::NeedMore)
    }

    fn count_interim(&mut self, head: &ResponseHead) -> Result<(), ResponseError> {
        if head.is_interim() {
            self.interim += 1;
            if self.interim > INTERIM_HEADS_MAX {
                return Err(ResponseError::TooManyInterim);
            }
        }
        Ok(())
    }
}

/// What every status line begins with.
const START: &[u8] = b"HTTP/1.";

/// Refuses what cannot become a status line before its line end has come.
fn check_start(buf: &[u8]) -> Result<(), ResponseError> {
    let len = buf.len().min(START.len());
    if buf[..len] == START[..len] { Ok(()) } else { Err(ResponseError::NoStatusLine) }
}

impl ResponseHead {
    /// `HTTP/1.d SP 3DIGIT [ SP reason ]`; many servers leave out the blank before an empty reason.
    fn take_status_line(&mut self, line: &[u8]) -> Result<(), ResponseError> {
        let rest = line.strip_prefix(START).ok_or(ResponseError::NoStatusLine)?;
        let [minor @ b'0'..=b'9', b' ', a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', reason @ ..] =
            rest
        else {
            return Err(ResponseError::NoStatusLine);
        };
        let digit = |byte: &u8| u16::from(byte - b'0');
        if !matches!(reason.first(), None | Some(b' ')) || !syntax::is_field_text(reason) {
            return Err(ResponseError::NoStatusLine);
        }
        self.version = Version { major: 1, minor: minor - b'0' };
        self.status = digit(a) * 100 + digit(b) * 10 + digit(c);
        self.status_line.extend_from_slice(&rest[2..]);
        Ok(())
    }

    /// Takes one field; `range` is where its line is in the parser's buffer.
    fn take_field(
        &mut self,
        line: &[u8],
        range: Range<usize>,
        opts: &ResponseOptions,
    ) -> Result<(), ResponseError> {
        let field = syntax::field_line(line).map_err(|bad| {
            let byte = line.get(bad.at).copied().unwrap_or(b'\r');
            ResponseError::InvalidHeader(line[..bad.at].into(), byte)
        })?;
        if self.headers.len() >= opts.max_headers as usize {
            return Err(ResponseError::TooManyHeaders);
        }
        let (name, value) = (&line[..field.name_len], &line[field.value.clone()]);
        let known = Known::from_name(name);
        if let Some(known) = known
            && self.headers.contains_known(known)
            && !self.is_interim()
        {
            if matches!(known, Known::ContentLength | Known::TransferEncoding) {
                return Err(ResponseError::DuplicateHeader(Duplicate::new(&self.headers, name, value)));
            }
            if occurs_once(known) {
                // the head is far shorter than 4 GiB
                self.ignored.push(range.start as u32..range.end as u32);
                return Ok(());
            }
        }
        self.headers.push_parsed(line, &field, known);
        Ok(())
    }

    /// Decides where the body ends (RFC 9112 section 6.3).
    fn check(&mut self, opts: &ResponseOptions) -> Result<(), ResponseError> {
        if self.status == 103 && self.version < Version::HTTP_11 {
            return Err(ResponseError::EarlyHintsIn10);
        }
        if self.is_interim() {
            return Ok(());
        }
        if self.status == 101 && !opts.upgrade {
            return Err(ResponseError::UnexpectedUpgrade);
        }
        self.connection = Persistence::of(&self.headers);
        let framing = self.body_framing()?;
        let bodiless = opts.head || matches!(self.status, 101 | 204 | 304);
        self.framing = if bodiless { Framing::None } else { framing };
        Ok(())
    }

    fn body_framing(&mut self) -> Result<Framing, ResponseError> {
        let coding = self.headers.known(Known::TransferEncoding);
        if let Some(value) = self.headers.known(Known::ContentLength) {
            if coding.is_some() {
                return Err(ResponseError::LengthAndTransferEncoding);
            }
            let length = syntax::decimal(value).ok_or_else(|| {
                ResponseError::InvalidContentLength(b"Content-Length"[..].into(), value.into())
            })?;
            self.content_length = Some(length);
            return Ok(Framing::Length(length));
        }
        match coding {
            None => Ok(Framing::UntilClose),
            Some(_) if self.version < Version::HTTP_11 => Err(ResponseError::TransferEncodingIn10),
            Some(coding) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
            Some(coding) => Err(ResponseError::UnknownTransferEncoding(coding.into())),
        }
    }
}

/// The fields of which nginx takes the first and leaves out the others.
fn occurs_once(known: Known) -> bool {
    matches!(
        known,
        Known::Status
            | Known::ContentType
            | Known::Date
            | Known::LastModified
            | Known::Etag
            | Known::Server
            | Known::Location
            | Known::Refresh
            | Known::Expires
            | Known::XAccelExpires
            | Known::XAccelRedirect
            | Known::XAccelLimitRate
    )
}

#[cfg(test)]
mod tests;
