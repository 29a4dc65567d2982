//! Response header fields: `ngx.header`, `ngx.resp.*`.
//!
//! What nginx's own head has a place for (type, length, `Last-Modified`, `Location`, `Server`, `Date`) is read and written
//! there; everything else stands among the fields in order.

use worker::log::Level;
use worker::request::Request;

use super::Function;
use super::output::append_number;
use crate::ffi::call::Result;
use crate::ffi::{Call, Error, Returns, State, Type};
use crate::function;
use crate::phase::Phases;

/// The functions.
pub static FUNCTIONS: &[Function] = &[
    function!("ngx.header:__index", Phases::ANY, "Reads a response header field.", get),
    function!("ngx.header:__newindex", Phases::ANY, "Sets a response header field.", set),
    function!("ngx.resp.get_headers", Phases::ANY, "Returns the response header fields.", get_headers),
    function!("ngx.resp.set_status", Phases::ANY, "Sets status and reason of the response.", set_status),
    function!("ngx.resp.add_header", Phases::ANY, "Adds a response header field.", add_header),
];

/// Where fields are still changed after the head was decided: header filters themselves.
fn is_late(call: &mut Call<'_>) -> Result<bool> {
    let filters = Phases::HEADER_FILTER.or(Phases::BALANCER);
    let in_filter = call.task().phase().intersects(filters);
    let req = call.request()?;
    Ok(req.out.sent || (req.out.begun && !in_filter))
}

/// A field's name with underscores as dashes, where the location says so.
fn field_name(req: &Request, name: &[u8]) -> Vec<u8> {
    let mut name = name.to_vec();
    if crate::response::settings(req).transform_underscores {
        name.iter_mut().filter(|byte| **byte == b'_').for_each(|byte| *byte = b'-');
    }
    name
}

/// The value at `index` as text; `None`: it is nil.
pub(crate) fn text(lua: State<'_>, index: i32) -> Result<Option<Vec<u8>>> {
    Ok(match lua.type_of(index) {
        Type::Nil | Type::None => None,
        Type::String => lua.to_bytes(index).map(<[u8]>::to_vec),
        Type::Number => {
            let mut out = Vec::new();
            append_number(lua.to_number(index).unwrap_or_default(), &mut out);
            Some(out)
        }
        _ => {
            lua.to_text(index).map_err(|_| Error::Value)?;
            let text = lua.to_bytes(-1).unwrap_or_default().to_vec();
            lua.pop(1);
            Some(text)
        }
    })
}

/// The values of an argument that may be a table.
pub(crate) fn values(lua: State<'_>, index: i32) -> Result<Vec<Vec<u8>>> {
    if lua.type_of(index) != Type::Table {
        return Ok(text(lua, index)?.into_iter().collect());
    }
    let table = lua.absolute(index);
    let mut all = Vec::new();
    for n in 1..=lua.len(table) {
        lua.raw_get_index(table, n as i32);
        let value = text(lua, -1)?;
        lua.pop(1);
        all.extend(value);
    }
    Ok(all)
}

fn set(call: &mut Call<'_>) -> Result {
    let lua = call.lua;
    let Some(name) = text(lua, 2)? else { return Err("invalid header name".into()) };
    let late = is_late(call)?;
    let all = values(lua, 3)?;
    let req = call.request()?;
    if late {
        req.log(
            Level::Error,
            format_args!("attempt to set ngx.header.HEADER after sending out response headers"),
        );
        return Ok(Returns::NONE);
    }
    let name = field_name(req, &name);
    put(req, &name, &all, true)?;
    Ok(Returns::NONE)
}

fn add_header(call: &mut Call<'_>) -> Result {
    let lua = call.lua;
    let Some(name) = text(lua, 1)? else { return Err("invalid header name".into()) };
    if lua.is_none_or_nil(2) {
        return Err("invalid header value".into());
    }
    let late = is_late(call)?;
    let all = values(lua, 2)?;
    let req = call.request()?;
    if late {
        req.log(
            Level::Error,
            format_args!("attempt to set ngx.header.HEADER after sending out response headers"),
        );
        return Ok(Returns::NONE);
    }
    let name = field_name(req, &name);
    if !all.is_empty() {
        put(req, &name, &all, false)?;
    }
    Ok(Returns::NONE)
}

/// The code chose that there is no type.
pub(crate) struct NoType;

/// Fields nginx's own head has a place for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Type,
    Length,
    LastModified,
    Location,
    Server,
    Date,
}

fn place(name: &[u8]) -> Option<Place> {
    const PLACES: [(&[u8], Place); 6] = [
        (b"content-type", Place::Type),
        (b"content-length", Place::Length),
        (b"last-modified", Place::LastModified),
        (b"location", Place::Location),
        (b"server", Place::Server),
        (b"date", Place::Date),
    ];
    PLACES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, place)| *place)
}

/// Sets (or adds) a field. No value: it is removed.
pub(crate) fn put(req: &mut Request, name: &[u8], values: &[Vec<u8>], replace: bool) -> Result<()> {
    let out = &mut req.out;
    let last = values.last();
    let text = || last.map(|value| escaped(value));
    match place(name) {
        Some(Place::Type) => match last {
            Some(value) => set_type(req, value),
            None => {
                out.set_content_type(b"");
                req.context.set(NoType);
            }
        },
        Some(Place::Length) => match last {
            Some(value) => {
                let length = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                out.content_length = Some(length.ok_or("failed to set header")?);
            }
            None => out.clear_length(),
        },
        Some(Place::LastModified) => {
            out.clear_last_modified();
            if let Some(value) = last {
                out.last_modified = http1::parse_http_time(value);
                if out.last_modified.is_none() {
                    out.headers.push(name, value);
                }
            }
        }
        Some(Place::Location) => {
            out.headers.remove(name);
            out.location = None;
            match text() {
                // a path of our own is sent as it is
                Some(value) if value.starts_with(b"/") => out.headers.push(name, &value),
                value => out.location = value,
            }
        }
        Some(Place::Server) => out.server = Some(text().unwrap_or_default()),
        Some(Place::Date) => out.date = Some(text().unwrap_or_default()),
        None => {
            if replace {
                out.headers.remove(name);
            }
            for value in values {
                out.headers.push(name, &escaped(value));
            }
        }
    }
    Ok(())
}

/// Control characters as `%XX`.
fn escaped(value: &[u8]) -> Vec<u8> {
    let unsafe_byte = |byte: &u8| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f;
    let mut out = Vec::with_capacity(value.len());
    for byte in value {
        if unsafe_byte(byte) {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        } else {
            out.push(*byte);
        }
    }
    out
}

fn set_type(req: &mut Request, value: &[u8]) {
    req.out.set_content_type(&escaped(value));
    // the part filters compare with ends before the parameters
    if let Some(at) = memchr::memchr(b';', value) {
        req.out.content_type_len = at;
    }
}

fn set_status(call: &mut Call<'_>) -> Result {
    let status = call.integer(1)?;
    let reason = text(call.lua, 2)?;
    let late = is_late(call)?;
    let req = call.request()?;
    if late {
        let log = "attempt to set ngx.status after sending out response headers";
        req.log(Level::Error, format_args!("{log}"));
        return Ok(Returns::NONE);
    }
    let status = u16::try_from(status).ok().filter(|status| (100..=999).contains(status));
    req.out.status = status.ok_or("invalid status")?;
    let line = |reason: Vec<u8>| [format!("{} ", req.out.status).as_bytes(), &escaped(&reason)].concat();
    req.out.status_text = reason.map(|reason| line(reason).into());
    Ok(Returns::NONE)
}

fn get(call: &mut Call<'_>) -> Result {
    let lua = call.lua;
    let Some(name) = text(lua, 2)? else { return Err("invalid header name".into()) };
    let req = call.request()?;
    let name = field_name(req, &name);
    let found = find(req, &name);
    match &found[..] {
        [] => lua.push_nil(),
        [one] => lua.push_bytes(one),
        many => {
            lua.push_table(many.len(), 0);
            for (n, value) in many.iter().enumerate() {
                lua.push_bytes(value);
                lua.raw_set_index(-2, n as i32 + 1);
            }
        }
    }
    Ok(Returns::ONE)
}

/// The values of a field.
pub(crate) fn find(req: &mut Request, name: &[u8]) -> Vec<Vec<u8>> {
    let decimal = |number: u64| {
        let mut text = Vec::new();
        http1::push_decimal(&mut text, number);
        text
    };
    let out = &req.out;
    let own = match place(name) {
        Some(Place::Type) => {
            let mut value = out.content_type.clone();
            if !out.charset.is_empty() && out.content_type_len == value.len() {
                value.extend_from_slice(b"; charset=");
                value.extend_from_slice(&out.charset);
            }
            (!value.is_empty()).then_some(value)
        }
        Some(Place::Length) => out.content_length.map(decimal),
        Some(Place::LastModified) => out.last_modified.map(|time| http1::http_time(time).to_vec()),
        Some(Place::Location) => out.location.clone(),
        Some(Place::Server) => out.server.clone().filter(|value| !value.is_empty()),
        Some(Place::Date) => out.date.clone().filter(|value| !value.is_empty()),
        None => None,
    };
    match own {
        Some(value) => vec![value],
        None => req.out.headers.get_all(name).map(<[u8]>::to_vec).collect(),
    }
}

fn get_headers(call: &mut Call<'_>) -> Result {
    let lua = call.lua;
    let max = if lua.is_none_or_nil(1) { 100 } else { call.integer(1)? };
    let raw = lua.to_bool(2);
    let req = call.request()?;
    let many = super::fields::push(lua, req.out.headers.iter(), max, raw);
    // what the head has by itself does not count
    for name in ["Content-Type", "Content-Length", "Location", "Last-Modified"] {
        for value in find_own(req, name.as_bytes()) {
            add(lua, name, &value, raw);
        }
    }
    let connection = match (req.out.status, req.keepalive) {
        (101, _) => "upgrade",
        (_, true) => "keep-alive",
        (_, false) => "close",
    };
    add(lua, "Connection", connection.as_bytes(), raw);
    if req.out.chunked {
        add(lua, "Transfer-Encoding", b"chunked", raw);
    }
    if many {
        let (count, max) = (req.out.headers.len(), if max < 0 { 100 } else { max });
        req.log(Level::Debug, format_args!("lua exceeding response header limit {count} > {max}"));
        lua.push_bytes("truncated");
        return Ok(Returns::values(2));
    }
    Ok(Returns::ONE)
}

/// The value of a field that has a place of its own, if it stands there.
fn find_own(req: &mut Request, name: &[u8]) -> Vec<Vec<u8>> {
    if req.out.headers.get(name).is_some() { Vec::new() } else { find(req, name) }
}

fn add(lua: State<'_>, name: &str, value: &[u8], raw: bool) {
    if raw {
        super::fields::add(lua, name.as_bytes(), value);
    } else {
        super::fields::add(lua, name.to_ascii_lowercase().as_bytes(), value);
    }
}
