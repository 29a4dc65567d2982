//! Coroutines and what runs them.
//!
//! A [`Task`] is one run of Lua code: a handler of a request, a timer. Its *threads* are OpenResty's light threads: the
//! entry thread and those of `ngx.thread.spawn`. Each has a chain of coroutines: the thread itself, and above it what
//! `coroutine.resume` started; the last of the chain runs or waits.
//!
//! Everything that switches is a [`Command`] left by a function that then yields: also `coroutine.resume`. So whichever
//! coroutine waits, the C stack below it is empty, `pcall` and `coroutine.wrap` may stand around anything that waits, and
//! the task can be put aside while others run.
//!
//! ```text
//!            start                    yields                        all threads ended
//!   Task ───────────► threads run ───────────► something waits ─────────────────────► End
//!                        ▲                            │            ngx.exit, error
//!                        └────────────────────────────┘
//! ```
//!
//! A handler that never waits is run by [`Task::run`] alone: no future, no allocation. [`drive`] takes over what waits.

mod drive;
mod task;
mod thread;
mod traceback;

pub use drive::{drive, drive_alone};
pub use task::{Command, End, Exit, Progress, Task};
pub(crate) use thread::Killed;
pub use thread::{Answer, Borrow, Op};
