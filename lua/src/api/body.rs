//! The request body: reading it, what was read, and replacing it.

use bytes::{Bytes, BytesMut};
use http1::Known;
use worker::body::Progress;
use worker::fault::Kind;
use worker::request::Request;

use super::Function;
use super::args::{ARGS_MAX, push_args};
use crate::ffi::call::Result;
use crate::ffi::{Call, Returns};
use crate::function;
use crate::phase::Phases;
use crate::sched::{Answer, Command, Exit};

/// Where the body can be read.
const READ: Phases = Phases::RESPONSE;

/// The functions.
pub static FUNCTIONS: &[Function] = &[
    function!("ngx.req.read_body", READ, "Reads the request body.", read_body),
    function!("ngx.req.discard_body", READ, "Throws the request body away.", discard_body),
    function!(
        "ngx.req.get_body_data",
        Phases::REQUEST,
        "Returns the request body that is in memory.",
        get_data
    ),
    function!(
        "ngx.req.get_body_file",
        Phases::REQUEST,
        "Returns the name of the file the request body is in.",
        get_file
    ),
    function!(
        "ngx.req.get_post_args",
        Phases::REQUEST,
        "Returns the arguments of a posted form.",
        get_post_args
    ),
    function!("ngx.req.set_body_data", READ, "Replaces the request body.", set_data),
    function!("ngx.req.set_body_file", READ, "Replaces the request body by a file.", set_file),
    function!("ngx.req.init_body", READ, "Begins a new request body.", init_body),
    function!("ngx.req.append_body", READ, "Adds to the new request body.", append_body),
    function!("ngx.req.finish_body", READ, "Ends the new request body.", finish_body),
];

/// A body that is being made.
struct Making(BytesMut);

fn read_body(call: &mut Call<'_>) -> Result {
    if call.count() != 0 {
        return Err(format!("expecting 0 arguments but seen {}", call.count()).into());
    }
    let req = call.request()?;
    if matches!(req.body.progress, Progress::Kept | Progress::Done) || req.body.discarded {
        return Ok(Returns::NONE);
    }
    if req.body.is_absent() {
        req.body.progress = Progress::Kept;
        return Ok(Returns::NONE);
    }
    call.yields(
        Command::Borrow(Box::new(|req| {
            Box::pin(async move {
                match req.read_body().await {
                    Ok(()) => Answer::Nothing,
                    Err(fault) => {
                        req.log(worker::log::Level::Info, format_args!("{fault}"));
                        let status = if fault.kind == Kind::Closed { 499 } else { fault.status };
                        Answer::Exit(Exit::Status(status.into()))
                    }
                }
            })
        })),
        0,
    )
}

fn discard_body(call: &mut Call<'_>) -> Result {
    if call.count() != 0 {
        return Err(format!("expecting 0 arguments but seen {}", call.count()).into());
    }
    call.request()?;
    if !call.lua.can_yield() {
        return Ok(Returns::NONE);
    }
    call.yields(
        Command::Borrow(Box::new(|req| {
            Box::pin(async move {
                if req.discard_body().await.is_err() {
                    req.keepalive = false;
                }
                Answer::Nothing
            })
        })),
        0,
    )
}

fn get_data(call: &mut Call<'_>) -> Result {
    let lua = call.lua;
    let max = if lua.is_none_or_nil(1) { 0 } else { call.integer(1)?.max(0) as usize };
    match call.request()?.body.in_memory().filter(|body| !body.is_empty()) {
        Some(body) if max > 0 && body.len() > max => lua.push_bytes(&body[..max]),
        Some(body) => lua.push_bytes(body),
        None => lua.push_nil(),
    }
    Ok(Returns::ONE)
}

fn get_file(call: &mut Call<'_>) -> Result {
    use std::os::unix::ffi::OsStrExt;
    let lua = call.lua;
    match &call.request()?.body.file {
        Some(file) => lua.push_bytes(file.path.as_os_str().as_bytes()),
        None => lua.push_nil(),
    }
    Ok(Returns::ONE)
}

fn get_post_args(call: &mut Call<'_>) -> Result {
    let lua = call.lua;
    let max = if lua.is_none_or_nil(1) { ARGS_MAX } else { call.integer(1)? };
    let req = call.request()?;
    if req.body.progress != Progress::Kept && !req.body.discarded {
        return Err("no request body found; maybe you should turn on lua_need_request_body?".into());
    }
    if req.body.file.is_some() {
        return call.failure("request body in temp file not supported");
    }
    let body = req.body.in_memory().unwrap_or_default();
    if push_args(lua, &body, max, None) {
        lua.push_bytes("truncated");
        return Ok(Returns::values(2));
    }
    Ok(Returns::ONE)
}

/// Whether the client's own body is out of the way.
fn is_read(req: &Request) -> bool {
    req.body.progress == Progress::Kept || req.body.is_absent()
}

/// Puts `body` in the place of the client's.
fn replace(req: &mut Request, body: Bytes) {
    let mut length = Vec::new();
    http1::push_decimal(&mut length, body.len() as u64);
    req.body.replace(body);
    req.headers.remove_known(Known::TransferEncoding);
    req.headers.set_known(Known::ContentLength, &length);
}

fn set_data(call: &mut Call<'_>) -> Result {
    if call.count() != 1 {
        return Err(format!("expecting 1 arguments but seen {}", call.count()).into());
    }
    let body = Bytes::copy_from_slice(call.bytes(1)?);
    let req = call.request()?;
    if req.body.discarded {
        return Err("request body already discarded asynchronously".into());
    }
    if !is_read(req) {
        return Err("request body not read yet".into());
    }
    replace(req, body);
    Ok(Returns::NONE)
}

fn set_file(call: &mut Call<'_>) -> Result {
    use std::os::unix::ffi::OsStrExt;
    let count = call.count();
    if !(1..=2).contains(&count) {
        return Err(format!("expecting 1 or 2 arguments but seen {count}").into());
    }
    let name = call.bytes(1)?;
    if name.is_empty() {
        return Err("file name is empty".into());
    }
    let remove = call.lua.to_bool(2);
    let req = call.request()?;
    if req.body.discarded {
        return Err("request body already discarded asynchronously".into());
    }
    if !is_read(req) {
        return Err("request body not read yet".into());
    }
    let path = std::path::PathBuf::from(std::ffi::OsStr::from_bytes(name));
    call.yields(
        Command::Borrow(Box::new(move |req| {
            Box::pin(async move {
                match req.replace_body_by_file(path, remove).await {
                    Ok(()) => Answer::Nothing,
                    Err(error) => {
                        req.log_error(format_args!("{error}"));
                        Answer::Exit(Exit::Status(500))
                    }
                }
            })
        })),
        0,
    )
}

fn init_body(call: &mut Call<'_>) -> Result {
    if call.count() > 1 {
        return Err(format!("expecting 0 or 1 argument but seen {}", call.count()).into());
    }
    if !call.lua.is_none_or_nil(1) && call.integer(1)? <= 0 {
        return Err("bad size argument: must be positive".into());
    }
    let req = call.request()?;
    if req.body.discarded {
        return Err("request body already discarded asynchronously".into());
    }
    if !is_read(req) {
        return Err("request body not read yet".into());
    }
    req.context.set(Making(BytesMut::new()));
    Ok(Returns::NONE)
}

fn append_body(call: &mut Call<'_>) -> Result {
    if call.count() != 1 {
        return Err(format!("expecting 1 arguments but seen {}", call.count()).into());
    }
    let piece = call.bytes(1)?;
    let req = call.request()?;
    let limit = req.http().client_max_body_size;
    let Some(making) = req.context.get_mut::<Making>() else {
        return Err("request_body not initialized".into());
    };
    if limit > 0 && (making.0.len() + piece.len()) as u64 > limit {
        return Err("the new request body is larger than client_max_body_size".into());
    }
    making.0.extend_from_slice(piece);
    Ok(Returns::NONE)
}

fn finish_body(call: &mut Call<'_>) -> Result {
    if call.count() != 0 {
        return Err(format!("expecting 0 argument but seen {}", call.count()).into());
    }
    let req = call.request()?;
    match req.context.take::<Making>() {
        Some(making) => replace(req, making.0.freeze()),
        None => return Err("request_body not initialized".into()),
    }
    Ok(Returns::NONE)
}
