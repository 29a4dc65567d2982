//! The entries of a directory.

use std::fs::DirEntry;
use std::io;
use std::os::unix::ffi::OsStringExt;

use nix::libc;

use super::{FileError, FileInfo, as_path};
use crate::log::Level;
use crate::request::Request;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: Vec<u8>,
    /// What it leads to; of a link that leads nowhere, the link itself.
    pub info: FileInfo,
}

/// Entries of one directory at most; what is beyond is left out, and logged.
const ENTRIES_MAX: usize = 1 << 20;

/// What reading a directory found.
struct Listing {
    entries: Vec<Entry>,
    /// Entries that may not be looked at.
    refused: Vec<(Vec<u8>, io::Error)>,
    cut: bool,
}

impl Request {
    /// Reads the directory called `path`: all entries whose names do not begin with a dot, in no order. The failure is that of
    /// opening it; anything later is logged here and ends in `None`.
    pub async fn list_directory(&mut self, path: &[u8]) -> Result<Option<Vec<Entry>>, FileError> {
        let directory = as_path(path).to_owned();
        let read = net::blocking(move || {
            // errors of the two steps are told apart
            Ok(match std::fs::read_dir(&directory) {
                Ok(entries) => Ok(read(entries)),
                Err(error) => Err(error),
            })
        });
        let opened =
            read.await.and_then(|opened| opened).map_err(|error| FileError::new("opendir()", error))?;
        let listing = match opened {
            Ok(listing) => listing,
            Err((name, error)) => {
                let (call, name) = match name {
                    Some(name) => ("stat()", [path, b"/", &name].concat()),
                    None => ("readdir()", path.to_vec()),
                };
                self.log_file(Level::Crit, &name, &FileError::new(call, error));
                return Ok(None);
            }
        };
        for (name, error) in listing.refused {
            let name = [path, b"/", &name].concat();
            self.log_file(Level::Crit, &name, &FileError::new("stat()", error));
        }
        if listing.cut {
            self.log(
                Level::Warn,
                format_args!("directory \"{}\" has more than {ENTRIES_MAX} entries", path.escape_ascii()),
            );
        }
        Ok(Some(listing.entries))
    }
}

type Failure = (Option<Vec<u8>>, io::Error);

fn read(directory: std::fs::ReadDir) -> Result<Listing, Failure> {
    let mut listing = Listing { entries: Vec::new(), refused: Vec::new(), cut: false };
    for entry in directory {
        let entry = entry.map_err(|error| (None, error))?;
        let name = entry.file_name().into_vec();
        if name.first() == Some(&b'.') {
            continue;
        }
        if listing.entries.len() == ENTRIES_MAX {
            listing.cut = true;
            break;
        }
        match look_at(&entry) {
            Ok(info) => listing.entries.push(Entry { name, info }),
            Err(error) if error.raw_os_error() == Some(libc::EACCES) => listing.refused.push((name, error)),
            Err(error) => return Err((Some(name), error)),
        }
    }
    Ok(listing)
}

fn look_at(entry: &DirEntry) -> io::Result<FileInfo> {
    let metadata = match std::fs::metadata(entry.path()) {
        // a link to nothing or to itself
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ELOOP)) => entry.metadata(),
        other => other,
    };
    metadata.map(|metadata| FileInfo::of(&metadata))
}
