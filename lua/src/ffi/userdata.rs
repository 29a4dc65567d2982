//! Rust values inside Lua values.

use std::ffi::{CString, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};

use mlua_sys as sys;

use super::alloc::LuaRuns;
use super::state::{State, Type};

/// A Rust type whose values Lua code can hold. Lua's collector drops them; their `Drop` must not use Lua.
pub trait UserData: 'static {
    /// The name of the type, unique in the program.
    const NAME: &'static str;
}

impl<'l> State<'l> {
    /// Pushes `value` as a full userdata that is dropped when Lua collects it.
    pub fn push_userdata<T: UserData>(self, value: T) {
        assert!(self.check_stack(3));
        let () = const { assert!(align_of::<T>() <= 8) };
        self.push_metatable::<T>();
        // SAFETY: LuaJIT's memory for userdata is aligned to 8; the value is written before anybody can see it and gets
        // the metatable by which it is known right after.
        unsafe {
            let place = sys::lua_newuserdata(self.raw, size_of::<T>().max(1)).cast::<T>();
            place.write(value);
        }
        self.insert(-2);
        self.set_metatable(-2);
    }

    /// Pushes the metatable of `T`: to it methods are added.
    pub fn push_metatable<T: UserData>(self) {
        let name = CString::new(T::NAME).expect("names have no zero");
        // SAFETY: there is room for the table and its function.
        unsafe {
            if sys::luaL_newmetatable(self.raw, name.as_ptr()) != 0 {
                sys::lua_pushcclosure(self.raw, collect::<T>, 0);
                sys::lua_setfield(self.raw, -2, c"__gc".as_ptr());
                // what Lua code could replace by `setmetatable` it must not see
                sys::lua_pushboolean(self.raw, 0);
                sys::lua_setfield(self.raw, -2, c"__metatable".as_ptr());
            }
        }
    }

    /// The `T` at `index`.
    pub fn userdata<T: UserData>(self, index: c_int) -> Option<&'l T> {
        if self.type_of(index) != Type::Userdata || !self.metatable(index) {
            return None;
        }
        let name = CString::new(T::NAME).expect("names have no zero");
        // SAFETY: pushes the registered metatable, or nil.
        unsafe { sys::lua_getfield_(self.raw, sys::LUA_REGISTRYINDEX, name.as_ptr()) };
        let same = self.raw_equal(-1, -2);
        self.pop(2);
        // SAFETY: only values of `T` have this metatable, which Lua code cannot reach; it lives while it is on the stack.
        same.then(|| unsafe { &*sys::lua_touserdata(self.raw, index).cast::<T>() })
    }
}

unsafe extern "C-unwind" fn collect<T: UserData>(raw: *mut sys::lua_State) -> c_int {
    let _ours = LuaRuns::pause();
    let lua = State::new(raw);
    // Lua code can get at this function with the debug library: it must not drop anything twice, or what is no `T`
    if lua.userdata::<T>(1).is_none() {
        return 0;
    }
    lua.push_nil();
    lua.set_metatable(1);
    // SAFETY: it is a `T`, and from now on it is not taken for one.
    let place = unsafe { sys::lua_touserdata(raw, 1).cast::<T>() };
    // SAFETY: see above; a value whose drop panics is gone all the same.
    let _ = catch_unwind(AssertUnwindSafe(|| unsafe { std::ptr::drop_in_place(place) }));
    0
}
