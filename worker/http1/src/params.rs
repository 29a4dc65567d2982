//! Values inside values: arguments of a query, cookies, parameters of a list.

/// The value of the argument `name` in a query: the first `name=…` at its start or behind `&`, names in any case, nothing
/// decoded (nginx's `$arg_name`).
pub fn argument<'a>(args: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    if name.is_empty() {
        return None;
    }
    args.split(|&byte| byte == b'&').find_map(|pair| {
        let (given, value) = pair.split_at_checked(name.len())?;
        if given.eq_ignore_ascii_case(name) { value.strip_prefix(b"=") } else { None }
    })
}

/// The value of the cookie `name` in one `Cookie` field, names in any case (nginx's `$cookie_name`).
pub fn cookie<'a>(value: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    parameter(value, name, b';')
}

/// The value of `name=value` among parts separated by `separator`. Blanks before a name and around `=` are skipped.
pub fn parameter<'a>(value: &'a [u8], name: &[u8], separator: u8) -> Option<&'a [u8]> {
    if name.is_empty() {
        return None;
    }
    value.split(|&byte| byte == separator).find_map(|part| {
        let (given, rest) = skip_spaces(part).split_at_checked(name.len())?;
        if !given.eq_ignore_ascii_case(name) {
            return None;
        }
        skip_spaces(rest).strip_prefix(b"=").map(skip_spaces)
    })
}

/// Whether one of the parts of `value` is `name` alone, in any case.
pub fn has_token(value: &[u8], name: &[u8], separator: u8) -> bool {
    value.split(|&byte| byte == separator).any(|part| {
        let part = skip_spaces(part);
        let end = part.iter().rposition(|&byte| byte != b' ').map_or(0, |last| last + 1);
        part[..end].eq_ignore_ascii_case(name)
    })
}

fn skip_spaces(mut text: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] = text {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: Option<&[u8]>) -> Option<&str> {
        value.map(|value| std::str::from_utf8(value).unwrap())
    }

    #[test]
    fn arguments() {
        let cases = [
            ("a=1", "a", Some("1")),
            ("a=1", "A", Some("1")),
            ("a=1&b=2", "b", Some("2")),
            ("aa=1&a=2", "a", Some("2")),
            ("ba=1&a=2", "a", Some("2")),
            ("a&a=2", "a", Some("2")),
            ("a=", "a", Some("")),
            ("a=b=c", "a", Some("b=c")),
            ("a=1&a=2", "a", Some("1")),
            ("a", "a", None),
            ("", "a", None),
            ("=1", "", None),
        ];
        for (args, name, value) in cases {
            assert_eq!(text(argument(args.as_bytes(), name.as_bytes())), value, "{args} {name}");
        }
    }

    #[test]
    fn cookies() {
        let cases = [
            ("a=1; b=2", "b", Some("2")),
            ("a=1;b=2", "b", Some("2")),
            ("A=1", "a", Some("1")),
            ("a = 1", "a", Some("1")),
            ("aa=1; a=2", "a", Some("2")),
            ("a; b=1", "a", None),
            ("x=a=1", "a", None),
            ("a=", "a", Some("")),
        ];
        for (value, name, expected) in cases {
            assert_eq!(text(cookie(value.as_bytes(), name.as_bytes())), expected, "{value} {name}");
        }
    }

    #[test]
    fn tokens() {
        assert!(has_token(b"no-cache, Private", b"private", b','));
        assert!(has_token(b"private ,x", b"private", b','));
        assert!(!has_token(b"private=x", b"private", b','));
        assert!(!has_token(b"", b"private", b','));
    }
}
