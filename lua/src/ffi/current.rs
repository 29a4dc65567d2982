//! The task whose Lua code runs now: how a function of the API finds out on whose behalf it was called.

use std::cell::Cell;

use crate::sched::Task;

thread_local! {
    static CURRENT: Cell<*const Task> = const { Cell::new(std::ptr::null()) };
}

/// Puts the task before back when dropped.
struct Before(*const Task);

impl Drop for Before {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

/// Runs `f` with `task` as the current one.
pub(crate) fn within<R>(task: &Task, f: impl FnOnce() -> R) -> R {
    let _before = Before(CURRENT.replace(task));
    f()
}

/// Calls `f` with the current task.
pub(crate) fn with_current<R>(f: impl FnOnce(Option<&Task>) -> R) -> R {
    // SAFETY: the pointer is null or comes from the reference that a `within` further up this very call stack holds.
    f(unsafe { CURRENT.get().as_ref() })
}
