//! The form of a cached file.
//!
//! ```text
//!  0 mark           40 last modified       72 variant key
//!  8 fresh until    48 length of the file  88 key's text, entity tag, Vary, head as the server sent it, body
//! 16 updating       56 lengths of the key's text,
//! 24 error             entity tag, Vary and head
//! 32 date
//! ```
//!
//! Numbers are little-endian; times are seconds since the epoch. The four times at 8 to 40 are renewed in place when a server
//! says that the response is still good.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::Bytes;
use net::Buf;
use shm::cache::Key;

use crate::fault::Fault;

const MARK: &[u8; 8] = b"UrestyC1";
const TIMES_AT: usize = 8;
const LAST_MODIFIED_AT: usize = 40;
const TOTAL_AT: usize = 48;
const LENGTHS_AT: usize = 56;
const VARIANT_AT: usize = 72;
const TEXTS_AT: usize = 88;
/// No last modification.
const NONE: i64 = -1;
/// Read at once: most heads, and small bodies with them.
const FIRST_READ_BYTES: usize = 8 * 1024;
/// Larger heads are not those of a file of ours.
const HEAD_BYTES_MAX: usize = 1024 * 1024;

/// Where the length of a file stands in it, and how.
pub(super) fn total_bytes(total: u64) -> (u64, Bytes) {
    (TOTAL_AT as u64, Bytes::copy_from_slice(&total.to_le_bytes()))
}

/// How long a response may be used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Times {
    /// Until when it is fresh.
    pub(super) until: i64,
    /// How many seconds longer it may be used while it is updated.
    pub(super) updating: i64,
    /// How many seconds longer it may be used on errors.
    pub(super) error: i64,
    /// When it came from the server.
    pub(super) date: i64,
}

impl Times {
    fn bytes(&self) -> [u8; 32] {
        let mut out = [0; 32];
        for (room, number) in out.chunks_exact_mut(8).zip([self.until, self.updating, self.error, self.date])
        {
            room.copy_from_slice(&number.to_le_bytes());
        }
        out
    }
}

/// What stands in front of the body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FileHead {
    pub(super) times: Times,
    /// The time of the last change, if the server told it.
    pub(super) last_modified: Option<i64>,
    /// The entity tag; empty: none.
    pub(super) etag: Vec<u8>,
    /// `Vary`; empty: none.
    pub(super) vary: Vec<u8>,
    /// The key of the variant.
    pub(super) variant: Key,
    /// The key's text.
    pub(super) key: Vec<u8>,
    /// The response head.
    pub(super) head: Vec<u8>,
}

impl FileHead {
    /// The head as it stands in a file of `total` bytes.
    pub(super) fn encode(&self, total: u64) -> Vec<u8> {
        let texts = [&self.key, &self.etag, &self.vary, &self.head];
        let mut out = Vec::with_capacity(self.len());
        out.extend_from_slice(MARK);
        out.extend_from_slice(&self.times.bytes());
        out.extend_from_slice(&self.last_modified.unwrap_or(NONE).to_le_bytes());
        out.extend_from_slice(&total.to_le_bytes());
        for text in texts {
            out.extend_from_slice(&(text.len() as u32).to_le_bytes());
        }
        out.extend_from_slice(&self.variant);
        texts.iter().for_each(|text| out.extend_from_slice(text));
        out
    }

    /// Where the body begins.
    pub(super) fn len(&self) -> usize {
        TEXTS_AT + self.key.len() + self.etag.len() + self.vary.len() + self.head.len()
    }

    /// The length of the head that begins with `bytes`, if it is one.
    fn len_of(bytes: &[u8]) -> Option<usize> {
        let lengths = bytes.strip_prefix(MARK).and_then(|_| bytes.get(LENGTHS_AT..VARIANT_AT))?;
        let sum = lengths
            .chunks_exact(4)
            .map(|length| u32::from_le_bytes(length.try_into().expect("chunks of four")) as usize);
        Some(sum.fold(TEXTS_AT, usize::saturating_add)).filter(|len| *len <= HEAD_BYTES_MAX)
    }

    /// Reads a head; the second value is the length the file should have.
    pub(super) fn decode(bytes: &[u8]) -> Option<(Self, u64)> {
        let bytes = bytes.get(..Self::len_of(bytes)?)?;
        let number = |at: usize| i64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let mut at = TEXTS_AT;
        let mut texts = [const { Vec::new() }; 4];
        for (text, length) in texts.iter_mut().zip(bytes[LENGTHS_AT..VARIANT_AT].chunks_exact(4)) {
            let length = u32::from_le_bytes(length.try_into().expect("chunks of four")) as usize;
            *text = bytes[at..at + length].to_vec();
            at += length;
        }
        let [key, etag, vary, head] = texts;
        let times = Times {
            until: number(TIMES_AT),
            updating: number(TIMES_AT + 8),
            error: number(TIMES_AT + 16),
            date: number(TIMES_AT + 24),
        };
        let last_modified = Some(number(LAST_MODIFIED_AT)).filter(|time| *time != NONE);
        let variant = bytes[VARIANT_AT..TEXTS_AT].try_into().expect("sixteen bytes");
        Some((Self { times, last_modified, etag, vary, variant, key, head }, number(TOTAL_AT) as u64))
    }
}

/// An open cached file.
pub(super) struct Entry {
    pub(super) head: FileHead,
    pub(super) file: Rc<net::File>,
    pub(super) path: PathBuf,
    /// Where the body begins.
    pub(super) body_at: u64,
    /// Length of the whole file.
    pub(super) len: u64,
    /// Bytes it takes on disk.
    pub(super) disk_bytes: u64,
    /// The body, when it is small.
    pub(super) body: Option<Bytes>,
}

/// Why there is no entry.
pub(super) enum NoEntry {
    /// There is no file.
    NotFound,
    /// It is not what it should be; it was logged.
    Invalid(String),
    /// It cannot be read.
    Fault(Fault),
}

/// Opens the file at `path`, which should be that of the key with this text.
pub(super) async fn open(path: PathBuf, text: &[u8]) -> Result<Entry, NoEntry> {
    use std::os::unix::fs::MetadataExt as _;
    let trouble = |call: &str, path: &Path, error: &std::io::Error| {
        let text = format!("{call}() \"{}\" failed ({})", path.display(), conf::error::errno(error));
        NoEntry::Fault(Fault::internal(text))
    };
    let options = net::OpenOptions { read: true, ..Default::default() };
    let file = match net::open(&path, &options).await {
        Ok(file) => file,
        Err(error) => {
            let gone = matches!(error.raw_os_error(), Some(nix::libc::ENOENT | nix::libc::ENOTDIR));
            return Err(if gone { NoEntry::NotFound } else { trouble("open", &path, &error) });
        }
    };
    let metadata = file.metadata().map_err(|error| trouble("fstat", &path, &error))?;
    let invalid = |what: &str| NoEntry::Invalid(format!("cache file \"{}\" {what}", path.display()));
    let mut buf = Buf::with_capacity(FIRST_READ_BYTES);
    loop {
        let wanted = match buf.len() {
            0 => FIRST_READ_BYTES,
            _ => FileHead::len_of(&buf).ok_or_else(|| invalid("has no head of ours"))?,
        };
        if buf.len() >= wanted {
            break;
        }
        let (result, back) = file.read_at(Buf::with_capacity(wanted), 0, wanted).await;
        let count = result.map_err(|error| trouble("read", &path, &error))?;
        let shorter = count <= buf.len();
        buf = back;
        if shorter {
            return Err(invalid("is too small"));
        }
        if FileHead::len_of(&buf).is_some_and(|len| buf.len() >= len) {
            break;
        }
    }
    let (head, total) = FileHead::decode(&buf).ok_or_else(|| invalid("has no head of ours"))?;
    if head.key != text {
        return Err(invalid("has md5 collision"));
    }
    if total != metadata.len() {
        return Err(invalid("has another length than it should"));
    }
    let body_at = head.len();
    let body = (buf.len() as u64 == total).then(|| buf.freeze().slice(body_at..));
    let disk_bytes = metadata.blocks() * 512;
    Ok(Entry { head, file: Rc::new(file), path, body_at: body_at as u64, len: total, disk_bytes, body })
}

/// Renews the times of an entry in its file, unless another file has taken its place.
pub(super) async fn renew(entry: &Entry, times: Times) -> Result<(), Fault> {
    let (path, bytes) = (entry.path.clone(), times.bytes());
    let same = entry.file.metadata().map(|metadata| std::os::unix::fs::MetadataExt::ino(&metadata));
    let written = net::blocking(move || {
        use std::os::unix::fs::{FileExt as _, MetadataExt as _};
        let file = std::fs::OpenOptions::new().write(true).open(&path)?;
        if file.metadata()?.ino() == same? {
            file.write_all_at(&bytes, TIMES_AT as u64)?;
        }
        Ok(())
    });
    match written.await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            let text =
                format!("write() \"{}\" failed ({})", entry.path.display(), conf::error::errno(&error));
            Err(Fault::internal(text))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_come_back_as_they_were() {
        let head = FileHead {
            times: Times { until: 1, updating: 2, error: 3, date: 4 },
            last_modified: Some(5),
            etag: b"\"x\"".to_vec(),
            vary: b"Accept".to_vec(),
            variant: [7; 16],
            key: b"http://a/".to_vec(),
            head: b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
        };
        let bytes = head.encode(1234);
        assert_eq!(bytes.len(), head.len());
        assert_eq!(FileHead::decode(&bytes), Some((head.clone(), 1234)));
        let none = FileHead { last_modified: None, ..head };
        assert_eq!(FileHead::decode(&none.encode(0)), Some((none, 0)));
        for cut in 0..bytes.len() {
            assert_eq!(FileHead::decode(&bytes[..cut]), None);
        }
        let mut huge = bytes;
        huge[LENGTHS_AT..LENGTHS_AT + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(FileHead::decode(&huge), None);
    }
}
