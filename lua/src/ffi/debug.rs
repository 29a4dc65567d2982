//! Looking at the call stack, for messages and tracebacks.

use std::ffi::{CStr, c_char, c_int};

use mlua_sys as sys;

use super::state::State;

/// A function on the call stack.
#[derive(Debug, Default)]
pub struct Frame {
    /// Its source, shortened as Lua does.
    pub source: String,
    /// Its name, if the call tells one.
    pub name: Option<String>,
    /// How the call tells it: `global`, `method`, `field`, `local`, `upvalue`, or nothing.
    pub name_kind: String,
    /// `Lua`, `C` or `main`.
    pub what: String,
    /// The line being executed; not positive if unknown.
    pub line: c_int,
    /// The line where it is defined.
    pub defined: c_int,
}

fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: Lua's debug strings end with a zero and live until the stack changes.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

impl State<'_> {
    /// Number of functions on the call stack. Looking at a level takes time in proportion to it, so few are looked at.
    pub fn depth(self) -> c_int {
        const DEPTH_MAX: c_int = 1 << 24;
        let has = |level: c_int| {
            // SAFETY: a plain structure that Lua fills in.
            unsafe {
                let mut record: sys::lua_Debug = std::mem::zeroed();
                sys::lua_getstack(self.raw, level, &mut record) != 0
            }
        };
        let mut above = 1;
        while above < DEPTH_MAX && has(above) {
            above *= 2;
        }
        let (mut low, mut high) = (0, above);
        while low < high {
            let middle = low + (high - low) / 2;
            if has(middle) { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// The function at `level` of the call stack: 0 is the running one, 1 its caller.
    pub fn frame(self, level: c_int) -> Option<Frame> {
        // SAFETY: a plain structure that Lua fills in.
        unsafe {
            let mut record: sys::lua_Debug = std::mem::zeroed();
            if sys::lua_getstack(self.raw, level, &mut record) == 0 {
                return None;
            }
            sys::lua_getinfo(self.raw, c"Snl".as_ptr(), &mut record);
            Some(Frame {
                source: text(record.short_src.as_ptr()),
                name: (!record.name.is_null()).then(|| text(record.name)),
                name_kind: text(record.namewhat),
                what: text(record.what),
                line: record.currentline,
                defined: record.linedefined,
            })
        }
    }
}
