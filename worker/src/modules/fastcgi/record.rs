//! What is sent: records of the FastCGI specification 1.0.

use bytes::{Buf as _, Bytes};
use net::Chain;

/// Bytes of a record's header.
pub(super) const HEADER_BYTES: usize = 8;
/// The only version.
pub(super) const VERSION: u8 = 1;
/// Record types.
const BEGIN_REQUEST: u8 = 1;
/// See [`BEGIN_REQUEST`].
pub(super) const END_REQUEST: u8 = 3;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
/// See [`BEGIN_REQUEST`].
pub(super) const STDOUT: u8 = 6;
/// See [`BEGIN_REQUEST`].
pub(super) const STDERR: u8 = 7;

const RESPONDER: u8 = 1;
/// Connections carry one request at a time.
pub(super) const REQUEST_ID: u16 = 1;
/// Content of one record: what nginx sends, well below the 64 KiB a record can hold.
const CONTENT_BYTES_MAX: usize = 32 * 1024;
/// Contents are padded to a multiple of this.
const ALIGNMENT: usize = 8;

/// The record that ends a body.
pub(super) const END_OF_BODY: &[u8] = &header(STDIN, 0, 0);

const fn header(kind: u8, len: usize, padding: usize) -> [u8; HEADER_BYTES] {
    let [_, id] = REQUEST_ID.to_be_bytes();
    [VERSION, kind, 0, id, (len >> 8) as u8, len as u8, padding as u8, 0]
}

const fn padding(len: usize) -> usize {
    (ALIGNMENT - len % ALIGNMENT) % ALIGNMENT
}

/// Begins a request.
pub(super) fn push_start(out: &mut Vec<u8>, keep_conn: bool) {
    out.extend_from_slice(&header(BEGIN_REQUEST, 8, 0));
    out.extend_from_slice(&[0, RESPONDER, u8::from(keep_conn), 0, 0, 0, 0, 0]);
}

/// Appends a parameter in the form of the specification's section 3.4.
pub(super) fn push_pair(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for len in [name.len(), value.len()] {
        match u8::try_from(len) {
            Ok(short @ ..128) => out.push(short),
            // heads are far shorter than 2 GiB
            _ => out.extend_from_slice(&(len as u32 | 1 << 31).to_be_bytes()),
        }
    }
    out.extend_from_slice(name);
    out.extend_from_slice(value);
}

/// Appends all parameters, in as many records as they need, and their end.
pub(super) fn push_params(out: &mut Vec<u8>, pairs: &[u8]) {
    for content in pairs.chunks(CONTENT_BYTES_MAX) {
        let padding = padding(content.len());
        out.extend_from_slice(&header(PARAMS, content.len(), padding));
        out.extend_from_slice(content);
        out.extend_from_slice(&[0; ALIGNMENT][..padding]);
    }
    out.extend_from_slice(&header(PARAMS, 0, 0));
}

/// Appends a piece of a body.
pub(super) fn push_body(mut piece: Bytes, out: &mut Chain) {
    while piece.has_remaining() {
        let content = piece.split_to(piece.len().min(CONTENT_BYTES_MAX));
        let padding = padding(content.len());
        out.push(Bytes::copy_from_slice(&header(STDIN, content.len(), padding)));
        out.push(content);
        if padding > 0 {
            out.push(Bytes::from_static(&[0; ALIGNMENT][..padding]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_with_short_and_long_parts() {
        let mut out = Vec::new();
        push_pair(&mut out, b"NAME", b"v");
        assert_eq!(out, b"\x04\x01NAMEv");
        out.clear();
        push_pair(&mut out, b"N", &[b'x'; 128]);
        assert_eq!(&out[..6], b"\x01\x80\x00\x00\x80N");
    }

    #[test]
    fn parameters_are_cut_into_records() {
        let mut out = Vec::new();
        push_params(&mut out, &[b'p'; CONTENT_BYTES_MAX + 3]);
        assert_eq!(&out[..8], &[1, 4, 0, 1, 0x80, 0, 0, 0]);
        let second = &out[8 + CONTENT_BYTES_MAX..];
        assert_eq!(&second[..8], &[1, 4, 0, 1, 0, 3, 5, 0]);
        assert_eq!(&second[8..], [&b"ppp\0\0\0\0\0"[..], &[1, 4, 0, 1, 0, 0, 0, 0]].concat());
    }

    #[test]
    fn bodies_are_framed() {
        let mut out = Chain::from(Bytes::new());
        push_body(Bytes::from_static(b"0123456789"), &mut out);
        let all: Vec<u8> = out.iter().flat_map(|part| part.to_vec()).collect();
        assert_eq!(all, [&[1, 5, 0, 1, 0, 10, 6, 0], &b"0123456789\0\0\0\0\0\0"[..]].concat());
    }
}
