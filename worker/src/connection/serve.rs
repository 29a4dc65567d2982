//! The life of an HTTP/1 connection.
//!
//! ```text
//!            readable              head complete
//!   Idle ───────────────► Busy ───────────────────► (phases) ──┐
//!    ▲                     │ ▲                                 │ keep-alive
//!    │   quiet for a while │ └─────────────────────────────────┤
//!    └─────────────────────┘                                   │ close, error
//!                                              Lingering ◄─────┘
//! ```
//!
//! The task of an idle connection is small and holds no buffer: request and buffers belong to the boxed future of the busy
//! part, and go back to their pools when the client is quiet.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;

use http1::RequestError;
use net::{Stream, Timeout};
use shm::counter::Status;

use super::accept::Listening;
use super::discard::{drain, linger};
use super::h1::H1;
use super::head_in::{HeadIn, read_head};
use super::preface::{self, Protocol};
use super::proxied::read_header;
use super::secure::{Greeted, Greeting};
use super::{ClientAddr, Connection, h2};
use crate::io::Io;
use crate::log::Level;
use crate::modules::http::{self, LingeringClose};
use crate::phase::{self, Flow};
use crate::request::Request;
use crate::transport::Transport;
use crate::worker::{ConnectionGuard, Worker};

/// How a busy spell ended.
enum Spell {
    /// The client is quiet; keep the connection for so long.
    Idle(u64),
    /// Close.
    Close,
}

/// Serves one connection from accept to close.
pub(super) async fn connection(
    guard: ConnectionGuard,
    listening: Rc<Listening>,
    stream: Stream,
    peer: net::Addr,
) {
    let worker = guard.worker();
    let Some(conn) = Box::pin(establish(worker, listening, stream, peer)).await else { return };
    let conf = conn.server.confs.get(&http::SERVER);
    let mut wait_ms = conf.client_header_timeout;
    // with TLS the handshake has settled what is spoken, without the first bytes do
    let agreed = conn.tls.as_deref().is_some_and(|tls| tls.protocol.as_deref() == Some(&b"h2"[..]));
    if conn.listening.http2 && (agreed || !conn.listening.secure) {
        match Box::pin(preface::choose(&conn, wait_ms)).await {
            Some(Protocol::Http2(early)) => {
                Box::pin(h2::serve(worker, &conn, early)).await;
                return conn.stream.close().await;
            }
            Some(Protocol::Http1) if !agreed => {}
            _ => return,
        }
    }
    loop {
        match Box::pin(busy(worker, &conn, wait_ms)).await {
            Spell::Close => {
                conn.stream.close().await;
                // a background subrequest may still hold the stream
                if Rc::strong_count(&conn) > 1 {
                    let _ = conn.stream.socket().shutdown();
                }
                return;
            }
            Spell::Idle(ms) => wait_ms = ms,
        }
        let idle = worker.idle(conn.stream.socket());
        let readable = conn.stream.readable(Timeout::ms(wait_ms)).await;
        drop(idle);
        if let Err(error) = readable {
            if conn.requests.get() == 0 && error.kind() == std::io::ErrorKind::TimedOut {
                let text = "client timed out (110: Connection timed out) while waiting for request";
                conn.log(Level::Info, format_args!("{text}"));
            }
            return;
        }
    }
}

/// What comes before the first request: PROXY protocol (and, behind it, TLS). `None`: the connection is of no use.
async fn establish(
    worker: &Rc<Worker>,
    listening: Rc<Listening>,
    stream: Stream,
    peer: net::Addr,
) -> Option<Rc<Connection>> {
    let number = worker.next_connection();
    let (listening, local) = place(&stream, &listening)?;
    let nodelay = Cell::new(peer.is_unix());
    let mut client = peer;
    if matches!(&client, net::Addr::Unix(_)) {
        client = net::Addr::unix("");
    }
    let client = ClientAddr::new(client);
    let (proxied, early) = if listening.proxy_protocol {
        read_header(number, &listening, &stream, &client).await?
    } else {
        Default::default()
    };
    let greeted = if listening.secure {
        // a handshake goes back and forth in small pieces
        if !nodelay.replace(true) {
            // a failure means the peer is gone already, which the first read will tell
            let _ = stream.set_nodelay(true);
        }
        let greeting = Greeting { worker, number, listening: &listening, client: &client };
        Box::pin(greeting.run(stream, early)).await?
    } else {
        let server = Rc::clone(&listening.servers.default);
        Greeted { transport: Transport::Plain(stream), server, tls: None, early }
    };
    Some(Rc::new(Connection {
        number,
        stream: greeted.transport,
        client: Rc::new(client),
        proxied: proxied.map(Box::new),
        early: Cell::new(greeted.early),
        local,
        nodelay,
        listening,
        server: greeted.server,
        secure: greeted.tls.is_some(),
        tls: greeted.tls,
        requests: Cell::new(0),
        accepted: net::now(),
    }))
}

/// Which of the servers' addresses a connection came to, and our end of it as far as that is known without asking.
fn place(stream: &Stream, listening: &Rc<Listening>) -> Option<(Rc<Listening>, OnceCell<net::Addr>)> {
    if let Some(addr) = &listening.fixed {
        return Some((Rc::clone(listening), OnceCell::from(addr.clone())));
    }
    if listening.specific.is_empty() {
        return Some((Rc::clone(listening), OnceCell::new()));
    }
    let local = stream.local_addr().ok()?;
    Some((Listening::of_local(listening, &local), OnceCell::from(local)))
}

/// Serves requests until the client is quiet or the connection ends.
async fn busy(worker: &Rc<Worker>, conn: &Rc<Connection>, mut wait_ms: u64) -> Spell {
    let mut h1 = H1::new(conn.stream.clone());
    h1.inbuf = conn.early.take();
    let mut req = worker.request(conn, Io::H1(Box::new(h1)));
    let default = Rc::clone(&conn.server);
    let mut stage = worker.counters.stage(Status::Waiting);
    let spell = loop {
        let head = read_head(&mut req, &default, wait_ms, &mut stage).await;
        match &head {
            HeadIn::Idle => break Spell::Idle(wait_ms),
            HeadIn::Closed => break Spell::Close,
            HeadIn::Request | HeadIn::Refused(_) | HeadIn::TimedOut | HeadIn::CutOff => {
                worker.counters.request();
                stage.becomes(Status::Writing);
            }
        }
        match head {
            HeadIn::Refused(error) => refuse(&mut req, conn, &error).await,
            HeadIn::TimedOut => {
                time_out(&mut req, conn).await;
                break Spell::Close;
            }
            HeadIn::CutOff => {
                cut_off(&mut req, conn).await;
                break Spell::Close;
            }
            _ => {
                req.begin(conn);
                match req.tls_objection() {
                    None => phase::run(&mut req).await,
                    Some(flow) => phase::run_refused(&mut req, flow).await,
                }
            }
        }
        if !finish(&mut req).await {
            break Spell::Close;
        }
        req.set_nodelay();
        wait_ms = req.http().keepalive_timeout;
        req.reset();
        req.io.h1().next_request();
        stage.becomes(Status::Waiting);
    };
    worker.recycle(req);
    spell
}

/// After a response: flush, then keep the connection (`true`), or let it go.
async fn finish(req: &mut Request) -> bool {
    let conf = req.http();
    let (linger_mode, total, idle) = (conf.lingering_close, conf.lingering_time, conf.lingering_timeout);
    let send_timeout = Timeout::ms(conf.send_timeout);
    let reset = conf.reset_timedout_connection;
    let h1 = req.io.h1();
    if h1.upgraded {
        return false;
    }
    if h1.aborted || !h1.finished {
        // what was promised and not delivered must be visible: the connection ends in the middle of the response
        req.conn.stream.cut_off();
        let partial = req.out.sent;
        let h1 = req.io.h1();
        if partial {
            h1.aborted = false;
            let _ = h1.flush(send_timeout).await;
        }
        if reset && !partial {
            let _ = req.conn.stream.socket().set_linger_reset();
        }
        return false;
    }
    if req.keepalive && drain(req).await {
        return true;
    }
    let h1 = req.io.h1();
    if h1.flush(send_timeout).await.is_err() {
        if reset {
            let _ = req.conn.stream.socket().set_linger_reset();
        }
        return false;
    }
    let body_ended = h1.decoder.is_end();
    let wanted = match linger_mode {
        LingeringClose::Off => false,
        LingeringClose::On => (req.lingering && !body_ended) || !h1.inbuf.is_empty(),
        LingeringClose::Always => true,
    };
    if wanted {
        let stream = req.conn.stream.clone();
        linger(stream, total, idle).await;
    }
    false
}

/// Answers a head that cannot be accepted.
async fn refuse(req: &mut Request, conn: &Rc<Connection>, error: &RequestError) {
    let status = error.status();
    req.begin_refused(conn);
    if matches!(error, RequestError::InvalidRequest | RequestError::UriTooLong) {
        // there is no URI to speak of
        req.uri.clear();
    }
    let doing = if req.head.request_line().is_empty() || req.headers.is_empty() {
        "reading client request line"
    } else {
        "reading client request headers"
    };
    req.log(Level::Info, format_args!("{error} while {doing}"));
    phase::run_refused(req, Flow::Status(status)).await;
}

/// The client did not finish its head in time.
async fn time_out(req: &mut Request, conn: &Rc<Connection>) {
    req.begin_refused(conn);
    req.log(
        Level::Info,
        format_args!("client timed out (110: Connection timed out) while reading client request headers"),
    );
    let reset = req.http().reset_timedout_connection;
    phase::run_refused(req, Flow::Status(408)).await;
    if reset {
        // nothing can be done if even that fails
        let _ = conn.stream.socket().set_linger_reset();
    }
}

/// The client went away in the middle of its head: nobody is there to be answered, but it is logged.
async fn cut_off(req: &mut Request, conn: &Rc<Connection>) {
    req.begin_refused(conn);
    req.log(
        Level::Info,
        format_args!("client prematurely closed connection while reading client request headers"),
    );
    req.out.status = 400;
    phase::run_refused(req, Flow::Close).await;
}

impl Request {
    /// Fills a request whose head was refused with as much as is known of it.
    pub(super) fn begin_refused(&mut self, conn: &Rc<Connection>) {
        self.begin(conn);
        self.keepalive = false;
        self.body.framing = http1::Framing::None;
        if let Io::H1(h1) = &mut self.io {
            h1.decoder = http1::BodyDecoder::new(http1::Framing::None);
        }
    }
}
