//! The methods of TCP cosockets.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use net::{Addr, ConnectOptions};
use worker::log::Level;
use worker::transport::Transport;

use super::pool::{self, Taken};
use super::tcp::{Busy, Failure, Pattern, Socket, Tcp};
use super::until::Until;
use super::{Names, error_text};
use crate::api::output::{append, append_number};
use crate::api::{Function, push_path};
use crate::ffi::call::Result;
use crate::ffi::{Call, Error, Returns, State, Type, UserData};
use crate::function;
use crate::phase::Phases;
use crate::response;
use crate::sched::{Answer, Command};

/// Where sockets are used.
pub(super) const USE: Phases = Phases::PATIENT;

/// The functions; those under `ngx.socket.tcp_methods` become the methods.
pub static FUNCTIONS: &[Function] = &[
    function!("ngx.socket.tcp", USE, "Makes a TCP or Unix-domain socket.", tcp),
    function!("ngx.socket.stream", USE, "Makes a TCP or Unix-domain socket.", tcp),
    function!(
        "ngx.socket.tcp_methods.connect",
        USE,
        "Connects, to a kept connection if there is one.",
        connect
    ),
    function!("ngx.socket.tcp_methods.send", USE, "Sends a string or a table of strings.", send),
    function!(
        "ngx.socket.tcp_methods.receive",
        USE,
        "Receives a line, a number of bytes, or everything.",
        receive
    ),
    function!("ngx.socket.tcp_methods.receiveany", USE, "Receives what comes first.", receiveany),
    function!("ngx.socket.tcp_methods.receiveuntil", USE, "Makes a reader up to a pattern.", receiveuntil),
    function!("ngx.socket.tcp_methods.settimeout", USE, "Sets all limits, in milliseconds.", settimeout),
    function!(
        "ngx.socket.tcp_methods.settimeouts",
        USE,
        "Sets the limits of connecting, sending and reading.",
        settimeouts
    ),
    function!("ngx.socket.tcp_methods.setkeepalive", USE, "Puts the connection into its pool.", setkeepalive),
    function!(
        "ngx.socket.tcp_methods.getreusedtimes",
        USE,
        "Returns how often the connection was used.",
        getreusedtimes
    ),
    function!("ngx.socket.tcp_methods.close", USE, "Closes the connection.", close),
];

/// The name of the methods' table in the registry: libraries of OpenResty add to it.
const METATABLE: &str = "__tcp_cosocket_mt";

/// Where the socket stands in its table.
const PLACE: i32 = 1;

/// `ngx.socket.connect` is Lua.
const CONNECT: &[u8] = br"
local tcp = ngx.socket.tcp
return function(...)
    local sock = tcp()
    local ok, err = sock:connect(...)
    if ok then
        return sock
    end
    return nil, err
end
";

/// Makes the methods' metatable.
pub(crate) fn setup(lua: State<'_>) {
    push_path(lua, "ngx.socket");
    lua.raw_get_field(1, "tcp_methods");
    lua.push_nil();
    lua.raw_set_field(1, "tcp_methods");
    lua.push_value(-1);
    lua.raw_set_field(-2, "__index");
    for name in [METATABLE, "__raw_req_cosocket_mt", "__req_cosocket_mt"] {
        lua.push_value(-1);
        lua.raw_set_field(State::REGISTRY, name);
    }
    super::super::run_text(lua, CONNECT, c"=ngx.socket.connect", 1);
    lua.raw_set_field(1, "connect");
}

/// Reads from `receiveuntil`.
struct Reader {
    socket: Rc<Socket>,
    until: Rc<RefCell<Until>>,
}

impl UserData for Reader {
    const NAME: &'static str = "ngx.socket.reader";
}

/// Pushes the table of `socket`.
pub(crate) fn push(lua: State<'_>, socket: Rc<Socket>) {
    lua.push_table(4, 1);
    lua.push_userdata(Tcp(socket));
    lua.raw_set_index(-2, PLACE);
    lua.raw_get_field(State::REGISTRY, METATABLE);
    lua.set_metatable(-2);
}

fn tcp(call: &mut Call<'_>) -> Result {
    if call.count() != 0 {
        return Err(format!("expecting zero arguments, but got {}", call.count()).into());
    }
    let lua = call.lua;
    let defaults = crate::conf::LuaConf::default();
    let socket = {
        let conf = match call.request() {
            Ok(req) => response::settings(req),
            Err(_) => &defaults,
        };
        Socket::new(
            conf.socket_connect_timeout,
            conf.socket_send_timeout,
            conf.socket_read_timeout,
            conf.socket_buffer_size,
        )
    };
    push(lua, socket);
    Ok(Returns::ONE)
}

/// The socket a method was called on.
pub(super) fn this(call: &Call<'_>, what: &str) -> Result<Rc<Socket>> {
    let lua = call.lua;
    if lua.type_of(1) != Type::Table {
        return Err(call.type_error(1, "table"));
    }
    lua.raw_get_index(1, PLACE);
    let socket = lua.userdata::<Tcp>(-1).map(|tcp| Rc::clone(&tcp.0));
    lua.pop(1);
    socket.ok_or_else(|| format!("bad argument #1 to '{what}' (socket expected)").into())
}

fn settimeout(call: &mut Call<'_>) -> Result {
    if call.count() != 2 {
        return Err(format!(
            "ngx.socket settimeout: expecting 2 arguments (including the object) but seen {}",
            call.count()
        )
        .into());
    }
    let socket = this(call, "settimeout")?;
    let ms = milliseconds(call, 2)?;
    if let Some(ms) = ms {
        socket.connect_ms.set(ms);
        socket.send_ms.set(ms);
        socket.read_ms.set(ms);
    }
    Ok(Returns::NONE)
}

fn settimeouts(call: &mut Call<'_>) -> Result {
    if call.count() != 4 {
        return Err(format!(
            "ngx.socket settimeouts: expecting 4 arguments (including the object) but seen {}",
            call.count()
        )
        .into());
    }
    let socket = this(call, "settimeouts")?;
    for (n, cell) in [(2, &socket.connect_ms), (3, &socket.send_ms), (4, &socket.read_ms)] {
        if let Some(ms) = milliseconds(call, n)? {
            cell.set(ms);
        }
    }
    Ok(Returns::NONE)
}

/// Argument `n` as a limit; `None`: nil or negative, the limit stays as it is.
fn milliseconds(call: &Call<'_>, n: i32) -> Result<Option<u64>> {
    if call.lua.is_none_or_nil(n) {
        return Ok(None);
    }
    let ms = call.number(n)?;
    if ms >= 2_147_483_647.0 {
        return Err("bad timeout value".into());
    }
    Ok((ms >= 0.0).then_some(ms as u64))
}

/// What `connect` was asked for.
struct Target {
    host: String,
    port: Option<u16>,
    pool: Box<[u8]>,
    pool_size: usize,
    backlog: Option<usize>,
}

fn target(call: &mut Call<'_>) -> Result<std::result::Result<Target, String>> {
    let lua = call.lua;
    let count = call.count();
    if count < 2 {
        return Err(format!(
            "ngx.socket connect: expecting 2, 3, or 4 arguments (including the object), but seen {count}"
        )
        .into());
    }
    let host = String::from_utf8_lossy(call.bytes(2)?).into_owned();
    let unix = host.starts_with("unix:");
    let mut options = 3;
    let mut port = None;
    if !unix {
        if count < 3 {
            return Ok(Err("missing the port number".into()));
        }
        let Some(number) = lua.to_number(3) else { return Ok(Err("missing the port number".into())) };
        if !(0.0..=65535.0).contains(&number) {
            return Ok(Err(format!("bad port number: {number}")));
        }
        port = Some(number as u16);
        options = 4;
    }
    let mut pool: Box<[u8]> = match port {
        Some(port) => format!("{host}:{port}").into_bytes().into(),
        None => host.as_bytes().into(),
    };
    let default = match call.request() {
        Ok(req) => response::settings(req).socket_pool_size,
        Err(_) => crate::conf::LuaConf::default().socket_pool_size,
    };
    let (mut pool_size, mut backlog) = (default as usize, None);
    if lua.type_of(options) == Type::Table {
        lua.raw_get_field(options, "pool");
        match lua.type_of(-1) {
            Type::Nil => {}
            Type::String | Type::Number => pool = lua.to_bytes(-1).unwrap_or_default().into(),
            other => {
                return Err(Error::Argument(
                    options,
                    format!("bad \"pool\" option type: {}", other.name()).into(),
                ));
            }
        }
        lua.raw_get_field(options, "pool_size");
        let sized = !lua.is_none_or_nil(-1);
        if let Some(size) = lua.to_int(-1) {
            if size <= 0 {
                return Err(Error::Argument(
                    options,
                    format!("bad \"pool_size\" option value: {size}").into(),
                ));
            }
            pool_size = size as usize;
        } else if sized {
            return Err(Error::Argument(
                options,
                format!("bad \"pool_size\" option type: {}", lua.type_of(-1).name()).into(),
            ));
        }
        lua.raw_get_field(options, "backlog");
        if let Some(number) = lua.to_int(-1) {
            if number < 0 {
                return Err(Error::Argument(
                    options,
                    format!("bad \"backlog\" option value: {number}").into(),
                ));
            }
            backlog = Some(number as usize);
        }
        lua.pop(3);
    }
    Ok(Ok(Target { host, port, pool, pool_size, backlog }))
}

fn connect(call: &mut Call<'_>) -> Result {
    let socket = this(call, "connect")?;
    let target = match target(call)? {
        Ok(target) => target,
        Err(text) => return call.failure(text),
    };
    if socket.of_client.get() {
        return call.failure("attempt to connect a request socket");
    }
    if socket.connecting.get() {
        return call.failure("socket busy connecting");
    }
    if socket.reading.get() {
        return call.failure("socket busy reading");
    }
    if socket.writing.get() {
        return call.failure("socket busy writing");
    }
    socket.close();
    *socket.pool.borrow_mut() = Some(target.pool.clone());
    socket.pool_size.set(target.pool_size);
    match pool::take(&target.pool, target.pool_size, target.backlog) {
        Taken::Connection(transport, reused) => {
            socket.open(transport, reused + 1, target.backlog.is_some());
            call.lua.push_int(1);
            Ok(Returns::ONE)
        }
        Taken::Full => call.failure("too many waiting connect operations"),
        Taken::New => start(call, socket, target, None),
        Taken::Wait(notify) => start(call, socket, target, Some(notify)),
    }
}

fn start(call: &mut Call<'_>, socket: Rc<Socket>, target: Target, wait: Option<Rc<net::Notify>>) -> Result {
    let names = Names::of(call.request().ok().map(|req| &*req));
    let logs = match call.request() {
        Ok(req) => response::settings(req).socket_log_errors,
        Err(_) => true,
    };
    debug(call, format_args!("lua tcp socket connect timeout: {}", socket.connect_ms.get()));
    let busy = Busy::mark(&socket, |socket| &socket.connecting);
    call.yields(
        Command::Wait(Box::pin(async move {
            let result = establish(&socket, &target, &names, wait).await;
            drop(busy);
            match result {
                Ok(()) => Answer::Number(1.0),
                Err((text, log)) => {
                    let answer = Answer::failure(text);
                    match log.filter(|_| logs) {
                        Some(log) => Answer::Logged(Level::Error, log, Box::new(answer)),
                        None => answer,
                    }
                }
            }
        })),
        0,
    )
}

/// Connects; fails with what is returned and what is logged.
async fn establish(
    socket: &Rc<Socket>,
    target: &Target,
    names: &Names,
    wait: Option<Rc<net::Notify>>,
) -> std::result::Result<(), (String, Option<String>)> {
    let counted = target.backlog.is_some();
    let mut wait = wait;
    while let Some(notify) = wait.take() {
        let limit = Duration::from_millis(socket.connect_ms.get().max(1));
        if let net::Either::Right(()) = net::select2(notify.notified(), net::sleep(limit)).await {
            pool::gave_up(&target.pool, &notify);
            return Err(("timeout".into(), None));
        }
        match pool::take(&target.pool, target.pool_size, target.backlog) {
            Taken::Connection(transport, reused) => {
                socket.open(transport, reused + 1, counted);
                return Ok(());
            }
            Taken::New => {}
            // somebody else was faster
            Taken::Wait(again) => wait = Some(again),
            Taken::Full => return Err(("too many waiting connect operations".into(), None)),
        }
    }
    let connected = dial(socket, target, names).await;
    match connected {
        Ok(transport) => {
            socket.open(transport, 0, counted);
            Ok(())
        }
        Err(failure) => {
            if counted {
                pool::closed(&target.pool);
            }
            Err(failure)
        }
    }
}

async fn dial(
    socket: &Rc<Socket>,
    target: &Target,
    names: &Names,
) -> std::result::Result<Transport, (String, Option<String>)> {
    let addr = match (target.port, target.host.strip_prefix("unix:")) {
        (None, Some(path)) => Addr::unix(path),
        (port, _) => {
            names.address(&target.host, port.unwrap_or_default()).await.map_err(|text| (text, None))?
        }
    };
    let ms = socket.connect_ms.get();
    let options = ConnectOptions {
        nodelay: target.port.is_some(),
        timeout: (ms > 0).then(|| Duration::from_millis(ms)),
        ..ConnectOptions::default()
    };
    match net::connect(&addr, &options).await {
        Ok(stream) => Ok(Transport::Plain(stream)),
        Err(error) if error.kind() == std::io::ErrorKind::TimedOut && error.raw_os_error().is_none() => {
            let log = format!("lua tcp socket connect timed out, upstream: {addr}({})", target.host);
            Err(("timeout".into(), Some(log)))
        }
        Err(error) => {
            let log = format!("connect() failed ({}), upstream: {addr}", ::conf::error::errno(&error));
            Err((error_text(&error), Some(log)))
        }
    }
}

/// The connected socket of a method call, or what the method returns.
fn connected(call: &mut Call<'_>, what: &str) -> Result<std::result::Result<Rc<Socket>, Returns>> {
    let socket = this(call, what)?;
    if !socket.is_open() {
        if let Ok(req) = call.request()
            && response::settings(req).socket_log_errors
        {
            req.log(
                Level::Error,
                format_args!("attempt to {what} data on a closed socket: it is not connected"),
            );
        }
        return Ok(Err(call.failure("closed")?));
    }
    Ok(Ok(socket))
}

/// Appends the string at `index`, or the strings of the table there.
pub(crate) fn payload(call: &Call<'_>, index: i32) -> Result<Bytes> {
    let lua = call.lua;
    let mut out = Vec::new();
    match lua.type_of(index) {
        Type::String | Type::Number | Type::Nil | Type::Boolean => append(lua, index, &mut out),
        Type::Table => flatten(lua, index, &mut out, 0)?,
        other => {
            let text = format!("string, number, boolean, nil, or array table expected, got {}", other.name());
            return Err(Error::Argument(index, text.into()));
        }
    }
    Ok(out.into())
}

fn flatten(lua: State<'_>, index: i32, out: &mut Vec<u8>, depth: usize) -> Result<()> {
    const DEPTH_MAX: usize = 100;
    let table = lua.absolute(index);
    for n in 1..=lua.len(table) {
        lua.raw_get_index(table, n as i32);
        match lua.type_of(-1) {
            Type::Table if depth < DEPTH_MAX => flatten(lua, -1, out, depth + 1)?,
            Type::String | Type::Nil | Type::Boolean => append(lua, -1, out),
            Type::Number => append_number(lua.to_number(-1).unwrap_or_default(), out),
            other => {
                return Err(Error::Argument(2, format!("bad data type {} found", other.name()).into()));
            }
        }
        lua.pop(1);
    }
    Ok(())
}

fn send(call: &mut Call<'_>) -> Result {
    if call.count() != 2 {
        return Err(format!("expecting 2 arguments (including the object), but got {}", call.count()).into());
    }
    let socket = match connected(call, "send")? {
        Ok(socket) => socket,
        Err(returns) => return Ok(returns),
    };
    if socket.writing.get() {
        return call.failure("socket busy writing");
    }
    let data = payload(call, 2)?;
    if data.is_empty() {
        call.lua.push_int(0);
        return Ok(Returns::ONE);
    }
    let logs = logs(call);
    let busy = Busy::mark(&socket, |socket| &socket.writing);
    call.yields(
        Command::Wait(Box::pin(async move {
            let sent = socket.send(data).await;
            drop(busy);
            match sent {
                Ok(count) => Answer::Number(count as f64),
                Err(text) => {
                    let timed_out = logs && text == "timeout";
                    let answer = Answer::failure(text);
                    if timed_out {
                        return Answer::Logged(
                            Level::Error,
                            "lua tcp socket write timed out".into(),
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

/// Logs what the socket is about to do.
fn debug(call: &mut Call<'_>, text: std::fmt::Arguments<'_>) {
    if let Ok(req) = call.request() {
        req.log(Level::Debug, text);
    }
}

fn logs(call: &mut Call<'_>) -> bool {
    call.request().map_or(true, |req| response::settings(req).socket_log_errors)
}

fn receive(call: &mut Call<'_>) -> Result {
    let count = call.count();
    if !(1..=2).contains(&count) {
        return Err(format!("expecting 1 or 2 arguments (including the object), but got {count}").into());
    }
    let socket = match connected(call, "receive")? {
        Ok(socket) => socket,
        Err(returns) => return Ok(returns),
    };
    if socket.reading.get() {
        return call.failure("socket busy reading");
    }
    let pattern = match call.lua.type_of(2) {
        Type::None | Type::Nil => Pattern::Line,
        Type::Number => bytes_pattern(call, 2)?,
        Type::String => match call.bytes(2)? {
            b"*l" | b"l" => Pattern::Line,
            b"*a" | b"a" => Pattern::All,
            _ if call.lua.to_number(2).is_some() => bytes_pattern(call, 2)?,
            other => {
                let text = format!("bad pattern argument: {}", String::from_utf8_lossy(other));
                return Err(Error::Argument(2, text.into()));
            }
        },
        other => {
            let text = format!("bad pattern argument: {}", other.name());
            return Err(Error::Argument(2, text.into()));
        }
    };
    run(call, socket, pattern)
}

fn bytes_pattern(call: &Call<'_>, n: i32) -> Result<Pattern> {
    let count = call.integer(n)?;
    match usize::try_from(count) {
        Ok(count) => Ok(Pattern::Bytes(count)),
        Err(_) => Err(Error::Argument(n, "bad number argument".into())),
    }
}

fn receiveany(call: &mut Call<'_>) -> Result {
    if call.count() != 2 {
        return Err(format!("expecting 2 arguments (including the object), but got {}", call.count()).into());
    }
    let socket = match connected(call, "receive")? {
        Ok(socket) => socket,
        Err(returns) => return Ok(returns),
    };
    if socket.reading.get() {
        return call.failure("socket busy reading");
    }
    let max = match call.lua.to_number(2) {
        Some(max) => max,
        None => return Err(call.type_error(2, "number")),
    };
    if max < 1.0 {
        return Err(Error::Argument(2, "bad max argument".into()));
    }
    run(call, socket, Pattern::Any(max as usize))
}

fn run(call: &mut Call<'_>, socket: Rc<Socket>, pattern: Pattern) -> Result {
    if let Some(bytes) = socket.try_receive(&pattern) {
        call.lua.push_bytes(bytes);
        return Ok(Returns::ONE);
    }
    let logs = logs(call);
    debug(call, format_args!("lua tcp socket read timeout: {}", socket.read_ms.get()));
    let busy = Busy::mark(&socket, |socket| &socket.reading);
    call.yields(
        Command::Wait(Box::pin(async move {
            let received = socket.receive(pattern).await;
            drop(busy);
            answer(received, logs)
        })),
        0,
    )
}

fn answer(received: std::result::Result<Vec<u8>, Failure>, logs: bool) -> Answer {
    match received {
        Ok(bytes) => Answer::Bytes(bytes.into()),
        Err(failure) => {
            let timed_out = logs && failure.text == "timeout";
            let answer = Answer::Partial(failure.text.into(), failure.partial);
            if timed_out {
                return Answer::Logged(
                    Level::Error,
                    "lua tcp socket read timed out".into(),
                    Box::new(answer),
                );
            }
            answer
        }
    }
}

fn receiveuntil(call: &mut Call<'_>) -> Result {
    let lua = call.lua;
    let count = call.count();
    if !(2..=3).contains(&count) {
        return Err(format!("expecting 2 or 3 arguments (including the object), but got {count}").into());
    }
    let socket = this(call, "receiveuntil")?;
    let mut inclusive = false;
    if count == 3 {
        call.expect(3, Type::Table)?;
        lua.raw_get_field(3, "inclusive");
        inclusive = match lua.type_of(-1) {
            Type::Nil => false,
            Type::Boolean => lua.to_bool(-1),
            other => {
                let text = format!("bad \"inclusive\" option value type: {}", other.name());
                return Err(Error::Argument(3, text.into()));
            }
        };
        lua.pop(1);
    }
    let pattern = call.bytes(2)?;
    if pattern.is_empty() {
        lua.push_nil();
        lua.push_bytes("pattern is empty");
        return Ok(Returns::values(2));
    }
    let until = Rc::new(RefCell::new(Until::new(pattern.to_vec(), inclusive)));
    lua.push_userdata(Reader { socket, until });
    lua.push_closure(READ.raw, 1);
    Ok(Returns::ONE)
}

/// What `receiveuntil` returns: a closure over its reader.
static READ: Function = function!("ngx.socket.read", USE, "Reads up to the pattern.", read);

fn read(call: &mut Call<'_>) -> Result {
    let Some(reader) = call.lua.userdata::<Reader>(State::upvalue(1)) else {
        return Err("not a reader".into());
    };
    if call.count() > 1 {
        return Err(format!("expecting 0 or 1 arguments, but seen {}", call.count()).into());
    }
    let size = if call.lua.is_none_or_nil(1) { None } else { Some(call.integer(1)?) };
    let size = match size {
        Some(size) if size < 0 => return Err(Error::Argument(1, "bad number argument".into())),
        Some(0) => None,
        size => size.map(|size| size as usize),
    };
    let (socket, until) = (Rc::clone(&reader.socket), Rc::clone(&reader.until));
    if !socket.is_open() {
        return call.failure("closed");
    }
    if socket.reading.get() {
        return call.failure("socket busy reading");
    }
    if size.is_some() && until.borrow_mut().take_ended() {
        call.lua.push_nil();
        call.lua.push_nil();
        call.lua.push_nil();
        return Ok(Returns::values(3));
    }
    until.borrow_mut().take_ended();
    if let Some(bytes) = socket.try_until(&until, size) {
        call.lua.push_bytes(bytes);
        return Ok(Returns::ONE);
    }
    let logs = logs(call);
    let busy = Busy::mark(&socket, |socket| &socket.reading);
    call.yields(
        Command::Wait(Box::pin(async move {
            let received = socket.receive_until(&until, size).await;
            drop(busy);
            answer(received, logs)
        })),
        0,
    )
}

fn setkeepalive(call: &mut Call<'_>) -> Result {
    let lua = call.lua;
    let count = call.count();
    if !(1..=3).contains(&count) {
        return Err(format!("expecting 1 to 3 arguments (including the object), but got {count}").into());
    }
    let socket = this(call, "setkeepalive")?;
    if !socket.is_open() || socket.of_client.get() {
        return call.failure("closed");
    }
    for (busy, text) in [
        (socket.connecting.get(), "socket busy connecting"),
        (socket.reading.get(), "socket busy reading"),
        (socket.writing.get(), "socket busy writing"),
    ] {
        if busy {
            return call.failure(text);
        }
    }
    let default = match call.request() {
        Ok(req) => response::settings(req).socket_keepalive_timeout,
        Err(_) => crate::conf::LuaConf::default().socket_keepalive_timeout,
    };
    let idle = if lua.is_none_or_nil(2) { default } else { call.integer(2)?.max(0) as u64 };
    let max = if lua.is_none_or_nil(3) { socket.pool_size.get() } else { call.integer(3)?.max(0) as usize };
    if max == 0 {
        return Err(Error::Argument(3, "bad \"pool_size\" option value: 0".into()));
    }
    if socket.is_spent() {
        socket.close();
        return call.failure("closed");
    }
    if socket.has_unread() {
        socket.close();
        return call.failure("unread data in buffer");
    }
    let reused = socket.reused.get();
    let Some(transport) = socket.take() else { return call.failure("closed") };
    match transport.socket().try_peek(&mut [0]) {
        Ok(0) => return call.failure("connection in dubious state"),
        Ok(_) => return call.failure("connection in dubious state"),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
        Err(error) => return call.failure(error_text(&error)),
    }
    let name = socket.pool.borrow().clone().unwrap_or_default();
    pool::put(&name, transport, reused, Duration::from_millis(idle), max);
    lua.push_int(1);
    Ok(Returns::ONE)
}

fn getreusedtimes(call: &mut Call<'_>) -> Result {
    let socket = this(call, "getreusedtimes")?;
    if !socket.is_open() {
        return call.failure("closed");
    }
    call.lua.push_int(socket.reused.get() as i64);
    Ok(Returns::ONE)
}

fn close(call: &mut Call<'_>) -> Result {
    if call.count() != 1 {
        return Err(format!("expecting 1 argument (including the object) but seen {}", call.count()).into());
    }
    let socket = this(call, "close")?;
    if !socket.is_open() {
        return call.failure("closed");
    }
    for (busy, text) in [
        (socket.connecting.get(), "socket busy connecting"),
        (socket.reading.get(), "socket busy reading"),
        (socket.writing.get(), "socket busy writing"),
    ] {
        if busy {
            return call.failure(text);
        }
    }
    if socket.of_client.get() {
        return call.failure("attempt to close a request socket");
    }
    socket.close();
    call.lua.push_int(1);
    Ok(Returns::ONE)
}
