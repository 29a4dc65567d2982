//! Seeing to a cache's directory: entering the files that are there when the process group starts (nginx's cache loader), and
//! removing what nobody asks for any more or what there is too much of (nginx's cache manager). The worker in the first slot
//! does it, beside its requests.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::{Cache, Pace, key};
use crate::clock::unix_seconds;
use crate::fault::Fault;
use crate::log::{self, Level};
use crate::worker::Worker;

/// Pause between two looks at what is too old or too much. nginx looks every ten seconds or less.
const PAUSE: Duration = Duration::from_secs(1);
/// Names read of one directory at a time; a directory of a cache without levels may have more, which are entered when
/// they are asked for.
const NAMES_MAX: usize = 1_000_000;
/// Leftovers of responses that were never complete are removed when they are so old, seconds.
const LEFTOVER_SECONDS: i64 = 3600;

/// Starts to look after `cache` in this worker, if it is the one that does.
pub fn start(worker: &Rc<Worker>, cache: &Rc<Cache>) {
    if worker.slot == 0 {
        net::spawn(look_after(Rc::clone(worker), Rc::clone(cache)));
    }
}

async fn look_after(worker: Rc<Worker>, cache: Rc<Cache>) {
    if let Err(fault) = load(&worker, &cache).await {
        log::process(Level::Crit, format_args!("{fault} while loading the cache \"{}\"", cache.name()));
    }
    while !worker.is_draining() {
        let pause = match tidy(&cache).await {
            Ok(pause) => pause,
            Err(fault) => {
                log::process(
                    Level::Crit,
                    format_args!("{fault} while tidying the cache \"{}\"", cache.name()),
                );
                PAUSE
            }
        };
        net::sleep(pause).await;
    }
}

/// Work in spells: so many files or so much time, then a pause.
struct Spell {
    pace: Pace,
    files: u64,
    start_ms: u64,
}

impl Spell {
    fn new(pace: Pace) -> Self {
        Self { pace, files: 0, start_ms: net::now().0 }
    }

    /// Counts a file; `true`: it is time for a pause.
    fn count(&mut self) -> bool {
        self.files += 1;
        self.files >= self.pace.files || net::now().0.saturating_sub(self.start_ms) >= self.pace.threshold_ms
    }

    async fn pause(&mut self) {
        net::sleep(Duration::from_millis(self.pace.sleep_ms)).await;
        *self = Self::new(self.pace);
    }
}

/// Enters the files that are there.
async fn load(worker: &Worker, cache: &Rc<Cache>) -> Result<(), Fault> {
    if cache.with(shm::CacheIndex::is_loaded)? {
        return Ok(());
    }
    let mut spell = Spell::new(cache.loader);
    let mut dirs = vec![(cache.dir.clone(), 0)];
    while let Some((dir, depth)) = dirs.pop() {
        let entries = match net::read_dir(dir.clone(), NAMES_MAX).await {
            Ok(entries) => entries,
            Err(error) => {
                let text = format!("opendir() \"{}\" failed ({})", dir.display(), conf::error::errno(&error));
                log::process(Level::Crit, format_args!("{text}"));
                continue;
            }
        };
        for entry in entries {
            if worker.is_draining() {
                return Ok(());
            }
            let path = dir.join(&entry.name);
            if entry.metadata.is_dir() {
                if depth < cache.levels.len() {
                    dirs.push((path, depth + 1));
                }
                continue;
            }
            enter(cache, &entry.name, path, &entry.metadata).await?;
            if spell.count() {
                spell.pause().await;
            }
        }
    }
    cache.with(shm::CacheIndex::set_loaded)
}

async fn enter(
    cache: &Cache,
    name: &OsString,
    path: PathBuf,
    metadata: &std::fs::Metadata,
) -> Result<(), Fault> {
    use std::os::unix::fs::MetadataExt as _;
    let now = unix_seconds();
    let Some(name) = name.to_str() else { return Ok(()) };
    match key::of_name(name) {
        Some(key) if cache.path(&key).1 == path => {
            let bytes = metadata.blocks() * 512;
            // what finds no room is found when it is asked for
            let _ = cache.with(|index| index.found(&key, bytes, now, cache.inactive));
        }
        _ => {
            let temporary = name.len() == 10 && name.bytes().all(|byte| byte.is_ascii_digit());
            if temporary && metadata.mtime() < now - LEFTOVER_SECONDS {
                unlink(&path).await;
            }
        }
    }
    Ok(())
}

/// Removes what is too old or too much; how long until it is to be looked at again.
async fn tidy(cache: &Rc<Cache>) -> Result<Duration, Fault> {
    let mut spell = Spell::new(cache.manager);
    let sleep = Duration::from_millis(cache.manager.sleep_ms);
    while let Some(oldest) = cache.with(shm::CacheIndex::oldest)? {
        if oldest.expire > unix_seconds() && !is_too_much(cache).await? {
            break;
        }
        if cache.with(|index| index.remove(&oldest))? {
            unlink(&cache.path(&oldest.key).1).await;
        }
        if spell.count() {
            return Ok(sleep);
        }
    }
    Ok(PAUSE)
}

async fn is_too_much(cache: &Rc<Cache>) -> Result<bool, Fault> {
    if let Some(max) = cache.size_max
        && cache.with(shm::CacheIndex::size)? >= max
    {
        return Ok(true);
    }
    if cache.free_min == 0 {
        return Ok(false);
    }
    let dir = cache.dir.clone();
    let free = net::blocking(move || {
        let stat = nix::sys::statvfs::statvfs(&dir)?;
        Ok(stat.blocks_available() as u64 * stat.fragment_size() as u64)
    });
    // a directory that cannot be asked has no room to be won
    Ok(free.await.is_ok_and(|free| free <= cache.free_min))
}

/// Removes a file that may be gone already.
pub(super) async fn unlink(path: &Path) {
    match net::unlink(path).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            let text = format!("unlink() \"{}\" failed ({})", path.display(), conf::error::errno(&error));
            log::process(Level::Crit, format_args!("{text}"));
        }
        _ => {}
    }
}
