//! Bytes in: taking frames apart and handing them to who knows their type.

use super::{Connection, Role};
use crate::error::{Code, Fatal};
use crate::frame::{self, HEADER_LEN, Header, Kind, PREFACE};
use crate::message::Malformed;

/// What the user of the connection must act on at once: before the next `receive`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A request: its fields are in [`Connection::fields`].
    Request {
        /// The stream.
        id: u32,
        /// It has no body.
        end: bool,
        /// Why it is to be refused.
        malformed: Option<Malformed>,
    },
}

/// Most bytes that wait to be sent while more is received: a peer that does not read is not read from.
const OUTPUT_BYTES_MAX: usize = 256 * 1024;

impl Connection {
    /// Takes complete frames from `input` up to the first event. Returns how many bytes were consumed; what is left must be
    /// given again with more behind it. `now` is the time in ms.
    ///
    /// # Errors
    /// The connection is over; GOAWAY is in the output.
    pub fn receive(&mut self, input: &[u8], now: u64) -> Result<(usize, Option<Event>), Fatal> {
        if let Some(fatal) = &self.fatal {
            return Err(fatal.clone());
        }
        self.budget.set_time(now);
        let mut at = 0;
        loop {
            match self.frame(&input[at..]) {
                Ok(None) => return Ok((at, None)),
                Ok(Some((consumed, event))) => {
                    at += consumed;
                    if event.is_some() {
                        return Ok((at, event));
                    }
                }
                Err(fatal) => return Err(self.fail(fatal)),
            }
        }
    }

    /// Whether so much waits to be sent that nothing more should be received.
    pub fn is_congested(&self) -> bool {
        self.output.len() > OUTPUT_BYTES_MAX
    }

    /// How many bytes `input` must grow to for the frame at its start to be complete.
    pub fn wanted(&self, input: &[u8]) -> usize {
        Header::parse(input).map_or(HEADER_LEN, |header| HEADER_LEN + header.len)
    }

    /// The frame at the start of `input`; `None`: it is not complete.
    fn frame(&mut self, input: &[u8]) -> Result<Option<(usize, Option<Event>)>, Fatal> {
        if self.preface_due {
            let len = input.len().min(PREFACE.len());
            if input[..len] != PREFACE[..len] {
                return Err(Fatal::protocol("sent invalid http2 connection preface"));
            }
            if len < PREFACE.len() {
                return Ok(None);
            }
            self.preface_due = false;
            return Ok(Some((len, None)));
        }
        let Some(header) = Header::parse(input) else { return Ok(None) };
        self.check_header(&header)?;
        let total = HEADER_LEN + header.len;
        let Some(payload) = input.get(HEADER_LEN..total) else { return Ok(None) };
        let event = self.dispatch(&header, payload)?;
        Ok(Some((total, event)))
    }

    /// What can be said before the payload has come.
    fn check_header(&self, header: &Header) -> Result<(), Fatal> {
        let size_max = if self.role == Role::Server { frame::SIZE_SERVER } else { frame::SIZE_DEFAULT };
        if header.len > size_max as usize {
            let text = format!("sent too long frame: {}", header.len);
            return Err(Fatal::new(Code::FRAME_SIZE_ERROR, text));
        }
        // section 3.4; which of the two kinds of SETTINGS it is, is not looked at: there are clients that begin with theirs
        // acknowledging ours
        if self.settings_due && header.kind != Kind::SETTINGS {
            return Err(Fatal::protocol("sent no SETTINGS frame in connection preface"));
        }
        if let Some(block) = &self.block
            && (header.kind != Kind::CONTINUATION || header.stream != block.stream)
        {
            return Err(Fatal::protocol("sent inappropriate frame while CONTINUATION was expected"));
        }
        if header.kind == Kind::DATA && (header.stream == 0 || self.is_idle(header.stream)) {
            return Err(Fatal::protocol("sent DATA frame with incorrect identifier"));
        }
        Ok(())
    }

    fn dispatch(&mut self, header: &Header, payload: &[u8]) -> Result<Option<Event>, Fatal> {
        match header.kind {
            Kind::DATA => self.data_frame(header, payload)?,
            Kind::HEADERS => return self.headers_frame(header, payload),
            Kind::CONTINUATION => return self.continuation_frame(header, payload),
            Kind::PRIORITY => self.priority_frame(header, payload)?,
            Kind::RST_STREAM => self.rst_stream_frame(header, payload)?,
            Kind::SETTINGS => self.settings_frame(header, payload)?,
            Kind::PUSH_PROMISE => return Err(Fatal::protocol("sent PUSH_PROMISE frame")),
            Kind::PING => self.ping_frame(header, payload)?,
            Kind::GOAWAY => self.goaway_frame(header, payload)?,
            Kind::WINDOW_UPDATE => self.window_update_frame(header, payload)?,
            Kind::PRIORITY_UPDATE if self.role == Role::Server => {
                self.priority_update_frame(header, payload)?;
            }
            // section 4.1: unknown types are ignored
            _ => self.budget.control(1)?,
        }
        Ok(None)
    }

    /// Whether `id` was never opened by anybody.
    pub(super) fn is_idle(&self, id: u32) -> bool {
        let by_client = id % 2 == 1;
        if by_client == (self.role == Role::Server) { id > self.last_peer } else { id >= self.next_local }
    }

    /// A fault of one stream (section 5.4.2): it is reset, and whoever makes many of them is shown out.
    pub(super) fn stream_error(&mut self, id: u32, code: Code) -> Result<(), Fatal> {
        self.budget.error()?;
        match self.streams.get(id) {
            Some(stream) if !stream.is_closed() => self.reset(id, code),
            // it is gone already: the peer is told again
            _ => {
                frame::rst_stream(self.output.tail(), id, code);
                self.wake();
            }
        }
        Ok(())
    }
}
