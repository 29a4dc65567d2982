//! The `ngx` API.
//!
//! A function is one item: [`Function`], made by [`function!`](crate::function) in a table of its topic's file. It has its
//! full name, the contexts in which it may be called, a sentence, and the Rust function. The tables are joined in [`TABLES`];
//! a test checks them. A topic that needs more than functions (constants, metatables, Lua text) has a `setup`.

pub mod abort;
pub mod arg;
pub mod args;
pub mod balancer;
pub mod body;
pub mod capture;
pub mod cjson;
pub mod control;
pub mod coroutine;
pub mod encode;
pub mod exit;
pub mod fields;
pub mod header;
pub mod info;
pub mod library;
pub mod log;
pub mod magic;
pub mod ndk;
pub mod output;
pub mod process;
pub mod re;
pub mod req;
pub mod semaphore;
pub mod shared;
pub mod sleep;
pub mod socket;
pub mod thread;
pub mod time;
pub mod timer;
pub mod var;
pub mod worker_thread;

use std::ffi::CStr;

use crate::ffi::{Raw, State};
use crate::phase::Phases;

/// One function of the API.
pub struct Function {
    /// The full name, as `ngx.req.get_headers`.
    pub name: &'static str,
    /// Where it may be called; elsewhere it fails with OpenResty's `API disabled in the context of …`.
    pub phases: Phases,
    /// What it does, in a sentence.
    pub doc: &'static str,
    /// What Lua calls.
    pub raw: Raw,
}

/// Makes a [`Function`] of `fn(&mut Call) -> Result`.
#[macro_export]
macro_rules! function {
    ($name:literal, $phases:expr, $doc:literal, $function:path) => {
        $crate::api::Function {
            name: $name,
            phases: $phases,
            doc: $doc,
            raw: {
                extern "C-unwind" fn raw(lua: $crate::ffi::State<'_>) -> std::ffi::c_int {
                    $crate::ffi::call::enter(lua, $phases, $function)
                }
                raw
            },
        }
    };
}

/// Every function, by topic.
pub static TABLES: &[&[Function]] = &[
    output::FUNCTIONS,
    exit::FUNCTIONS,
    log::FUNCTIONS,
    coroutine::FUNCTIONS,
    thread::FUNCTIONS,
    sleep::FUNCTIONS,
    var::FUNCTIONS,
    header::FUNCTIONS,
    magic::FUNCTIONS,
    arg::FUNCTIONS,
    args::FUNCTIONS,
    req::FUNCTIONS,
    body::FUNCTIONS,
    control::FUNCTIONS,
    encode::FUNCTIONS,
    time::FUNCTIONS,
    timer::FUNCTIONS,
    semaphore::FUNCTIONS,
    info::FUNCTIONS,
    capture::FUNCTIONS,
    socket::tcp_api::FUNCTIONS,
    socket::options::FUNCTIONS,
    socket::req::FUNCTIONS,
    socket::udp::FUNCTIONS,
    abort::FUNCTIONS,
    worker_thread::FUNCTIONS,
    process::FUNCTIONS,
    balancer::FUNCTIONS,
    re::FUNCTIONS,
];

/// What topics set up beside their functions, with the empty stack of a new VM.
static SETUPS: &[fn(State<'_>)] = &[
    exit::setup,
    log::setup,
    coroutine::finish,
    encode::setup,
    fields::setup,
    info::setup,
    semaphore::setup,
    socket::tcp_api::setup,
    socket::udp::setup,
    balancer::setup,
    process::setup,
    cjson::setup,
    ndk::setup,
];

/// Runs Lua text of our own, and leaves its `results` results on the stack.
///
/// # Panics
/// The text is wrong: it is part of the program.
pub(crate) fn run_text(lua: State<'_>, text: &[u8], name: &CStr, results: i32) {
    let ran = lua.load(text, name).and_then(|()| lua.protected_call(0, results));
    if ran.is_err() {
        let message = String::from_utf8_lossy(lua.to_bytes(-1).unwrap_or_default()).into_owned();
        panic!("{name:?} does not run: {message}");
    }
}

/// Extensions of LuaJIT and modules of lua-resty-core.
const PRELUDE: &[u8] = include_bytes!("prelude.lua");

/// Puts the API into the globals of a new VM.
pub fn install(lua: State<'_>) {
    coroutine::setup(lua);
    lua.set_top(0);
    for function in TABLES.iter().copied().flatten() {
        // `ngx.var:__index` is a metamethod of `ngx.var`
        let name = match function.name.split_once(':') {
            Some((table, name)) => {
                push_path(lua, table);
                push_metatable(lua);
                name
            }
            None => {
                let (parents, name) = function.name.rsplit_once('.').unwrap_or(("", function.name));
                push_path(lua, parents);
                name
            }
        };
        lua.push_function(function.raw);
        lua.raw_set_field(-2, name);
        lua.set_top(0);
    }
    for setup in SETUPS {
        setup(lua);
        lua.set_top(0);
    }
    run_text(lua, PRELUDE, c"=prelude", 0);
}

/// Pushes the table called `path` (`ngx.req`), which is made if it is not there.
pub fn push_path(lua: State<'_>, path: &str) {
    lua.push_value(State::GLOBALS);
    for part in path.split('.').filter(|part| !part.is_empty()) {
        lua.raw_get_field(-1, part);
        if lua.is_none_or_nil(-1) {
            lua.pop(1);
            lua.push_table(0, 16);
            lua.push_value(-1);
            lua.raw_set_field(-3, part);
        }
        lua.remove(-2);
    }
}

/// Pushes the metatable of the table on top, which is made if there is none.
fn push_metatable(lua: State<'_>) {
    if !lua.metatable(-1) {
        lua.push_table(0, 2);
        lua.push_value(-1);
        lua.set_metatable(-3);
    }
}

/// Makes the table on top what `require(name)` returns, and pops it.
pub(crate) fn preload(lua: State<'_>, name: &str) {
    lua.push_value(State::GLOBALS);
    lua.raw_get_field(-1, "package");
    lua.raw_get_field(-1, "loaded");
    lua.push_value(-4);
    lua.raw_set_field(-2, name);
    lua.pop(4);
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn functions_are_named_once_and_documented() {
        let mut names = HashSet::new();
        for function in TABLES.iter().copied().flatten() {
            assert!(names.insert(function.name), "{} is there twice", function.name);
            assert!(function.doc.ends_with('.'), "{} is not documented", function.name);
            assert!(function.phases.titles().next().is_some(), "{} may be called nowhere", function.name);
        }
    }
}
