//! Tracebacks in OpenResty's form.

use std::fmt::Write as _;

use crate::ffi::State;

/// Frames shown from the top, and from the bottom, of a deep stack.
const TOP: i32 = 22;
const BOTTOM: i32 = 10;

/// `stack traceback:` of coroutines, the innermost first.
pub(crate) fn of(coroutines: &[State<'_>]) -> String {
    let mut out = String::from("stack traceback:");
    for (number, co) in coroutines.iter().enumerate() {
        let _ = write!(out, "\ncoroutine {number}:");
        frames(&mut out, *co);
    }
    out
}

fn frames(out: &mut String, co: State<'_>) {
    let depth = co.depth();
    let mut level = 0;
    while let Some(frame) = co.frame(level) {
        level += 1;
        if level == TOP && depth > TOP + BOTTOM {
            out.push_str("\n\t...");
            level = depth - BOTTOM;
            continue;
        }
        let _ = write!(out, "\n\t{}:", frame.source);
        if frame.line > 0 {
            let _ = write!(out, "{}:", frame.line);
        }
        match (&frame.name, &*frame.what) {
            (Some(name), _) if !frame.name_kind.is_empty() => {
                let _ = write!(out, " in function '{name}'");
            }
            (_, "main") => out.push_str(" in main chunk"),
            (_, "C" | "tail") => out.push_str(" ?"),
            _ => {
                let _ = write!(out, " in function <{}:{}>", frame.source, frame.defined);
            }
        }
    }
}
