//! Temporary files: names as nginx makes them (ten digits below hashed directories), written as data comes.

use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;

use bytes::Bytes;

use crate::body::TempFile;
use crate::fault::Fault;

/// A directory for temporary files with its levels of subdirectories (`client_body_temp_path dir 1 2`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TempPath {
    /// The directory.
    pub dir: PathBuf,
    /// Width of each level's names, outermost first; empty: no levels.
    pub levels: Vec<usize>,
}

thread_local! {
    /// Start anywhere: other workers count too, and a name that exists is skipped.
    static NEXT: Cell<u64> = Cell::new(rand::random::<u32>().into());
}

/// Attempts to find a name nobody uses.
const NAME_TRIES_MAX: u32 = 64;

impl TempPath {
    /// A name for a new file, and the directory it must stand in.
    fn next(&self) -> (PathBuf, PathBuf) {
        let number = NEXT.replace(NEXT.get().wrapping_add(1)) % 10_000_000_000;
        let name = format!("{number:010}");
        let mut dir = self.dir.clone();
        let mut end = name.len();
        for width in &self.levels {
            dir.push(&name[end - width..end]);
            end -= width;
        }
        let path = dir.join(&name);
        (dir, path)
    }
}

/// A temporary file that is being written.
pub struct Spill {
    file: TempFile,
}

impl Spill {
    /// Creates a file nobody else can read.
    pub async fn create(at: &TempPath) -> Result<Self, Fault> {
        for _ in 0..NAME_TRIES_MAX {
            let (dir, path) = at.next();
            if !at.levels.is_empty() {
                let created = net::blocking(move || std::fs::create_dir_all(dir)).await;
                created.map_err(|error| {
                    Fault::internal(format!("mkdir() failed ({})", conf::error::errno(&error)))
                })?;
            }
            let options = net::OpenOptions {
                read: true,
                write: true,
                create_new: true,
                mode: 0o600,
                ..Default::default()
            };
            match net::open(&path, &options).await {
                Ok(file) => {
                    return Ok(Self { file: TempFile { file: Rc::new(file), path, len: 0, remove: true } });
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    let text =
                        format!("open() \"{}\" failed ({})", path.display(), conf::error::errno(&error));
                    return Err(Fault::internal(text));
                }
            }
        }
        Err(Fault::internal(format!("no free name for a temporary file in \"{}\"", at.dir.display())))
    }

    /// Appends `bytes`.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Fault> {
        let len = bytes.len() as u64;
        let (result, _) = self.file.file.write_at(bytes, self.file.len).await;
        match result {
            Ok(_) => {
                self.file.len += len;
                Ok(())
            }
            Err(error) => {
                let text = format!(
                    "write() \"{}\" failed ({})",
                    self.file.path.display(),
                    conf::error::errno(&error)
                );
                Err(Fault::internal(text))
            }
        }
    }

    /// Overwrites what stands at `offset`.
    pub async fn patch(&mut self, bytes: Bytes, offset: u64) -> Result<(), Fault> {
        let (result, _) = self.file.file.write_at(bytes, offset).await;
        result.map_err(|error| {
            let path = self.file.path.display();
            Fault::internal(format!("write() \"{path}\" failed ({})", conf::error::errno(&error)))
        })
    }

    /// Starts over: what was written is not needed any more.
    pub fn rewind(&mut self) {
        self.file.len = 0;
    }

    /// Bytes written so far.
    pub fn len(&self) -> u64 {
        self.file.len
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.file.len == 0
    }

    /// The file as it is, for reading while it grows.
    pub fn file(&self) -> &Rc<net::File> {
        &self.file.file
    }

    /// Ends writing. With `keep` the file stays when the request ends.
    pub fn finish(mut self, keep: bool) -> TempFile {
        self.file.remove = !keep;
        self.file
    }
}
