//! Numbers: decimal digits and nothing else.

/// Largest number nginx reads, that of a signed 64-bit integer.
pub const MAX: u64 = i64::MAX as u64;

/// Reads a non-negative number up to [`MAX`].
pub fn parse(text: &str) -> Option<u64> {
    digits(text.as_bytes())
}

/// Like [`parse`], from bytes.
pub(crate) fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit).filter(|&number| number <= MAX)
    })
}

/// Reads a number with a decimal point as a multiple of 10^-`point`, as nginx reads weights and percentages:
/// `parse_fixed("12.5", 2)` is 1250. Digits after the point beyond `point` are an error.
pub fn parse_fixed(text: &str, point: u32) -> Option<u64> {
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, fraction),
        None => (text, ""),
    };
    if text.is_empty() || fraction.len() > point as usize {
        return None;
    }
    let mut all = String::with_capacity(text.len() + point as usize);
    all.push_str(whole);
    all.push_str(fraction);
    all.extend(std::iter::repeat_n('0', point as usize - fraction.len()));
    digits(all.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let cases = [
            ("0", Some(0)),
            ("0010", Some(10)),
            ("9223372036854775807", Some(MAX)),
            ("9223372036854775808", None),
            ("99999999999999999999999", None),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1k", None),
            (" 1", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), expected, "{text:?}");
        }
    }

    #[test]
    fn fixed_point() {
        let cases = [
            ("12.5", Some(1250)),
            ("100", Some(10_000)),
            (".5", Some(50)),
            ("5.", Some(500)),
            ("0.01", Some(1)),
            ("0.001", None),
            ("1.2.3", None),
            ("", None),
            ("-1", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_fixed(text, 2), expected, "{text:?}");
        }
    }
}
