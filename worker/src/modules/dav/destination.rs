//! The `Destination` and `Overwrite` fields (RFC 4918 sections 10.3 and 10.6).

use crate::modules::http::{self, Root};
use crate::request::Request;

/// Where a file is copied or moved to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Destination {
    /// The path, decoded; nothing in it leads upwards.
    pub(super) uri: Vec<u8>,
    pub(super) overwrite: bool,
}

impl Destination {
    /// Reads the fields of a request; the error is the status to answer with.
    pub(super) fn of(req: &Request) -> Result<Self, u16> {
        let Some(value) = req.headers.get(b"Destination") else {
            req.log_error(format_args!("client sent no \"Destination\" header"));
            return Err(400);
        };
        let invalid = || {
            let value = value.escape_ascii();
            req.log_error(format_args!("client sent invalid \"Destination\" header: \"{value}\""));
            400
        };
        let path = match local_path(value, req.scheme(), &req.host, req.host_port) {
            Local::Path(path) => path,
            Local::OtherHost => {
                req.log_error(format_args!(
                    "\"Destination\" URI \"{}\" is handled by different repository than the source URI",
                    value.escape_ascii()
                ));
                return Err(400);
            }
            Local::Invalid => return Err(invalid()),
        };
        let (uri, _) = crate::upstream::parse_unsafe_uri(path).ok_or_else(invalid)?;
        // with an alias, what stands in place of the location's name is cut off: it must be that name
        let conf = req.http();
        if let Root::Alias(_, prefix) = &*conf.root
            && (uri.len() < *prefix || uri[..*prefix] != req.uri[..(*prefix).min(req.uri.len())])
        {
            return Err(invalid());
        }
        debug_assert!(std::ptr::eq(conf, req.location.confs.get(&http::LOCATION)));
        if uri.ends_with(b"/") != req.uri.ends_with(b"/") {
            req.log_error(format_args!(
                "both URI \"{}\" and \"Destination\" URI \"{}\" should be either collections or non-collections",
                req.uri.escape_ascii(),
                value.escape_ascii()
            ));
            return Err(409);
        }
        let overwrite = match req.headers.get(b"Overwrite") {
            None => true,
            Some(text) if text.eq_ignore_ascii_case(b"T") => true,
            Some(text) if text.eq_ignore_ascii_case(b"F") => false,
            Some(text) => {
                let text = text.escape_ascii();
                req.log_error(format_args!("client sent invalid \"Overwrite\" header: \"{text}\""));
                return Err(400);
            }
        };
        Ok(Self { uri, overwrite })
    }
}

/// What a destination is from here.
#[derive(Debug, PartialEq, Eq)]
enum Local<'a> {
    Path(&'a [u8]),
    OtherHost,
    Invalid,
}

/// The path of a destination on this host: `/path`, or a URL with the scheme and host of the request.
fn local_path<'a>(value: &'a [u8], scheme: &[u8], host: &[u8], port: Option<u16>) -> Local<'a> {
    if value.first() == Some(&b'/') {
        return Local::Path(value);
    }
    let is_scheme = value.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    let Some(rest) = is_scheme.then(|| &value[scheme.len()..]).and_then(|rest| rest.strip_prefix(b"://"))
    else {
        return Local::Invalid;
    };
    let Some(slash) = memchr::memchr(b'/', rest) else { return Local::Invalid };
    let (authority, path) = rest.split_at(slash);
    let (name, port_text) = match memchr::memrchr(b':', authority) {
        // the colons of an IPv6 address stand in brackets
        Some(colon) if !authority[colon..].contains(&b']') => {
            (&authority[..colon], Some(&authority[colon + 1..]))
        }
        _ => (authority, None),
    };
    let same_port = match port_text {
        None => true,
        Some(text) => {
            let parsed = std::str::from_utf8(text).ok().and_then(|text| text.parse::<u16>().ok());
            parsed.is_some() && (parsed == port || port.is_none())
        }
    };
    if host.is_empty() || !name.eq_ignore_ascii_case(host) || !same_port {
        return Local::OtherHost;
    }
    Local::Path(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dav_destination_stays_on_its_host() {
        let local = |value: &'static str| local_path(value.as_bytes(), b"http", b"example.com", Some(8080));
        for path in ["/x", "http://example.com/x", "HTTP://Example.com/x", "http://example.com:8080/x"] {
            assert_eq!(local(path), Local::Path(b"/x"), "{path}");
        }
        for other in [
            "http://example.org/x",
            "http://example.com.evil.org/x",
            "http://example.com@evil.org/x",
            "http://user@example.com/x",
            "http://example.com:81/x",
            "http://example.com:/x",
            "http:///x",
        ] {
            assert_eq!(local(other), Local::OtherHost, "{other}");
        }
        for bad in ["", "x", "https://example.com/x", "ftp://example.com/x", "http://example.com", "http:/x"]
        {
            assert_eq!(local(bad), Local::Invalid, "{bad}");
        }
    }

    #[test]
    fn dav_destination_never_leads_upwards() {
        for bad in
            ["/../x", "/a/../../x", "/%2e%2e/x", "/a/%2E./x", "/a/..", "/a%00", "/..%2fx", "/a%2f..%2f..%2fx"]
        {
            assert_eq!(crate::upstream::parse_unsafe_uri(bad.as_bytes()), None, "{bad}");
        }
    }
}
