//! The task of a connection: reads frames and starts streams, writes what they queued, and decides when it is over.
//!
//! ```text
//!             ┌── read: socket ─► frames ─► new streams ──┐ ends: the client closed, broke the protocol, or was idle
//!   serve ────┤                                           │
//!             └── write: output ─► socket ────────────────┘ ends: nothing more will be sent
//! ```
//!
//! The two halves run side by side in one task. Whoever ends a connection does it through the protocol machine; the write
//! half sends what that leaves, and its end is the end.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http2::{Code, Config, Event, Fatal};
use net::{Buf, Received, Timeout};

use super::{H2, Shared, head_in, stream};
use crate::connection::Connection;
use crate::io::Io;
use crate::log::Level;
use crate::modules::http::{self, LingeringClose};
use crate::modules::v2;
use crate::worker::Worker;

/// How long a quiet connection keeps its receive buffer.
const IDLE_GRACE: Duration = Duration::from_millis(200);
/// Room for one receive: a frame of the largest size, and its header.
const ROOM_BYTES: usize = 16 * 1024 + 256;
/// What is moved to the output in one turn: other connections have their turn before the next.
const OUTPUT_BYTES: usize = 64 * 1024;
/// How long, and how much, is read from a client that was shown out, so that it can read why.
const FAREWELL_MS: u64 = 1000;
const FAREWELL_READS: u32 = 64;

/// Serves a connection to its end. `early` was received already.
pub(in crate::connection) async fn serve(worker: &Rc<Worker>, conn: &Rc<Connection>, early: Buf) {
    let shared = Rc::new(Shared {
        proto: RefCell::new(http2::Connection::server(config(conn))),
        sent: net::Notify::new(),
        quiet_since: Cell::new(net::now().0),
        keeps: conn.listening.servers.default.root.confs.get(&http::LOCATION).keepalive_timeout > 0,
    });
    let ended = {
        let mut read = pin!(read(worker, conn, &shared, early));
        let mut write = pin!(write(conn, &shared));
        let mut drain = pin!(drain(worker, &shared));
        let mut outcome = None;
        let mut drained = false;
        poll_fn(|cx| {
            if outcome.is_none()
                && let Poll::Ready(end) = read.as_mut().poll(cx)
            {
                outcome = Some(end);
            }
            if !drained {
                drained = drain.as_mut().poll(cx).is_ready();
            }
            write.as_mut().poll(cx).map(|()| outcome.take())
        })
        .await
    };
    shared.proto.borrow_mut().close();
    if ended.is_none_or(|end| end != End::Closed) {
        farewell(conn).await;
    }
}

fn config(conn: &Connection) -> Config {
    let confs = &conn.listening.servers.default.confs;
    let (core, v2) = (confs.get(&http::SERVER), confs.get(&v2::SERVER));
    let (count, size) = core.large_client_header_buffers;
    Config {
        stream_window: u32::try_from(v2.body_preread_size).unwrap_or(u32::MAX >> 1),
        connection_window: CONNECTION_WINDOW_BYTES,
        streams_max: u32::try_from(v2.max_concurrent_streams).unwrap_or(u32::MAX),
        header_list_max: core.client_header_buffer_size.saturating_add(count.saturating_mul(size)),
        connect_protocol: false,
    }
}

/// Body bytes all streams of a connection together may have under way.
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// How reading ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The client closed, or is not there any more.
    Closed,
    /// We end it: GOAWAY was sent or is in the output.
    Ours,
}

/// Tells the client when the worker wants to end.
async fn drain(worker: &Worker, shared: &Shared) {
    while !worker.is_draining() {
        worker.changed.notified().await;
    }
    shared.proto.borrow_mut().go_away(Code::NO_ERROR);
}

/// The writing half.
async fn write(conn: &Connection, shared: &Shared) {
    let timeout = Timeout::ms(conn.listening.servers.default.root.confs.get(&http::LOCATION).send_timeout);
    loop {
        poll_fn(|cx| {
            let mut proto = shared.proto.borrow_mut();
            if proto.is_finished() && proto.output_len() == 0 {
                return Poll::Ready(());
            }
            proto.poll_output(cx, OUTPUT_BYTES)
        })
        .await;
        let mut chain = net::Chain::new();
        {
            let mut proto = shared.proto.borrow_mut();
            if proto.output_len() == 0 && (proto.is_finished() || proto.is_dead()) {
                return;
            }
            proto.output().take().into_iter().for_each(|part| chain.push(part));
        }
        if conn.stream.send_vec(chain, timeout).await.is_err() {
            return;
        }
        shared.sent.notify_one();
    }
}

/// The reading half.
async fn read(worker: &Rc<Worker>, conn: &Rc<Connection>, shared: &Rc<Shared>, early: Buf) -> End {
    let mut scratch = Vec::new();
    let mut inbuf = early;
    let mut block_since = None;
    loop {
        if let Err(fatal) = frames(worker, conn, shared, &mut inbuf, &mut scratch) {
            return fail(worker, conn, &fatal);
        }
        while shared.proto.borrow().is_congested() {
            shared.sent.notified().await;
        }
        let in_block = shared.proto.borrow().is_in_block(&inbuf);
        if !in_block {
            block_since = None;
        }
        let now = net::now().0;
        let timeout = match in_block {
            true => {
                let limit = conn.listening.servers.default.confs.get(&http::SERVER).client_header_timeout;
                let since = *block_since.get_or_insert(now);
                (since + limit).saturating_sub(now).max(1)
            }
            false => patience(conn),
        };
        let wanted = shared.proto.borrow().wanted(&inbuf);
        if inbuf.is_empty() {
            inbuf = Buf::with_capacity(ROOM_BYTES);
        } else {
            inbuf.reserve(wanted.saturating_sub(inbuf.len()).max(ROOM_BYTES / 4));
        }
        let (result, buf) = receive(worker, conn, shared, inbuf, Timeout::ms(timeout)).await;
        inbuf = buf;
        match result {
            Ok(0) => {
                shared.proto.borrow_mut().close();
                return End::Closed;
            }
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                if in_block {
                    block_since = None;
                    if let Err(fatal) = shared.proto.borrow_mut().block_timed_out(&inbuf) {
                        return fail(worker, conn, &fatal);
                    }
                    continue;
                }
                let idle = net::now().0.saturating_sub(shared.quiet_since.get());
                if shared.proto.borrow().streams() == 0 && idle >= timeout {
                    shared.proto.borrow_mut().go_away(Code::NO_ERROR);
                    return End::Ours;
                }
            }
            Err(_) => {
                shared.proto.borrow_mut().close();
                return End::Closed;
            }
        }
    }
}

/// How long a connection without streams is waited for, ms.
fn patience(conn: &Connection) -> u64 {
    let server = &conn.listening.servers.default;
    if conn.requests.get() == 0 {
        server.confs.get(&http::SERVER).client_header_timeout
    } else {
        server.root.confs.get(&http::LOCATION).keepalive_timeout.max(1)
    }
}

/// Receives behind what is in `buf`. A connection that is quiet gives its buffer back meanwhile, and one without streams is
/// registered as idle.
async fn receive(
    worker: &Rc<Worker>,
    conn: &Connection,
    shared: &Shared,
    buf: Buf,
    timeout: Timeout,
) -> (std::io::Result<usize>, Buf) {
    if !buf.is_empty() {
        return conn.stream.recv(buf, timeout).await;
    }
    let (result, buf) = conn.stream.recv_idle(buf, IDLE_GRACE, timeout).await;
    match result {
        Ok(Received::Bytes(count)) => return (Ok(count), buf),
        Ok(Received::Idle) => drop(buf),
        Err(error) => return (Err(error), buf),
    }
    let idle = (shared.proto.borrow().streams() == 0).then(|| worker.idle(conn.stream.socket()));
    let readable = conn.stream.readable(timeout).await;
    drop(idle);
    match readable {
        Ok(()) => conn.stream.recv(Buf::with_capacity(ROOM_BYTES), timeout).await,
        Err(error) => (Err(error), Buf::new()),
    }
}

/// Takes the frames in `inbuf` and starts a task for each request.
fn frames(
    worker: &Rc<Worker>,
    conn: &Rc<Connection>,
    shared: &Rc<Shared>,
    inbuf: &mut Buf,
    scratch: &mut Vec<u8>,
) -> Result<(), Fatal> {
    let now = net::now().0;
    shared.quiet_since.set(now);
    loop {
        let (consumed, event) = shared.proto.borrow_mut().receive(inbuf, now)?;
        inbuf.consume(consumed);
        match event {
            None => return Ok(()),
            Some(Event::Request { id, end, malformed }) => {
                let mut req = worker.request(conn, Io::H2(Box::new(H2::new(Rc::clone(shared), id))));
                worker.counters.request();
                let filled = {
                    let proto = shared.proto.borrow();
                    head_in::fill(&mut req, proto.fields(), proto.block_len(), end, malformed, scratch)
                };
                match &filled {
                    Ok(()) => req.begin(conn),
                    Err(_) => req.begin_refused(conn),
                }
                limit_requests(conn, shared);
                net::spawn(stream::stream(req, filled.err()));
            }
        }
    }
}

/// `keepalive_requests` and `keepalive_time`: the requests so far are the last ones.
fn limit_requests(conn: &Connection, shared: &Shared) {
    let conf = conn.listening.servers.default.root.confs.get(&http::LOCATION);
    let age = net::now().since(conn.accepted).as_millis() as u64;
    if conn.requests.get() >= conf.keepalive_requests || age > conf.keepalive_time {
        shared.proto.borrow_mut().go_away(Code::NO_ERROR);
    }
}

fn fail(worker: &Worker, conn: &Connection, fatal: &Fatal) -> End {
    let level = if fatal.abuse.is_some() { Level::Error } else { Level::Info };
    if let Some(abuse) = fatal.abuse {
        worker.counters.abuse(abuse);
    }
    conn.log(level, format_args!("client {fatal} while processing HTTP/2 connection"));
    End::Ours
}

/// Lets the client read what it was told although it may still be sending: a close with unread bytes would reset the
/// connection and could destroy it.
async fn farewell(conn: &Connection) {
    let conf = conn.listening.servers.default.root.confs.get(&http::LOCATION);
    if conf.lingering_close == LingeringClose::Off || conn.stream.end_sending().await.is_err() {
        return;
    }
    let until = net::now().0 + FAREWELL_MS;
    let mut buf = Buf::with_capacity(ROOM_BYTES);
    for _ in 0..FAREWELL_READS {
        let left = until.saturating_sub(net::now().0);
        if left == 0 {
            return;
        }
        buf.clear();
        let (result, back) = conn.stream.recv(buf, Timeout::ms(left)).await;
        buf = back;
        if !matches!(result, Ok(1..)) {
            return;
        }
    }
}
