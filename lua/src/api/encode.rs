//! Strings into strings: escaping, Base64, hashes, quoting.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{KeyInit, Mac};
use md5::Md5;
use sha1::{Digest, Sha1};
use worker::balance::crc32::Crc32;

use super::Function;
use super::args::unescape;
use super::header::text;
use crate::escape::{Escape, escape};
use crate::ffi::call::Result;
use crate::ffi::{Call, Error, Returns, State, Type};
use crate::function;
use crate::phase::Phases;

/// The functions.
pub static FUNCTIONS: &[Function] = &[
    function!("ngx.escape_uri", Phases::ANY, "Escapes a string for use in a URI.", escape_uri),
    function!("ngx.unescape_uri", Phases::ANY, "Undoes the escapes of a URI.", unescape_uri),
    function!("ngx.encode_base64", Phases::ANY, "Encodes a string as Base64.", encode_base64),
    function!("ngx.decode_base64", Phases::ANY, "Decodes Base64.", decode_base64),
    function!("ngx.decode_base64mime", Phases::ANY, "Decodes Base64, leaving out what is none.", decode_mime),
    function!("ngx.base64.encode_base64url", Phases::ANY, "Encodes a string as Base64 for URLs.", encode_url),
    function!("ngx.base64.decode_base64url", Phases::ANY, "Decodes Base64 for URLs.", decode_url),
    function!("ngx.md5", Phases::ANY, "Returns the MD5 of a string in hexadecimal digits.", md5_hex),
    function!("ngx.md5_bin", Phases::ANY, "Returns the MD5 of a string.", md5_bin),
    function!("ngx.sha1_bin", Phases::ANY, "Returns the SHA-1 of a string.", sha1_bin),
    function!("ngx.hmac_sha1", Phases::ANY, "Returns the HMAC-SHA1 of a string.", hmac_sha1),
    function!("ngx.crc32_short", Phases::ANY, "Returns the CRC-32 of a string.", crc32_sum),
    function!("ngx.crc32_long", Phases::ANY, "Returns the CRC-32 of a string.", crc32_sum),
    function!("ngx.quote_sql_str", Phases::ANY, "Quotes a string for MySQL.", quote_sql_str),
];

/// Lenient as nginx: padding or none, and bits behind the last byte are ignored.
const STANDARD: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The URL alphabet without padding (`ngx.base64`).
pub(crate) const URL: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Argument 1 as the string it becomes: nil is empty.
fn subject(call: &Call<'_>) -> Result<Vec<u8>> {
    Ok(text(call.lua, 1)?.unwrap_or_default())
}

fn escape_uri(call: &mut Call<'_>) -> Result {
    let subject = subject(call)?;
    let number = match call.lua.type_of(2) {
        Type::None | Type::Nil => 2,
        Type::Number => call.integer(2)?,
        _ => return Err(Error::Plain("\"type\" is not a number".into())),
    };
    let Some(kind) = Escape::of_number(number) else {
        return Err(Error::Plain(format!("\"type\" {number} out of range").into()));
    };
    let mut out = Vec::with_capacity(subject.len() + 16);
    escape(&mut out, &subject, kind);
    call.lua.push_bytes(out);
    Ok(Returns::ONE)
}

fn unescape_uri(call: &mut Call<'_>) -> Result {
    let subject = subject(call)?;
    call.lua.push_bytes(unescape(&subject));
    Ok(Returns::ONE)
}

fn encode_base64(call: &mut Call<'_>) -> Result {
    let subject = subject(call)?;
    let bare = match call.lua.type_of(2) {
        Type::None | Type::Nil => false,
        Type::Boolean => call.lua.to_bool(2),
        other => {
            return Err(format!("bad no_padding: boolean expected, got {}", other.name()).into());
        }
    };
    let mut out = STANDARD.encode(subject);
    if bare {
        out.truncate(out.trim_end_matches('=').len());
    }
    call.lua.push_bytes(out);
    Ok(Returns::ONE)
}

/// Decodes, or gives up.
pub(crate) fn decode(engine: &GeneralPurpose, text: &[u8]) -> Option<Vec<u8>> {
    // what stands behind the padding is not looked at
    let end = memchr::memchr(b'=', text).unwrap_or(text.len());
    engine.decode(&text[..end]).ok()
}

fn decode_base64(call: &mut Call<'_>) -> Result {
    if call.lua.type_of(1) != Type::String {
        return Err("string argument only".into());
    }
    match decode(&STANDARD, call.bytes(1)?) {
        Some(bytes) => call.lua.push_bytes(bytes),
        None => call.lua.push_nil(),
    }
    Ok(Returns::ONE)
}

fn decode_mime(call: &mut Call<'_>) -> Result {
    if call.lua.type_of(1) != Type::String {
        return Err("string argument only".into());
    }
    let kept = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    let text: Vec<u8> = call.bytes(1)?.iter().copied().filter(kept).collect();
    match decode(&STANDARD, &text) {
        Some(bytes) => call.lua.push_bytes(bytes),
        None => call.lua.push_nil(),
    }
    Ok(Returns::ONE)
}

/// Files the functions of `ngx.base64` in their module.
pub(super) fn setup(lua: State<'_>) {
    super::push_path(lua, "ngx");
    lua.raw_get_field(1, "base64");
    lua.push_nil();
    lua.raw_set_field(1, "base64");
    lua.push_bytes("0.1.30");
    lua.raw_set_field(2, "_VERSION");
    super::preload(lua, "ngx.base64");
}

fn encode_url(call: &mut Call<'_>) -> Result {
    if call.lua.type_of(1) != Type::String {
        return call.failure("must provide a string");
    }
    let text = URL.encode(call.bytes(1)?);
    call.lua.push_bytes(text);
    Ok(Returns::ONE)
}

fn decode_url(call: &mut Call<'_>) -> Result {
    if call.lua.type_of(1) != Type::String {
        return call.failure("must provide a string");
    }
    match decode(&URL, call.bytes(1)?) {
        Some(bytes) => {
            call.lua.push_bytes(bytes);
            Ok(Returns::ONE)
        }
        None => call.failure("invalid input"),
    }
}

fn md5_hex(call: &mut Call<'_>) -> Result {
    let sum = Md5::digest(subject(call)?);
    let text: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
    call.lua.push_bytes(text);
    Ok(Returns::ONE)
}

fn md5_bin(call: &mut Call<'_>) -> Result {
    call.lua.push_bytes(Md5::digest(subject(call)?));
    Ok(Returns::ONE)
}

fn sha1_bin(call: &mut Call<'_>) -> Result {
    call.lua.push_bytes(Sha1::digest(subject(call)?));
    Ok(Returns::ONE)
}

fn hmac_sha1(call: &mut Call<'_>) -> Result {
    if call.count() != 2 {
        return Err(format!("expecting 2 arguments, but got {}", call.count()).into());
    }
    let mut mac =
        hmac::Hmac::<Sha1>::new_from_slice(call.bytes(1)?).map_err(|_| Error::from("invalid key"))?;
    mac.update(call.bytes(2)?);
    call.lua.push_bytes(mac.finalize().into_bytes());
    Ok(Returns::ONE)
}

fn crc32_sum(call: &mut Call<'_>) -> Result {
    call.lua.push_int(Crc32::of(&subject(call)?));
    Ok(Returns::ONE)
}

fn quote_sql_str(call: &mut Call<'_>) -> Result {
    if call.count() != 1 {
        return Err("expecting one argument".into());
    }
    let mut out = vec![b'\''];
    for byte in call.bytes(1)? {
        let escape = match byte {
            0 => b'0',
            8 => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            b'\r' => b'r',
            0x1a => b'Z',
            b'"' | b'\'' | b'\\' => *byte,
            other => {
                out.push(*other);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', escape]);
    }
    out.push(b'\'');
    call.lua.push_bytes(out);
    Ok(Returns::ONE)
}
