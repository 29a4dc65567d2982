//! UDP cosockets.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use net::{Buf, Udp};

use super::{Names, error_text};
use crate::api::{Function, push_path};
use crate::ffi::call::Result;
use crate::ffi::{Call, Error, Returns, State, Type, UserData};
use crate::function;
use crate::phase::Phases;
use crate::response;
use crate::sched::{Answer, Command};
use worker::log::Level;

/// Where sockets are used.
const USE: Phases = Phases::PATIENT;

/// The functions; those under `ngx.socket.udp_methods` become the methods.
pub static FUNCTIONS: &[Function] = &[
    function!("ngx.socket.udp", USE, "Makes a UDP socket.", udp),
    function!("ngx.socket.udp_methods.setpeername", USE, "Connects the socket to a peer.", setpeername),
    function!("ngx.socket.udp_methods.send", USE, "Sends a datagram.", send),
    function!("ngx.socket.udp_methods.receive", USE, "Receives a datagram.", receive),
    function!(
        "ngx.socket.udp_methods.settimeout",
        USE,
        "Sets the limit of receiving, in milliseconds.",
        settimeout
    ),
    function!("ngx.socket.udp_methods.close", USE, "Closes the socket.", close),
];

/// The largest datagram received.
const DATAGRAM_BYTES_MAX: usize = 65_536;

struct Socket {
    udp: RefCell<Option<Rc<Udp>>>,
    read_ms: Cell<u64>,
    reading: Cell<bool>,
    logs: bool,
}

struct Handle(Rc<Socket>);

impl UserData for Handle {
    const NAME: &'static str = "ngx.socket.udp";
}

const METATABLE: &str = "__udp_cosocket_mt";

/// Makes the methods' metatable.
pub(crate) fn setup(lua: State<'_>) {
    push_path(lua, "ngx.socket");
    lua.raw_get_field(1, "udp_methods");
    lua.push_nil();
    lua.raw_set_field(1, "udp_methods");
    lua.push_value(-1);
    lua.raw_set_field(-2, "__index");
    lua.raw_set_field(State::REGISTRY, METATABLE);
}

fn udp(call: &mut Call<'_>) -> Result {
    if call.count() != 0 {
        return Err(format!("expecting zero arguments, but got {}", call.count()).into());
    }
    let lua = call.lua;
    let defaults = crate::conf::LuaConf::default();
    let (read_ms, logs) = {
        let conf = match call.request() {
            Ok(req) => response::settings(req),
            Err(_) => &defaults,
        };
        (conf.socket_read_timeout, conf.socket_log_errors)
    };
    let socket =
        Socket { udp: RefCell::new(None), read_ms: Cell::new(read_ms), reading: Cell::new(false), logs };
    lua.push_table(1, 0);
    lua.push_userdata(Handle(Rc::new(socket)));
    lua.raw_set_index(-2, 1);
    lua.raw_get_field(State::REGISTRY, METATABLE);
    lua.set_metatable(-2);
    Ok(Returns::ONE)
}

fn this(call: &Call<'_>) -> Result<Rc<Socket>> {
    let lua = call.lua;
    if lua.type_of(1) != Type::Table {
        return Err(call.type_error(1, "table"));
    }
    lua.raw_get_index(1, 1);
    let socket = lua.userdata::<Handle>(-1).map(|handle| Rc::clone(&handle.0));
    lua.pop(1);
    socket.ok_or_else(|| "bad argument #1 (UDP socket expected)".into())
}

fn setpeername(call: &mut Call<'_>) -> Result {
    let lua = call.lua;
    let socket = this(call)?;
    let host = String::from_utf8_lossy(call.bytes(2)?).into_owned();
    if host.starts_with("unix:") {
        return call.failure("unix datagram sockets are not supported");
    }
    if call.count() < 3 {
        return Err(format!(
            "ngx.socket.udp setpeername: expecting 3 arguments (including the object), but seen {}",
            call.count()
        )
        .into());
    }
    let port = call.number(3)?;
    if !(0.0..=65535.0).contains(&port) {
        return call.failure(format!("bad port number: {port}"));
    }
    if socket.reading.get() {
        return call.failure("socket busy");
    }
    let names = Names::of(call.request().ok().map(|req| &*req));
    debug_assert!(lua.top() >= 3);
    call.yields(
        Command::Wait(Box::pin(async move {
            let addr = match names.address(&host, port as u16).await {
                Ok(addr) => addr,
                Err(text) => return Answer::failure(text),
            };
            match Udp::connect(&addr, None) {
                Ok(udp) => {
                    *socket.udp.borrow_mut() = Some(Rc::new(udp));
                    Answer::Number(1.0)
                }
                Err(error) => Answer::failure(error_text(&error)),
            }
        })),
        0,
    )
}

fn send(call: &mut Call<'_>) -> Result {
    if call.count() != 2 {
        return Err(format!("expecting 2 arguments (including the object), but got {}", call.count()).into());
    }
    let socket = this(call)?;
    let data = super::tcp_api::payload(call, 2)?;
    let Some(udp) = socket.udp.borrow().clone() else { return call.failure("closed") };
    call.yields(
        Command::Wait(Box::pin(async move {
            match udp.send(&data).await {
                Ok(()) => Answer::Number(1.0),
                Err(error) => Answer::failure(error_text(&error)),
            }
        })),
        0,
    )
}

fn receive(call: &mut Call<'_>) -> Result {
    let count = call.count();
    if !(1..=2).contains(&count) {
        return Err(format!("expecting 1 or 2 arguments (including the object), but got {count}").into());
    }
    let socket = this(call)?;
    let size = if call.lua.is_none_or_nil(2) { DATAGRAM_BYTES_MAX as i64 } else { call.integer(2)? };
    if size < 0 {
        return Err(Error::Argument(2, "bad number argument".into()));
    }
    let size = (size as usize).min(DATAGRAM_BYTES_MAX);
    let Some(udp) = socket.udp.borrow().clone() else { return call.failure("closed") };
    if socket.reading.replace(true) {
        return call.failure("socket busy");
    }
    let busy = Busy(Rc::clone(&socket));
    call.yields(
        Command::Wait(Box::pin(async move {
            let limit = Duration::from_millis(socket.read_ms.get().max(1));
            let mut buf = Buf::with_capacity(DATAGRAM_BYTES_MAX);
            let received = udp.recv(&mut buf, limit).await;
            drop(busy);
            match received {
                Ok(count) => Answer::Bytes(bytes::Bytes::copy_from_slice(&buf[..count.min(size)])),
                Err(error) => {
                    let text = error_text(&error);
                    let timed_out = socket.logs && text == "timeout";
                    let answer = Answer::failure(text);
                    if timed_out {
                        return Answer::Logged(
                            Level::Error,
                            "lua udp socket read timed out".into(),
                            Box::new(answer),
                        );
                    }
                    answer
                }
            }
        })),
        0,
    )
}

/// Marks a socket as being read while it lives.
struct Busy(Rc<Socket>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.reading.set(false);
    }
}

fn settimeout(call: &mut Call<'_>) -> Result {
    if call.count() != 2 {
        return Err(format!(
            "ngx.socket settimout: expecting at least 2 arguments (including the object) but seen {}",
            call.count()
        )
        .into());
    }
    let socket = this(call)?;
    let ms = call.number(2)?;
    if ms >= 0.0 {
        socket.read_ms.set(ms as u64);
    }
    Ok(Returns::NONE)
}

fn close(call: &mut Call<'_>) -> Result {
    let socket = this(call)?;
    if socket.udp.take().is_none() {
        return call.failure("closed");
    }
    call.lua.push_int(1);
    Ok(Returns::ONE)
}
