//! Finding a pattern in a stream that arrives in pieces: `receiveuntil`.

/// A search that goes on from piece to piece.
#[derive(Debug)]
pub(crate) struct Until {
    pattern: Vec<u8>,
    inclusive: bool,
    /// The pattern was found in the last call; the next one tells the end.
    ended: bool,
}

/// What a piece of the stream gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Bytes before the pattern end here, and so many are to be taken off the stream. `true`: the pattern came.
    Bytes {
        /// How many bytes of the stream are the result.
        give: usize,
        /// How many bytes leave the stream.
        take: usize,
        /// The pattern is among them.
        complete: bool,
    },
    /// More must come.
    More,
}

impl Until {
    pub(crate) fn new(pattern: Vec<u8>, inclusive: bool) -> Self {
        Self { pattern, inclusive, ended: false }
    }

    /// Whether the last call found the pattern; asked once.
    pub(crate) fn take_ended(&mut self) -> bool {
        std::mem::take(&mut self.ended)
    }

    /// Looks at what has come so far. With `size`, no more than that many bytes are wanted at once.
    pub(crate) fn look(&mut self, stream: &[u8], size: Option<usize>) -> Found {
        let extra = if self.inclusive { self.pattern.len() } else { 0 };
        match memchr::memmem::find(stream, &self.pattern) {
            Some(at) => {
                let give = at + extra;
                match size {
                    Some(size) if at > size => Found::Bytes { give: size, take: size, complete: false },
                    _ => {
                        self.ended = true;
                        Found::Bytes { give, take: at + self.pattern.len(), complete: true }
                    }
                }
            }
            None => {
                let Some(size) = size else { return Found::More };
                // what may be the beginning of the pattern must wait
                let sure = stream.len() - self.partial(stream);
                if sure >= size {
                    Found::Bytes { give: size, take: size, complete: false }
                } else {
                    Found::More
                }
            }
        }
    }

    /// Length of the longest beginning of the pattern that ends the stream.
    fn partial(&self, stream: &[u8]) -> usize {
        let longest = self.pattern.len().saturating_sub(1).min(stream.len());
        (1..=longest).rev().find(|len| stream.ends_with(&self.pattern[..*len])).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_across_pieces() {
        let mut until = Until::new(b"--ab".to_vec(), false);
        assert_eq!(until.look(b"hello --", None), Found::More);
        assert_eq!(until.look(b"hello --abx", None), Found::Bytes { give: 6, take: 10, complete: true });
        assert!(until.take_ended() && !until.take_ended());
        assert_eq!(until.look(b"hello --", Some(4)), Found::Bytes { give: 4, take: 4, complete: false });
        assert_eq!(until.look(b"abc-", Some(4)), Found::More);
        assert_eq!(until.look(b"abcd-", Some(4)), Found::Bytes { give: 4, take: 4, complete: false });
        assert_eq!(until.look(b"ab--ab", Some(4)), Found::Bytes { give: 2, take: 6, complete: true });
        let mut until = Until::new(b"\r\n".to_vec(), true);
        assert_eq!(until.look(b"x\r\ny", None), Found::Bytes { give: 3, take: 3, complete: true });
    }
}
