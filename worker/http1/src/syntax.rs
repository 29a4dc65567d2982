//! Byte classes of RFC 9110 section 5.6 and the grammar of one field line.

use std::ops::Range;

/// Class of a byte that may not stand in a field name.
const BAD: u8 = 0;
/// ALPHA, DIGIT and `-`: what nginx takes as a valid field name.
pub(crate) const PLAIN: u8 = 1;
/// `_`, which `underscores_in_headers` allows.
pub(crate) const UNDERSCORE: u8 = 2;
/// The other `tchar`s of RFC 9110, which nginx calls invalid.
pub(crate) const OTHER: u8 = 4;

static NAME_CLASS: [u8; 256] = name_classes();

const fn name_classes() -> [u8; 256] {
    let mut classes = [BAD; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => PLAIN,
            b'_' => UNDERSCORE,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'.' | b'^' | b'`' | b'|' | b'~' => {
                OTHER
            }
            _ => BAD,
        };
        byte += 1;
    }
    classes
}

/// Whether `byte` may stand in a token (RFC 9110 section 5.6.2).
#[inline]
pub fn is_tchar(byte: u8) -> bool {
    NAME_CLASS[byte as usize] != BAD
}

/// Whether `bytes` is a token: one or more `tchar`s.
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_tchar(byte))
}

/// Whether `bytes` holds no control character but HTAB, so that it may be a field value (RFC 9110 section 5.5).
#[inline]
pub fn is_field_text(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    let Some(last) = bytes.last_chunk::<8>() else { return rest.iter().all(|&byte| is_text_byte(byte)) };
    // the last eight bytes may have been looked at in part: cheaper than the rest one by one
    words.iter().chain([last]).all(is_text_word)
}

/// Whether eight bytes may stand in a field value; a tab among them is rare.
#[inline]
fn is_text_word(word: &[u8; 8]) -> bool {
    is_printable(u64::from_ne_bytes(*word)) || word.iter().all(|&byte| is_text_byte(byte))
}

/// Whether `byte` may stand in a field value.
const fn is_text_byte(byte: u8) -> bool {
    (byte >= 0x20 && byte != 0x7f) || byte == b'\t'
}

/// Whether none of eight bytes is below 0x20 or DEL; bytes above 0x7f may be.
#[inline]
const fn is_printable(word: u64) -> bool {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    // a borrow or carry reaches the high bit of a byte only where that byte, or one below it, is of the kind looked for
    let below = word.wrapping_sub(ONES * 0x20) & !word;
    let delete = word ^ (ONES * 0x7f);
    let is_delete = delete.wrapping_sub(ONES) & !delete;
    (below | is_delete) & HIGH == 0
}

/// Equality without regard to the case of ASCII letters.
#[inline]
pub(crate) fn eq_ignore_case(a: &[u8], b: &[u8]) -> bool {
    // most peers write names as they are registered
    a == b || a.eq_ignore_ascii_case(b)
}

/// `bytes` without leading and trailing SP and HTAB (`OWS`).
pub fn trim(bytes: &[u8]) -> &[u8] {
    &bytes[trimmed(bytes, 0)]
}

/// The range of `line[from..]` without leading and trailing OWS.
#[inline]
fn trimmed(line: &[u8], from: usize) -> Range<usize> {
    let is_blank = |byte: u8| byte == b' ' || byte == b'\t';
    let (mut start, mut end) = (from, line.len());
    while start < end && is_blank(line[start]) {
        start += 1;
    }
    while end > start && is_blank(line[end - 1]) {
        end -= 1;
    }
    start..end
}

/// A field line taken apart; ranges are offsets in the line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FieldLine {
    /// Length of the name, which begins at 0.
    pub(crate) name_len: usize,
    /// The value without surrounding white space.
    pub(crate) value: Range<usize>,
    /// Which of [`PLAIN`], [`UNDERSCORE`] and [`OTHER`] occur in the name, or-ed.
    pub(crate) class: u8,
}

/// Where a field line stops being one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadLine {
    /// Offset of the byte that may not be there; the length of the line if its end came too early.
    pub(crate) at: usize,
}

/// Takes apart one field line (without its line end), as RFC 9112 section 5 writes it: no space before the colon, no folding,
/// no empty name, no control character.
#[inline]
pub(crate) fn field_line(line: &[u8]) -> Result<FieldLine, BadLine> {
    let mut class = 0;
    let mut at = 0;
    for &byte in line {
        let bit = NAME_CLASS[byte as usize];
        if bit == BAD {
            break;
        }
        class |= bit;
        at += 1;
    }
    if at == 0 || line.get(at) != Some(&b':') {
        return Err(BadLine { at });
    }
    let value = trimmed(line, at + 1);
    if !is_field_text(&line[value.clone()]) {
        let bad = line[value.clone()].iter().position(|&byte| (byte < 0x20 && byte != b'\t') || byte == 0x7f);
        return Err(BadLine { at: value.start + bad.unwrap_or(0) });
    }
    Ok(FieldLine { name_len: at, value, class })
}

/// Finds the next line of `buf[start..]`, looking for LF only from `*scan` on, where the last search ended.
///
/// Returns the range of the line without its CRLF or LF, and the offset behind the line end.
pub(crate) fn next_line(buf: &[u8], start: usize, scan: &mut usize) -> Option<(Range<usize>, usize)> {
    let from = (*scan).max(start).min(buf.len());
    match memchr::memchr(b'\n', &buf[from..]) {
        None => {
            *scan = buf.len();
            None
        }
        Some(skip) => {
            let lf = from + skip;
            *scan = lf + 1;
            let end = if lf > start && buf[lf - 1] == b'\r' { lf - 1 } else { lf };
            Some((start..end, lf + 1))
        }
    }
}

/// The decimal number in `bytes`: one or more digits, no sign, no blank, at most `i64::MAX` (nginx's `off_t`).
pub fn decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    let mut number: u64 = 0;
    for &byte in bytes {
        if !byte.is_ascii_digit() {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?;
    }
    (number <= i64::MAX as u64).then_some(number)
}

/// The value of a hexadecimal digit.
#[inline]
pub(crate) fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_lines() {
        let good: &[(&str, &str, &str)] = &[
            ("Host: a", "Host", "a"),
            ("Host:a", "Host", "a"),
            ("Host:", "Host", ""),
            ("Host:   ", "Host", ""),
            ("Host: \t a b \t", "Host", "a b"),
            ("X: a:b", "X", "a:b"),
            ("X: a\tb", "X", "a\tb"),
            ("X: \u{e9}", "X", "\u{e9}"),
            ("!#$%&'*+-.^_`|~: v", "!#$%&'*+-.^_`|~", "v"),
        ];
        for (line, name, value) in good {
            let parsed = field_line(line.as_bytes()).unwrap();
            assert_eq!(&line[..parsed.name_len], *name);
            assert_eq!(&line[parsed.value], *value);
        }
        let bad: &[(&[u8], usize)] = &[
            (b"", 0),
            (b":", 0),
            (b": v", 0),
            (b" X: v", 0),
            (b"\tX: v", 0),
            (b"X : v", 1),
            (b"X\t: v", 1),
            (b"X", 1),
            (b"X y", 1),
            (b"X\0: v", 1),
            (b"X\r: v", 1),
            (b"X(: v", 1),
            (b"\xc3\xa9: v", 0),
            (b"X: a\0b", 4),
            (b"X: a\rb", 4),
            (b"X: a\x0bb", 4),
            (b"X: a\x7f", 4),
            (b"X: a\r", 4),
            (b"X:\r a", 2),
        ];
        for (line, at) in bad {
            assert_eq!(field_line(line), Err(BadLine { at: *at }), "{:?}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn text_is_looked_at_in_words_as_in_bytes() {
        for special in 0..=255u8 {
            for place in 0..19 {
                let mut text = *b"abcdefghij~\xe9 klmnop";
                text[place] = special;
                let bytewise = text.iter().all(|&byte| is_text_byte(byte));
                assert_eq!(is_field_text(&text), bytewise, "{special} at {place}");
            }
        }
    }

    #[test]
    fn numbers() {
        assert_eq!(decimal(b"0"), Some(0));
        assert_eq!(decimal(b"007"), Some(7));
        assert_eq!(decimal(b"9223372036854775807"), Some(i64::MAX as u64));
        let bad = [
            "",
            " 5",
            "5 ",
            "+5",
            "-5",
            "0x5",
            "5_0",
            "5,5",
            "5.0",
            "9223372036854775808",
            "18446744073709551616",
        ];
        for text in bad {
            assert_eq!(decimal(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn lines_are_found_across_pieces() {
        let buf = b"ab\r\n\ncd\n";
        let mut scan = 0;
        assert_eq!(next_line(&buf[..3], 0, &mut scan), None);
        assert_eq!(scan, 3);
        assert_eq!(next_line(buf, 0, &mut scan), Some((0..2, 4)));
        assert_eq!(next_line(buf, 4, &mut scan), Some((4..4, 5)));
        assert_eq!(next_line(buf, 5, &mut scan), Some((5..7, 8)));
        assert_eq!(next_line(buf, 8, &mut scan), None);
    }
}
