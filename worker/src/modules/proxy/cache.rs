//! Readers of `proxy_cache*` and `proxy_store*`.

use std::cell::OnceCell;
use std::path::PathBuf;
use std::rc::Rc;

use conf::value::{size, time};
use conf::{Node, Result};

use super::CONF;
use crate::build::{Builder, Conf, MergeCx, Slot};
use crate::cache::{Cache, Pace, Valid};
use crate::predicates::Predicates;
use crate::script::Template;
use crate::temp::TempPath;
use crate::upstream::Conditions;
use crate::zone::ZoneKind;

/// The caches of the configuration: what `proxy_cache_path` declared.
#[derive(Default)]
pub struct Caches(pub Rc<[Rc<Cache>]>);

/// Key of [`Caches`].
pub static CACHES: Slot<Caches> = Slot::new();

impl Conf for Caches {
    fn merge(&mut self, _outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        Ok(())
    }
}

/// `proxy_cache`, as it stands in the text.
#[derive(Debug, Clone)]
pub enum Named {
    /// `off`.
    Off,
    /// A cache.
    Name(Rc<str>),
    /// A name made from variables.
    Template(Rc<Template>),
}

/// `proxy_store`.
#[derive(Debug, Clone)]
pub enum Stored {
    /// `off`.
    Off,
    /// `on`: where `root` or `alias` looks for files.
    Root,
    /// There.
    Path(Rc<Template>),
}

/// Zones must have room for more than their own administration: nginx's eight pages.
const ZONE_BYTES_MIN: usize = 8 * 4096;
/// Levels there may be, and widths of their names (nginx's limits).
const LEVELS_MAX: usize = 3;

/// `proxy_cache_path path [levels=…] keys_zone=name:size …`.
pub(super) fn cache_path(cx: &mut Builder, node: &Node) -> Result<()> {
    let mut cache = Options { inactive: 600, use_temp_path: true, ..Options::default() };
    for at in 1..node.len() {
        cache.read(node, at)?;
    }
    let Some((name, bytes)) = cache.zone else {
        return Err(node.error(format!("\"{}\" must have \"keys_zone\" parameter", node.name.text())));
    };
    let dir = cx.paths.full(node.first());
    let text = node.first().to_owned();
    let all = &cx.http_conf(&CACHES).0;
    if all.iter().any(|other| other.dir == dir) {
        return Err(node.error(format!("the path name \"{text}\" is already in use")));
    }
    if all.iter().any(|other| other.name() == name) {
        return Err(node.error(format!("duplicate zone \"{name}\"")));
    }
    let zone = cx.zone(node, &name, Some(bytes), ZoneKind::Cache)?;
    cx.temp_paths.push(dir.clone());
    let temp = (!cache.use_temp_path).then(|| Rc::new(TempPath { dir: dir.clone(), levels: Vec::new() }));
    let cache = Rc::new(Cache {
        zone,
        dir,
        levels: cache.levels,
        inactive: cache.inactive,
        size_max: cache.size_max,
        free_min: cache.free_min,
        temp,
        manager: cache.manager,
        loader: cache.loader,
        index: OnceCell::new(),
    });
    let all = &mut cx.http_conf(&CACHES).0;
    *all = all.iter().cloned().chain([cache]).collect();
    Ok(())
}

/// Parameters of a `proxy_cache_path`.
#[derive(Default)]
struct Options {
    zone: Option<(String, usize)>,
    levels: Vec<usize>,
    inactive: u64,
    size_max: Option<u64>,
    free_min: u64,
    use_temp_path: bool,
    manager: Pace,
    loader: Pace,
}

impl Options {
    fn read(&mut self, node: &Node, at: usize) -> Result<()> {
        let text = node.arg(at).unwrap_or_default();
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let invalid = |what: &str| node.error(format!("invalid {what} value \"{text}\""));
        let count = || conf::value::number::parse(value).filter(|n| *n > 0).ok_or_else(|| invalid(name));
        let ms = || time::parse_ms(value).ok_or_else(|| invalid(name));
        match name {
            "levels" => {
                let widths = value.split(':').map(|part| match part {
                    "1" => Some(1),
                    "2" => Some(2),
                    _ => None,
                });
                let widths: Option<Vec<usize>> = widths.collect();
                let invalid = || node.error(format!("invalid \"levels\" \"{text}\""));
                self.levels = widths.filter(|widths| widths.len() <= LEVELS_MAX).ok_or_else(invalid)?;
            }
            "use_temp_path" => {
                self.use_temp_path = match value {
                    "on" => true,
                    "off" => false,
                    _ => {
                        let text =
                            format!("invalid use_temp_path value \"{text}\", it must be \"on\" or \"off\"");
                        return Err(node.error(text));
                    }
                };
            }
            "keys_zone" => {
                let invalid = || node.error(format!("invalid keys zone size \"{text}\""));
                let (name, bytes) = value.split_once(':').ok_or_else(invalid)?;
                let bytes = size::parse_size(bytes).ok_or_else(invalid)?;
                if bytes < ZONE_BYTES_MIN {
                    return Err(node.error(format!("zone \"{text}\" is too small")));
                }
                self.zone = Some((name.to_owned(), bytes)).filter(|(name, _)| !name.is_empty());
            }
            "inactive" => self.inactive = time::parse_sec(value).ok_or_else(|| invalid("inactive"))?,
            "max_size" => {
                self.size_max = Some(size::parse_offset(value).ok_or_else(|| invalid("max_size"))?);
            }
            "min_free" => self.free_min = size::parse_offset(value).ok_or_else(|| invalid("min_free"))?,
            "loader_files" => self.loader.files = count()?,
            "loader_sleep" => self.loader.sleep_ms = ms()?,
            "loader_threshold" => self.loader.threshold_ms = ms()?,
            "manager_files" => self.manager.files = count()?,
            "manager_sleep" => self.manager.sleep_ms = ms()?,
            "manager_threshold" => self.manager.threshold_ms = ms()?,
            _ => return Err(node.invalid_parameter(at)),
        }
        Ok(())
    }
}

/// `proxy_cache zone | off`.
pub(super) fn cache(cx: &mut Builder, node: &Node) -> Result<()> {
    cx.conf(&CONF).set.cache.check_unset()?;
    if cx.conf(&CONF).set.store.as_ref().is_some_and(|store| !matches!(store, Stored::Off)) {
        return Err(node.predicate("is incompatible with \"proxy_store\""));
    }
    let named = match node.first() {
        "off" => Named::Off,
        text if text.contains('$') => Named::Template(Rc::new(Template::parse(cx, node, text)?)),
        text => Named::Name(text.into()),
    };
    cx.conf(&CONF).set.cache.set(named)
}

/// `proxy_cache_key text`.
pub(super) fn key(cx: &mut Builder, node: &Node) -> Result<()> {
    let template = Rc::new(Template::parse(cx, node, node.bytes(0))?);
    cx.conf(&CONF).set.cache_key.set(Some(template))
}

/// `proxy_cache_valid [status …] time`.
pub(super) fn valid(cx: &mut Builder, node: &Node) -> Result<()> {
    let last = node.len() - 1;
    let invalid = || node.error(format!("invalid time value \"{}\"", node.arg(last).unwrap_or_default()));
    let seconds = node.arg(last).and_then(time::parse_sec).ok_or_else(invalid)?;
    let mut new = Vec::new();
    if last == 0 {
        new.extend([200, 301, 302].map(|status| Valid { status, seconds }));
    }
    for at in 0..last {
        let text = node.arg(at).unwrap_or_default();
        let status = match text {
            "any" => 0,
            _ => {
                let invalid = || node.error(format!("invalid status \"{text}\""));
                text.parse().ok().filter(|status| (100..600).contains(status)).ok_or_else(invalid)?
            }
        };
        new.push(Valid { status, seconds });
    }
    let all = cx.conf(&CONF).set.cache_valid.or_insert_with(|| Rc::from([]));
    *all = all.iter().copied().chain(new).collect();
    Ok(())
}

/// `proxy_cache_methods method …`: whether POST is among them. GET and HEAD always are.
pub(super) fn methods(cx: &mut Builder, node: &Node) -> Result<()> {
    let mut post = false;
    for at in 0..node.len() {
        match node.arg(at).unwrap_or_default() {
            "GET" | "HEAD" => {}
            "POST" => post = true,
            _ => return Err(node.invalid_value(at)),
        }
    }
    cx.conf(&CONF).set.cache_post.set(post)
}

/// Conditions `proxy_cache_use_stale` knows.
const STALE: Conditions = Conditions::ERROR
    .or(Conditions::TIMEOUT)
    .or(Conditions::INVALID_HEADER)
    .or(Conditions::UPDATING)
    .or(Conditions::HTTP_500)
    .or(Conditions::HTTP_502)
    .or(Conditions::HTTP_503)
    .or(Conditions::HTTP_504)
    .or(Conditions::HTTP_403)
    .or(Conditions::HTTP_404)
    .or(Conditions::HTTP_429)
    .or(Conditions::OFF);

/// `proxy_cache_use_stale condition …`.
pub(super) fn use_stale(cx: &mut Builder, node: &Node) -> Result<()> {
    let mut all = cx.conf(&CONF).set.cache_use_stale.as_ref().copied().unwrap_or_default();
    for at in 0..node.len() {
        let name = node.arg(at).unwrap_or_default();
        let found = Conditions::NAMES.iter().find(|(known, what)| *known == name && STALE.contains(*what));
        let (_, condition) = found.ok_or_else(|| node.invalid_value(at))?;
        if all.contains(*condition) {
            cx.warn(node.warning(format!("duplicate value \"{name}\"")));
        }
        all = all.or(*condition);
    }
    cx.conf(&CONF).set.cache_use_stale.replace(all);
    Ok(())
}

/// Which list of conditions a directive adds to.
pub(super) fn bypass(cx: &mut Builder, node: &Node) -> Result<()> {
    Predicates::parse(cx, node)?.add_to(&mut cx.conf(&CONF).set.cache_bypass);
    Ok(())
}

pub(super) fn no_cache(cx: &mut Builder, node: &Node) -> Result<()> {
    Predicates::parse(cx, node)?.add_to(&mut cx.conf(&CONF).set.no_cache);
    Ok(())
}

/// `proxy_store on | off | path`.
pub(super) fn store(cx: &mut Builder, node: &Node) -> Result<()> {
    cx.conf(&CONF).set.store.check_unset()?;
    if cx.conf(&CONF).set.cache.as_ref().is_some_and(|cache| !matches!(cache, Named::Off)) {
        return Err(node.predicate("is incompatible with \"proxy_cache\""));
    }
    let stored = match node.first() {
        "off" => Stored::Off,
        "on" => Stored::Root,
        "" => return Err(node.error("empty path")),
        text if text.starts_with(['/', '$']) => Stored::Path(Rc::new(Template::parse(cx, node, text)?)),
        text => {
            let path: PathBuf = cx.paths.full(text);
            let bytes = std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()).to_vec();
            Stored::Path(Rc::new(Template::parse(cx, node, bytes)?))
        }
    };
    cx.conf(&CONF).set.store.set(stored)
}

/// `proxy_store_access users:permissions …`.
pub(super) fn store_access(cx: &mut Builder, node: &Node) -> Result<()> {
    cx.conf(&CONF).set.store_access.check_unset()?;
    let (mut access, mut user) = (0, 0o600);
    for at in 0..node.len() {
        let text = node.arg(at).unwrap_or_default();
        let (users, rights) = text.split_once(':').ok_or_else(|| node.invalid_value(at))?;
        let shift = match users {
            "user" => {
                user = 0;
                6
            }
            "group" => 3,
            "all" => 0,
            _ => return Err(node.invalid_value(at)),
        };
        let rights = match rights {
            "rw" => 6,
            "r" => 4,
            _ => return Err(node.invalid_value(at)),
        };
        access |= rights << shift;
    }
    cx.conf(&CONF).set.store_access.set(access | user)
}
