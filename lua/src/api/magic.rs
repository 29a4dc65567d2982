//! The keys of `ngx` that are not plain: `ngx.status`, `ngx.ctx`, `ngx.headers_sent`, `ngx.is_subrequest`.

use worker::log::Level;

use super::Function;
use crate::ffi::call::Result;
use crate::ffi::{Call, Ref, Returns, Type};
use crate::function;
use crate::phase::Phases;

/// The functions.
pub static FUNCTIONS: &[Function] = &[
    function!("ngx:__index", Phases::ANY, "Reads ngx.status, ngx.ctx and their like.", get),
    function!("ngx:__newindex", Phases::ANY, "Assigns ngx.status and ngx.ctx.", set),
];

/// `ngx.ctx` of a request.
pub(crate) struct Ctx(pub(crate) Ref);

fn get(call: &mut Call<'_>) -> Result {
    let lua = call.lua;
    match lua.to_bytes(2) {
        Some(b"ctx") => ctx(call),
        Some(b"status") => {
            let req = call.request()?;
            let status = if req.err_status != 0 {
                req.err_status
            } else if req.out.status != 0 {
                req.out.status
            } else {
                0
            };
            lua.push_int(status);
            Ok(Returns::ONE)
        }
        Some(b"headers_sent") => {
            let req = call.request()?;
            let sent = req.out.sent || req.out.begun;
            lua.push_bool(sent);
            Ok(Returns::ONE)
        }
        Some(b"is_subrequest") => {
            let sub = !call.request()?.is_main();
            lua.push_bool(sub);
            Ok(Returns::ONE)
        }
        _ => {
            lua.push_nil();
            Ok(Returns::ONE)
        }
    }
}

fn ctx(call: &mut Call<'_>) -> Result {
    let (lua, task) = (call.lua, call.task());
    if task.request_pointer().is_none() {
        let mut own = task.ctx().borrow_mut();
        match &*own {
            Some(table) => table.push(lua),
            None if task.phase() == Phases::TIMER => {
                lua.push_table(0, 4);
                lua.push_value(-1);
                *own = Some(task.vm().take(lua));
            }
            None => return Err("no request ctx found".into()),
        }
        return Ok(Returns::ONE);
    }
    let req = call.request()?;
    if let Some(table) = req.context.get::<Ctx>()
        && table.0.vm().number() == task.vm().number()
    {
        table.0.push(lua);
        return Ok(Returns::ONE);
    }
    lua.push_table(0, 4);
    lua.push_value(-1);
    req.context.set(Ctx(task.vm().take(lua)));
    Ok(Returns::ONE)
}

fn set(call: &mut Call<'_>) -> Result {
    let lua = call.lua;
    match lua.to_bytes(2) {
        Some(b"ctx") => {
            if lua.type_of(3) != Type::Table {
                let found = lua.type_of(3).name();
                return Err(format!("ctx should be a table while getting a {found}").into());
            }
            let task = call.task();
            lua.push_value(3);
            let table = task.vm().take(lua);
            if task.request_pointer().is_none() {
                *task.ctx().borrow_mut() = Some(table);
            } else {
                call.request()?.context.set(Ctx(table));
            }
            Ok(Returns::NONE)
        }
        Some(b"status") => set_status(call),
        Some(b"headers_sent" | b"is_subrequest") => {
            Err(format!("attempt to write to ngx.{} directly", text(lua.to_bytes(2))).into())
        }
        _ => {
            lua.raw_set(1);
            Ok(Returns::NONE)
        }
    }
}

fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}

fn set_status(call: &mut Call<'_>) -> Result {
    let Some(status) = call.lua.to_int(3) else {
        return Err("number expected".into());
    };
    let in_filter = call.task().phase().intersects(Phases::HEADER_FILTER);
    let req = call.request()?;
    if req.out.sent || (req.out.begun && !in_filter) {
        req.log(Level::Error, format_args!("attempt to set ngx.status after sending out response headers"));
        return Ok(Returns::NONE);
    }
    let Ok(status) = u16::try_from(status) else { return Err("invalid status".into()) };
    // an error page keeps what Lua code decides about it
    req.err_status = 0;
    req.out.status = if status == 0 { 0 } else { status };
    if status != 101 {
        req.out.status_text = None;
    }
    Ok(Returns::NONE)
}
