//! `coroutine.*`, aware of what waits: resuming and yielding are the scheduler's, so code inside a coroutine may wait for
//! I/O wherever it likes. Where a C function stands between (`table.sort`, `require`), LuaJIT's own resume is used, inside
//! which nothing may wait.

use super::{Function, push_path};
use crate::ffi::call::Result;
use crate::ffi::{Call, Error, Resumable, Resumed, Returns, State, Type};
use crate::function;
use crate::phase::Phases;
use crate::sched::Command;

/// The functions.
pub static FUNCTIONS: &[Function] = &[
    function!("coroutine.create", Phases::ANY, "Makes a coroutine.", create),
    function!("coroutine.resume", Phases::ANY, "Starts or continues a coroutine.", resume),
    function!("coroutine.yield", Phases::ANY, "Gives control back to whoever resumed the coroutine.", yield_),
    function!("coroutine.status", Phases::ANY, "Tells whether a coroutine runs, waits or is dead.", status),
    function!("coroutine.running", Phases::ANY, "Returns the running coroutine.", running),
];

/// `coroutine.wrap` raises what its coroutine raised, so it is Lua.
const WRAP: &[u8] = br#"
local create, resume, error, type = coroutine.create, coroutine.resume, error, type
local function unwrap(ok, ...)
    if ok then
        return ...
    end
    error((...), 0)
end
return function(f)
    if type(f) ~= "function" then
        error("bad argument #1 to 'wrap' (function expected, got " .. type(f) .. ")", 2)
    end
    local co = create(f)
    return function(...)
        return unwrap(resume(co, ...))
    end
end
"#;

/// Keeps LuaJIT's own functions under OpenResty's names, and sets `wrap`.
pub(super) fn setup(lua: State<'_>) {
    push_path(lua, "coroutine");
    for name in ["create", "resume", "yield", "status", "wrap", "running"] {
        lua.raw_get_field(-1, name);
        lua.push_value(-1);
        lua.raw_set_field(-3, format!("_{name}"));
        lua.raw_set_field(-2, format!("__{name}"));
    }
}

/// Replaces `wrap`, once the functions it builds on are in place.
pub(super) fn finish(lua: State<'_>) {
    push_path(lua, "coroutine");
    super::run_text(lua, WRAP, c"=coroutine.wrap", 1);
    lua.raw_set_field(1, "wrap");
}

fn create(call: &mut Call<'_>) -> Result {
    call.expect(1, Type::Function)?;
    let co = call.lua.new_thread();
    call.lua.push_value(1);
    call.lua.move_to(co, 1);
    Ok(Returns::ONE)
}

fn thread<'l>(call: &Call<'l>, n: i32) -> Result<State<'l>> {
    call.lua.to_thread(n).ok_or_else(|| Error::Argument(n, "coroutine expected".into()))
}

fn resume(call: &mut Call<'_>) -> Result {
    let co = thread(call, 1)?;
    let status = state(call, co);
    if status != "suspended" {
        call.lua.push_bool(false);
        let text = if status == "dead" {
            "cannot resume dead coroutine".to_owned()
        } else {
            format!("cannot resume {status} coroutine")
        };
        call.lua.push_bytes(text);
        return Ok(Returns::values(2));
    }
    if !call.task().may_resume() {
        return Err("too many coroutines resume each other".into());
    }
    if !co.check_stack(call.count()) {
        return Err("too many arguments to resume".into());
    }
    if call.lua.can_yield() {
        return call.yields(Command::Resume(co.unbound()), call.count());
    }
    resume_here(call, co)
}

/// Runs the coroutine inside this very call.
fn resume_here(call: &mut Call<'_>, co: State<'_>) -> Result {
    let lua = call.lua;
    let count = call.count() - 1;
    lua.move_to(co, count);
    match co.resume(count) {
        Resumed::Ended => {}
        Resumed::Yielded if call.task().took_plain_yield() => {}
        Resumed::Yielded => {
            // it asked the scheduler for something, which cannot be reached from here
            lua.push_bool(false);
            lua.push_bytes("attempt to yield across C-call boundary");
            return Ok(Returns::values(2));
        }
        Resumed::Failed | Resumed::NoMemory => {
            lua.push_bool(false);
            co.move_to(lua, 1);
            return Ok(Returns::values(2));
        }
    }
    let results = co.top();
    lua.push_bool(true);
    co.move_to(lua, results);
    Ok(Returns::values(results + 1))
}

fn yield_(call: &mut Call<'_>) -> Result {
    call.yields(Command::Yield, call.count())
}

fn state(call: &Call<'_>, co: State<'_>) -> &'static str {
    // a light thread that waits counts as running
    if co.as_ptr() == call.lua.as_ptr() || call.task().is_last(co) {
        return "running";
    }
    match co.status() {
        _ if call.task().is_active(co) => "normal",
        Resumable::New | Resumable::Yielded => "suspended",
        Resumable::Running => "normal",
        Resumable::Dead => "dead",
    }
}

fn status(call: &mut Call<'_>) -> Result {
    let co = thread(call, 1)?;
    let text = match call.task().child(co) {
        Some((_, _, Some(_))) => "zombie",
        _ => state(call, co),
    };
    call.lua.push_bytes(text);
    Ok(Returns::ONE)
}

fn running(call: &mut Call<'_>) -> Result {
    call.lua.push_thread();
    Ok(Returns::ONE)
}
