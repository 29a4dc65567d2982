//! Replacing in a stream: pieces in, pieces out.

use std::rc::Rc;

use bytes::Bytes;

use super::matcher::{Found, Matcher};

/// The state of one response.
pub(super) struct Replacer {
    matcher: Rc<Matcher>,
    /// Patterns that were replaced and must not be again; all false without `sub_filter_once`.
    used: Box<[bool]>,
    once: bool,
    /// The end of what came so far: the beginning of a match, perhaps.
    held: Vec<u8>,
}

/// A piece of the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// These bytes.
    Text(Bytes),
    /// The replacement of this pattern.
    Replacement(usize),
}

impl Replacer {
    /// Starts a response.
    pub(super) fn new(matcher: Rc<Matcher>, once: bool) -> Self {
        let used = vec![false; matcher.len()].into();
        Self { matcher, used, once, held: Vec::new() }
    }

    /// Whether nothing will be replaced any more.
    fn is_done(&self) -> bool {
        self.once && self.used.iter().all(|used| *used)
    }

    /// Works off a piece of the body.
    pub(super) fn feed(&mut self, text: Bytes, out: &mut impl FnMut(Piece)) {
        let from = if self.held.is_empty() { Some(0) } else { self.join(&text, out) };
        let Some(from) = from else { return };
        let rest = self.replace(&text, from, text.len(), true, out);
        match rest {
            Rest::HoldFrom(start) => self.held.extend_from_slice(&text[start..]),
            Rest::DoneUpTo(end) => emit(text.slice(end..), out),
        }
    }

    /// The body is over: what was held back is no match.
    pub(super) fn end(&mut self, out: &mut impl FnMut(Piece)) {
        let held = Bytes::from(std::mem::take(&mut self.held));
        if let Rest::DoneUpTo(end) = self.replace(&held, 0, held.len(), false, out) {
            emit(held.slice(end..), out);
        }
    }

    /// Decides about matches that begin in what was held back. Returns from where in `text` to go on; `None`: all of it
    /// is held back too.
    fn join(&mut self, text: &Bytes, out: &mut impl FnMut(Piece)) -> Option<usize> {
        let mut joined = std::mem::take(&mut self.held);
        let border = joined.len();
        // with so many bytes of the new piece, every match that begins before the border is decided
        let taken = text.len().min(self.matcher.longest() - 1);
        joined.extend_from_slice(&text[..taken]);
        let joined = Bytes::from(joined);
        match self.replace(&joined, 0, border, true, out) {
            Rest::HoldFrom(start) => {
                debug_assert_eq!(taken, text.len(), "enough bytes decide");
                self.held.extend_from_slice(&joined[start..]);
                None
            }
            Rest::DoneUpTo(end) => {
                emit(joined.slice(end.min(border)..border), out);
                Some(end.saturating_sub(border))
            }
        }
    }

    /// Replaces matches that begin in `from..until`.
    fn replace(
        &mut self,
        text: &Bytes,
        from: usize,
        until: usize,
        more: bool,
        out: &mut impl FnMut(Piece),
    ) -> Rest {
        let mut from = from;
        while !self.is_done() {
            match self.matcher.find(text, from, until, more, &self.used) {
                Found::Match { start, index } => {
                    emit(text.slice(from..start), out);
                    out(Piece::Replacement(index));
                    from = start + self.matcher.pattern_len(index);
                    self.used[index] = self.once;
                }
                Found::Partial(start) => {
                    emit(text.slice(from..start), out);
                    return Rest::HoldFrom(start);
                }
                Found::Nothing => break,
            }
        }
        Rest::DoneUpTo(from)
    }
}

enum Rest {
    /// Everything before is out; from here on the next piece decides.
    HoldFrom(usize),
    /// Everything before is out; what follows has no match.
    DoneUpTo(usize),
}

fn emit(text: Bytes, out: &mut impl FnMut(Piece)) {
    if !text.is_empty() {
        out(Piece::Text(text));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds `pieces`; replacement n shows as `<n>`.
    fn run(patterns: &[&[u8]], once: bool, pieces: &[&[u8]]) -> Vec<u8> {
        let lower = patterns.iter().map(|pattern| pattern.to_ascii_lowercase().into()).collect();
        let mut replacer = Replacer::new(Rc::new(Matcher::new(lower)), once);
        let mut result = Vec::new();
        let mut out = |piece| match piece {
            Piece::Text(text) => result.extend_from_slice(&text),
            Piece::Replacement(index) => result.extend_from_slice(format!("<{index}>").as_bytes()),
        };
        for piece in pieces {
            replacer.feed(Bytes::copy_from_slice(piece), &mut out);
        }
        replacer.end(&mut out);
        result
    }

    /// The same on the whole text, byte by byte.
    fn naive(patterns: &[&[u8]], once: bool, text: &[u8]) -> Vec<u8> {
        let mut used = vec![false; patterns.len()];
        let (mut out, mut at) = (Vec::new(), 0);
        while at < text.len() {
            let fits = |pattern: &[u8]| {
                text[at..].get(..pattern.len()).is_some_and(|part| part.eq_ignore_ascii_case(pattern))
            };
            match patterns.iter().enumerate().find(|(index, pattern)| !used[*index] && fits(pattern)) {
                Some((index, pattern)) => {
                    used[index] = once;
                    out.extend_from_slice(format!("<{index}>").as_bytes());
                    at += pattern.len();
                }
                None => {
                    out.push(text[at]);
                    at += 1;
                }
            }
        }
        out
    }

    #[test]
    fn across_borders() {
        assert_eq!(run(&[b"hello"], false, &[b"--he", b"l", b"lo--HELLO", b"hell"]), b"--<0>--<0>hell");
        assert_eq!(run(&[b"aab"], false, &[b"a", b"a", b"a", b"b"]), b"a<0>");
        assert_eq!(run(&[b"ab", b"b"], false, &[b"a", b"a", b"b", b"b"]), b"a<0><1>");
        assert_eq!(run(&[b"abc"], true, &[b"abcab", b"cabc"]), b"<0>abcabc");
        assert_eq!(run(&[b"abcd", b"bc"], false, &[b"ab", b"c"]), b"a<1>");
    }

    proptest! {
        #[test]
        fn equals_the_naive_way(
            patterns in proptest::collection::vec("[abAB]{1,6}", 1..5),
            pieces in proptest::collection::vec("[abcAB]{0,9}", 0..12),
            once: bool,
        ) {
            let patterns: Vec<&[u8]> = patterns.iter().map(String::as_bytes).collect();
            let text: Vec<u8> = pieces.concat().into_bytes();
            let pieces: Vec<&[u8]> = pieces.iter().map(String::as_bytes).collect();
            prop_assert_eq!(run(&patterns, once, &pieces), naive(&patterns, once, &text));
        }
    }
}
