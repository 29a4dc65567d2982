//! HTTP/2 (RFC 9113) without sockets and without a clock: bytes in, streams, bytes out.
//!
//! Written for one thing, serving and asking as a gateway must: every queue is bounded by a number in [`Config`] or a
//! constant, every way a peer can make work without doing any is counted (`budget`), and field lists are handed out as
//! they were received, so that nginx's checks apply to them as to HTTP/1. Wakers are the only thing it has of a runtime:
//! a task that waits for a stream parks one there.
//!
//! The order of reading: [`frame`], [`hpack`], [`message`] (what a field list may say), `stream` and `streams`, and
//! [`Connection`], which brings them together.
#![forbid(unsafe_code)]

mod budget;
mod connection;
mod error;
mod flow;
pub mod frame;
#[doc(hidden)]
pub mod fuzz;
pub mod hpack;
pub mod message;
mod output;
mod priority;
mod settings;
mod stream;
mod streams;

pub use connection::{Broken, Config, Connection, Event};
pub use error::{Abuse, Code, Fatal};
pub use frame::PREFACE;
pub use hpack::{Encoder, Fields};
pub use message::{Malformed, RequestParts};
pub use output::Output;
pub use priority::Priority;
pub use stream::Reset;
