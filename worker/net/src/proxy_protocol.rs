//! The PROXY protocol: the header by which a balancer tells who its client is.
//!
//! Accepts what nginx accepts (`ngx_proxy_protocol.c`): version 1 addresses are kept as text without further checks,
//! version 2 headers that are LOCAL, not a stream, or of another family than IP count as "no addresses". One
//! difference: nginx wants the header in the first read, here an incomplete one is reported as such.

use std::fmt;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{Addr, Buf};

/// Longest version 1 header in bytes.
pub const V1_MAX_HEADER: usize = 107;
/// Longest header in bytes; a longer version 2 header is refused as nginx refuses it.
pub const MAX_HEADER: usize = 4096;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_FIXED: usize = 16;
const COMMAND_PROXY: u8 = 1;
const TRANSPORT_STREAM: u8 = 1;
const FAMILY_INET: u8 = 1;
const FAMILY_INET6: u8 = 2;
/// Bytes before the sub-fields of an SSL field: client flags and the verification result.
const SSL_FIXED: usize = 5;

/// One end of the client's connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// The address as text, as the variables show it.
    pub address: String,
    /// The port.
    pub port: u16,
}

impl Endpoint {
    /// The address, if it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.address.parse().ok()
    }
}

/// What a header says about the client's connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proxied {
    /// The client.
    pub source: Endpoint,
    /// Where the client connected to.
    pub destination: Endpoint,
    /// The type-length-value fields of version 2.
    pub tlvs: Vec<u8>,
}

/// Result of looking at the first bytes of a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Parsed {
    /// More bytes are needed.
    Incomplete,
    /// A header of `length` bytes.
    Header {
        /// Bytes to skip.
        length: usize,
        /// What it says, unless it says nothing usable.
        proxied: Option<Proxied>,
    },
}

/// Why a header was refused; the texts are nginx's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Error {
    /// Not a header; carries its first line.
    Broken(String),
    /// Version 2 signature with another version.
    Version(u8),
    /// Longer than [`MAX_HEADER`].
    TooLarge,
    /// Version 2 header shorter than its addresses.
    TooShort,
    /// A field reaches beyond the header.
    BrokenTlv,
    /// A field of that name is not known.
    UnknownTlv(String),
    /// A field number that is not hexadecimal.
    InvalidTlv(String),
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Broken(line) => write!(out, "broken header: \"{line}\""),
            Error::Version(version) => write!(out, "unknown PROXY protocol version: {version}"),
            Error::TooLarge => out.write_str("header is too large"),
            Error::TooShort => out.write_str("header is too short"),
            Error::BrokenTlv => out.write_str("broken PROXY protocol TLV"),
            Error::UnknownTlv(name) => write!(out, "unknown PROXY protocol TLV \"{name}\""),
            Error::InvalidTlv(name) => write!(out, "invalid PROXY protocol TLV \"{name}\""),
        }
    }
}

impl std::error::Error for Error {}

/// Parses the header at the start of `bytes`, of either version.
pub fn parse(bytes: &[u8]) -> Result<Parsed, Error> {
    let compared = bytes.len().min(SIGNATURE.len());
    if bytes[..compared] == SIGNATURE[..compared] {
        return if bytes.len() < V2_FIXED { Ok(Parsed::Incomplete) } else { parse_v2(bytes) };
    }
    parse_v1(bytes)
}

fn parse_v1(bytes: &[u8]) -> Result<Parsed, Error> {
    let head = &bytes[..bytes.len().min(V1_MAX_HEADER)];
    let Some(end) = head.windows(2).position(|pair| pair == b"\r\n") else {
        let compared = head.len().min(6);
        let possible = head.len() < V1_MAX_HEADER && head[..compared] == b"PROXY "[..compared];
        return if possible { Ok(Parsed::Incomplete) } else { Err(broken(bytes)) };
    };
    let length = end + 2;
    let rest = head[..end].strip_prefix(b"PROXY ").ok_or_else(|| broken(bytes))?;
    if rest.starts_with(b"UNKNOWN") {
        return Ok(Parsed::Header { length, proxied: None });
    }
    let rest = rest.strip_prefix(b"TCP4 ").or_else(|| rest.strip_prefix(b"TCP6 "));
    let proxied = rest.and_then(v1_addresses).ok_or_else(|| broken(bytes))?;
    Ok(Parsed::Header { length, proxied: Some(proxied) })
}

/// `SOURCE DESTINATION PORT PORT`.
fn v1_addresses(text: &[u8]) -> Option<Proxied> {
    let mut fields = text.splitn(4, |&byte| byte == b' ');
    let (source, destination) = (v1_address(fields.next()?)?, v1_address(fields.next()?)?);
    let (source_port, destination_port) = (v1_port(fields.next()?)?, v1_port(fields.next()?)?);
    Some(Proxied {
        source: Endpoint { address: source, port: source_port },
        destination: Endpoint { address: destination, port: destination_port },
        tlvs: Vec::new(),
    })
}

fn v1_address(text: &[u8]) -> Option<String> {
    let allowed = text.iter().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'));
    allowed.then(|| text.iter().copied().map(char::from).collect())
}

fn v1_port(text: &[u8]) -> Option<u16> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// nginx quotes the first line in its log.
fn broken(bytes: &[u8]) -> Error {
    let line = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    Error::Broken(String::from_utf8_lossy(&line[..line.len().min(V1_MAX_HEADER)]).into_owned())
}

fn parse_v2(bytes: &[u8]) -> Result<Parsed, Error> {
    let (version, command) = (bytes[12] >> 4, bytes[12] & 15);
    let (family, transport) = (bytes[13] >> 4, bytes[13] & 15);
    if version != 2 {
        return Err(Error::Version(version));
    }
    let length = V2_FIXED + usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    if length > MAX_HEADER {
        return Err(Error::TooLarge);
    }
    let Some(body) = bytes.get(V2_FIXED..length) else { return Ok(Parsed::Incomplete) };
    let proxied = if command == COMMAND_PROXY && transport == TRANSPORT_STREAM {
        v2_addresses(family, body)?
    } else {
        None
    };
    Ok(Parsed::Header { length, proxied })
}

fn v2_addresses(family: u8, body: &[u8]) -> Result<Option<Proxied>, Error> {
    let address_len = match family {
        FAMILY_INET => 4,
        FAMILY_INET6 => 16,
        _ => return Ok(None),
    };
    let Some((addresses, tlvs)) = body.split_at_checked(2 * address_len + 4) else {
        return Err(Error::TooShort);
    };
    let (ips, ports) = addresses.split_at(2 * address_len);
    let (source, destination) = ips.split_at(address_len);
    let endpoint = |ip: &[u8], port: &[u8]| Endpoint {
        address: ip_of(ip).map(|ip| ip.to_string()).unwrap_or_default(),
        port: u16::from_be_bytes([port[0], port[1]]),
    };
    Ok(Some(Proxied {
        source: endpoint(source, &ports[..2]),
        destination: endpoint(destination, &ports[2..]),
        tlvs: tlvs.to_vec(),
    }))
}

fn ip_of(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(v4).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| Ipv6Addr::from(v6).into())
}

/// Names of fields, as in `$proxy_protocol_tlv_name`.
const TLV_NAMES: [(&str, u8); 5] =
    [("alpn", 0x01), ("authority", 0x02), ("unique_id", 0x05), ("ssl", 0x20), ("netns", 0x30)];
/// Names of the SSL field's sub-fields, as in `$proxy_protocol_tlv_ssl_name`.
const SSL_NAMES: [(&str, u8); 5] =
    [("version", 0x21), ("cn", 0x22), ("cipher", 0x23), ("sig_alg", 0x24), ("key_alg", 0x25)];

impl Proxied {
    /// The value of `$proxy_protocol_tlv_<name>`: a known name, `ssl_<name>`, `ssl_verify` (a decimal number), or
    /// `0x<type>`. `None` when the header has no such field.
    pub fn tlv(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let Some(inner) = name.strip_prefix("ssl_") else {
            return Ok(find_named(&self.tlvs, name, &TLV_NAMES, name)?.map(<[u8]>::to_vec));
        };
        let Some(ssl) = find(&self.tlvs, 0x20)? else { return Ok(None) };
        let Some((fixed, fields)) = ssl.split_at_checked(SSL_FIXED) else { return Err(Error::BrokenTlv) };
        if inner == "verify" {
            let result = u32::from_be_bytes([fixed[1], fixed[2], fixed[3], fixed[4]]);
            return Ok(Some(result.to_string().into_bytes()));
        }
        Ok(find_named(fields, inner, &SSL_NAMES, name)?.map(<[u8]>::to_vec))
    }
}

fn find_named<'a>(
    tlvs: &'a [u8],
    name: &str,
    names: &[(&str, u8)],
    full_name: &str,
) -> Result<Option<&'a [u8]>, Error> {
    if let Some(digits) = name.strip_prefix("0x") {
        let number = u64::from_str_radix(digits, 16).map_err(|_| Error::InvalidTlv(full_name.into()))?;
        return u8::try_from(number).map_or(Ok(None), |kind| find(tlvs, kind));
    }
    match names.iter().find(|(known, _)| *known == name) {
        Some(&(_, kind)) => find(tlvs, kind),
        None => Err(Error::UnknownTlv(full_name.into())),
    }
}

/// The first field of a type.
fn find(mut tlvs: &[u8], kind: u8) -> Result<Option<&[u8]>, Error> {
    while let [this, high, low, rest @ ..] = tlvs {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some((value, after)) = rest.split_at_checked(length) else { return Err(Error::BrokenTlv) };
        if *this == kind {
            return Ok(Some(value));
        }
        tlvs = after;
    }
    if tlvs.is_empty() { Ok(None) } else { Err(Error::BrokenTlv) }
}

/// Appends a version 1 header that presents the connection `source` → `destination`.
pub fn write_v1(source: &Addr, destination: &Addr, out: &mut Buf) {
    let written = match (source.ip(), destination.ip()) {
        (Some(from), Some(to)) if from.is_ipv4() == to.is_ipv4() => {
            let family = if from.is_ipv4() { 4 } else { 6 };
            write!(out, "PROXY TCP{family} {from} {to} {} {}\r\n", source.port(), destination.port())
        }
        _ => out.write_all(b"PROXY UNKNOWN\r\n"),
    };
    written.expect("writing to a buffer does not fail");
}

/// Appends a version 2 header that presents the connection `source` → `destination`, with encoded fields `tlvs`
/// (at most 4 KB less the addresses; more is left out).
pub fn write_v2(source: &Addr, destination: &Addr, tlvs: &[u8], out: &mut Buf) {
    let mut body = Vec::with_capacity(36 + tlvs.len());
    let family = match (source.ip(), destination.ip()) {
        (Some(IpAddr::V4(from)), Some(IpAddr::V4(to))) => {
            body.extend_from_slice(&from.octets());
            body.extend_from_slice(&to.octets());
            FAMILY_INET
        }
        (Some(IpAddr::V6(from)), Some(IpAddr::V6(to))) => {
            body.extend_from_slice(&from.octets());
            body.extend_from_slice(&to.octets());
            FAMILY_INET6
        }
        _ => 0,
    };
    if family != 0 {
        body.extend_from_slice(&source.port().to_be_bytes());
        body.extend_from_slice(&destination.port().to_be_bytes());
    }
    if V2_FIXED + body.len() + tlvs.len() <= MAX_HEADER {
        body.extend_from_slice(tlvs);
    }
    out.extend_from_slice(SIGNATURE);
    let transport = if family == 0 { 0 } else { TRANSPORT_STREAM };
    out.extend_from_slice(&[0x20 | COMMAND_PROXY, family << 4 | transport]);
    out.extend_from_slice(&(body.len() as u16).to_be_bytes());
    out.extend_from_slice(&body);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn proxied(bytes: &[u8]) -> (usize, Option<Proxied>) {
        match parse(bytes).unwrap() {
            Parsed::Header { length, proxied } => (length, proxied),
            Parsed::Incomplete => panic!("incomplete"),
        }
    }

    fn addr(text: &str) -> Addr {
        text.parse::<std::net::SocketAddr>().unwrap().into()
    }

    #[test]
    fn version_1_is_read_as_nginx_reads_it() {
        let text = b"PROXY TCP4 192.168.0.1 192.168.0.2 123 5678\r\nGET /";
        let (length, proxied) = proxied(text);
        let proxied = proxied.unwrap();
        assert_eq!(&text[length..], b"GET /");
        assert_eq!((proxied.source.address.as_str(), proxied.source.port), ("192.168.0.1", 123));
        assert_eq!((proxied.destination.address.as_str(), proxied.destination.port), ("192.168.0.2", 5678));
        for good in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN 1 2 3 4 5 6\r\n", "PROXY UNKNOWNx\r\n"] {
            assert_eq!(parse(good.as_bytes()), Ok(Parsed::Header { length: good.len(), proxied: None }));
        }
        for bad in [
            "GET / HTTP/1.0\r\n",
            "PROXY TCP5 1.1.1.1 2.2.2.2 1 2\r\n",
            "PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n",
            "PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n",
            "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n",
            "PROXY TCP4 1.1.1.1 host 1 2\r\n",
            "PROXY TCP4 1.1.1.1 2.2.2.2 -1 2\r\n",
        ] {
            let line = bad.trim_end().to_owned();
            assert_eq!(parse(bad.as_bytes()), Err(Error::Broken(line)), "{bad:?}");
        }
        let endless = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat();
        assert!(matches!(parse(&endless), Err(Error::Broken(_))));
    }

    #[test]
    fn written_headers_are_read_back_and_every_prefix_is_incomplete() {
        let mut tlvs = vec![0x02, 0, 3, b'a', b'.', b'b', 0xea, 0, 0];
        let ssl = [&[7, 0, 0, 1, 0][..], &[0x21, 0, 3], b"TLS"].concat();
        tlvs.extend_from_slice(&[0x20, 0, ssl.len() as u8]);
        tlvs.extend_from_slice(&ssl);
        for (from, to) in [("127.0.0.1:1", "10.0.0.1:65535"), ("[::1]:80", "[2001:db8::1]:443")] {
            for version in [1, 2] {
                let mut out = Buf::new();
                match version {
                    1 => write_v1(&addr(from), &addr(to), &mut out),
                    _ => write_v2(&addr(from), &addr(to), &tlvs, &mut out),
                }
                for end in 0..out.len() {
                    assert_eq!(parse(&out[..end]), Ok(Parsed::Incomplete), "{end}");
                }
                let (length, proxied) = proxied(&out);
                let proxied = proxied.unwrap();
                assert_eq!(length, out.len());
                assert_eq!(proxied.source.ip(), addr(from).ip());
                assert_eq!(proxied.source.port, addr(from).port());
                assert_eq!(proxied.destination.ip(), addr(to).ip());
                assert_eq!(proxied.tlvs.is_empty(), version == 1);
                if version == 2 {
                    for (name, value) in [
                        ("authority", Some("a.b")),
                        ("0x02", Some("a.b")),
                        ("0xea", Some("")),
                        ("alpn", None),
                        ("0x100", None),
                        ("ssl_verify", Some("256")),
                        ("ssl_version", Some("TLS")),
                        ("ssl_0x21", Some("TLS")),
                        ("ssl_cn", None),
                    ] {
                        let found = proxied.tlv(name).unwrap();
                        assert_eq!(found.as_deref(), value.map(str::as_bytes), "{name}");
                    }
                    assert_eq!(proxied.tlv("foo"), Err(Error::UnknownTlv("foo".into())));
                    assert_eq!(proxied.tlv("0xyz"), Err(Error::InvalidTlv("0xyz".into())));
                }
            }
        }
        let mut out = Buf::new();
        write_v1(&Addr::unix(""), &addr("1.2.3.4:5"), &mut out);
        assert_eq!(&out[..], b"PROXY UNKNOWN\r\n");
    }

    #[test]
    fn version_2_oddities() {
        let with = |command: u8, family: u8, body: &[u8]| {
            [&SIGNATURE[..], &[command, family], &(body.len() as u16).to_be_bytes(), body].concat()
        };
        assert_eq!(parse(&with(0x31, 0x11, &[0; 12])), Err(Error::Version(3)));
        assert_eq!(parse(&with(0x21, 0x11, &[0; 11])), Err(Error::TooShort));
        assert_eq!(parse(&with(0x21, 0x11, &[0; 4081])), Err(Error::TooLarge));
        for (command, family) in [(0x20, 0x11), (0x21, 0x12), (0x21, 0x31), (0x21, 0x00)] {
            assert_eq!(proxied(&with(command, family, &[1; 20])), (36, None));
        }
        let broken = proxied(&with(0x21, 0x11, &[1; 14])).1.unwrap();
        assert_eq!(broken.tlv("alpn"), Err(Error::BrokenTlv));
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), v2: bool) {
            let bytes = if v2 { [&SIGNATURE[..], &bytes].concat() } else { bytes };
            if let Ok(Parsed::Header { length, proxied }) = parse(&bytes) {
                prop_assert!(length <= bytes.len());
                if let Some(proxied) = proxied {
                    let _ = (proxied.tlv("ssl_cn"), proxied.tlv("0x05"), proxied.tlv("ssl_verify"));
                }
            }
        }
    }
}
