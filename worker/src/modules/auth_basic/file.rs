//! Finding a user in a file of users.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// The file is read in pieces of this size.
const PIECE_BYTES: usize = 16 * 1024;
/// Longer lines belong to nobody.
const LINE_BYTES_MAX: usize = 8 * 1024;

/// The hash of `user` in the file at `path`; `None`: there is no such user.
///
/// # Errors
/// Those of opening and reading.
pub async fn find(path: &[u8], user: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let options = net::OpenOptions { read: true, ..Default::default() };
    let file = net::open(Path::new(OsStr::from_bytes(path)), &options).await?;
    let mut scan = Scan { user, line: Vec::new() };
    let mut offset = 0;
    loop {
        let buf = net::Buf::with_capacity(PIECE_BYTES);
        let (read, buf) = file.read_at(buf, offset, PIECE_BYTES).await;
        let count = read?;
        if count == 0 {
            return Ok(scan.end());
        }
        offset += count as u64;
        if let Some(hash) = scan.push(&buf) {
            return Ok(Some(hash));
        }
    }
}

/// Reads lines out of pieces.
struct Scan<'u> {
    user: &'u [u8],
    /// The line whose end has not come yet.
    line: Vec<u8>,
}

impl Scan<'_> {
    fn push(&mut self, mut piece: &[u8]) -> Option<Vec<u8>> {
        while let Some(end) = memchr::memchr(b'\n', piece) {
            let found = if self.line.is_empty() {
                hash_of(self.user, &piece[..end])
            } else {
                self.line.extend_from_slice(&piece[..end]);
                hash_of(self.user, &self.line)
            };
            if let Some(hash) = found {
                return Some(hash.to_vec());
            }
            self.line.clear();
            piece = &piece[end + 1..];
        }
        let room = (LINE_BYTES_MAX + 1).saturating_sub(self.line.len());
        self.line.extend_from_slice(&piece[..piece.len().min(room)]);
        None
    }

    fn end(&self) -> Option<Vec<u8>> {
        hash_of(self.user, &self.line).map(<[u8]>::to_vec)
    }
}

/// What stands behind `user:` in `line`, up to a further colon or the end.
fn hash_of<'l>(user: &[u8], line: &'l [u8]) -> Option<&'l [u8]> {
    if line.len() > LINE_BYTES_MAX || line.starts_with(b"#") {
        return None;
    }
    let hash = line.strip_prefix(user)?.strip_prefix(b":")?;
    let end = memchr::memchr2(b':', b'\r', hash).unwrap_or(hash.len());
    Some(&hash[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_whatever_the_pieces() {
        let text = b"#anna:x\n\nann:1\nanna:2:comment\r\nbob:3\r\n:empty\nlast:4";
        let long = [b"long:".as_slice(), &[b'x'; LINE_BYTES_MAX], b"\nafter:5\n"].concat();
        for size in [1, 2, 3, 7, 1000] {
            for (user, expected) in [
                ("ann", Some("1")),
                ("anna", Some("2")),
                ("bob", Some("3")),
                ("last", Some("4")),
                ("an", None),
            ] {
                let mut scan = Scan { user: user.as_bytes(), line: Vec::new() };
                let found = text.chunks(size).find_map(|piece| scan.push(piece)).or_else(|| scan.end());
                assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{user} in pieces of {size}");
            }
        }
        for (user, expected) in [("long", None), ("after", Some(&b"5"[..]))] {
            let mut scan = Scan { user: user.as_bytes(), line: Vec::new() };
            let found = long.chunks(100).find_map(|piece| scan.push(piece)).or_else(|| scan.end());
            assert_eq!(found.as_deref(), expected, "{user}");
        }
    }
}
