//! The replacement text of `ngx.re.sub`: `$1`, `${1}`, `$0`, and `$$` for a dollar sign.

use smallvec::SmallVec;

/// A part of a replacement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'t> {
    /// Text.
    Text(&'t [u8]),
    /// What a group matched.
    Group(usize),
}

/// A replacement, in parts.
pub type Replacement<'t> = SmallVec<[Piece<'t>; 8]>;

/// Why a text is no replacement: what OpenResty writes to the log.
#[derive(Debug, PartialEq, Eq)]
pub struct BadReplacement(pub String);

/// Reads a replacement.
///
/// # Errors
/// It names a group by something else than its number.
pub fn parse(text: &[u8]) -> Result<Replacement<'_>, BadReplacement> {
    let mut pieces = Replacement::new();
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'$', rest) {
        if at > 0 {
            pieces.push(Piece::Text(&rest[..at]));
        }
        let (piece, behind) = reference(&rest[at..], text)?;
        pieces.push(piece);
        rest = behind;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    Ok(pieces)
}

/// Reads what begins with a dollar sign; gives the rest too.
fn reference<'t>(text: &'t [u8], all: &[u8]) -> Result<(Piece<'t>, &'t [u8]), BadReplacement> {
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let invalid =
        || BadReplacement(format!("lua script: invalid capturing variable name found in \"{}\"", lossy(all)));
    let behind = &text[1..];
    if behind.first() == Some(&b'$') {
        return Ok((Piece::Text(&behind[..1]), &behind[1..]));
    }
    let (braced, name) = match behind.strip_prefix(b"{") {
        Some(name) => (true, name),
        None => (false, behind),
    };
    let is_number = name.first().ok_or_else(invalid)?.is_ascii_digit();
    let part = |byte: &u8| {
        if is_number { byte.is_ascii_digit() } else { byte.is_ascii_alphanumeric() || *byte == b'_' }
    };
    let len = name.iter().take_while(|byte| part(byte)).count();
    let (name, mut rest) = name.split_at(len);
    if braced {
        rest = rest.strip_prefix(b"}").ok_or_else(|| {
            BadReplacement(format!("the closing bracket in \"{}\" variable is missing", lossy(name)))
        })?;
    }
    if name.is_empty() {
        return Err(invalid());
    }
    if !is_number {
        let name = lossy(name);
        let text =
            format!("attempt to use named capturing variable \"{name}\" (named captures not supported yet)");
        return Err(BadReplacement(text));
    }
    let digit =
        |number: usize, digit: &u8| number.saturating_mul(10).saturating_add(usize::from(digit - b'0'));
    Ok((Piece::Group(name.iter().fold(0, digit)), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        use Piece::{Group, Text};
        let pieces = parse(b"a$1b${2}c$$d$0").unwrap();
        let want = [Text(b"a"), Group(1), Text(b"b"), Group(2), Text(b"c"), Text(b"$"), Text(b"d"), Group(0)];
        assert_eq!(&*pieces, want);
        assert!(parse(b"").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_replacement() {
        let error = |text: &str| parse(text.as_bytes()).unwrap_err().0;
        assert_eq!(error("a$"), "lua script: invalid capturing variable name found in \"a$\"");
        assert_eq!(error("${1"), "the closing bracket in \"1\" variable is missing");
        assert_eq!(
            error("$hello"),
            "attempt to use named capturing variable \"hello\" (named captures not supported yet)"
        );
        assert!(parse(b"$ 1").is_err());
    }
}
