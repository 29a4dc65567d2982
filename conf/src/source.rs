//! Where configuration text comes from, and the record of what was read.
//!
//! Everything the parser reads goes through [`Files`]. A parse returns [`Sources`], the record of every file
//! and every pattern it read; the record is itself a [`Files`], so another process can parse exactly the same
//! text without touching the disk, whatever happened to the files meanwhile.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::glob;

/// Largest configuration file that is read: 256 MiB, above the largest `geo` base seen in use.
pub const FILE_BYTES_MAX: u64 = 256 << 20;

/// First bytes of an encoded record; the digit is the version of the encoding.
const MAGIC: &[u8; 8] = b"sources1";

/// Reads files and expands patterns.
pub trait Files {
    /// The whole file.
    ///
    /// # Errors
    /// Those of opening and reading.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// The paths that match a shell pattern, sorted by bytes; none is not an error.
    ///
    /// # Errors
    /// When the pattern matches more than [`glob::MATCHES_MAX`] paths.
    fn glob(&self, pattern: &str) -> io::Result<Vec<PathBuf>>;
}

/// The file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiskFiles;

impl Files for DiskFiles {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "configuration file is too large"));
        }
        Ok(bytes)
    }

    fn glob(&self, pattern: &str) -> io::Result<Vec<PathBuf>> {
        glob::expand(pattern)
    }
}

/// What a parse has read: files in the order of their first opening, and patterns with what they matched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    files: Vec<(PathBuf, Vec<u8>)>,
    index: HashMap<PathBuf, usize>,
    globs: Vec<(String, Vec<PathBuf>)>,
}

impl Sources {
    /// An empty record.
    pub fn new() -> Sources {
        Sources::default()
    }

    /// Adds a file; a file that is recorded already keeps its first contents.
    pub fn add_file(&mut self, path: &Path, bytes: Vec<u8>) {
        if !self.index.contains_key(path) {
            self.index.insert(path.to_owned(), self.files.len());
            self.files.push((path.to_owned(), bytes));
        }
    }

    /// Adds what a pattern matched; the first answer is kept.
    pub fn add_glob(&mut self, pattern: &str, paths: Vec<PathBuf>) {
        if !self.globs.iter().any(|(known, _)| known == pattern) {
            self.globs.push((pattern.to_owned(), paths));
        }
    }

    /// The contents of a recorded file.
    pub fn file(&self, path: &Path) -> Option<&[u8]> {
        self.index.get(path).map(|&at| self.files[at].1.as_slice())
    }

    /// What a recorded pattern matched.
    pub fn matches(&self, pattern: &str) -> Option<&[PathBuf]> {
        self.globs.iter().find(|(known, _)| known == pattern).map(|(_, paths)| paths.as_slice())
    }

    /// The recorded files in order.
    pub fn files(&self) -> impl Iterator<Item = (&Path, &[u8])> {
        self.files.iter().map(|(path, bytes)| (path.as_path(), bytes.as_slice()))
    }

    /// Prints every file once, as `nginx -T` does.
    ///
    /// # Errors
    /// Those of writing.
    pub fn dump(&self, out: &mut dyn Write) -> io::Result<()> {
        for (path, bytes) in self.files() {
            out.write_all(b"# configuration file ")?;
            out.write_all(path.as_os_str().as_bytes())?;
            out.write_all(b":\n")?;
            out.write_all(bytes)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    /// The record as bytes, for another process. Numbers are 64-bit little endian; strings are preceded by
    /// their length.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        put_number(&mut out, self.files.len());
        for (path, bytes) in self.files() {
            put_bytes(&mut out, path.as_os_str().as_bytes());
            put_bytes(&mut out, bytes);
        }
        put_number(&mut out, self.globs.len());
        for (pattern, paths) in &self.globs {
            put_bytes(&mut out, pattern.as_bytes());
            put_number(&mut out, paths.len());
            for path in paths {
                put_bytes(&mut out, path.as_os_str().as_bytes());
            }
        }
        out
    }

    /// Reads what [`Sources::to_bytes`] wrote.
    ///
    /// # Errors
    /// `InvalidData` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> io::Result<Sources> {
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "damaged record of configuration files");
        decode(bytes).ok_or_else(damaged)
    }
}

impl Files for Sources {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.file(path).map(<[u8]>::to_vec).ok_or_else(not_recorded)
    }

    fn glob(&self, pattern: &str) -> io::Result<Vec<PathBuf>> {
        self.matches(pattern).map(<[PathBuf]>::to_vec).ok_or_else(not_recorded)
    }
}

/// What the disk says of a file that does not exist.
fn not_recorded() -> io::Error {
    const ENOENT: i32 = 2;
    io::Error::from_raw_os_error(ENOENT)
}

fn put_number(out: &mut Vec<u8>, number: usize) {
    out.extend_from_slice(&(number as u64).to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn decode(bytes: &[u8]) -> Option<Sources> {
    let mut rest = bytes.strip_prefix(MAGIC)?;
    let mut sources = Sources::new();
    for _ in 0..take_number(&mut rest)? {
        let path = take_path(&mut rest)?;
        let text = take_bytes(&mut rest)?.to_vec();
        sources.add_file(&path, text);
    }
    for _ in 0..take_number(&mut rest)? {
        let pattern = String::from_utf8(take_bytes(&mut rest)?.to_vec()).ok()?;
        let mut paths = Vec::new();
        for _ in 0..take_number(&mut rest)? {
            paths.push(take_path(&mut rest)?);
        }
        sources.add_glob(&pattern, paths);
    }
    rest.is_empty().then_some(sources)
}

fn take_number(rest: &mut &[u8]) -> Option<usize> {
    let (head, tail) = rest.split_first_chunk::<8>()?;
    *rest = tail;
    usize::try_from(u64::from_le_bytes(*head)).ok()
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take_number(rest)?;
    let (head, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(head)
}

fn take_path(rest: &mut &[u8]) -> Option<PathBuf> {
    Some(PathBuf::from(std::ffi::OsString::from_vec(take_bytes(rest)?.to_vec())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Sources {
        let mut sources = Sources::new();
        sources.add_file(Path::new("/b"), b"b;\n".to_vec());
        sources.add_file(Path::new("/a"), b"\xff\0".to_vec());
        sources.add_file(Path::new("/b"), b"changed meanwhile".to_vec());
        sources.add_glob("/d/*", vec![PathBuf::from("/d/1"), PathBuf::from("/d/2")]);
        sources.add_glob("/e/*", Vec::new());
        sources
    }

    #[test]
    fn dump_prints_each_file_once_in_order() {
        let mut out = Vec::new();
        sample().dump(&mut out).unwrap();
        assert_eq!(out, b"# configuration file /b:\nb;\n\n# configuration file /a:\n\xff\0\n");
    }

    #[test]
    fn encoding_round_trips() {
        let sources = sample();
        assert_eq!(Sources::from_bytes(&sources.to_bytes()).unwrap(), sources);
        assert_eq!(Sources::from_bytes(&Sources::new().to_bytes()).unwrap(), Sources::new());
    }

    #[test]
    fn damaged_encodings_are_errors() {
        let bytes = sample().to_bytes();
        for end in 0..bytes.len() {
            assert!(Sources::from_bytes(&bytes[..end]).is_err(), "cut at {end}");
        }
        let mut huge = bytes.clone();
        huge[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(Sources::from_bytes(&huge).is_err());
        assert!(Sources::from_bytes(&[bytes, vec![0]].concat()).is_err());
    }

    #[test]
    fn a_record_answers_like_the_disk() {
        let sources = sample();
        assert_eq!(sources.read(Path::new("/b")).unwrap(), b"b;\n");
        assert_eq!(sources.read(Path::new("/c")).unwrap_err().raw_os_error(), Some(2));
        assert_eq!(sources.glob("/d/*").unwrap().len(), 2);
        assert!(sources.glob("/e/*").unwrap().is_empty());
        assert!(sources.glob("/f/*").is_err());
    }
}
