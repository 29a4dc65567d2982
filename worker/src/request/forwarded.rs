//! The client's address as trusted proxies report it.

use std::net::SocketAddr;

use conf::value::addr::parse_ip_port;
use conf::value::cidr::Cidr;
use net::Addr;

/// Follows the trail of addresses that proxies have left in `values` (header values, in the order they came), from its end:
/// each is believed if the one who reported it is among `trusted`. Without `recursive` one step is taken, with it as many as
/// lead to an address that is not trusted.
///
/// The result is the address found; `None`: the peer is not trusted, or nothing usable stands there.
pub fn forwarded_address(peer: &Addr, values: &[&[u8]], trusted: &[Cidr], recursive: bool) -> Option<Addr> {
    let mut found: Option<Addr> = None;
    for value in values.iter().rev() {
        let mut rest = *value;
        loop {
            let reporter = found.as_ref().unwrap_or(peer);
            if !trusts(trusted, reporter) {
                return found;
            }
            let Some((last, before)) = last_item(rest) else { return found };
            let parsed: Option<SocketAddr> = std::str::from_utf8(last).ok().and_then(parse_ip_port);
            let Some(parsed) = parsed else { return found };
            found = Some(parsed.into());
            rest = before;
            if !recursive {
                return found;
            }
            if rest.is_empty() {
                break;
            }
        }
    }
    found
}

/// Whether `addr` is in one of the networks.
pub fn trusts(networks: &[Cidr], addr: &Addr) -> bool {
    networks.iter().any(|network| match addr.ip() {
        Some(ip) => network.contains(ip),
        None => *network == Cidr::Unix,
    })
}

/// Splits the last item off a list separated by commas and spaces.
fn last_item(list: &[u8]) -> Option<(&[u8], &[u8])> {
    let separator = |b: &u8| matches!(b, b' ' | b',');
    let end = list.iter().rposition(|b| !separator(b))? + 1;
    let start = list[..end].iter().rposition(separator).map_or(0, |at| at + 1);
    Some((&list[start..end], &list[..start.saturating_sub(1)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trail_is_followed_as_far_as_it_can_be_trusted() {
        let trusted: Vec<Cidr> = ["10.0.0.0/8", "unix:", "2001:db8::/32"]
            .iter()
            .map(|text| Cidr::parse(text).unwrap().cidr)
            .collect();
        let peer = |text: &str| match text {
            "unix:" => Addr::unix(""),
            text => text.parse::<SocketAddr>().unwrap().into(),
        };
        for (from, values, recursive, expected) in [
            ("10.0.0.1:5", vec!["192.0.2.1"], false, Some("192.0.2.1:0")),
            ("10.0.0.1:5", vec!["192.0.2.1:80"], false, Some("192.0.2.1:80")),
            ("unix:", vec!["[2001:db8::1]:80"], false, Some("[2001:db8::1]:80")),
            ("11.0.0.1:5", vec!["192.0.2.1"], true, None),
            ("10.0.0.1:5", vec!["192.0.2.1, 10.0.0.2 ,10.0.0.3, "], false, Some("10.0.0.3:0")),
            ("10.0.0.1:5", vec!["192.0.2.9, 192.0.2.1, 10.0.0.2 ,10.0.0.3"], true, Some("192.0.2.1:0")),
            ("10.0.0.1:5", vec!["10.0.0.4", "10.0.0.3"], true, Some("10.0.0.4:0")),
            ("10.0.0.1:5", vec!["192.0.2.1", "10.0.0.3"], false, Some("10.0.0.3:0")),
            ("10.0.0.1:5", vec!["192.0.2.1, unknown, 10.0.0.3"], true, Some("10.0.0.3:0")),
            ("10.0.0.1:5", vec!["unknown"], true, None),
            ("10.0.0.1:5", vec![""], true, None),
            ("10.0.0.1:5", vec![" , "], true, None),
            ("10.0.0.1:5", vec![], true, None),
        ] {
            let values: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
            let found = forwarded_address(&peer(from), &values, &trusted, recursive);
            assert_eq!(found, expected.map(peer), "{from} {values:?} {recursive}");
        }
    }
}
