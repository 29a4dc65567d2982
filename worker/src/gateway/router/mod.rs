//! Finding the route of a request: APISIX's `radixtree_host_uri`.
//!
//! The host is looked up first: exactly, then wildcards from long to short; below each host stands a tree of paths, and
//! routes without a host have one of their own, which is asked last. In a tree the exact path comes before prefixes, long
//! ones before short ones; routes of one path are tried by priority, then by age. A route fits when its methods, client
//! addresses and conditions do; else the search goes on.
//!
//! The cost of a search goes with the length of host and path, that of a change with the route that changes.

mod radix;
mod route;

use std::collections::HashMap;
use std::rc::Rc;

use smallvec::SmallVec;

use self::radix::Radix;
pub(super) use self::route::RouteEntry;

/// Longest host that is looked up: longer ones are none (RFC 1035).
const HOST_BYTES_MAX: usize = 255;

/// Routes of one path, in the order they are tried.
type Candidates = SmallVec<[Rc<RouteEntry>; 1]>;

/// Paths of one host.
type Paths = Radix<Candidates>;

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Router {
    exact: HashMap<Box<[u8]>, Paths>,
    /// By reversed suffix.
    wildcards: Radix<Paths>,
    any: Paths,
}

impl Router {
    /// Files `route` under `hosts`; none: it is for all.
    pub(super) fn insert(&mut self, route: &Rc<RouteEntry>, hosts: &[Box<str>]) {
        let file = |paths: &mut Paths| {
            for path in route.route.paths() {
                let (text, wildcard) = pattern(path);
                let candidates = paths.entry(text, wildcard);
                if candidates.iter().any(|other| other.id == route.id) {
                    continue;
                }
                let at = candidates.partition_point(|other| other.rank() <= route.rank());
                candidates.insert(at, Rc::clone(route));
            }
        };
        if hosts.is_empty() {
            file(&mut self.any);
        }
        for host in hosts {
            match Host::read(host) {
                Host::Exact(host) => file(self.exact.entry(host).or_default()),
                Host::Suffix(reversed) => file(self.wildcards.entry(&reversed, true)),
            }
        }
    }

    /// Removes `route` from where [`Router::insert`] put it.
    pub(super) fn remove(&mut self, route: &RouteEntry, hosts: &[Box<str>]) {
        let clear = |paths: &mut Paths| {
            for path in route.route.paths() {
                let (text, wildcard) = pattern(path);
                paths.edit(text, wildcard, |candidates| {
                    candidates.retain(|other| other.id != route.id);
                    candidates.is_empty()
                });
            }
            paths.is_empty()
        };
        if hosts.is_empty() {
            clear(&mut self.any);
        }
        for host in hosts {
            match Host::read(host) {
                Host::Exact(host) => {
                    if self.exact.get_mut(&host).is_some_and(clear) {
                        self.exact.remove(&host);
                    }
                }
                Host::Suffix(reversed) => self.wildcards.edit(&reversed, true, clear),
            }
        }
    }

    /// The first route for `host` and `path` that `fits`.
    pub(super) fn find(
        &self,
        host: &[u8],
        path: &[u8],
        mut fits: impl FnMut(&RouteEntry) -> bool,
    ) -> Option<Rc<RouteEntry>> {
        let mut search = |paths: &Paths| {
            paths.find(path, |candidates| candidates.iter().find(|route| fits(route)).cloned())
        };
        if !self.exact.is_empty()
            && let Some(found) = self.exact.get(host).and_then(&mut search)
        {
            return Some(found);
        }
        if !self.wildcards.is_empty() && host.len() <= HOST_BYTES_MAX {
            let reversed: SmallVec<[u8; 256]> = host.iter().rev().copied().collect();
            if let Some(found) = self.wildcards.find(&reversed, &mut search) {
                return Some(found);
            }
        }
        search(&self.any)
    }
}

/// A path, and whether it stands for all that begin with it.
fn pattern(path: &str) -> (&[u8], bool) {
    match path.strip_suffix('*') {
        Some(prefix) => (prefix.as_bytes(), true),
        None => (path.as_bytes(), false),
    }
}

enum Host {
    Exact(Box<[u8]>),
    /// Reversed.
    Suffix(Vec<u8>),
}

impl Host {
    fn read(text: &str) -> Self {
        let lower = text.to_ascii_lowercase().into_bytes();
        match lower.strip_prefix(b"*") {
            Some(suffix) => Host::Suffix(suffix.iter().rev().copied().collect()),
            None => Host::Exact(lower.into()),
        }
    }
}

#[cfg(test)]
mod tests;
