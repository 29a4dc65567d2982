//! Frames that carry no message: SETTINGS, PING, GOAWAY, WINDOW_UPDATE, RST_STREAM, PRIORITY, PRIORITY_UPDATE.

use super::{Connection, EARLY_PRIORITIES_MAX, Role};
use crate::error::{Code, Fatal};
use crate::frame::{self, Header, flag};
use crate::priority::Priority;
use crate::settings;
use crate::stream::Reset;
use crate::streams::Ended;

/// SETTINGS parameters that cost as much as one frame.
const PARAMETERS_PER_COST: u32 = 8;

impl Connection {
    pub(super) fn settings_frame(&mut self, header: &Header, payload: &[u8]) -> Result<(), Fatal> {
        if header.stream != 0 {
            return Err(Fatal::protocol("sent SETTINGS frame with incorrect identifier"));
        }
        if header.has(flag::ACK) {
            if header.len != 0 {
                return Err(Fatal::frame_size("SETTINGS", header.len));
            }
            self.acks_due = self.acks_due.saturating_sub(1);
            self.settings_due = false;
            return self.budget.control(1);
        }
        if !header.len.is_multiple_of(6) {
            return Err(Fatal::frame_size("SETTINGS", header.len));
        }
        self.budget.control(1 + (header.len / 6) as u32 / PARAMETERS_PER_COST)?;
        let before = self.peer.clone();
        for parameter in payload.chunks_exact(6) {
            let name = u16::from_be_bytes([parameter[0], parameter[1]]);
            self.peer.take(name, frame::u32(&parameter[2..]), self.role == Role::Client)?;
            if name == settings::HEADER_TABLE_SIZE {
                // every value counts: the smallest of them must be announced
                self.encoder.resize(self.peer.header_table_size);
            }
        }
        self.settings_due = false;
        // the list may name a window many times; only the last one moves the streams
        let moved = i64::from(self.peer.initial_window) - i64::from(before.initial_window);
        if moved != 0 {
            self.move_windows(moved)?;
        }
        frame::settings_ack(self.output.tail());
        self.wake();
        Ok(())
    }

    /// Section 6.9.2: all send windows change with the initial one.
    fn move_windows(&mut self, by: i64) -> Result<(), Fatal> {
        let mut open = Vec::new();
        for (id, stream) in self.streams.iter_mut() {
            if !stream.send.window.grow(by) {
                return Err(Fatal::new(
                    Code::FLOW_CONTROL_ERROR,
                    "sent SETTINGS frame that overflows a window",
                ));
            }
            if by > 0 && stream.can_send() {
                open.push(id);
            }
        }
        // in the order in which they were opened: the map has none
        open.sort_unstable();
        open.into_iter().for_each(|id| self.list(id));
        Ok(())
    }

    pub(super) fn ping_frame(&mut self, header: &Header, payload: &[u8]) -> Result<(), Fatal> {
        if header.len != 8 {
            return Err(Fatal::frame_size("PING", header.len));
        }
        if header.stream != 0 {
            return Err(Fatal::protocol("sent PING frame with incorrect identifier"));
        }
        self.budget.control(1)?;
        if !header.has(flag::ACK) {
            frame::ping(self.output.tail(), payload, true);
            self.wake();
        }
        Ok(())
    }

    pub(super) fn goaway_frame(&mut self, header: &Header, payload: &[u8]) -> Result<(), Fatal> {
        if header.len < 8 {
            return Err(Fatal::frame_size("GOAWAY", header.len));
        }
        if header.stream != 0 {
            return Err(Fatal::protocol("sent GOAWAY frame with incorrect identifier"));
        }
        self.budget.control(1)?;
        let (last, code) = (frame::u31(payload), Code(frame::u32(&payload[4..])));
        self.goaway_received = Some(code);
        if self.role == Role::Client {
            // streams above were not and will not be processed (section 6.8)
            let reset = Reset { code: Code::REFUSED_STREAM, by_peer: true, refused: true };
            let mut unserved = Vec::new();
            for (id, stream) in self.streams.iter_mut() {
                if id > last && !stream.is_closed() {
                    unserved.push((id, stream.send.queued, stream.reset(reset)));
                }
            }
            for (id, queued, dropped) in unserved {
                self.queued -= queued;
                self.closed_stream(id, Ended::ByPeer);
                self.consume_connection(dropped);
            }
        }
        self.wake();
        Ok(())
    }

    pub(super) fn window_update_frame(&mut self, header: &Header, payload: &[u8]) -> Result<(), Fatal> {
        if header.len != 4 {
            return Err(Fatal::frame_size("WINDOW_UPDATE", header.len));
        }
        self.budget.control(1)?;
        let (id, increment) = (header.stream, frame::u31(payload));
        if id == 0 {
            if increment == 0 {
                return Err(Fatal::protocol("sent WINDOW_UPDATE frame with incorrect window increment 0"));
            }
            if !self.send_window.grow(increment.into()) {
                return Err(Fatal::new(Code::FLOW_CONTROL_ERROR, "violated connection flow control"));
            }
            if self.ready_count > 0 {
                self.wake();
            }
            return Ok(());
        }
        if self.is_idle(id) {
            return Err(Fatal::protocol("sent WINDOW_UPDATE frame with incorrect identifier"));
        }
        if increment == 0 {
            return self.stream_error(id, Code::PROTOCOL_ERROR);
        }
        let Some(stream) = self.streams.get_mut(id) else { return Ok(()) };
        if stream.is_closed() {
            return Ok(());
        }
        if !stream.send.window.grow(increment.into()) {
            return self.stream_error(id, Code::FLOW_CONTROL_ERROR);
        }
        if stream.can_send() {
            self.list(id);
        }
        Ok(())
    }

    pub(super) fn rst_stream_frame(&mut self, header: &Header, payload: &[u8]) -> Result<(), Fatal> {
        if header.len != 4 {
            return Err(Fatal::frame_size("RST_STREAM", header.len));
        }
        let id = header.stream;
        if id == 0 || self.is_idle(id) {
            return Err(Fatal::protocol("sent RST_STREAM frame with incorrect identifier"));
        }
        let code = Code(frame::u32(payload));
        let Some(stream) = self.streams.get_mut(id) else { return self.budget.control(1) };
        if stream.is_closed() {
            return self.budget.control(1);
        }
        self.queued -= stream.send.queued;
        let refused = self.role == Role::Client && code == Code::REFUSED_STREAM;
        // a server that does not want the rest of a request is no fault of its response (section 8.1)
        let dropped = stream.reset(Reset { code, by_peer: true, refused });
        self.closed_stream(id, Ended::ByPeer);
        self.consume_connection(dropped);
        if self.role == Role::Server { self.budget.reset() } else { Ok(()) }
    }

    /// RFC 7540 priorities are not used (RFC 9113 section 5.3.2); what is wrong with a frame is still an error.
    pub(super) fn priority_frame(&mut self, header: &Header, payload: &[u8]) -> Result<(), Fatal> {
        let id = header.stream;
        if id == 0 {
            return Err(Fatal::protocol("sent PRIORITY frame with incorrect identifier"));
        }
        self.budget.control(1)?;
        let code = match header.len {
            5 if frame::u31(payload) == id => Code::PROTOCOL_ERROR,
            5 => return Ok(()),
            _ => Code::FRAME_SIZE_ERROR,
        };
        if self.is_idle(id) {
            // an idle stream cannot be reset
            return Err(Fatal::new(code, "sent invalid PRIORITY frame"));
        }
        self.stream_error(id, code)
    }

    /// RFC 9218 section 7.1.
    pub(super) fn priority_update_frame(&mut self, header: &Header, payload: &[u8]) -> Result<(), Fatal> {
        self.budget.control(1)?;
        if header.stream != 0 {
            return Err(Fatal::protocol("sent PRIORITY_UPDATE frame with incorrect identifier"));
        }
        let Some((id, value)) = payload.split_at_checked(4) else {
            return Err(Fatal::frame_size("PRIORITY_UPDATE", header.len));
        };
        let (id, priority) = (frame::u31(id), Priority::parse(value));
        if id == 0 || id % 2 == 0 {
            return Err(Fatal::protocol("sent PRIORITY_UPDATE frame for incorrect stream"));
        }
        if let Some(stream) = self.streams.get_mut(id) {
            stream.send.priority = priority;
            if stream.send.listed {
                self.unlist(id);
                self.list(id);
            }
        } else if self.is_idle(id) {
            self.early_priorities.retain(|(other, _)| *other != id);
            if self.early_priorities.len() >= EARLY_PRIORITIES_MAX {
                self.early_priorities.pop_front();
            }
            self.early_priorities.push_back((id, priority));
        }
        Ok(())
    }

    /// Sends a PING to see whether the peer is there.
    pub fn ping(&mut self, payload: [u8; 8]) {
        if !self.is_dead() {
            frame::ping(self.output.tail(), &payload, false);
            self.wake();
        }
    }
}
