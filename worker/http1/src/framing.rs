//! How long the body of a message is (RFC 9112 section 6.3), and the tokens of `Connection`.

use crate::{
    headers::Headers,
    known::Known,
    syntax::{eq_ignore_case, trim},
};

/// Where the body of a message ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// There is no body.
    #[default]
    None,
    /// So many bytes follow; never 0, which is [`Framing::None`] for requests but `Length(0)` for responses that say so.
    Length(u64),
    /// Chunked transfer coding.
    Chunked,
    /// Everything until the peer closes; responses only.
    UntilClose,
}

/// What the `Connection` fields of a message ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Persistence {
    /// The option `close` is there.
    pub close: bool,
    /// The option `keep-alive` is there.
    pub keep_alive: bool,
    /// The option `upgrade` is there.
    pub upgrade: bool,
}

impl Persistence {
    /// Reads all `Connection` fields.
    pub fn of(headers: &Headers) -> Self {
        let mut found = Self::default();
        for option in connection_options(headers) {
            found.close |= eq_ignore_case(option, b"close");
            found.keep_alive |= eq_ignore_case(option, b"keep-alive");
            found.upgrade |= eq_ignore_case(option, b"upgrade");
        }
        found
    }
}

/// The options in all `Connection` fields: besides `close` and `keep-alive`, names of fields that go no further than the next
/// hop (RFC 9110 section 7.6.1).
pub fn connection_options(headers: &Headers) -> impl Iterator<Item = &[u8]> {
    headers.known_all(Known::Connection).flat_map(list_items)
}

/// The elements of a comma-separated list without blanks around them; empty ones are skipped (RFC 9110 section 5.6.1).
/// Quoted strings are not looked at.
pub fn list_items(value: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    value.split(|&byte| byte == b',').map(trim).filter(|item| !item.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection() {
        let cases: &[(&[&str], &str)] = &[
            (&[], ""),
            (&["close"], "C"),
            (&["Close"], "C"),
            (&["keep-alive, Upgrade"], "KU"),
            (&["x", " ,, close ,"], "C"),
            (&["not-close"], ""),
            (&["closed"], ""),
        ];
        for (values, expected) in cases {
            let mut headers = Headers::new();
            for value in *values {
                headers.push(b"connection", value.as_bytes());
            }
            let found = Persistence::of(&headers);
            let letters = [(found.close, "C"), (found.keep_alive, "K"), (found.upgrade, "U")];
            let letters: String =
                letters.iter().filter(|(is_set, _)| *is_set).map(|(_, letter)| *letter).collect();
            assert_eq!(letters, *expected, "{values:?}");
        }
    }
}
