//! Messages out: heads at once, bodies through the queues of their streams, and which stream may send next.
//!
//! Heads are not flow-controlled and must leave in the order in which they were encoded, so they go straight to the output.
//! Bodies wait in their stream until [`Connection::fill`] takes them: the most urgent stream first (RFC 9218 section 10),
//! incremental ones of one urgency in turns, the others one after the other.

use bytes::Bytes;

use super::Connection;
use crate::error::Code;
use crate::frame::{HEADER_LEN, Header, Kind, flag};
use crate::hpack::{Encoder, Fields};
use crate::priority::Priority;
use crate::stream::Stream;
use crate::streams::Ended;

/// Body bytes one stream may queue; a piece that was begun is taken whole.
pub const QUEUE_BYTES_MAX: usize = 64 * 1024;
/// Body bytes all streams may queue together; beyond it a stream queues only when it has nothing queued.
const QUEUES_BYTES_MAX: usize = 1024 * 1024;
/// Bodies up to this size go out with their head when nothing is in their way.
const SMALL_BYTES_MAX: usize = 8 * 1024;

impl Connection {
    /// Sends a head; `write` encodes its fields. `interim`: a final one will follow. `false`: the stream is gone.
    pub fn send_head(
        &mut self,
        id: u32,
        interim: bool,
        end: bool,
        write: impl FnOnce(&mut Encoder, &mut Vec<u8>),
    ) -> bool {
        let Some(stream) = self.streams.get_mut(id) else { return false };
        if stream.reset.is_some() || stream.send.ended || self.fatal.is_some() {
            return false;
        }
        stream.send.head_sent |= !interim;
        self.headers(id, end, write);
        if end {
            self.end_sent(id);
        }
        self.wake();
        true
    }

    /// Opens a stream with a request's head (clients). `None`: there is no room for one, or no more on this connection.
    pub fn open(&mut self, end: bool, write: impl FnOnce(&mut Encoder, &mut Vec<u8>)) -> Option<u32> {
        if self.capacity() == 0 {
            return None;
        }
        let id = self.next_local;
        self.next_local += 2;
        let priority = Priority { incremental: true, ..Priority::default() };
        let mut stream = Stream::new(self.peer.initial_window, self.config.stream_window, priority);
        stream.send.head_sent = true;
        self.streams.insert(id, stream);
        self.active += 1;
        self.headers(id, end, write);
        if end {
            self.end_sent(id);
        }
        self.wake();
        Some(id)
    }

    /// Writes HEADERS, and CONTINUATION where one frame does not suffice.
    fn headers(&mut self, id: u32, end: bool, write: impl FnOnce(&mut Encoder, &mut Vec<u8>)) {
        let size = self.peer.max_frame_size as usize;
        let end_stream = u8::from(end) * flag::END_STREAM;
        let out = self.output.tail();
        let at = out.len();
        Header { len: 0, kind: Kind::HEADERS, flags: end_stream | flag::END_HEADERS, stream: id }.write(out);
        self.encoder.begin(out);
        write(&mut self.encoder, out);
        let len = out.len() - at - HEADER_LEN;
        if len <= size {
            out[at..at + 3].copy_from_slice(&(len as u32).to_be_bytes()[1..]);
            return;
        }
        let block = out.split_off(at + HEADER_LEN);
        out.truncate(at);
        let mut kind = Kind::HEADERS;
        let count = block.len().div_ceil(size);
        for (index, piece) in block.chunks(size).enumerate() {
            let mut flags = if kind == Kind::HEADERS { end_stream } else { 0 };
            if index + 1 == count {
                flags |= flag::END_HEADERS;
            }
            Header { len: piece.len(), kind, flags, stream: id }.write(out);
            out.extend_from_slice(piece);
            kind = Kind::CONTINUATION;
        }
    }

    /// Sets how large DATA frames of `id` may be.
    pub fn set_chunk(&mut self, id: u32, bytes: usize) {
        if let Some(stream) = self.streams.get_mut(id) {
            stream.send.chunk = bytes.max(1);
        }
    }

    /// Sends a small piece of a body, or its end, at once; `false`: it must be queued.
    pub fn send_small(&mut self, id: u32, bytes: &[u8], end: bool) -> bool {
        let size = (self.peer.max_frame_size as usize).min(SMALL_BYTES_MAX);
        let Some(stream) = self.streams.get_mut(id) else { return false };
        let send = &mut stream.send;
        let open = stream.reset.is_none() && !send.ended && send.head_sent && send.queued == 0 && !send.end;
        let windows = send.window.available().min(self.send_window.available());
        if !open || self.ready_count > 0 || bytes.len() > size.min(send.chunk).min(windows) {
            return false;
        }
        if bytes.is_empty() && !end {
            return true;
        }
        send.window.sent(bytes.len());
        self.send_window.sent(bytes.len());
        let out = self.output.tail();
        let flags = u8::from(end) * flag::END_STREAM;
        Header { len: bytes.len(), kind: Kind::DATA, flags, stream: id }.write(out);
        out.extend_from_slice(bytes);
        self.budget.data(bytes.len());
        if end {
            self.end_sent(id);
        }
        self.wake();
        true
    }

    /// Queues a piece of a body.
    pub fn queue_data(&mut self, id: u32, bytes: Bytes) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        if bytes.is_empty() || stream.reset.is_some() || stream.send.ended || stream.send.end {
            return;
        }
        stream.send.queued += bytes.len();
        self.queued += bytes.len();
        stream.send.queue.push_back(bytes);
        if stream.can_send() {
            self.list(id);
        }
    }

    /// The body of `id` ends behind what is queued, with trailers if there are any.
    pub fn queue_end(&mut self, id: u32, trailers: Option<Fields>) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        if stream.reset.is_some() || stream.send.ended || stream.send.end {
            return;
        }
        stream.send.end = true;
        stream.send.trailers = trailers.filter(|trailers| !trailers.is_empty());
        if stream.can_send() {
            self.list(id);
        }
    }

    /// Whether `id` may queue more.
    pub(super) fn has_room(&self, stream: &Stream) -> bool {
        let queued = stream.send.queued;
        queued == 0 || (queued < QUEUE_BYTES_MAX && self.queued < QUEUES_BYTES_MAX)
    }

    /// `id` can send.
    pub(super) fn list(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        if stream.send.listed {
            return;
        }
        stream.send.listed = true;
        let list = &mut self.ready[usize::from(stream.send.priority.urgency)];
        if stream.send.priority.incremental {
            list.push_back(id);
        } else {
            // in the order of their identifiers, before those that take turns
            let behind = |other: &u32| {
                *other > id || self.streams.get(*other).is_some_and(|other| other.send.priority.incremental)
            };
            let at = list.iter().position(behind).unwrap_or(list.len());
            list.insert(at, id);
        }
        self.ready_count += 1;
        self.wake();
    }

    /// `id` cannot send any more.
    pub(super) fn unlist(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(id) {
            stream.send.listed = false;
        }
        for list in &mut self.ready {
            if let Some(at) = list.iter().position(|other| *other == id) {
                list.remove(at);
                self.ready_count -= 1;
                return;
            }
        }
    }

    /// Moves body bytes to the output until that has `limit` bytes or nothing can be sent.
    pub fn fill(&mut self, limit: usize) {
        while self.ready_count > 0 && self.output.len() < limit {
            let Some(urgency) = self.ready.iter().position(|list| !list.is_empty()) else { return };
            let Some(id) = self.ready[urgency].pop_front() else { return };
            self.ready_count -= 1;
            let sent = self.send_piece(id);
            let Some(stream) = self.streams.get_mut(id) else { continue };
            stream.send.listed = false;
            if !stream.can_send() {
                continue;
            }
            // it goes on: at once, or when it is its turn again
            stream.send.listed = true;
            let urgency = usize::from(stream.send.priority.urgency);
            let list = &mut self.ready[urgency];
            if sent && stream.send.priority.incremental {
                list.push_back(id)
            } else {
                list.push_front(id)
            }
            self.ready_count += 1;
            if !sent {
                return self.fill_ends();
            }
        }
    }

    /// The connection's window is used up: what needs none of it still goes out.
    fn fill_ends(&mut self) {
        let mut ends = Vec::new();
        for id in self.ready.iter().flatten() {
            if self.streams.get(*id).is_some_and(|stream| stream.send.queued == 0) {
                ends.push(*id);
            }
        }
        for id in ends {
            self.unlist(id);
            self.finish(id);
        }
    }

    /// Sends one frame of `id`; `false`: the connection's window is used up.
    fn send_piece(&mut self, id: u32) -> bool {
        let frame_max = self.peer.max_frame_size as usize;
        let connection = self.send_window.available();
        let Some(stream) = self.streams.get_mut(id) else { return true };
        if !stream.can_send() {
            return true;
        }
        let send = &mut stream.send;
        let Some(first) = send.queue.front_mut() else {
            self.finish(id);
            return true;
        };
        if connection == 0 {
            return false;
        }
        let len = first.len().min(frame_max).min(send.chunk).min(send.window.available()).min(connection);
        let bytes = first.split_to(len);
        if first.is_empty() {
            send.queue.pop_front();
        }
        send.queued -= len;
        self.queued -= len;
        send.window.sent(len);
        self.send_window.sent(len);
        let end = send.queued == 0 && send.end && send.trailers.is_none();
        let flags = u8::from(end) * flag::END_STREAM;
        if let Some(waker) = send.waker.take() {
            waker.wake();
        }
        Header { len, kind: Kind::DATA, flags, stream: id }.write(self.output.tail());
        self.output.push(bytes);
        self.budget.data(len);
        if end {
            self.end_sent(id);
        }
        true
    }

    /// The queue of `id` is empty and its end due.
    fn finish(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        match stream.send.trailers.take() {
            None => {
                let header = Header { len: 0, kind: Kind::DATA, flags: flag::END_STREAM, stream: id };
                header.write(self.output.tail());
            }
            Some(trailers) => self.headers(id, true, |encoder, out| {
                trailers.iter().for_each(|(name, value)| encoder.field(out, name, value));
            }),
        }
        self.end_sent(id);
    }

    /// END_STREAM was sent on `id`.
    fn end_sent(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        stream.send.ended = true;
        if let Some(waker) = stream.send.waker.take() {
            waker.wake();
        }
        if stream.recv.ended {
            self.closed_stream(id, Ended::Complete);
        }
        self.budget.completed();
    }

    /// Stops sending: the rest of a request is not wanted by a server that has answered it (section 8.1).
    pub fn stop_sending(&mut self, id: u32) {
        if self.streams.get(id).is_some_and(|stream| !stream.send.ended && stream.reset.is_none()) {
            self.reset(id, Code::NO_ERROR);
        }
    }

    /// Takes what is to be sent: in one piece, if it is, or in several.
    pub fn output(&mut self) -> &mut crate::output::Output {
        &mut self.output
    }
}
