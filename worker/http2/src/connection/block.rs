//! HEADERS and CONTINUATION (RFC 9113 sections 6.2 and 6.10): a header block is put together, decoded whatever becomes of
//! its stream, and then is a request, a response head, or trailers.

use super::receive::Event;
use super::{Connection, Role};
use crate::error::{Abuse, Code, Fatal};
use crate::frame::{self, Header, flag};
use crate::hpack::Fields;
use crate::message::{self, Malformed};
use crate::priority::Priority;
use crate::stream::Stream;
use crate::streams::Ended;

/// A block whose end has not come.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) stream: u32,
    end_stream: bool,
    bytes: Vec<u8>,
    pieces: u32,
    /// The stream depends on itself.
    bad_priority: bool,
}

/// Pieces a block may come in.
const PIECES_MAX: u32 = 64;
/// Encoded size a block may have beyond the decoded limit: encoding may only make it smaller in earnest.
const SLACK_BYTES: usize = 32 * 1024;
/// Interim responses that may wait to be fetched.
const HEADS_MAX: usize = 8;

/// What a decoded block is for.
enum Purpose {
    Request,
    Response,
    Trailers,
    /// Its stream is of no interest any more.
    Nothing,
}

impl Connection {
    pub(super) fn headers_frame(&mut self, header: &Header, payload: &[u8]) -> Result<Option<Event>, Fatal> {
        let id = header.stream;
        if id == 0 {
            return Err(Fatal::protocol("sent HEADERS frame with incorrect identifier"));
        }
        let (_, mut bytes) = frame::unpad(header, payload, "HEADERS")?;
        let mut bad_priority = false;
        if header.has(flag::PRIORITY) {
            let Some((priority, rest)) = bytes.split_at_checked(5) else {
                return Err(Fatal::frame_size("HEADERS", header.len));
            };
            bad_priority = frame::u31(priority) == id;
            bytes = rest;
        }
        self.check_headers_stream(id)?;
        let end_stream = header.has(flag::END_STREAM);
        if header.has(flag::END_HEADERS) {
            return self.decode(id, end_stream, bad_priority, bytes);
        }
        self.block = Some(Block { stream: id, end_stream, bytes: bytes.to_vec(), pieces: 1, bad_priority });
        Ok(None)
    }

    pub(super) fn continuation_frame(
        &mut self,
        header: &Header,
        payload: &[u8],
    ) -> Result<Option<Event>, Fatal> {
        let limit = self.config.header_list_max + SLACK_BYTES;
        let Some(block) = &mut self.block else {
            return Err(Fatal::protocol("sent unexpected CONTINUATION frame"));
        };
        block.pieces += 1;
        if block.pieces > PIECES_MAX || block.bytes.len() + payload.len() > limit {
            return Err(Fatal::abuse(Abuse::Continuation));
        }
        block.bytes.extend_from_slice(payload);
        if payload.is_empty() && !header.has(flag::END_HEADERS) {
            self.budget.control(1)?;
        }
        if !header.has(flag::END_HEADERS) {
            return Ok(None);
        }
        match self.block.take() {
            Some(block) => self.decode(block.stream, block.end_stream, block.bad_priority, &block.bytes),
            None => Ok(None),
        }
    }

    /// Refuses HEADERS on streams that can have none (section 5.1 and 5.1.1).
    fn check_headers_stream(&mut self, id: u32) -> Result<(), Fatal> {
        if self.streams.get(id).is_some() {
            return Ok(());
        }
        if self.is_idle(id) {
            return if self.role == Role::Server && id % 2 == 1 {
                Ok(())
            } else {
                Err(Fatal::protocol(format!("sent HEADERS frame with incorrect identifier {id}")))
            };
        }
        match self.streams.ended(id) {
            Some(Ended::ByUs | Ended::ByPeer) => Ok(()),
            Some(Ended::Complete) => {
                Err(Fatal::new(Code::STREAM_CLOSED, "sent HEADERS frame for closed stream"))
            }
            None => Err(Fatal::protocol(format!("sent HEADERS frame with incorrect identifier {id}"))),
        }
    }

    /// A block is complete.
    fn decode(
        &mut self,
        id: u32,
        end: bool,
        bad_priority: bool,
        bytes: &[u8],
    ) -> Result<Option<Event>, Fatal> {
        self.fields.clear();
        self.block_len = bytes.len();
        if let Err(error) = self.decoder.decode(bytes, &mut self.fields, self.config.header_list_max) {
            if self.is_idle(id) {
                self.last_peer = id;
            }
            return Err(Fatal::new(Code::COMPRESSION_ERROR, format!("sent {error}")));
        }
        let overdue = self.overdue.take_if(|overdue| *overdue == id).is_some();
        match self.purpose(id, overdue)? {
            Purpose::Nothing => Ok(None),
            Purpose::Trailers => self.trailers(id, end).map(|()| None),
            Purpose::Response => self.response(id, end).map(|()| None),
            Purpose::Request if bad_priority => {
                self.last_peer = id;
                self.streams.remember(id, Ended::ByUs);
                self.stream_error(id, Code::PROTOCOL_ERROR).map(|()| None)
            }
            Purpose::Request => self.request(id, end),
        }
    }

    fn purpose(&mut self, id: u32, overdue: bool) -> Result<Purpose, Fatal> {
        let Some(stream) = self.streams.get(id) else {
            if self.is_idle(id) && !overdue {
                return Ok(Purpose::Request);
            }
            if self.streams.ended(id) == Some(Ended::ByPeer) {
                self.stream_error(id, Code::STREAM_CLOSED)?;
            } else {
                self.budget.control(1)?;
            }
            return Ok(Purpose::Nothing);
        };
        if let Some(reset) = stream.reset {
            if reset.by_peer {
                self.stream_error(id, Code::STREAM_CLOSED)?;
            } else {
                self.budget.control(1)?;
            }
            return Ok(Purpose::Nothing);
        }
        if stream.recv.ended {
            // section 5.1: half-closed (remote) or closed
            if stream.send.ended {
                return Err(Fatal::new(Code::STREAM_CLOSED, "sent HEADERS frame for closed stream"));
            }
            self.stream_error(id, Code::STREAM_CLOSED)?;
            return Ok(Purpose::Nothing);
        }
        Ok(if stream.recv.head_seen { Purpose::Trailers } else { Purpose::Response })
    }

    fn request(&mut self, id: u32, end: bool) -> Result<Option<Event>, Fatal> {
        self.last_peer = id;
        if self.goaway_sent.is_some_and(|last| id > last) {
            // it crossed our GOAWAY, which says that it is not served (section 6.8)
            self.streams.remember(id, Ended::ByUs);
            self.budget.control(1)?;
            return Ok(None);
        }
        let held = self.streams.len() as u64;
        if self.active >= self.config.streams_max || held >= 2 * u64::from(self.config.streams_max) {
            self.budget.reset()?;
            self.streams.remember(id, Ended::ByUs);
            frame::rst_stream(self.output.tail(), id, Code::REFUSED_STREAM);
            self.wake();
            return Ok(None);
        }
        let priority = self.priority_of(id);
        let mut stream = Stream::new(self.peer.initial_window, self.config.stream_window, priority);
        stream.recv.head_seen = true;
        stream.recv.ended = end;
        let checked = message::request(&self.fields).and_then(|_| message::content_length(&self.fields));
        let malformed = match checked {
            Ok(Some(length)) if end && length > 0 => Some(WRONG_LENGTH),
            Ok(length) => {
                stream.recv.promised = length;
                None
            }
            Err(malformed) => Some(malformed),
        };
        let extended = !self.config.connect_protocol && self.fields.get(b":protocol").is_some();
        let malformed = malformed.or_else(|| extended.then_some(UNKNOWN_PROTOCOL));
        if malformed.is_some() {
            stream.malformed = true;
            stream.recv.discard = true;
        }
        self.streams.insert(id, stream);
        self.active += 1;
        if malformed.is_some() {
            self.budget.error()?;
        }
        Ok(Some(Event::Request { id, end, malformed }))
    }

    /// The `priority` field counts unless a PRIORITY_UPDATE came before (RFC 9218 section 7). A client that says nothing
    /// gets its responses side by side.
    fn priority_of(&mut self, id: u32) -> Priority {
        if let Some(at) = self.early_priorities.iter().position(|(early, _)| *early == id)
            && let Some((_, priority)) = self.early_priorities.remove(at)
        {
            return priority;
        }
        match self.fields.get(b"priority") {
            Some(value) => Priority::parse(value),
            None => Priority { incremental: true, ..Priority::default() },
        }
    }

    fn response(&mut self, id: u32, end: bool) -> Result<(), Fatal> {
        let checked = message::response(&self.fields)
            .and_then(|status| Ok((status, message::content_length(&self.fields)?)));
        let Some(stream) = self.streams.get_mut(id) else { return Ok(()) };
        let interim = matches!(checked, Ok((100..=199, _)));
        let flood = stream.recv.heads.len() >= HEADS_MAX;
        let (Ok((_, length)), false, false) = (checked, interim && end, flood || self.fields.is_overflowed())
        else {
            return self.stream_error(id, Code::PROTOCOL_ERROR);
        };
        stream.recv.heads.push_back(std::mem::take(&mut self.fields));
        if !interim {
            stream.recv.head_seen = true;
            stream.recv.promised = length;
        }
        if end {
            // the length of a HEAD's response or of a 304 promises nothing
            stream.recv.promised = None;
        }
        if let Some(waker) = stream.recv.waker.take() {
            waker.wake();
        }
        if end { self.end_received(id) } else { Ok(()) }
    }

    fn trailers(&mut self, id: u32, end: bool) -> Result<(), Fatal> {
        let valid = message::trailers(&self.fields);
        if !end || valid.is_err() || self.fields.is_overflowed() {
            return self.stream_error(id, Code::PROTOCOL_ERROR);
        }
        if let Some(stream) = self.streams.get_mut(id)
            && !self.fields.is_empty()
        {
            stream.recv.trailers = Some(std::mem::take(&mut self.fields));
        }
        self.end_received(id)
    }

    /// The fields of the block that was received last.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// Length of that block as it was sent.
    pub fn block_len(&self) -> usize {
        self.block_len
    }

    /// Whether a header block has begun and not ended, given the bytes that were not consumed.
    pub fn is_in_block(&self, input: &[u8]) -> bool {
        self.block.is_some() || Header::parse(input).is_some_and(|header| header.kind == frame::Kind::HEADERS)
    }

    /// The client took too long with a header block: its stream is reset and what is left of the block will be dropped.
    ///
    /// # Errors
    /// It happened before.
    pub fn block_timed_out(&mut self, input: &[u8]) -> Result<(), Fatal> {
        let unfinished = || Header::parse(input).map(|header| header.stream);
        let Some(id) = self.block.as_ref().map(|block| block.stream).or_else(unfinished) else {
            return Ok(());
        };
        if self.overdue.is_some() || id == 0 || !self.is_idle(id) {
            return Err(self.fail(Fatal::new(Code::ENHANCE_YOUR_CALM, "client timed out")));
        }
        self.overdue = Some(id);
        self.last_peer = self.last_peer.max(id);
        self.streams.remember(id, Ended::ByUs);
        frame::rst_stream(self.output.tail(), id, Code::PROTOCOL_ERROR);
        self.wake();
        Ok(())
    }
}

/// RFC 8441 section 3: only after we said so.
const UNKNOWN_PROTOCOL: Malformed = Malformed("sent unknown pseudo-header");
pub(super) const WRONG_LENGTH: Malformed = Malformed("sent body with incorrect length");

impl Fields {
    /// Whether the list says so itself: used where a message is complete with its head.
    pub fn status(&self) -> Option<u16> {
        message::response(self).ok()
    }
}
