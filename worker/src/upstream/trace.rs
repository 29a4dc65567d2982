//! What happened upstream on behalf of one request, for `$upstream_*` variables and log lines.

use std::rc::Rc;

use http1::{Headers, ResponseHead};
use net::Tick;

use crate::transport::Transport;

/// One try to get a response from one server.
#[derive(Debug, Clone, Default)]
pub struct Try {
    /// The server's address as `$upstream_addr` prints it.
    pub addr: Rc<str>,
    /// Its status, once its head was read, or that of its failure.
    pub status: Option<u16>,
    /// Milliseconds until connected.
    pub connect_ms: Option<u64>,
    /// Milliseconds until the head was read.
    pub header_ms: Option<u64>,
    /// Milliseconds until the response was read or the try failed.
    pub response_ms: Option<u64>,
    /// Bytes of the body.
    pub response_length: u64,
    /// All bytes received.
    pub bytes_received: u64,
    /// All bytes sent.
    pub bytes_sent: u64,
    /// The try began after an `X-Accel-Redirect` or error page: a new group in the variables.
    pub new_group: bool,
}

/// All tries of a request.
#[derive(Debug, Default)]
pub struct Trace {
    /// In order.
    pub tries: Vec<Try>,
    /// `http://127.0.0.1:8080/uri` of the try under way, for log lines; empty: nothing is under way.
    pub url: String,
    /// Head of the last response; a status of 0: none was read.
    pub head: Option<Box<ResponseHead>>,
    /// Trailer fields of the last response.
    pub trailers: Headers,
    /// What the cache has to do with the request; while it is being passed on.
    pub(crate) cache: Option<Box<crate::cache::Use>>,
    /// `$upstream_cache_status`.
    pub(crate) cache_status: Option<crate::cache::Status>,
    /// The request head as it is sent, kept for further tries.
    pub(crate) request: Vec<u8>,
    /// The try under way.
    live: Option<Live>,
}

/// What the figures of the try under way are counted from.
#[derive(Debug)]
struct Live {
    start: Tick,
    /// The connection with its counters at the start.
    stream: Option<(Transport, u64, u64)>,
}

impl Trace {
    /// What the request is talking to.
    pub fn current(&self) -> Option<&str> {
        (!self.url.is_empty()).then_some(&*self.url)
    }

    /// The head of the last response.
    pub fn response(&self) -> Option<&ResponseHead> {
        self.head.as_deref().filter(|head| head.status != 0)
    }

    /// What has grown old in the cache and may still be good.
    pub(crate) fn revalidated(&self) -> Option<&crate::cache::Use> {
        let expired = self.cache_status == Some(crate::cache::Status::Expired);
        self.cache.as_deref().filter(|using| expired && using.revalidate)
    }

    /// Begins a try at `addr`.
    pub(super) fn begin(&mut self, addr: Rc<str>, new_group: bool) {
        self.end();
        self.live = Some(Live { start: net::now(), stream: None });
        self.tries.push(Try { addr, new_group, ..Try::default() });
    }

    /// The try under way has a connection.
    pub(super) fn connected(&mut self, stream: &Transport) {
        let Some(live) = &mut self.live else { return };
        live.stream = Some((stream.clone(), stream.bytes_sent(), stream.bytes_received()));
        let elapsed = net::now().since(live.start).as_millis() as u64;
        if let Some(current) = self.tries.last_mut() {
            current.connect_ms = Some(elapsed);
        }
    }

    /// The head of its response was read.
    pub(super) fn answered(&mut self, status: u16) {
        let Some(live) = &self.live else { return };
        let elapsed = net::now().since(live.start).as_millis() as u64;
        if let Some(current) = self.tries.last_mut() {
            current.header_ms = Some(elapsed);
            current.status = Some(status);
        }
    }

    /// Bytes sent in the try under way.
    pub(super) fn sent(&self) -> u64 {
        let stream = self.live.as_ref().and_then(|live| live.stream.as_ref());
        // what is on its way may have had an effect
        stream.map_or(0, |(stream, sent, _)| (stream.bytes_sent() - sent).max(stream.is_sending().into()))
    }

    /// Bytes received in the try under way.
    pub(super) fn received(&self) -> u64 {
        let stream = self.live.as_ref().and_then(|live| live.stream.as_ref());
        stream.map_or(0, |(stream, _, received)| stream.bytes_received() - received)
    }

    /// The try under way, if any, is over: its figures become final.
    pub(super) fn end(&mut self) {
        let Some(live) = self.live.take() else { return };
        let Some(current) = self.tries.last_mut() else { return };
        current.response_ms.get_or_insert(net::now().since(live.start).as_millis() as u64);
        if let Some((stream, sent, received)) = live.stream {
            current.bytes_sent = stream.bytes_sent() - sent;
            current.bytes_received = stream.bytes_received() - received;
        }
    }

    /// Forgets everything; keeps the memory.
    pub fn reset(&mut self) {
        self.tries.clear();
        self.url.clear();
        self.request.clear();
        self.trailers.clear();
        self.live = None;
        self.cache = None;
        self.cache_status = None;
        if let Some(head) = &mut self.head {
            head.clear();
        }
    }
}
