//! Percent-escaping as nginx does it where it builds a URI, a redirect or a page, and the way back.

use crate::syntax::hex_digit;

/// What the escaped text is to be put into; decides which bytes are escaped (nginx's `ngx_escape_uri` types).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Escape {
    /// A path.
    Uri,
    /// The value of an argument.
    Args,
    /// One component: everything but unreserved characters.
    UriComponent,
    /// A link in a page.
    Html,
    /// A `Refresh` field.
    Refresh,
    /// A memcached key.
    Memcached,
    /// A header of the mail authentication protocol; the same set as for memcached.
    MailAuth,
    /// SMTP's `xtext` (RFC 3461): escaped with `+`.
    MailXtext,
}

type Set = [bool; 256];

/// Control characters, space, DEL, everything above, and what RFC 3986 does not allow in a URI. The additional bytes of
/// each use come on top.
const fn set_of(additional: &[u8]) -> Set {
    let mut set = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        set[byte] = byte <= b' ' as usize
            || byte >= 0x7f
            || matches!(byte as u8, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|');
        byte += 1;
    }
    with(set, additional)
}

const fn with(mut set: Set, additional: &[u8]) -> Set {
    let mut index = 0;
    while index < additional.len() {
        set[additional[index] as usize] = true;
        index += 1;
    }
    set
}

const fn component_set() -> Set {
    let mut set = [true; 256];
    let mut byte = 0;
    while byte < 256 {
        let is_unreserved =
            (byte as u8).is_ascii_alphanumeric() || matches!(byte as u8, b'-' | b'.' | b'_' | b'~');
        set[byte] = !is_unreserved;
        byte += 1;
    }
    set
}

const fn control_set(high_too: bool, additional: &[u8]) -> Set {
    let mut set = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        set[byte] = byte <= b' ' as usize || (high_too && byte >= 0x7f);
        byte += 1;
    }
    with(set, additional)
}

static SETS: [Set; 8] = [
    set_of(b"}#%?"),
    set_of(b"}#%?&+;"),
    component_set(),
    set_of(b"}#%'"),
    // nginx escapes `~` here and leaves `}`
    set_of(b"~'"),
    control_set(false, b"%"),
    control_set(false, b"%"),
    control_set(true, b"+="),
];

/// Appends `text` to `out`, with what may not stand there as `%XX` (upper case digits).
pub fn escape_uri(out: &mut Vec<u8>, text: &[u8], kind: Escape) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let set = &SETS[kind as usize];
    let prefix = if kind == Escape::MailXtext { b'+' } else { b'%' };
    let mut plain_from = 0;
    for (at, &byte) in text.iter().enumerate() {
        if set[usize::from(byte)] {
            out.extend_from_slice(&text[plain_from..at]);
            out.extend_from_slice(&[prefix, HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            plain_from = at + 1;
        }
    }
    out.extend_from_slice(&text[plain_from..]);
}

/// How many bytes [`escape_uri`] would escape; each grows by 2.
pub fn escape_count(text: &[u8], kind: Escape) -> usize {
    let set = &SETS[kind as usize];
    text.iter().filter(|&&byte| set[usize::from(byte)]).count()
}

/// Where unescaping stops and what it leaves (nginx's `ngx_unescape_uri` types).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unescape {
    /// Everything is decoded.
    All,
    /// Stops behind the first `?`, be it encoded or not.
    Uri,
    /// Like [`Unescape::Uri`], and only bytes above `%` and below DEL are decoded, so that the result can go into a redirect.
    Redirect,
}

/// Appends the decoded `text` to `out` and returns how many bytes of `text` were read. A `%` without two digits behind it
/// is dropped together with the digit that did come, as nginx drops it.
pub fn unescape_uri(out: &mut Vec<u8>, text: &[u8], kind: Unescape) -> usize {
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at += 1;
        if byte != b'%' {
            out.push(byte);
            if byte == b'?' && kind != Unescape::All {
                return at;
            }
            continue;
        }
        let Some(&first) = text.get(at) else { break };
        at += 1;
        let Some(high) = hex_digit(first) else {
            out.push(first);
            continue;
        };
        let Some(&second) = text.get(at) else { break };
        at += 1;
        let Some(low) = hex_digit(second) else { continue };
        let decoded = high << 4 | low;
        match kind {
            Unescape::All => out.push(decoded),
            Unescape::Uri | Unescape::Redirect if decoded == b'?' => {
                out.push(b'?');
                return at;
            }
            Unescape::Redirect if decoded <= b'%' || decoded >= 0x7f => {
                out.extend_from_slice(&[b'%', first, second]);
            }
            Unescape::Uri | Unescape::Redirect => out.push(decoded),
        }
    }
    at
}

/// Appends `text` to `out` as character data of a page: `<`, `>`, `&` and `"` as entities.
pub fn escape_html(out: &mut Vec<u8>, text: &[u8]) {
    for &byte in text {
        match byte {
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b'&' => out.extend_from_slice(b"&amp;"),
            b'"' => out.extend_from_slice(b"&quot;"),
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All printable ASCII characters that the set escapes.
    fn printable(kind: Escape) -> String {
        (0x20..0x7f).filter(|&byte: &u8| escape_count(&[byte], kind) == 1).map(char::from).collect()
    }

    #[test]
    fn sets() {
        let cases = [
            (Escape::Uri, " \"#%<>?\\^`{|}"),
            (Escape::Args, " \"#%&+;<>?\\^`{|}"),
            (Escape::UriComponent, " !\"#$%&'()*+,/:;<=>?@[\\]^`{|}"),
            (Escape::Html, " \"#%'<>\\^`{|}"),
            (Escape::Refresh, " \"'<>\\^`{|~"),
            (Escape::Memcached, " %"),
            (Escape::MailAuth, " %"),
            (Escape::MailXtext, " +="),
        ];
        for (kind, expected) in cases {
            assert_eq!(printable(kind), expected, "{kind:?}");
            assert_eq!(escape_count(b"\0\x1f\r\n", kind), 4, "{kind:?}");
            let high = if matches!(kind, Escape::Memcached | Escape::MailAuth) { 0 } else { 3 };
            assert_eq!(escape_count(b"\x7f\x80\xff", kind), high, "{kind:?}");
        }
    }

    #[test]
    fn escaping() {
        let cases = [
            (Escape::Uri, "/a b/ü?x", "/a%20b/%C3%BC%3Fx"),
            (Escape::Args, "a=b&c", "a=b%26c"),
            (Escape::MailXtext, "a+b=", "a+2Bb+3D"),
            (Escape::Uri, "", ""),
        ];
        for (kind, text, expected) in cases {
            let mut out = b"x".to_vec();
            escape_uri(&mut out, text.as_bytes(), kind);
            assert_eq!(String::from_utf8(out).unwrap(), format!("x{expected}"));
        }
    }

    #[test]
    fn unescaping() {
        let cases: &[(Unescape, &str, &str, usize)] = &[
            (Unescape::All, "a%20b%3fc?d", "a b?c?d", 11),
            (Unescape::All, "a%zzb", "azzb", 5),
            (Unescape::All, "a%2zb", "ab", 5),
            (Unescape::All, "a%", "a", 2),
            (Unescape::All, "a%2", "a", 3),
            (Unescape::Uri, "a%41?b", "aA?", 5),
            (Unescape::Uri, "a%3Fb", "a?", 4),
            (Unescape::Redirect, "a%41%20%7f%0d%3d", "aA%20%7f%0d=", 16),
            (Unescape::Redirect, "a?b", "a?", 2),
        ];
        for (kind, text, expected, read) in cases {
            let mut out = Vec::new();
            assert_eq!(unescape_uri(&mut out, text.as_bytes(), *kind), *read, "{text}");
            assert_eq!(String::from_utf8_lossy(&out), *expected, "{text}");
        }
    }

    #[test]
    fn html() {
        let mut out = Vec::new();
        escape_html(&mut out, b"<a href=\"x\">&'");
        assert_eq!(out, b"&lt;a href=&quot;x&quot;&gt;&amp;'");
    }
}
