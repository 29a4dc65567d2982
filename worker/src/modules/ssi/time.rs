//! `$date_local` and `$date_gmt`: the current time in the format `config timefmt` gave.

use std::fmt::Write as _;
use std::rc::Rc;

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, Offset as _, TimeZone};

use crate::clock::unix_seconds;
use crate::log;
use crate::request::Request;

/// The format without `config timefmt`.
const DEFAULT: &str = "%A, %d-%b-%Y %H:%M:%S %Z";
/// Most bytes of a date (nginx's limit).
const DATE_BYTES_MAX: usize = 2048;

/// `timefmt`, as a part of a page set it.
pub(super) struct TimeFormat(pub(super) Rc<str>);

pub(super) fn local(req: &mut Request, _: &[u8], out: &mut Vec<u8>) -> bool {
    let format = format_of(req);
    let now = log::time::local(unix_seconds());
    let zone = match now.offset().fix().local_minus_utc() {
        0 => "UTC".to_owned(),
        _ => now.format("%z").to_string(),
    };
    print(&now, &format, &zone, out)
}

pub(super) fn gmt(req: &mut Request, _: &[u8], out: &mut Vec<u8>) -> bool {
    let format = format_of(req);
    let now = DateTime::from_timestamp(unix_seconds(), 0).unwrap_or_default();
    print(&now, &format, "GMT", out)
}

fn format_of(req: &Request) -> Rc<str> {
    match req.context.get::<TimeFormat>() {
        Some(format) => Rc::clone(&format.0),
        None => DEFAULT.into(),
    }
}

/// Appends the time; what is no conversion stands as it is. `false`: it is too long.
fn print<Z: TimeZone>(now: &DateTime<Z>, format: &str, zone: &str, out: &mut Vec<u8>) -> bool
where
    Z::Offset: std::fmt::Display,
{
    let format = format.replace("%Z", zone);
    let mut text = String::new();
    if StrftimeItems::new(&format).any(|item| matches!(item, Item::Error)) {
        text.push_str(&format);
    } else if write!(text, "{}", now.format(&format)).is_err() {
        return false;
    }
    if text.is_empty() || text.len() > DATE_BYTES_MAX {
        return false;
    }
    out.extend_from_slice(text.as_bytes());
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        let time = DateTime::from_timestamp(1_000_000_000, 0).unwrap();
        for (format, expected) in [
            (DEFAULT, Some("Sunday, 09-Sep-2001 01:46:40 GMT")),
            ("%s", Some("1000000000")),
            ("IF", Some("IF")),
            ("%Q!", Some("%Q!")),
            ("", None),
        ] {
            let mut out = Vec::new();
            let printed = print(&time, format, "GMT", &mut out);
            assert_eq!(printed.then(|| String::from_utf8(out).unwrap()).as_deref(), expected, "{format}");
        }
    }
}
