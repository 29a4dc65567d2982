//! A LuaJIT virtual machine and what Rust keeps of its values.

use std::cell::{Cell, RefCell};
use std::ffi::c_int;
use std::rc::Rc;

use mlua_sys as sys;

use super::alloc::Account;
use super::coroutine::Coroutine;
use super::state::State;

/// Ended coroutines kept for the next handlers.
const COROUTINES_KEPT: usize = 256;

/// A virtual machine. It is closed when the last value kept of it is gone.
pub struct Vm {
    raw: *mut sys::lua_State,
    /// Free coroutines with their places in the registry.
    free: RefCell<Vec<(State<'static>, c_int)>>,
    /// Counts VMs of this process.
    number: u64,
    account: Box<Account>,
}

thread_local! {
    static MADE: Cell<u64> = const { Cell::new(0) };
}

impl Vm {
    /// A new VM with Lua's libraries, in which Lua code may use `memory_max` bytes.
    ///
    /// # Errors
    /// There is not enough memory.
    pub fn new(memory_max: usize) -> Result<Rc<Self>, &'static str> {
        // SAFETY: no preconditions.
        let raw = unsafe { sys::luaL_newstate() };
        if raw.is_null() {
            return Err("failed to initialize Lua VM");
        }
        // SAFETY: a new VM; the account lives as long as it.
        let account = unsafe { Account::install(raw, memory_max) };
        let number = MADE.get() + 1;
        MADE.set(number);
        let vm = Rc::new(Self { raw, free: RefCell::new(Vec::new()), number, account });
        // SAFETY: opens the standard libraries; a fresh VM with memory at hand raises nothing.
        unsafe { sys::luaL_openlibs(raw) };
        Ok(vm)
    }

    /// The stack of the main thread; empty between uses.
    pub fn main(&self) -> State<'_> {
        State::new(self.raw)
    }

    /// The number of this VM among those the process made.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.account.used.get()
    }

    /// Whether memory was refused since this was last asked.
    pub fn take_refused(&self) -> bool {
        self.account.refused.take()
    }

    /// Pops the top value of `from` and keeps it.
    pub fn take(self: &Rc<Self>, from: State<'_>) -> Ref {
        assert!(from.top() > 0);
        // SAFETY: there is a value to pop.
        let place = unsafe { sys::luaL_ref(from.raw, sys::LUA_REGISTRYINDEX) };
        Ref { vm: Rc::clone(self), place }
    }

    /// A coroutine ready to start, used before if possible.
    pub fn coroutine(self: &Rc<Self>) -> Coroutine {
        match self.free.borrow_mut().pop() {
            Some((lua, place)) => Coroutine::from_parts(lua, Ref { vm: Rc::clone(self), place }),
            None => Coroutine::new(self),
        }
    }

    /// Takes a coroutine back that ended without failing.
    pub fn recycle(&self, coroutine: Coroutine) {
        let (lua, anchor) = coroutine.into_parts();
        lua.set_top(0);
        let mut free = self.free.borrow_mut();
        if free.len() < COROUTINES_KEPT {
            free.push((lua, anchor.into_place()));
        }
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        // SAFETY: closed once; nothing keeps values of it any more.
        unsafe { sys::lua_close(self.raw) };
    }
}

/// A Lua value kept by Rust.
pub struct Ref {
    vm: Rc<Vm>,
    place: c_int,
}

impl Ref {
    /// Pushes the value on a stack of the same VM.
    pub fn push(&self, to: State<'_>) {
        assert!(to.check_stack(1));
        // SAFETY: there is room.
        unsafe { sys::lua_rawgeti_(to.raw, sys::LUA_REGISTRYINDEX, self.place) };
    }

    /// The VM.
    pub fn vm(&self) -> &Rc<Vm> {
        &self.vm
    }

    fn into_place(self) -> c_int {
        let place = self.place;
        let mut this = std::mem::ManuallyDrop::new(self);
        // SAFETY: the field is dropped once, here; the rest is plain.
        unsafe { std::ptr::drop_in_place(&mut this.vm) };
        place
    }
}

impl Drop for Ref {
    fn drop(&mut self) {
        // SAFETY: the VM lives; the place is ours.
        unsafe { sys::luaL_unref(self.vm.raw, sys::LUA_REGISTRYINDEX, self.place) };
    }
}
