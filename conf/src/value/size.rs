//! Sizes in bytes: `8192`, `8k`, `1m`; file sizes also `1g`.

use super::number;

/// Reads a size in memory: `k` and `m` in either case.
pub fn parse_size(text: &str) -> Option<usize> {
    let bytes = match text.as_bytes().last()? {
        b'g' | b'G' => return None,
        _ => parse_offset(text)?,
    };
    usize::try_from(bytes).ok()
}

/// Reads a size of a file or body: `k`, `m` and `g` in either case.
pub fn parse_offset(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes() {
        [digits @ .., b'k' | b'K'] => (digits, 10),
        [digits @ .., b'm' | b'M'] => (digits, 20),
        [digits @ .., b'g' | b'G'] => (digits, 30),
        digits => (digits, 0),
    };
    let number = number::digits(digits)?;
    (number <= number::MAX >> shift).then(|| number << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let cases = [
            ("0", Some(0), Some(0)),
            ("8192", Some(8192), Some(8192)),
            ("8k", Some(8192), Some(8192)),
            ("8K", Some(8192), Some(8192)),
            ("1m", Some(1 << 20), Some(1 << 20)),
            ("1M", Some(1 << 20), Some(1 << 20)),
            ("1g", None, Some(1 << 30)),
            ("2G", None, Some(2 << 30)),
            ("9007199254740991k", Some(9_223_372_036_854_774_784), Some(9_223_372_036_854_774_784)),
            ("9007199254740992k", None, None),
            ("8589934592g", None, None),
            ("", None, None),
            ("k", None, None),
            ("1kb", None, None),
            ("1 k", None, None),
            ("-1", None, None),
            ("1.5m", None, None),
        ];
        for (text, size, offset) in cases {
            assert_eq!(parse_size(text), size, "size {text:?}");
            assert_eq!(parse_offset(text), offset, "offset {text:?}");
        }
    }
}
