//! Base 16, 32 and 64.

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::{CONF, Call};

type Made = Result<(), String>;

/// As lenient as nginx's decoder: padding may be missing, and bits that say nothing may be set.
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_allow_trailing_bits(true)
    .with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT.with_encode_padding(false));

fn encode(call: &mut Call<'_>, engine: &GeneralPurpose) -> Made {
    call.out.extend_from_slice(engine.encode(&call.args[0]).as_bytes());
    Ok(())
}

/// What stands behind the first `=` is not looked at.
fn decode(call: &mut Call<'_>, engine: &GeneralPurpose, name: &str) -> Made {
    let text = call.arg(0);
    let text = &text[..memchr::memchr(b'=', text).unwrap_or(text.len())];
    let decoded = engine.decode(text).map_err(|_| format!("{name}: invalid value"))?;
    call.out.extend(decoded);
    Ok(())
}

/// `set_encode_base64`.
pub(super) fn encode_base64(call: &mut Call<'_>) -> Made {
    encode(call, &BASE64)
}

/// `set_decode_base64`.
pub(super) fn decode_base64(call: &mut Call<'_>) -> Made {
    decode(call, &BASE64, "set_decode_base64")
}

/// `set_encode_base64url`.
pub(super) fn encode_base64url(call: &mut Call<'_>) -> Made {
    encode(call, &BASE64_URL)
}

/// `set_decode_base64url`.
pub(super) fn decode_base64url(call: &mut Call<'_>) -> Made {
    decode(call, &BASE64_URL, "set_decode_base64url")
}

/// `set_encode_hex`.
pub(super) fn encode_hex(call: &mut Call<'_>) -> Made {
    push_hex(call.out, &call.args[0]);
    Ok(())
}

/// Appends the bytes in lower-case hexadecimal digits.
pub(super) fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
}

/// `set_decode_hex`.
pub(super) fn decode_hex(call: &mut Call<'_>) -> Made {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let decoded = from_digits(&call.args[0], digit);
    call.out.extend(decoded.ok_or("set_decode_hex: invalid value")?);
    Ok(())
}

fn from_digits(text: &[u8], digit: fn(u8) -> Option<u8>) -> Option<Vec<u8>> {
    let (pairs, []) = text.as_chunks::<2>() else { return None };
    pairs.iter().map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

/// `set_encode_base32`.
pub(super) fn encode_base32(call: &mut Call<'_>) -> Made {
    let conf = call.req.location.confs.share(&CONF);
    base32(call.out, &call.args[0], &conf.base32_alphabet, conf.base32_padding);
    Ok(())
}

fn base32(out: &mut Vec<u8>, text: &[u8], alphabet: &[u8; 32], padding: bool) {
    for group in text.chunks(5) {
        let mut bits = 0u64;
        for i in 0..5 {
            bits = bits << 8 | u64::from(group.get(i).copied().unwrap_or(0));
        }
        let digits = (group.len() * 8).div_ceil(5);
        for i in 0..8 {
            if i < digits {
                out.push(alphabet[(bits >> (35 - 5 * i) & 31) as usize]);
            } else if padding {
                out.push(b'=');
            }
        }
    }
}

/// `set_decode_base32`.
pub(super) fn decode_base32(call: &mut Call<'_>) -> Made {
    let conf = call.req.location.confs.share(&CONF);
    let decoded = from_base32(call.arg(0), &conf.base32_alphabet);
    call.out.extend(decoded.ok_or("set_decode_base32: invalid value")?);
    Ok(())
}

/// Padding may be missing.
fn from_base32(text: &[u8], alphabet: &[u8; 32]) -> Option<Vec<u8>> {
    let end = memchr::memchr(b'=', text).unwrap_or(text.len());
    let (mut bits, mut held, mut out) = (0u32, 0, Vec::with_capacity(end * 5 / 8));
    for byte in &text[..end] {
        let same = |digit: &u8| digit == byte;
        let value = alphabet.iter().position(same).or_else(|| {
            // a digit in the other case, where the alphabet has only one of them
            alphabet.iter().position(|digit| digit.eq_ignore_ascii_case(byte))
        })?;
        bits = bits << 5 | value as u32;
        held += 5;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base32_with_and_without_padding() {
        const HEX: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
        // RFC 4648, section 10, in lower case
        for (text, want) in [
            ("", ""),
            ("f", "co======"),
            ("fo", "cpng===="),
            ("foobar", "cpnmuoj1e8======"),
            ("fooba", "cpnmuoj1"),
        ] {
            let mut out = Vec::new();
            base32(&mut out, text.as_bytes(), HEX, true);
            assert_eq!(out, want.as_bytes());
            assert_eq!(from_base32(&out, HEX).unwrap(), text.as_bytes());
            let mut out = Vec::new();
            base32(&mut out, text.as_bytes(), HEX, false);
            assert_eq!(out, want.trim_end_matches('=').as_bytes());
            assert_eq!(from_base32(&out.to_ascii_uppercase(), HEX).unwrap(), text.as_bytes());
        }
        assert_eq!(from_base32(b"c!", HEX), None);
    }
}
