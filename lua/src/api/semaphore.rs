//! `ngx.semaphore`: a count that threads of all requests of the worker wait for.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use net::{Either, Notify};

use super::Function;
use crate::ffi::call::Result;
use crate::ffi::{Call, Error, Returns, State, UserData};
use crate::function;
use crate::phase::Phases;
use crate::sched::{Answer, Command};

/// The functions; `setup` files them in the module `ngx.semaphore`.
pub static FUNCTIONS: &[Function] = &[
    function!("ngx.semaphore.new", Phases::ANY, "Makes a semaphore.", new),
    function!("ngx.semaphore.wait", Phases::PATIENT, "Waits for a resource of a semaphore.", wait),
    function!("ngx.semaphore.post", Phases::ANY, "Gives resources to a semaphore.", post),
    function!(
        "ngx.semaphore.count",
        Phases::ANY,
        "Returns the resources of a semaphore, less those who wait.",
        count
    ),
];

struct Semaphore(Rc<Inner>);

struct Inner {
    resources: Cell<i64>,
    waiting: Cell<i64>,
    posted: Notify,
}

impl UserData for Semaphore {
    const NAME: &'static str = "ngx.semaphore";
}

/// Makes the functions the methods of semaphores, and the module.
pub(super) fn setup(lua: State<'_>) {
    super::push_path(lua, "ngx");
    lua.raw_get_field(1, "semaphore");
    lua.push_nil();
    lua.raw_set_field(1, "semaphore");
    lua.push_metatable::<Semaphore>();
    lua.push_value(2);
    lua.raw_set_field(3, "__index");
    lua.pop(1);
    lua.push_bytes("0.1.30");
    lua.raw_set_field(2, "version");
    super::preload(lua, "ngx.semaphore");
}

fn this<'l>(call: &Call<'l>) -> Result<&'l Semaphore> {
    call.lua.userdata::<Semaphore>(1).ok_or_else(|| "not a semaphore".into())
}

fn new(call: &mut Call<'_>) -> Result {
    let resources = if call.lua.is_none_or_nil(1) { 0 } else { call.integer(1)? };
    if resources < 0 {
        return Err("no negative number".into());
    }
    let inner = Inner { resources: Cell::new(resources), waiting: Cell::new(0), posted: Notify::new() };
    call.lua.push_userdata(Semaphore(Rc::new(inner)));
    Ok(Returns::ONE)
}

/// Counts one who waits.
struct Waits(Rc<Inner>);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get() - 1);
    }
}

fn wait(call: &mut Call<'_>) -> Result {
    let inner = Rc::clone(&this(call)?.0);
    let seconds = call.lua.to_number(2).ok_or_else(|| Error::from("no valid timeout"))?;
    if seconds.is_nan() || seconds < 0.0 {
        return Err("no negative number".into());
    }
    // those who came before have a right to what is posted
    if inner.resources.get() > 0 && inner.waiting.get() == 0 {
        inner.resources.set(inner.resources.get() - 1);
        call.lua.push_bool(true);
        return Ok(Returns::ONE);
    }
    if seconds == 0.0 {
        return call.failure("timeout");
    }
    inner.waiting.set(inner.waiting.get() + 1);
    let waits = Waits(Rc::clone(&inner));
    let limit = Duration::from_millis((seconds.min(2_147_483.0) * 1000.0) as u64);
    call.yields(
        Command::Wait(Box::pin(async move {
            let _waits = waits;
            let taken = async {
                while inner.resources.get() <= 0 {
                    inner.posted.notified().await;
                }
                inner.resources.set(inner.resources.get() - 1);
            };
            match net::select2(taken, net::sleep(limit)).await {
                Either::Left(()) => Answer::True,
                Either::Right(()) => Answer::failure("timeout"),
            }
        })),
        0,
    )
}

fn post(call: &mut Call<'_>) -> Result {
    let inner = &this(call)?.0;
    let count = if call.lua.is_none_or_nil(2) { 1 } else { call.integer(2)? };
    if count < 1 {
        return Err("no positive number".into());
    }
    inner.resources.set(inner.resources.get().saturating_add(count));
    for _ in 0..count.min(inner.waiting.get()) {
        inner.posted.notify_one();
    }
    call.lua.push_bool(true);
    Ok(Returns::ONE)
}

fn count(call: &mut Call<'_>) -> Result {
    let inner = &this(call)?.0;
    call.lua.push_int(inner.resources.get() - inner.waiting.get());
    Ok(Returns::ONE)
}
