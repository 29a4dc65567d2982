//! Percent-escaping as OpenResty's Lua functions do it: laxer than nginx's own.

/// What escaped text is put into, by the numbers of `ngx.escape_uri`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Escape {
    /// A path.
    Uri,
    /// Arguments.
    Args,
    /// One component.
    Component,
    /// A link in a page.
    Html,
    /// A `Refresh` field.
    Refresh,
    /// A memcached key, and mail authentication.
    Memcached,
}

impl Escape {
    /// The kind of number `kind`.
    pub(crate) fn of_number(kind: i64) -> Option<Self> {
        Some(match kind {
            0 => Escape::Uri,
            1 => Escape::Args,
            2 => Escape::Component,
            3 => Escape::Html,
            4 => Escape::Refresh,
            5 | 6 => Escape::Memcached,
            _ => return None,
        })
    }

    fn escapes(self, byte: u8) -> bool {
        if byte <= b' ' {
            return true;
        }
        if byte >= 0x7f {
            return self != Escape::Memcached;
        }
        match self {
            Escape::Uri => matches!(byte, b'#' | b'%' | b'?'),
            Escape::Args => matches!(byte, b'#' | b'%' | b'?' | b'+'),
            Escape::Component => {
                !byte.is_ascii_alphanumeric()
                    && !matches!(byte, b'-' | b'_' | b'.' | b'~' | b'!' | b'*' | b'\'' | b'(' | b')')
            }
            Escape::Html => matches!(byte, b'"' | b'#' | b'%' | b'\''),
            Escape::Refresh => matches!(byte, b'"' | b'\''),
            Escape::Memcached => byte == b'%',
        }
    }
}

/// Appends `text`, escaped, to `out`.
pub(crate) fn escape(out: &mut Vec<u8>, text: &[u8], kind: Escape) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text {
        if kind.escapes(*byte) {
            out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        } else {
            out.push(*byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_differ() {
        let escaped = |kind| {
            let mut out = Vec::new();
            escape(&mut out, b"a b%/?&+'\"(\x7f\xe4", kind);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(escaped(Escape::Component), "a%20b%25%2F%3F%26%2B'%22(%7F%E4");
        assert_eq!(escaped(Escape::Uri), "a%20b%25/%3F&+'\"(%7F%E4");
        assert_eq!(escaped(Escape::Args), "a%20b%25/%3F&%2B'\"(%7F%E4");
        let mut memcached = Vec::new();
        escape(&mut memcached, b"a b\xe4", Escape::Memcached);
        assert_eq!(memcached, b"a%20b\xe4");
    }
}
