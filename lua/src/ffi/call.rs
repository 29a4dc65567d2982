//! A function of the API while it runs: its arguments, its request, and how it ends.

use std::borrow::Cow;
use std::ffi::{CString, c_int};
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mlua_sys as sys;
use worker::request::Request;

use super::alloc::LuaRuns;
use super::current;
use super::state::{State, Type};
use crate::phase::Phases;
use crate::sched::{Command, Task};

/// Why a function failed.
#[derive(Debug)]
pub enum Error {
    /// A message; the place of the call is put before it, as `luaL_error` does.
    Text(Cow<'static, str>),
    /// A message as it is.
    Plain(Cow<'static, str>),
    /// Argument `n` is not what it should be: `bad argument #n to 'f' (text)`.
    Argument(c_int, Cow<'static, str>),
    /// Whatever stands on top of the stack, as it is.
    Value,
}

impl From<&'static str> for Error {
    fn from(text: &'static str) -> Self {
        Error::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Error {
    fn from(text: String) -> Self {
        Error::Text(Cow::Owned(text))
    }
}

/// What a function leaves to Lua.
#[derive(Debug, Clone, Copy)]
pub struct Returns(c_int);

const YIELD: c_int = -1;

impl Returns {
    /// The top `count` values of the stack.
    pub fn values(count: c_int) -> Self {
        debug_assert!(count >= 0);
        Self(count)
    }

    /// Nothing.
    pub const NONE: Self = Self(0);
    /// The top value.
    pub const ONE: Self = Self(1);
}

/// What a function returns.
pub type Result<T = Returns> = std::result::Result<T, Error>;

/// A call of an API function.
pub struct Call<'l> {
    /// The stack with the arguments.
    pub lua: State<'l>,
    task: Option<&'l Task>,
}

impl<'l> Deref for Call<'l> {
    type Target = State<'l>;

    fn deref(&self) -> &State<'l> {
        &self.lua
    }
}

impl<'l> Call<'l> {
    /// What runs: a handler of a request, a timer, a module's code at the start of the worker.
    pub fn task(&self) -> &'l Task {
        self.task.expect("Lua code runs in tasks only")
    }

    /// The request.
    ///
    /// # Errors
    /// `no request found`: there is none, as in `init_by_lua`.
    pub fn request(&mut self) -> Result<&mut Request> {
        match self.task.and_then(Task::request_pointer) {
            // SAFETY: the task's pointer is derived from the `&mut Request` that whoever resumed Lua holds and does not
            // use until Lua returns. The result borrows this call, so there is one at a time; a call made from within
            // another one's callback begins only when the outer call passes itself on mutably.
            Some(request) => Ok(unsafe { &mut *request.as_ptr() }),
            None => Err("no request found".into()),
        }
    }

    /// Returns `values` values and gives control to the scheduler, which carries out `command`.
    ///
    /// # Errors
    /// A C function stands between the caller and the start of its coroutine.
    pub fn yields(&self, command: Command, values: c_int) -> Result {
        if !self.lua.can_yield() {
            return Err("attempt to yield across C-call boundary".into());
        }
        self.task().command(command);
        debug_assert!(values <= self.lua.top());
        Ok(Returns(YIELD - values))
    }

    /// Number of arguments, while nothing was pushed yet.
    pub fn count(&self) -> c_int {
        self.lua.top()
    }

    /// Argument `n` as a string.
    ///
    /// # Errors
    /// It is neither string nor number.
    pub fn bytes(&self, n: c_int) -> Result<&'l [u8]> {
        self.lua.to_bytes(n).ok_or_else(|| self.type_error(n, "string"))
    }

    /// Argument `n` as a number.
    ///
    /// # Errors
    /// It is none.
    pub fn number(&self, n: c_int) -> Result<f64> {
        self.lua.to_number(n).ok_or_else(|| self.type_error(n, "number"))
    }

    /// Argument `n` as an integer; fractions are cut.
    ///
    /// # Errors
    /// It is no number.
    pub fn integer(&self, n: c_int) -> Result<i64> {
        self.number(n).map(|number| number as i64)
    }

    /// Checks that argument `n` is of type `wanted`.
    ///
    /// # Errors
    /// It is not.
    pub fn expect(&self, n: c_int, wanted: Type) -> Result<()> {
        if self.lua.type_of(n) == wanted { Ok(()) } else { Err(self.type_error(n, wanted.name())) }
    }

    /// `string expected, got nil`.
    pub fn type_error(&self, n: c_int, wanted: &str) -> Error {
        let text = format!("{wanted} expected, got {}", self.lua.type_of(n).name());
        Error::Argument(n, text.into())
    }

    /// Returns `nil, message`.
    pub fn failure(&self, message: impl AsRef<[u8]>) -> Result {
        self.lua.push_nil();
        self.lua.push_bytes(message);
        Ok(Returns::values(2))
    }

    /// `expecting N arguments, but got M` unless there are as many.
    ///
    /// # Errors
    /// See above.
    pub fn arity(&self, count: c_int) -> Result<()> {
        if self.count() == count {
            return Ok(());
        }
        let plural = if count == 1 { "one argument".into() } else { format!("{count} arguments") };
        Err(format!("expecting {plural}, but got {}", self.count()).into())
    }
}

/// Runs `function` as a C function of Lua: checks the phase, catches panics, raises its error.
pub fn enter(lua: State<'_>, phases: Phases, function: fn(&mut Call<'_>) -> Result) -> c_int {
    let outcome = {
        let _ours = LuaRuns::pause();
        catch_unwind(AssertUnwindSafe(|| {
            current::with_current(|task| {
                let phase = task.map_or(Phases::INIT, Task::phase);
                if !phases.intersects(phase) {
                    return Err(format!("API disabled in the context of {}", phase.title()).into());
                }
                function(&mut Call { lua, task })
            })
        }))
    };
    match outcome {
        Ok(Ok(Returns(count))) if count >= 0 => count,
        // SAFETY: whether the function may yield was checked; the values are on the stack.
        Ok(Ok(Returns(code))) => unsafe { sys::lua_yield(lua.raw, YIELD - code) },
        Ok(Err(error)) => raise(lua, error),
        Err(panic) => {
            drop(panic);
            raise(lua, Error::Text(Cow::Borrowed("internal error: a function of the API panicked")))
        }
    }
}

fn raise(lua: State<'_>, error: Error) -> c_int {
    match error {
        Error::Text(text) => {
            // SAFETY: level 1 is the function itself, whose caller's place is pushed.
            unsafe { sys::luaL_where(lua.raw, 1) };
            lua.push_bytes(&*text);
            drop(text);
            // SAFETY: two strings are on the stack; no Rust value is alive that the error would skip.
            unsafe {
                sys::lua_concat(lua.raw, 2);
                sys::lua_error(lua.raw)
            }
        }
        Error::Plain(text) => {
            lua.push_bytes(&*text);
            drop(text);
            // SAFETY: the message is on the stack; no Rust value is alive.
            unsafe { sys::lua_error(lua.raw) }
        }
        Error::Argument(n, text) => {
            let owned = CString::new(text.replace('\0', "")).unwrap_or_default();
            lua.push_bytes(owned.as_bytes_with_nul());
            drop((text, owned));
            // SAFETY: the message stands on the stack and ends with a zero; no Rust value is alive.
            unsafe {
                let text = sys::lua_tolstring(lua.raw, -1, std::ptr::null_mut());
                sys::luaL_argerror(lua.raw, n, text)
            }
        }
        // SAFETY: the error object is on top; no Rust value is alive.
        Error::Value => unsafe { sys::lua_error(lua.raw) },
    }
}

/// Logs with the context of a task's request.
pub(crate) fn log_request(
    request: std::ptr::NonNull<Request>,
    level: worker::log::Level,
    message: std::fmt::Arguments<'_>,
) {
    // SAFETY: the task's pointer is valid while its Lua code runs (see `Call::request`); logging only looks at the request.
    unsafe { request.as_ref() }.log(level, message);
}
