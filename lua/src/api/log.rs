//! `ngx.log` and `print`.

use std::fmt::Write as _;

use worker::log::Level;

use super::output::append;
use super::{Function, push_path};
use crate::ffi::call::Result;
use crate::ffi::{Call, Error, Returns, State, Type};
use crate::function;
use crate::phase::Phases;

/// The functions.
pub static FUNCTIONS: &[Function] = &[
    function!("ngx.log", Phases::ANY, "Writes values to the error log.", log),
    function!("print", Phases::ANY, "Writes values to the error log, at notice.", print),
];

/// `ngx.ERR` and its kin.
const LEVELS: &[(&str, i32)] = &[
    ("STDERR", 0),
    ("EMERG", 1),
    ("ALERT", 2),
    ("CRIT", 3),
    ("ERR", 4),
    ("WARN", 5),
    ("NOTICE", 6),
    ("INFO", 7),
    ("DEBUG", 8),
];

/// The constants.
pub(super) fn setup(lua: State<'_>) {
    push_path(lua, "ngx");
    for (name, level) in LEVELS {
        lua.push_int(*level);
        lua.raw_set_field(-2, name);
    }
}

fn log(call: &mut Call<'_>) -> Result {
    let level = call.integer(1)?;
    if !(0..=8).contains(&level) {
        return Err(Error::Argument(1, format!("bad log level: {level}").into()));
    }
    call.lua.remove(1);
    write(call, level)
}

fn print(call: &mut Call<'_>) -> Result {
    write(call, 6)
}

fn write(call: &mut Call<'_>, number: i64) -> Result {
    let lua = call.lua;
    // STDERR has no level of its own in the log
    let level = Level::ALL[(number.max(1) - 1) as usize].1;
    if !enabled(call, level) {
        return Ok(Returns::NONE);
    }
    let mut text = Vec::new();
    for n in 1..=lua.top() {
        value(lua, n, &mut text)?;
    }
    let mut line = String::from("[lua] ");
    if let Some(frame) = lua.frame(1) {
        let source = frame.source.rsplit(['/', '\\']).next().unwrap_or_default();
        let at = if frame.line > 0 { frame.line } else { frame.defined };
        let _ = write!(line, "{source}:{at}: ");
        if let (Some(name), false, true) =
            (&frame.name, frame.name_kind.is_empty(), frame.what.starts_with('L'))
        {
            let _ = write!(line, "{name}(): ");
        }
    }
    line.push_str(&String::from_utf8_lossy(&text));
    say(call, level, &line);
    Ok(Returns::NONE)
}

fn enabled(call: &mut Call<'_>, level: Level) -> bool {
    match call.request() {
        Ok(req) => req.http().error_log.enabled(level),
        Err(_) => true,
    }
}

pub(super) fn say(call: &mut Call<'_>, level: Level, line: &str) {
    if let Ok(req) = call.request() {
        return req.log(level, format_args!("{line}"));
    }
    match crate::ffi::current::with_current(|task| task.map(|task| task.log(level, format_args!("{line}")))) {
        Some(()) => {}
        None => worker::log::process(level, format_args!("{line}")),
    }
}

/// Appends value `n` as it is logged: tables by their `__tostring`.
fn value(lua: State<'_>, n: i32, out: &mut Vec<u8>) -> Result<()> {
    match lua.type_of(n) {
        Type::Table => {
            if lua.metatable(n) {
                lua.raw_get_field(-1, "__tostring");
                if lua.type_of(-1) == Type::Function {
                    lua.push_value(n);
                    lua.protected_call(1, 1).map_err(|_| Error::Value)?;
                    out.extend_from_slice(lua.to_bytes(-1).unwrap_or_default());
                    lua.pop(2);
                    return Ok(());
                }
            }
            Err(Error::Argument(n, "expected table to have __tostring metamethod".into()))
        }
        Type::LightUserdata => {
            if lua.to_light(n) == Some(0) {
                out.extend_from_slice(b"null");
            }
            Ok(())
        }
        Type::Number | Type::String | Type::Nil | Type::Boolean => {
            append(lua, n, out);
            Ok(())
        }
        other => Err(Error::Argument(
            n,
            format!("string, number, boolean, or nil expected, got {}", other.name()).into(),
        )),
    }
}
