//! `ngx.var`: nginx's variables by name, and the groups of the last pattern that matched by number.

use std::cell::RefCell;

use worker::variables::Assigned;

use super::Function;
use crate::ffi::call::Result;
use crate::ffi::{Call, Error, Returns, Type};
use crate::function;
use crate::phase::Phases;

/// The functions.
pub static FUNCTIONS: &[Function] = &[
    function!("ngx.var:__index", Phases::ANY, "Reads a variable.", get),
    function!("ngx.var:__newindex", Phases::ANY, "Assigns a variable.", set),
];

thread_local! {
    static VALUE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Runs `f` with an empty buffer that keeps its memory.
fn with_buffer<R>(f: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let mut buffer = VALUE.take();
    buffer.clear();
    let result = f(&mut buffer);
    VALUE.set(buffer);
    result
}

/// The name in lower case, which is how variables are kept.
fn with_lower<R>(name: &[u8], f: impl FnOnce(&[u8]) -> R) -> R {
    if name.iter().any(u8::is_ascii_uppercase) { f(&name.to_ascii_lowercase()) } else { f(name) }
}

fn get(call: &mut Call<'_>) -> Result {
    let lua = call.lua;
    if lua.type_of(2) == Type::Number {
        let number = lua.to_int(2).unwrap_or(-1);
        let req = call.request()?;
        let group = usize::try_from(number).ok().and_then(|number| req.captures.get(number));
        match group {
            Some(group) => lua.push_bytes(group),
            None => lua.push_nil(),
        }
        return Ok(Returns::ONE);
    }
    let Some(name) = lua.to_bytes(2) else { return Err("bad variable name".into()) };
    let req = call.request()?;
    with_buffer(|value| match with_lower(name, |name| req.append_variable_by_name(name, value)) {
        Some(true) => lua.push_bytes(value),
        _ => lua.push_nil(),
    });
    Ok(Returns::ONE)
}

fn set(call: &mut Call<'_>) -> Result {
    let lua = call.lua;
    if lua.type_of(2) != Type::String {
        return Err("bad variable name".into());
    }
    let name = lua.to_bytes(2).unwrap_or_default();
    let value: Option<&[u8]> = match lua.type_of(3) {
        Type::Nil | Type::None => None,
        Type::String | Type::Number => lua.to_bytes(3),
        Type::Boolean => Some(if lua.to_bool(3) { b"true" } else { b"false" }),
        other => {
            return Err(Error::Text(format!("bad value type for variable: {}", other.name()).into()));
        }
    };
    let req = call.request()?;
    let assigned = with_lower(name, |name| req.assign_variable_by_name(name, value));
    let shown = String::from_utf8_lossy(name);
    match assigned {
        Assigned::Yes => Ok(Returns::NONE),
        Assigned::ReadOnly => Err(format!("variable \"{shown}\" not changeable").into()),
        Assigned::Unknown => Err(format!(
            "variable \"{shown}\" not found for writing; maybe it is a built-in variable that is not changeable or \
             you forgot to use \"set ${shown} '';\" in the config file to define it first"
        )
        .into()),
    }
}
