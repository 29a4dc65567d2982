//! The request head: `ngx.req.*` for method, URI, arguments and header fields.

use http1::{Known, Method};
use worker::log::Level;
use worker::request::Request;

use super::args::{ARGS_MAX, encoded, push_args};
use super::header::{text, values};
use super::{Function, exit, fields};
use crate::ffi::call::Result;
use crate::ffi::{Call, Error, Returns, Type};
use crate::function;
use crate::phase::Phases;
use crate::sched::{Command, Exit};

/// The functions.
pub static FUNCTIONS: &[Function] = &[
    function!("ngx.req.get_method", Phases::ANY, "Returns the method.", get_method),
    function!("ngx.req.set_method", Phases::ANY, "Changes the method.", set_method),
    function!("ngx.req.get_headers", Phases::ANY, "Returns the request header fields.", get_headers),
    function!("ngx.req.set_header", Phases::ANY, "Sets a request header field.", set_header),
    function!("ngx.req.add_header", Phases::ANY, "Adds a request header field.", add_header),
    function!("ngx.req.clear_header", Phases::ANY, "Removes a request header field.", clear_header),
    function!("ngx.req.get_uri_args", Phases::ANY, "Returns the arguments of the URI.", get_uri_args),
    function!("ngx.req.set_uri_args", Phases::REQUEST, "Replaces the arguments of the URI.", set_uri_args),
    function!("ngx.req.set_uri", Phases::REQUEST, "Replaces the path of the URI.", set_uri),
    function!("ngx.req.raw_header", Phases::REQUEST, "Returns the request head as it was sent.", raw_header),
    function!("ngx.req.http_version", Phases::ANY, "Returns the version of HTTP.", http_version),
    function!(
        "ngx.req.is_internal",
        Phases::ANY,
        "Tells whether the request is an internal one.",
        is_internal
    ),
    function!("ngx.req.start_time", Phases::ANY, "Returns when the request began, in seconds.", start_time),
];

fn get_method(call: &mut Call<'_>) -> Result {
    let lua = call.lua;
    let req = call.request()?;
    lua.push_bytes(req.method_name());
    Ok(Returns::ONE)
}

fn set_method(call: &mut Call<'_>) -> Result {
    let bit = call.lua.to_number(1).ok_or("bad method number")?;
    let found = exit::METHODS.iter().find(|(_, method)| f64::from(*method) == bit);
    let Some((name, _)) = found else {
        return Err(format!("unsupported HTTP method: {bit}").into());
    };
    call.request()?.method = Method::from_bytes(name.as_bytes());
    Ok(Returns::NONE)
}

fn get_headers(call: &mut Call<'_>) -> Result {
    let lua = call.lua;
    let max = if lua.is_none_or_nil(1) { -1 } else { call.integer(1)? };
    let raw = lua.to_bool(2);
    let req = call.request()?;
    if fields::push(lua, req.headers.iter(), max, raw) {
        let (count, max) = (req.headers.len(), if max < 0 { 100 } else { max });
        req.log(Level::Debug, format_args!("lua exceeding request header limit {count} > {max}"));
        lua.push_bytes("truncated");
        return Ok(Returns::values(2));
    }
    Ok(Returns::ONE)
}

fn set_header(call: &mut Call<'_>) -> Result {
    let lua = call.lua;
    let Some(name) = text(lua, 1)? else {
        return Err(Error::Argument(1, "string expected, got nil".into()));
    };
    let all = values(lua, 2)?;
    put(call.request()?, &name, &all);
    Ok(Returns::NONE)
}

fn add_header(call: &mut Call<'_>) -> Result {
    let lua = call.lua;
    let Some(name) = text(lua, 1)? else {
        return Err(Error::Argument(1, "string expected, got nil".into()));
    };
    let all = values(lua, 2)?;
    if all.is_empty() {
        return Err("bad argument #2 to 'add_header' (string or table expected)".into());
    }
    let req = call.request()?;
    for value in &all {
        req.headers.push(&name, value);
    }
    Ok(Returns::NONE)
}

fn clear_header(call: &mut Call<'_>) -> Result {
    let lua = call.lua;
    let Some(name) = text(lua, 1)? else {
        return Err(Error::Argument(1, "string expected, got nil".into()));
    };
    put(call.request()?, &name, &[]);
    Ok(Returns::NONE)
}

/// Replaces a request field by `values`.
pub(crate) fn put(req: &mut Request, name: &[u8], values: &[Vec<u8>]) {
    req.headers.remove(name);
    for value in values {
        req.headers.push(name, value);
    }
    match Known::from_name(name) {
        Some(Known::Host) => {
            let mut host = Vec::new();
            let value = values.last().map(|value| &value[..]).unwrap_or_default();
            match http1::validate_host(value, &mut host) {
                Ok(port) => (req.host, req.host_port) = (host, port),
                Err(_) => (req.host, req.host_port) = (value.to_vec(), None),
            }
        }
        Some(Known::ContentLength) => {
            req.body.declared = values.last().and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
        }
        _ => {}
    }
}

fn get_uri_args(call: &mut Call<'_>) -> Result {
    let lua = call.lua;
    let max = if lua.is_none_or_nil(1) { ARGS_MAX } else { call.integer(1)? };
    let reuse = (lua.type_of(2) == Type::Table).then_some(2);
    let req = call.request()?;
    if push_args(lua, &req.args, max, reuse) {
        lua.push_bytes("truncated");
        return Ok(Returns::values(2));
    }
    Ok(Returns::ONE)
}

fn set_uri_args(call: &mut Call<'_>) -> Result {
    if call.count() != 1 {
        return Err(format!("expecting 1 argument but seen {}", call.count()).into());
    }
    let lua = call.lua;
    let args = match lua.type_of(1) {
        Type::String | Type::Number => {
            let text = lua.to_bytes(1).unwrap_or_default();
            if let Some(byte) = text.iter().find(|byte| is_unsafe(**byte)) {
                let shown = escape_log(text);
                return Err(format!("unsafe byte \"0x{byte:02x}\" in args \"{shown}\"").into());
            }
            text.to_vec()
        }
        Type::Table => encoded(lua, 1)?,
        other => {
            let text = format!("string, number, or table expected, but got {}", other.name());
            return Err(Error::Argument(1, text.into()));
        }
    };
    let req = call.request()?;
    req.args = args;
    req.unparsed_valid = false;
    Ok(Returns::NONE)
}

/// Whether a byte may not stand in a URI: controls.
pub(crate) fn is_unsafe(byte: u8) -> bool {
    byte < b' ' || byte == 0x7f
}

/// Text for a message: control characters as `\xXX`.
pub(crate) fn escape_log(text: &[u8]) -> String {
    let mut out = String::new();
    for byte in text {
        match byte {
            b' '..=b'~' if *byte != b'"' && *byte != b'\\' => out.push(*byte as char),
            _ => out.push_str(&format!("\\x{byte:02X}")),
        }
    }
    out
}

fn set_uri(call: &mut Call<'_>) -> Result {
    let lua = call.lua;
    let count = call.count();
    if !(1..=3).contains(&count) {
        return Err(format!("expecting 1, 2 or 3 arguments but seen {count}").into());
    }
    let uri = call.bytes(1)?;
    if uri.is_empty() {
        return Err("attempt to use zero-length uri".into());
    }
    if count >= 3 {
        call.expect(3, Type::Boolean)?;
    }
    if !lua.to_bool(3)
        && let Some(byte) = uri.iter().find(|byte| is_unsafe(**byte))
    {
        let shown = escape_log(uri);
        return Err(format!(
            "unsafe byte \"0x{byte:02x}\" in uri \"{shown}\" (maybe you want to set the 'binary' argument?)"
        )
        .into());
    }
    let mut jump = false;
    if count >= 2 {
        call.expect(2, Type::Boolean)?;
        jump = lua.to_bool(2);
    }
    let phase = call.task().phase();
    if jump && !phase.intersects(Phases::REWRITE.or(Phases::SERVER_REWRITE)) {
        return Err(format!("API disabled in the context of {}", phase.title()).into());
    }
    if jump && !lua.can_yield() {
        return Err("attempt to yield across C-call boundary".into());
    }
    let req = call.request()?;
    req.set_uri(uri.to_vec());
    req.internal = true;
    req.uri_changed = jump;
    if jump {
        call.task().set_exit(Exit::Rewrite);
        return call.yields(Command::Exit, 0);
    }
    Ok(Returns::NONE)
}

fn raw_header(call: &mut Call<'_>) -> Result {
    let lua = call.lua;
    let without_line = lua.to_bool(1);
    let req = call.request()?;
    let mut out = Vec::new();
    if !without_line {
        out.extend_from_slice(req.head.request_line());
        out.extend_from_slice(b"\r\n");
    }
    for run in req.headers.wire() {
        out.extend_from_slice(run);
    }
    out.extend_from_slice(b"\r\n");
    lua.push_bytes(out);
    Ok(Returns::ONE)
}

fn http_version(call: &mut Call<'_>) -> Result {
    let lua = call.lua;
    let version = call.request()?.version;
    lua.push_number(f64::from(version.major) + f64::from(version.minor) / 10.0);
    Ok(Returns::ONE)
}

fn is_internal(call: &mut Call<'_>) -> Result {
    let lua = call.lua;
    let internal = call.request()?.internal;
    lua.push_bool(internal);
    Ok(Returns::ONE)
}

fn start_time(call: &mut Call<'_>) -> Result {
    let lua = call.lua;
    let ago = net::now().since(call.request()?.start).as_millis() as u64;
    lua.push_number((net::unix_ms() - ago) as f64 / 1000.0);
    Ok(Returns::ONE)
}
