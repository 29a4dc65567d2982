//! Going elsewhere: `ngx.exec`, `ngx.redirect`.

use super::Function;
use super::args::encoded;
use super::req::{escape_log, is_unsafe};
use crate::ffi::call::Result;
use crate::ffi::{Call, Error, State, Type};
use crate::function;
use crate::phase::Phases;
use crate::sched::{Command, Exit};

/// The functions.
pub static FUNCTIONS: &[Function] = &[
    function!("ngx.exec", Phases::RESPONSE, "Serves another URI or named location instead.", exec),
    function!("ngx.redirect", Phases::RESPONSE, "Sends the client to another URI.", redirect),
];

/// The argument at `index` as a query string.
pub(crate) fn args_option(lua: State<'_>, index: i32) -> Result<Vec<u8>> {
    match lua.type_of(index) {
        Type::String | Type::Number => Ok(lua.to_bytes(index).unwrap_or_default().to_vec()),
        Type::Table => encoded(lua, index),
        Type::Nil | Type::None => Ok(Vec::new()),
        other => {
            let text = format!("string, number, or table expected, but got {}", other.name());
            Err(Error::Argument(index, text.into()))
        }
    }
}

/// Splits a URI of the code into path and arguments; `None`: it climbs out of the tree or holds a zero.
pub(crate) fn safe_uri(uri: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (path, args) = match memchr::memchr(b'?', uri) {
        Some(at) => (&uri[..at], &uri[at + 1..]),
        None => (uri, &b""[..]),
    };
    if path.contains(&0) || path.split(|byte| *byte == b'/').any(|part| part == b"..") {
        return None;
    }
    Some((path.to_vec(), args.to_vec()))
}

fn exec(call: &mut Call<'_>) -> Result {
    let count = call.count();
    if !(1..=2).contains(&count) {
        return Err(format!("expecting one or two arguments, but got {count}").into());
    }
    let uri = call.bytes(1)?;
    if uri.is_empty() {
        return Err("The uri argument is empty".into());
    }
    let (path, mut args) = safe_uri(uri).ok_or("unsafe uri")?;
    let more = args_option(call.lua, 2)?;
    if !more.is_empty() {
        if !args.is_empty() {
            args.push(b'&');
        }
        args.extend_from_slice(&more);
    }
    let req = call.request()?;
    if req.out.sent || req.out.begun {
        return Err("attempt to call ngx.exec after sending out response headers".into());
    }
    let exit = if path.starts_with(b"@") { Exit::Named(path) } else { Exit::Uri(path, args) };
    leave(call, exit)
}

fn leave(call: &mut Call<'_>, exit: Exit) -> Result {
    if !call.lua.can_yield() {
        return Err("attempt to yield across C-call boundary".into());
    }
    call.task().set_exit(exit);
    call.yields(Command::Exit, 0)
}

fn redirect(call: &mut Call<'_>) -> Result {
    let count = call.count();
    if !(1..=2).contains(&count) {
        return Err("expecting one or two arguments".into());
    }
    let uri = call.bytes(1)?;
    let status = if count == 2 { call.integer(2)? } else { 302 };
    if !matches!(status, 301..=303 | 307 | 308) {
        return Err(
            "only ngx.HTTP_MOVED_TEMPORARILY, ngx.HTTP_MOVED_PERMANENTLY, ngx.HTTP_PERMANENT_REDIRECT, \
                    ngx.HTTP_SEE_OTHER, and ngx.HTTP_TEMPORARY_REDIRECT are allowed"
                .into(),
        );
    }
    let req = call.request()?;
    if req.out.sent || req.out.begun {
        return Err("attempt to call ngx.redirect after sending out the headers".into());
    }
    if let Some(byte) = uri.iter().find(|byte| is_unsafe(**byte)) {
        let shown = escape_log(uri);
        return Err(format!("unsafe byte \"0x{byte:02x}\" in redirect uri \"{shown}\"").into());
    }
    // unlike in a rewrite, a path of our own is sent as it is
    if uri.starts_with(b"/") {
        req.out.headers.push(b"Location", uri);
    } else {
        req.out.location = Some(uri.to_vec());
    }
    leave(call, Exit::Redirect(status as u16))
}
