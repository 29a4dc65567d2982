//! Settings about opening files: `open_file_cache` and its family, `disable_symlinks`.

use std::rc::Rc;

use conf::{Arity, Contexts, Directive, Node, Result, Shape};

use super::cache::FileCache;
use super::symlinks::SymlinkRule;
use crate::build::{Builder, Conf, MergeCx, Slot};
use crate::settings;

/// Where the settings stand.
pub static CONF: Slot<FilesConf> = Slot::new();

settings! {
    /// Settings of a location.
    pub struct FilesConf, FilesSettings {
        /// `open_file_cache`; blocks that inherit it share it.
        cache: Option<Rc<FileCache>> = None,
        /// `open_file_cache_valid` in seconds.
        cache_valid: u64 = 60,
        /// `open_file_cache_min_uses`.
        cache_min_uses: u64 = 1,
        /// `open_file_cache_errors`.
        cache_errors: bool = false,
        /// `open_file_cache_events`: has an effect on other systems than Linux only.
        cache_events: bool = false,
        /// `disable_symlinks`.
        symlinks: SymlinkRule = SymlinkRule::default(),
    }
}

impl Conf for FilesConf {
    fn merge(&mut self, outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        self.merge_settings(outer);
        Ok(())
    }
}

/// The directives.
pub static DIRECTIVES: &[Directive<Builder>] = &[
    Directive {
        name: "open_file_cache",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Range(1, 2),
        shape: Shape::Simple,
        default: "off",
        doc: "Keeps open files, and what is known of files and directories, in each worker: max=N [inactive=time], or off.",
        apply: |cx, node| {
            cx.conf(&CONF).set.cache.check_unset()?;
            let cache = open_file_cache(node)?;
            cx.conf(&CONF).set.cache.set(cache)
        },
    },
    Directive {
        name: "open_file_cache_valid",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "60s",
        doc: "Time after which what is cached of a file is checked again.",
        apply: |cx, node| cx.conf(&CONF).set.cache_valid.set(node.time_sec()?),
    },
    Directive {
        name: "open_file_cache_min_uses",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "1",
        doc: "Uses from which on a file is kept open.",
        apply: |cx, node| cx.conf(&CONF).set.cache_min_uses.set(node.number()?),
    },
    Directive {
        name: "open_file_cache_errors",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "off",
        doc: "Caches failures too.",
        apply: |cx, node| cx.conf(&CONF).set.cache_errors.set(node.flag()?),
    },
    Directive {
        name: "open_file_cache_events",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "off",
        doc: "Accepted for compatibility: has an effect on systems with kqueue only.",
        apply: |cx, node| cx.conf(&CONF).set.cache_events.set(node.flag()?),
    },
    Directive {
        name: "disable_symlinks",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Range(1, 2),
        shape: Shape::Simple,
        default: "off",
        doc: "Refuses files with symbolic links in their names: off, on, if_not_owner; from= names a part that is not checked.",
        apply: |cx, node| {
            cx.conf(&CONF).set.symlinks.check_unset()?;
            let rule = SymlinkRule::read(cx, node)?;
            cx.conf(&CONF).set.symlinks.set(rule)
        },
    },
];

/// Time an unused entry is kept, in seconds, where `inactive=` says nothing.
const INACTIVE_SECONDS: u64 = 60;

fn open_file_cache(node: &Node) -> Result<Option<Rc<FileCache>>> {
    let (mut max, mut inactive, mut off) = (None, INACTIVE_SECONDS, false);
    for text in node.str_args() {
        let invalid = || node.error(format!("invalid \"open_file_cache\" parameter \"{text}\""));
        if let Some(number) = text.strip_prefix("max=") {
            let number = conf::value::number::parse(number).filter(|number| *number > 0);
            max = Some(usize::try_from(number.ok_or_else(invalid)?).unwrap_or(usize::MAX));
        } else if let Some(time) = text.strip_prefix("inactive=") {
            inactive = conf::value::time::parse_sec(time).ok_or_else(invalid)?;
        } else if text == "off" {
            off = true;
        } else {
            return Err(invalid());
        }
    }
    match max {
        _ if off => Ok(None),
        Some(max) => Ok(Some(Rc::new(FileCache::new(max, inactive)))),
        None => Err(node.error("\"open_file_cache\" must have the \"max\" parameter")),
    }
}
