//! `ndk.set_var.DIRECTIVE`: the functions of the set-misc module, called from Lua.

use worker::modules::set_misc;

use super::{Function, push_path};
use crate::ffi::call::Result;
use crate::ffi::{Call, Error, Returns, State};
use crate::function;
use crate::phase::Phases;

static INDEX: Function = function!("ndk.set_var.__index", Phases::ANY, "The function of a directive.", index);
static NEW_INDEX: Function = function!("ndk.set_var.__newindex", Phases::ANY, "Refuses to be set.", refuse);
static CALL: Function = function!("ndk.set_var.DIRECTIVE", Phases::REQUEST, "Calls a directive.", directive);

/// Makes `ndk`.
pub(super) fn setup(lua: State<'_>) {
    push_path(lua, "ndk.set_var");
    lua.push_table(0, 2);
    for (name, function) in [("__index", &INDEX), ("__newindex", &NEW_INDEX)] {
        lua.push_function(function.raw);
        lua.raw_set_field(-2, name);
    }
    lua.set_metatable(-2);
    // `require "ndk"` gives the global
    push_path(lua, "package.loaded");
    push_path(lua, "ndk");
    lua.raw_set_field(-2, "ndk");
}

fn index(call: &mut Call<'_>) -> Result {
    let name = String::from_utf8_lossy(call.bytes(2)?).into_owned();
    // OpenResty calls only functions of one argument this way; more are as good
    if set_misc::find(&name).is_none() {
        let text = format!("ndk.set_var: directive \"{name}\" not found or does not use ndk_set_var_value");
        return Err(text.into());
    }
    call.lua.push_value(2);
    call.lua.push_closure(CALL.raw, 1);
    Ok(Returns::ONE)
}

fn refuse(_: &mut Call<'_>) -> Result {
    Err("not allowed".into())
}

fn directive(call: &mut Call<'_>) -> Result {
    let lua = call.lua;
    let name = String::from_utf8_lossy(lua.to_bytes(State::upvalue(1)).unwrap_or_default()).into_owned();
    let Some(function) = set_misc::find(&name) else { return Err(Error::Text("no such directive".into())) };
    let mut args = Vec::with_capacity(function.args);
    for n in 1..=function.args {
        let mut arg = Vec::new();
        super::output::append(lua, n as i32, &mut arg);
        args.push(arg);
    }
    match function.call(call.request()?, &args) {
        Ok(value) => {
            lua.push_bytes(value);
            Ok(Returns::ONE)
        }
        Err(message) => {
            super::log::say(call, worker::log::Level::Error, &message);
            Err(format!("calling directive {name} failed with code -1").into())
        }
    }
}
