//! The patterns of `ngx.re`: options by letters, a cache of compiled ones, replacement texts. Independent of the VM.

mod cache;
mod options;
mod replacement;

pub use cache::Cache;
pub use options::Options;
pub use replacement::{BadReplacement, Piece, Replacement, parse as parse_replacement};

use smallvec::SmallVec;

use crate::ffi::pcre::{Code, Span};

/// The groups of a match, the whole first.
pub type Spans = SmallVec<[Span; 10]>;

/// Longest message about a pattern, bytes (OpenResty's buffer).
const MESSAGE_MAX: usize = 255;

/// Compiles a pattern.
///
/// # Errors
/// It is none; the text is OpenResty's.
pub fn compile(pattern: &[u8], options: Options) -> Result<Code, Vec<u8>> {
    let mut code = Code::compile(pattern, options.pcre, options.dfa).map_err(|refused| {
        let mut text = format!("pcre2_compile() failed: {} in \"", refused.message).into_bytes();
        text.extend_from_slice(pattern);
        text.push(b'"');
        if refused.offset < pattern.len() {
            text.extend_from_slice(b" at \"");
            text.extend_from_slice(&pattern[refused.offset..]);
            text.push(b'"');
        }
        text.truncate(MESSAGE_MAX);
        text
    })?;
    if options.jit {
        code.jit();
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_openrestys() {
        let message = |pattern: &str| {
            let refused = compile(pattern.as_bytes(), Options::default()).err().unwrap();
            String::from_utf8(refused).unwrap()
        };
        assert_eq!(message("(abc"), "pcre2_compile() failed: missing closing parenthesis in \"(abc\"");
        assert_eq!(
            message("a)b"),
            "pcre2_compile() failed: unmatched closing parenthesis in \"a)b\" at \")b\""
        );
    }
}
