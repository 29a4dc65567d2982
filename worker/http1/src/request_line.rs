//! The request line (RFC 9112 section 3): `method SP target SP HTTP/d.d`, each blank exactly one.
//!
//! A line without a version is refused: HTTP/0.9, which nginx still answers, has answers that cannot be told from bodies.

use std::ops::Range;

use crate::{method::Method, request_error::RequestError};

/// Longest method that is read, bytes; the longest registered one has 17.
pub(crate) const METHOD_BYTES_MAX: usize = 64;

/// HTTP version of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Major number, 1.
    pub major: u8,
    /// Minor number, 0 to 9.
    pub minor: u8,
}

impl Version {
    /// HTTP/1.0
    pub const HTTP_10: Version = Version { major: 1, minor: 0 };
    /// HTTP/1.1
    pub const HTTP_11: Version = Version { major: 1, minor: 1 };
    /// HTTP/2, whose heads come without a line ([`crate::RequestHead::assemble`]).
    pub const HTTP_20: Version = Version { major: 2, minor: 0 };
}

/// Which of the four forms of RFC 9112 section 3.2 the target has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TargetForm {
    /// `/path?query`
    #[default]
    Origin,
    /// `http://host/path?query`
    Absolute,
    /// `host:port`, for CONNECT only.
    Authority,
    /// `*`, for OPTIONS only.
    Asterisk,
}

/// A request line taken apart; ranges are offsets in the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestLine {
    pub(crate) method: Method,
    pub(crate) method_len: usize,
    pub(crate) target: Range<usize>,
    pub(crate) form: TargetForm,
    /// `host[:port]` of the target; empty unless the form has one.
    pub(crate) authority: Range<usize>,
    /// Path and query (and fragment) of the target; empty if the target has none.
    pub(crate) origin: Range<usize>,
    /// Scheme of an absolute target.
    pub(crate) scheme: Range<usize>,
    pub(crate) version: Version,
}

/// Whether `line` begins with what can still be a method: so that garbage is refused before its line end has come.
pub(crate) fn check_method_prefix(line: &[u8]) -> Result<(), RequestError> {
    method_len(line).map(|_| ())
}

/// Length of the method at the start of `line`; `None` if the blank behind it is not there.
fn method_len(line: &[u8]) -> Result<Option<usize>, RequestError> {
    for (at, &byte) in line.iter().enumerate() {
        match byte {
            b'A'..=b'Z' | b'_' | b'-' if at < METHOD_BYTES_MAX => {}
            b' ' if at > 0 => return Ok(Some(at)),
            _ => return Err(RequestError::InvalidMethod),
        }
    }
    Ok(None)
}

/// Takes apart a request line without its line end.
pub(crate) fn request_line(line: &[u8]) -> Result<RequestLine, RequestError> {
    let method_len = method_len(line)?.ok_or(RequestError::InvalidMethod)?;
    let method = Method::from_bytes(&line[..method_len]);
    let target_at = method_len + 1;
    let target_end = memchr::memchr(b' ', &line[target_at..]).map(|skip| target_at + skip);
    let target = target_at..target_end.unwrap_or(line.len());
    let mut parsed = RequestLine {
        method,
        method_len,
        target: target.clone(),
        form: TargetForm::Origin,
        authority: 0..0,
        origin: 0..0,
        scheme: 0..0,
        version: Version::HTTP_11,
    };
    split_target(line, &mut parsed)?;
    match target_end {
        Some(end) => parsed.version = version(&line[end + 1..])?,
        None => return Err(RequestError::InvalidRequest),
    }
    Ok(parsed)
}

/// `HTTP/1.d`.
fn version(text: &[u8]) -> Result<Version, RequestError> {
    let numbers = text.strip_prefix(b"HTTP/").ok_or(RequestError::InvalidRequest)?;
    match numbers {
        [b'1', b'.', minor @ b'0'..=b'9'] => Ok(Version { major: 1, minor: minor - b'0' }),
        [b'2'..=b'9', b'.', b'0'..=b'9'] | [b'2'..=b'9'] => Err(RequestError::InvalidVersion),
        _ => Err(RequestError::InvalidRequest),
    }
}

fn split_target(line: &[u8], parsed: &mut RequestLine) -> Result<(), RequestError> {
    let target = &line[parsed.target.clone()];
    let is_clean = !target.iter().fold(false, |bad, &byte| bad | (byte <= b' ') | (byte == 0x7f));
    if target.is_empty() || !is_clean {
        return Err(RequestError::InvalidRequest);
    }
    if parsed.method == Method::Connect {
        return split_authority(line, parsed);
    }
    match target {
        [b'/', ..] => {
            parsed.origin = parsed.target.clone();
            Ok(())
        }
        b"*" if parsed.method == Method::Options => {
            parsed.form = TargetForm::Asterisk;
            Ok(())
        }
        _ => split_absolute(line, parsed),
    }
}

/// `host ":" port`; both must be there (RFC 9110 section 9.3.6).
fn split_authority(line: &[u8], parsed: &mut RequestLine) -> Result<(), RequestError> {
    let target = &line[parsed.target.clone()];
    let colon = memchr::memrchr(b':', target).ok_or(RequestError::InvalidRequest)?;
    let port = &target[colon + 1..];
    if colon == 0 || port.is_empty() || !port.iter().all(u8::is_ascii_digit) {
        return Err(RequestError::InvalidRequest);
    }
    parsed.form = TargetForm::Authority;
    parsed.authority = parsed.target.clone();
    Ok(())
}

/// `http://authority[/path][?query]`; `https` likewise, schemes in any case.
fn split_absolute(line: &[u8], parsed: &mut RequestLine) -> Result<(), RequestError> {
    let Range { start, end } = parsed.target;
    let target = &line[start..end];
    let scheme_len = memchr::memchr(b':', target).ok_or(RequestError::InvalidRequest)?;
    let scheme = &target[..scheme_len];
    let is_http = scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"https");
    if !is_http || !target[scheme_len..].starts_with(b"://") {
        return Err(RequestError::InvalidRequest);
    }
    let authority_at = start + scheme_len + 3;
    let authority_len = line[authority_at..end].iter().position(|byte| matches!(byte, b'/' | b'?' | b'#'));
    let authority_end = authority_len.map_or(end, |len| authority_at + len);
    parsed.form = TargetForm::Absolute;
    parsed.scheme = start..start + scheme_len;
    parsed.authority = authority_at..authority_end;
    parsed.origin = authority_end..end;
    Ok(())
}
