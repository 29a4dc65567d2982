//! Addresses and networks: `remote_addrs`, `ip-restriction`, `ipmatch`.

use std::net::IpAddr;

/// An address or a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    bits: u128,
    mask: u128,
    v6: bool,
}

impl Network {
    /// Reads `10.0.0.1`, `10.0.0.0/8`, `::1`, `fe80::/10`.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length.parse::<u32>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let (bits, v6) = bits(address);
        let width = if v6 { 128 } else { 32 };
        let length = length.unwrap_or(width);
        if length > width {
            return None;
        }
        let mask = match length {
            0 => 0,
            length => (u128::MAX >> (128 - width)) & (u128::MAX << (width - length)),
        };
        Some(Self { bits: bits & mask, mask, v6 })
    }

    /// Whether `address` lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (bits, v6) = bits(address);
        v6 == self.v6 && bits & self.mask == self.bits
    }
}

fn bits(address: IpAddr) -> (u128, bool) {
    match address {
        IpAddr::V4(address) => (u128::from(u32::from(address)), false),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => (u128::from(u32::from(address)), false),
            None => (u128::from(address), true),
        },
    }
}

/// Several networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Box<[Network]>);

impl Networks {
    /// Reads all of them; `Err` is the text that is none.
    pub fn parse<'t>(texts: impl IntoIterator<Item = &'t str>) -> Result<Self, &'t str> {
        texts.into_iter().map(|text| Network::parse(text).ok_or(text)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether one of them contains `address`.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_their_addresses() {
        let networks = Networks::parse(["10.0.0.0/8", "192.168.1.7", "fe80::/10", "0.0.0.0/32"]).unwrap();
        for (address, inside) in [
            ("10.9.8.7", true),
            ("11.0.0.1", false),
            ("192.168.1.7", true),
            ("192.168.1.8", false),
            ("fe80::1", true),
            ("::1", false),
            ("::ffff:10.1.1.1", true),
        ] {
            assert_eq!(networks.contains(address.parse().unwrap()), inside, "{address}");
        }
        assert!(Network::parse("0.0.0.0/0").unwrap().contains("1.2.3.4".parse().unwrap()));
        for bad in ["10.0.0.0/33", "x", "::/129", "10.0.0.0/-1", ""] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
    }
}
