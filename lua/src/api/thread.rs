//! `ngx.thread.*`: light threads.

use smallvec::SmallVec;

use super::Function;
use crate::ffi::call::Result;
use crate::ffi::{Call, Coroutine, Error, Returns, Type};
use crate::function;
use crate::phase::Phases;
use crate::sched::{Command, Killed};

/// The functions.
pub static FUNCTIONS: &[Function] = &[
    function!("ngx.thread.spawn", Phases::PATIENT, "Starts a light thread.", spawn),
    function!("ngx.thread.wait", Phases::PATIENT, "Waits for the first of light threads to end.", wait),
    function!("ngx.thread.kill", Phases::PATIENT, "Ends a light thread.", kill),
];

fn spawn(call: &mut Call<'_>) -> Result {
    let lua = call.lua;
    call.expect(1, Type::Function)?;
    let task = call.task();
    if !task.may_spawn() {
        return Err("too many light threads".into());
    }
    if !lua.can_yield() {
        return Err("attempt to yield across C-call boundary".into());
    }
    let count = call.count();
    lua.new_thread();
    let Some(coroutine) = Coroutine::adopt(task.vm(), lua) else { return Err("no memory".into()) };
    if !coroutine.lua.check_stack(count) {
        return Err("too many arguments".into());
    }
    lua.move_to(coroutine.lua, count);
    call.yields(Command::Spawn(coroutine), 0)
}

fn wait(call: &mut Call<'_>) -> Result {
    let (lua, task) = (call.lua, call.task());
    let count = call.count();
    if count == 0 {
        return Err("at least one coroutine should be specified".into());
    }
    let mut children = SmallVec::<[usize; 2]>::new();
    for n in 1..=count {
        let Some(co) = lua.to_thread(n) else {
            return Err(Error::Argument(n, "lua thread expected".into()));
        };
        let Some((index, mine, ended)) = task.child(co) else {
            return call.failure("already waited or killed");
        };
        if !mine {
            return Err("only the parent coroutine can wait on the thread".into());
        }
        if ended.is_some() {
            let results = task.reap(index, lua);
            return Ok(Returns::values(results));
        }
        children.push(index);
    }
    call.yields(Command::Children(children), 0)
}

fn kill(call: &mut Call<'_>) -> Result {
    let Some(co) = call.lua.to_thread(1) else {
        return Err(Error::Argument(1, "lua thread expected".into()));
    };
    match call.task().kill(co) {
        Killed::Yes => {
            call.lua.push_int(1);
            Ok(Returns::ONE)
        }
        Killed::NotParent => call.failure("killer not parent"),
        Killed::Terminated => call.failure("already terminated"),
        Killed::Gone => call.failure("already waited or killed"),
        Killed::Pending => call.failure("pending subrequests"),
    }
}
