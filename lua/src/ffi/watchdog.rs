//! Interrupts Lua code that computes for too long without giving control back (`lua_time_limit`).
//!
//! A thread of its own looks now and then whether the same piece of Lua code still runs, and how much processor time it took.
//! If that is too much, it sends the worker's thread a signal, whose handler sets a hook; the hook raises an error at
//! the next instruction, and at every further one, so that no `pcall` can hold it up, until the code has ended. Compiled
//! loops look at hooks too: LuaJIT is built with `LUAJIT_ENABLE_CHECKHOOK`.

use std::ffi::c_int;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use std::time::Duration;

use mlua_sys as sys;

use super::state::State;

/// Number of the run of Lua code under way; 0: none.
static RUN: AtomicU64 = AtomicU64::new(0);
/// Runs so far.
static RUNS: AtomicU64 = AtomicU64::new(0);
/// The VM that runs.
static VM: AtomicPtr<sys::lua_State> = AtomicPtr::new(ptr::null_mut());
/// The hook is set.
static TRIPPED: AtomicBool = AtomicBool::new(false);

/// Looks per time limit.
const LOOKS: u32 = 10;

/// Lua code of `lua`'s VM begins to run.
#[inline]
pub fn resumed(lua: State<'_>) {
    let number = RUNS.load(Ordering::Relaxed) + 1;
    RUNS.store(number, Ordering::Relaxed);
    VM.store(lua.raw, Ordering::Relaxed);
    RUN.store(number, Ordering::Relaxed);
}

/// Lua code gave control back.
#[inline]
pub fn stopped() {
    RUN.store(0, Ordering::Relaxed);
    if TRIPPED.load(Ordering::Relaxed) {
        release();
    }
}

#[cold]
fn release() {
    TRIPPED.store(false, Ordering::Relaxed);
    // SAFETY: the VM that was interrupted; its code has just returned.
    unsafe { sys::lua_sethook(VM.load(Ordering::Relaxed), None, 0, 0) };
}

unsafe extern "C" fn on_signal(_signal: c_int) {
    if RUN.load(Ordering::Relaxed) == 0 {
        return;
    }
    TRIPPED.store(true, Ordering::Relaxed);
    let mask = sys::LUA_MASKCALL | sys::LUA_MASKRET | sys::LUA_MASKCOUNT;
    // SAFETY: LuaJIT allows this one function in a signal handler of the thread that runs the VM, and it does run it.
    unsafe { sys::lua_sethook(VM.load(Ordering::Relaxed), Some(interrupt), mask, 1) };
}

unsafe extern "C-unwind" fn interrupt(lua: *mut sys::lua_State, _record: *mut sys::lua_Debug) {
    // SAFETY: called by LuaJIT in a place where errors may be raised; nothing of ours is on the stack.
    unsafe {
        sys::luaL_error(lua, c"lua_time_limit: the code ran for too long without yielding".as_ptr());
    }
}

/// Starts to watch the calling thread. Called once in a worker; a limit of 0 watches nothing.
pub fn start(limit: Duration) {
    if limit.is_zero() {
        return;
    }
    // SAFETY: the handler only does what a handler may (see `on_signal`); the structure is complete.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_signal as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(libc::SIGVTALRM, &action, ptr::null_mut());
    }
    // SAFETY: asks about the calling thread.
    let thread = unsafe { libc::pthread_self() };
    let watch = move || watch(thread, limit);
    if let Err(error) = std::thread::Builder::new().name("lua watchdog".into()).spawn(watch) {
        let error = crate::text::errno_text(&error);
        worker::log::process(
            worker::log::Level::Alert,
            format_args!("lua_time_limit is not kept: no thread ({error})"),
        );
    }
}

fn watch(thread: libc::pthread_t, limit: Duration) {
    let pause = (limit / LOOKS).clamp(Duration::from_millis(5), Duration::from_secs(1));
    let mut seen = (0, Duration::ZERO);
    loop {
        std::thread::sleep(pause);
        let run = RUN.load(Ordering::Relaxed);
        if run == 0 {
            continue;
        }
        let Some(used) = cpu_time(thread) else { return };
        if run != seen.0 {
            seen = (run, used);
        } else if used.saturating_sub(seen.1) >= limit {
            // SAFETY: the worker's thread outlives this one: the process ends with it.
            unsafe { libc::pthread_kill(thread, libc::SIGVTALRM) };
        }
    }
}

/// Processor time of a thread.
fn cpu_time(thread: libc::pthread_t) -> Option<Duration> {
    // SAFETY: the thread lives; both results are checked, both places are valid.
    unsafe {
        let mut clock = 0;
        let mut time: libc::timespec = std::mem::zeroed();
        if libc::pthread_getcpuclockid(thread, &mut clock) != 0 || libc::clock_gettime(clock, &mut time) != 0
        {
            return None;
        }
        Some(Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32))
    }
}
