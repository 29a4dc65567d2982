//! Which `server` a host name belongs to: exact names, then `*.suffix` (longest first), then `prefix.*`, then patterns.

use std::rc::Rc;

use rustc_hash::FxHashMap;

use crate::config::Server;
use crate::regex::{Captures, Regex};

/// One name of a `server_name` directive.
#[derive(Debug, Clone)]
pub enum ServerName {
    /// `www.example.com`, in lower case; also the empty name.
    Exact(Box<[u8]>),
    /// `*.example.com`: the part from the dot on. With `true` the bare domain matches too (`.example.com`).
    Suffix(Box<[u8]>, bool),
    /// `www.example.*`: the part up to the last dot.
    Prefix(Box<[u8]>),
    /// `~^pattern$`.
    Regex(Regex),
}

impl ServerName {
    /// Reads one name; patterns keep their case, everything else is lowered. The error is nginx's text.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(pattern) = text.strip_prefix('~') {
            if pattern.is_empty() {
                return Err(format!("empty regex in server name \"{text}\""));
            }
            let caseless = pattern.bytes().any(|b| b.is_ascii_uppercase());
            return Ok(ServerName::Regex(Regex::new(pattern, caseless)?));
        }
        if text.starts_with('/') || (text.len() > 1 && text.contains("..")) {
            return Err(format!("invalid server name or wildcard \"{text}\""));
        }
        let lower = text.to_ascii_lowercase();
        let invalid = || format!("invalid server name or wildcard \"{text}\"");
        if let Some(rest) = lower.strip_prefix("*.") {
            return if rest.is_empty() || rest.contains('*') {
                Err(invalid())
            } else {
                Ok(ServerName::Suffix(format!(".{rest}").into_bytes().into(), false))
            };
        }
        if let Some(rest) = lower.strip_prefix('.') {
            return if rest.is_empty() || rest.contains('*') {
                Err(invalid())
            } else {
                Ok(ServerName::Suffix(lower.into_bytes().into(), true))
            };
        }
        if let Some(rest) = lower.strip_suffix(".*") {
            return if rest.is_empty() || rest.contains('*') {
                Err(invalid())
            } else {
                Ok(ServerName::Prefix(format!("{rest}.").into_bytes().into()))
            };
        }
        if lower.contains('*') {
            return Err(invalid());
        }
        Ok(ServerName::Exact(lower.into_bytes().into()))
    }
}

/// The servers of one listening address by name.
#[derive(Default)]
pub struct NameTable {
    exact: FxHashMap<Box<[u8]>, Rc<Server>>,
    suffix: FxHashMap<Box<[u8]>, Rc<Server>>,
    prefix: FxHashMap<Box<[u8]>, Rc<Server>>,
    patterns: Vec<(Regex, Rc<Server>)>,
}

impl NameTable {
    /// Files `server` under `name`. `Err` holds nginx's warning for a name taken already; the first one keeps it.
    pub fn add(&mut self, name: &ServerName, server: &Rc<Server>, address: &str) -> Result<(), String> {
        let conflict = |name: &[u8]| {
            Err(format!(
                "conflicting server name \"{}\" on {address}, ignored",
                String::from_utf8_lossy(name)
            ))
        };
        match name {
            ServerName::Exact(name) => insert(&mut self.exact, name, server).or_else(|()| conflict(name)),
            ServerName::Suffix(name, bare) => {
                if *bare && insert(&mut self.exact, &name[1..], server).is_err() {
                    return conflict(name);
                }
                insert(&mut self.suffix, name, server).or_else(|()| conflict(name))
            }
            ServerName::Prefix(name) => insert(&mut self.prefix, name, server).or_else(|()| conflict(name)),
            ServerName::Regex(regex) => {
                self.patterns.push((regex.clone(), Rc::clone(server)));
                Ok(())
            }
        }
    }

    /// Whether every host leads to the default server anyway.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.suffix.is_empty() && self.prefix.is_empty() && self.patterns.is_empty()
    }

    /// The server of `host` (lower case, no port); for a pattern also the pattern, whose groups are in `captures`.
    pub fn find(&self, host: &[u8], captures: &mut Captures) -> Option<(&Rc<Server>, Option<&Regex>)> {
        if let Some(server) = self.exact.get(host) {
            return Some((server, None));
        }
        if !self.suffix.is_empty() {
            // dots from left to right: the longest suffix first
            let dots = memchr::memchr_iter(b'.', host).filter(|dot| *dot > 0);
            if let Some(server) = dots.into_iter().find_map(|dot| self.suffix.get(&host[dot..])) {
                return Some((server, None));
            }
        }
        if !self.prefix.is_empty() {
            let dots = memchr::memrchr_iter(b'.', host);
            if let Some(server) = dots.into_iter().find_map(|dot| self.prefix.get(&host[..=dot])) {
                return Some((server, None));
            }
        }
        let mut matching = self.patterns.iter().filter(|_| !host.is_empty());
        let (regex, server) = matching.find(|(regex, _)| regex.captures(host, captures).unwrap_or(false))?;
        Some((server, Some(regex)))
    }
}

fn insert(map: &mut FxHashMap<Box<[u8]>, Rc<Server>>, name: &[u8], server: &Rc<Server>) -> Result<(), ()> {
    match map.entry(name.into()) {
        std::collections::hash_map::Entry::Occupied(_) => Err(()),
        std::collections::hash_map::Entry::Vacant(entry) => {
            entry.insert(Rc::clone(server));
            Ok(())
        }
    }
}
