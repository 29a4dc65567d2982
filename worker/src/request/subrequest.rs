//! Requests made on behalf of a request: `auth_request`, `addition`, `mirror`.

use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use http1::Method;

use super::{Origin, Request};
use crate::connection::Connection;
use crate::fault::Fault;
use crate::filter::{Chain, Chunk};
use crate::io::Io;
use crate::output::read_file;
use crate::phase;
use crate::phase::engine_uri_changes_max;
use crate::worker::Worker;

/// A response kept in memory.
#[derive(Debug, Default)]
pub struct Capture {
    /// The body so far.
    pub body: BytesMut,
    /// Most bytes to keep; more is a failure.
    pub max: usize,
    /// The response was given up or did not fit.
    pub truncated: bool,
}

/// How a subrequest differs from its parent.
#[derive(Debug, Default)]
pub struct SubrequestOptions {
    /// Arguments; the parent's are not inherited.
    pub args: Vec<u8>,
    /// The method; `None`: GET.
    pub method: Option<Method>,
    /// Only the head of the response matters.
    pub header_only: bool,
    /// The parent's body is sent along.
    pub with_body: bool,
    /// Most bytes of the response kept in memory, if that is more than `subrequest_output_buffer_size` of its location.
    pub body_max: usize,
}

/// Subrequests may nest this deep (nginx's limit).
pub const SUBREQUESTS_MAX: u32 = 50;

/// Subrequests of one client's request, at any depth.
const SUBREQUESTS_TOTAL_MAX: u32 = 10_000;

/// Subrequests made so far.
#[derive(Clone, Copy)]
struct Made(u32);

impl Request {
    /// A request without a head, for `conn`.
    pub(crate) fn new(worker: Rc<Worker>, conn: &Rc<Connection>, io: Io) -> Self {
        let server = Rc::clone(&conn.listening.servers.default);
        Self {
            config: Rc::clone(&worker.config),
            worker,
            conn: Rc::clone(conn),
            client: Rc::clone(&conn.client),
            location: Rc::clone(&server.root),
            server,
            origin: Origin::Client,
            method: Method::Get,
            head: http1::RequestHead::new(),
            version: http1::Version::HTTP_11,
            unparsed_valid: true,
            valid_location: true,
            uri: Vec::new(),
            args: Vec::new(),
            host: Vec::new(),
            host_port: None,
            headers: http1::Headers::new(),
            trailers_in: http1::Headers::new(),
            body: crate::body::Body::default(),
            out: super::ResponseHead::default(),
            watch: watch_of(&io),
            io,
            outgoing: Vec::new(),
            filters: None,
            filters_body: 0,
            filters_memory: 0,
            filter_at: 0,
            unfiltered: false,
            captures: crate::regex::Captures::default(),
            values: crate::variables::Values::default(),
            context: super::Context::default(),
            upstream: crate::upstream::Trace::default(),
            uri_changes_left: engine_uri_changes_max(),
            subrequests_left: SUBREQUESTS_MAX,
            alias_takes_uri: false,
            location_valid: true,
            uri_changed: false,
            internal: false,
            error_page: false,
            err_status: 0,
            keepalive: true,
            lingering: false,
            post_action: false,
            header_only: false,
            limit_rate: None,
            start: net::now(),
            pipelined: false,
            length: 0,
        }
    }

    /// Prepares for the next request of the connection; buffers keep their memory.
    pub(crate) fn reset(&mut self) {
        self.server = Rc::clone(&self.conn.listening.servers.default);
        self.location = Rc::clone(&self.server.root);
        self.origin = Origin::Client;
        self.head.clear();
        self.unparsed_valid = true;
        self.valid_location = true;
        self.uri.clear();
        self.args.clear();
        self.host.clear();
        self.host_port = None;
        self.headers.clear();
        self.trailers_in.clear();
        self.body.reset();
        self.out.reset();
        self.outgoing.clear();
        self.outgoing.shrink_to(super::OUTGOING_BYTES_KEPT);
        self.filters = None;
        self.filters_body = 0;
        self.filters_memory = 0;
        self.unfiltered = false;
        self.captures.clear();
        self.values.clear();
        self.context.reset();
        self.upstream.reset();
        self.uri_changes_left = engine_uri_changes_max();
        self.subrequests_left = SUBREQUESTS_MAX;
        self.alias_takes_uri = false;
        self.location_valid = true;
        self.uri_changed = false;
        self.internal = false;
        self.error_page = false;
        self.err_status = 0;
        self.lingering = false;
        self.post_action = false;
        self.header_only = false;
        self.limit_rate = None;
        self.pipelined = false;
        self.length = 0;
    }

    /// Makes a subrequest for `uri` that runs on its own: it shares nothing with its parent but copies.
    pub fn fork(&self, uri: Vec<u8>, options: SubrequestOptions, io: Io) -> Box<Request> {
        let mut sub = Box::new(Request::new(Rc::clone(&self.worker), &self.conn, io));
        sub.server = Rc::clone(&self.server);
        sub.location = Rc::clone(&self.server.root);
        sub.client = Rc::clone(&self.client);
        sub.watch.clone_from(&self.watch);
        sub.method = options.method.unwrap_or(Method::Get);
        sub.head = self.head.clone();
        sub.version = self.version;
        sub.unparsed_valid = false;
        sub.uri = uri;
        sub.args = options.args;
        sub.host.clone_from(&self.host);
        sub.host_port = self.host_port;
        sub.headers = self.headers.clone();
        sub.values = self.values.clone();
        sub.header_only = options.header_only;
        sub.internal = true;
        sub.subrequests_left = self.subrequests_left - 1;
        sub.context.join(&self.context);
        sub.start = net::now();
        sub.keepalive = false;
        if options.with_body {
            sub.body = self.body.share();
        } else {
            sub.headers.remove_known(http1::Known::ContentLength);
            sub.headers.remove_known(http1::Known::TransferEncoding);
        }
        sub
    }

    /// The same request once more, for its content handler only: what it answers nobody gets.
    pub(crate) fn clone_behind(&self) -> Box<Request> {
        let options = SubrequestOptions {
            args: self.args.clone(),
            method: Some(self.method),
            header_only: true,
            with_body: self.body.progress == crate::body::Progress::Kept,
            body_max: 0,
        };
        let mut sub = self.fork(self.uri.clone(), options, Io::None);
        sub.origin = Origin::Background;
        sub.location = Rc::clone(&self.location);
        sub.unparsed_valid = self.unparsed_valid;
        sub.valid_location = self.valid_location;
        sub.location_valid = self.location_valid;
        sub.captures = self.captures.clone();
        sub
    }

    /// Runs a subrequest and returns it when it is complete: its response head is in `out`, its body in
    /// [`Request::captured`]. Variables are shared: what it assigns its parent sees, as in nginx.
    pub async fn subrequest(
        &mut self,
        uri: Vec<u8>,
        options: SubrequestOptions,
    ) -> Result<Box<Request>, Fault> {
        self.count_subrequest(&uri)?;
        let capture = Capture { max: options.body_max, ..Capture::default() };
        let mut sub = self.fork(uri, options, Io::Memory(capture));
        sub.origin = Origin::Subrequest;
        Box::pin(phase::run_subrequest(&mut sub)).await;
        self.values = std::mem::take(&mut sub.values);
        Ok(sub)
    }

    /// Counts a subrequest against the limits.
    ///
    /// # Errors
    /// They are nested too deep, or there are too many of them.
    pub(super) fn count_subrequest(&self, uri: &[u8]) -> Result<(), Fault> {
        let uri = uri.escape_ascii();
        if self.subrequests_left == 0 {
            return Err(Fault::internal(format!("subrequests cycle while processing \"{uri}\"")));
        }
        let made = self.context.lasting::<Made>().unwrap_or(Made(0));
        if made.0 == SUBREQUESTS_TOTAL_MAX {
            return Err(Fault::internal(format!("too many subrequests while processing \"{uri}\"")));
        }
        self.context.keep_lasting(Made(made.0 + 1));
        Ok(())
    }

    /// The body a subrequest's response had.
    pub fn captured(&mut self) -> Bytes {
        match &mut self.io {
            Io::Memory(capture) => capture.body.split().freeze(),
            Io::H1(_) | Io::H2(_) | Io::Pipe(_) | Io::None => Bytes::new(),
        }
    }
}

/// What tells that the client of a request with this other end gave up, if that is not the connection.
pub(crate) fn watch_of(io: &Io) -> Option<crate::connection::h2::Watch> {
    match io {
        Io::H2(h2) => Some(h2.watch()),
        Io::H1(_) | Io::Memory(_) | Io::Pipe(_) | Io::None => None,
    }
}

/// Keeps a piece of a subrequest's response.
pub(crate) async fn capture_body(req: &mut Request, chain: Chain) -> Result<(), Fault> {
    if req.header_only {
        return Ok(());
    }
    for chunk in chain.chunks {
        let (file, mut offset, end) = match chunk {
            Chunk::Memory(bytes) => {
                keep(req, &bytes)?;
                continue;
            }
            Chunk::File(part) => (part.file, part.offset, part.offset + part.len),
        };
        while offset < end {
            let want = usize::try_from(end - offset).unwrap_or(usize::MAX).min(64 * 1024);
            let bytes = read_file(&file, offset, want).await?;
            offset += bytes.len() as u64;
            keep(req, &bytes)?;
        }
    }
    Ok(())
}

fn keep(req: &mut Request, bytes: &[u8]) -> Result<(), Fault> {
    let room = req.http().subrequest_output_buffer_size;
    let Io::Memory(capture) = &mut req.io else { return Ok(()) };
    let max = capture.max.max(room);
    if capture.body.len() + bytes.len() > max {
        capture.truncated = true;
        return Err(Fault::internal(format!("too big subrequest response: more than {max} bytes")));
    }
    capture.body.extend_from_slice(bytes);
    req.out.body_bytes += bytes.len() as u64;
    Ok(())
}
