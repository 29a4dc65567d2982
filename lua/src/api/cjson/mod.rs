//! `cjson` and `cjson.safe`, built in: lua-cjson's functions, settings and texts as OpenResty bundles them.
//!
//! Every instance (`cjson.new()`) has a [`Config`] of its own, which its functions find in their first upvalue.

mod decode;
mod encode;
mod strings;

use std::cell::{Cell, RefCell};

use super::{Function, push_path};
use crate::ffi::call::Result;
use crate::ffi::{Call, Error, Returns, State, Type, UserData};
use crate::function;
use crate::phase::Phases;

/// Deepest nesting whatever is set: the Rust stack and Lua's must hold it.
const DEPTH_MAX: i64 = 2000;
/// What `encode` keeps of its buffer between calls, bytes.
const BUFFER_KEPT: usize = 1 << 20;

/// What is done with numbers that JSON does not have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Invalid {
    /// An error.
    Refused,
    /// Written and read.
    Allowed,
    /// `null` is written.
    Null,
}

/// The settings of an instance.
struct Config {
    sparse_convert: Cell<bool>,
    sparse_ratio: Cell<i64>,
    sparse_safe: Cell<i64>,
    encode_max_depth: Cell<i64>,
    decode_max_depth: Cell<i64>,
    precision: Cell<i64>,
    encode_invalid: Cell<Invalid>,
    decode_invalid: Cell<bool>,
    keep_buffer: Cell<bool>,
    empty_as_object: Cell<bool>,
    escape_slash: Cell<bool>,
    skip_unsupported: Cell<bool>,
    decode_array_mt: Cell<bool>,
    allow_comment: Cell<bool>,
    indent: RefCell<Vec<u8>>,
    /// Addresses of `array_mt` and `empty_array_mt`, which the registry keeps.
    array_mt: usize,
    empty_array_mt: usize,
}

impl UserData for Config {
    const NAME: &'static str = "cjson";
}

impl Config {
    fn new(array_mt: usize, empty_array_mt: usize) -> Self {
        Self {
            sparse_convert: Cell::new(false),
            sparse_ratio: Cell::new(2),
            sparse_safe: Cell::new(10),
            encode_max_depth: Cell::new(1000),
            decode_max_depth: Cell::new(1000),
            precision: Cell::new(14),
            encode_invalid: Cell::new(Invalid::Refused),
            decode_invalid: Cell::new(true),
            keep_buffer: Cell::new(true),
            empty_as_object: Cell::new(true),
            escape_slash: Cell::new(true),
            skip_unsupported: Cell::new(false),
            decode_array_mt: Cell::new(false),
            allow_comment: Cell::new(false),
            indent: RefCell::default(),
            array_mt,
            empty_array_mt,
        }
    }
}

/// Its address is the value `cjson.empty_array`.
static EMPTY_ARRAY: u8 = 0;

fn empty_array() -> usize {
    (&raw const EMPTY_ARRAY).addr()
}

/// The functions of an instance.
static FUNCTIONS: &[Function] = &[
    function!("encode_sparse_array", Phases::ANY, "What becomes of arrays with holes.", sparse_array),
    function!("encode_max_depth", Phases::ANY, "How deep tables may be nested.", encode_max_depth),
    function!("decode_max_depth", Phases::ANY, "How deep texts may be nested.", decode_max_depth),
    function!("encode_number_precision", Phases::ANY, "Digits of numbers.", precision),
    function!("encode_keep_buffer", Phases::ANY, "Whether memory is kept between calls.", keep_buffer),
    function!("encode_invalid_numbers", Phases::ANY, "Whether NaN and infinity are written.", encode_invalid),
    function!(
        "decode_invalid_numbers",
        Phases::ANY,
        "Whether NaN, infinity and hexadecimal numbers are read.",
        decode_invalid
    ),
    function!("encode_empty_table_as_object", Phases::ANY, "What an empty table is.", empty_as_object),
    function!(
        "decode_array_with_array_mt",
        Phases::ANY,
        "Whether arrays get the metatable array_mt.",
        decode_array_mt
    ),
    function!("decode_allow_comment", Phases::ANY, "Whether comments are passed over.", allow_comment),
    function!("encode_escape_forward_slash", Phases::ANY, "Whether slashes are escaped.", escape_slash),
    function!(
        "encode_skip_unsupported_value_types",
        Phases::ANY,
        "Whether values without a form in JSON are left out.",
        skip_unsupported
    ),
    function!("encode_indent", Phases::ANY, "What lines are indented with.", indent),
];

static ENCODE: Function = function!("encode", Phases::ANY, "The JSON text of a value.", encode);
static DECODE: Function = function!("decode", Phases::ANY, "The value of a JSON text.", decode);
static SAFE_ENCODE: Function =
    function!("encode", Phases::ANY, "The same; nil and a message on errors.", safe_encode);
static SAFE_DECODE: Function =
    function!("decode", Phases::ANY, "The same; nil and a message on errors.", safe_decode);
static NEW: Function = function!("new", Phases::ANY, "Another instance.", new);
static SAFE_NEW: Function = function!("new", Phases::ANY, "Another instance.", safe_new);

/// Makes `cjson` and `cjson.safe` known to `require`.
pub(super) fn setup(lua: State<'_>) {
    for name in ["cjson.array_mt", "cjson.empty_array_mt"] {
        lua.push_table(0, 0);
        lua.raw_set_field(State::REGISTRY, name);
    }
    push_path(lua, "package.loaded");
    for (name, safe) in [("cjson", false), ("cjson.safe", true)] {
        push_instance(lua, safe);
        lua.raw_set_field(1, name);
    }
}

/// Pushes a new instance.
fn push_instance(lua: State<'_>, safe: bool) {
    let address = |name: &str| {
        lua.raw_get_field(State::REGISTRY, name);
        let address = lua.to_pointer(-1).addr();
        lua.pop(1);
        address
    };
    let config = Config::new(address("cjson.array_mt"), address("cjson.empty_array_mt"));
    lua.push_table(0, 28);
    lua.push_userdata(config);
    let own: [&Function; 3] =
        if safe { [&SAFE_ENCODE, &SAFE_DECODE, &SAFE_NEW] } else { [&ENCODE, &DECODE, &NEW] };
    for function in FUNCTIONS.iter().chain(own) {
        lua.push_value(-1);
        lua.push_closure(function.raw, 1);
        lua.raw_set_field(-3, function.name);
    }
    lua.pop(1);
    lua.push_light(0);
    lua.raw_set_field(-2, "null");
    lua.push_light(empty_array());
    lua.raw_set_field(-2, "empty_array");
    for name in ["array_mt", "empty_array_mt"] {
        lua.raw_get_field(State::REGISTRY, format!("cjson.{name}"));
        lua.raw_set_field(-2, name);
    }
    for (name, value) in [("_NAME", if safe { "cjson.safe" } else { "cjson" }), ("_VERSION", "2.1.0.11")] {
        lua.push_bytes(value);
        lua.raw_set_field(-2, name);
    }
}

/// The settings of the instance whose function runs.
fn config<'l>(call: &Call<'l>) -> Result<&'l Config> {
    call.lua
        .userdata::<Config>(State::upvalue(1))
        .ok_or_else(|| "BUG: Unable to fetch CJSON configuration".into())
}

fn one_argument(call: &Call<'_>) -> Result<()> {
    if call.count() == 1 { Ok(()) } else { Err(Error::Argument(1, "expected 1 argument".into())) }
}

thread_local! {
    /// Where texts are put together; taken out while one is.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Pushes the JSON text of argument 1.
fn encoded(call: &Call<'_>) -> std::result::Result<(), String> {
    let config = config(call).map_err(|_| "BUG: Unable to fetch CJSON configuration")?;
    let mut out = BUFFER.take();
    out.clear();
    let done = encode::value(call.lua, 1, config, &mut out);
    if done.is_ok() {
        call.lua.push_bytes(&out);
    }
    if config.keep_buffer.get() && out.capacity() <= BUFFER_KEPT {
        BUFFER.set(out);
    }
    done
}

fn encode(call: &mut Call<'_>) -> Result {
    one_argument(call)?;
    encoded(call)?;
    Ok(Returns::ONE)
}

fn safe_encode(call: &mut Call<'_>) -> Result {
    one_argument(call)?;
    match encoded(call) {
        Ok(()) => Ok(Returns::ONE),
        Err(message) => call.failure(message),
    }
}

/// Pushes the value of the text in argument 1.
fn decoded(call: &Call<'_>, text: &[u8]) -> std::result::Result<(), String> {
    let config = config(call).map_err(|_| "BUG: Unable to fetch CJSON configuration")?;
    let top = call.lua.top();
    decode::value(call.lua, text, config).inspect_err(|_| call.lua.set_top(top))
}

fn decode(call: &mut Call<'_>) -> Result {
    one_argument(call)?;
    let text = call.bytes(1)?;
    decoded(call, text)?;
    Ok(Returns::ONE)
}

fn safe_decode(call: &mut Call<'_>) -> Result {
    one_argument(call)?;
    let Some(text) = call.lua.to_bytes(1) else {
        let found = call.lua.type_of(1).name();
        return call.failure(format!("bad argument #1 to '?' (string expected, got {found})"));
    };
    match decoded(call, text) {
        Ok(()) => Ok(Returns::ONE),
        Err(message) => call.failure(message),
    }
}

fn new(call: &mut Call<'_>) -> Result {
    push_instance(call.lua, false);
    Ok(Returns::ONE)
}

fn safe_new(call: &mut Call<'_>) -> Result {
    push_instance(call.lua, true);
    Ok(Returns::ONE)
}

// --- settings

fn arguments<'l>(call: &Call<'l>, max: i32) -> Result<&'l Config> {
    if call.count() > max {
        return Err(Error::Argument(max + 1, "found too many arguments".into()));
    }
    config(call)
}

/// Sets a number if argument `n` is one, and pushes what is set.
fn integer(call: &Call<'_>, n: i32, setting: &Cell<i64>, min: i64, max: i64) -> Result<()> {
    if !call.lua.is_none_or_nil(n) {
        let value = call.integer(n)?;
        if !(min..=max).contains(&value) {
            return Err(Error::Argument(1, format!("expected integer between {min} and {max}").into()));
        }
        setting.set(value);
    }
    call.lua.push_number(setting.get() as f64);
    Ok(())
}

/// Sets a flag if argument `n` is a boolean, `on` or `off`, and pushes what is set.
fn flag(call: &Call<'_>, n: i32, setting: &Cell<bool>) -> Result<()> {
    let lua = call.lua;
    match lua.type_of(n) {
        Type::None | Type::Nil => {}
        Type::Boolean => setting.set(lua.to_bool(n)),
        _ => match call.bytes(n)? {
            b"on" => setting.set(true),
            b"off" => setting.set(false),
            other => {
                let text = format!("invalid option '{}'", String::from_utf8_lossy(other));
                return Err(Error::Argument(n, text.into()));
            }
        },
    }
    lua.push_bool(setting.get());
    Ok(())
}

const INT_MAX: i64 = i32::MAX as i64;

fn sparse_array(call: &mut Call<'_>) -> Result {
    let config = arguments(call, 3)?;
    call.lua.set_top(3);
    flag(call, 1, &config.sparse_convert)?;
    integer(call, 2, &config.sparse_ratio, 0, INT_MAX)?;
    integer(call, 3, &config.sparse_safe, 0, INT_MAX)?;
    Ok(Returns::values(3))
}

fn encode_max_depth(call: &mut Call<'_>) -> Result {
    integer(call, 1, &arguments(call, 1)?.encode_max_depth, 1, INT_MAX)?;
    Ok(Returns::ONE)
}

fn decode_max_depth(call: &mut Call<'_>) -> Result {
    integer(call, 1, &arguments(call, 1)?.decode_max_depth, 1, INT_MAX)?;
    Ok(Returns::ONE)
}

fn precision(call: &mut Call<'_>) -> Result {
    integer(call, 1, &arguments(call, 1)?.precision, 1, 16)?;
    Ok(Returns::ONE)
}

fn keep_buffer(call: &mut Call<'_>) -> Result {
    flag(call, 1, &arguments(call, 1)?.keep_buffer)?;
    Ok(Returns::ONE)
}

fn encode_invalid(call: &mut Call<'_>) -> Result {
    let config = arguments(call, 1)?;
    let lua = call.lua;
    if lua.type_of(1) == Type::String && lua.to_bytes(1) == Some(b"null") {
        config.encode_invalid.set(Invalid::Null);
    } else if !lua.is_none_or_nil(1) {
        let allowed = Cell::new(false);
        flag(call, 1, &allowed)?;
        config.encode_invalid.set(if allowed.get() { Invalid::Allowed } else { Invalid::Refused });
    }
    match config.encode_invalid.get() {
        Invalid::Null => lua.push_bytes("null"),
        setting => lua.push_bool(setting == Invalid::Allowed),
    }
    Ok(Returns::ONE)
}

fn decode_invalid(call: &mut Call<'_>) -> Result {
    flag(call, 1, &arguments(call, 1)?.decode_invalid)?;
    Ok(Returns::ONE)
}

fn empty_as_object(call: &mut Call<'_>) -> Result {
    flag(call, 1, &arguments(call, 1)?.empty_as_object)?;
    Ok(Returns::ONE)
}

fn decode_array_mt(call: &mut Call<'_>) -> Result {
    flag(call, 1, &arguments(call, 1)?.decode_array_mt)?;
    Ok(Returns::ONE)
}

fn allow_comment(call: &mut Call<'_>) -> Result {
    flag(call, 1, &arguments(call, 1)?.allow_comment)?;
    Ok(Returns::ONE)
}

fn escape_slash(call: &mut Call<'_>) -> Result {
    flag(call, 1, &arguments(call, 1)?.escape_slash)?;
    Ok(Returns::ONE)
}

fn skip_unsupported(call: &mut Call<'_>) -> Result {
    flag(call, 1, &arguments(call, 1)?.skip_unsupported)?;
    Ok(Returns::ONE)
}

fn indent(call: &mut Call<'_>) -> Result {
    let config = arguments(call, 1)?;
    if !call.lua.is_none_or_nil(1) {
        *config.indent.borrow_mut() = call.bytes(1)?.to_vec();
    }
    call.lua.push_bytes(&*config.indent.borrow());
    Ok(Returns::ONE)
}
