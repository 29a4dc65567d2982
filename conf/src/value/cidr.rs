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
