//! Strings of JSON, both ways.

/// Appends `text` in quotes.
pub(super) fn push_quoted(out: &mut Vec<u8>, text: &[u8], escape_slash: bool) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let mut plain = 0;
    for (i, &byte) in text.iter().enumerate() {
        let letter = match byte {
            b'"' | b'\\' => byte,
            b'/' if escape_slash => byte,
            8 => b'b',
            12 => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0..32 | 127 => 0,
            _ => continue,
        };
        out.extend_from_slice(&text[plain..i]);
        plain = i + 1;
        if letter == 0 {
            out.extend([b'\\', b'u', b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        } else {
            out.extend([b'\\', letter]);
        }
    }
    out.extend_from_slice(&text[plain..]);
    out.push(b'"');
}

/// Reads the string that begins behind a quote at `text[0]`: appends it to `out`, gives how many bytes it took with its
/// closing quote.
///
/// # Errors
/// What is wrong, and where.
pub(super) fn unquote(text: &[u8], out: &mut Vec<u8>) -> Result<usize, (&'static str, usize)> {
    let mut at = 0;
    loop {
        let plain = memchr::memchr3(b'"', b'\\', 0, &text[at..]).unwrap_or(text.len() - at);
        out.extend_from_slice(&text[at..at + plain]);
        at += plain;
        match text.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => at += escape(&text[at..], out).map_err(|message| (message, at))?,
            _ => return Err(("unexpected end of string", at)),
        }
    }
}

/// Reads one escape, which begins with a backslash; how many bytes it took.
fn escape(text: &[u8], out: &mut Vec<u8>) -> Result<usize, &'static str> {
    let byte = match text.get(1) {
        Some(byte @ (b'"' | b'\\' | b'/')) => *byte,
        Some(b'b') => 8,
        Some(b'f') => 12,
        Some(b'n') => b'\n',
        Some(b'r') => b'\r',
        Some(b't') => b'\t',
        Some(b'u') => return unicode(text, out).ok_or("invalid unicode escape code"),
        _ => return Err("invalid escape code"),
    };
    out.push(byte);
    Ok(2)
}

/// Reads `\uXXXX`, or two of them that are one character.
fn unicode(text: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let high = unit(0)?;
    let (code, taken) = match high {
        0xD800..0xDC00 => {
            let low = unit(6).filter(|low| (0xDC00..0xE000).contains(low))?;
            (0x10000 + ((high & 0x3FF) << 10 | low & 0x3FF), 12)
        }
        _ => (high, 6),
    };
    // half a pair that comes first is no character
    let character = char::from_u32(code)?;
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let all: Vec<u8> = (0..=255).collect();
        for slash in [true, false] {
            let mut quoted = Vec::new();
            push_quoted(&mut quoted, &all, slash);
            let mut back = Vec::new();
            assert_eq!(unquote(&quoted[1..], &mut back), Ok(quoted.len() - 1));
            assert_eq!(back, all);
        }
        let mut quoted = Vec::new();
        push_quoted(&mut quoted, b"a/\x7f\x01\n", true);
        assert_eq!(quoted, b"\"a\\/\\u007f\\u0001\\n\"");
    }

    #[test]
    fn escapes() {
        let read = |text: &str| {
            let mut out = Vec::new();
            unquote(text.as_bytes(), &mut out).map(|_| String::from_utf8(out).unwrap())
        };
        assert_eq!(read("\\u00e4\\uD83D\\uDE00\""), Ok("ä😀".into()));
        assert_eq!(read("\\uD83Dx\""), Err(("invalid unicode escape code", 0)));
        assert_eq!(read("\\uDE00\""), Err(("invalid unicode escape code", 0)));
        assert_eq!(read("a\\x\""), Err(("invalid escape code", 1)));
        assert_eq!(read("abc"), Err(("unexpected end of string", 3)));
    }
}
