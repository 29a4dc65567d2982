//! PUT: the body becomes a file, all of it or nothing.
//!
//! A body in a temporary file is renamed, so it is never seen half written; one in memory, or on another file system, is written to a
//! file with a name of its own beside the target first.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http1::Known;
use nix::libc;

use super::tree::{self, Failed, Kind};
use super::{DavConf, created, directory_mode, file_path, has_range, parent, refuse};
use crate::phase::Flow;
use crate::request::Request;

/// Where the body is.
enum Source {
    Memory(Bytes),
    File(PathBuf),
}

/// What a new file is like.
#[derive(Clone, Copy)]
struct Shape {
    mode: u32,
    modified: Option<SystemTime>,
    create_path: bool,
}

pub(super) async fn put(req: &mut Request, conf: &DavConf) -> Flow {
    if req.uri.ends_with(b"/") {
        req.log_error(format_args!("cannot PUT to a collection"));
        return Flow::Status(409);
    }
    if has_range(req) {
        req.log_error(format_args!("PUT with range is unsupported"));
        return Flow::Status(501);
    }
    if let Err(fault) = req.read_body().await {
        return req.fail(&fault);
    }
    let path = file_path(&req.map_uri_to_path());
    let existed = match tree::look(path.clone()).await {
        Ok(Kind::Directory) => {
            req.log_error(format_args!("\"{}\" could not be created", path.display()));
            return Flow::Status(409);
        }
        Ok(_) => true,
        Err(_) => false,
    };
    let source = match (&req.body.file, req.body.in_memory()) {
        (Some(file), _) => Source::File(file.path.clone()),
        (None, Some(bytes)) => Source::Memory(bytes),
        (None, None) => Source::Memory(Bytes::new()),
    };
    let modified = req.headers.known(Known::Date).and_then(http1::parse_http_time);
    let modified = modified.and_then(|seconds| u64::try_from(seconds).ok());
    let shape = Shape {
        mode: conf.access,
        modified: modified.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)),
        create_path: conf.create_path,
    };
    let stored = tree::blocking(move || store(source, &path, shape)).await;
    match stored {
        Ok(()) if existed => Flow::Status(204),
        Ok(()) => created(req),
        Err(failed) => refuse(req, &failed, 500),
    }
}

/// Makes the file `path`. Runs beside the loop.
fn store(source: Source, path: &Path, shape: Shape) -> Result<(), Failed> {
    if shape.create_path {
        tree::create_parents(path, directory_mode(shape.mode))?;
    }
    match source {
        Source::Memory(bytes) => beside(path, shape, |file| file.write_all(&bytes)),
        Source::File(temp) => {
            finish(&File::open(&temp).map_err(|error| Failed::new("open()", &temp, error))?, &temp, shape)?;
            match std::fs::rename(&temp, path) {
                Err(error) if error.raw_os_error() == Some(libc::EXDEV) => beside(path, shape, |file| {
                    io::copy(&mut File::open(&temp)?, file)?;
                    Ok(())
                }),
                result => result.map_err(|error| Failed::new("rename()", path, error)),
            }
        }
    }
}

/// Writes a new file beside `path` and puts it in its place.
fn beside(path: &Path, shape: Shape, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), Failed> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{:016x}", rand::random::<u64>()));
    let temp = parent(path).join(name);
    // a name that exists, a link among them, is refused
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temp);
    let mut file = created.map_err(|error| Failed::new("open()", &temp, error))?;
    let written = write(&mut file).map_err(|error| Failed::new("write()", &temp, error));
    let stored = written
        .and_then(|()| finish(&file, &temp, shape))
        .and_then(|()| std::fs::rename(&temp, path).map_err(|error| Failed::new("rename()", path, error)));
    if stored.is_err() {
        // what is left is of no use; that it cannot be removed changes nothing
        let _ = std::fs::remove_file(&temp);
    }
    stored
}

fn finish(file: &File, path: &Path, shape: Shape) -> Result<(), Failed> {
    let set = file.set_permissions(Permissions::from_mode(shape.mode));
    set.map_err(|error| Failed::new("fchmod()", path, error))?;
    if let Some(modified) = shape.modified {
        file.set_modified(modified).map_err(|error| Failed::new("futimens()", path, error))?;
    }
    Ok(())
}
