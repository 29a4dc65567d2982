//! `ngx.process` and `ngx.errlog`.

use worker::log::{self, Level};

use super::{Function, preload, push_path};
use crate::ffi::call::Result;
use crate::ffi::{Call, Error, Returns, State, Type};
use crate::function;
use crate::phase::Phases;
use crate::runtime;

/// The functions; `setup` files them in their modules.
pub static FUNCTIONS: &[Function] = &[
    function!("ngx.process.type", Phases::ANY, "Returns what kind of process this is.", kind),
    function!(
        "ngx.process.get_master_pid",
        Phases::ANY,
        "Returns the number of the master process.",
        master_pid
    ),
    function!("ngx.errlog.raw_log", Phases::ANY, "Writes a line to the error log as it is.", raw_log),
    function!("ngx.errlog.get_sys_filter_level", Phases::ANY, "Returns the level of the error log.", level),
];

/// Makes the functions modules.
pub(super) fn setup(lua: State<'_>) {
    for name in ["process", "errlog"] {
        push_path(lua, "ngx");
        lua.raw_get_field(1, name);
        lua.push_nil();
        lua.raw_set_field(1, name);
        lua.push_bytes("0.1.30");
        lua.raw_set_field(2, "version");
        preload(lua, &format!("ngx.{name}"));
        lua.set_top(0);
    }
}

fn kind(call: &mut Call<'_>) -> Result {
    let single = runtime::worker().is_none_or(|worker| worker.is_single);
    call.lua.push_bytes(if single { "single" } else { "worker" });
    Ok(Returns::ONE)
}

fn master_pid(call: &mut Call<'_>) -> Result {
    let single = runtime::worker().is_none_or(|worker| worker.is_single);
    call.lua.push_int(if single { std::process::id() } else { std::os::unix::process::parent_id() });
    Ok(Returns::ONE)
}

fn raw_log(call: &mut Call<'_>) -> Result {
    if call.lua.type_of(1) != Type::Number {
        return Err(call.type_error(1, "number"));
    }
    if call.lua.type_of(2) != Type::String {
        return Err(call.type_error(2, "string"));
    }
    let number = call.integer(1)?;
    if !(0..=8).contains(&number) {
        return Err(Error::Text("bad log level".into()));
    }
    let level = Level::ALL[(number.max(1) - 1) as usize].1;
    let text = String::from_utf8_lossy(call.bytes(2)?).into_owned();
    match call.request() {
        Ok(req) => req.log(level, format_args!("{text}")),
        Err(_) => log::process(level, format_args!("{text}")),
    }
    Ok(Returns::NONE)
}

fn level(call: &mut Call<'_>) -> Result {
    let enabled = |level: Level, call: &mut Call<'_>| match call.request() {
        Ok(req) => req.http().error_log.enabled(level),
        Err(_) => log::process_enabled(level),
    };
    let found = (0..Level::ALL.len()).rev().find(|n| enabled(Level::ALL[*n].1, call));
    call.lua.push_int(found.map_or(0, |n| n as i64 + 1));
    Ok(Returns::ONE)
}
