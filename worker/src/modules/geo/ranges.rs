//! A `geo` block of ranges of IPv4 addresses.
//!
//! nginx cuts ranges at multiples of 65,536 addresses and compares the pieces; what it takes and what it refuses as
//! overlapping depends on that, so the same is done here while the block is read.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use conf::value::addr::parse_ipv4;
use conf::{Node, Result};

use super::table::{Span, Table, ValueId, Values};
use crate::build::Builder;

/// The ranges of a block, by the upper half of their addresses, each list sorted.
#[derive(Default)]
pub(super) struct Ranges {
    pieces: BTreeMap<u16, Vec<Piece>>,
    default: Option<ValueId>,
}

/// A part of a range within one upper half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    first: u16,
    last: u16,
    value: ValueId,
}

/// What adding a piece may say.
enum Added {
    Taken,
    Duplicate(ValueId),
    Overlaps(Piece),
}

impl Ranges {
    pub(super) fn add(&mut self, cx: &mut Builder, values: &mut Values, node: &Node) -> Result<()> {
        match node.name.bytes() {
            b"default" => {
                let value = values.id(node.bytes(0));
                if let Some(old) = self.default.replace(value) {
                    let (new, old) = (values.text(value), values.text(old));
                    let text = format!("duplicate default geo range value: \"{new}\", old value: \"{old}\"");
                    cx.warn(node.warning(text));
                }
            }
            b"delete" => {
                let range = node.first();
                let (first, last) = parse(node, range)?;
                if !self.delete(first, last) {
                    cx.warn(node.warning(format!("no address range \"{range}\" to delete")));
                }
            }
            _ => {
                let range = node.name.text();
                let (first, last) = parse(node, range)?;
                let value = values.id(node.bytes(0));
                self.insert(cx, values, node, (first, last), value)?;
            }
        }
        Ok(())
    }

    fn insert(
        &mut self,
        cx: &mut Builder,
        values: &Values,
        node: &Node,
        range: (u32, u32),
        value: ValueId,
    ) -> Result<()> {
        let name = node.name.text();
        for (upper, first, last) in pieces(range.0, range.1) {
            let list = self.pieces.entry(upper).or_default();
            match add_piece(list, Piece { first, last, value }) {
                Added::Taken => {}
                Added::Duplicate(old) => {
                    let (new, old) = (values.text(value), values.text(old));
                    let text = format!("duplicate range \"{name}\", value: \"{new}\", old value: \"{old}\"");
                    cx.warn(node.warning(text));
                }
                Added::Overlaps(other) => {
                    let ip = |lower: u16| Ipv4Addr::from(u32::from(upper) << 16 | u32::from(lower));
                    let other = format!("{}-{}", ip(other.first), ip(other.last));
                    return Err(node.error(format!("range \"{name}\" overlaps \"{other}\"")));
                }
            }
        }
        Ok(())
    }

    /// Removes exactly this range; `false`: some piece of it was not there.
    fn delete(&mut self, first: u32, last: u32) -> bool {
        let mut whole = true;
        for (upper, first, last) in pieces(first, last) {
            let list = self.pieces.get_mut(&upper);
            let at = list
                .as_ref()
                .and_then(|list| list.iter().position(|piece| (piece.first, piece.last) == (first, last)));
            match (list, at) {
                (Some(list), Some(at)) => drop(list.remove(at)),
                _ => whole = false,
            }
        }
        whole
    }

    /// Joins the pieces.
    pub(super) fn finish(self, values: Values) -> Table {
        let mut spans: Vec<Span<u32>> = Vec::new();
        for (upper, list) in self.pieces {
            for piece in list {
                let address = |lower: u16| u32::from(upper) << 16 | u32::from(lower);
                let (first, last) = (address(piece.first), address(piece.last));
                match spans.last_mut() {
                    Some(span) if span.value == piece.value && span.last.checked_add(1) == Some(first) => {
                        span.last = last;
                    }
                    _ => spans.push(Span { first, last, value: piece.value }),
                }
            }
        }
        Table::new(values, spans, Vec::new(), self.default)
    }
}

fn parse(node: &Node, range: &str) -> Result<(u32, u32)> {
    let parsed = range.split_once('-').and_then(|(first, last)| {
        let (first, last) = (u32::from(parse_ipv4(first)?), u32::from(parse_ipv4(last)?));
        (first <= last).then_some((first, last))
    });
    parsed.ok_or_else(|| node.error(format!("invalid range \"{range}\"")))
}

/// Cuts a range: upper half, first and last lower half.
fn pieces(first: u32, last: u32) -> impl Iterator<Item = (u16, u16, u16)> {
    let upper = |address: u32| (address >> 16) as u16;
    (upper(first)..=upper(last)).map(move |half| {
        let from = if half == upper(first) { first as u16 } else { 0 };
        let to = if half == upper(last) { last as u16 } else { u16::MAX };
        (half, from, to)
    })
}

/// Adds a piece: behind, before or inside others, but never across the end of one.
fn add_piece(list: &mut Vec<Piece>, new: Piece) -> Added {
    let mut at = list.len();
    while at > 0 {
        let old = list[at - 1];
        if new.last < old.first {
            at -= 1;
            continue;
        }
        if new.first > old.last {
            break;
        }
        if new.first < old.first || new.last > old.last {
            return Added::Overlaps(old);
        }
        if (new.first, new.last) == (old.first, old.last) {
            list[at - 1].value = new.value;
            return Added::Duplicate(old.value);
        }
        // inside the old one: what is left of it stands before and behind
        let before = (new.first > old.first).then(|| Piece { last: new.first - 1, ..old });
        let behind = (new.last < old.last).then(|| Piece { first: new.last + 1, ..old });
        list.splice(at - 1..at, before.into_iter().chain([new]).chain(behind));
        return Added::Taken;
    }
    list.insert(at, new);
    Added::Taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_cut_at_upper_halves() {
        let cut = |first: &str, last: &str| {
            let ip = |text: &str| u32::from(text.parse::<Ipv4Addr>().unwrap());
            pieces(ip(first), ip(last)).collect::<Vec<_>>()
        };
        assert_eq!(cut("10.0.0.1", "10.0.0.9"), [(0x0a00, 1, 9)]);
        assert_eq!(cut("10.0.3.0", "10.1.2.255"), [(0x0a00, 0x300, 0xffff), (0x0a01, 0, 0x2ff)]);
        assert_eq!(cut("255.255.0.0", "255.255.255.254"), [(0xffff, 0, 0xfffe)]);
    }

    #[test]
    fn pieces_split_but_do_not_overlap() {
        let mut values = Values::default();
        let (a, b) = (values.id(b"a"), values.id(b"b"));
        let mut list = Vec::new();
        let mut add = |first, last, value| match add_piece(&mut list, Piece { first, last, value }) {
            Added::Taken => "taken",
            Added::Duplicate(_) => "duplicate",
            Added::Overlaps(_) => "overlaps",
        };
        assert_eq!(add(10, 20, a), "taken");
        assert_eq!(add(0, 5, a), "taken");
        assert_eq!(add(12, 15, b), "taken");
        assert_eq!(add(16, 20, b), "duplicate");
        assert_eq!(add(15, 16, b), "overlaps");
        assert_eq!(add(5, 9, b), "overlaps");
        assert_eq!(add(30, 40, b), "taken");
        let bounds: Vec<_> = list.iter().map(|piece| (piece.first, piece.last)).collect();
        assert_eq!(bounds, [(0, 5), (10, 11), (12, 15), (16, 20), (30, 40)]);
    }
}
