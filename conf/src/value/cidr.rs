//! Networks: `10.0.0.0/8`, `2001:db8::/32`, a single address, `unix:`.

use std::net::IpAddr;

use super::addr::{self, Address};
use super::number;

/// A set of client addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cidr {
    /// IPv4 addresses whose masked bits are `address`.
    V4 {
        /// Network address, host byte order.
        address: u32,
        /// Network mask.
        mask: u32,
    },
    /// IPv6 addresses whose masked bits are `address`.
    V6 {
        /// Network address.
        address: u128,
        /// Network mask.
        mask: u128,
    },
    /// All unix sockets.
    Unix,
}

/// What [`Cidr::parse`] read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The network.
    pub cidr: Cidr,
    /// The text had bits set beyond the mask, which were cleared; nginx warns
    /// `low address bits of TEXT are meaningless`.
    pub low_bits: bool,
}

impl Cidr {
    /// Reads an address with an optional prefix length, or `unix:`. `None` is nginx's `invalid parameter`.
    pub fn parse(text: &str) -> Option<Parsed> {
        if text == "unix:" {
            return Some(Parsed { cidr: Cidr::Unix, low_bits: false });
        }
        let (host, prefix) = match text.split_once('/') {
            Some((host, prefix)) => (host, Some(number::parse(prefix))),
            None => (text, None),
        };
        let ip = addr::parse_ip(host)?;
        let width: u32 = if ip.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => width,
            Some(prefix) => u32::try_from(prefix?).ok().filter(|&prefix| prefix <= width)?,
        };
        Some(match ip {
            IpAddr::V4(ip) => {
                let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
                let address = u32::from(ip);
                Parsed { cidr: Cidr::V4 { address: address & mask, mask }, low_bits: address & !mask != 0 }
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
                let address = u128::from(ip);
                Parsed { cidr: Cidr::V6 { address: address & mask, mask }, low_bits: address & !mask != 0 }
            }
        })
    }

    /// Whether an IP address is in the network. IPv4 addresses mapped into IPv6 count as IPv4.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (*self, ip.to_canonical()) {
            (Cidr::V4 { address, mask }, IpAddr::V4(ip)) => u32::from(ip) & mask == address,
            (Cidr::V6 { address, mask }, IpAddr::V6(ip)) => u128::from(ip) & mask == address,
            _ => false,
        }
    }

    /// Whether an address is in the network.
    pub fn contains_address(&self, address: &Address) -> bool {
        match address {
            Address::Inet(address) => self.contains(address.ip()),
            Address::Unix(_) => *self == Cidr::Unix,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        let cases: [(&str, &[&str], &[&str]); 9] = [
            ("10.0.0.0/8", &["10.1.2.3", "::ffff:10.0.0.1"], &["11.0.0.0", "::a00:1"]),
            ("192.168.1.7", &["192.168.1.7"], &["192.168.1.8"]),
            ("192.168.1.7/32", &["192.168.1.7"], &["192.168.1.8"]),
            ("0.0.0.0/0", &["1.2.3.4"], &["::1"]),
            ("10.1.2.3/8", &["10.9.9.9"], &["11.0.0.0"]),
            ("2001:db8::/32", &["2001:db8:1::1"], &["2001:db9::1", "1.2.3.4"]),
            ("::1", &["::1"], &["::2"]),
            ("::/0", &["::1", "2001::"], &["1.2.3.4", "::ffff:1.2.3.4"]),
            ("unix:", &[], &["1.2.3.4", "::1"]),
        ];
        for (text, inside, outside) in cases {
            let cidr = Cidr::parse(text).unwrap().cidr;
            for ip in inside {
                assert!(cidr.contains(ip.parse().unwrap()), "{text} {ip}");
            }
            for ip in outside {
                assert!(!cidr.contains(ip.parse().unwrap()), "{text} {ip}");
            }
        }
    }

    #[test]
    fn low_bits_are_told() {
        for (text, low_bits) in [
            ("10.0.0.0/8", false),
            ("10.0.0.1/8", true),
            ("1.2.3.4", false),
            ("::1/64", true),
            ("::/64", false),
        ] {
            assert_eq!(Cidr::parse(text).unwrap().low_bits, low_bits, "{text}");
        }
    }

    #[test]
    fn invalid() {
        for text in [
            "",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/8/8",
            "::/129",
            "host",
            "all",
            "255.255.255.255",
        ] {
            assert_eq!(Cidr::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn unix_sockets() {
        let cidr = Cidr::parse("unix:").unwrap().cidr;
        assert!(cidr.contains_address(&Address::Unix("/s".into())));
        assert!(!cidr.contains_address(&Address::Inet("127.0.0.1:1".parse().unwrap())));
    }
}
