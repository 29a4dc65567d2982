//! About the program and its processes: `ngx.config`, `ngx.worker`, `ngx.get_phase`.

use super::{Function, push_path};
use crate::ffi::call::Result;
use crate::ffi::{Call, Returns, State};
use crate::function;
use crate::phase::Phases;
use crate::runtime;

/// The functions.
pub static FUNCTIONS: &[Function] = &[
    function!("ngx.get_phase", Phases::ANY, "Returns the name of the running phase.", get_phase),
    function!("ngx.worker.pid", Phases::ANY, "Returns the number of the process.", pid),
    function!("ngx.worker.pids", Phases::ANY, "Returns the numbers of the worker processes.", pids),
    function!("ngx.worker.id", Phases::ANY, "Returns the position of the worker, from 0.", id),
    function!("ngx.worker.count", Phases::ANY, "Returns the number of workers.", count),
    function!("ngx.worker.exiting", Phases::ANY, "Tells whether the worker is about to end.", exiting),
    function!("ngx.config.prefix", Phases::ANY, "Returns the directory relative names begin at.", prefix),
    function!("ngx.config.nginx_configure", Phases::ANY, "Returns how the program was built.", configure),
];

/// The release of lua-nginx-module whose API this is.
pub(crate) const NGX_LUA_VERSION: u32 = 10_030;
/// The release of nginx whose behaviour this is.
const NGINX_VERSION: u32 = 1_031_005;

pub(super) fn setup(lua: State<'_>) {
    push_path(lua, "ngx.config");
    lua.push_bytes("http");
    lua.raw_set_field(1, "subsystem");
    lua.push_bool(false);
    lua.raw_set_field(1, "debug");
    lua.push_int(NGINX_VERSION);
    lua.raw_set_field(1, "nginx_version");
    lua.push_int(NGX_LUA_VERSION);
    lua.raw_set_field(1, "ngx_lua_version");
    lua.push_bool(false);
    lua.raw_set_field(1, "is_console");
}

fn get_phase(call: &mut Call<'_>) -> Result {
    call.lua.push_bytes(call.task().phase().name());
    Ok(Returns::ONE)
}

fn pid(call: &mut Call<'_>) -> Result {
    call.lua.push_int(std::process::id());
    Ok(Returns::ONE)
}

fn pids(call: &mut Call<'_>) -> Result {
    let lua = call.lua;
    lua.push_table(4, 0);
    let parent = std::os::unix::process::parent_id();
    let path = format!("/proc/{parent}/task/{parent}/children");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let own = std::process::id();
    let mut all: Vec<u32> = text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
    if !all.contains(&own) || runtime::worker().is_some_and(|worker| worker.workers == 1) {
        all = vec![own];
    }
    for (n, pid) in all.iter().enumerate() {
        lua.push_int(*pid);
        lua.raw_set_index(-2, n as i32 + 1);
    }
    Ok(Returns::ONE)
}

fn id(call: &mut Call<'_>) -> Result {
    match runtime::worker() {
        Some(worker) => call.lua.push_int(worker.slot),
        None => call.lua.push_nil(),
    }
    Ok(Returns::ONE)
}

fn count(call: &mut Call<'_>) -> Result {
    call.lua.push_int(runtime::worker().map_or(1, |worker| worker.workers));
    Ok(Returns::ONE)
}

fn exiting(call: &mut Call<'_>) -> Result {
    call.lua.push_bool(runtime::worker().is_some_and(|worker| worker.is_draining()));
    Ok(Returns::ONE)
}

fn prefix(call: &mut Call<'_>) -> Result {
    let prefix = runtime::prefix();
    call.lua.push_bytes(prefix);
    Ok(Returns::ONE)
}

fn configure(call: &mut Call<'_>) -> Result {
    call.lua.push_bytes("");
    Ok(Returns::ONE)
}
