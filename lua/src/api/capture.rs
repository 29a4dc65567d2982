//! `ngx.location.capture` and `capture_multi`: requests to other locations of this server, run beside each other.

use bytes::Bytes;
use http1::{Known, Method};
use worker::body::Progress;
use worker::io::Io;
use worker::phase;
use worker::request::{Capture, Origin, Request, SubrequestOptions};
use worker::variables::Assigned;

use super::control::{args_option, safe_uri};
use super::magic::Ctx;
use super::{Function, exit, fields};
use crate::ffi::call::Result;
use crate::ffi::{Call, Error, Ref, State, Type};
use crate::function;
use crate::phase::Phases;
use crate::sched::{Answer, Command};

/// The functions.
pub static FUNCTIONS: &[Function] = &[
    function!("ngx.location.capture", Phases::RESPONSE, "Requests another location of the server.", capture),
    function!(
        "ngx.location.capture_multi",
        Phases::RESPONSE,
        "Requests several locations of the server at once.",
        capture_multi
    ),
];

/// Most bytes of one response kept.
const BODY_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Most requests of one call.
const REQUESTS_MAX: usize = 1024;

/// What happens to the variables of a subrequest.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Variables {
    Own,
    Copied,
    Shared,
}

/// One request to make.
struct Wanted {
    uri: Vec<u8>,
    args: Vec<u8>,
    method: Method,
    body: Option<Bytes>,
    forward_body: bool,
    variables: Variables,
    assign: Vec<(Vec<u8>, Vec<u8>)>,
    headers: Vec<(Vec<u8>, Vec<Vec<u8>>)>,
    ctx: Option<Ref>,
}

fn capture(call: &mut Call<'_>) -> Result {
    let count = call.count();
    if !(1..=2).contains(&count) {
        return Err("expecting one or two arguments".into());
    }
    let wanted = read(call, 1, 2, 0)?;
    start(call, vec![wanted])
}

fn capture_multi(call: &mut Call<'_>) -> Result {
    let lua = call.lua;
    if call.count() != 1 {
        return Err(format!("only one argument is expected, but got {}", call.count()).into());
    }
    call.expect(1, Type::Table)?;
    let count = lua.len(1);
    if count == 0 {
        return Err("at least one subrequest should be specified".into());
    }
    if count > REQUESTS_MAX {
        return Err("too many subrequests".into());
    }
    let mut all = Vec::with_capacity(count);
    for n in 1..=count {
        lua.raw_get_index(1, n as i32);
        if lua.type_of(-1) != Type::Table {
            let found = lua.type_of(-1).name();
            return Err(format!("the query argument {n} is not a table, but a {found}").into());
        }
        let parts = lua.len(-1);
        if !(1..=2).contains(&parts) {
            return Err(format!("query argument {n} expecting one or two arguments").into());
        }
        lua.raw_get_index(2, 1);
        lua.raw_get_index(2, 2);
        all.push(read(call, 3, 4, n)?);
        lua.set_top(1);
    }
    start(call, all)
}

/// Reads a URI at `uri` and options at `options`; `n` numbers it in messages.
fn read(call: &mut Call<'_>, uri: i32, options: i32, n: usize) -> Result<Wanted> {
    let lua = call.lua;
    let (at, options) = (lua.absolute(uri), lua.absolute(options));
    let text = lua.to_bytes(at).ok_or_else(|| call.type_error(at, "string"))?;
    let Some((uri, args)) = safe_uri(text).filter(|(path, _)| !path.is_empty()) else {
        let shown = String::from_utf8_lossy(text);
        return Err(format!("unsafe uri in argument #1: {shown}").into());
    };
    let mut wanted = Wanted {
        uri,
        args,
        method: Method::Get,
        body: None,
        forward_body: false,
        variables: Variables::Own,
        assign: Vec::new(),
        headers: Vec::new(),
        ctx: None,
    };
    match lua.type_of(options) {
        Type::None | Type::Nil => {}
        Type::Table => read_options(call, options, &mut wanted)?,
        other => {
            let found = other.name();
            return Err(
                format!("expecting table as the 2nd argument for subrequest {n}, but got {found}").into()
            );
        }
    }
    Ok(wanted)
}

fn flag(lua: State<'_>, options: i32, name: &str) -> Result<bool> {
    lua.raw_get_field(options, name);
    let value = match lua.type_of(-1) {
        Type::Nil => false,
        Type::Boolean => lua.to_bool(-1),
        _ => return Err(format!("Bad {name} option value").into()),
    };
    lua.pop(1);
    Ok(value)
}

fn read_options(call: &mut Call<'_>, options: i32, wanted: &mut Wanted) -> Result<()> {
    let lua = call.lua;
    lua.raw_get_field(options, "args");
    match lua.type_of(-1) {
        Type::Nil => {}
        Type::Table | Type::String | Type::Number => {
            let more = args_option(lua, lua.top())?;
            if !more.is_empty() && !wanted.args.is_empty() {
                wanted.args.push(b'&');
            }
            wanted.args.extend_from_slice(&more);
        }
        _ => return Err("Bad args option value".into()),
    }
    lua.pop(1);
    lua.raw_get_field(options, "vars");
    match lua.type_of(-1) {
        Type::Nil => {}
        Type::Table => wanted.assign = pairs(lua)?,
        _ => return Err("Bad vars option value".into()),
    }
    lua.pop(1);
    lua.raw_get_field(options, "headers");
    match lua.type_of(-1) {
        Type::Nil => {}
        Type::Table => {
            let table = lua.top();
            lua.push_nil();
            while lua.next(table) {
                let name = lua.to_bytes_copy(-2);
                wanted.headers.push((name, super::header::values(lua, -1)?));
                lua.pop(1);
            }
        }
        _ => return Err("Bad headers option value".into()),
    }
    lua.pop(1);
    if flag(lua, options, "share_all_vars")? {
        wanted.variables = Variables::Shared;
    } else if flag(lua, options, "copy_all_vars")? {
        wanted.variables = Variables::Copied;
    }
    wanted.forward_body = flag(lua, options, "always_forward_body")?;
    read_method_and_body(call, options, wanted)
}

fn read_method_and_body(call: &mut Call<'_>, options: i32, wanted: &mut Wanted) -> Result<()> {
    let lua = call.lua;
    lua.raw_get_field(options, "method");
    match lua.type_of(-1) {
        Type::Nil => {}
        Type::Number => {
            let bit = lua.to_number(-1).unwrap_or_default();
            let found = exit::METHODS.iter().find(|(_, method)| f64::from(*method) == bit);
            let Some((name, _)) = found else {
                return Err(format!("unsupported HTTP method: {bit}").into());
            };
            wanted.method = Method::from_bytes(name.as_bytes());
        }
        _ => return Err("Bad http request method".into()),
    }
    lua.pop(1);
    lua.raw_get_field(options, "ctx");
    match lua.type_of(-1) {
        Type::Nil => lua.pop(1),
        Type::Table => wanted.ctx = Some(call.task().vm().take(lua)),
        other => {
            let found = other.name();
            return Err(format!("Bad ctx option value type {found}, expected a Lua table").into());
        }
    }
    lua.raw_get_field(options, "body");
    match lua.type_of(-1) {
        Type::Nil => {}
        Type::String | Type::Number => {
            wanted.body = lua.to_bytes(-1).map(Bytes::copy_from_slice);
        }
        _ => return Err("Bad http request body".into()),
    }
    lua.pop(1);
    Ok(())
}

/// Names and values of the table on top.
fn pairs(lua: State<'_>) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let table = lua.top();
    let mut all = Vec::new();
    lua.push_nil();
    while lua.next(table) {
        if lua.type_of(-2) != Type::String {
            return Err("attempt to use a non-string key in the \"vars\" option table".into());
        }
        let name = lua.to_bytes_copy(-2);
        let Some(value) = lua.to_bytes(-1) else {
            return Err(format!("attempt to use bad variable value type {}", lua.type_of(-1).name()).into());
        };
        all.push((name, value.to_vec()));
        lua.pop(1);
    }
    Ok(all)
}

fn start(call: &mut Call<'_>, wanted: Vec<Wanted>) -> Result {
    let req = call.request()?;
    if req.subrequests_left == 0 {
        return Err("subrequests cycle while processing the request".into());
    }
    let mut subs = Vec::with_capacity(wanted.len());
    for wanted in wanted {
        subs.push(make(req, wanted)?);
    }
    let shared = subs.iter().any(|(_, variables)| *variables == Variables::Shared);
    call.yields(
        Command::Wait(Box::pin(async move {
            let runs = subs.into_iter().map(|(mut sub, variables)| async move {
                phase::run_subrequest(&mut sub).await;
                (sub, variables)
            });
            let done = crate::join::all(runs).await;
            Answer::push(move |lua, parent| {
                let count = done.len() as i32;
                let mut values = None;
                for (mut sub, variables) in done {
                    if shared && variables == Variables::Shared {
                        values = Some(std::mem::take(&mut sub.values));
                    }
                    push_result(lua, &mut sub);
                }
                if let (Some(values), Some(parent)) = (values, parent) {
                    parent.values = values;
                }
                count
            })
        })),
        0,
    )
}

/// Makes a subrequest of `req`.
fn make(req: &mut Request, wanted: Wanted) -> Result<(Box<Request>, Variables)> {
    let takes_body = matches!(wanted.method, Method::Post | Method::Put | Method::Patch);
    let forward = wanted.body.is_none() && (wanted.forward_body || takes_body);
    let options = SubrequestOptions {
        args: wanted.args,
        method: Some(wanted.method),
        header_only: false,
        with_body: forward && req.body.progress == Progress::Kept,
        body_max: BODY_BYTES_MAX,
    };
    let capture = Capture { max: BODY_BYTES_MAX, ..Capture::default() };
    let mut sub = req.fork(wanted.uri, options, Io::Memory(capture));
    sub.origin = Origin::Subrequest;
    if wanted.variables == Variables::Own {
        sub.values.clear();
    }
    if let Some(body) = wanted.body {
        let mut length = Vec::new();
        http1::push_decimal(&mut length, body.len() as u64);
        sub.body.replace(body);
        sub.headers.set_known(Known::ContentLength, &length);
    }
    for (name, values) in wanted.headers {
        super::req::put(&mut sub, &name, &values);
    }
    for (name, value) in wanted.assign {
        if sub.assign_variable_by_name(&name, Some(&value)) != Assigned::Yes {
            let shown = String::from_utf8_lossy(&name);
            return Err(Error::Text(
                format!(
                    "variable \"{shown}\" cannot be assigned a value (maybe you forgot to define it first?) "
                )
                .into(),
            ));
        }
    }
    if let Some(ctx) = wanted.ctx {
        sub.context.set(Ctx(ctx));
    }
    Ok((sub, wanted.variables))
}

/// Pushes what a subrequest answered.
fn push_result(lua: State<'_>, sub: &mut Request) {
    lua.push_table(0, 4);
    lua.push_int(if sub.out.status == 0 { 500 } else { sub.out.status });
    lua.raw_set_field(-2, "status");
    let truncated = sub.io.is_aborted();
    lua.push_bytes(sub.captured());
    lua.raw_set_field(-2, "body");
    lua.push_bool(truncated);
    lua.raw_set_field(-2, "truncated");
    lua.push_table(0, 8);
    for name in ["Content-Type", "Content-Length", "Location", "Last-Modified"] {
        for value in super::header::find(sub, name.as_bytes()) {
            fields::add(lua, name.as_bytes(), &value);
        }
    }
    for (name, value) in sub.out.headers.iter() {
        fields::add(lua, name, value);
    }
    fields::mark(lua);
    lua.raw_set_field(-2, "header");
}
