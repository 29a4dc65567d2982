//! Coroutines: made on the VM, resumed by the scheduler alone.

use std::rc::Rc;

use mlua_sys as sys;

use super::alloc::LuaRuns;
use super::state::State;
use super::vm::{Ref, Vm};

/// A coroutine that is kept alive by the registry.
pub struct Coroutine {
    /// Its stack.
    pub lua: State<'static>,
    anchor: Ref,
}

/// How a coroutine gave control back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resumed {
    /// It ended; its results are all that stands on its stack.
    Ended,
    /// It yielded the values on its stack.
    Yielded,
    /// It failed; the error object is on top.
    Failed,
    /// It failed for want of memory.
    NoMemory,
}

impl Coroutine {
    /// A new coroutine.
    pub fn new(vm: &Rc<Vm>) -> Self {
        let main = vm.main();
        main.set_top(0);
        let lua = main.new_thread();
        Self { lua: State::new(lua.raw), anchor: vm.take(main) }
    }

    /// The anchor of a thread that is on top of `from`, which is popped.
    pub fn adopt(vm: &Rc<Vm>, from: State<'_>) -> Option<Self> {
        let lua = from.to_thread(-1)?;
        Some(Self { lua: State::new(lua.raw), anchor: vm.take(from) })
    }

    pub(super) fn from_parts(lua: State<'static>, anchor: Ref) -> Self {
        Self { lua, anchor }
    }

    pub(super) fn into_parts(self) -> (State<'static>, Ref) {
        (self.lua, self.anchor)
    }

    /// The VM it belongs to.
    pub fn vm(&self) -> &Rc<Vm> {
        self.anchor.vm()
    }

    /// Pushes the thread on `to`.
    pub fn push(&self, to: State<'_>) {
        self.anchor.push(to);
    }
}

impl<'l> State<'l> {
    /// The same stack without the bound on how long it is known to live: for the scheduler, whose chains hold coroutines
    /// that stand on the stack below them in the chain.
    pub(crate) fn unbound(self) -> State<'static> {
        State::new(self.raw)
    }

    /// Pushes a new thread and returns its stack.
    pub fn new_thread(self) -> State<'l> {
        assert!(self.check_stack(1));
        // SAFETY: there is room; the new thread is anchored on this stack.
        State::new(unsafe { sys::lua_newthread(self.raw) })
    }

    /// Starts or continues this coroutine with the top `arguments` values of its stack.
    pub fn resume(self, arguments: i32) -> Resumed {
        assert!(self.top() >= arguments);
        let _lua = LuaRuns::begin();
        // SAFETY: the arguments are there; LuaJIT checks whether the coroutine can be resumed.
        match unsafe { sys::lua_resume_(self.raw, arguments) } {
            sys::LUA_OK => Resumed::Ended,
            sys::LUA_YIELD => Resumed::Yielded,
            sys::LUA_ERRMEM => Resumed::NoMemory,
            _ => Resumed::Failed,
        }
    }
}
