//! Why a request head is refused: nginx's words for the log and nginx's status for the answer.

use std::fmt;

use crate::headers::Headers;

/// nginx's internal status for a head that is too large; sent as 400 with its own page, and `error_page 494` can catch it.
pub const STATUS_HEADER_TOO_LARGE: u16 = 494;

/// Longest part of a field line that is repeated in a log message, bytes.
const EXCERPT_BYTES_MAX: usize = 1748;

/// A refused request head. `Display` is the line nginx writes to its error log (level `info`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestError {
    /// A byte in the method that is none of A-Z, `_`, `-`; or the method is longer than the limit.
    InvalidMethod,
    /// The request line is malformed, or its target cannot be normalised.
    InvalidRequest,
    /// Major version above 1.
    InvalidVersion,
    /// The request line does not fit the buffers.
    UriTooLong,
    /// The head does not fit the buffers and ends between two lines.
    TooLargeRequest,
    /// The field line that begins like this does not fit the buffers.
    HeaderLineTooLong(Box<[u8]>),
    /// More fields than `max_headers`.
    TooManyHeaders,
    /// Malformed field line: what comes before the bad byte, and that byte.
    InvalidHeaderLine(Box<[u8]>, u8),
    /// A field that may occur once occurs again.
    DuplicateHeader(Box<Duplicate>),
    /// `Host` occurs again.
    DuplicateHost(Box<Duplicate>),
    /// `Host` is none.
    InvalidHost,
    /// The host in an absolute target is none.
    InvalidHostInRequestLine,
    /// HTTP/1.1 without `Host`.
    MissingHost,
    /// `Content-Length` is not a decimal number below 2^63.
    InvalidContentLength,
    /// `Transfer-Encoding` before HTTP/1.1.
    TransferEncodingIn10,
    /// `Content-Length` together with `Transfer-Encoding: chunked`.
    LengthAndTransferEncoding,
    /// A transfer coding that is not exactly `chunked`.
    UnknownTransferEncoding(Box<[u8]>),
    /// CONNECT where it is not allowed.
    Connect,
    /// CONNECT with a body.
    ConnectWithBody,
    /// TRACE, which nginx never answers.
    Trace,
}

/// Two fields of one name where one was allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicate {
    name: Box<[u8]>,
    value: Box<[u8]>,
    previous_name: Box<[u8]>,
    previous_value: Box<[u8]>,
}

impl Duplicate {
    /// The new field (`name`, `value`) and the one `headers` holds already.
    pub(crate) fn new(headers: &Headers, name: &[u8], value: &[u8]) -> Box<Self> {
        let previous = headers.iter().find(|(earlier, _)| earlier.eq_ignore_ascii_case(name));
        let (previous_name, previous_value) = previous.unwrap_or((b"", b""));
        Box::new(Self {
            name: name.into(),
            value: value.into(),
            previous_name: previous_name.into(),
            previous_value: previous_value.into(),
        })
    }
}

impl fmt::Display for Duplicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "\"{}: {}\", previous value: \"{}: {}\"",
            lossy(&self.name),
            lossy(&self.value),
            lossy(&self.previous_name),
            lossy(&self.previous_value)
        )
    }
}

impl RequestError {
    /// The status nginx answers with; 494 is sent to the client as 400.
    pub fn status(&self) -> u16 {
        match self {
            Self::InvalidVersion => 505,
            Self::UriTooLong => 414,
            Self::TooLargeRequest | Self::HeaderLineTooLong(_) | Self::TooManyHeaders => {
                STATUS_HEADER_TOO_LARGE
            }
            Self::UnknownTransferEncoding(_) => 501,
            Self::Connect | Self::Trace => 405,
            Self::InvalidMethod
            | Self::InvalidRequest
            | Self::InvalidHeaderLine(..)
            | Self::DuplicateHeader(_)
            | Self::DuplicateHost(_)
            | Self::InvalidHost
            | Self::InvalidHostInRequestLine
            | Self::MissingHost
            | Self::InvalidContentLength
            | Self::TransferEncodingIn10
            | Self::LengthAndTransferEncoding
            | Self::ConnectWithBody => 400,
        }
    }

    /// The error for a field line that does not fit.
    pub(crate) fn line_too_long(line: &[u8]) -> Self {
        Self::HeaderLineTooLong(line[..line.len().min(EXCERPT_BYTES_MAX)].into())
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("client sent ")?;
        match self {
            Self::InvalidMethod => f.write_str("invalid method"),
            Self::InvalidRequest => f.write_str("invalid request"),
            Self::InvalidVersion => f.write_str("invalid version"),
            Self::UriTooLong => f.write_str("too long URI"),
            Self::TooLargeRequest => f.write_str("too large request"),
            Self::HeaderLineTooLong(line) => write!(f, "too long header line: \"{}...\"", lossy(line)),
            Self::TooManyHeaders => f.write_str("too many header lines"),
            Self::InvalidHeaderLine(line, byte) => {
                write!(f, "invalid header line: \"{}\\x{byte:02x}...\"", lossy(line))
            }
            Self::DuplicateHeader(duplicate) => write!(f, "duplicate header line: {duplicate}"),
            Self::DuplicateHost(duplicate) => write!(f, "duplicate host header: {duplicate}"),
            Self::InvalidHost => f.write_str("invalid host header"),
            Self::InvalidHostInRequestLine => f.write_str("invalid host in request line"),
            Self::MissingHost => f.write_str("HTTP/1.1 request without \"Host\" header"),
            Self::InvalidContentLength => f.write_str("invalid \"Content-Length\" header"),
            Self::TransferEncodingIn10 => f.write_str("HTTP/1.0 request with \"Transfer-Encoding\" header"),
            Self::LengthAndTransferEncoding => {
                f.write_str("\"Content-Length\" and \"Transfer-Encoding\" headers at the same time")
            }
            Self::UnknownTransferEncoding(value) => {
                write!(f, "unknown \"Transfer-Encoding\": \"{}\"", lossy(value))
            }
            Self::Connect => f.write_str("CONNECT method"),
            Self::ConnectWithBody => f.write_str("CONNECT request with body"),
            Self::Trace => f.write_str("TRACE method"),
        }
    }
}

impl std::error::Error for RequestError {}

/// Bytes for a log message: at most the excerpt limit, what is not UTF-8 replaced.
pub(crate) fn lossy(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(&bytes[..bytes.len().min(EXCERPT_BYTES_MAX)])
}
