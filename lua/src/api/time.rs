//! Clocks and dates.

use chrono::{DateTime, Local, Utc};

use super::Function;
use crate::ffi::call::Result;
use crate::ffi::{Call, Returns, Type};
use crate::function;
use crate::phase::Phases;

/// The functions.
pub static FUNCTIONS: &[Function] = &[
    function!("ngx.now", Phases::ANY, "Returns the time in seconds, with milliseconds.", now),
    function!("ngx.time", Phases::ANY, "Returns the time in seconds.", time),
    function!(
        "ngx.update_time",
        Phases::ANY,
        "Looks at the clock anew, which here every function does.",
        update
    ),
    function!("ngx.today", Phases::ANY, "Returns the local date.", today),
    function!("ngx.localtime", Phases::ANY, "Returns the local time.", localtime),
    function!("ngx.utctime", Phases::ANY, "Returns the time in UTC.", utctime),
    function!("ngx.cookie_time", Phases::ANY, "Writes a time as cookies have it.", cookie_time),
    function!("ngx.http_time", Phases::ANY, "Writes a time as header fields have it.", http_time),
    function!("ngx.parse_http_time", Phases::ANY, "Reads a time of a header field.", parse_http_time),
];

fn millis() -> i64 {
    Utc::now().timestamp_millis()
}

fn now(call: &mut Call<'_>) -> Result {
    call.lua.push_number(millis() as f64 / 1000.0);
    Ok(Returns::ONE)
}

fn time(call: &mut Call<'_>) -> Result {
    call.lua.push_int(millis() / 1000);
    Ok(Returns::ONE)
}

fn update(_call: &mut Call<'_>) -> Result {
    Ok(Returns::NONE)
}

fn today(call: &mut Call<'_>) -> Result {
    call.lua.push_bytes(Local::now().format("%Y-%m-%d").to_string());
    Ok(Returns::ONE)
}

fn localtime(call: &mut Call<'_>) -> Result {
    call.lua.push_bytes(Local::now().format("%Y-%m-%d %H:%M:%S").to_string());
    Ok(Returns::ONE)
}

fn utctime(call: &mut Call<'_>) -> Result {
    call.lua.push_bytes(Utc::now().format("%Y-%m-%d %H:%M:%S").to_string());
    Ok(Returns::ONE)
}

fn seconds(call: &Call<'_>) -> Result<i64> {
    match call.lua.type_of(1) {
        Type::Number => call.integer(1),
        _ => call.lua.to_number(1).map(|number| number as i64).ok_or_else(|| "number argument only".into()),
    }
}

fn cookie_time(call: &mut Call<'_>) -> Result {
    let mut out = Vec::new();
    http1::push_cookie_time(&mut out, seconds(call)?);
    call.lua.push_bytes(out);
    Ok(Returns::ONE)
}

fn http_time(call: &mut Call<'_>) -> Result {
    let seconds = seconds(call)?;
    if DateTime::from_timestamp(seconds, 0).is_none() {
        return Err("time out of range".into());
    }
    call.lua.push_bytes(http1::http_time(seconds));
    Ok(Returns::ONE)
}

fn parse_http_time(call: &mut Call<'_>) -> Result {
    if call.lua.type_of(1) != Type::String {
        return Err("string argument only".into());
    }
    match http1::parse_http_time(call.bytes(1)?) {
        Some(seconds) => call.lua.push_int(seconds),
        None => call.lua.push_nil(),
    }
    Ok(Returns::ONE)
}
