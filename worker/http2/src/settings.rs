//! SETTINGS (RFC 9113 section 6.5): what each side tells the other.

use crate::error::{Code, Fatal};
use crate::flow::WINDOW_MAX;
use crate::frame;

pub(crate) const HEADER_TABLE_SIZE: u16 = 0x1;
pub(crate) const ENABLE_PUSH: u16 = 0x2;
pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 0x3;
pub(crate) const INITIAL_WINDOW_SIZE: u16 = 0x4;
pub(crate) const MAX_FRAME_SIZE: u16 = 0x5;
pub(crate) const MAX_HEADER_LIST_SIZE: u16 = 0x6;
/// RFC 8441 section 3.
pub(crate) const ENABLE_CONNECT_PROTOCOL: u16 = 0x8;
/// RFC 9218 section 2.1.
pub(crate) const NO_RFC7540_PRIORITIES: u16 = 0x9;

/// The window both sides begin with.
pub(crate) const WINDOW_DEFAULT: u32 = 65_535;

/// What the peer announced.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) header_table_size: usize,
    pub(crate) max_concurrent_streams: u32,
    pub(crate) initial_window: u32,
    pub(crate) max_frame_size: u32,
    pub(crate) connect_protocol: bool,
}

impl Default for Peer {
    fn default() -> Self {
        Self {
            header_table_size: crate::hpack::TABLE_SIZE_DEFAULT,
            max_concurrent_streams: u32::MAX,
            initial_window: WINDOW_DEFAULT,
            max_frame_size: frame::SIZE_DEFAULT,
            connect_protocol: false,
        }
    }
}

impl Peer {
    /// Takes one parameter. `from_server`: a server sent it.
    pub(crate) fn take(&mut self, name: u16, value: u32, from_server: bool) -> Result<(), Fatal> {
        let bad =
            |what: &str| Fatal::protocol(format!("sent SETTINGS frame with incorrect {what} value {value}"));
        match name {
            HEADER_TABLE_SIZE => self.header_table_size = value as usize,
            ENABLE_PUSH if value > 1 || (from_server && value == 1) => return Err(bad("ENABLE_PUSH")),
            MAX_CONCURRENT_STREAMS => self.max_concurrent_streams = value,
            INITIAL_WINDOW_SIZE if value > WINDOW_MAX as u32 => {
                return Err(Fatal::new(Code::FLOW_CONTROL_ERROR, bad("INITIAL_WINDOW_SIZE").text));
            }
            INITIAL_WINDOW_SIZE => self.initial_window = value,
            MAX_FRAME_SIZE if !(frame::SIZE_DEFAULT..=frame::SIZE_MAX).contains(&value) => {
                return Err(bad("MAX_FRAME_SIZE"));
            }
            MAX_FRAME_SIZE => self.max_frame_size = value,
            ENABLE_CONNECT_PROTOCOL if value > 1 || (self.connect_protocol && value == 0) => {
                return Err(bad("ENABLE_CONNECT_PROTOCOL"));
            }
            ENABLE_CONNECT_PROTOCOL => self.connect_protocol = value == 1,
            NO_RFC7540_PRIORITIES if value > 1 => return Err(bad("NO_RFC7540_PRIORITIES")),
            // unknown ones and those that say nothing to us
            _ => {}
        }
        Ok(())
    }
}
