//! Options of TCP cosockets: `setoption`, `getoption`.

use super::error_text;
use super::tcp_api::{USE, this};
use crate::api::Function;
use crate::ffi::call::Result;
use crate::ffi::{Call, Returns, Type};
use crate::function;

/// The functions; they become methods.
pub static FUNCTIONS: &[Function] = &[
    function!("ngx.socket.tcp_methods.setoption", USE, "Sets an option of the socket.", setoption),
    function!("ngx.socket.tcp_methods.getoption", USE, "Reads an option of the socket.", getoption),
];

fn setoption(call: &mut Call<'_>) -> Result {
    let count = call.count();
    if count < 3 {
        return Err(format!(
            "ngx.socket setoption: expecting 3 arguments (including the object) but seen {count}"
        )
        .into());
    }
    let socket = this(call, "setoption")?;
    let Some(transport) = socket.transport() else { return call.failure("closed") };
    let name = String::from_utf8_lossy(call.bytes(2)?).into_owned();
    let on = match call.lua.type_of(3) {
        Type::Boolean => call.lua.to_bool(3),
        _ => call.number(3)? != 0.0,
    };
    let number = call.lua.to_int(3).unwrap_or_default().max(0) as usize;
    let stream = transport.socket().socket();
    let done = match &*name {
        "keepalive" => stream.set_keepalive(on),
        "reuseaddr" => stream.set_reuse_address(on),
        "tcp-nodelay" => stream.set_tcp_nodelay(on),
        "sndbuf" => stream.set_send_buffer_size(number),
        "rcvbuf" => stream.set_recv_buffer_size(number),
        other => return call.failure(format!("unsupported option {other}")),
    };
    match done {
        Ok(()) => {
            call.lua.push_bool(true);
            Ok(Returns::ONE)
        }
        Err(error) => call.failure(error_text(&error)),
    }
}

fn getoption(call: &mut Call<'_>) -> Result {
    let socket = this(call, "getoption")?;
    let Some(transport) = socket.transport() else { return call.failure("closed") };
    let name = String::from_utf8_lossy(call.bytes(2)?).into_owned();
    let stream = transport.socket().socket();
    let value = match &*name {
        "keepalive" => stream.keepalive().map(usize::from),
        "reuseaddr" => stream.reuse_address().map(usize::from),
        "tcp-nodelay" => stream.tcp_nodelay().map(usize::from),
        "sndbuf" => stream.send_buffer_size(),
        "rcvbuf" => stream.recv_buffer_size(),
        other => return call.failure(format!("unsupported option {other}")),
    };
    match value {
        Ok(value) => {
            call.lua.push_int(value as i64);
            Ok(Returns::ONE)
        }
        Err(error) => call.failure(error_text(&error)),
    }
}
