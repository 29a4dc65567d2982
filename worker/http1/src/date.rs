//! Dates as HTTP writes them, in seconds since 1970-01-01 00:00:00 UTC.

/// Days from 0000-03-01 to 1970-01-01.
const DAYS_TO_EPOCH: i64 = 719_468;
/// Days of 400 years.
const DAYS_PER_ERA: i64 = 146_097;
/// 9999-12-31 23:59:59, the last time that is written.
const SECONDS_MAX: i64 = 253_402_300_799;

const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
/// 1970-01-01 was a Thursday.
const DAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];

/// A moment of the Gregorian calendar, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Civil {
    year: u32,
    /// 1 to 12.
    month: u32,
    /// 1 to 31.
    day: u32,
    hour: u32,
    minute: u32,
    second: u32,
    /// Index in [`DAYS`].
    weekday: usize,
}

impl Civil {
    /// The moment `seconds` after the epoch; times before it count as the epoch, those after the year 9999 as its end.
    fn of(seconds: i64) -> Civil {
        let seconds = seconds.clamp(0, SECONDS_MAX);
        let days = seconds / 86_400;
        // years begin in March, so that the leap day is the last one
        let shifted = days + DAYS_TO_EPOCH;
        let era = shifted / DAYS_PER_ERA;
        let day_of_era = shifted % DAYS_PER_ERA;
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        let of_day = seconds % 86_400;
        // all values are small and positive
        Civil {
            year: year as u32,
            month: month as u32,
            day: day as u32,
            hour: (of_day / 3600) as u32,
            minute: (of_day / 60 % 60) as u32,
            second: (of_day % 60) as u32,
            weekday: (days % 7) as usize,
        }
    }

    /// Seconds since the epoch; `None` if there is no such moment.
    fn seconds(&self) -> Option<i64> {
        let valid = (1..=12).contains(&self.month)
            && (1..=days_of_month(self.year, self.month)).contains(&self.day)
            && self.hour < 24
            && self.minute < 60
            && self.second < 60;
        if !valid {
            return None;
        }
        let (month, day) = (i64::from(self.month), i64::from(self.day));
        let year = i64::from(self.year) - i64::from(month <= 2);
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = era * DAYS_PER_ERA + day_of_era - DAYS_TO_EPOCH;
        Some(days * 86_400 + i64::from(self.hour * 3600 + self.minute * 60 + self.second))
    }
}

fn days_of_month(year: u32, month: u32) -> u32 {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn put2(room: &mut [u8], number: u32) {
    room[0] = b'0' + (number / 10 % 10) as u8;
    room[1] = b'0' + (number % 10) as u8;
}

fn put_time(room: &mut [u8], civil: &Civil) {
    put2(&mut room[0..], civil.hour);
    room[2] = b':';
    put2(&mut room[3..], civil.minute);
    room[5] = b':';
    put2(&mut room[6..], civil.second);
    room[8..12].copy_from_slice(b" GMT");
}

/// The time in the form all fields use: `Sun, 06 Nov 1994 08:49:37 GMT` (IMF-fixdate, RFC 9110 section 5.6.7).
pub fn http_time(seconds: i64) -> [u8; 29] {
    let civil = Civil::of(seconds);
    let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    text[..3].copy_from_slice(DAYS[civil.weekday]);
    put2(&mut text[5..], civil.day);
    text[8..11].copy_from_slice(MONTHS[civil.month as usize - 1]);
    put2(&mut text[12..], civil.year / 100);
    put2(&mut text[14..], civil.year % 100);
    put_time(&mut text[17..], &civil);
    text
}

/// The time in the form of `Set-Cookie`: `Sun, 06-Nov-94 08:49:37 GMT`; with four digits after the year 2037.
/// Appended to `out`.
pub fn push_cookie_time(out: &mut Vec<u8>, seconds: i64) {
    let civil = Civil::of(seconds);
    let mut text = *b"Thu, 01-Jan-1970 00:00:00 GMT";
    text[..3].copy_from_slice(DAYS[civil.weekday]);
    put2(&mut text[5..], civil.day);
    text[8..11].copy_from_slice(MONTHS[civil.month as usize - 1]);
    put2(&mut text[12..], civil.year / 100);
    put2(&mut text[14..], civil.year % 100);
    put_time(&mut text[17..], &civil);
    let year_at = if civil.year > 2037 { 12 } else { 14 };
    out.extend_from_slice(&text[..12]);
    out.extend_from_slice(&text[year_at..]);
}

/// Reads a date in any of the three forms of RFC 9110 section 5.6.7: IMF-fixdate, RFC 850, asctime. As in nginx the name of
/// the day is not looked at, nor is what follows the time. `None` if it is no date.
pub fn parse_http_time(text: &[u8]) -> Option<i64> {
    let mut reader = Reader { text };
    let first_end = text.iter().position(|byte| matches!(byte, b',' | b' '))?;
    let is_asctime = text[first_end] == b' ';
    reader.text = &text[first_end + 1..];
    reader.blanks();
    let civil = if is_asctime { asctime(&mut reader)? } else { rfc(&mut reader)? };
    civil.seconds()
}

/// `06 Nov 1994 08:49:37` or `06-Nov-94 08:49:37`.
fn rfc(reader: &mut Reader<'_>) -> Option<Civil> {
    let day = reader.digits(2)?;
    let separator = reader.byte()?;
    if separator != b' ' && separator != b'-' {
        return None;
    }
    let month = reader.month()?;
    reader.expect(separator)?;
    let year = if separator == b' ' {
        reader.digits(4)?
    } else {
        let year = reader.digits(2)?;
        if year < 70 { 2000 + year } else { 1900 + year }
    };
    reader.expect(b' ')?;
    let (hour, minute, second) = reader.time()?;
    Some(Civil { year, month, day, hour, minute, second, weekday: 0 })
}

/// `Nov  6 08:49:37 1994`.
fn asctime(reader: &mut Reader<'_>) -> Option<Civil> {
    let month = reader.month()?;
    reader.expect(b' ')?;
    let day = if reader.text.first() == Some(&b' ') {
        reader.byte()?;
        reader.digits(1)?
    } else if reader.text.get(1) == Some(&b' ') {
        reader.digits(1)?
    } else {
        reader.digits(2)?
    };
    reader.expect(b' ')?;
    let (hour, minute, second) = reader.time()?;
    reader.expect(b' ')?;
    let year = reader.digits(4)?;
    Some(Civil { year, month, day, hour, minute, second, weekday: 0 })
}

struct Reader<'a> {
    text: &'a [u8],
}

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.text.split_first()?;
        self.text = rest;
        Some(byte)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.byte()? == byte).then_some(())
    }

    fn blanks(&mut self) {
        while let [b' ', rest @ ..] = self.text {
            self.text = rest;
        }
    }

    fn digits(&mut self, count: usize) -> Option<u32> {
        let mut number = 0;
        for _ in 0..count {
            let byte = self.byte()?;
            if !byte.is_ascii_digit() {
                return None;
            }
            number = number * 10 + u32::from(byte - b'0');
        }
        Some(number)
    }

    fn month(&mut self) -> Option<u32> {
        let (name, rest) = self.text.split_at_checked(3)?;
        self.text = rest;
        let index = MONTHS.iter().position(|month| *month == name)?;
        Some(index as u32 + 1)
    }

    fn time(&mut self) -> Option<(u32, u32, u32)> {
        let hour = self.digits(2)?;
        self.expect(b':')?;
        let minute = self.digits(2)?;
        self.expect(b':')?;
        let second = self.digits(2)?;
        Some((hour, minute, second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: i64 = 784_111_777;

    #[test]
    fn writes() {
        let cases = [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (-5, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (EXAMPLE, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (SECONDS_MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (i64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ];
        for (seconds, text) in cases {
            assert_eq!(http_time(seconds), text.as_bytes(), "{text}");
        }
        let cookie = |seconds| {
            let mut out = Vec::new();
            push_cookie_time(&mut out, seconds);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(cookie(EXAMPLE), "Sun, 06-Nov-94 08:49:37 GMT");
        assert_eq!(cookie(2_145_916_799), "Thu, 31-Dec-37 23:59:59 GMT");
        assert_eq!(cookie(2_145_916_800), "Fri, 01-Jan-2038 00:00:00 GMT");
    }

    #[test]
    fn reads() {
        let cases = [
            ("Sun, 06 Nov 1994 08:49:37 GMT", EXAMPLE),
            ("Sunday, 06-Nov-94 08:49:37 GMT", EXAMPLE),
            ("Sun Nov  6 08:49:37 1994", EXAMPLE),
            ("Sun Nov 6 08:49:37 1994", EXAMPLE),
            ("Sun Nov 06 08:49:37 1994", EXAMPLE),
            ("Sun,06 Nov 1994 08:49:37 GMT", EXAMPLE),
            ("Mon, 06 Nov 1994 08:49:37", EXAMPLE),
            (", 06 Nov 1994 08:49:37", EXAMPLE),
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Thu, 29 Feb 2024 00:00:00 GMT", 1_709_164_800),
            ("Thursday, 31-Dec-69 23:59:59 GMT", 3_155_759_999),
            ("Thu, 01 Jan 1600 00:00:00 GMT", -11_676_096_000),
        ];
        for (text, seconds) in cases {
            assert_eq!(parse_http_time(text.as_bytes()), Some(seconds), "{text}");
        }
    }

    #[test]
    fn refuses() {
        let cases = [
            "",
            " ",
            ",",
            "Sun",
            "Sun,",
            "Sun, 06",
            "Sun, 06 Nov 1994",
            "Sun, 06 Nov 1994 08:49",
            "Sun, 06 Nov 1994 08:49:3",
            "Sun, 32 Nov 1994 08:49:37 GMT",
            "Sun, 31 Nov 1994 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 29 Feb 2023 08:49:37 GMT",
            "Sun, 29 Feb 2100 08:49:37 GMT",
            "Sun, 06 Nox 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 08:60:37 GMT",
            "Sun, 06 Nov 1994 08:49:60 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06-Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun Nov  6 08:49:37",
            "Sun Nov 6 08:49:37 94",
            "784111777",
            "Sun, 06 Nov -994 08:49:37 GMT",
        ];
        for text in cases {
            assert_eq!(parse_http_time(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn every_day_reads_back() {
        for day in 0..2_932_897 / 7 {
            let seconds = day * 7 * 86_400 + day % 86_400;
            assert_eq!(parse_http_time(&http_time(seconds)), Some(seconds));
        }
    }
}
