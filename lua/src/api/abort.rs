//! `ngx.on_abort`: code that runs when the client closes its connection (`lua_check_client_abort`).

use super::Function;
use crate::ffi::call::Result;
use crate::ffi::{Call, Coroutine, Returns, Type};
use crate::function;
use crate::phase::Phases;
use crate::response;

/// The functions.
pub static FUNCTIONS: &[Function] =
    &[function!("ngx.on_abort", Phases::RESPONSE, "Runs a function when the client goes away.", on_abort)];

fn on_abort(call: &mut Call<'_>) -> Result {
    let lua = call.lua;
    if call.count() != 1 {
        return Err(format!("expecting 1 argument but got {}", call.count()).into());
    }
    call.expect(1, Type::Function)?;
    let req = call.request()?;
    if !response::settings(req).check_client_abort {
        return call.failure("lua_check_client_abort is off");
    }
    if call.task().has_abort() {
        return call.failure("duplicate call");
    }
    lua.new_thread();
    let Some(coroutine) = Coroutine::adopt(call.task().vm(), lua) else { return Err("no memory".into()) };
    lua.push_value(1);
    lua.move_to(coroutine.lua, 1);
    call.task().set_abort(coroutine);
    lua.push_int(1);
    Ok(Returns::ONE)
}
