//! Addresses: IPv4, IPv6 and unix sockets, read and printed as nginx does.
//!
//! nginx reads addresses with its own code, and that code is a little more generous than the standard
//! library's: `010.0.0.1` and `1..2.3` are IPv4 addresses, while 255.255.255.255 is none.

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use super::number;

/// Longest path of a unix socket in bytes (`sun_path` less its final zero).
pub const UNIX_PATH_BYTES_MAX: usize = 107;

/// Where to listen or connect.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// An IP address with a port.
    Inet(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

impl Address {
    /// The IP address with its port, unless this is a unix socket.
    pub fn inet(&self) -> Option<SocketAddr> {
        match self {
            Address::Inet(address) => Some(*address),
            Address::Unix(_) => None,
        }
    }

    /// The port; 0 for unix sockets.
    pub fn port(&self) -> u16 {
        self.inet().map_or(0, |address| address.port())
    }

    /// Whether this is the address of all interfaces.
    pub fn is_wildcard(&self) -> bool {
        self.inet().is_some_and(|address| address.ip().is_unspecified())
    }
}

/// As nginx prints addresses: `127.0.0.1:80`, `[::1]:80`, `unix:/path`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Inet(address) => match address.ip() {
                ip @ IpAddr::V4(_) => write!(f, "{}:{}", DisplayIp(ip), address.port()),
                ip @ IpAddr::V6(_) => write!(f, "[{}]:{}", DisplayIp(ip), address.port()),
            },
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Prints an IP address as nginx does; differs from the standard library in addresses that embed IPv4.
#[derive(Clone, Copy, Debug)]
pub struct DisplayIp(pub IpAddr);

impl fmt::Display for DisplayIp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v6 = match self.0 {
            IpAddr::V4(v4) => return v4.fmt(f),
            IpAddr::V6(v6) => v6,
        };
        let words = v6.segments();
        let (zeros_at, zeros) = longest_zeros(&words);
        let [.., _, _, _, last] = v6.octets();
        let embedded = zeros_at == 0
            && match zeros {
                5 => words[5] == 0xffff,
                6 => true,
                7 => words[7] >> 8 != 0 && last != 1,
                _ => false,
            };
        let shown = if embedded { 6 } else { 8 };
        if zeros > 0 && zeros_at == 0 {
            f.write_str(":")?;
        }
        let mut i = 0;
        while i < shown {
            if zeros > 0 && i == zeros_at {
                f.write_str(":")?;
                i += zeros;
                continue;
            }
            write!(f, "{:x}", words[i])?;
            if i < 7 {
                f.write_str(":")?;
            }
            i += 1;
        }
        if embedded {
            let [.., a, b, c, d] = v6.octets();
            write!(f, "{a}.{b}.{c}.{d}")?;
        }
        Ok(())
    }
}

/// Place and length of the first longest run of at least two zero words; length 0 when there is none.
fn longest_zeros(words: &[u16; 8]) -> (usize, usize) {
    let mut best = (0, 0);
    let mut run = (0, 0);
    for (i, &word) in words.iter().enumerate() {
        if word != 0 {
            run = (i + 1, 0);
            continue;
        }
        run.1 += 1;
        if run.1 >= 2 && run.1 > best.1 {
            best = run;
        }
    }
    best
}

/// Reads an IP address without port or brackets.
pub fn parse_ip(text: &str) -> Option<IpAddr> {
    match parse_ipv4(text) {
        Some(v4) => Some(IpAddr::V4(v4)),
        None => parse_ipv6(text).map(IpAddr::V6),
    }
}

/// Reads an IP address with an optional port (0 when absent): `1.2.3.4`, `1.2.3.4:80`, `::1`, `[::1]`,
/// `[::1]:80`.
pub fn parse_ip_port(text: &str) -> Option<SocketAddr> {
    if let Some(ip) = parse_ip(text) {
        return Some(SocketAddr::new(ip, 0));
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            if after.is_empty() {
                return parse_ip(host).map(|ip| SocketAddr::new(ip, 0));
            }
            (host, after.strip_prefix(':')?)
        }
        None => text.split_once(':')?,
    };
    let port = parse_port(port)?;
    parse_ip(host).map(|ip| SocketAddr::new(ip, port))
}

/// Reads a port: 1 to 65535.
pub fn parse_port(text: &str) -> Option<u16> {
    number::parse(text).and_then(|port| u16::try_from(port).ok()).filter(|&port| port > 0)
}

/// Reads an IPv4 address.
pub fn parse_ipv4(text: &str) -> Option<Ipv4Addr> {
    let mut address = 0_u32;
    let mut octet = 0_u32;
    let mut dots = 0;
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' => {
                octet = octet * 10 + u32::from(byte - b'0');
                if octet > 255 {
                    return None;
                }
            }
            b'.' if dots < 3 => {
                address = (address << 8) + octet;
                octet = 0;
                dots += 1;
            }
            _ => return None,
        }
    }
    let address = (address << 8) + octet;
    // The value nginx uses for "not an address" is the broadcast address.
    (dots == 3 && address != u32::MAX).then(|| Ipv4Addr::from(address))
}

/// Reads an IPv6 address, without brackets and zone.
pub fn parse_ipv6(text: &str) -> Option<Ipv6Addr> {
    if text.is_empty() {
        return None;
    }
    let text = text.strip_prefix(':').unwrap_or(text);
    let mut words: Vec<u16> = Vec::with_capacity(8);
    let mut zeros_at = None;
    let mut part: Option<usize> = None;
    let mut nibbles = 0;
    let mut word = 0_u16;
    for (i, byte) in text.bytes().enumerate() {
        if byte == b':' {
            part = Some(i + 1);
            if nibbles > 0 {
                words.push(word);
                if words.len() == 8 {
                    return None;
                }
                (nibbles, word) = (0, 0);
            } else if zeros_at.is_none() {
                zeros_at = Some(words.len());
            } else {
                return None;
            }
            continue;
        }
        if byte == b'.' && nibbles > 0 {
            if words.len() > 6 {
                return None;
            }
            let v4 = u32::from(parse_ipv4(text.get(part?..)?)?);
            words.push((v4 >> 16) as u16);
            word = (v4 & 0xffff) as u16;
            break;
        }
        nibbles += 1;
        if nibbles > 4 {
            return None;
        }
        word = word << 4 | char::from(byte).to_digit(16)? as u16;
    }
    if nibbles == 0 && zeros_at.is_none() {
        return None;
    }
    words.push(word);
    match zeros_at {
        Some(at) if words.len() < 8 => {
            let missing = 8 - words.len();
            words.splice(at..at, std::iter::repeat_n(0, missing));
        }
        None if words.len() == 8 => {}
        _ => return None,
    }
    <[u16; 8]>::try_from(words).ok().map(Ipv6Addr::from)
}

/// Turns host names into addresses, while the configuration is read.
pub trait Hosts {
    /// The addresses of `name`, in the order to use them.
    ///
    /// # Errors
    /// When the name has none.
    fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The system's resolver (getaddrinfo), which also reads `/etc/hosts`. Blocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemHosts;

impl Hosts for SystemHosts {
    fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let all: Vec<IpAddr> = (name, 0).to_socket_addrs()?.map(|address| address.ip()).collect();
        let v4 = fs::read_to_string("/proc/net/fib_trie").map_or(true, |table| has_ipv4(&table));
        let v6 = fs::read_to_string("/proc/net/if_inet6").is_ok_and(|table| has_ipv6(&table));
        let usable = only_configured(all, v4, v6);
        if usable.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(usable) }
    }
}

/// nginx asks the resolver for addresses of configured families only (`AI_ADDRCONFIG`), so that `localhost` is
/// not `::1` on a machine without IPv6. The standard library cannot ask for that; this does it afterwards, with
/// the C library's rule: when exactly one family has an address besides loopback, the other is left out.
fn only_configured(mut addresses: Vec<IpAddr>, v4: bool, v6: bool) -> Vec<IpAddr> {
    if v4 != v6 {
        addresses.retain(|address| address.is_ipv4() == v4);
    }
    addresses
}

/// Whether the kernel's routing table has a local IPv4 address besides 127.0.0.1.
fn has_ipv4(fib_trie: &str) -> bool {
    let mut leaf = "";
    for line in fib_trie.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address;
        } else if line == "/32 host LOCAL" && leaf != "127.0.0.1" {
            return true;
        }
    }
    false
}

/// Whether the kernel's table of IPv6 addresses has one besides `::1`.
fn has_ipv6(if_inet6: &str) -> bool {
    const LOOPBACK: &str = "00000000000000000000000000000001";
    if_inet6.lines().filter_map(|line| line.split_whitespace().next()).any(|address| address != LOOPBACK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4() {
        let cases = [
            ("127.0.0.1", Some([127, 0, 0, 1])),
            ("0.0.0.0", Some([0, 0, 0, 0])),
            ("010.001.0.255", Some([10, 1, 0, 255])),
            ("1..2.3", Some([1, 0, 2, 3])),
            ("1.2.3.", Some([1, 2, 3, 0])),
            ("...", Some([0, 0, 0, 0])),
            ("255.255.255.254", Some([255, 255, 255, 254])),
            ("255.255.255.255", None),
            ("256.0.0.1", None),
            ("1.2.3", None),
            ("1.2.3.4.5", None),
            ("1.2.3.4 ", None),
            ("0x7f.0.0.1", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_ipv4(text), expected.map(Ipv4Addr::from), "{text:?}");
        }
    }

    #[test]
    fn ipv6() {
        let cases = [
            ("::", Some("::")),
            ("::1", Some("::1")),
            ("1::", Some("1::")),
            ("2001:DB8::1", Some("2001:db8::1")),
            ("1:2:3:4:5:6:7:8", Some("1:2:3:4:5:6:7:8")),
            (":1:2:3:4:5:6:7:8", Some("1:2:3:4:5:6:7:8")),
            ("::ffff:10.0.0.1", Some("::ffff:10.0.0.1")),
            ("1:2:3:4:5:6:1.2.3.4", Some("1:2:3:4:5:6:102:304")),
            ("1:2:3::7:8", Some("1:2:3::7:8")),
            ("1:2:3:4:5:6:7", None),
            ("1:2:3:4:5:6:7:8:9", None),
            ("1:2:3:4:5:6:7:8::", None),
            ("1::2::3", None),
            (":::", None),
            (":", None),
            ("12345::", None),
            ("::g", None),
            ("1.2.3.4", None),
            ("1:2:3:4:5:6:7:1.2.3.4", None),
            ("::1.2.3", None),
            ("::1.2.3.4:5", None),
            ("fe80::1%eth0", None),
            ("ä::", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let expected: Option<Ipv6Addr> = expected.map(|text| text.parse().unwrap());
            assert_eq!(parse_ipv6(text), expected, "{text:?}");
        }
    }

    #[test]
    fn ip_with_port() {
        let cases = [
            ("1.2.3.4", Some("1.2.3.4:0")),
            ("1.2.3.4:80", Some("1.2.3.4:80")),
            ("::1", Some("[::1]:0")),
            ("[::1]", Some("[::1]:0")),
            ("[::1]:80", Some("[::1]:80")),
            ("[::1]80", None),
            ("[::1", None),
            ("1.2.3.4:0", None),
            ("1.2.3.4:65536", None),
            ("1.2.3.4:", None),
            ("host:80", None),
        ];
        for (text, expected) in cases {
            let expected: Option<SocketAddr> = expected.map(|text| text.parse().unwrap());
            assert_eq!(parse_ip_port(text), expected, "{text:?}");
        }
    }

    #[test]
    fn printing() {
        let cases = [
            "127.0.0.1",
            "::",
            "::1",
            "::2",
            "1::",
            "1::8",
            "2001:db8::1",
            "1:0:3:4:5:6:7:8",
            "1:0:0:4::8",
            "1:2:3:4:5:6:7:8",
            "1:2:3:4:5:6::",
            "::ffff:10.0.0.1",
            "::10.0.0.1",
        ];
        for text in cases {
            let ip = parse_ip(text).unwrap();
            assert_eq!(DisplayIp(ip).to_string(), text);
        }
        assert_eq!(Address::Inet("127.0.0.1:80".parse().unwrap()).to_string(), "127.0.0.1:80");
        assert_eq!(Address::Inet("[::1]:80".parse().unwrap()).to_string(), "[::1]:80");
        assert_eq!(Address::Unix("/s".into()).to_string(), "unix:/s");
    }

    #[test]
    fn only_configured_families() {
        let both = vec![IpAddr::from(Ipv6Addr::LOCALHOST), IpAddr::from(Ipv4Addr::LOCALHOST)];
        for (v4, v6, kept) in [(true, true, 2), (true, false, 1), (false, true, 1), (false, false, 2)] {
            let addresses = only_configured(both.clone(), v4, v6);
            assert_eq!(addresses.len(), kept);
            assert!(kept == 2 || addresses[0].is_ipv4() == v4);
        }
    }

    #[test]
    fn kernel_tables() {
        let loopback = "Main:\n  +-- 127.0.0.0/8 2 0 2\n     |-- 127.0.0.0\n        /8 host LOCAL\n     \
                        |-- 127.0.0.1\n        /32 host LOCAL\n";
        assert!(!has_ipv4(loopback));
        assert!(has_ipv4(&format!("{loopback}     |-- 10.0.0.7\n        /32 host LOCAL\n")));
        assert!(!has_ipv4(&format!("{loopback}     |-- 10.0.0.255\n        /32 link BROADCAST\n")));
        let lo = "00000000000000000000000000000001 01 80 10 80       lo\n";
        assert!(!has_ipv6(lo) && !has_ipv6(""));
        assert!(has_ipv6(&format!("{lo}fe800000000000000000000000000001 02 40 20 80     eth0\n")));
    }

    #[test]
    fn system_resolver_knows_localhost() {
        let addresses = SystemHosts.resolve("localhost").unwrap();
        assert!(addresses.iter().all(IpAddr::is_loopback), "{addresses:?}");
    }
}
