//! Looking a request up in its cache.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::file::{self, Entry, NoEntry};
use super::plan::{Plan, Which};
use super::status::{Fetching, Status, Use};
use super::{Cache, Freshness, key, vary};
use crate::clock::unix_seconds;
use crate::fault::Fault;
use crate::log::Level;
use crate::phase::Flow;
use crate::request::{Origin, Request};
use crate::upstream::Conditions;

/// How often a request that waits for another one looks (nginx: 500 ms).
const LOOK_EVERY_MS: u64 = 50;
/// How long an update of something old is waited for before somebody else tries.
const UPDATE_MS_MAX: u64 = 600_000;

/// What to do with a request.
pub(crate) enum Found {
    /// Pass it on. What is to be done with the response stands in `req.upstream.cache`.
    Pass,
    /// Serve what `req.upstream.cache` holds as its old entry.
    Serve,
    /// Answer with this.
    Answer(Flow),
}

/// What the index and the file of a key say.
enum Opened {
    Fresh(Entry),
    /// It has grown old, and nobody fetches a new one but whoever holds this.
    Stale(Entry, Option<Fetching>),
    /// Nothing is there; it is fetched under this, if others are to wait.
    Nothing(Option<Fetching>),
    /// Nothing is there, and the response is not to be stored.
    Scarce,
    /// An error is remembered.
    Error(u16),
}

/// Looks `req` up as `plan` says; `default_key` stands for `proxy_cache_key`.
pub(crate) async fn lookup(req: &mut Request, plan: &Plan, default_key: Vec<u8>) -> Result<Found, Fault> {
    req.upstream.cache = None;
    req.upstream.cache_status = None;
    let cached = match req.method {
        http1::Method::Get | http1::Method::Head => true,
        http1::Method::Post => plan.post,
        _ => false,
    };
    if !cached {
        return Ok(Found::Pass);
    }
    let Some(cache) = choose(req, plan)? else { return Ok(Found::Pass) };
    let text = plan.key.as_ref().map_or(default_key, |template| template.eval(req));
    let main = key::of_text(&text);
    let mut using = Box::new(Use {
        cache,
        text,
        main,
        key: main,
        cacheable: true,
        serving: false,
        behind: None,
        fetching: None,
        old: None,
        revalidate: plan.revalidate,
        stale_error: false,
        fresh: Freshness::default(),
    });
    if plan.bypass.hold(req) {
        req.upstream.cache_status = Some(Status::Bypass);
        req.upstream.cache = Some(using);
        return Ok(Found::Pass);
    }
    req.upstream.cache_status = Some(Status::Miss);
    let opened = open(req, plan, &mut using).await?;
    let found = judge(req, plan, &mut using, opened);
    if matches!(found, Found::Pass) && !range_is_cheap(req, plan) {
        using.cacheable = false;
    }
    req.upstream.cache = Some(using);
    Ok(found)
}

fn choose(req: &mut Request, plan: &Plan) -> Result<Option<Rc<Cache>>, Fault> {
    match &plan.which {
        Which::Fixed(cache) => Ok(Some(Rc::clone(cache))),
        Which::Named(template, caches) => {
            let name = template.eval(req);
            if matches!(&name[..], b"" | b"off") {
                return Ok(None);
            }
            let found = caches.iter().find(|cache| cache.name().as_bytes() == name);
            let missing = || Fault::internal(format!("cache \"{}\" not found", name.escape_ascii()));
            found.map(|cache| Some(Rc::clone(cache))).ok_or_else(missing)
        }
    }
}

/// From what was found to what is done.
fn judge(req: &mut Request, plan: &Plan, using: &mut Use, opened: Opened) -> Found {
    let status = |req: &mut Request, status| req.upstream.cache_status = Some(status);
    match opened {
        Opened::Fresh(entry) => {
            status(req, Status::Hit);
            using.old = Some(entry);
            Found::Serve
        }
        Opened::Error(code) => {
            status(req, Status::Hit);
            Found::Answer(Flow::Status(code))
        }
        Opened::Nothing(fetching) => {
            using.fetching = fetching;
            Found::Pass
        }
        Opened::Scarce => {
            using.cacheable = false;
            Found::Pass
        }
        Opened::Stale(entry, fetching) => {
            let now = unix_seconds();
            let times = entry.head.times;
            let in_time = |more: i64| times.until.saturating_add(more) >= now;
            using.stale_error = in_time(times.error);
            let while_updating = plan.use_stale.contains(Conditions::UPDATING) || in_time(times.updating);
            let behind = req.origin == Origin::Background;
            using.old = Some(entry);
            match fetching {
                None if while_updating && !behind => {
                    status(req, Status::Updating);
                    Found::Serve
                }
                Some(fetching) if while_updating && !behind && plan.background_update => {
                    status(req, Status::Stale);
                    using.behind = Some(update_behind(req, fetching));
                    Found::Serve
                }
                fetching => {
                    status(req, Status::Expired);
                    using.fetching = fetching;
                    Found::Pass
                }
            }
        }
    }
}

/// The right to fetch, on its way to the request that does.
struct Handover(Fetching);

/// Fetches a new response behind the back of `req`, which is served the old one.
fn update_behind(req: &mut Request, fetching: Fetching) -> Rc<Behind> {
    let mut sub = req.clone_behind();
    sub.context.set(Handover(fetching));
    let guard = crate::worker::ConnectionGuard::new(&req.worker);
    let behind = Rc::new(Behind::default());
    let of_task = Rc::clone(&behind);
    net::spawn(async move {
        crate::phase::run_clone(&mut sub).await;
        drop(sub);
        drop(guard);
        of_task.over.set(true);
        of_task.changed.notify_all();
    });
    behind
}

/// A fetch behind a request's back.
#[derive(Default)]
pub(super) struct Behind {
    over: Cell<bool>,
    changed: net::Notify,
}

impl Behind {
    /// Waits until it is over.
    pub(super) async fn over(&self) {
        while !self.over.get() {
            self.changed.notified().await;
        }
    }
}

/// Asks the index, then the file; waits for another request that is fetching it where `proxy_cache_lock` says so.
async fn open(req: &mut Request, plan: &Plan, using: &mut Use) -> Result<Opened, Fault> {
    let start = net::now().0;
    let mut uses = None;
    loop {
        let seen = if uses.is_none() { touch(using).await? } else { Default::default() };
        if let Some(error) = seen.error {
            return Ok(Opened::Error(error));
        }
        let cold = !using.cache.with(shm::CacheIndex::is_loaded)?;
        let uses = *uses.get_or_insert(seen.uses);
        if uses < plan.min_uses && !seen.exists && !cold {
            return Ok(Opened::Scarce);
        }
        // a file may be there although the index does not know it: not yet, or because it had no room
        if let Some(opened) = open_file(req, using).await? {
            return Ok(opened);
        }
        if uses < plan.min_uses {
            return Ok(Opened::Scarce);
        }
        if !plan.lock {
            return Ok(Opened::Nothing(None));
        }
        if let Some(fetching) = Fetching::begin(&using.cache, &using.key, plan.lock_age)? {
            return Ok(Opened::Nothing(Some(fetching)));
        }
        let waited = net::now().0.saturating_sub(start);
        if waited >= plan.lock_timeout {
            if plan.lock_timeout > 0 {
                req.log(Level::Info, format_args!("cache lock timeout"));
            }
            return Ok(Opened::Scarce);
        }
        req.pause(Duration::from_millis(LOOK_EVERY_MS.min(plan.lock_timeout - waited))).await?;
    }
}

async fn touch(using: &Use) -> Result<shm::cache::Seen, Fault> {
    let (cache, now) = (&using.cache, unix_seconds());
    let seen = cache.with(|index| index.touch(&using.key, now, cache.inactive))?;
    cache.remove_files(&seen.displaced).await;
    Ok(seen)
}

/// Opens the file of a key, or that of the variant the request asks for.
async fn open_file(req: &mut Request, using: &mut Use) -> Result<Option<Opened>, Fault> {
    let mut entry = match open_at(req, using).await? {
        Some(entry) => entry,
        None => return Ok(None),
    };
    if !entry.head.vary.is_empty() {
        let variant = vary::variant(&using.main, &entry.head.vary, &req.headers);
        if variant != entry.head.variant {
            if using.key != using.main {
                req.log(
                    Level::Crit,
                    format_args!("cache file \"{}\" has incorrect vary hash", entry.path.display()),
                );
                return Ok(None);
            }
            using.key = variant;
            touch(using).await?;
            entry = match open_at(req, using).await? {
                Some(entry) if entry.head.variant == variant => entry,
                _ => return Ok(None),
            };
        }
    }
    let (cache, now) = (&using.cache, unix_seconds());
    cache
        .with(|index| index.found(&using.key, entry.disk_bytes, now, cache.inactive))
        .or_else(full_is_fine)?;
    if entry.head.times.until >= now {
        return Ok(Some(Opened::Fresh(entry)));
    }
    let handed = req.context.take::<Handover>().map(|Handover(fetching)| fetching);
    let fetching = match handed {
        Some(fetching) => Some(fetching),
        None => Fetching::begin(cache, &using.key, UPDATE_MS_MAX)?,
    };
    Ok(Some(Opened::Stale(entry, fetching)))
}

/// A file that finds no room in the index is served all the same.
fn full_is_fine(_: Fault) -> Result<(), Fault> {
    Ok(())
}

async fn open_at(req: &Request, using: &Use) -> Result<Option<Entry>, Fault> {
    let (_, path) = using.cache.path(&using.key);
    match file::open(path, &using.text).await {
        Ok(entry) => Ok(Some(entry)),
        Err(NoEntry::NotFound) => Ok(None),
        Err(NoEntry::Invalid(text)) => {
            req.log(Level::Crit, format_args!("{text}"));
            Ok(None)
        }
        Err(NoEntry::Fault(fault)) => Err(fault),
    }
}

/// `proxy_cache_max_range_offset`: whether a range near enough to the beginning is asked for to fetch all of it.
fn range_is_cheap(req: &Request, plan: &Plan) -> bool {
    let (Some(max), Some(range)) = (plan.range_offset_max, req.header(http1::Known::Range)) else {
        return true;
    };
    if max == 0 {
        return false;
    }
    let Some((unit, rest)) = range.split_at_checked(6) else { return true };
    if !unit.eq_ignore_ascii_case(b"bytes=") {
        return true;
    }
    let rest = rest.trim_ascii_start();
    if rest.first() == Some(&b'-') {
        return false;
    }
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
    let offset = digits.fold(0u64, |sum, digit| sum.saturating_mul(10).saturating_add((digit - b'0').into()));
    offset < max
}
