//! Converting a body piece by piece.

use std::rc::Rc;

use bytes::{Bytes, BytesMut};

use super::map::{Table, UNKNOWN};

/// The state of one response.
pub(super) struct Recoder {
    table: Rc<Table>,
    /// The beginning of a UTF-8 sequence whose end has not come yet.
    begun: Vec<u8>,
}

impl Recoder {
    pub(super) fn new(table: Rc<Table>) -> Self {
        Self { table, begun: Vec::new() }
    }

    /// Converts a piece.
    pub(super) fn recode(&mut self, piece: Bytes) -> Bytes {
        match &*Rc::clone(&self.table) {
            Table::Bytes(table) => recode_bytes(table, piece),
            Table::ToUtf8(table) => {
                let mut out = BytesMut::with_capacity(piece.len() + piece.len() / 2);
                piece.iter().for_each(|byte| out.extend_from_slice(table[usize::from(*byte)].as_slice()));
                out.freeze()
            }
            Table::FromUtf8(table) => {
                if self.begun.is_empty() && piece.is_ascii() {
                    return piece;
                }
                let mut out = BytesMut::with_capacity(piece.len());
                let text = if self.begun.is_empty() {
                    piece
                } else {
                    [&std::mem::take(&mut self.begun)[..], &piece].concat().into()
                };
                self.decode(table, &text, &mut out);
                out.freeze()
            }
        }
    }

    /// The body is over: a sequence that has no end is no character.
    pub(super) fn end(&mut self) -> Option<Bytes> {
        (!std::mem::take(&mut self.begun).is_empty()).then(|| Bytes::from_static(&[UNKNOWN]))
    }

    fn decode(&mut self, table: &[Option<Box<[u8; 256]>>; 256], text: &[u8], out: &mut BytesMut) {
        for chunk in text.utf8_chunks() {
            chunk.valid().chars().for_each(|character| push(table, character, out));
            let invalid = chunk.invalid();
            if invalid.is_empty() {
                continue;
            }
            let at_end = invalid.as_ptr_range().end == text.as_ptr_range().end;
            if at_end && may_go_on(invalid) {
                self.begun.extend_from_slice(invalid);
            } else {
                out.extend_from_slice(&[UNKNOWN]);
            }
        }
    }
}

fn recode_bytes(table: &[u8; 256], piece: Bytes) -> Bytes {
    if piece.iter().all(|byte| table[usize::from(*byte)] == *byte) {
        return piece;
    }
    piece.iter().map(|byte| table[usize::from(*byte)]).collect::<Vec<u8>>().into()
}

/// A character in the other charset, or as a numeric reference.
fn push(table: &[Option<Box<[u8; 256]>>; 256], character: char, out: &mut BytesMut) {
    if character.is_ascii() {
        return out.extend_from_slice(&[character as u8]);
    }
    let number = u32::from(character);
    let code = u16::try_from(number).ok().and_then(|number| {
        let page = table[usize::from(number >> 8)].as_ref()?;
        Some(page[usize::from(number & 0xff)]).filter(|code| *code != 0)
    });
    match code {
        Some(code) => out.extend_from_slice(&[code]),
        None => out.extend_from_slice(format!("&#{number};").as_bytes()),
    }
}

/// Whether `bytes`, which are no character, are the beginning of one.
fn may_go_on(bytes: &[u8]) -> bool {
    matches!(std::str::from_utf8(bytes), Err(error) if error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::map::tests::sample;
    use super::*;

    fn run(table: Table, pieces: &[&[u8]]) -> Vec<u8> {
        let mut recoder = Recoder::new(Rc::new(table));
        let mut out: Vec<u8> = Vec::new();
        for piece in pieces {
            out.extend_from_slice(&recoder.recode(Bytes::copy_from_slice(piece)));
        }
        out.extend_from_slice(&recoder.end().unwrap_or_default());
        out
    }

    #[test]
    fn to_and_from_utf8() {
        assert_eq!(run(sample().0, &[b"a\x80\xd0\xff"]), "a€А?".as_bytes());
        assert_eq!(run(sample().1, &["a€Аä".as_bytes()]), b"a\x80\xd0\xd1");
        assert_eq!(run(sample().1, &["ж😀".as_bytes()]), b"&#1078;&#128512;");
        assert_eq!(run(sample().1, &[b"\xff\xc3(\xe2\x82"]), b"??(?");
    }

    /// No state is left behind by a sequence that is cut anywhere, as often as the pieces go.
    #[test]
    fn charset_cuts_inside_a_sequence() {
        let text = "€".as_bytes();
        assert_eq!(run(sample().1, &[&text[..1], &text[1..2], b"", &text[2..]]), b"\x80");
        assert_eq!(run(sample().1, &[&text[..2], b"x"]), b"?x");
        assert_eq!(run(sample().1, &[&text[..2], text]), b"?\x80");
        assert_eq!(run(sample().1, &[b"\xf0", b"\x9f", b"\x98", b"\x80"]), b"&#128512;");
        assert_eq!(run(sample().1, &[b"\xf0", b"\xf0", b"\xf0"]), b"???");
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(text in prop::collection::vec(any::<u8>(), 0..64), cuts in prop::collection::vec(0usize..64, 0..6)) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.push(0);
            cuts.push(text.len());
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            prop_assert_eq!(run(sample().1, &pieces), run(sample().1, &[&text]));
        }
    }
}
