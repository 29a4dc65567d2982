//! The one room of this crate with `unsafe`: LuaJIT's C interface behind types that cannot be misused.
//!
//! Three rules keep foreign unwinding and Rust apart:
//!
//! 1. A function that Lua calls runs inside [`call::enter`], which catches panics. Nothing inside may raise a Lua error:
//!    [`State`] offers only calls that cannot, and a function that fails returns [`Error`]; `enter` raises it when no value
//!    of the function is left alive.
//! 2. Memory never runs out inside such a function: the limit of the VM is enforced only while Lua's own code runs
//!    ([`alloc`]).
//! 3. Lua code is only ever called protected.

mod alloc;
pub mod call;
mod coroutine;
pub(crate) mod current;
pub mod debug;
pub(crate) mod library;
pub mod pcre;
mod state;
mod userdata;
mod vm;
pub mod watchdog;

pub use call::{Call, Error, Returns};
pub use coroutine::{Coroutine, Resumed};
pub use state::{Raised, Raw, Resumable, State, Type};
pub use userdata::UserData;
pub use vm::{Ref, Vm};
