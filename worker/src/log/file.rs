//! Log files: however many directives name a file, it is opened once, and reopened once on `USR1`.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// An append-only file.
pub struct LogFile {
    /// Where it is.
    pub path: PathBuf,
    file: RefCell<Option<Sink>>,
}

enum Sink {
    File(File),
    Stderr,
}

impl LogFile {
    fn new(path: PathBuf) -> Rc<Self> {
        Rc::new(Self { path, file: RefCell::new(None) })
    }

    /// Opens (or, after `USR1`, opens again) the file. The old descriptor is kept when that fails.
    pub fn open(&self) -> io::Result<()> {
        let sink = if self.path == Path::new(STDERR) {
            Sink::Stderr
        } else {
            Sink::File(OpenOptions::new().append(true).create(true).open(&self.path)?)
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

    /// Whether the file is open.
    pub fn is_open(&self) -> bool {
        self.file.borrow().is_some()
    }
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
        for file in &self.files {
            file.open().map_err(|error| {
                format!("open() \"{}\" failed ({})", file.path.display(), conf::error::errno(&error))
            })?;
        }
        Ok(())
    }

    /// The files.
    pub fn files(&self) -> &[Rc<LogFile>] {
        &self.files
    }
}
