//! What a request has to do with a cache, while it is being served.

use std::rc::Rc;

use shm::cache::Key;

use super::file::Entry;
use super::lookup::Behind;
use super::{Cache, Freshness};

/// `$upstream_cache_status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// There was nothing.
    Miss,
    /// The cache was not to be asked.
    Bypass,
    /// What there was had grown old.
    Expired,
    /// What had grown old was served, because there was nothing better.
    Stale,
    /// The same, while somebody fetches a new one.
    Updating,
    /// The server said that what had grown old is still good.
    Revalidated,
    /// It was served.
    Hit,
}

impl Status {
    /// As nginx prints it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Miss => "MISS",
            Self::Bypass => "BYPASS",
            Self::Expired => "EXPIRED",
            Self::Stale => "STALE",
            Self::Updating => "UPDATING",
            Self::Revalidated => "REVALIDATED",
            Self::Hit => "HIT",
        }
    }
}

/// The cache as one request uses it.
pub(crate) struct Use {
    pub(super) cache: Rc<Cache>,
    /// The key's text.
    pub(super) text: Vec<u8>,
    /// The key without regard to variants.
    pub(super) main: Key,
    /// The key of the file: the main one, or that of a variant (`Vary`).
    pub(super) key: Key,
    /// Whether the response may be stored.
    pub(crate) cacheable: bool,
    /// The response comes from the cache.
    pub(crate) serving: bool,
    /// What is fetched anew while the old entry is served.
    pub(super) behind: Option<Rc<Behind>>,
    /// Held while this request fetches what others may wait for.
    pub(super) fetching: Option<Fetching>,
    /// What has grown old.
    pub(super) old: Option<Entry>,
    /// `proxy_cache_revalidate`.
    pub(crate) revalidate: bool,
    /// What has grown old may be served on errors: `stale-if-error`.
    pub(super) stale_error: bool,
    /// What the last head of the server says of its lifetime.
    pub(super) fresh: Freshness,
}

impl std::fmt::Debug for Use {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Use").field("text", &self.text.escape_ascii().to_string()).finish_non_exhaustive()
    }
}

impl Use {
    /// Nothing will be stored under the key, or somebody else sees to it: others need not wait.
    pub(crate) fn give_up(&mut self) {
        self.fetching = None;
    }

    /// The time of the last change of what is asked to be revalidated.
    pub(crate) fn last_modified(&self) -> Option<i64> {
        self.old.as_ref().and_then(|old| old.head.last_modified)
    }

    /// The same by entity tag.
    pub(crate) fn etag(&self) -> Option<&[u8]> {
        self.old.as_ref().map(|old| &*old.head.etag).filter(|etag| !etag.is_empty())
    }
}

/// Says in the index that a key is being fetched; dropped, that it is not any more.
pub(super) struct Fetching {
    cache: Rc<Cache>,
    key: Key,
    token: u64,
}

impl Fetching {
    /// Begins; `None`: somebody else does.
    pub(super) fn begin(
        cache: &Rc<Cache>,
        key: &Key,
        for_ms: u64,
    ) -> Result<Option<Self>, crate::fault::Fault> {
        let token = rand::random::<u64>().max(1);
        let now = net::now().0;
        let mine = cache.with(|index| index.begin(key, token, now, now.saturating_add(for_ms)))?;
        Ok(mine.then(|| Self { cache: Rc::clone(cache), key: *key, token }))
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        // what cannot be said any more ends by its time limit
        let _ = self.cache.with(|index| index.end(&self.key, self.token));
    }
}
