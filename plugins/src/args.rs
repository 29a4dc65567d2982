//! Arguments of a request.

/// The value of argument `name`, unescaped; of several the first.
pub(crate) fn get(args: &[u8], name: &str) -> Option<Vec<u8>> {
    pairs(args).find(|(key, _)| key == name.as_bytes()).map(|(_, value)| value)
}

/// The arguments without those called `name`; the rest stays as it was sent.
pub(crate) fn without(args: &[u8], name: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(args.len());
    for piece in args.split(|byte| *byte == b'&') {
        let key = piece.split(|byte| *byte == b'=').next().unwrap_or_default();
        if unescape(key) == name.as_bytes() {
            continue;
        }
        if !out.is_empty() {
            out.push(b'&');
        }
        out.extend_from_slice(piece);
    }
    out
}

/// All arguments, unescaped.
pub(crate) fn pairs(args: &[u8]) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    args.split(|byte| *byte == b'&').filter(|piece| !piece.is_empty()).map(|piece| {
        let mut parts = piece.splitn(2, |byte| *byte == b'=');
        let (name, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        (unescape(name), unescape(value))
    })
}

/// Undoes percent-escapes; a plus is a blank.
pub(crate) fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let code = text.get(at + 1..at + 3).and_then(|code| std::str::from_utf8(code).ok());
        match (text[at], code.and_then(|code| u8::from_str_radix(code, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        at += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_found_and_removed_in_any_spelling() {
        let args = b"a=1&api%6Bey=x%20y+z&b&apikey=2";
        assert_eq!(get(args, "apikey").as_deref(), Some(&b"x y z"[..]));
        assert_eq!(get(args, "b").as_deref(), Some(&b""[..]));
        assert_eq!(get(args, "c"), None);
        assert_eq!(without(args, "apikey"), b"a=1&b");
        assert_eq!(without(b"apikey=1", "apikey"), b"");
    }
}
