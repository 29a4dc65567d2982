//! `ngx.arg`: the arguments of `set_by_lua`, and the piece of the body in `body_filter_by_lua`.

use bytes::Bytes;

use super::Function;
use super::output::append;
use crate::ffi::call::Result;
use crate::ffi::{Call, Returns, Type};
use crate::filter::Piece;
use crate::function;
use crate::phase::Phases;
use crate::set::Arguments;

/// Where there are arguments.
const USE: Phases = Phases::SET.or(Phases::BODY_FILTER);

/// The functions.
pub static FUNCTIONS: &[Function] = &[
    function!("ngx.arg:__index", USE, "Reads an argument of the code.", get),
    function!("ngx.arg:__newindex", Phases::BODY_FILTER, "Changes the piece of the body.", set),
];

fn get(call: &mut Call<'_>) -> Result {
    let lua = call.lua;
    let n = call.integer(2)?;
    let in_set = call.task().phase() == Phases::SET;
    let req = call.request()?;
    if in_set {
        let arguments = req.context.get::<Arguments>();
        let place = usize::try_from(n - 1).ok();
        match arguments.zip(place).and_then(|(arguments, place)| arguments.0.get(place)) {
            Some(value) => lua.push_bytes(value),
            None => lua.push_nil(),
        }
        return Ok(Returns::ONE);
    }
    match (n, req.context.get::<Piece>()) {
        (1, Some(piece)) => match &piece.data {
            Some(data) => lua.push_bytes(data),
            None => lua.push_bytes(""),
        },
        (2, Some(piece)) => lua.push_bool(piece.last),
        _ => lua.push_nil(),
    }
    Ok(Returns::ONE)
}

fn set(call: &mut Call<'_>) -> Result {
    let lua = call.lua;
    let n = call.integer(2)?;
    let mut text = Vec::new();
    match lua.type_of(3) {
        Type::Nil | Type::None => {}
        Type::Boolean if n == 2 => {}
        Type::String | Type::Number | Type::Table => append(lua, 3, &mut text),
        other => return Err(format!("bad chunk data type: {}", other.name()).into()),
    }
    let (is_nil, flag) = (lua.is_none_or_nil(3), lua.to_bool(3));
    let Some(piece) = call.request()?.context.get_mut::<Piece>() else {
        return Err("no body to change".into());
    };
    match n {
        1 => piece.data = (!is_nil).then(|| Bytes::from(text)),
        2 => piece.last = flag || (piece.last && !piece.ended && is_nil),
        _ => return Err(format!("bad argument index: {n}").into()),
    }
    piece.ended |= n == 2;
    Ok(Returns::NONE)
}
