//! The response body: `ngx.print`, `ngx.say`, `ngx.flush`, `ngx.eof`, `ngx.send_headers`.
//!
//! What Lua code prints is collected in [`Request::outgoing`] and passes the filters when the code waits or ends, so that
//! filters, which may be Lua too, never run inside a Lua function.

use worker::request::Request;

use super::Function;
use crate::ffi::call::Result;
use crate::ffi::{Call, Error, Returns, State, Type};
use crate::function;
use crate::phase::Phases;
use crate::sched::{Answer, Command};

/// What was printed and not sent before a printing function gives control to the connection.
const OUTGOING_BYTES_MAX: usize = 256 * 1024;
/// Tables inside tables that are printed.
const DEPTH_MAX: usize = 100;

/// The functions.
pub static FUNCTIONS: &[Function] = &[
    function!("ngx.print", Phases::RESPONSE, "Writes values to the response body.", print),
    function!("ngx.say", Phases::RESPONSE, "Writes values and a newline to the response body.", say),
    function!(
        "ngx.flush",
        Phases::RESPONSE,
        "Sends what was written; with true, waits until it is sent.",
        flush
    ),
    function!("ngx.eof", Phases::RESPONSE, "Ends the response; the handler may go on.", eof),
    function!("ngx.send_headers", Phases::RESPONSE, "Sends the response head.", send_headers),
];

/// The state of a response Lua code ended with `ngx.eof`.
#[derive(Clone, Copy)]
pub(crate) struct Ended;

/// Lua code took the client's connection as a raw socket: the response is its own affair.
pub(crate) struct RawSocket;

fn print(call: &mut Call<'_>) -> Result {
    write(call, false)
}

fn say(call: &mut Call<'_>) -> Result {
    write(call, true)
}

/// Decides status and type of the response at its first byte.
pub(crate) fn begin(req: &mut Request) {
    if req.out.begun || req.out.sent {
        return;
    }
    req.out.begun = true;
    if req.out.status == 0 {
        req.out.status = 200;
    }
    crate::response::default_type(req);
}

fn write(call: &mut Call<'_>, newline: bool) -> Result {
    let (lua, count) = (call.lua, call.count());
    // nothing is written when one of the values cannot be
    for n in 1..=count {
        check(lua, n, n, 0)?;
    }
    let req = call.request()?;
    if req.method == http1::Method::Head && req.is_main() {
        begin(req);
        return call.failure("header only");
    }
    if req.context.get::<Ended>().is_some() {
        return call.failure("seen eof");
    }
    if req.context.get::<RawSocket>().is_some() {
        return call.failure("raw request socket acquired");
    }
    begin(req);
    for n in 1..=count {
        append(lua, n, &mut req.outgoing);
    }
    if newline {
        req.outgoing.push(b'\n');
    }
    let much = req.outgoing.len() > OUTGOING_BYTES_MAX && !crate::response::is_buffered(req);
    if much && lua.can_yield() {
        return call.yields(send(false), 0);
    }
    lua.push_int(1);
    Ok(Returns::ONE)
}

/// Checks that the value at `index`, which is or belongs to argument `n`, can be written.
fn check(lua: State<'_>, n: i32, index: i32, depth: usize) -> Result<()> {
    match lua.type_of(index) {
        Type::Number | Type::String => Ok(()),
        Type::Nil | Type::Boolean if depth == 0 => Ok(()),
        Type::Nil | Type::Boolean => Ok(()),
        Type::LightUserdata if lua.to_light(index) == Some(0) => Ok(()),
        Type::Table if depth < DEPTH_MAX => check_table(lua, n, index, depth),
        other if depth == 0 => Err(Error::Argument(
            n,
            format!(
                "string, number, boolean, nil, ngx.null, or array table expected, but got {}",
                other.name()
            )
            .into(),
        )),
        other => Err(Error::Argument(n, format!("bad data type {} found", other.name()).into())),
    }
}

fn check_table(lua: State<'_>, n: i32, index: i32, depth: usize) -> Result<()> {
    let table = lua.absolute(index);
    lua.push_nil();
    while lua.next(table) {
        let key = if lua.type_of(-2) == Type::Number { lua.to_number(-2) } else { None };
        if key.is_none_or(|key| key < 1.0 || key.fract() != 0.0) {
            return Err(Error::Argument(n, "non-array table found".into()));
        }
        check(lua, n, -1, depth + 1)?;
        lua.pop(1);
    }
    Ok(())
}

/// Appends the value at `index` as it is printed.
pub(crate) fn append(lua: State<'_>, index: i32, out: &mut Vec<u8>) {
    match lua.type_of(index) {
        Type::Number => append_number(lua.to_number(index).unwrap_or_default(), out),
        Type::String => out.extend_from_slice(lua.to_bytes(index).unwrap_or_default()),
        Type::Nil => out.extend_from_slice(b"nil"),
        Type::Boolean => out.extend_from_slice(if lua.to_bool(index) { b"true" } else { b"false" }),
        Type::LightUserdata => out.extend_from_slice(b"null"),
        Type::Table => {
            let table = lua.absolute(index);
            for n in 1..=lua.len(table) {
                lua.raw_get_index(table, n as i32);
                append(lua, -1, out);
                lua.pop(1);
            }
        }
        _ => {}
    }
}

/// A number as Lua's `tostring` writes it: `%.14g`.
pub(crate) fn append_number(number: f64, out: &mut Vec<u8>) {
    const EXACT: f64 = 1e14;
    if number.fract() == 0.0 && number.abs() < EXACT && !(number == 0.0 && number.is_sign_negative()) {
        if number < 0.0 {
            out.push(b'-');
        }
        return http1::push_decimal(out, number.abs() as u64);
    }
    out.extend_from_slice(&crate::number::general(number, 14));
}

/// The command that sends what was printed; the function then returns 1.
fn send(flush: bool) -> Command {
    Command::Borrow(Box::new(move |req| {
        Box::pin(async move {
            begin(req);
            match req.send_outgoing_now(flush).await {
                Ok(()) => Answer::Number(1.0),
                Err(fault) if fault.side == worker::fault::Side::Client => Answer::failure("client aborted"),
                Err(_) => Answer::failure("nginx output filter error"),
            }
        })
    }))
}

fn flush(call: &mut Call<'_>) -> Result {
    let lua = call.lua;
    if call.count() > 1 {
        return Err(format!("attempt to pass {} arguments, but accepted 0 or 1", call.count()).into());
    }
    if call.count() == 1 && lua.type_of(1) != Type::Boolean {
        return Err(call.type_error(1, "boolean"));
    }
    let wait = lua.to_bool(1);
    let req = call.request()?;
    if req.method == http1::Method::Head && req.is_main() {
        return call.failure("header only");
    }
    if req.context.get::<RawSocket>().is_some() {
        return call.failure("raw request socket acquired");
    }
    if req.context.get::<Ended>().is_some() {
        return call.failure("seen eof");
    }
    if crate::response::is_buffered(req) {
        return call.failure("buffering");
    }
    if !req.out.begun && !req.out.sent {
        return call.failure("nothing to flush");
    }
    if wait || lua.can_yield() {
        return call.yields(send(true), 0);
    }
    lua.push_int(1);
    Ok(Returns::ONE)
}

fn eof(call: &mut Call<'_>) -> Result {
    if call.count() != 0 {
        return Err("no argument is expected".into());
    }
    let lua = call.lua;
    let req = call.request()?;
    if req.context.get::<Ended>().is_some() {
        return call.failure("seen eof");
    }
    begin(req);
    crate::response::seal(req);
    req.context.set(Ended);
    if !lua.can_yield() {
        lua.push_int(1);
        return Ok(Returns::ONE);
    }
    call.yields(
        Command::Borrow(Box::new(|req| {
            Box::pin(async move {
                match req.end_outgoing().await {
                    Ok(()) => Answer::Number(1.0),
                    Err(_) => Answer::failure("nginx output filter error"),
                }
            })
        })),
        0,
    )
}

fn send_headers(call: &mut Call<'_>) -> Result {
    let lua = call.lua;
    let req = call.request()?;
    if !req.out.begun && !req.out.sent {
        begin(req);
        if lua.can_yield() && !crate::response::is_buffered(req) {
            return call.yields(
                Command::Borrow(Box::new(|req| {
                    Box::pin(async move {
                        match req.send_head_now().await {
                            Ok(()) => Answer::Number(1.0),
                            Err(_) => Answer::failure("nginx output filter error"),
                        }
                    })
                })),
                0,
            );
        }
    }
    lua.push_int(1);
    Ok(Returns::ONE)
}
