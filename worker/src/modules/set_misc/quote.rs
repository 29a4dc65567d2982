//! Escaping and quoting.

use http1::Unescape;

use super::Call;

type Made = Result<(), String>;

/// `set_if_empty`.
pub(super) fn if_empty(call: &mut Call<'_>) -> Made {
    let value = if call.arg(0).is_empty() { &call.args[1] } else { &call.args[0] };
    call.out.extend_from_slice(value);
    Ok(())
}

/// `set_unescape_uri`: a plus sign is a space.
pub(super) fn unescape_uri(call: &mut Call<'_>) -> Made {
    let spaced: Vec<u8> = call.arg(0).iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    http1::unescape_uri(call.out, &spaced, Unescape::All);
    Ok(())
}

/// `set_escape_uri`.
pub(super) fn escape_uri(call: &mut Call<'_>) -> Made {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in &call.args[0] {
        if stays_in_uri(byte) {
            call.out.push(byte);
        } else {
            call.out.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
    Ok(())
}

/// Whether a byte is not escaped: the set is that of OpenResty, narrower than nginx's own.
fn stays_in_uri(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!$'()*,-.@_`|~".contains(&byte)
}

/// Appends `text` with a backslash and a letter in place of every byte that `letter` gives one for.
fn backslashed(out: &mut Vec<u8>, text: &[u8], letter: fn(u8) -> Option<u8>) {
    for &byte in text {
        match letter(byte) {
            Some(letter) => out.extend([b'\\', letter]),
            None => out.push(byte),
        }
    }
}

/// `set_quote_sql_str`.
pub(super) fn sql(call: &mut Call<'_>) -> Made {
    quote_sql(call.out, &call.args[0]);
    Ok(())
}

fn quote_sql(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'\'');
    backslashed(out, text, |byte| match byte {
        0 => Some(b'0'),
        8 => Some(b'b'),
        b'\n' => Some(b'n'),
        b'\r' => Some(b'r'),
        b'\t' => Some(b't'),
        26 => Some(b'Z'),
        b'\\' | b'\'' | b'"' | b'$' => Some(byte),
        _ => None,
    });
    out.push(b'\'');
}

/// `set_quote_pgsql_str`: as SQL with an `E` in front; what is not UTF-8 is written in octal.
pub(super) fn pgsql(call: &mut Call<'_>) -> Made {
    let mut quoted = Vec::new();
    quote_sql(&mut quoted, call.arg(0));
    if call.arg(0).is_empty() {
        call.out.extend_from_slice(&quoted);
        return Ok(());
    }
    call.out.push(b'E');
    if std::str::from_utf8(&quoted).is_ok() {
        call.out.extend_from_slice(&quoted);
        return Ok(());
    }
    for byte in quoted {
        if byte.is_ascii() {
            call.out.push(byte);
        } else {
            call.out.extend([b'\\', b'\\', (byte >> 6) + b'0', (byte >> 3 & 7) + b'0', (byte & 7) + b'0']);
        }
    }
    Ok(())
}

/// `set_quote_json_str`; nothing is `null`.
pub(super) fn json(call: &mut Call<'_>) -> Made {
    let text = &call.args[0];
    if text.is_empty() {
        call.out.extend_from_slice(b"null");
        return Ok(());
    }
    call.out.push(b'"');
    for &byte in text {
        let letter = match byte {
            b'\r' => b'r',
            b'\n' => b'n',
            b'\x0c' => b'f',
            b'\x08' => b'b',
            b'\t' => b't',
            b'\\' | b'"' => byte,
            0..32 => {
                call.out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
                continue;
            }
            _ => {
                call.out.push(byte);
                continue;
            }
        };
        call.out.extend([b'\\', letter]);
    }
    call.out.push(b'"');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sql_as_mysql_wants_it() {
        let mut out = Vec::new();
        quote_sql(&mut out, b"a\0\x08\n\r\t\x1a\\'\"$\xc3\xa4");
        assert_eq!(out, b"'a\\0\\b\\n\\r\\t\\Z\\\\\\'\\\"\\$\xc3\xa4'");
    }

    #[test]
    fn what_stays_in_a_uri() {
        let kept: Vec<u8> = (0..=255).filter(|byte| stays_in_uri(*byte)).collect();
        let want = b"!$'()*,-.0123456789@ABCDEFGHIJKLMNOPQRSTUVWXYZ_`abcdefghijklmnopqrstuvwxyz|~";
        assert_eq!(kept, want);
    }
}
