//! What makes a field list a request, a response or trailers (RFC 9113 section 8). Whatever two readers could understand
//! differently, or could not be said in HTTP/1, is malformed.

use std::fmt;

use http1::syntax::{is_field_text, is_tchar};

use crate::hpack::Fields;

/// Why a message is malformed: a stream error of type PROTOCOL_ERROR. In nginx's words where it has some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl Malformed {
    /// The status a server answers with before it resets the stream.
    pub fn status(self) -> u16 {
        if self == CONNECT_WITH_TARGET { 405 } else { 400 }
    }
}

const CONNECT_WITH_TARGET: Malformed = Malformed("sent CONNECT with :scheme or :path header");

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// The control data of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestParts<'a> {
    /// `:method`.
    pub method: &'a [u8],
    /// `:scheme`; empty for CONNECT.
    pub scheme: &'a [u8],
    /// `:authority`; empty without one.
    pub authority: &'a [u8],
    /// `:path`; empty for CONNECT.
    pub path: &'a [u8],
    /// `:protocol` of an extended CONNECT (RFC 8441); empty without one.
    pub protocol: &'a [u8],
}

/// Checks a request's fields and finds its control data.
pub fn request(fields: &Fields) -> Result<RequestParts<'_>, Malformed> {
    let mut parts: [Option<&[u8]>; 5] = [None; 5];
    let mut regular = false;
    for (name, value) in fields.iter() {
        let Some(pseudo) = name.strip_prefix(b":") else {
            regular = true;
            check_field(name, value)?;
            continue;
        };
        if regular {
            return Err(Malformed("sent pseudo-header after regular header"));
        }
        let at = match pseudo {
            b"method" => METHOD,
            b"scheme" => SCHEME,
            b"authority" => AUTHORITY,
            b"path" => PATH,
            b"protocol" => PROTOCOL,
            _ => return Err(Malformed("sent unknown pseudo-header")),
        };
        if parts[at].replace(value).is_some() {
            return Err(Malformed("sent duplicate pseudo-header"));
        }
        check_value(value)?;
    }
    let extended = parts[PROTOCOL].is_some();
    let part = |at: usize| parts[at].unwrap_or_default();
    let parts = RequestParts {
        method: part(METHOD),
        scheme: part(SCHEME),
        authority: part(AUTHORITY),
        path: part(PATH),
        protocol: part(PROTOCOL),
    };
    check_request(&parts, extended)?;
    Ok(parts)
}

const METHOD: usize = 0;
const SCHEME: usize = 1;
const AUTHORITY: usize = 2;
const PATH: usize = 3;
const PROTOCOL: usize = 4;

fn check_request(parts: &RequestParts<'_>, extended: bool) -> Result<(), Malformed> {
    if parts.method.is_empty() {
        return Err(Malformed("sent no :method header"));
    }
    if !parts.method.iter().all(|&byte| is_tchar(byte)) {
        return Err(Malformed("sent invalid method"));
    }
    if parts.authority.iter().any(|&byte| byte <= b' ' || byte == b'@' || byte == 0x7f) {
        return Err(Malformed("sent invalid :authority header"));
    }
    let connect = parts.method == b"CONNECT";
    if extended && (!connect || parts.protocol.is_empty() || parts.authority.is_empty()) {
        return Err(Malformed("sent invalid extended CONNECT"));
    }
    if connect && !extended {
        // section 8.5; a target in origin form comes from clients that treat CONNECT as any other method: no reader could
        // say what they mean
        if !parts.scheme.is_empty() || !parts.path.is_empty() || parts.authority.is_empty() {
            return Err(CONNECT_WITH_TARGET);
        }
        return Ok(());
    }
    if parts.scheme.is_empty() {
        return Err(Malformed("sent no :scheme header"));
    }
    if !is_scheme(parts.scheme) {
        return Err(Malformed("sent invalid :scheme header"));
    }
    if parts.path.is_empty() {
        return Err(Malformed("sent no :path header"));
    }
    let asterisk = parts.path == b"*" && parts.method == b"OPTIONS";
    if parts.path[0] != b'/' && !asterisk || parts.path.iter().any(|&byte| byte <= b' ' || byte == 0x7f) {
        return Err(Malformed("sent invalid :path header"));
    }
    Ok(())
}

fn is_scheme(scheme: &[u8]) -> bool {
    scheme[0].is_ascii_alphabetic()
        && scheme.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

/// Checks a response's fields and reads its status.
pub fn response(fields: &Fields) -> Result<u16, Malformed> {
    let mut status = None;
    let mut regular = false;
    for (name, value) in fields.iter() {
        if !name.starts_with(b":") {
            regular = true;
            check_field(name, value)?;
            continue;
        }
        if regular || name != b":status" || status.is_some() {
            return Err(Malformed("sent invalid pseudo-header"));
        }
        status = match value {
            [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9'] => {
                Some(u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0'))
            }
            _ => return Err(Malformed("sent invalid :status header")),
        };
    }
    match status {
        // section 8.6: there is no upgrade in HTTP/2
        Some(101) => Err(Malformed("sent invalid :status header")),
        Some(status) => Ok(status),
        None => Err(Malformed("sent no :status header")),
    }
}

/// Checks trailer fields.
pub fn trailers(fields: &Fields) -> Result<(), Malformed> {
    for (name, value) in fields.iter() {
        if name.starts_with(b":") {
            return Err(Malformed("sent pseudo-header in trailers"));
        }
        check_field(name, value)?;
    }
    Ok(())
}

/// The value of `content-length`, when all that there are agree.
pub fn content_length(fields: &Fields) -> Result<Option<u64>, Malformed> {
    let mut found: Option<&[u8]> = None;
    for (_, value) in fields.iter().filter(|(name, _)| *name == b"content-length") {
        if found.is_some_and(|found| found != value) {
            return Err(Malformed("sent duplicate content-length header"));
        }
        found = Some(value);
    }
    let Some(value) = found else { return Ok(None) };
    if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
        return Err(Malformed("sent invalid content-length header"));
    }
    Ok(Some(value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'))))
}

fn check_field(name: &[u8], value: &[u8]) -> Result<(), Malformed> {
    if name.is_empty() || !name.iter().all(|&byte| is_tchar(byte) && !byte.is_ascii_uppercase()) {
        return Err(Malformed("sent invalid header name"));
    }
    check_value(value)?;
    match name {
        b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"upgrade" => {
            Err(Malformed("sent connection-specific header"))
        }
        b"te" if !value.eq_ignore_ascii_case(b"trailers") => Err(Malformed("sent invalid te header")),
        _ => Ok(()),
    }
}

fn check_value(value: &[u8]) -> Result<(), Malformed> {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    if !is_field_text(value) || blank(value.first()) || blank(value.last()) {
        return Err(Malformed("sent invalid header value"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(list: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::new();
        list.iter().for_each(|(name, value)| fields.push(name.as_bytes(), value.as_bytes()));
        fields
    }

    const GET: [(&str, &str); 3] = [(":method", "GET"), (":scheme", "http"), (":path", "/")];

    #[test]
    fn requests() {
        let good = |more: &[(&str, &str)]| request(&fields(&[&GET[..], more].concat())).is_ok();
        assert!(good(&[]));
        assert!(good(&[(":authority", "a"), ("x", ""), ("te", "trailers")]));
        for bad in [
            ("X", "a"),
            ("", "a"),
            ("x y", "a"),
            ("x:", "a"),
            ("x", "a\r\nb"),
            ("x", "a\0"),
            ("x", " a"),
            ("x", "a\t"),
            ("connection", "close"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("te", "gzip"),
            (":status", "200"),
            (":path", "/"),
            (":authority", "user@host"),
            (":protocol", "websocket"),
        ] {
            assert!(!good(&[bad]), "{bad:?}");
        }
        assert!(!good(&[("x", "a"), (":authority", "a")]), "pseudo behind regular");
    }

    #[test]
    fn targets() {
        let of = |list: &[(&str, &str)]| request(&fields(list)).is_ok();
        assert!(!of(&GET[..2]) && !of(&GET[1..]) && !of(&[GET[0], GET[2]]));
        assert!(of(&[(":method", "OPTIONS"), (":scheme", "http"), (":path", "*")]));
        assert!(!of(&[(":method", "GET"), (":scheme", "http"), (":path", "*")]));
        for path in ["", "x", "/a b", "/a\r", "http://a/"] {
            assert!(!of(&[(":method", "GET"), (":scheme", "http"), (":path", path)]), "{path:?}");
        }
        assert!(of(&[(":method", "CONNECT"), (":authority", "a:1")]));
        assert!(
            !of(&[(":method", "CONNECT")]) && !of(&[(":method", "CONNECT"), (":authority", "a"), GET[2]])
        );
        let extended =
            [(":method", "CONNECT"), (":protocol", "websocket"), GET[1], GET[2], (":authority", "a")];
        assert!(of(&extended) && !of(&extended[..4]));
    }

    #[test]
    fn responses_and_lengths() {
        assert_eq!(response(&fields(&[(":status", "204")])), Ok(204));
        for bad in ["20", "2000", "abc", "099", "101"] {
            assert!(response(&fields(&[(":status", bad)])).is_err(), "{bad}");
        }
        assert!(response(&fields(&[("x", "a")])).is_err());
        let length = |list: &[&str]| {
            let list: Vec<_> = list.iter().map(|value| ("content-length", *value)).collect();
            content_length(&fields(&list))
        };
        assert_eq!(length(&["10", "10"]), Ok(Some(10)));
        assert!(length(&["10", "11"]).is_err() && length(&["+1"]).is_err() && length(&[""]).is_err());
    }
}
