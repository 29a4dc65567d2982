//! Frames (RFC 9113 section 4.1 and 6): the nine octets in front, what follows for each type, and writing them.

use crate::error::{Code, Fatal};

/// Length of a frame header, bytes.
pub const HEADER_LEN: usize = 9;
/// The size every endpoint must accept, bytes.
pub const SIZE_DEFAULT: u32 = 16_384;
/// The size a server of ours announces, bytes: a frame is taken whole.
pub const SIZE_SERVER: u32 = 65_536;
/// The largest size that can be announced, bytes.
pub const SIZE_MAX: u32 = 16_777_215;
/// What a client sends first (section 3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind(pub u8);

#[allow(missing_docs)] // each is the type of its name
impl Kind {
    pub const DATA: Kind = Kind(0x0);
    pub const HEADERS: Kind = Kind(0x1);
    pub const PRIORITY: Kind = Kind(0x2);
    pub const RST_STREAM: Kind = Kind(0x3);
    pub const SETTINGS: Kind = Kind(0x4);
    pub const PUSH_PROMISE: Kind = Kind(0x5);
    pub const PING: Kind = Kind(0x6);
    pub const GOAWAY: Kind = Kind(0x7);
    pub const WINDOW_UPDATE: Kind = Kind(0x8);
    pub const CONTINUATION: Kind = Kind(0x9);
    /// RFC 9218 section 7.1.
    pub const PRIORITY_UPDATE: Kind = Kind(0x10);
}

/// Flags of frames; their meaning depends on the type.
#[allow(missing_docs)]
pub mod flag {
    pub const END_STREAM: u8 = 0x1;
    pub const ACK: u8 = 0x1;
    pub const END_HEADERS: u8 = 0x4;
    pub const PADDED: u8 = 0x8;
    pub const PRIORITY: u8 = 0x20;
}

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Length of the payload, bytes.
    pub len: usize,
    /// The type.
    pub kind: Kind,
    /// The flags.
    pub flags: u8,
    /// The stream; 0 for the connection.
    pub stream: u32,
}

impl Header {
    /// Reads a header; `None`: not all of it is there.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<HEADER_LEN>()?;
        Some(Self {
            len: u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize,
            kind: Kind(bytes[3]),
            flags: bytes[4],
            stream: u31(&bytes[5..]),
        })
    }

    /// Appends the header.
    pub fn write(&self, out: &mut Vec<u8>) {
        let len = (self.len as u32).to_be_bytes();
        out.extend_from_slice(&[len[1], len[2], len[3], self.kind.0, self.flags]);
        out.extend_from_slice(&self.stream.to_be_bytes());
    }

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// The 31 bits of a stream identifier or window increment; the reserved bit is ignored. `bytes` has at least four.
pub(crate) fn u31(bytes: &[u8]) -> u32 {
    u32(bytes) & 0x7fff_ffff
}

/// The first four octets as a number.
pub(crate) fn u32(bytes: &[u8]) -> u32 {
    bytes.first_chunk::<4>().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// The payload without padding (section 6.1): the padding's length, its own octet included, and what remains.
pub(crate) fn unpad<'a>(header: &Header, payload: &'a [u8], kind: &str) -> Result<(usize, &'a [u8]), Fatal> {
    if !header.has(flag::PADDED) {
        return Ok((0, payload));
    }
    let Some((&pad, rest)) = payload.split_first() else { return Err(Fatal::frame_size(kind, header.len)) };
    let pad = usize::from(pad);
    match rest.len().checked_sub(pad) {
        Some(len) => Ok((pad + 1, &rest[..len])),
        None => Err(Fatal::protocol(format!("sent padded {kind} frame with incorrect length"))),
    }
}

/// Appends RST_STREAM.
pub(crate) fn rst_stream(out: &mut Vec<u8>, stream: u32, code: Code) {
    Header { len: 4, kind: Kind::RST_STREAM, flags: 0, stream }.write(out);
    out.extend_from_slice(&code.0.to_be_bytes());
}

/// Appends WINDOW_UPDATE.
pub(crate) fn window_update(out: &mut Vec<u8>, stream: u32, increment: u32) {
    debug_assert!(increment > 0 && increment <= 0x7fff_ffff);
    Header { len: 4, kind: Kind::WINDOW_UPDATE, flags: 0, stream }.write(out);
    out.extend_from_slice(&increment.to_be_bytes());
}

/// Appends GOAWAY.
pub(crate) fn goaway(out: &mut Vec<u8>, last: u32, code: Code) {
    Header { len: 8, kind: Kind::GOAWAY, flags: 0, stream: 0 }.write(out);
    out.extend_from_slice(&last.to_be_bytes());
    out.extend_from_slice(&code.0.to_be_bytes());
}

/// Appends a PING.
pub(crate) fn ping(out: &mut Vec<u8>, payload: &[u8], ack: bool) {
    Header { len: 8, kind: Kind::PING, flags: u8::from(ack) * flag::ACK, stream: 0 }.write(out);
    out.extend_from_slice(payload);
}

/// Appends SETTINGS with `list`.
pub(crate) fn settings(out: &mut Vec<u8>, list: &[(u16, u32)]) {
    Header { len: 6 * list.len(), kind: Kind::SETTINGS, flags: 0, stream: 0 }.write(out);
    for (name, value) in list {
        out.extend_from_slice(&name.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// Appends the acknowledgement of SETTINGS.
pub(crate) fn settings_ack(out: &mut Vec<u8>) {
    Header { len: 0, kind: Kind::SETTINGS, flags: flag::ACK, stream: 0 }.write(out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_back() {
        let header = Header { len: 0x01_02_03, kind: Kind::DATA, flags: 9, stream: 0x7fff_fffe };
        let mut out = Vec::new();
        header.write(&mut out);
        assert_eq!(Header::parse(&out), Some(header));
        assert_eq!(Header::parse(&out[..8]), None);
        out[5] |= 0x80;
        assert_eq!(Header::parse(&out), Some(header), "the reserved bit is ignored");
    }

    #[test]
    fn padding() {
        let padded = |payload: &[u8]| {
            let header = Header { len: payload.len(), kind: Kind::DATA, flags: flag::PADDED, stream: 1 };
            unpad(&header, payload, "DATA").map(|(pad, rest)| (pad, rest.len())).map_err(|fatal| fatal.code)
        };
        assert_eq!(padded(&[2, 1, 0, 0]), Ok((3, 1)));
        assert_eq!(padded(&[3, 0, 0, 0]), Ok((4, 0)));
        assert_eq!(padded(&[4, 0, 0, 0]), Err(Code::PROTOCOL_ERROR));
        assert_eq!(padded(&[]), Err(Code::FRAME_SIZE_ERROR));
    }
}
