//! What `proxy_cache*` directives say for one location.

use std::rc::Rc;

use super::Cache;
use crate::predicates::Predicates;
use crate::script::Template;
use crate::upstream::Conditions;

/// See the module's documentation.
pub struct Plan {
    /// `proxy_cache`.
    pub which: Which,
    /// `proxy_cache_key`; `None`: the address and URI requests are passed to.
    pub key: Option<Rc<Template>>,
    /// `proxy_cache_methods` has POST.
    pub post: bool,
    /// `proxy_cache_bypass`.
    pub bypass: Predicates,
    /// `proxy_no_cache`.
    pub no_cache: Predicates,
    /// `proxy_cache_valid`.
    pub valid: Rc<[Valid]>,
    /// `proxy_cache_min_uses`.
    pub min_uses: u64,
    /// `proxy_cache_max_range_offset` in bytes; `None`: no limit.
    pub range_offset_max: Option<u64>,
    /// `proxy_cache_use_stale`.
    pub use_stale: Conditions,
    /// `proxy_cache_lock`.
    pub lock: bool,
    /// `proxy_cache_lock_timeout` in ms.
    pub lock_timeout: u64,
    /// `proxy_cache_lock_age` in ms.
    pub lock_age: u64,
    /// `proxy_cache_revalidate`.
    pub revalidate: bool,
    /// `proxy_cache_convert_head`.
    pub convert_head: bool,
    /// `proxy_cache_background_update`.
    pub background_update: bool,
}

/// Which cache.
pub enum Which {
    /// This one.
    Fixed(Rc<Cache>),
    /// The one of this name among all of them; empty or `off`: none.
    Named(Rc<Template>, Rc<[Rc<Cache>]>),
}

/// One `proxy_cache_valid`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Valid {
    /// The status; 0: any.
    pub status: u16,
    /// How long such responses are fresh, seconds.
    pub seconds: u64,
}

impl Plan {
    /// How long responses of this status are fresh that say nothing about it themselves, seconds; 0: not at all.
    pub(super) fn valid_for(&self, status: u16) -> u64 {
        let found = self.valid.iter().find(|valid| valid.status == status || valid.status == 0);
        found.map_or(0, |valid| valid.seconds)
    }
}
