//! `ngx.shared.DICT`: dictionaries that all workers share, and `lua_shared_dict`, which declares them.
//!
//! The storage is [`shm::Dict`]; here are the functions, with lua-resty-core's checks and texts. `ngx.shared.NAME` is a table
//! whose first element tells which dictionary it is.

use std::cell::RefCell;
use std::rc::Rc;

use ::conf::value::size;
use ::conf::{Node, Result as ConfResult};
use shm::Dict;
use shm::dict::{End, Found, KEY_MAX, Mode, Order, Refusal, Value};
use worker::build::{Builder, Conf, MergeCx, Slot};
use worker::config::Config;
use worker::zone::{ZoneKind, ZoneRef};

use super::{Function, push_path};
use crate::ffi::call::Result;
use crate::ffi::{Call, Returns, State, Type};
use crate::function;
use crate::phase::Phases;

/// What every dictionary has.
static METHODS: &[Function] = &[
    function!("get", Phases::ANY, "The value of a key, and its flags.", get),
    function!("get_stale", Phases::ANY, "The same, even if it has expired.", get_stale),
    function!("set", Phases::ANY, "Stores a value; the oldest give way.", set),
    function!("safe_set", Phases::ANY, "Stores a value if there is room.", safe_set),
    function!("add", Phases::ANY, "Stores a value under a key that is not there.", add),
    function!("safe_add", Phases::ANY, "The same, if there is room.", safe_add),
    function!("replace", Phases::ANY, "Stores a value under a key that is there.", replace),
    function!("delete", Phases::ANY, "Removes a key.", delete),
    function!("incr", Phases::ANY, "Adds to a number.", incr),
    function!("lpush", Phases::ANY, "Adds an element before a list.", lpush),
    function!("rpush", Phases::ANY, "Adds an element behind a list.", rpush),
    function!("lpop", Phases::ANY, "Takes the first element of a list.", lpop),
    function!("rpop", Phases::ANY, "Takes the last element of a list.", rpop),
    function!("llen", Phases::ANY, "How many elements a list has.", llen),
    function!("ttl", Phases::ANY, "Seconds until a key expires.", ttl),
    function!("expire", Phases::ANY, "Sets when a key expires.", expire),
    function!("flush_all", Phases::ANY, "Lets all keys expire.", flush_all),
    function!("flush_expired", Phases::ANY, "Removes keys that have expired.", flush_expired),
    function!("get_keys", Phases::ANY, "The keys.", get_keys),
    function!("capacity", Phases::ANY, "Bytes of the dictionary.", capacity),
    function!("free_space", Phases::ANY, "Bytes of free pages.", free_space),
];

/// Where the declarations stand.
pub static CONF: Slot<SharedConf> = Slot::new();

/// The dictionaries of the configuration, in the order of the text.
#[derive(Default)]
pub struct SharedConf(Vec<ZoneRef>);

impl Conf for SharedConf {
    fn merge(&mut self, _outer: &Self, _cx: &mut MergeCx<'_>) -> ConfResult<()> {
        Ok(())
    }
}

/// The smallest dictionary, bytes: two of nginx's pages less one byte are refused.
const SIZE_MIN: usize = 8192;

/// `lua_shared_dict`.
pub(crate) fn declare(cx: &mut Builder, node: &Node) -> ConfResult<()> {
    let name = node.first();
    if name.is_empty() {
        return Err(node.error(format!("invalid lua shared dict name \"{name}\"")));
    }
    let size = size::parse_size(node.second()).filter(|size| *size >= SIZE_MIN);
    let Some(size) = size else {
        return Err(node.error(format!("invalid lua shared dict size \"{}\"", node.second())));
    };
    if cx.http_conf(&CONF).0.iter().any(|zone| &*zone.name == name) {
        return Err(node.error(format!("lua_shared_dict \"{name}\" is already defined as \"{name}\"")));
    }
    let zone = cx.zone(node, name, Some(size), ZoneKind::Dict)?;
    cx.http_conf(&CONF).0.push(zone);
    Ok(())
}

thread_local! {
    /// The dictionaries of this worker; every VM of it numbers them alike.
    static DICTS: RefCell<Vec<Rc<Dict>>> = const { RefCell::new(Vec::new()) };
}

/// Makes `ngx.shared` in a new VM.
///
/// # Errors
/// A zone cannot be opened.
pub(crate) fn setup(lua: State<'_>, config: &Config) -> std::result::Result<(), String> {
    push_path(lua, "ngx.shared");
    let Some(http) = &config.http else {
        lua.set_top(0);
        return Ok(());
    };
    push_methods(lua);
    let zones = &http.get(&CONF).0;
    let mut dicts = Vec::with_capacity(zones.len());
    for zone in zones {
        // a process that only checks the configuration has no memory for it
        let Some(memory) = zone.memory() else { continue };
        let dict = Dict::open(memory).map_err(|error| format!("shared dict \"{}\": {error}", zone.name))?;
        dicts.push(Rc::new(dict));
        lua.push_table(1, 0);
        lua.push_light(dicts.len());
        lua.raw_set_index(-2, 1);
        lua.push_value(-2);
        lua.set_metatable(-2);
        lua.raw_set_field(1, &*zone.name);
    }
    DICTS.set(dicts);
    lua.set_top(0);
    Ok(())
}

/// Pushes the metatable of dictionaries.
fn push_methods(lua: State<'_>) {
    lua.push_table(0, METHODS.len() + 1);
    for method in METHODS {
        lua.push_function(method.raw);
        lua.raw_set_field(-2, method.name);
    }
    lua.push_value(-1);
    lua.raw_set_field(-2, "__index");
}

/// The dictionary the method is called on.
fn dict(call: &Call<'_>) -> Result<Rc<Dict>> {
    const BAD: &str = "bad \"zone\" argument";
    let lua = call.lua;
    if lua.type_of(1) != Type::Table {
        return Err(BAD.into());
    }
    lua.raw_get_index(1, 1);
    let number = lua.to_light(-1);
    lua.pop(1);
    let dict =
        number.and_then(|number| DICTS.with_borrow(|dicts| dicts.get(number.wrapping_sub(1)).cloned()));
    dict.ok_or_else(|| BAD.into())
}

/// Milliseconds of the clock that dictionaries go by.
fn now() -> u64 {
    net::now().0
}

/// The key in argument 2, or what is wrong with it.
fn key<'l>(call: &Call<'l>) -> std::result::Result<&'l [u8], &'static str> {
    let lua = call.lua;
    let key = match lua.type_of(2) {
        Type::None | Type::Nil => return Err("nil key"),
        Type::String | Type::Number => lua.to_bytes(2).unwrap_or_default(),
        Type::Boolean => {
            let text: &[u8] = if lua.to_bool(2) { b"true" } else { b"false" };
            text
        }
        other => {
            // `tostring` in its place, so that the text lives as long as the arguments
            lua.push_bytes(format!("{}: {:p}", other.name(), lua.to_pointer(2)));
            lua.replace(2);
            lua.to_bytes(2).unwrap_or_default()
        }
    };
    match key.len() {
        0 => Err("empty key"),
        len if len > KEY_MAX => Err("key too long"),
        _ => Ok(key),
    }
}

/// Seconds in argument `n` as milliseconds; nothing and false are none.
fn milliseconds(call: &Call<'_>, n: i32, name: &str) -> Result<u64> {
    let lua = call.lua;
    if lua.is_none_or_nil(n) || lua.type_of(n) == Type::Boolean && !lua.to_bool(n) {
        return Ok(0);
    }
    let seconds = call.number(n)?;
    if seconds < 0.0 {
        return Err(format!("bad \"{name}\" argument").into());
    }
    Ok((seconds * 1000.0) as u64)
}

thread_local! {
    /// Values are copied here while a dictionary is locked: Lua may run out of memory, or collect garbage, only afterwards.
    static COPY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Copies kept between calls are not larger than this.
const COPY_KEPT: usize = 64 << 10;

/// A value that was copied.
enum Copied {
    Boolean(bool),
    Number(f64),
    /// Its text is in [`COPY`].
    String,
}

fn copy(value: Value<'_>) -> Copied {
    match value {
        Value::Boolean(value) => Copied::Boolean(value),
        Value::Number(value) => Copied::Number(value),
        Value::String(text) => {
            COPY.with_borrow_mut(|copy| {
                copy.clear();
                copy.shrink_to(COPY_KEPT);
                copy.extend_from_slice(text);
            });
            Copied::String
        }
    }
}

impl Copied {
    fn push(self, lua: State<'_>) {
        match self {
            Copied::Boolean(value) => lua.push_bool(value),
            Copied::Number(value) => lua.push_number(value),
            Copied::String => COPY.with_borrow(|copy| lua.push_bytes(copy)),
        }
    }
}

fn get(call: &mut Call<'_>) -> Result {
    read(call, false)
}

fn get_stale(call: &mut Call<'_>) -> Result {
    read(call, true)
}

fn read(call: &Call<'_>, stale: bool) -> Result {
    let dict = dict(call)?;
    let key = match key(call) {
        Ok(key) => key,
        Err(text) => return call.failure(text),
    };
    let take = |found: Found<'_>| (copy(found.value), found.flags, found.stale);
    let (value, flags, is_stale) = match dict.get(key, now(), stale, take) {
        Ok(Some(found)) => found,
        Ok(None) => {
            call.lua.push_nil();
            return Ok(Returns::ONE);
        }
        Err(refusal) => return call.failure(refusal.to_string()),
    };
    value.push(call.lua);
    let mut count = 1;
    if flags != 0 || stale {
        if flags == 0 {
            call.lua.push_nil()
        } else {
            call.lua.push_int(flags as i32)
        }
        count += 1;
    }
    if stale {
        call.lua.push_bool(is_stale);
        count += 1;
    }
    Ok(Returns::values(count))
}

fn set(call: &mut Call<'_>) -> Result {
    store(call, Mode::Set, false)
}

fn safe_set(call: &mut Call<'_>) -> Result {
    store(call, Mode::Set, true)
}

fn add(call: &mut Call<'_>) -> Result {
    store(call, Mode::Add, false)
}

fn safe_add(call: &mut Call<'_>) -> Result {
    store(call, Mode::Add, true)
}

fn replace(call: &mut Call<'_>) -> Result {
    store(call, Mode::Replace, false)
}

/// Pushes what a store gives: whether it was done, why not, whether valid entries gave way.
fn stored(call: &Call<'_>, done: std::result::Result<bool, (Refusal, bool)>) -> Result {
    let lua = call.lua;
    let (error, forcible) = match done {
        Ok(forcible) => (None, forcible),
        Err((refusal, forcible)) => (Some(refusal), forcible),
    };
    lua.push_bool(error.is_none());
    match error {
        None => lua.push_nil(),
        Some(refusal) => lua.push_bytes(refusal.to_string()),
    }
    lua.push_bool(forcible);
    Ok(Returns::values(3))
}

fn store(call: &Call<'_>, mode: Mode, safe: bool) -> Result {
    let lua = call.lua;
    let dict = dict(call)?;
    let ttl_ms = milliseconds(call, 4, "exptime")?;
    let flags = lua.to_int(5).unwrap_or(0) as u32;
    let key = match key(call) {
        Ok(key) => key,
        Err(text) => return call.failure(text),
    };
    let value = match lua.type_of(3) {
        Type::Boolean => Value::Boolean(lua.to_bool(3)),
        Type::Number => Value::Number(lua.to_number(3).unwrap_or_default()),
        Type::String => Value::String(lua.to_bytes(3).unwrap_or_default()),
        Type::None | Type::Nil if mode == Mode::Set => return removed(call, &dict, key),
        Type::None | Type::Nil => {
            lua.push_bool(false);
            lua.push_bytes("attempt to add or replace nil values");
            lua.push_bool(false);
            return Ok(Returns::values(3));
        }
        _ => return call.failure("bad value type"),
    };
    let order = Order { mode, safe, ttl_ms, flags };
    stored(call, dict.store(key, value, order, now()))
}

fn removed(call: &Call<'_>, dict: &Dict, key: &[u8]) -> Result {
    let done = dict.delete(key, now());
    stored(call, done.map(|()| false).map_err(|refusal| (refusal, false)))
}

fn delete(call: &mut Call<'_>) -> Result {
    let dict = dict(call)?;
    match key(call) {
        Ok(key) => removed(call, &dict, key),
        Err(text) => call.failure(text),
    }
}

fn incr(call: &mut Call<'_>) -> Result {
    let lua = call.lua;
    let dict = dict(call)?;
    let number = |n: i32, name: &str| -> Result<f64> {
        lua.to_number(n)
            .ok_or_else(|| format!("bad {name} arg: number expected, got {}", lua.type_of(n).name()).into())
    };
    let has_init = !lua.is_none_or_nil(4) && lua.type_of(4) != Type::Boolean;
    let by = call.number(3)?;
    let init = if has_init { Some(number(4, "init")?) } else { None };
    let ttl = if lua.is_none_or_nil(5) { 0.0 } else { number(5, "init_ttl")? };
    if ttl < 0.0 {
        return Err("bad \"init_ttl\" argument".into());
    }
    if init.is_none() && !lua.is_none_or_nil(5) {
        return Err("must provide \"init\" when providing \"init_ttl\"".into());
    }
    let key = match key(call) {
        Ok(key) => key,
        Err(text) => return call.failure(text),
    };
    match dict.incr(key, by, init.map(|init| (init, (ttl * 1000.0) as u64)), now()) {
        Err(refusal) => call.failure(refusal.to_string()),
        Ok(made) => {
            lua.push_number(made.value);
            if init.is_none() {
                return Ok(Returns::ONE);
            }
            lua.push_nil();
            lua.push_bool(made.forcible);
            Ok(Returns::values(3))
        }
    }
}

/// `expecting N arguments, but only seen M`, as the list functions say it.
fn count(call: &Call<'_>, wanted: i32) -> Result<()> {
    if call.count() == wanted {
        return Ok(());
    }
    Err(format!("expecting {wanted} arguments, but only seen {}", call.count()).into())
}

fn lpush(call: &mut Call<'_>) -> Result {
    push(call, End::Left)
}

fn rpush(call: &mut Call<'_>) -> Result {
    push(call, End::Right)
}

fn push(call: &Call<'_>, end: End) -> Result {
    count(call, 3)?;
    let lua = call.lua;
    let dict = dict(call)?;
    let key = match key(call) {
        Ok(key) => key,
        Err(text) => return call.failure(text),
    };
    let value = match lua.type_of(3) {
        Type::Number => Value::Number(lua.to_number(3).unwrap_or_default()),
        Type::String => Value::String(lua.to_bytes(3).unwrap_or_default()),
        _ => return call.failure("bad value type"),
    };
    match dict.push(key, value, end, now()) {
        Ok(length) => {
            lua.push_number(length as f64);
            Ok(Returns::ONE)
        }
        Err(refusal) => call.failure(refusal.to_string()),
    }
}

fn lpop(call: &mut Call<'_>) -> Result {
    pop(call, End::Left)
}

fn rpop(call: &mut Call<'_>) -> Result {
    pop(call, End::Right)
}

fn pop(call: &Call<'_>, end: End) -> Result {
    count(call, 2)?;
    let dict = dict(call)?;
    let key = match key(call) {
        Ok(key) => key,
        Err(text) => return call.failure(text),
    };
    match dict.pop(key, end, now(), copy) {
        Ok(Some(value)) => value.push(call.lua),
        Ok(None) => call.lua.push_nil(),
        Err(refusal) => return call.failure(refusal.to_string()),
    }
    Ok(Returns::ONE)
}

fn llen(call: &mut Call<'_>) -> Result {
    count(call, 2)?;
    let dict = dict(call)?;
    let key = match key(call) {
        Ok(key) => key,
        Err(text) => return call.failure(text),
    };
    match dict.llen(key, now()) {
        Ok(length) => {
            call.lua.push_number(length as f64);
            Ok(Returns::ONE)
        }
        Err(refusal) => call.failure(refusal.to_string()),
    }
}

fn ttl(call: &mut Call<'_>) -> Result {
    let dict = dict(call)?;
    let key = match key(call) {
        Ok(key) => key,
        Err(text) => return call.failure(text),
    };
    match dict.ttl_ms(key, now()) {
        Ok(ms) => {
            call.lua.push_number(ms as f64 / 1000.0);
            Ok(Returns::ONE)
        }
        Err(refusal) => call.failure(refusal.to_string()),
    }
}

fn expire(call: &mut Call<'_>) -> Result {
    let dict = dict(call)?;
    if call.lua.to_number(3).is_none() {
        return Err("bad \"exptime\" argument".into());
    }
    // a time in the past is none, as it is to OpenResty
    let ttl_ms = (call.number(3)? * 1000.0) as u64;
    let key = match key(call) {
        Ok(key) => key,
        Err(text) => return call.failure(text),
    };
    match dict.expire(key, ttl_ms, now()) {
        Ok(()) => {
            call.lua.push_bool(true);
            Ok(Returns::ONE)
        }
        Err(refusal) => call.failure(refusal.to_string()),
    }
}

/// The error of a function that has no other way to tell of one.
fn broken(refusal: &Refusal) -> crate::ffi::Error {
    refusal.to_string().into()
}

fn flush_all(call: &mut Call<'_>) -> Result {
    dict(call)?.flush_all().map_err(|refusal| broken(&refusal))?;
    Ok(Returns::NONE)
}

/// The optional second argument: how many at most.
fn limit(call: &Call<'_>, default: usize) -> Result<usize> {
    if !matches!(call.count(), 1 | 2) {
        return Err(format!("expecting 1 or 2 argument(s), but saw {}", call.count()).into());
    }
    if call.count() == 1 {
        return Ok(default);
    }
    Ok(usize::try_from(call.integer(2)?).unwrap_or(0))
}

fn flush_expired(call: &mut Call<'_>) -> Result {
    let max = limit(call, 0)?;
    let removed = dict(call)?.flush_expired(max, now()).map_err(|refusal| broken(&refusal))?;
    call.lua.push_number(removed as f64);
    Ok(Returns::ONE)
}

/// Keys `get_keys` gives where its caller names no number.
const KEYS_DEFAULT: usize = 1024;

fn get_keys(call: &mut Call<'_>) -> Result {
    let max = limit(call, KEYS_DEFAULT)?;
    let (mut keys, mut ends) = (Vec::new(), Vec::new());
    let visit = |key: &[u8]| {
        keys.extend_from_slice(key);
        ends.push(keys.len());
    };
    dict(call)?.keys(max, now(), visit).map_err(|refusal| broken(&refusal))?;
    let lua = call.lua;
    lua.push_table(ends.len(), 0);
    let mut begin = 0;
    for (i, end) in ends.into_iter().enumerate() {
        lua.push_bytes(&keys[begin..end]);
        lua.raw_set_index(-2, i as i32 + 1);
        begin = end;
    }
    Ok(Returns::ONE)
}

fn capacity(call: &mut Call<'_>) -> Result {
    call.lua.push_number(dict(call)?.capacity() as f64);
    Ok(Returns::ONE)
}

fn free_space(call: &mut Call<'_>) -> Result {
    let free = dict(call)?.free_space().map_err(|refusal| broken(&refusal))?;
    call.lua.push_number(free as f64);
    Ok(Returns::ONE)
}
