//! Query strings and tables: `ngx.encode_args`, `ngx.decode_args`, and what reads arguments.

use super::Function;
use super::fields;
use super::output::append_number;
use crate::escape::{Escape, escape};
use crate::ffi::call::Result;
use crate::ffi::{Call, Returns, State, Type};
use crate::function;
use crate::phase::Phases;

/// The functions.
pub static FUNCTIONS: &[Function] = &[
    function!("ngx.encode_args", Phases::ANY, "Makes a query string of a table.", encode),
    function!("ngx.decode_args", Phases::ANY, "Makes a table of a query string.", decode),
];

/// Arguments read where the caller gives no limit.
pub(crate) const ARGS_MAX: i64 = 100;

/// Undoes percent-escaping; `+` is a blank.
pub(crate) fn unescape(text: &[u8]) -> Vec<u8> {
    let hex = |byte: u8| (byte as char).to_digit(16);
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let pair = (text.get(at + 1).copied().and_then(hex), text.get(at + 2).copied().and_then(hex));
        match (text[at], pair) {
            (b'+', _) => out.push(b' '),
            (b'%', (Some(high), Some(low))) => {
                out.push((high * 16 + low) as u8);
                at += 2;
            }
            (byte, _) => out.push(byte),
        }
        at += 1;
    }
    out
}

/// Pushes a table of the arguments in `text` (into the table at `reuse`, if given); whether there were more than `max`
/// (0: no limit).
pub(crate) fn push_args(lua: State<'_>, text: &[u8], max: i64, reuse: Option<i32>) -> bool {
    match reuse {
        Some(index) => {
            clear(lua, index);
            lua.push_value(index);
        }
        None => lua.push_table(0, 4),
    }
    let max = match max {
        0 => usize::MAX,
        max if max < 0 => ARGS_MAX as usize,
        max => max as usize,
    };
    let mut count = 0;
    for part in text.split(|byte| *byte == b'&') {
        let equals = memchr::memchr(b'=', part);
        let name = &part[..equals.unwrap_or(part.len())];
        if name.is_empty() {
            continue;
        }
        if count == max {
            return true;
        }
        count += 1;
        match equals {
            Some(at) => lua.push_bytes(unescape(&part[at + 1..])),
            None => lua.push_bool(true),
        }
        fields::add_top(lua, &unescape(name));
    }
    false
}

/// Removes everything from the table at `index`.
pub(crate) fn clear(lua: State<'_>, index: i32) {
    let table = lua.absolute(index);
    loop {
        lua.push_nil();
        if !lua.next(table) {
            return;
        }
        lua.pop(1);
        lua.push_nil();
        lua.raw_set(table);
    }
}

fn decode(call: &mut Call<'_>) -> Result {
    if !(1..=2).contains(&call.count()) {
        return Err(format!("expecting 1 or 2 arguments but seen {}", call.count()).into());
    }
    let text = call.bytes(1)?;
    let max = if call.lua.is_none_or_nil(2) { ARGS_MAX } else { call.integer(2)? };
    if push_args(call.lua, text, max, None) {
        call.lua.push_bytes("truncated");
        return Ok(Returns::values(2));
    }
    Ok(Returns::ONE)
}

fn encode(call: &mut Call<'_>) -> Result {
    if call.count() != 1 {
        return Err(format!("expecting 1 argument but seen {}", call.count()).into());
    }
    call.expect(1, Type::Table)?;
    let text = encoded(call.lua, 1)?;
    call.lua.push_bytes(text);
    Ok(Returns::ONE)
}

/// The table at `index` as a query string.
pub(crate) fn encoded(lua: State<'_>, index: i32) -> Result<Vec<u8>> {
    let table = lua.absolute(index);
    let mut out = Vec::new();
    lua.push_nil();
    while lua.next(table) {
        if lua.type_of(-2) != Type::String {
            return Err("attempt to use a non-string key in the \"args\" option table".into());
        }
        let name = lua.to_bytes(-2).unwrap_or_default();
        match lua.type_of(-1) {
            Type::Table => {
                let values = lua.absolute(-1);
                for n in 1..=lua.len(values) {
                    lua.raw_get_index(values, n as i32);
                    append(lua, name, &mut out)?;
                    lua.pop(1);
                }
            }
            _ => append(lua, name, &mut out)?,
        }
        lua.pop(1);
    }
    Ok(out)
}

/// Appends `name` with the value on top.
fn append(lua: State<'_>, name: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let mut text = Vec::new();
    let value = match lua.type_of(-1) {
        Type::Boolean if !lua.to_bool(-1) => return Ok(()),
        Type::Boolean => None,
        Type::String => lua.to_bytes(-1),
        Type::Number => {
            append_number(lua.to_number(-1).unwrap_or_default(), &mut text);
            Some(&text[..])
        }
        other => {
            return Err(format!("attempt to use {} as query arg value", other.name()).into());
        }
    };
    if !out.is_empty() {
        out.push(b'&');
    }
    escape(out, name, Escape::Component);
    if let Some(value) = value {
        out.push(b'=');
        escape(out, value, Escape::Component);
    }
    Ok(())
}
