//! The host of a request: `Host`, the authority of an absolute target, `:authority` of HTTP/2.

use std::net::Ipv6Addr;

use crate::syntax::hex_digit;

/// A host that is none; nginx answers 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid host")]
pub struct InvalidHost;

/// Checks `raw` (`host [":" port]`, RFC 9110 section 7.2) and writes the host to `out` as nginx's `$host` has it: in lower
/// case, without the port, without a trailing dot. Returns the port if one was given.
///
/// `out` is cleared first; after an error it is empty.
pub fn validate_host(raw: &[u8], out: &mut Vec<u8>) -> Result<Option<u16>, InvalidHost> {
    out.clear();
    let (host, port) = split_port(raw)?;
    let port = parse_port(port)?;
    if host.first() == Some(&b'[') {
        check_ip_literal(host)?;
        out.extend(host.iter().map(u8::to_ascii_lowercase));
        return Ok(port);
    }
    check_reg_name(host)?;
    let host = host.strip_suffix(b".").unwrap_or(host);
    if host.is_empty() {
        return Err(InvalidHost);
    }
    out.extend_from_slice(host);
    out.make_ascii_lowercase();
    Ok(port)
}

/// Splits at the colon before the port; the port part is empty if there is none.
fn split_port(raw: &[u8]) -> Result<(&[u8], &[u8]), InvalidHost> {
    let host_end = if raw.first() == Some(&b'[') {
        memchr::memchr(b']', raw).ok_or(InvalidHost)? + 1
    } else {
        memchr::memchr(b':', raw).unwrap_or(raw.len())
    };
    let (host, rest) = raw.split_at(host_end);
    match rest.split_first() {
        None => Ok((host, b"")),
        Some((b':', port)) => Ok((host, port)),
        Some(_) => Err(InvalidHost),
    }
}

/// An empty port is as good as none (RFC 3986 section 3.2.3).
fn parse_port(port: &[u8]) -> Result<Option<u16>, InvalidHost> {
    if port.is_empty() {
        return Ok(None);
    }
    let mut number: u16 = 0;
    for &byte in port {
        if !byte.is_ascii_digit() {
            return Err(InvalidHost);
        }
        number =
            number.checked_mul(10).and_then(|n| n.checked_add(u16::from(byte - b'0'))).ok_or(InvalidHost)?;
    }
    Ok(Some(number))
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

const fn is_sub_delim(byte: u8) -> bool {
    matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
}

/// Bytes that stand for themselves in a `reg-name`, the dot apart.
static PLAIN: [bool; 256] = plain_bytes();

const fn plain_bytes() -> [bool; 256] {
    let mut plain = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        plain[byte] = (is_unreserved(byte as u8) || is_sub_delim(byte as u8)) && byte as u8 != b'.';
        byte += 1;
    }
    plain
}

/// `reg-name` of RFC 3986 without two dots in a row.
fn check_reg_name(host: &[u8]) -> Result<(), InvalidHost> {
    let mut at = 0;
    while at < host.len() {
        if PLAIN[host[at] as usize] {
            at += 1;
            continue;
        }
        match host[at] {
            b'.' if host.get(at + 1) == Some(&b'.') => return Err(InvalidHost),
            b'.' => at += 1,
            b'%' => {
                let is_hex = |offset: usize| host.get(at + offset).copied().and_then(hex_digit).is_some();
                if !is_hex(1) || !is_hex(2) {
                    return Err(InvalidHost);
                }
                at += 3;
            }
            _ => return Err(InvalidHost),
        }
    }
    Ok(())
}

/// `"[" ( IPv6address / IPvFuture ) "]"`.
fn check_ip_literal(host: &[u8]) -> Result<(), InvalidHost> {
    let inner = &host[1..host.len() - 1];
    if matches!(inner.first(), Some(b'v' | b'V')) {
        return check_ip_future(&inner[1..]);
    }
    let text = std::str::from_utf8(inner).map_err(|_| InvalidHost)?;
    text.parse::<Ipv6Addr>().map(|_| ()).map_err(|_| InvalidHost)
}

/// `1*HEXDIG "." 1*( unreserved / sub-delims / ":" )`.
fn check_ip_future(text: &[u8]) -> Result<(), InvalidHost> {
    let dot = memchr::memchr(b'.', text).ok_or(InvalidHost)?;
    let (version, address) = (&text[..dot], &text[dot + 1..]);
    let is_version = !version.is_empty() && version.iter().all(u8::is_ascii_hexdigit);
    let is_address = |&byte: &u8| is_unreserved(byte) || is_sub_delim(byte) || byte == b':';
    let no_double_dot = !address.windows(2).any(|pair| pair == b"..");
    if is_version && !address.is_empty() && address.iter().all(is_address) && no_double_dot {
        Ok(())
    } else {
        Err(InvalidHost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_hosts() {
        let cases: &[(&str, &str, Option<u16>)] = &[
            ("l", "l", None),
            ("L", "l", None),
            ("www.Example.ORG", "www.example.org", None),
            ("example.org.", "example.org", None),
            ("example.org.:88", "example.org", Some(88)),
            ("example.org:", "example.org", None),
            ("example.org:0", "example.org", Some(0)),
            ("example.org:65535", "example.org", Some(65535)),
            ("example.org:00080", "example.org", Some(80)),
            ("10.0.0.1", "10.0.0.1", None),
            ("a_b~c", "a_b~c", None),
            ("a!$&'()*+,;=b", "a!$&'()*+,;=b", None),
            ("a%2Fb", "a%2fb", None),
            ("[::1]", "[::1]", None),
            ("[::1]:", "[::1]", None),
            ("[ABCD::1]:8080", "[abcd::1]", Some(8080)),
            ("[::ffff:12.30.67.89]", "[::ffff:12.30.67.89]", None),
            ("[v1F.a:B!]", "[v1f.a:b!]", None),
        ];
        let mut out = Vec::new();
        for (raw, host, port) in cases {
            assert_eq!(validate_host(raw.as_bytes(), &mut out), Ok(*port), "{raw}");
            assert_eq!(String::from_utf8_lossy(&out), *host, "{raw}");
        }
    }

    #[test]
    fn bad_hosts() {
        let cases = [
            "",
            ".",
            ":",
            ":80",
            "..",
            "a..b",
            "a..",
            "..a",
            "a b",
            "a\tb",
            "a/b",
            "a\\b",
            "a@b",
            "user@host:80",
            "a?b",
            "a#b",
            "a\"b",
            "a<b",
            "a|b",
            "a^b",
            "a`b",
            "a{b",
            "a\0",
            "a\x7f",
            "a\r",
            "a\n",
            "\u{e9}",
            "a%",
            "a%2",
            "a%zz",
            "a:1.2",
            "a:b",
            "a:80:80",
            "a:65536",
            "a:98777",
            "a:+80",
            "a: 80",
            "a:-1",
            "[",
            "[]",
            "]",
            "[::1",
            "::1",
            "[::1]a",
            "[::1].",
            "[::1].:98",
            "[::1]..:98",
            "x[::1]",
            "[::1%25eth0]",
            "[g::1]",
            "[1.2.3.4]",
            "[a]",
            "[::1]]",
            "[[::1]]",
            "[v.a]",
            "[vx.a]",
            "[v1.]",
            "[v1]",
            "[v1.a..b]",
            "[ab..cd::1]",
            "[::1/]",
        ];
        let mut out = Vec::new();
        for raw in cases {
            assert_eq!(validate_host(raw.as_bytes(), &mut out), Err(InvalidHost), "{raw:?}");
            assert!(out.is_empty());
        }
    }
}
