//! A `geo` block of networks: the smallest network around an address gives the value.

use std::collections::HashMap;

use conf::value::cidr::Cidr;
use conf::{Node, Result};

use super::table::{Span, Table, ValueId, Values};
use crate::build::Builder;

/// The networks of a block, by address and mask.
#[derive(Default)]
pub(super) struct Networks {
    v4: HashMap<(u32, u32), ValueId>,
    v6: HashMap<(u128, u128), ValueId>,
}

/// Reads a network; low bits that are set are a warning.
pub(super) fn parse(cx: &mut Builder, node: &Node, text: &str) -> Result<Cidr> {
    // which the reader of addresses refuses, as nginx's does
    if text == "255.255.255.255" {
        return Ok(Cidr::V4 { address: u32::MAX, mask: u32::MAX });
    }
    let parsed = Cidr::parse(text).ok_or_else(|| node.error(format!("invalid network \"{text}\"")))?;
    if parsed.low_bits {
        cx.warn(node.warning(format!("low address bits of {text} are meaningless")));
    }
    Ok(parsed.cidr)
}

impl Networks {
    pub(super) fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    pub(super) fn add(&mut self, cx: &mut Builder, values: &mut Values, node: &Node) -> Result<()> {
        let value = node.bytes(0);
        match node.name.bytes() {
            b"default" => {
                let all = [Cidr::V4 { address: 0, mask: 0 }, Cidr::V6 { address: 0, mask: 0 }];
                all.into_iter().for_each(|network| self.insert(cx, values, node, network, value));
            }
            b"delete" => {
                let removed = match parse(cx, node, node.first())? {
                    Cidr::V4 { address, mask } => self.v4.remove(&(address, mask)).is_some(),
                    Cidr::V6 { address, mask } => self.v6.remove(&(address, mask)).is_some(),
                    Cidr::Unix => false,
                };
                if !removed {
                    cx.warn(node.warning(format!("no network \"{}\" to delete", node.first())));
                }
            }
            _ => {
                let network = parse(cx, node, node.name.text())?;
                self.insert(cx, values, node, network, value);
            }
        }
        Ok(())
    }

    fn insert(&mut self, cx: &mut Builder, values: &mut Values, node: &Node, network: Cidr, value: &[u8]) {
        let id = values.id(value);
        let old = match network {
            Cidr::V4 { address, mask } => self.v4.insert((address, mask), id),
            Cidr::V6 { address, mask } => self.v6.insert((address, mask), id),
            // a unix socket has no address to look up: nginx takes the entry and never uses it
            Cidr::Unix => None,
        };
        if let Some(old) = old {
            cx.warn(node.warning(format!(
                "duplicate network \"{}\", value: \"{}\", old value: \"{}\"",
                node.name.text(),
                values.text(id),
                values.text(old)
            )));
        }
    }

    /// Flattens the nested networks.
    pub(super) fn finish(self, values: Values) -> Table {
        let v4 = self.v4.into_iter().map(|((address, mask), value)| (address, address | !mask, value));
        let v6 = self.v6.into_iter().map(|((address, mask), value)| (address, address | !mask, value));
        Table::new(values, flatten(v4.collect()), flatten(v6.collect()), None)
    }
}

/// What [`flatten`] needs of an address.
trait Address: Ord + Copy {
    /// The next address; `None` behind the last.
    fn next(self) -> Option<Self>;
    /// The address before; only asked where there is one.
    fn before(self) -> Self;
}

impl Address for u32 {
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }

    fn before(self) -> Self {
        self - 1
    }
}

impl Address for u128 {
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }

    fn before(self) -> Self {
        self - 1
    }
}

/// Makes disjoint spans of blocks that are disjoint or inside one another; the innermost wins.
fn flatten<A: Address>(mut blocks: Vec<(A, A, ValueId)>) -> Vec<Span<A>> {
    blocks.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
    let mut spans: Vec<Span<A>> = Vec::with_capacity(blocks.len() * 2);
    let mut push = |first: A, last: A, value: ValueId| {
        let joins = |span: &&mut Span<A>| span.value == value && span.last.next() == Some(first);
        match spans.last_mut().filter(joins) {
            Some(span) => span.last = last,
            None => spans.push(Span { first, last, value }),
        }
    };
    // blocks around the current address, and the first address not yet assigned
    let mut open: Vec<(A, ValueId)> = Vec::new();
    let mut at: Option<A> = None;
    for (first, last, value) in blocks {
        while let Some((end, outer)) = open.last().copied() {
            if end < first {
                if let Some(from) = at.filter(|from| *from <= end) {
                    push(from, end, outer);
                    at = end.next();
                }
                open.pop();
                continue;
            }
            if let Some(from) = at.filter(|from| *from < first) {
                push(from, first.before(), outer);
            }
            break;
        }
        at = Some(first);
        open.push((last, value));
    }
    while let Some((end, outer)) = open.pop() {
        if let Some(from) = at.filter(|from| *from <= end) {
            push(from, end, outer);
            at = end.next();
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(entries: &[(&str, &str)]) -> Table {
        let (mut networks, mut values) = (Networks::default(), Values::default());
        for (network, value) in entries {
            let id = values.id(value.as_bytes());
            match Cidr::parse(network).unwrap().cidr {
                Cidr::V4 { address, mask } => networks.v4.insert((address, mask), id),
                Cidr::V6 { address, mask } => networks.v6.insert((address, mask), id),
                Cidr::Unix => None,
            };
        }
        networks.finish(values)
    }

    #[test]
    fn the_smallest_network_wins() {
        let table = table(&[
            ("0.0.0.0/0", "world"),
            ("10.0.0.0/8", "ten"),
            ("10.1.0.0/16", "one"),
            ("10.1.2.3", "host"),
            ("10.1.255.255", "end"),
            ("10.255.255.255", "last"),
            ("224.0.0.0/3", "high"),
            ("::/0", "six"),
            ("2001:db8::/32", "doc"),
            ("2001:db8::1", "doc1"),
        ]);
        for (address, expected) in [
            ("9.255.255.255", "world"),
            ("10.0.0.0", "ten"),
            ("10.1.0.0", "one"),
            ("10.1.2.2", "one"),
            ("10.1.2.3", "host"),
            ("10.1.2.4", "one"),
            ("10.1.255.255", "end"),
            ("10.2.0.0", "ten"),
            ("10.255.255.254", "ten"),
            ("10.255.255.255", "last"),
            ("11.0.0.0", "world"),
            ("255.255.255.255", "high"),
            ("::ffff:10.1.2.3", "host"),
            ("::1", "six"),
            ("2001:db8::", "doc"),
            ("2001:db8::1", "doc1"),
            ("2001:db8::2", "doc"),
            ("2001:db9::", "six"),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "six"),
        ] {
            let found = table.find(Some(address.parse().unwrap()));
            assert_eq!(String::from_utf8_lossy(found), expected, "{address}");
        }
        assert_eq!(table.find(None), b"high");
    }

    #[test]
    fn gaps_have_no_value() {
        let table = table(&[("10.0.0.0/8", "ten"), ("12.0.0.0/8", "twelve")]);
        assert_eq!(table.find(Some("11.0.0.0".parse().unwrap())), b"");
        assert_eq!(table.find(Some("12.0.0.0".parse().unwrap())), b"twelve");
        assert_eq!(table.find(None), b"");
    }
}
