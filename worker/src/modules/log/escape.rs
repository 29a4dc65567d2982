//! How values are written so that a line stays one line.

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// What `log_format escape=` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// `"`, `\`, control bytes and everything outside of ASCII become `\xXX`.
    Default,
    /// As the inside of a JSON string.
    Json,
    /// As it is.
    None,
}

impl Escape {
    /// Escapes what stands in `out` from `start` on.
    pub fn apply(self, out: &mut Vec<u8>, start: usize) {
        let special: fn(&u8) -> bool = match self {
            Escape::None => return,
            Escape::Default => |b| matches!(b, 0..0x20 | b'"' | b'\\' | 0x7f..),
            Escape::Json => |b| matches!(b, 0..0x20 | b'"' | b'\\'),
        };
        // most values have nothing to escape
        let Some(first) = out[start..].iter().position(special) else { return };
        let tail = out.split_off(start + first);
        for byte in tail {
            if !special(&byte) {
                out.push(byte);
            } else if self == Escape::Default {
                out.extend_from_slice(b"\\x");
                push_hex(out, byte);
            } else {
                json(out, byte);
            }
        }
    }
}

fn push_hex(out: &mut Vec<u8>, byte: u8) {
    out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
}

fn json(out: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            out.extend_from_slice(b"\\u00");
            return push_hex(out, byte);
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_as_nginx_writes_them() {
        let nasty = "a\"b\\\n\r\t\x08\x0c\x1b\x7fé".as_bytes();
        let cases: [(Escape, &[u8]); 3] = [
            (Escape::Default, br"k:a\x22b\x5C\x0A\x0D\x09\x08\x0C\x1B\x7F\xC3\xA9"),
            (Escape::Json, b"k:a\\\"b\\\\\\n\\r\\t\\b\\f\\u001B\x7f\xc3\xa9"),
            (Escape::None, &[b"k:", nasty].concat()),
        ];
        for (escape, expected) in cases {
            let mut out = [b"k:", nasty].concat();
            escape.apply(&mut out, 2);
            assert_eq!(out, expected, "{escape:?}");
        }
        let mut plain = b"\"plain".to_vec();
        Escape::Default.apply(&mut plain, 1);
        assert_eq!(plain, b"\"plain");
    }
}
