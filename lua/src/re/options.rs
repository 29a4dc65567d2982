//! The letters of an `ngx.re` function's options.

use crate::ffi::pcre::option;

/// What the letters ask for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// PCRE2's bits.
    pub pcre: u32,
    /// `d`: the DFA matcher.
    pub dfa: bool,
    /// `j`: compiled to machine code.
    pub jit: bool,
    /// `o`: compiled once and kept.
    pub once: bool,
    /// `D`: a name may stand for several groups.
    pub duplicate_names: bool,
}

impl Options {
    /// Reads `letters`.
    ///
    /// # Errors
    /// The letter that means nothing.
    pub fn parse(letters: &[u8]) -> Result<Self, u8> {
        let mut options = Self::default();
        for letter in letters {
            options.pcre |= match letter {
                b'a' => option::ANCHORED,
                b'i' => option::CASELESS,
                b'm' => option::MULTILINE,
                b's' => option::DOTALL,
                b'u' => option::UTF,
                b'U' => option::UTF_UNCHECKED,
                b'x' => option::EXTENDED,
                b'J' => option::JAVASCRIPT,
                b'D' => {
                    options.duplicate_names = true;
                    option::DUPNAMES
                }
                b'd' => {
                    options.dfa = true;
                    0
                }
                b'j' => {
                    options.jit = true;
                    0
                }
                b'o' => {
                    options.once = true;
                    0
                }
                unknown => return Err(*unknown),
            };
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters() {
        let options = Options::parse(b"joiD").unwrap();
        assert!(options.jit && options.once && options.duplicate_names && !options.dfa);
        assert_eq!(options.pcre, option::CASELESS | option::DUPNAMES);
        assert_eq!(Options::parse(b"iz"), Err(b'z'));
    }
}
