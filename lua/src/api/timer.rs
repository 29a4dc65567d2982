//! `ngx.timer.*`: code that runs later, without a request.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use worker::log::Level;

use super::Function;
use crate::ffi::call::Result;
use crate::ffi::{Call, Coroutine, Returns, Type, Vm};
use crate::function;
use crate::phase::Phases;
use crate::runtime;
use crate::sched::{Progress, Task, drive_alone};

/// The functions.
pub static FUNCTIONS: &[Function] = &[
    function!(
        "ngx.timer.at",
        Phases::ANY.without(Phases::INIT),
        "Runs a function after so many seconds.",
        at
    ),
    function!(
        "ngx.timer.every",
        Phases::ANY.without(Phases::INIT),
        "Runs a function every so many seconds.",
        every
    ),
    function!(
        "ngx.timer.running_count",
        Phases::ANY,
        "Returns the number of timers whose functions run.",
        running_count
    ),
    function!(
        "ngx.timer.pending_count",
        Phases::ANY,
        "Returns the number of timers that wait.",
        pending_count
    ),
];

thread_local! {
    static PENDING: Cell<u64> = const { Cell::new(0) };
    static RUNNING: Cell<u64> = const { Cell::new(0) };
}

/// Counts while it lives.
struct Counted(&'static std::thread::LocalKey<Cell<u64>>);

impl Counted {
    fn new(counter: &'static std::thread::LocalKey<Cell<u64>>) -> Self {
        counter.set(counter.get() + 1);
        Self(counter)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

fn at(call: &mut Call<'_>) -> Result {
    schedule(call, false)
}

fn every(call: &mut Call<'_>) -> Result {
    schedule(call, true)
}

fn schedule(call: &mut Call<'_>, repeats: bool) -> Result {
    let lua = call.lua;
    let count = call.count();
    if count < 2 {
        return Err(format!("expecting at least 2 arguments but got {count}").into());
    }
    let seconds = call.number(1)?;
    if repeats && seconds <= 0.0 {
        return Err("delay cannot be zero".into());
    }
    if seconds.is_nan() || seconds < 0.0 {
        return call.failure("delay must not be negative");
    }
    if lua.type_of(2) != Type::Function || lua.is_native(2) {
        return Err(crate::ffi::Error::Argument(2, "Lua function expected".into()));
    }
    let worker = runtime::worker().ok_or("no worker")?;
    // what runs when the process ends is a last chance and no new timer
    if worker.is_draining() && seconds > 0.0 {
        return call.failure("process exiting");
    }
    let pending_max = runtime::http_settings(&worker).pending_timers_max;
    if PENDING.get() >= pending_max {
        return call.failure("too many pending timers");
    }
    let vm = Rc::clone(call.task().vm());
    // function and arguments wait on the stack of a thread of their own
    lua.new_thread();
    let kept = Coroutine::adopt(&vm, lua).ok_or("no memory")?;
    if !kept.lua.check_stack(count) {
        return Err("too many arguments".into());
    }
    let values = count - 1;
    lua.move_to(kept.lua, values);
    let delay = Duration::from_millis((seconds.min(2_147_483.0) * 1000.0) as u64);
    let pending = Counted::new(&PENDING);
    net::spawn(wait(vm, kept, values, delay, repeats, pending));
    lua.push_int(1);
    Ok(Returns::ONE)
}

/// Waits, then runs the function; again and again if it repeats.
async fn wait(vm: Rc<Vm>, kept: Coroutine, values: i32, delay: Duration, repeats: bool, pending: Counted) {
    let Some(worker) = runtime::worker() else { return };
    let mut pending = Some(pending);
    loop {
        let premature = worker.is_draining() || expire(&worker, delay).await;
        pending.take();
        let running_max = runtime::http_settings(&worker).running_timers_max;
        if RUNNING.get() >= running_max {
            worker::log::process(
                Level::Alert,
                format_args!("{running_max} lua_max_running_timers are not enough"),
            );
        } else {
            let arguments = copy(&vm, &kept, values, premature);
            if repeats {
                net::spawn(run(arguments, values));
            } else {
                run(arguments, values).await;
            }
        }
        if !repeats || premature {
            return;
        }
        pending = Some(Counted::new(&PENDING));
    }
}

/// Waits for `delay`; `true`: the worker is told to end before that.
async fn expire(worker: &worker::worker::Worker, delay: Duration) -> bool {
    if delay.is_zero() {
        net::yield_turn().await;
        return false;
    }
    let told = async {
        while !worker.is_draining() {
            worker.changed.notified().await;
        }
    };
    matches!(net::select2(net::sleep(delay), told).await, net::Either::Right(()))
}

/// A coroutine with the function, `premature` and the arguments on its stack.
fn copy(vm: &Rc<Vm>, kept: &Coroutine, values: i32, premature: bool) -> Coroutine {
    let coroutine = vm.coroutine();
    let (from, to) = (kept.lua, coroutine.lua);
    for n in 1..=values {
        from.push_value(n);
        from.move_to(to, 1);
        if n == 1 {
            to.push_bool(premature);
        }
    }
    coroutine
}

async fn run(coroutine: Coroutine, values: i32) {
    let running = Counted::new(&RUNNING);
    let task = Task::new(Phases::TIMER, coroutine, values);
    if let Progress::Waits = task.start(None) {
        let (_, task) = drive_alone(task).await;
        drop(task);
    }
    drop(running);
}

fn running_count(call: &mut Call<'_>) -> Result {
    call.lua.push_int(RUNNING.get() as i64);
    Ok(Returns::ONE)
}

fn pending_count(call: &mut Call<'_>) -> Result {
    call.lua.push_int(PENDING.get() as i64);
    Ok(Returns::ONE)
}
