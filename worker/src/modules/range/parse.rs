//! The value of `Range`, read as nginx reads it.

/// Bytes `start..end` of a body; never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u64,
    pub(super) end: u64,
}

/// What a `Range` asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// These parts.
    Spans(Vec<Span>),
    /// Too many or too large parts, or nothing that could be cut: the whole body is sent.
    Whole,
    /// No part is in the body, or the value is none: 416.
    Unsatisfiable,
}

/// Largest number nginx reads: an `off_t`.
const OFFSET_MAX: u64 = i64::MAX as u64;
/// What a part costs besides its bytes, about; parts that add up to more than the body and [`SLACK_BYTES`] are refused where no
/// `max_ranges` was set.
const PART_BYTES: u64 = 256;
/// See [`PART_BYTES`].
const SLACK_BYTES: u64 = 4096;
/// From this value on `max_ranges` is no limit (nginx's default).
const UNLIMITED: usize = i32::MAX as usize;

/// Reads what stands behind `bytes=`. `total` is the body's length, `max` the most parts that are served.
pub(super) fn parse(text: &[u8], total: u64, max: usize) -> Parsed {
    let mut spans = Vec::new();
    let mut size: u64 = 0;
    for item in text.split(|byte| *byte == b',') {
        let Some((start, end)) = item_span(item, total) else { return Parsed::Unsatisfiable };
        if start < end {
            size = match size.checked_add(end - start).filter(|size| *size <= OFFSET_MAX) {
                Some(size) => size,
                None => return Parsed::Unsatisfiable,
            };
            if spans.len() == max {
                return Parsed::Whole;
            }
            spans.push(Span { start, end });
        } else if start == 0 {
            return Parsed::Whole;
        }
    }
    match spans.len() {
        0 => Parsed::Unsatisfiable,
        1 => Parsed::Spans(spans),
        // overlapping parts would make a small request into a large response
        _ if size > total => Parsed::Whole,
        count if max >= UNLIMITED && size + count as u64 * PART_BYTES > total + SLACK_BYTES => Parsed::Whole,
        _ => Parsed::Spans(spans),
    }
}

/// `first-last`, `first-` or `-length` as half-open bounds; `None`: neither.
fn item_span(item: &[u8], total: u64) -> Option<(u64, u64)> {
    let mut reader = Reader { text: item };
    reader.blanks();
    if reader.text.first() == Some(&b'-') {
        reader.text = &reader.text[1..];
        let length = reader.number()?;
        reader.end()?;
        return Some((total.saturating_sub(length), total));
    }
    let start = reader.number()?;
    reader.blanks();
    reader.text = reader.text.strip_prefix(b"-")?;
    reader.blanks();
    if reader.text.is_empty() {
        return Some((start, total));
    }
    let last = reader.number()?;
    reader.end()?;
    Some((start, last.saturating_add(1).min(total)))
}

struct Reader<'a> {
    text: &'a [u8],
}

impl Reader<'_> {
    fn blanks(&mut self) {
        while let [b' ', rest @ ..] = self.text {
            self.text = rest;
        }
    }

    fn number(&mut self) -> Option<u64> {
        let digits = self.text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.text.split_at(digits);
        self.text = rest;
        let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
        (number <= OFFSET_MAX).then_some(number)
    }

    fn end(&mut self) -> Option<()> {
        self.blanks();
        self.text.is_empty().then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spans(list: &[(u64, u64)]) -> Parsed {
        Parsed::Spans(list.iter().map(|&(start, end)| Span { start, end }).collect())
    }

    #[test]
    fn values() {
        for (text, max, expected) in [
            ("0-0", usize::MAX, spans(&[(0, 1)])),
            ("0-99", usize::MAX, spans(&[(0, 100)])),
            ("0-1000", usize::MAX, spans(&[(0, 100)])),
            ("90-", usize::MAX, spans(&[(90, 100)])),
            ("-10", usize::MAX, spans(&[(90, 100)])),
            ("-1000", usize::MAX, spans(&[(0, 100)])),
            (" 1 - 2 ", usize::MAX, spans(&[(1, 3)])),
            (" -5 ", usize::MAX, spans(&[(95, 100)])),
            ("100-", usize::MAX, Parsed::Unsatisfiable),
            ("5-4", usize::MAX, Parsed::Unsatisfiable),
            ("-0", usize::MAX, Parsed::Unsatisfiable),
            ("", usize::MAX, Parsed::Unsatisfiable),
            ("-", usize::MAX, Parsed::Unsatisfiable),
            ("- 5", usize::MAX, Parsed::Unsatisfiable),
            ("a-b", usize::MAX, Parsed::Unsatisfiable),
            ("1-2x", usize::MAX, Parsed::Unsatisfiable),
            ("1-2,", usize::MAX, Parsed::Unsatisfiable),
            ("1", usize::MAX, Parsed::Unsatisfiable),
            ("9223372036854775807-", usize::MAX, Parsed::Unsatisfiable),
            ("0-9223372036854775807", usize::MAX, spans(&[(0, 100)])),
            ("0-9223372036854775808", usize::MAX, Parsed::Unsatisfiable),
            ("9-10,0-1", usize::MAX, spans(&[(9, 11), (0, 2)])),
            ("9-10,200-300", usize::MAX, spans(&[(9, 11)])),
            ("0-60,40-99", usize::MAX, Parsed::Whole),
            ("0-1,2-3", 1, Parsed::Whole),
            ("0-1,200-", 1, spans(&[(0, 2)])),
        ] {
            assert_eq!(parse(text.as_bytes(), 100, max), expected, "{text}");
        }
    }

    #[test]
    fn an_empty_body_is_sent_whole() {
        assert_eq!(parse(b"0-", 0, usize::MAX), Parsed::Whole);
        assert_eq!(parse(b"-5", 0, usize::MAX), Parsed::Whole);
        assert_eq!(parse(b"1-", 0, usize::MAX), Parsed::Unsatisfiable);
    }

    #[test]
    fn many_small_parts_cost_more_than_they_save() {
        let many = vec!["0-0"; 17].join(",");
        assert_eq!(parse(many.as_bytes(), 100, usize::MAX), Parsed::Whole);
        assert_eq!(parse(many.as_bytes(), 100, 17), spans(&[(0, 1); 17]));
    }

    proptest! {
        #[test]
        fn spans_lie_in_the_body(text in "[0-9 ,-]{0,40}", total in 0u64..1000, max in 1usize..5) {
            if let Parsed::Spans(spans) = parse(text.as_bytes(), total, max) {
                prop_assert!(!spans.is_empty() && spans.len() <= max);
                prop_assert!(spans.iter().all(|span| span.start < span.end && span.end <= total));
            }
        }
    }
}
