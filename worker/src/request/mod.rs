//! The one traveller: a request with its head, its response head, its body and what modules remember about it.

mod context;
mod credentials;
mod fields;
mod forwarded;
mod head_out;
mod paths;
mod pause;
mod pipe;
mod settings;
mod subrequest;
mod uri;

use std::fmt;
use std::rc::Rc;

use http1::{Headers, Known, Method, RequestHead, Version};

pub use context::{Context, HoldsPlace};
pub use forwarded::{forwarded_address, trusts};
pub use head_out::ResponseHead;
pub(crate) use pipe::push as push_piece;
pub use pipe::{PipeIn, Running, SubHead};
pub use subrequest::{Capture, SubrequestOptions};
pub(crate) use subrequest::{capture_body, watch_of};

use crate::body::Body;
use crate::config::{Config, Location, Server};
use crate::connection::{ClientAddr, Connection};
use crate::fault::Fault;
use crate::filter::FilterChain;
use crate::io::Io;
use crate::log::Level;
use crate::modules::http::{self, LocationConf, ServerConf};
use crate::phase::Flow;
use crate::regex::Captures;
use crate::variables::Values;
use crate::worker::Worker;

/// Memory for written body bytes that a request keeps for the next one.
const OUTGOING_BYTES_KEPT: usize = 16 * 1024;

/// Where a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A client's connection.
    Client,
    /// Another request that waits for it (`auth_request`, `addition`, Lua).
    Subrequest,
    /// Another request that does not (`mirror`).
    Background,
}

/// A request on its way through the phases.
pub struct Request {
    /// The worker process.
    pub worker: Rc<Worker>,
    /// The connection it came over.
    pub conn: Rc<Connection>,
    /// The client as seen by modules: the peer, or what `realip` found.
    pub client: Rc<ClientAddr>,
    /// The configuration it runs under; a reload does not change it.
    pub config: Rc<Config>,
    /// The server chosen by `Host`.
    pub server: Rc<Server>,
    /// The location it is in; [`Server::root`] before one is found.
    pub location: Rc<Location>,
    /// Client request, subrequest or background subrequest.
    pub origin: Origin,

    /// The method.
    pub method: Method,
    /// The head as parsed. What phases may change (method, path, arguments, fields) has fields of its own here.
    pub head: RequestHead,
    /// The HTTP version.
    pub version: Version,
    /// Whether `uri` still is what the request line says (no rewrite, no internal redirect).
    pub unparsed_valid: bool,
    /// Whether the location was chosen for `uri` as it is: a rewrite that stays in the location ends that.
    pub valid_location: bool,
    /// The decoded, normalised path.
    pub uri: Vec<u8>,
    /// Arguments without the question mark.
    pub args: Vec<u8>,
    /// Host in lower case, without port (`$host`); empty when the client sent none.
    pub host: Vec<u8>,
    /// The port of `Host`, if it had one.
    pub host_port: Option<u16>,
    /// Request header fields.
    pub headers: Headers,
    /// Trailer fields of a chunked request body, once it was read.
    pub trailers_in: Headers,
    /// The request body.
    pub body: Body,

    /// The response head.
    pub out: ResponseHead,
    /// The connection (or memory) the response goes to.
    pub io: Io,
    /// Body bytes that a handler wrote and the filters have not seen yet: what Lua prints before it waits or ends.
    pub outgoing: Vec<u8>,
    /// The stream of the client's request on a connection that carries many; subrequests have their parent's.
    pub(crate) watch: Option<crate::connection::h2::Watch>,
    /// Filters of the response under way; set when its header is sent.
    pub(crate) filters: Option<FilterChain>,
    /// Bits of the filters that want the body.
    pub(crate) filters_body: u32,
    /// Bits of the filters that want the body in memory.
    pub(crate) filters_memory: u32,
    /// Its response passes the filters of its parent, and none of its own.
    pub(crate) unfiltered: bool,
    /// Index of the filter whose `body` runs.
    pub(crate) filter_at: u32,

    /// Groups of the last pattern that matched (`$1`).
    pub captures: Captures,
    /// Variable values kept for this request.
    pub values: Values,
    /// What modules remember.
    pub context: Context,
    /// What happened upstream, for `$upstream_*`.
    pub upstream: crate::upstream::Trace,

    /// How much deeper subrequests may nest.
    pub subrequests_left: u32,
    /// Internal redirects and rewrites left.
    pub uri_changes_left: u32,
    /// The location's `alias` of a pattern is a directory to which the URI is appended: `try_files` found a file below it.
    pub alias_takes_uri: bool,
    /// The URI still begins with the location's name: no `rewrite … break` replaced it since the location was found.
    pub location_valid: bool,
    /// A rewrite changed the URI: locate again.
    pub uri_changed: bool,
    /// Internal redirect, subrequest, error page: may enter `internal` locations.
    pub internal: bool,
    /// An error page is being made: no error page for its errors (unless `recursive_error_pages`).
    pub error_page: bool,
    /// The status that overrides whatever a handler sets.
    pub err_status: u16,
    /// Whether the connection may serve another request after this one.
    pub keepalive: bool,
    /// Whether unread client bytes should be drained before closing.
    pub lingering: bool,
    /// The response is complete, and `post_action` makes one that nobody gets.
    pub(crate) post_action: bool,
    /// Only the head of the response is wanted.
    pub header_only: bool,
    /// `$limit_rate` in bytes per second, when set for this request.
    pub limit_rate: Option<u64>,
    /// When it began, on the monotonic clock.
    pub start: net::Tick,
    /// The client sent it before the answer to the request before it was complete.
    pub pipelined: bool,
    /// Bytes of head and body received for this request.
    pub length: u64,
}

impl Request {
    /// The core settings of the location.
    pub fn http(&self) -> &LocationConf {
        self.location.confs.get(&http::LOCATION)
    }

    /// The core settings of the server.
    pub fn server_conf(&self) -> &ServerConf {
        self.server.confs.get(&http::SERVER)
    }

    /// Whether this is a client's request and not a subrequest.
    pub fn is_main(&self) -> bool {
        self.origin == Origin::Client
    }

    /// The method as text: what the client sent unless a phase changed it.
    pub fn method_name(&self) -> &[u8] {
        match self.method.name() {
            Some(name) => name.as_bytes(),
            None => self.head.method_name(),
        }
    }

    /// Called when a location was chosen: settings that take effect right then.
    pub(crate) fn apply_location(&mut self) {
        let conf = Rc::clone(&self.location);
        let conf = conf.confs.get(&http::LOCATION);
        if self.keepalive {
            self.keepalive = conf.keepalive_allowed(self);
        }
    }

    pub(crate) fn is_internal_only_location(&self) -> bool {
        self.http().internal
    }

    /// What every internal redirect does.
    pub(crate) fn begin_internal(&mut self) {
        self.internal = true;
        self.unparsed_valid = false;
        self.alias_takes_uri = false;
        self.context.clear();
        self.body.expect_tested |= self.body.started();
    }

    /// Logs at `error` with the request's context.
    pub fn log_error(&self, message: fmt::Arguments<'_>) {
        self.log(Level::Error, message);
    }

    /// Logs with the request's context, at the location's `error_log` level.
    pub fn log(&self, level: Level, message: fmt::Arguments<'_>) {
        let log = &self.http().error_log;
        if log.enabled(level) {
            let context = crate::log::RequestContext::of(self);
            log.write(level, Some(self.conn.number), message, Some(&context));
        }
    }

    pub(crate) fn config_warns_uninitialized(&self) -> bool {
        self.http().uninitialized_variable_warn
    }

    pub(crate) fn log_uninitialized(&self, name: &str) {
        self.log(Level::Warn, format_args!("using uninitialized \"{name}\" variable"));
    }

    /// Whether the client sent the path with escapes or plus signs: rewrite instructions then escape what they take out
    /// of it.
    pub(crate) fn is_uri_escaped(&self) -> bool {
        let target = self.head.target();
        let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
        self.is_main() && memchr::memchr2(b'%', b'+', path).is_some()
    }

    /// The first value of a well-known request header.
    pub fn header(&self, known: Known) -> Option<&[u8]> {
        self.headers.known(known)
    }

    /// The status that was or will be sent.
    pub fn status(&self) -> u16 {
        if self.err_status != 0 {
            self.err_status
        } else if self.out.status != 0 {
            self.out.status
        } else {
            0
        }
    }

    /// Whether the response went out as a whole.
    pub fn is_complete(&self) -> bool {
        match &self.io {
            Io::H1(h1) => h1.finished && !h1.aborted,
            Io::H2(h2) => h2.finished && !h2.aborted,
            Io::Memory(_) | Io::Pipe(_) | Io::None => false,
        }
    }

    /// Turns a fault into what the phase engine understands: a status while one can still be sent.
    pub fn fail(&mut self, fault: &Fault) -> Flow {
        if fault.kind == crate::fault::Kind::Answer && !self.out.sent {
            return Flow::Status(fault.status);
        }
        let level = if fault.side == crate::fault::Side::Client { Level::Info } else { Level::Error };
        self.log(level, format_args!("{fault}"));
        if self.out.sent || fault.status == 0 || fault.status == 499 {
            if self.out.status == 0 {
                self.out.status = fault.status;
            }
            Flow::Close
        } else {
            Flow::Status(fault.status)
        }
    }
}
