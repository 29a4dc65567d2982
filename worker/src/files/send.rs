//! A file as a response.

use std::io::Write as _;

use super::{FileInfo, OpenFile};
use crate::filter::{Chain, FilePart};
use crate::phase::Flow;
use crate::request::Request;

/// Sends `open` as a complete response with status 200: length, time, entity tag and type are taken from it. Its bytes
/// are read as they are sent. `encoding` is what the file is encoded with, if anything.
pub async fn send_file(req: &mut Request, open: OpenFile, encoding: Option<&'static str>) -> Flow {
    if let Err(fault) = req.discard_body().await {
        return req.fail(&fault);
    }
    let OpenFile { file, info } = open;
    set_head(req, &info);
    if let Some(encoding) = encoding {
        req.out.headers.push(b"Content-Encoding", encoding.as_bytes());
    }
    match req.respond(Chain::file(FilePart { file, offset: 0, len: info.size })).await {
        Ok(()) => Flow::Finish,
        Err(fault) => req.fail(&fault),
    }
}

/// Fills in the head of a response of status 200 that is made of a file.
pub fn set_head(req: &mut Request, info: &FileInfo) {
    req.out.status = 200;
    req.out.content_length = Some(info.size);
    req.out.last_modified = Some(info.mtime);
    if req.http().etag {
        let (room, len) = etag(info.mtime, info.size);
        req.out.headers.push(b"ETag", &room[..len]);
    }
    if req.out.content_type.is_empty() {
        req.set_content_type_by_extension();
    }
    req.out.allow_ranges = true;
}

/// Two quoted 64-bit numbers in hexadecimal and a hyphen.
const ETAG_BYTES_MAX: usize = 2 * 16 + 3;

/// nginx's entity tag of a file: time of the last change and size, in hexadecimal.
fn etag(mtime: i64, size: u64) -> ([u8; ETAG_BYTES_MAX], usize) {
    let mut room = [0; ETAG_BYTES_MAX];
    let mut rest = &mut room[..];
    // two numbers of 64 bits always fit
    let _ = write!(rest, "\"{mtime:x}-{size:x}\"");
    let len = ETAG_BYTES_MAX - rest.len();
    (room, len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags() {
        for (mtime, size, expected) in [
            (0, 0, "\"0-0\""),
            (0x65f0_1234, 0xff, "\"65f01234-ff\""),
            (i64::MIN, u64::MAX, "\"8000000000000000-ffffffffffffffff\""),
        ] {
            let (room, len) = etag(mtime, size);
            assert_eq!(std::str::from_utf8(&room[..len]), Ok(expected));
        }
    }
}
