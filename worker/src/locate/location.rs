//! The locations of one level: exact ones and prefixes in order of their names, patterns in order of the text.

use std::rc::Rc;

use rustc_hash::FxHashMap;

use crate::build::{LevelKind, LocationKind};
use crate::config::Location;
use crate::regex::Regex;

/// Locations nested in one server or location.
#[derive(Default)]
pub struct LocationTree {
    exact: FxHashMap<Box<[u8]>, Rc<Location>>,
    /// Sorted by name.
    prefixes: Vec<Rc<Location>>,
    /// For each prefix, the index of the longest other prefix that it begins with.
    shorter: Vec<Option<usize>>,
    patterns: Vec<(Regex, Rc<Location>)>,
    named: FxHashMap<Box<[u8]>, Rc<Location>>,
}

/// The result of looking at exact names and prefixes.
pub enum Matched {
    /// `location = /uri`.
    Exact(Rc<Location>),
    /// The longest prefix.
    Prefix(Rc<Location>),
    /// The URI is the name of a proxying prefix location without its final slash.
    AddSlash(Rc<Location>),
    /// None.
    None,
}

impl LocationTree {
    /// Files a location; the error is nginx's `duplicate location "x"`.
    pub(crate) fn add(&mut self, location: Rc<Location>) -> conf::Result<()> {
        let LevelKind::Location(spec) = &location.kind else { unreachable!("only locations are filed here") };
        let name = spec.name.clone();
        let duplicate = match &spec.kind {
            LocationKind::Exact => self.exact.insert(name.clone(), location).is_some(),
            LocationKind::Prefix | LocationKind::PrefixNoRegex => {
                let seen = self.prefixes.iter().any(|other| other.name() == &*name);
                self.prefixes.push(location);
                seen
            }
            LocationKind::Regex(regex) => {
                self.patterns.push((regex.clone(), Rc::clone(&location)));
                false
            }
            LocationKind::Named => self.named.insert(name.clone(), location).is_some(),
        };
        if duplicate {
            return Err(conf::Error::new(format!(
                "duplicate location \"{}\"",
                String::from_utf8_lossy(&name)
            )));
        }
        Ok(())
    }

    /// Orders the prefixes for binary search.
    pub(crate) fn seal(&mut self) {
        self.prefixes.sort_by(|a, b| a.name().cmp(b.name()));
        let mut open: Vec<usize> = Vec::new();
        self.shorter = vec![None; self.prefixes.len()];
        for index in 0..self.prefixes.len() {
            while open
                .last()
                .is_some_and(|top| !self.prefixes[index].name().starts_with(self.prefixes[*top].name()))
            {
                open.pop();
            }
            self.shorter[index] = open.last().copied();
            open.push(index);
        }
    }

    /// Whether there is nothing but named locations here.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.prefixes.is_empty() && self.patterns.is_empty()
    }

    /// Exact match or longest prefix.
    pub fn find_static(&self, uri: &[u8]) -> Matched {
        if let Some(location) = self.exact.get(uri) {
            return Matched::Exact(Rc::clone(location));
        }
        let after = self.prefixes.partition_point(|location| location.name() <= uri);
        let mut candidate = after.checked_sub(1);
        while let Some(index) = candidate {
            if uri.starts_with(self.prefixes[index].name()) {
                // `/dir` asked for where `/dir/` proxies: only if `/dir` itself is no better match
                if let Some(location) = self.slash_of(uri, after) {
                    return Matched::AddSlash(location);
                }
                return Matched::Prefix(Rc::clone(&self.prefixes[index]));
            }
            candidate = self.shorter[index];
        }
        self.slash_of(uri, after).map_or(Matched::None, Matched::AddSlash)
    }

    fn slash_of(&self, uri: &[u8], after: usize) -> Option<Rc<Location>> {
        let auto = |location: &Location| {
            location.name().len() == uri.len() + 1
                && location.name().ends_with(b"/")
                && location.name().starts_with(uri)
                && location.auto_redirect()
        };
        let exact_prefix = after.checked_sub(1).is_some_and(|index| self.prefixes[index].name() == uri);
        if exact_prefix {
            return None;
        }
        let mut name = Vec::with_capacity(uri.len() + 1);
        name.extend_from_slice(uri);
        name.push(b'/');
        if let Some(location) = self.exact.get(&name[..]).filter(|location| auto(location)) {
            return Some(Rc::clone(location));
        }
        let index = self.prefixes.binary_search_by(|location| location.name().cmp(&name)).ok()?;
        auto(&self.prefixes[index]).then(|| Rc::clone(&self.prefixes[index]))
    }

    /// Patterns in the order of the text.
    pub fn patterns(&self) -> impl Iterator<Item = (&Regex, &Rc<Location>)> {
        self.patterns.iter().map(|(regex, location)| (regex, location))
    }

    /// The location called `@name`; `name` includes the `@`.
    pub fn named(&self, name: &[u8]) -> Option<&Rc<Location>> {
        self.named.get(name)
    }
}

impl Location {
    /// `^~`: a pattern may not take precedence.
    pub(crate) fn is_noregex(&self) -> bool {
        matches!(self.location_kind(), Some(LocationKind::PrefixNoRegex))
    }
}
