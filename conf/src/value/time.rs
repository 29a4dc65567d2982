//! Times: `30`, `500ms`, `1h30m`, `"1d 12h"`.
//!
//! Units go from large to small, each at most once: `y M w d h m s ms`. A number without a unit is seconds.
//! `y` and `M` exist only for times kept in seconds, `ms` only for times kept in milliseconds.

use super::number::MAX;

/// The units in the order they may be used. The positions matter, the values are only compared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Start,
    Year,
    Month,
    Week,
    Day,
    Hour,
    Minute,
    Second,
    Millisecond,
    Last,
}

/// Reads a time in milliseconds.
pub fn parse_ms(text: &str) -> Option<u64> {
    parse(text.as_bytes(), false)
}

/// Reads a time in seconds.
pub fn parse_sec(text: &str) -> Option<u64> {
    parse(text.as_bytes(), true)
}

fn parse(text: &[u8], seconds: bool) -> Option<u64> {
    // Times in milliseconds start after the month, so that years and months are out of order in them.
    let mut step = if seconds { Step::Start } else { Step::Month };
    let per_second = if seconds { 1 } else { 1000 };
    let (mut total, mut value) = (0_u64, 0_u64);
    let mut any_digit = false;
    let mut i = 0;
    while i < text.len() {
        let byte = text[i];
        i += 1;
        if byte.is_ascii_digit() {
            value =
                value.checked_mul(10)?.checked_add(u64::from(byte - b'0')).filter(|&value| value <= MAX)?;
            any_digit = true;
            continue;
        }
        let milli = byte == b'm' && text.get(i) == Some(&b's');
        if milli {
            if seconds {
                return None;
            }
            i += 1;
        }
        let (unit, length) = unit(byte, milli)?;
        // A blank after a bare number ends the list; it must come before seconds, as `s` must.
        let limit = if unit == Step::Last { Step::Second } else { unit };
        if step >= limit {
            return None;
        }
        step = unit;
        let scale = if milli { 1 } else { length * per_second };
        total = total.checked_add(value.checked_mul(scale)?).filter(|&total| total <= MAX)?;
        value = 0;
        while text.get(i) == Some(&b' ') {
            i += 1;
        }
    }
    if !any_digit {
        return None;
    }
    total.checked_add(value.checked_mul(per_second)?).filter(|&total| total <= MAX)
}

/// The unit a letter stands for and its length in seconds (1 for milliseconds, which are not scaled).
fn unit(byte: u8, milli: bool) -> Option<(Step, u64)> {
    const DAY: u64 = 24 * 60 * 60;
    Some(match byte {
        b'y' => (Step::Year, 365 * DAY),
        b'M' => (Step::Month, 30 * DAY),
        b'w' => (Step::Week, 7 * DAY),
        b'd' => (Step::Day, DAY),
        b'h' => (Step::Hour, 60 * 60),
        b'm' if milli => (Step::Millisecond, 1),
        b'm' => (Step::Minute, 60),
        b's' => (Step::Second, 1),
        b' ' => (Step::Last, 1),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        const DAY: u64 = 86_400;
        let cases = [
            ("30", Some(30_000), Some(30)),
            ("30s", Some(30_000), Some(30)),
            ("500ms", Some(500), None),
            ("1s500ms", Some(1500), None),
            ("1h30m", Some(5_400_000), Some(5400)),
            ("1h 30m", Some(5_400_000), Some(5400)),
            ("1d  12h", Some(129_600_000), Some(129_600)),
            ("1w", Some(7 * DAY * 1000), Some(7 * DAY)),
            ("1M", None, Some(30 * DAY)),
            ("1y", None, Some(365 * DAY)),
            ("1y1M", None, Some(395 * DAY)),
            ("1y1y", None, None),
            ("1h30", Some(3_630_000), Some(3630)),
            ("30 5", Some(35_000), Some(35)),
            ("30 5s", None, None),
            ("30s ", Some(30_000), Some(30)),
            ("1s 5", Some(6000), Some(6)),
            ("1m1h", None, None),
            ("1s1s", None, None),
            ("0", Some(0), Some(0)),
            ("", None, None),
            (" ", None, None),
            ("s", None, None),
            ("-1", None, None),
            ("1.5s", None, None),
            ("9223372036854775807", None, Some(i64::MAX as u64)),
            ("9223372036854775808", None, None),
            ("9223372036854775807ms", Some(i64::MAX as u64), None),
            ("9223372036854775807ms1", None, None),
        ];
        for (text, ms, sec) in cases {
            assert_eq!(parse_ms(text), ms, "ms {text:?}");
            assert_eq!(parse_sec(text), sec, "sec {text:?}");
        }
    }
}
