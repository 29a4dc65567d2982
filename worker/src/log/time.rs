//! Local time as logs print it, made once per second.

use std::cell::RefCell;

use chrono::{DateTime, Local, TimeZone as _};

/// The texts of one second.
#[derive(Default)]
struct Texts {
    second: i64,
    error: String,
    common: String,
    iso: String,
}

thread_local! {
    static TEXTS: RefCell<Texts> = RefCell::default();
}

fn with<T>(use_texts: impl FnOnce(&Texts) -> T) -> T {
    let second = i64::try_from(net::unix_ms() / 1000).unwrap_or(i64::MAX);
    TEXTS.with_borrow_mut(|texts| {
        if texts.second != second || texts.error.is_empty() {
            let local = local(second);
            texts.second = second;
            texts.error = local.format("%Y/%m/%d %H:%M:%S").to_string();
            texts.common = local.format("%d/%b/%Y:%H:%M:%S %z").to_string();
            texts.iso = local.format("%Y-%m-%dT%H:%M:%S%:z").to_string();
        }
        use_texts(texts)
    })
}

/// `second` of the epoch in the machine's time zone.
pub fn local(second: i64) -> DateTime<Local> {
    Local.timestamp_opt(second, 0).earliest().unwrap_or_else(Local::now)
}

/// Appends `2026/11/23 08:30:00`: the error log's form.
pub fn error_log(out: &mut Vec<u8>) {
    with(|texts| out.extend_from_slice(texts.error.as_bytes()));
}

/// Appends `23/Nov/2026:08:30:00 +0000`: `$time_local`.
pub fn common_log(out: &mut Vec<u8>) {
    with(|texts| out.extend_from_slice(texts.common.as_bytes()));
}

/// Appends `2026-11-23T08:30:00+00:00`: `$time_iso8601`.
pub fn iso8601(out: &mut Vec<u8>) {
    with(|texts| out.extend_from_slice(texts.iso.as_bytes()));
}
