//! OpenResty's Lua: LuaJIT, the `ngx.*` API, and the `*_by_lua` directives.
//!
//! The way through: [`directives`] keep [`code::Code`]; [`handler`] runs it for a request as a [`sched::Task`] in the worker's
//! VM ([`runtime`]); functions of the API ([`api`]) are called with a [`ffi::Call`]; [`response`] makes of the end what the
//! engine understands.
//!
//! # How a function is written
//!
//! One item in the table of its topic:
//!
//! ```ignore
//! function!("ngx.say", Phases::RESPONSE, "Writes values and a newline to the response body.", say)
//! ```
//!
//! The Rust function has the signature `fn(&mut Call<'_>) -> Result`. It reads its arguments from the stack
//! (`call.bytes(1)?`), asks for the request if it needs one (`call.request()?`), pushes its results and says how many they
//! are (`Ok(Returns::ONE)`). It never raises a Lua error itself: it returns [`ffi::Error`]. A failure that Lua code is to handle is
//! not an error but a result: `call.failure("timeout")` returns `nil, "timeout"`.
//!
//! # How a function waits
//!
//! It makes a future, leaves it to the scheduler and yields:
//!
//! ```ignore
//! call.yields(Command::Wait(Box::pin(async move {
//!     net::sleep(duration).await;
//!     Answer::Nothing
//! })), 0)
//! ```
//!
//! The future owns all it needs (streams and cells are shared by `Rc`), so other threads of the request go on meanwhile;
//! it is dropped when its thread is killed or the request ends. What needs the request itself (reading its body, sending)
//! is [`sched::Command::Borrow`]: a closure that gets `&mut Request`; the other threads of that request wait for it. The
//! [`sched::Answer`] is what the function returns to Lua.

#![deny(unsafe_code)]

pub mod api;
mod balancer;
pub mod code;
pub mod conf;
pub mod directives;
mod escape;
#[allow(unsafe_code)]
pub mod ffi;
mod filter;
mod handler;
mod join;
mod module;
mod number;
pub mod phase;
pub mod re;
mod response;
mod runtime;
pub mod sched;
mod set;
mod text;

pub use module::MODULE;
