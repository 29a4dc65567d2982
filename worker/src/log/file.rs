//! Log files: however many directives name a file, it is opened once, and opened again on `USR1`.
//!
//! Lines of the error log are written at once ([`LogFile::append`]): they matter most when the process is about to die.
//! Lines of access logs ([`LogFile::line`]) are collected and written together, by default at the end of the turn of the
//! event loop that made them: under load one write carries the lines of all requests of the turn, and a client that has
//! its response finds its line in the file all the same.
//!
//! ```text
//! line() ──► pending ──┬─ end of turn                     (no buffer)
//!                      ├─ buffer full, `flush=` time over (buffer=, gzip)
//!                      └─ reopen, end of the process
//! ```

use std::cell::{Cell, RefCell};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::trouble::Trouble;

/// How the lines of an access log are collected: `buffer=`, `flush=` and `gzip=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffering {
    /// Bytes collected before they are written.
    pub size: usize,
    /// Longest time a line waits, ms.
    pub flush_ms: Option<u64>,
    /// Compression level, 1 to 9; each write is a gzip member of its own.
    pub gzip: Option<u32>,
}

/// An append-only file.
pub struct LogFile {
    /// Where it is.
    pub path: PathBuf,
    file: RefCell<Option<Sink>>,
    pending: RefCell<Vec<u8>>,
    buffering: Cell<Option<Buffering>>,
    /// Somebody will come and write what is pending.
    awaited: Cell<bool>,
    trouble: Trouble,
}

enum Sink {
    File(File),
    Stderr,
}

/// Without a buffer, lines of one turn beyond this are written before it ends.
const TURN_BYTES_MAX: usize = 64 * 1024;

thread_local! {
    /// Files with lines to be written at the end of the turn.
    static DUE: RefCell<Vec<Rc<LogFile>>> = const { RefCell::new(Vec::new()) };
}

impl LogFile {
    fn new(path: PathBuf) -> Rc<Self> {
        Rc::new(Self {
            path,
            file: RefCell::new(None),
            pending: RefCell::default(),
            buffering: Cell::new(None),
            awaited: Cell::new(false),
            trouble: Trouble::default(),
        })
    }

    /// Opens (or, after `USR1`, opens again) the file. The old descriptor is kept when that fails. What is pending
    /// goes to the old file: it was logged before.
    pub fn open(&self) -> io::Result<()> {
        self.flush();
        let sink = if self.path == Path::new(STDERR) {
            Sink::Stderr
        } else {
            Sink::File(open_to_append(&self.path)?)
        };
        *self.file.borrow_mut() = Some(sink);
        Ok(())
    }

    /// Appends `bytes` with one write. A log that cannot be written must not take the service down: the error is
    /// returned for counting and nothing else happens.
    pub fn append(&self, bytes: &[u8]) -> io::Result<()> {
        match &mut *self.file.borrow_mut() {
            Some(Sink::File(file)) => file.write_all(bytes),
            Some(Sink::Stderr) => io::stderr().write_all(bytes),
            None => Ok(()),
        }
    }

    /// Says how lines are collected. The directives that name one file must agree: `false`, another one disagreed.
    pub fn set_buffering(&self, buffering: Buffering) -> bool {
        self.buffering.get().is_none_or(|old| old == buffering) && {
            self.buffering.set(Some(buffering));
            true
        }
    }

    /// Takes one line, its newline included.
    pub fn line(self: &Rc<Self>, line: &[u8]) {
        match self.buffering.get() {
            None => self.line_of_turn(line),
            Some(buffering) => self.line_buffered(line, buffering),
        }
    }

    fn line_of_turn(self: &Rc<Self>, line: &[u8]) {
        let mut pending = self.pending.borrow_mut();
        pending.extend_from_slice(line);
        let full = pending.len() >= TURN_BYTES_MAX;
        drop(pending);
        if full || net::runtime::driver().is_none() {
            return self.flush();
        }
        if self.awaited.replace(true) {
            return;
        }
        let first = DUE.with_borrow_mut(|due| {
            due.push(Rc::clone(self));
            due.len() == 1
        });
        if first {
            net::spawn(async {
                net::yield_turn().await;
                flush_due();
            });
        }
    }

    fn line_buffered(self: &Rc<Self>, line: &[u8], buffering: Buffering) {
        if self.pending.borrow().len() + line.len() > buffering.size {
            self.flush();
        }
        if line.len() > buffering.size {
            return self.write_out(line);
        }
        self.pending.borrow_mut().extend_from_slice(line);
        let Some(flush_ms) = buffering.flush_ms else { return };
        if net::runtime::driver().is_some() && !self.awaited.replace(true) {
            let this = Rc::clone(self);
            net::spawn(async move {
                net::sleep(Duration::from_millis(flush_ms)).await;
                this.awaited.set(false);
                this.flush();
            });
        }
    }

    /// Writes what is pending.
    pub fn flush(&self) {
        if self.pending.borrow().is_empty() {
            return;
        }
        let mut bytes = self.pending.take();
        self.write_out(&bytes);
        bytes.clear();
        // the memory is kept, unless lines came meanwhile
        let mut pending = self.pending.borrow_mut();
        if pending.is_empty() && bytes.capacity() <= PENDING_KEPT_MAX {
            *pending = bytes;
        }
    }

    /// Writes or drops: no log may fail a request or stop the worker.
    fn write_out(&self, bytes: &[u8]) {
        if self.trouble.is_full() {
            return self.trouble.dropped(bytes);
        }
        let written = match self.buffering.get().and_then(|buffering| buffering.gzip) {
            None => self.append(bytes),
            Some(level) => compress(bytes, level).and_then(|packed| self.append(&packed)),
        };
        if let Err(error) = written {
            self.trouble.happened(&self.path.to_string_lossy(), &error);
            self.trouble.dropped(bytes);
        }
    }

    /// Lines that could not be written so far.
    pub fn lines_dropped(&self) -> u64 {
        self.trouble.lines_dropped()
    }

    /// Whether the file is open.
    pub fn is_open(&self) -> bool {
        self.file.borrow().is_some()
    }
}

/// Opens or creates a log that others may read and only its owner may write, whatever the process's umask is.
pub fn open_to_append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o644).open(path)
}

/// Memory kept between two writes.
const PENDING_KEPT_MAX: usize = 1024 * 1024;

fn flush_due() {
    let due = DUE.take();
    for file in &due {
        file.awaited.set(false);
        file.flush();
    }
}

fn compress(bytes: &[u8], level: u32) -> io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// The name under which standard error is registered.
pub const STDERR: &str = "stderr";

/// All log files of a configuration.
#[derive(Default)]
pub struct LogRegistry {
    files: Vec<Rc<LogFile>>,
}

impl LogRegistry {
    /// The file at `path`, registered on first use and not opened yet.
    pub fn file(&mut self, path: &Path) -> Rc<LogFile> {
        if let Some(file) = self.files.iter().find(|file| file.path == path) {
            return Rc::clone(file);
        }
        let file = LogFile::new(path.to_owned());
        self.files.push(Rc::clone(&file));
        file
    }

    /// Opens every file; the error names the first that cannot be opened, in nginx's words.
    pub fn open_all(&self) -> Result<(), String> {
        self.files.iter().try_for_each(|file| open(file))
    }

    /// Opens every file again, as far as possible; the errors, in nginx's words.
    pub fn reopen_all(&self) -> Vec<String> {
        self.files.iter().filter_map(|file| open(file).err()).collect()
    }

    /// Writes everything that waits: the process is about to end.
    pub fn flush_all(&self) {
        self.files.iter().for_each(|file| file.flush());
    }

    /// The files.
    pub fn files(&self) -> &[Rc<LogFile>] {
        &self.files
    }
}

fn open(file: &LogFile) -> Result<(), String> {
    file.open().map_err(|error| {
        format!("open() \"{}\" failed ({})", file.path.display(), conf::error::errno(&error))
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn file(name: &str) -> (Rc<LogFile>, PathBuf) {
        let path = std::env::temp_dir().join(format!("uresty-log-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let file = LogFile::new(path.clone());
        file.open().unwrap();
        (file, path)
    }

    fn content(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_buffer_is_written_when_the_next_line_does_not_fit() {
        let (file, path) = file("buffer");
        assert!(file.set_buffering(Buffering { size: 8, flush_ms: None, gzip: None }));
        for (line, expected) in [
            ("1234\n", ""),
            ("12\n", ""),
            ("56\n", "1234\n12\n"),
            ("123456789\n", "1234\n12\n56\n123456789\n"),
        ] {
            file.line(line.as_bytes());
            assert_eq!(content(&path), expected, "after {line:?}");
        }
        assert!(!file.set_buffering(Buffering { size: 9, flush_ms: None, gzip: None }), "conflict");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn reopening_writes_pending_lines_to_the_old_file() {
        let (file, path) = file("rotate");
        assert!(file.set_buffering(Buffering { size: 100, flush_ms: None, gzip: None }));
        let moved = path.with_extension("1");
        file.line(b"old\n");
        std::fs::rename(&path, &moved).unwrap();
        file.open().unwrap();
        file.line(b"new\n");
        file.flush();
        assert_eq!((content(&moved), content(&path)), ("old\n".into(), "new\n".into()));
        std::fs::remove_file(path).unwrap();
        std::fs::remove_file(moved).unwrap();
    }

    #[test]
    fn lines_of_a_turn_are_written_at_its_end_by_one_task() {
        let (file, path) = file("turn");
        let watched = Rc::clone(&file);
        net::run(net::RingOptions::default(), move |_| async move {
            for _ in 0..3 {
                watched.line(b"line\n");
            }
            assert_eq!(content(&path), "");
            net::yield_turn().await;
            net::yield_turn().await;
            assert_eq!(content(&path), "line\nline\nline\n");
            std::fs::remove_file(path).unwrap();
        })
        .unwrap();
    }

    #[test]
    fn each_write_is_a_gzip_member() {
        let (file, path) = file("gzip");
        assert!(file.set_buffering(Buffering { size: 64, flush_ms: None, gzip: Some(1) }));
        for line in ["one\n", "two\n"] {
            file.line(line.as_bytes());
            file.flush();
        }
        let mut text = String::new();
        flate2::read::MultiGzDecoder::new(File::open(&path).unwrap()).read_to_string(&mut text).unwrap();
        assert_eq!(text, "one\ntwo\n");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_full_disk_drops_and_counts() {
        let file = LogFile::new("/dev/full".into());
        file.open().unwrap();
        file.line(b"lost\n");
        file.line(b"lost too\n");
        assert_eq!(file.lines_dropped(), 2);
    }
}
