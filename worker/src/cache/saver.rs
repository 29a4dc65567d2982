//! Writing a response to a file while it is relayed: for a cache, or for `proxy_store`.
//!
//! What is written is a file of its own until the response is complete; only then it takes its place. A saver that is dropped
//! before leaves nothing behind. Trouble with the disk ends the saving and never the response.

use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::Bytes;
use http1::{Known, ResponseHead};
use shm::cache::Key;

use super::file::{FileHead, Times, total_bytes};
use super::status::Fetching;
use super::{Cache, vary};
use crate::clock::unix_seconds;
use crate::fault::Fault;
use crate::log::{self, Level};
use crate::request::Request;
use crate::script::Template;
use crate::temp::{Spill, TempPath};
use crate::upstream::Order;

/// `proxy_store`, with `proxy_store_access`.
pub struct Store {
    /// Where to; `None`: where `root` or `alias` would look for the file.
    pub path: Option<Rc<Template>>,
    /// Permissions of files.
    pub access: u32,
}

/// See the module's documentation.
pub(crate) struct Saver {
    spill: Spill,
    place: Place,
}

/// Where the file belongs.
enum Place {
    Cache {
        cache: Rc<Cache>,
        key: Key,
        /// Held until the file is in its place.
        fetching: Option<Fetching>,
    },
    Path {
        path: PathBuf,
        access: u32,
        /// The time of the last change, if the server told it.
        modified: Option<i64>,
    },
}

/// The saver of a response whose head was sent on, if it is to be saved.
pub(crate) async fn saver(req: &mut Request, order: &Order<'_>) -> Option<Saver> {
    let made = match (&order.settings.cache, &order.settings.store) {
        (Some(plan), _) => {
            let mut using = req.upstream.cache.take()?;
            let stored = !plan.no_cache.hold(req) && using.cacheable;
            let head = req.upstream.head.take().unwrap_or_default();
            let file_head = if stored { file_head(req, plan, &mut using, &head) } else { None };
            req.upstream.head = Some(head);
            using.cacheable = file_head.is_some();
            // what is not stored nobody needs to wait for
            let fetching = using.fetching.take();
            let file_head = file_head?;
            let (cache, key) = (Rc::clone(&using.cache), using.key);
            let temp = cache.temp.as_ref().unwrap_or(&order.settings.temp_path);
            let first = Bytes::from(file_head.encode(0));
            Saver::create(temp, Place::Cache { cache: Rc::clone(&cache), key, fetching }, first).await
        }
        (None, Some(store)) => {
            if req.upstream.response()?.status != 200 || order.head_only {
                return None;
            }
            let modified = req.out.last_modified;
            let path = match &store.path {
                Some(template) => PathBuf::from(std::ffi::OsString::from_vec(template.eval(req))),
                None => PathBuf::from(std::ffi::OsString::from_vec(req.map_uri_to_path().to_vec())),
            };
            let place = Place::Path { path, access: store.access, modified };
            Saver::create(&order.settings.temp_path, place, Bytes::new()).await
        }
        (None, None) => return None,
    };
    made.map_err(|fault| complain(&fault)).ok()
}

fn complain(fault: &Fault) {
    log::process(Level::Crit, format_args!("{fault} while saving an upstream response"));
}

/// What is written in front of the body; `None`: the response may not be stored. Chooses the key of the variant.
fn file_head(
    req: &Request,
    plan: &super::Plan,
    using: &mut super::Use,
    head: &ResponseHead,
) -> Option<FileHead> {
    let (now, fresh) = (unix_seconds(), &using.fresh);
    let until = match fresh.until {
        0 => match plan.valid_for(head.status) {
            0 => return None,
            seconds => now.saturating_add(i64::try_from(seconds).unwrap_or(i64::MAX)),
        },
        until => until,
    };
    let mut file = FileHead {
        times: Times { until, updating: fresh.updating, error: fresh.error, date: now },
        vary: fresh.vary.clone(),
        key: using.text.clone(),
        ..FileHead::default()
    };
    if matches!(head.status, 200 | 206) {
        file.last_modified = head.headers.known(Known::LastModified).and_then(http1::parse_http_time);
        file.etag = head.headers.known(Known::Etag).unwrap_or_default().to_vec();
    }
    if !file.vary.is_empty() {
        file.variant = vary::variant(&using.main, &file.vary, &req.headers);
    }
    if using.key != using.main && file.variant != using.key {
        // another variant than the one that was looked for: it stands under the main key
        using.key = using.main;
    }
    file.head.extend_from_slice(b"HTTP/1.1 ");
    file.head.extend_from_slice(head.status_line());
    file.head.extend_from_slice(b"\r\n");
    head.headers.write_where(&mut file.head, |known, _, _| {
        !matches!(
            known,
            Some(
                Known::Connection
                    | Known::KeepAlive
                    | Known::ProxyConnection
                    | Known::TransferEncoding
                    | Known::Upgrade
            )
        )
    });
    file.head.extend_from_slice(b"\r\n");
    Some(file)
}

impl Saver {
    async fn create(temp: &TempPath, place: Place, first: Bytes) -> Result<Self, Fault> {
        let mut spill = Spill::create(temp).await?;
        if !first.is_empty() {
            spill.write(first).await?;
        }
        Ok(Self { spill, place })
    }

    /// Adds a piece of the body to the file, if there still is one.
    pub(crate) async fn add(this: &mut Option<Self>, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        let Some(saver) = this else { return };
        if let Err(fault) = saver.spill.write(bytes).await {
            complain(&fault);
            *this = None;
        }
    }

    /// The response is complete: the file takes its place.
    pub(crate) async fn complete(this: Option<Self>) {
        if let Some(saver) = this
            && let Err(fault) = saver.put_in_place().await
        {
            complain(&fault);
        }
    }

    async fn put_in_place(mut self) -> Result<(), Fault> {
        let total = self.spill.len();
        match self.place {
            Place::Cache { cache, key, fetching } => {
                let (at, bytes) = total_bytes(total);
                self.spill.patch(bytes, at).await?;
                let (_, path) = cache.path(&key);
                let disk_bytes = settle(self.spill, path, Mode::Private, None).await?;
                let (now, inactive) = (unix_seconds(), cache.inactive);
                let displaced = cache.with(|index| index.stored(&key, disk_bytes, now, inactive))?;
                drop(fetching);
                cache.remove_files(&displaced).await;
                Ok(())
            }
            Place::Path { path, access, modified } => {
                settle(self.spill, path, Mode::Given(access), modified).await.map(drop)
            }
        }
    }
}

/// Permissions of a file that takes its place, and of the directories made for it.
#[derive(Clone, Copy)]
enum Mode {
    Private,
    Given(u32),
}

/// Moves a finished file to `path`; its bytes on disk.
async fn settle(spill: Spill, path: PathBuf, mode: Mode, modified: Option<i64>) -> Result<u64, Fault> {
    let mut temp = spill.finish(false);
    let (from, to) = (temp.path.clone(), path.clone());
    let moved = net::blocking(move || {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
        if let Mode::Given(access) = mode {
            std::fs::set_permissions(&from, std::fs::Permissions::from_mode(access))?;
        }
        if let Some(seconds) = modified.and_then(|time| u64::try_from(time).ok()) {
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            std::fs::File::options().write(true).open(&from)?.set_modified(time)?;
        }
        rename(&from, &to, mode)?;
        Ok(std::fs::metadata(&to)?.blocks() * 512)
    });
    match moved.await {
        Ok(disk_bytes) => {
            temp.remove = false;
            Ok(disk_bytes)
        }
        Err(error) => {
            let (from, to) = (temp.path.display(), path.display());
            let text = format!("rename() \"{from}\" to \"{to}\" failed ({})", conf::error::errno(&error));
            Err(Fault::internal(text))
        }
    }
}

/// Renames a file; makes the directories it needs, and copies it where it comes from another file system.
fn rename(from: &Path, to: &Path, mode: Mode) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let mut result = std::fs::rename(from, to);
    if matches!(&result, Err(error) if error.kind() == std::io::ErrorKind::NotFound) {
        let access = match mode {
            Mode::Private => 0o700,
            // who may read a file may enter its directory
            Mode::Given(access) => access | ((access & 0o444) >> 2),
        };
        let dir = to.parent().unwrap_or(Path::new("/"));
        std::fs::DirBuilder::new().recursive(true).mode(access).create(dir)?;
        result = std::fs::rename(from, to);
    }
    match result {
        Err(error) if error.raw_os_error() == Some(nix::libc::EXDEV) => {
            // beside its place first, so that it appears as a whole
            let aside = to.with_extension("new");
            std::fs::copy(from, &aside)?;
            std::fs::rename(&aside, to)?;
            std::fs::remove_file(from)
        }
        result => result,
    }
}
