//! Looking for one of several strings, regardless of case.
//!
//! A table says for every byte how far the search may skip when that byte stands where the shortest pattern would end
//! (Horspool's shift, for several patterns at once). Where it may not skip, the patterns that fit the byte are compared one
//! by one, in the order of the configuration.

/// Compiled patterns.
#[derive(Debug)]
pub struct Matcher {
    patterns: Box<[Box<[u8]>]>,
    /// Length of the shortest pattern, at least 1.
    min: usize,
    /// Length of the longest pattern.
    max: usize,
    /// By byte: how far to skip; 0: compare.
    shift: Box<[u8; 256]>,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Pattern `index` at `start`.
    Match {
        /// Where it begins.
        start: usize,
        /// Which one.
        index: usize,
    },
    /// From here on, the bytes may be the beginning of a match.
    Partial(usize),
    /// Nothing.
    Nothing,
}

impl Matcher {
    /// Compiles `patterns`: not empty themselves, in lower case, at least one.
    pub(super) fn new(patterns: Vec<Box<[u8]>>) -> Self {
        let min = patterns.iter().map(|pattern| pattern.len()).min().unwrap_or(1);
        let max = patterns.iter().map(|pattern| pattern.len()).max().unwrap_or(1);
        debug_assert!(min > 0, "an empty pattern matches everywhere");
        let far = u8::try_from(min).unwrap_or(u8::MAX);
        let mut shift = Box::new([far; 256]);
        for pattern in &patterns {
            for (back, byte) in pattern[..min].iter().rev().enumerate().take(usize::from(far)) {
                let entry = &mut shift[usize::from(*byte)];
                *entry = (*entry).min(back as u8);
            }
        }
        for upper in b'A'..=b'Z' {
            shift[usize::from(upper)] = shift[usize::from(upper.to_ascii_lowercase())];
        }
        Self { patterns: patterns.into(), min, max, shift }
    }

    /// Number of patterns.
    pub(super) fn len(&self) -> usize {
        self.patterns.len()
    }

    /// Length of pattern `index`.
    pub(super) fn pattern_len(&self, index: usize) -> usize {
        self.patterns[index].len()
    }

    /// Length of the longest pattern.
    pub(super) fn longest(&self) -> usize {
        self.max
    }

    /// The first match that begins in `from..until` of `text`, of the patterns not in `used`. With `more`, bytes may
    /// follow the text, and what they decide is [`Found::Partial`].
    pub(super) fn find(&self, text: &[u8], from: usize, until: usize, more: bool, used: &[bool]) -> Found {
        let until = until.min(text.len());
        let mut start = from;
        while start < until {
            if let Some(end) = text.get(start + self.min - 1) {
                let skip = self.shift[usize::from(*end)];
                if skip > 0 {
                    start += usize::from(skip);
                    continue;
                }
            } else if !more {
                return Found::Nothing;
            }
            match self.compare(&text[start..], more, used) {
                Some(Comparison::Whole(index)) => return Found::Match { start, index },
                Some(Comparison::Beginning) => return Found::Partial(start),
                None => start += 1,
            }
        }
        Found::Nothing
    }

    fn compare(&self, text: &[u8], more: bool, used: &[bool]) -> Option<Comparison> {
        let unused =
            self.patterns.iter().enumerate().filter(|(index, _)| !used.get(*index).unwrap_or(&false));
        for (index, pattern) in unused {
            let length = pattern.len().min(text.len());
            if !text[..length].eq_ignore_ascii_case(&pattern[..length]) {
                continue;
            }
            if length == pattern.len() {
                return Some(Comparison::Whole(index));
            }
            if more {
                return Some(Comparison::Beginning);
            }
        }
        None
    }
}

enum Comparison {
    Whole(usize),
    Beginning,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher(patterns: &[&str]) -> Matcher {
        Matcher::new(patterns.iter().map(|pattern| pattern.as_bytes().into()).collect())
    }

    #[test]
    fn leftmost_then_first_configured() {
        let matcher = matcher(&["bcd", "abcdx", "abc"]);
        let find = |text: &str, more| matcher.find(text.as_bytes(), 0, text.len(), more, &[]);
        assert_eq!(find("--ABCD", false), Found::Match { start: 2, index: 2 });
        assert_eq!(find("--abcdx", false), Found::Match { start: 2, index: 1 });
        assert_eq!(find("--abcd", true), Found::Partial(2), "the first configured may still match");
        assert_eq!(find("--bcd", true), Found::Match { start: 2, index: 0 });
        assert_eq!(find("--ab", true), Found::Partial(2));
        assert_eq!(find("--ab", false), Found::Nothing);
        assert_eq!(find("", true), Found::Nothing);
    }

    #[test]
    fn used_patterns_and_the_limit_of_starts() {
        let matcher = matcher(&["ab", "b"]);
        assert_eq!(matcher.find(b"ab", 0, 2, true, &[true, false]), Found::Match { start: 1, index: 1 });
        assert_eq!(matcher.find(b"ab", 0, 2, true, &[true, true]), Found::Nothing);
        assert_eq!(matcher.find(b"xab", 0, 1, true, &[]), Found::Nothing);
    }

    #[test]
    fn patterns_longer_than_a_shift_can_say() {
        let long = "y".repeat(300) + "z";
        let matcher = matcher(&[&long]);
        let text = "x".repeat(1000) + &long + "x";
        assert_eq!(
            matcher.find(text.as_bytes(), 0, text.len(), true, &[]),
            Found::Match { start: 1000, index: 0 }
        );
    }
}
