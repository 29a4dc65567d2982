//! Reading a directive: options, then fields.

use conf::{Node, Result};

use crate::build::Builder;
use crate::script::Template;

/// Which directive it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `more_set_headers`.
    SetOutput,
    /// `more_clear_headers`.
    ClearOutput,
    /// `more_set_input_headers`.
    SetInput,
    /// `more_clear_input_headers`.
    ClearInput,
}

impl Kind {
    fn is_output(self) -> bool {
        matches!(self, Kind::SetOutput | Kind::ClearOutput)
    }

    fn clears(self) -> bool {
        matches!(self, Kind::ClearOutput | Kind::ClearInput)
    }
}

/// One directive.
pub(super) struct Change {
    /// Only for these types (`-t`); empty: for all.
    pub(super) types: Vec<Box<[u8]>>,
    /// Only for these statuses (`-s`); empty: for all.
    pub(super) statuses: Vec<u16>,
    /// Adds and does not replace (`-a`).
    pub(super) append: bool,
    /// Only fields that are there (`-r`).
    pub(super) replace: bool,
    pub(super) fields: Vec<Field>,
}

/// What becomes of one field.
pub(super) struct Field {
    /// Its name; without the `*` when it is the beginning of names.
    pub(super) name: Box<[u8]>,
    /// All fields whose names begin so.
    pub(super) wildcard: bool,
    /// Its value; one that turns out empty removes it.
    pub(super) value: Template,
}

impl Change {
    pub(super) fn parse(cx: &mut Builder, node: &Node, kind: Kind) -> Result<Self> {
        let directive = node.name.text();
        let mut change = Change {
            types: Vec::new(),
            statuses: Vec::new(),
            append: false,
            replace: false,
            fields: Vec::new(),
        };
        let mut i = 0;
        while i < node.len() {
            let word = node.arg(i).unwrap_or_default();
            i += 1;
            if !word.starts_with('-') {
                change.fields.push(Field::parse(cx, node, word, kind)?);
                continue;
            }
            let mut argument = || {
                i += 1;
                let missing = || node.error(format!("{directive}: option {word} takes an argument."));
                node.arg(i - 1).ok_or_else(missing)
            };
            match word {
                "-t" => {
                    let types = argument()?.split_ascii_whitespace();
                    change.types.extend(types.map(|one| one.as_bytes().into()));
                }
                "-s" if kind.is_output() => {
                    let text = argument()?;
                    for one in text.split_ascii_whitespace() {
                        let status = one.parse().map_err(|_| {
                            node.error(format!(
                                "{directive}: invalid digit found in the status code list \"{text}\""
                            ))
                        })?;
                        change.statuses.push(status);
                    }
                }
                "-a" if kind == Kind::SetOutput => change.append = true,
                "-r" if kind == Kind::SetInput => change.replace = true,
                _ => return Err(node.error(format!("{directive}: invalid option name: \"{word}\""))),
            }
        }
        if change.append && change.fields.iter().any(|field| is_single(&field.name)) {
            return Err(node.error(format!("{directive}: can not append builtin headers")));
        }
        Ok(change)
    }

    /// Whether a message of this type is meant.
    pub(super) fn is_for_type(&self, content_type: &[u8]) -> bool {
        if self.types.is_empty() {
            return true;
        }
        let end =
            content_type.iter().position(|byte| matches!(byte, b';' | b' ')).unwrap_or(content_type.len());
        self.types.iter().any(|one| one.eq_ignore_ascii_case(&content_type[..end]))
    }
}

/// Fields that are not repeated.
fn is_single(name: &[u8]) -> bool {
    const SINGLE: [&[u8]; 11] = [
        b"Server",
        b"Date",
        b"Content-Encoding",
        b"Location",
        b"Refresh",
        b"Last-Modified",
        b"Content-Range",
        b"Accept-Ranges",
        b"Content-Length",
        b"Content-Type",
        b"ETag",
    ];
    SINGLE.iter().any(|single| single.eq_ignore_ascii_case(name))
}

impl Field {
    fn parse(cx: &mut Builder, node: &Node, word: &str, kind: Kind) -> Result<Self> {
        let (name, value) = word.split_once(':').unwrap_or((word, ""));
        let name = name.trim_matches(|c: char| c.is_ascii_whitespace());
        let value = value.trim_start_matches(|c: char| c.is_ascii_whitespace());
        if name.is_empty() || name.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') {
            let directive = node.name.text();
            return Err(node.error(format!("{directive}: invalid header name: \"{word}\"")));
        }
        let stem = name.strip_suffix('*').filter(|_| kind.clears() || value.is_empty());
        Ok(Self {
            name: stem.unwrap_or(name).as_bytes().into(),
            wildcard: stem.is_some(),
            value: if kind.clears() { Template::default() } else { Template::parse(cx, node, value)? },
        })
    }

    /// Whether this is about a field called `name`.
    pub(super) fn means(&self, name: &[u8]) -> bool {
        if self.wildcard {
            return name.get(..self.name.len()).is_some_and(|start| start.eq_ignore_ascii_case(&self.name));
        }
        name.eq_ignore_ascii_case(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_types_are_compared_without_regard_to_case() {
        let field = |name: &str, wildcard| Field {
            name: name.as_bytes().into(),
            wildcard,
            value: Template::default(),
        };
        assert!(field("X-Hidden-", true).means(b"x-hidden-a") && !field("X-Hidden-", true).means(b"X-Hid"));
        assert!(field("Foo", false).means(b"fOO") && !field("Foo", false).means(b"Foo2"));
        let types = vec![b"text/plain"[..].into()];
        let change = Change { types, statuses: vec![], append: false, replace: false, fields: vec![] };
        assert!(change.is_for_type(b"Text/Plain; charset=utf-8"));
        assert!(!change.is_for_type(b"text/plainer") && !change.is_for_type(b""));
    }
}
