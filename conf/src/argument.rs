//! Reading a directive's arguments: the methods every `apply` uses.

use crate::ast::{Block, Node, Span, Word};
use crate::error::{Error, Result};
use crate::value;

/// One entry of a free-form block (`types`, `map`, `geo`): its words, the key first.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The entry as parsed; its name is the key.
    pub node: &'a Node,
}

impl<'a> Entry<'a> {
    /// The first word.
    pub fn key(&self) -> &'a Word {
        &self.node.name
    }

    /// The words after the key.
    pub fn values(&self) -> &'a [Word] {
        &self.node.args
    }

    /// How many words there are, the key included.
    pub fn len(&self) -> usize {
        self.node.args.len() + 1
    }

    /// Never: an entry has a key.
    pub fn is_empty(&self) -> bool {
        false
    }
}

impl Node {
    /// Argument `i`, counted from 0 after the name.
    pub fn arg(&self, i: usize) -> Option<&str> {
        self.args.get(i).map(Word::text)
    }

    /// The first argument, or "" when there is none; for directives whose arity promises one.
    pub fn first(&self) -> &str {
        self.arg(0).unwrap_or_default()
    }

    /// The second argument, or "".
    pub fn second(&self) -> &str {
        self.arg(1).unwrap_or_default()
    }

    /// Argument `i` as bytes, or b"" when there is none; for values that go on the wire.
    pub fn bytes(&self, i: usize) -> &[u8] {
        self.args.get(i).map_or(&[], Word::bytes)
    }

    /// The arguments as text.
    pub fn str_args(&self) -> impl DoubleEndedIterator<Item = &str> + ExactSizeIterator {
        self.args.iter().map(Word::text)
    }

    /// How many arguments there are.
    pub fn len(&self) -> usize {
        self.args.len()
    }

    /// Whether there are no arguments.
    pub fn is_empty(&self) -> bool {
        self.args.is_empty()
    }

    /// The directives of the block; none when there is no block or it is Lua.
    pub fn children(&self) -> &[Node] {
        match &self.block {
            Some(Block::Directives(nodes)) => nodes,
            Some(Block::Raw(_)) | None => &[],
        }
    }

    /// The Lua text of the block.
    pub fn raw(&self) -> Option<&[u8]> {
        match &self.block {
            Some(Block::Raw(text)) => Some(text),
            Some(Block::Directives(_)) | None => None,
        }
    }

    /// The entries of a free-form block.
    ///
    /// # Errors
    /// `unexpected "{"` for an entry with a block.
    pub fn entries(&self) -> impl Iterator<Item = Result<Entry<'_>>> {
        self.children().iter().map(|node| match node.block {
            Some(_) => Err(node.error("unexpected \"{\"")),
            None => Ok(Entry { node }),
        })
    }

    /// The place of the block's `}`.
    pub fn end_span(&self) -> Span {
        self.span.at_line(self.end_line)
    }

    /// An error at this directive.
    pub fn error(&self, message: impl Into<String>) -> Error {
        Error::at(&self.span, message)
    }

    /// An error at the end of this directive's block, where nginx reports what a finished block lacks.
    pub fn end_error(&self, message: impl Into<String>) -> Error {
        Error::at(&self.end_span(), message)
    }

    /// A `[warn]` at this directive.
    pub fn warning(&self, message: impl Into<String>) -> Error {
        Error::warning(&self.span, message)
    }

    /// `"name" directive MESSAGE` at this directive: nginx's form for what a setter returns.
    pub fn predicate(&self, message: &str) -> Error {
        self.error(format!("\"{}\" directive {message}", self.name.text()))
    }

    /// `invalid value "ARG"` for argument `i`.
    pub fn invalid_value(&self, i: usize) -> Error {
        self.error(format!("invalid value \"{}\"", self.arg(i).unwrap_or_default()))
    }

    /// `invalid parameter "ARG"` for argument `i`.
    pub fn invalid_parameter(&self, i: usize) -> Error {
        self.error(format!("invalid parameter \"{}\"", self.arg(i).unwrap_or_default()))
    }

    /// `invalid number of arguments in "name" directive`.
    pub fn invalid_arity(&self) -> Error {
        self.error(format!("invalid number of arguments in \"{}\" directive", self.name.text()))
    }

    /// The first argument as `on` or `off`, letters in any case.
    ///
    /// # Errors
    /// `invalid value "z" in "x" directive, it must be "on" or "off"`.
    pub fn flag(&self) -> Result<bool> {
        value::flag::parse(self.first()).ok_or_else(|| {
            self.error(format!(
                "invalid value \"{}\" in \"{}\" directive, it must be \"on\" or \"off\"",
                self.first(),
                self.name.text()
            ))
        })
    }

    /// The first argument as a non-negative number.
    ///
    /// # Errors
    /// `"x" directive invalid number`.
    pub fn number(&self) -> Result<u64> {
        value::number::parse(self.first()).ok_or_else(|| self.predicate("invalid number"))
    }

    /// The first argument as a number of bytes, with `k` or `m`.
    ///
    /// # Errors
    /// `"x" directive invalid value`.
    pub fn size(&self) -> Result<usize> {
        self.or_invalid(value::size::parse_size(self.first()))
    }

    /// The first argument as a file size, with `k`, `m` or `g`.
    ///
    /// # Errors
    /// `"x" directive invalid value`.
    pub fn offset(&self) -> Result<u64> {
        self.or_invalid(value::size::parse_offset(self.first()))
    }

    /// The first argument as a time, in milliseconds.
    ///
    /// # Errors
    /// `"x" directive invalid value`.
    pub fn time_ms(&self) -> Result<u64> {
        self.or_invalid(value::time::parse_ms(self.first()))
    }

    /// The first argument as a time, in seconds.
    ///
    /// # Errors
    /// `"x" directive invalid value`.
    pub fn time_sec(&self) -> Result<u64> {
        self.or_invalid(value::time::parse_sec(self.first()))
    }

    /// The first two arguments as a number of buffers and the size of each in bytes, both above 0.
    ///
    /// # Errors
    /// `"x" directive invalid value`.
    pub fn buffers(&self) -> Result<(usize, usize)> {
        let count = value::number::parse(self.first()).and_then(|count| usize::try_from(count).ok());
        let size = value::size::parse_size(self.second());
        match (count, size) {
            (Some(count @ 1..), Some(size @ 1..)) => Ok((count, size)),
            _ => Err(self.predicate("invalid value")),
        }
    }

    /// The first argument as one of `choices`, letters in any case.
    ///
    /// # Errors
    /// `invalid value "z"`.
    pub fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T> {
        self.choice_at(0, choices)
    }

    /// Argument `i` as one of `choices`, letters in any case; called for each argument it reads a mask.
    ///
    /// # Errors
    /// `invalid value "z"`.
    pub fn choice_at<T: Copy>(&self, i: usize, choices: &[(&str, T)]) -> Result<T> {
        let word = self.arg(i).unwrap_or_default();
        let found = choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
        found.map(|(_, value)| *value).ok_or_else(|| self.invalid_value(i))
    }

    /// Checks a number against its bounds, both included.
    ///
    /// # Errors
    /// `value must be between LOW and HIGH`, or `value must be equal to or greater than LOW`.
    pub fn in_bounds(&self, value: u64, low: u64, high: Option<u64>) -> Result<u64> {
        match high {
            None if value >= low => Ok(value),
            None => Err(self.error(format!("value must be equal to or greater than {low}"))),
            Some(high) if (low..=high).contains(&value) => Ok(value),
            Some(high) => Err(self.error(format!("value must be between {low} and {high}"))),
        }
    }

    fn or_invalid<T>(&self, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| self.predicate("invalid value"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `text` as the only directive of f:7.
    fn node(text: &str) -> Node {
        let mut words = text.split(' ').map(|word| Word::new(word.as_bytes().to_vec(), false, 7));
        let name = words.next().unwrap();
        Node { name, args: words.collect(), block: None, span: Span::new("f", 7), end_line: 9 }
    }

    #[test]
    fn words() {
        assert_eq!(node("x").first(), "");
        let node = node("x a b");
        assert_eq!((node.first(), node.second(), node.arg(2), node.len()), ("a", "b", None, 2));
        assert_eq!(node.str_args().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((node.bytes(1), node.bytes(2)), (&b"b"[..], &b""[..]));
        assert!(node.children().is_empty() && node.raw().is_none());
    }

    #[test]
    fn values() {
        assert_eq!(node("x oN").flag(), Ok(true));
        assert_eq!(node("x 12").number(), Ok(12));
        assert_eq!(node("x 1k").size(), Ok(1024));
        assert_eq!(node("x 1g").offset(), Ok(1 << 30));
        assert_eq!(node("x 1m").time_ms(), Ok(60_000));
        assert_eq!(node("x 1m").time_sec(), Ok(60));
        assert_eq!(node("x 4 8k").buffers(), Ok((4, 8192)));
        assert_eq!(node("x B").choice(&[("a", 1), ("b", 2)]), Ok(2));
        assert_eq!(node("x b a").choice_at(1, &[("a", 1), ("b", 2)]), Ok(1));
        assert_eq!(node("x").in_bounds(5, 1, Some(5)), Ok(5));
        assert_eq!(node("x").in_bounds(5, 1, None), Ok(5));
    }

    #[test]
    fn messages() {
        let choices = [("a", 1)];
        let cases = [
            (
                node("x z").flag().unwrap_err(),
                "invalid value \"z\" in \"x\" directive, it must be \"on\" or \"off\"",
            ),
            (node("x z").number().unwrap_err(), "\"x\" directive invalid number"),
            (node("x z").size().unwrap_err(), "\"x\" directive invalid value"),
            (node("x z").offset().unwrap_err(), "\"x\" directive invalid value"),
            (node("x z").time_ms().unwrap_err(), "\"x\" directive invalid value"),
            (node("x 1ms").time_sec().unwrap_err(), "\"x\" directive invalid value"),
            (node("x 0 1k").buffers().unwrap_err(), "\"x\" directive invalid value"),
            (node("x z").choice(&choices).unwrap_err(), "invalid value \"z\""),
            (node("x a z").choice_at(1, &choices).unwrap_err(), "invalid value \"z\""),
            (node("x a z").invalid_parameter(1), "invalid parameter \"z\""),
            (node("x").invalid_arity(), "invalid number of arguments in \"x\" directive"),
            (node("x").in_bounds(6, 1, Some(5)).unwrap_err(), "value must be between 1 and 5"),
            (node("x").in_bounds(0, 1, None).unwrap_err(), "value must be equal to or greater than 1"),
        ];
        for (error, expected) in cases {
            assert_eq!(error.to_string(), format!("{expected} in f:7"));
        }
        assert_eq!(node("x").end_error("no y").to_string(), "no y in f:9");
        assert!(node("x").warning("w").is_warning());
    }
}
