//! The phases of a request, and what a handler of a phase may answer.
//!
//! nginx's eleven phases, run by [`engine::run`]. The handlers of a location are compiled into one table per location, so
//! a location where a module is not configured does not ask it. A handler that needs no waiting returns
//! [`Step::Ready`] and allocates nothing; only one that really waits boxes a future.

mod engine;
mod finalize;
pub mod order;
mod table;

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

pub(crate) use engine::run_refused;
pub use engine::{run, run_clone, run_subrequest};
pub(crate) use finalize::is_msie;
pub use finalize::send_response;
pub use table::HandlerTable;

use crate::request::Request;

/// The phases in which modules run handlers. Locating and the jump back after a rewrite are the engine's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// After the request head was read: `realip`.
    PostRead,
    /// Rewrite instructions of the server.
    ServerRewrite,
    /// Rewrite instructions of the location.
    Rewrite,
    /// Limits.
    Preaccess,
    /// Access control, under `satisfy`.
    Access,
    /// `try_files`, `mirror`.
    Precontent,
    /// The answer.
    Content,
    /// After the response: access log. Runs always and once.
    Log,
}

impl Phase {
    /// Number of phases.
    pub const COUNT: usize = 8;
}

/// Internal redirects and rewrites one request may go through.
pub(crate) const fn engine_uri_changes_max() -> u32 {
    engine::URI_CHANGES_MAX
}

/// A future of the engine: never sent between threads.
pub type Wait<'r, T> = Pin<Box<dyn Future<Output = T> + 'r>>;

/// A result that is there already, or one to wait for.
pub enum Step<'r, T = Flow> {
    /// Done, without waiting.
    Ready(T),
    /// To be awaited.
    Wait(Wait<'r, T>),
}

impl<'r, T> Step<'r, T> {
    /// Boxes `future` as something to wait for.
    pub fn wait(future: impl Future<Output = T> + 'r) -> Self {
        Step::Wait(Box::pin(future))
    }

    /// Awaits if needed.
    pub async fn resolve(self) -> T {
        match self {
            Step::Ready(value) => value,
            Step::Wait(future) => future.await,
        }
    }
}

/// A phase or content handler.
pub trait Handler {
    /// Handles `req` in the phase the handler was attached to.
    fn handle<'r>(&'r self, req: &'r mut Request) -> Step<'r>;
}

/// What a handler decides.
#[derive(Debug)]
pub enum Flow {
    /// Not my business: the next handler of the phase (`NGX_DECLINED`).
    Next,
    /// Granted or done: skip the rest of the phase (`NGX_OK`).
    Done,
    /// Answer with this status: an error page, a redirect or a built-in page. No handler after this one runs.
    Status(u16),
    /// Answer with this status and body.
    Respond(Response),
    /// Serve another URI of this server instead (internal redirect).
    Jump(Jump),
    /// The response was produced and completed by the handler itself (`NGX_DONE`).
    Finish,
    /// The handler set the response head and wrote to [`Request::outgoing`](crate::request::Request::outgoing): what of it
    /// was not sent yet is sent, and the response ends.
    Complete,
    /// Close the connection without an answer (`444`), or give up after part of the answer was sent.
    Close,
}

/// A complete small response, as `return 200 "text"` makes it.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: Bytes,
    /// Content type; `None`: by the extension of the URI (`types`, `default_type`).
    pub content_type: Option<Bytes>,
}

/// Where an internal redirect leads.
#[derive(Debug)]
pub enum Jump {
    /// A URI (already decoded) and, if they change, its arguments.
    Uri {
        /// The path.
        uri: Vec<u8>,
        /// Arguments without the question mark; `None`: unchanged.
        args: Option<Vec<u8>>,
    },
    /// `@name`.
    Named(Box<[u8]>),
}
