//! Patterns in configurations.

use pcre2::bytes::{Regex, RegexBuilder};

/// Compiles a pattern.
pub(crate) fn compile(text: &str, caseless: bool) -> Result<Regex, String> {
    let built = RegexBuilder::new().caseless(caseless).jit_if_available(true).build(text);
    built.map_err(|error| error.to_string())
}

/// Compiles all of them.
pub(crate) fn compile_all(texts: &[String]) -> Result<Vec<Regex>, String> {
    texts.iter().map(|text| compile(text, false)).collect()
}

/// Whether one of them matches.
pub(crate) fn any(patterns: &[Regex], text: &[u8]) -> bool {
    patterns.iter().any(|pattern| pattern.is_match(text).unwrap_or(false))
}
