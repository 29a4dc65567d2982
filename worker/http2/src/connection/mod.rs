//! A connection: frames in, streams, frames out.
//!
//! The methods fall into three classes. `receive` takes bytes from the socket. `send_*`, `queue_*`, `reset`, `release` are
//! what the user of a stream asks for. `poll_*` wait for something to happen to a stream or to the connection and park a
//! waker there. None of them knows a socket; the time is told to `receive`.

mod block;
mod control;
mod data;
mod receive;
mod send;
mod wait;

use std::collections::VecDeque;
use std::task::Waker;

pub use receive::Event;
pub use wait::Broken;

use crate::budget::Budget;
use crate::error::{Code, Fatal};
use crate::flow::{RecvWindow, SendWindow};
use crate::frame;
use crate::hpack::{Decoder, Encoder, Fields, TABLE_SIZE_DEFAULT};
use crate::output::Output;
use crate::priority::{Priority, URGENCIES};
use crate::settings::{self, Peer, WINDOW_DEFAULT};
use crate::stream::Reset;
use crate::streams::{Ended, Streams};

/// What a side allows the other.
#[derive(Debug, Clone)]
pub struct Config {
    /// Body bytes of one stream that may be under way before they are fetched.
    pub stream_window: u32,
    /// The same for all streams of the connection together: the bound of its memory.
    pub connection_window: u32,
    /// Streams the peer may have open (servers only).
    pub streams_max: u32,
    /// Decoded size of a header list, bytes; what is beyond it is left out and marked.
    pub header_list_max: usize,
    /// Offer extended CONNECT (RFC 8441; servers only).
    pub connect_protocol: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            stream_window: WINDOW_DEFAULT,
            connection_window: 1 << 20,
            streams_max: 128,
            header_list_max: 32 * 1024,
            connect_protocol: false,
        }
    }
}

/// Which end we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Server,
    Client,
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    role: Role,
    config: Config,
    peer: Peer,
    /// The client's preface is still to come.
    preface_due: bool,
    /// The peer's first SETTINGS is still to come.
    settings_due: bool,
    /// SETTINGS of ours that were not acknowledged yet.
    acks_due: u32,
    decoder: Decoder,
    encoder: Encoder,
    /// A header block whose end has not come.
    block: Option<block::Block>,
    /// The block that was decoded last.
    fields: Fields,
    /// Its encoded length.
    block_len: usize,
    /// A stream whose header block took too long: the block is dropped when its end comes.
    overdue: Option<u32>,
    streams: Streams,
    /// Streams that are not closed, by who opened them.
    active: u32,
    /// The highest stream the peer opened.
    last_peer: u32,
    /// The next stream we may open.
    next_local: u32,
    send_window: SendWindow,
    recv_window: RecvWindow,
    output: Output,
    /// Streams with something to send and an open window, by urgency.
    ready: [VecDeque<u32>; URGENCIES],
    ready_count: usize,
    /// Body bytes queued on all streams.
    queued: usize,
    /// Priorities of streams that are not open yet.
    early_priorities: VecDeque<(u32, Priority)>,
    budget: Budget,
    /// GOAWAY was sent: no stream above is served.
    goaway_sent: Option<u32>,
    /// The peer sent GOAWAY.
    goaway_received: Option<Code>,
    fatal: Option<Fatal>,
    /// The transport is gone or the connection was given up.
    closed: bool,
    waker: Option<Waker>,
}

/// Priorities kept for streams that are not open yet.
const EARLY_PRIORITIES_MAX: usize = 32;
/// Largest stream identifier.
const STREAM_MAX: u32 = 0x7fff_ffff;

impl Connection {
    /// The server's end; its SETTINGS are in the output.
    pub fn server(config: Config) -> Self {
        let mut list = vec![
            (settings::MAX_CONCURRENT_STREAMS, config.streams_max),
            (settings::INITIAL_WINDOW_SIZE, config.stream_window),
            (settings::MAX_FRAME_SIZE, frame::SIZE_SERVER),
            (settings::MAX_HEADER_LIST_SIZE, u32::try_from(config.header_list_max).unwrap_or(u32::MAX)),
            (settings::NO_RFC7540_PRIORITIES, 1),
        ];
        if config.connect_protocol {
            list.push((settings::ENABLE_CONNECT_PROTOCOL, 1));
        }
        Self::new(Role::Server, config, &list)
    }

    /// The client's end; its preface and SETTINGS are in the output.
    pub fn client(config: Config) -> Self {
        let list = [
            (settings::ENABLE_PUSH, 0),
            (settings::INITIAL_WINDOW_SIZE, config.stream_window),
            (settings::MAX_HEADER_LIST_SIZE, u32::try_from(config.header_list_max).unwrap_or(u32::MAX)),
        ];
        Self::new(Role::Client, config, &list)
    }

    fn new(role: Role, config: Config, list: &[(u16, u32)]) -> Self {
        let mut output = Output::default();
        if role == Role::Client {
            output.tail().extend_from_slice(frame::PREFACE);
        }
        frame::settings(output.tail(), list);
        let mut recv_window = RecvWindow::new(WINDOW_DEFAULT);
        if config.connection_window > WINDOW_DEFAULT {
            let more = config.connection_window - WINDOW_DEFAULT;
            recv_window.widen(more);
            frame::window_update(output.tail(), 0, more);
        }
        Self {
            role,
            peer: Peer::default(),
            preface_due: role == Role::Server,
            settings_due: true,
            acks_due: 1,
            decoder: Decoder::new(TABLE_SIZE_DEFAULT),
            encoder: Encoder::new(),
            block: None,
            fields: Fields::new(),
            block_len: 0,
            overdue: None,
            streams: Streams::default(),
            active: 0,
            last_peer: 0,
            next_local: if role == Role::Client { 1 } else { 2 },
            send_window: SendWindow::new(WINDOW_DEFAULT),
            recv_window,
            output,
            ready: Default::default(),
            ready_count: 0,
            queued: 0,
            early_priorities: VecDeque::new(),
            budget: Budget::new(config.streams_max),
            goaway_sent: None,
            goaway_received: None,
            fatal: None,
            closed: false,
            waker: None,
            config,
        }
    }

    /// Streams somebody still holds or that are still being sent.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Bytes that wait to be sent, without what waits for windows.
    pub fn output_len(&self) -> usize {
        self.output.len()
    }

    /// Whether the connection takes no new streams: an error, GOAWAY from either side, or the identifiers are used up.
    pub fn is_ending(&self) -> bool {
        self.closed
            || self.fatal.is_some()
            || self.goaway_sent.is_some()
            || self.goaway_received.is_some()
            || self.next_local > STREAM_MAX
    }

    /// Whether nothing more is to be expected: it failed, or it was closed.
    pub fn is_dead(&self) -> bool {
        self.closed || self.fatal.is_some()
    }

    /// Whether the connection was announced to end and nothing is left to do on it.
    pub fn is_finished(&self) -> bool {
        self.goaway_sent.is_some() && self.streams.len() == 0
    }

    /// Streams a client may open now.
    pub fn capacity(&self) -> u32 {
        if self.is_ending() { 0 } else { self.peer.max_concurrent_streams.saturating_sub(self.active) }
    }

    /// Whether the peer's SETTINGS have come.
    pub fn is_settled(&self) -> bool {
        !self.settings_due
    }

    /// Whether the peer offers extended CONNECT.
    pub fn offers_connect_protocol(&self) -> bool {
        self.peer.connect_protocol
    }

    /// Tells the peer that no more streams are accepted; those that are open go on. Once.
    pub fn go_away(&mut self, code: Code) {
        if self.goaway_sent.is_none() && !self.is_dead() {
            self.goaway_sent = Some(self.last_peer);
            frame::goaway(self.output.tail(), self.last_peer, code);
            self.wake();
        }
    }

    /// The transport ended: every stream is over.
    pub fn close(&mut self) {
        self.closed = true;
        self.reset_all(Reset { code: Code::CANCEL, by_peer: true, refused: false });
        self.wake();
    }

    /// A fault of the connection (section 5.4.1).
    fn fail(&mut self, fatal: Fatal) -> Fatal {
        if self.fatal.is_none() {
            frame::goaway(self.output.tail(), self.last_peer, fatal.code);
            self.goaway_sent = Some(self.last_peer);
            self.fatal = Some(fatal.clone());
            self.reset_all(Reset { code: fatal.code, by_peer: false, refused: false });
            self.wake();
        }
        fatal
    }

    fn reset_all(&mut self, reset: Reset) {
        for (_, stream) in self.streams.iter_mut() {
            stream.reset(reset);
        }
        self.active = 0;
        self.queued = 0;
        self.ready.iter_mut().for_each(VecDeque::clear);
        self.ready_count = 0;
    }

    /// Wakes the task that sends.
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// The stream `id` has just been closed: it does not count any more.
    fn closed_stream(&mut self, id: u32, ended: Ended) {
        self.active = self.active.saturating_sub(1);
        self.streams.remember(id, ended);
    }

    /// Resets `id` towards the peer. It stays known until its user lets go of it.
    pub fn reset(&mut self, id: u32, code: Code) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        if stream.is_closed() || self.fatal.is_some() || self.closed {
            return;
        }
        self.queued -= stream.send.queued;
        let dropped = stream.reset(Reset { code, by_peer: false, refused: false });
        frame::rst_stream(self.output.tail(), id, code);
        self.closed_stream(id, Ended::ByUs);
        self.consume_connection(dropped);
        self.wake();
    }

    /// The user of `id` is done with it. What is queued with an end is still sent; otherwise the stream is reset with
    /// `code`.
    pub fn release(&mut self, id: u32, code: Code) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        if !stream.is_closed() {
            if !stream.send.ended {
                self.reset(id, code);
            } else {
                // the response is complete and the rest of the request unwanted (section 8.1)
                let code = if stream.malformed { Code::PROTOCOL_ERROR } else { Code::NO_ERROR };
                self.reset(id, code);
            }
        } else if stream.malformed && stream.reset.is_none() {
            frame::rst_stream(self.output.tail(), id, Code::PROTOCOL_ERROR);
            self.wake();
        }
        self.forget(id);
    }

    fn forget(&mut self, id: u32) {
        let Some(stream) = self.streams.remove(id) else { return };
        self.queued -= stream.send.queued;
        if !stream.recv.buf.is_empty() {
            self.consume_connection(stream.recv.buf.len());
        }
        if self.is_finished() {
            self.wake();
        }
    }
}
