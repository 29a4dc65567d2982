//! The memory limit of a VM (`lua_memory_limit`).
//!
//! LuaJIT's own allocator does the work; this one stands before it and counts. When the limit is reached, Lua's own code
//! gets `not enough memory`, an error like any other: the handler fails, and what it held is collected. A function of
//! ours is never refused: an error raised in the middle of Rust code would have nowhere to go. Such functions allocate
//! little, and what they take beyond the limit is missed by the Lua code that runs next.

use std::cell::Cell;
use std::ffi::c_void;

use mlua_sys as sys;

thread_local! {
    static LUA_RUNS: Cell<bool> = const { Cell::new(false) };
}

/// While it lives, what runs is Lua's own code.
pub(super) struct LuaRuns(bool);

impl LuaRuns {
    #[inline]
    pub(super) fn begin() -> Self {
        Self(LUA_RUNS.replace(true))
    }

    /// The opposite: a function of ours runs.
    #[inline]
    pub(super) fn pause() -> Self {
        Self(LUA_RUNS.replace(false))
    }
}

impl Drop for LuaRuns {
    #[inline]
    fn drop(&mut self) {
        LUA_RUNS.set(self.0);
    }
}

/// The books of one VM.
pub(super) struct Account {
    inner: sys::lua_Alloc,
    inner_data: *mut c_void,
    /// Bytes in use.
    pub(super) used: Cell<usize>,
    /// Most bytes Lua's own code may bring it to.
    pub(super) limit: Cell<usize>,
    /// Something was refused since this was last looked at.
    pub(super) refused: Cell<bool>,
}

impl Account {
    /// Puts itself before the allocator of `state`.
    ///
    /// # Safety
    /// `state` is a new VM and is closed before the account is dropped.
    pub(super) unsafe fn install(state: *mut sys::lua_State, limit: usize) -> Box<Self> {
        let mut inner_data = std::ptr::null_mut();
        // SAFETY: a live state; the account outlives it.
        unsafe {
            let inner = sys::lua_getallocf(state, &mut inner_data);
            let used = sys::lua_gc(state, sys::LUA_GCCOUNT, 0) as usize * 1024;
            let account = Box::new(Self {
                inner,
                inner_data,
                used: Cell::new(used),
                limit: Cell::new(limit),
                refused: Cell::new(false),
            });
            let data: *const Account = &raw const *account;
            sys::lua_setallocf(state, allocate, data.cast_mut().cast());
            account
        }
    }
}

unsafe extern "C" fn allocate(data: *mut c_void, old: *mut c_void, had: usize, wanted: usize) -> *mut c_void {
    // SAFETY: `data` is the account, which outlives the VM; it is used by this thread alone.
    let account = unsafe { &*data.cast::<Account>() };
    let used = account.used.get().saturating_sub(had);
    if wanted > had && used + wanted > account.limit.get() && LUA_RUNS.get() {
        account.refused.set(true);
        return std::ptr::null_mut();
    }
    // SAFETY: LuaJIT's own allocator with its own data.
    let memory = unsafe { (account.inner)(account.inner_data, old, had, wanted) };
    if !memory.is_null() || wanted == 0 {
        account.used.set(used + wanted);
    }
    memory
}
