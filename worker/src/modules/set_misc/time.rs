//! The time of day as text.

use std::fmt::{Display, Write as _};

use chrono::{Local, Utc};

use super::Call;

type Made = Result<(), String>;

/// Longest text a format may give (set_misc's limit).
const LENGTH_MAX: usize = 256;

/// `set_local_today`.
pub(super) fn local_today(call: &mut Call<'_>) -> Made {
    call.out.extend_from_slice(Local::now().format("%Y-%m-%d").to_string().as_bytes());
    Ok(())
}

fn format(call: &mut Call<'_>, formatted: impl Display) -> Made {
    let mut text = String::new();
    // a specifier that does not exist is an error of the display
    if write!(text, "{formatted}").is_err() || text.len() > LENGTH_MAX {
        let format = String::from_utf8_lossy(call.arg(0)).into_owned();
        return Err(format!("bad format of time: \"{format}\""));
    }
    call.out.extend_from_slice(text.as_bytes());
    Ok(())
}

/// `set_formatted_gmt_time`.
pub(super) fn formatted_gmt_time(call: &mut Call<'_>) -> Made {
    let text = String::from_utf8_lossy(call.arg(0)).into_owned();
    format(call, Utc::now().format(&text))
}

/// `set_formatted_local_time`.
pub(super) fn formatted_local_time(call: &mut Call<'_>) -> Made {
    let text = String::from_utf8_lossy(call.arg(0)).into_owned();
    format(call, Local::now().format(&text))
}
