//! The `Date` field, made once per second.

use std::cell::RefCell;

struct Line {
    second: i64,
    text: [u8; LEN],
}

const LEN: usize = "Date: Mon, 23 Nov 2026 08:30:00 GMT\r\n".len();

thread_local! {
    static DATE: RefCell<Line> = const { RefCell::new(Line { second: i64::MIN, text: [0; LEN] }) };
}

/// Seconds since the epoch.
pub fn unix_seconds() -> i64 {
    i64::try_from(net::unix_ms() / 1000).unwrap_or(i64::MAX)
}

/// Hands the whole line `Date: …\r\n` to `use_line`. It may be late by a tick of the kernel's clock.
pub fn with_date_header<T>(use_line: impl FnOnce(&[u8]) -> T) -> T {
    let second = i64::try_from(net::unix_seconds_coarse()).unwrap_or(i64::MAX);
    DATE.with_borrow_mut(|line| {
        if line.second != second {
            line.second = second;
            line.text[..6].copy_from_slice(b"Date: ");
            line.text[6..LEN - 2].copy_from_slice(&http1::http_time(second));
            line.text[LEN - 2..].copy_from_slice(b"\r\n");
        }
        use_line(&line.text)
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_line_is_whole() {
        super::with_date_header(|line| {
            let text = std::str::from_utf8(line).unwrap();
            assert!(text.starts_with("Date: ") && text.ends_with(" GMT\r\n"), "{text}");
        });
    }
}
