//! `charset_map`: which code is which in two charsets.

use std::rc::Rc;

use conf::{Node, Result};

use super::MAPS;
use crate::build::{Builder, Conf, MergeCx};

/// The code of a character that the other charset does not have.
pub(super) const UNKNOWN: u8 = b'?';

/// The longest UTF-8 sequence of a table: nothing outside the basic plane.
const UTF8_BYTES_MAX: usize = 3;

/// All conversions of the configuration, and all charsets it names.
#[derive(Default)]
pub struct Maps {
    names: Vec<Rc<[u8]>>,
    tables: Vec<Pair>,
}

impl Conf for Maps {
    fn merge(&mut self, _outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        Ok(())
    }
}

/// A `charset_map` in both directions.
struct Pair {
    from: Rc<[u8]>,
    to: Rc<[u8]>,
    forth: Rc<Table>,
    back: Rc<Table>,
}

/// How bytes are converted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Table {
    /// Each byte becomes another one.
    Bytes(Box<[u8; 256]>),
    /// Each byte becomes a UTF-8 sequence.
    ToUtf8(Box<[Sequence; 256]>),
    /// A character becomes a byte; 0: the charset does not have it. By the upper byte of its number.
    FromUtf8(Box<[Option<Box<[u8; 256]>>; 256]>),
}

/// A UTF-8 sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sequence {
    bytes: [u8; UTF8_BYTES_MAX],
    len: u8,
}

impl Sequence {
    const fn of(byte: u8) -> Self {
        Self { bytes: [byte, 0, 0], len: 1 }
    }

    /// Its bytes.
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl Maps {
    /// Notes a charset's name.
    pub(super) fn learn(&mut self, name: &Rc<[u8]>) {
        if !self.knows(name) {
            self.names.push(Rc::clone(name));
        }
    }

    /// Whether any charset is named at all.
    pub(super) fn is_used(&self) -> bool {
        !self.names.is_empty()
    }

    /// Whether the configuration names the charset `name`.
    pub(super) fn knows(&self, name: &[u8]) -> bool {
        self.names.iter().any(|known| known.eq_ignore_ascii_case(name))
    }

    /// The conversion between two charsets.
    pub(super) fn find(&self, from: &[u8], to: &[u8]) -> Option<&Rc<Table>> {
        let same = |a: &[u8], b: &[u8]| a.eq_ignore_ascii_case(b);
        self.tables.iter().find_map(|pair| match pair {
            _ if same(&pair.from, from) && same(&pair.to, to) => Some(&pair.forth),
            _ if same(&pair.from, to) && same(&pair.to, from) => Some(&pair.back),
            _ => None,
        })
    }
}

fn is_utf8(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"utf-8")
}

/// `charset_map charset1 charset2 { … }`.
pub(super) fn apply(cx: &mut Builder, node: &Node) -> Result<()> {
    let (from, to): (Rc<[u8]>, Rc<[u8]>) = (node.bytes(0).into(), node.bytes(1).into());
    let names = || format!("\"{}\" and \"{}\"", from.escape_ascii(), to.escape_ascii());
    if from.eq_ignore_ascii_case(&to) {
        return Err(node.error(format!("\"charset_map\" between the same charsets {}", names())));
    }
    if is_utf8(&from) {
        return Err(node.error("\"charset_map\" with \"utf-8\" charset should be given in the second column"));
    }
    if cx.http_conf(&MAPS).find(&from, &to).is_some() {
        return Err(node.error(format!("duplicate \"charset_map\" between {}", names())));
    }
    let mut entries = Vec::new();
    for entry in node.entries() {
        let entry = entry?.node;
        if entry.len() != 1 {
            return Err(entry.error("invalid parameters number"));
        }
        let code = byte(entry.name.bytes())
            .ok_or_else(|| entry.error(format!("invalid value \"{}\"", entry.name.text())))?;
        let value = sequence(entry.bytes(0), is_utf8(&to))
            .ok_or_else(|| entry.error(format!("invalid value \"{}\"", entry.first())))?;
        entries.push((code, value));
    }
    let (forth, back) = if is_utf8(&to) { utf8_tables(&entries) } else { byte_tables(&entries) };
    let maps = cx.http_conf(&MAPS);
    maps.learn(&from);
    maps.learn(&to);
    maps.tables.push(Pair { from, to, forth: Rc::new(forth), back: Rc::new(back) });
    Ok(())
}

fn byte(text: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(text).ok()?;
    if !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    u8::from_str_radix(text, 16).ok()
}

/// A code written in hexadecimal: one byte, or the bytes of one character in UTF-8.
fn sequence(text: &[u8], utf8: bool) -> Option<Sequence> {
    if !utf8 {
        return byte(text).map(Sequence::of);
    }
    if text.is_empty() || !text.len().is_multiple_of(2) || text.len() / 2 > UTF8_BYTES_MAX {
        return None;
    }
    let mut sequence = Sequence { bytes: [0; UTF8_BYTES_MAX], len: (text.len() / 2) as u8 };
    for (at, digits) in text.chunks_exact(2).enumerate() {
        sequence.bytes[at] = byte(digits)?;
    }
    character(&sequence).map(|_| sequence)
}

/// The character a sequence stands for.
fn character(sequence: &Sequence) -> Option<u16> {
    let mut chars = std::str::from_utf8(sequence.as_slice()).ok()?.chars();
    let first = u16::try_from(u32::from(chars.next()?)).ok()?;
    chars.next().is_none().then_some(first)
}

fn byte_tables(entries: &[(u8, Sequence)]) -> (Table, Table) {
    let start: [u8; 256] = std::array::from_fn(|code| if code < 128 { code as u8 } else { UNKNOWN });
    let (mut forth, mut back) = (Box::new(start), Box::new(start));
    for (code, value) in entries {
        let value = value.bytes[0];
        forth[usize::from(*code)] = value;
        back[usize::from(value)] = *code;
    }
    (Table::Bytes(forth), Table::Bytes(back))
}

fn utf8_tables(entries: &[(u8, Sequence)]) -> (Table, Table) {
    let start = |code: usize| Sequence::of(if code < 128 { code as u8 } else { UNKNOWN });
    let mut forth: Box<[Sequence; 256]> = Box::new(std::array::from_fn(start));
    let mut back: Box<[Option<Box<[u8; 256]>>; 256]> = Box::new(std::array::from_fn(|_| None));
    back[0] = Some(Box::new(std::array::from_fn(|code| if code < 128 { code as u8 } else { 0 })));
    for (code, value) in entries {
        forth[usize::from(*code)] = *value;
        if let Some(character) = character(value) {
            let page = back[usize::from(character >> 8)].get_or_insert_with(|| Box::new([0; 256]));
            page[usize::from(character & 0xff)] = *code;
        }
    }
    (Table::ToUtf8(forth), Table::FromUtf8(back))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Tables between an 8-bit charset and UTF-8 that know a few characters.
    pub(in super::super) fn sample() -> (Table, Table) {
        let entries: Vec<_> = [(0x80u8, "E282AC"), (0xd0, "D090"), (0xd1, "C3A4")]
            .map(|(code, text)| (code, sequence(text.as_bytes(), true).unwrap()))
            .into();
        utf8_tables(&entries)
    }

    #[test]
    fn values() {
        assert_eq!(byte(b"fF"), Some(255));
        for bad in ["", "100", "+1", "xy"] {
            assert_eq!(byte(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(sequence(b"E282AC", true).unwrap().as_slice(), "€".as_bytes());
        for bad in ["E282A", "E282", "F09F9880", "", "4142", "FFFF"] {
            assert_eq!(sequence(bad.as_bytes(), true), None, "{bad}");
        }
    }

    #[test]
    fn bytes_both_ways() {
        let (forth, back) = byte_tables(&[(0xc1, Sequence::of(0xe0))]);
        let (Table::Bytes(forth), Table::Bytes(back)) = (forth, back) else { panic!() };
        assert_eq!((forth[0xc1], back[0xe0]), (0xe0, 0xc1));
        assert_eq!((forth[0x41], back[0x41]), (0x41, 0x41));
        assert_eq!((forth[0xff], back[0xff]), (UNKNOWN, UNKNOWN));
    }
}
