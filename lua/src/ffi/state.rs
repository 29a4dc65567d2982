//! A Lua stack: values in, values out, nothing that raises.

use std::ffi::{CStr, c_int, c_void};
use std::marker::PhantomData;

use mlua_sys as sys;

/// A function Lua can call: made with [`function!`](crate::function), never by hand.
pub type Raw = extern "C-unwind" fn(State) -> c_int;

/// A Lua thread's stack. Indices are Lua's: from 1 up, or from -1 (the top) down.
///
/// Strings are borrowed from the stack: they live as long as their value stands there. Functions leave their arguments in
/// their places until they return, so an argument's text may be used while results are pushed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct State<'l> {
    pub(super) raw: *mut sys::lua_State,
    life: PhantomData<&'l ()>,
}

/// Lua's types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Type {
    None,
    Nil,
    Boolean,
    LightUserdata,
    Number,
    String,
    Table,
    Function,
    Userdata,
    Thread,
    Cdata,
}

impl Type {
    /// Lua's name of the type, as in error messages.
    pub fn name(self) -> &'static str {
        match self {
            Type::None => "no value",
            Type::Nil => "nil",
            Type::Boolean => "boolean",
            Type::LightUserdata | Type::Userdata => "userdata",
            Type::Number => "number",
            Type::String => "string",
            Type::Table => "table",
            Type::Function => "function",
            Type::Thread => "thread",
            Type::Cdata => "cdata",
        }
    }

    fn of(raw: c_int) -> Self {
        match raw {
            sys::LUA_TNIL => Type::Nil,
            sys::LUA_TBOOLEAN => Type::Boolean,
            sys::LUA_TLIGHTUSERDATA => Type::LightUserdata,
            sys::LUA_TNUMBER => Type::Number,
            sys::LUA_TSTRING => Type::String,
            sys::LUA_TTABLE => Type::Table,
            sys::LUA_TFUNCTION => Type::Function,
            sys::LUA_TUSERDATA => Type::Userdata,
            sys::LUA_TTHREAD => Type::Thread,
            10 => Type::Cdata,
            _ => Type::None,
        }
    }
}

/// Whether `index` may be used on a stack with `top` values.
fn is_pseudo(index: c_int) -> bool {
    index <= sys::LUA_REGISTRYINDEX
}

// The methods below check what Lua's C interface does not: that an index is on the stack and that there is room.
#[allow(missing_docs)]
impl<'l> State<'l> {
    /// The registry, as an index.
    pub const REGISTRY: c_int = sys::LUA_REGISTRYINDEX;
    /// As the number of results of a call: all there are.
    pub const ALL_RESULTS: c_int = sys::LUA_MULTRET;
    /// The global table, as an index.
    pub const GLOBALS: c_int = sys::LUA_GLOBALSINDEX;

    pub(super) fn new(raw: *mut sys::lua_State) -> Self {
        Self { raw, life: PhantomData }
    }

    /// The C interface's pointer, to compare or to hand to the C interface.
    pub fn as_ptr(self) -> *mut c_void {
        self.raw.cast()
    }

    /// The upvalue `n` (from 1) of the running function, as an index.
    pub fn upvalue(n: c_int) -> c_int {
        sys::lua_upvalueindex(n)
    }

    pub fn top(self) -> c_int {
        // SAFETY: a `State` is a live Lua thread.
        unsafe { sys::lua_gettop(self.raw) }
    }

    pub fn set_top(self, top: c_int) {
        debug_assert!(top >= 0);
        self.room(top.saturating_sub(self.top()).max(0));
        // SAFETY: not negative, and there is room.
        unsafe { sys::lua_settop(self.raw, top) }
    }

    pub fn pop(self, count: c_int) {
        self.set_top((self.top() - count).max(0));
    }

    /// Makes room for `count` more values; `false`: the stack is as large as stacks get.
    pub fn check_stack(self, count: c_int) -> bool {
        // SAFETY: may allocate, which cannot fail here (see `alloc`).
        unsafe { sys::lua_checkstack(self.raw, count) != 0 }
    }

    fn room(self, count: c_int) {
        // a C function has 20 free places; every push asks for its own beyond that
        if self.top() + count > 16 && !self.check_stack(count + 4) {
            panic!("Lua stack overflow");
        }
    }

    /// `index` counted from the bottom.
    pub fn absolute(self, index: c_int) -> c_int {
        if index > 0 || is_pseudo(index) { index } else { self.top() + index + 1 }
    }

    fn valid(self, index: c_int) -> c_int {
        let ok = is_pseudo(index) || (index != 0 && index.abs() <= self.top());
        assert!(ok, "no value at index {index}");
        index
    }

    pub fn type_of(self, index: c_int) -> Type {
        if index < 0 && !is_pseudo(index) && -index > self.top() {
            return Type::None;
        }
        // SAFETY: an index above the top is of no type; one below the bottom was sorted out.
        Type::of(unsafe { sys::lua_type(self.raw, index) })
    }

    pub fn is_none_or_nil(self, index: c_int) -> bool {
        matches!(self.type_of(index), Type::None | Type::Nil)
    }

    pub fn to_bool(self, index: c_int) -> bool {
        // SAFETY: any index above the top is false.
        !matches!(self.type_of(index), Type::None) && unsafe { sys::lua_toboolean(self.raw, index) != 0 }
    }

    /// A number, or a string that reads as one.
    pub fn to_number(self, index: c_int) -> Option<f64> {
        match self.type_of(index) {
            // SAFETY: the index is valid, as its type says.
            Type::Number | Type::String => unsafe {
                (sys::lua_isnumber(self.raw, index) != 0).then(|| sys::lua_tonumber(self.raw, index))
            },
            _ => None,
        }
    }

    /// Like [`to_number`](Self::to_number), cut to an integer.
    pub fn to_int(self, index: c_int) -> Option<i64> {
        self.to_number(index).map(|number| number as i64)
    }

    /// A string, or a number as text. A number becomes a string in its place, as in Lua.
    pub fn to_bytes(self, index: c_int) -> Option<&'l [u8]> {
        match self.type_of(index) {
            Type::String | Type::Number => {
                let mut len = 0;
                // SAFETY: the value is a string or a number: pointer and length describe its text, which lives as
                // long as the value stands on the stack.
                unsafe {
                    let text = sys::lua_tolstring(self.raw, index, &mut len);
                    Some(std::slice::from_raw_parts(text.cast(), len))
                }
            }
            _ => None,
        }
    }

    /// Like [`to_bytes`](Self::to_bytes) for keys met by [`next`](Self::next), which must stay what they are.
    pub fn to_bytes_copy(self, index: c_int) -> Vec<u8> {
        self.push_value(index);
        let text = self.to_bytes(-1).unwrap_or_default().to_vec();
        self.pop(1);
        text
    }

    /// Pushes what `tostring` makes of the value at `index`.
    ///
    /// # Errors
    /// Its `__tostring` failed.
    pub fn to_text(self, index: c_int) -> Result<(), Raised> {
        let index = self.absolute(index);
        self.push_value(Self::GLOBALS);
        self.raw_get_field(-1, "tostring");
        self.remove(-2);
        self.push_value(index);
        self.protected_call(1, 1)
    }

    /// Whether the value at `index` is a function written in C.
    pub fn is_native(self, index: c_int) -> bool {
        // SAFETY: valid index.
        unsafe { sys::lua_iscfunction(self.raw, self.valid(index)) != 0 }
    }

    pub fn to_pointer(self, index: c_int) -> *const c_void {
        // SAFETY: any index; one without a value yields null.
        unsafe { sys::lua_topointer(self.raw, self.valid(index)) }
    }

    /// The address of a light userdata.
    pub fn to_light(self, index: c_int) -> Option<usize> {
        // SAFETY: the value is a light userdata.
        let pointer = || unsafe { sys::lua_touserdata(self.raw, index) };
        (self.type_of(index) == Type::LightUserdata).then(|| pointer().addr())
    }

    /// The thread at `index`.
    pub fn to_thread(self, index: c_int) -> Option<State<'l>> {
        if self.type_of(index) != Type::Thread {
            return None;
        }
        // SAFETY: the value is a thread.
        Some(State::new(unsafe { sys::lua_tothread(self.raw, index) }))
    }

    /// Length of a string, table (border) or userdata.
    pub fn len(self, index: c_int) -> usize {
        // SAFETY: valid index.
        unsafe { sys::lua_objlen(self.raw, self.valid(index)) }
    }

    pub fn push_nil(self) {
        self.room(1);
        // SAFETY: there is room.
        unsafe { sys::lua_pushnil(self.raw) }
    }

    pub fn push_bool(self, value: bool) {
        self.room(1);
        // SAFETY: there is room.
        unsafe { sys::lua_pushboolean(self.raw, value.into()) }
    }

    pub fn push_int(self, value: impl Into<i64>) {
        self.push_number(value.into() as f64);
    }

    pub fn push_number(self, value: f64) {
        self.room(1);
        // SAFETY: there is room.
        unsafe { sys::lua_pushnumber(self.raw, value) }
    }

    pub fn push_bytes(self, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        self.room(1);
        // SAFETY: pointer and length describe `value`, which is copied.
        unsafe { sys::lua_pushlstring_(self.raw, value.as_ptr().cast(), value.len()) }
    }

    /// Pushes a light userdata: an address that is never followed.
    pub fn push_light(self, address: usize) {
        self.room(1);
        // SAFETY: there is room.
        unsafe { sys::lua_pushlightuserdata(self.raw, std::ptr::without_provenance_mut(address)) }
    }

    /// Pushes this very thread.
    pub fn push_thread(self) {
        self.room(1);
        // SAFETY: there is room.
        unsafe { sys::lua_pushthread(self.raw) };
    }

    pub fn push_table(self, array: usize, fields: usize) {
        const SIZE_MAX: usize = 1 << 20;
        self.room(1);
        // SAFETY: there is room; sizes are hints.
        unsafe { sys::lua_createtable(self.raw, array.min(SIZE_MAX) as c_int, fields.min(SIZE_MAX) as c_int) }
    }

    pub fn push_function(self, function: Raw) {
        self.push_closure(function, 0);
    }

    /// Pops `upvalues` values and pushes a closure over them.
    pub fn push_closure(self, function: Raw, upvalues: c_int) {
        self.room(1);
        assert!(upvalues <= self.top() && upvalues < 256);
        // SAFETY: `State` is a transparent pointer, so the two function types are the same to C.
        unsafe {
            let function = std::mem::transmute::<Raw, sys::lua_CFunction>(function);
            sys::lua_pushcclosure(self.raw, function, upvalues);
        }
    }

    pub fn push_value(self, index: c_int) {
        self.room(1);
        // SAFETY: valid index, and there is room.
        unsafe { sys::lua_pushvalue(self.raw, self.valid(index)) }
    }

    pub fn remove(self, index: c_int) {
        // SAFETY: valid index.
        unsafe { sys::lua_remove(self.raw, self.valid(index)) }
    }

    pub fn insert(self, index: c_int) {
        // SAFETY: valid index.
        unsafe { sys::lua_insert(self.raw, self.valid(index)) }
    }

    pub fn replace(self, index: c_int) {
        assert!(self.top() > 0);
        // SAFETY: valid index, and there is a value to move.
        unsafe { sys::lua_replace(self.raw, self.valid(index)) }
    }

    /// Moves the top `count` values to another thread of the same VM.
    pub fn move_to(self, to: State<'_>, count: c_int) {
        assert!(self.top() >= count);
        if count == 0 || self.raw == to.raw {
            return;
        }
        to.room(count);
        // SAFETY: both stacks are of one VM, the values are there and so is the room.
        unsafe { sys::lua_xmove(self.raw, to.raw, count) }
    }

    fn table(self, index: c_int) -> c_int {
        let index = self.absolute(index);
        assert!(self.type_of(index) == Type::Table, "not a table");
        index
    }

    /// Replaces the key on top by its value in the table at `index`, without metamethods.
    pub fn raw_get(self, index: c_int) {
        let table = self.table(index);
        // SAFETY: a table, and a key on top.
        unsafe { sys::lua_rawget_(self.raw, table) }
    }

    /// Pops value and key into the table at `index`, without metamethods. A key that is nil or NaN is ignored.
    pub fn raw_set(self, index: c_int) {
        let table = self.table(index);
        let bad = match self.type_of(-2) {
            Type::None | Type::Nil => true,
            Type::Number => self.to_number(-2).is_some_and(f64::is_nan),
            _ => false,
        };
        if bad {
            return self.pop(2);
        }
        // SAFETY: a table, a key that may be one, a value.
        unsafe { sys::lua_rawset(self.raw, table) }
    }

    /// Pushes element `n` of the table at `index`.
    pub fn raw_get_index(self, index: c_int, n: i32) {
        let table = self.table(index);
        self.room(1);
        // SAFETY: a table, and there is room.
        unsafe { sys::lua_rawgeti_(self.raw, table, n) }
    }

    /// Pops a value into element `n` of the table at `index`.
    pub fn raw_set_index(self, index: c_int, n: i32) {
        let table = self.table(index);
        assert!(self.top() > 0);
        // SAFETY: a table and a value.
        unsafe { sys::lua_rawseti_(self.raw, table, n) }
    }

    /// Pushes field `name` of the table at `index`.
    pub fn raw_get_field(self, index: c_int, name: impl AsRef<[u8]>) {
        let table = self.table(index);
        self.push_bytes(name);
        self.raw_get(table);
    }

    /// Pops a value into field `name` of the table at `index`.
    pub fn raw_set_field(self, index: c_int, name: impl AsRef<[u8]>) {
        let table = self.table(index);
        self.push_bytes(name);
        self.insert(-2);
        self.raw_set(table);
    }

    /// Replaces the key on top by the next key and value of the table at `index`; `false`: there is none, and the key is
    /// gone. The table must not get new keys meanwhile.
    pub fn next(self, index: c_int) -> bool {
        let table = self.table(index);
        self.room(1);
        // SAFETY: a table, and the key came from it.
        unsafe { sys::lua_next(self.raw, table) != 0 }
    }

    /// Pops a table (or nil) and makes it the metatable of the value at `index`.
    pub fn set_metatable(self, index: c_int) {
        assert!(matches!(self.type_of(-1), Type::Table | Type::Nil));
        // SAFETY: valid index, table or nil on top.
        unsafe { sys::lua_setmetatable(self.raw, self.valid(index)) };
    }

    /// Pushes the metatable of the value at `index`; `false`: it has none and nothing was pushed.
    pub fn metatable(self, index: c_int) -> bool {
        self.room(1);
        // SAFETY: valid index, and there is room.
        unsafe { sys::lua_getmetatable(self.raw, self.valid(index)) != 0 }
    }

    pub fn raw_equal(self, a: c_int, b: c_int) -> bool {
        // SAFETY: valid indices.
        unsafe { sys::lua_rawequal(self.raw, self.valid(a), self.valid(b)) != 0 }
    }

    /// Pops the environment table of the function at `index`.
    pub fn set_environment(self, index: c_int) {
        assert!(self.type_of(-1) == Type::Table);
        // SAFETY: valid index, table on top.
        unsafe { sys::lua_setfenv(self.raw, self.valid(index)) };
    }

    /// Calls the function below `arguments` values; its results, or the error object, take their place.
    ///
    /// # Errors
    /// The error object stands on top.
    pub fn protected_call(self, arguments: c_int, results: c_int) -> Result<(), Raised> {
        assert!(self.top() > arguments);
        self.room(results.max(1));
        let _lua = super::alloc::LuaRuns::begin();
        // SAFETY: the function and its arguments are there; errors are caught by Lua.
        let status = unsafe { sys::lua_pcall(self.raw, arguments, results, 0) };
        if status == sys::LUA_OK { Ok(()) } else { Err(Raised) }
    }

    /// Compiles `source` and pushes the function, or the message.
    ///
    /// # Errors
    /// It is not Lua; the message stands on top. Bytecode is refused.
    pub fn load(self, source: &[u8], name: &CStr) -> Result<(), Raised> {
        self.room(1);
        // SAFETY: pointer, length and strings are valid for the call.
        let status = unsafe {
            sys::luaL_loadbufferx(
                self.raw,
                source.as_ptr().cast(),
                source.len(),
                name.as_ptr(),
                c"t".as_ptr(),
            )
        };
        if status == sys::LUA_OK { Ok(()) } else { Err(Raised) }
    }

    /// The status of this coroutine: whether it waits in a yield, may be started, or is dead.
    pub fn status(self) -> Resumable {
        // SAFETY: a live thread.
        match unsafe { sys::lua_status(self.raw) } {
            sys::LUA_YIELD => Resumable::Yielded,
            sys::LUA_OK if self.frame(0).is_some() => Resumable::Running,
            sys::LUA_OK if self.top() > 0 => Resumable::New,
            _ => Resumable::Dead,
        }
    }

    /// Whether the running function may give control back: no C function stands between it and its coroutine's start.
    pub fn can_yield(self) -> bool {
        // SAFETY: a live thread.
        unsafe { lua_isyieldable(self.raw) != 0 }
    }

    /// Collects garbage; all of it.
    pub fn collect(self) {
        // SAFETY: a live thread.
        unsafe { sys::lua_gc(self.raw, sys::LUA_GCCOLLECT, 0) };
    }
}

/// What may be done with a coroutine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resumable {
    /// It was not started.
    New,
    /// It yielded.
    Yielded,
    /// It runs, or waits for what it resumed itself.
    Running,
    /// It ended or failed.
    Dead,
}

/// Lua raised an error; the error object is on top of the stack.
#[derive(Debug, Clone, Copy)]
pub struct Raised;

unsafe extern "C-unwind" {
    fn lua_isyieldable(state: *mut sys::lua_State) -> c_int;
}
