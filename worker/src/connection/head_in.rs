//! Reading a request head and making a request of it.

use std::rc::Rc;
use std::time::Duration;

use http1::{Progress, RequestError, Version};
use net::{Buf, Received, Timeout};
use shm::counter::Status;

use super::Connection;
use crate::config::Server;
use crate::counters::Stage;
use crate::log::Level;
use crate::modules::http;
use crate::request::Request;

/// What came instead of, or as, a request head.
pub(super) enum HeadIn {
    /// A complete head, in `req.head`.
    Request,
    /// Nothing for a while: give the buffers back and wait.
    Idle,
    /// The client closed, reset, or was too slow without having sent anything.
    Closed,
    /// The client closed or reset in the middle of a head.
    CutOff,
    /// The client was too slow in the middle of a head.
    TimedOut,
    /// The head is refused.
    Refused(RequestError),
}

/// How long a busy connection keeps its buffers without data.
const IDLE_GRACE: Duration = Duration::from_millis(300);
/// First buffer of a connection; grows to what the head limits allow.
const BUFFER_BYTES: usize = 4096;

/// Reads until a head is complete. `timeout` holds until the first byte, then `client_header_timeout` in total.
pub(super) async fn read_head(
    req: &mut Request,
    server: &Server,
    first_wait_ms: u64,
    stage: &mut Stage<'_>,
) -> HeadIn {
    let conf = server.confs.get(&http::SERVER);
    let listening = Rc::clone(&req.conn.listening);
    let mut named: Option<Rc<Server>> = None;
    let mut deadline: Option<u64> = None;
    req.pipelined = req.conn.requests.get() > 0 && !req.io.h1().inbuf.is_empty();
    loop {
        let Request { io, head, captures, .. } = req;
        let h1 = io.h1();
        if !h1.inbuf.is_empty() {
            stage.becomes(Status::Reading);
            let options = match &named {
                Some(named) => &named.confs.get(&http::SERVER).request_options,
                None => listening.until_host.as_ref().unwrap_or(&conf.request_options),
            };
            match h1.parser.parse(&h1.inbuf, options, head) {
                Ok(Progress::Done { consumed }) => {
                    h1.inbuf.consume(consumed);
                    return HeadIn::Request;
                }
                Ok(Progress::NeedMore) => {}
                // as in nginx the lines behind it are read as the server it names says
                Ok(Progress::Host) => {
                    let servers = &listening.servers;
                    let found = servers.names.find(&head.host, captures).map(|(server, _)| server);
                    named = Some(Rc::clone(found.unwrap_or(&servers.default)));
                    continue;
                }
                Err(error) => return HeadIn::Refused(error),
            }
        }
        let begun = !h1.inbuf.is_empty() && !h1.parser.is_idle(&h1.inbuf);
        // responses to earlier pipelined requests leave before we wait
        let send_timeout = Timeout::ms(server.root.confs.get(&http::LOCATION).send_timeout);
        if !h1.flush_ahead() && h1.flush(send_timeout).await.is_err() {
            return HeadIn::Closed;
        }
        if h1.inbuf.spare_len() == 0 {
            let more = if h1.inbuf.is_empty() { BUFFER_BYTES } else { h1.inbuf.len() };
            h1.inbuf.reserve(more);
        }
        let buf = std::mem::take(&mut h1.inbuf);
        let stream = h1.stream.clone();
        let received = if begun {
            let now = net::now().0;
            let until = *deadline.get_or_insert(now + conf.client_header_timeout);
            let (result, buf) = stream.recv(buf, Timeout::ms(until.saturating_sub(now).max(1))).await;
            (result.map(Received::Bytes), buf)
        } else {
            stream.recv_idle(buf, IDLE_GRACE, Timeout::ms(first_wait_ms)).await
        };
        let (result, buf) = received;
        let h1 = req.io.h1();
        h1.inbuf = buf;
        let more = matches!(result, Ok(Received::Bytes(1..)));
        if !more && h1.settle(send_timeout).await.is_err() {
            return HeadIn::Closed;
        }
        match result {
            Ok(Received::Bytes(0)) if begun => return HeadIn::CutOff,
            Ok(Received::Bytes(0)) => {
                log_end(req);
                return HeadIn::Closed;
            }
            Ok(Received::Bytes(_)) => {}
            Ok(Received::Idle) if !begun => {
                req.io.h1().inbuf = Buf::new();
                return HeadIn::Idle;
            }
            Ok(Received::Idle) => {}
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut && begun => return HeadIn::TimedOut,
            Err(_) if begun => return HeadIn::CutOff,
            Err(_) => return HeadIn::Closed,
        }
    }
}

/// Says that the client ended a connection on which nothing was going on.
fn log_end(req: &Request) {
    if req.worker.is_draining() {
        // it was this worker that ended it
    } else if req.conn.requests.get() > 0 {
        let log = &req.http().error_log;
        if log.enabled(Level::Info) {
            let client = &req.conn.client.text;
            let message = format_args!("client {client} closed keepalive connection");
            log.write(Level::Info, Some(req.conn.number), message, None);
        }
    } else {
        req.conn.log(Level::Info, format_args!("client closed connection while waiting for request"));
    }
}

impl Request {
    /// Fills a request from its parsed head. The server is chosen by host name among those of the address.
    pub(super) fn begin(&mut self, conn: &Rc<Connection>) {
        self.start = net::now();
        self.conn = Rc::clone(conn);
        self.client = Rc::clone(&conn.client);
        conn.requests.set(conn.requests.get() + 1);
        self.method = self.head.method;
        self.version = self.head.version;
        std::mem::swap(&mut self.headers, &mut self.head.headers);
        self.head.uri.swap_parts(&mut self.uri, &mut self.args);
        std::mem::swap(&mut self.host, &mut self.head.host);
        self.host_port = self.head.port;
        self.unparsed_valid = matches!(self.head.request_uri().first(), Some(b'/' | b'*'));
        self.length = self.head.head_len as u64;
        self.keepalive = self.head.keep_alive();
        self.body.framing = self.head.framing;
        self.body.declared = match self.head.framing {
            http1::Framing::Length(len) => Some(len),
            _ => None,
        };
        self.lingering = !self.body.is_absent();
        self.body.expect_continue = self.version >= Version::HTTP_11
            && self
                .headers
                .known(http1::Known::Expect)
                .is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"));
        if let crate::io::Io::H1(h1) = &mut self.io {
            h1.decoder = http1::BodyDecoder::new(self.head.framing);
        }
        self.choose_server(conn);
    }

    fn choose_server(&mut self, conn: &Rc<Connection>) {
        let servers = &conn.listening.servers;
        // who names nobody means whom the TLS client asked for
        let mut server = Rc::clone(if self.host.is_empty() { &conn.server } else { &servers.default });
        if !servers.names.is_empty() {
            let host = std::mem::take(&mut self.host);
            let found = servers
                .names
                .find(&host, &mut self.captures)
                .map(|(s, regex)| (Rc::clone(s), regex.cloned()));
            self.host = host;
            if let Some((found, regex)) = found {
                server = found;
                if let Some(regex) = regex {
                    regex.store_names(self);
                }
            }
        }
        self.location = Rc::clone(&server.root);
        self.server = server;
    }
}
