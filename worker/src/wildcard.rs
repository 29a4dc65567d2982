//! Values by host name: exact names, then `*.suffix` (longest first), then `prefix.*`.
//!
//! What `map` with `hostnames` and `valid_referers` look values up in.

use std::collections::HashMap;

/// Values by name.
#[derive(Debug)]
pub struct WildcardMap<V> {
    exact: HashMap<Box<[u8]>, V>,
    /// By suffix with its dot; the value of `.example.com` stands under `exact` too.
    suffix: HashMap<Box<[u8]>, V>,
    /// By prefix with its dot.
    prefix: HashMap<Box<[u8]>, V>,
}

/// Why a key was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// It is neither a name nor one of the three kinds of wildcard.
    Invalid,
    /// It is there already.
    Conflict,
}

impl KeyError {
    /// nginx's message for `key`.
    pub fn message(self, key: &[u8]) -> String {
        let key = String::from_utf8_lossy(key);
        match self {
            KeyError::Invalid => format!("invalid hostname or wildcard \"{key}\""),
            KeyError::Conflict => format!("conflicting parameter \"{key}\""),
        }
    }
}

impl<V> Default for WildcardMap<V> {
    fn default() -> Self {
        Self { exact: HashMap::new(), suffix: HashMap::new(), prefix: HashMap::new() }
    }
}

impl<V: Clone> WildcardMap<V> {
    /// Files `value` under exactly `key`, in any case.
    pub fn add_exact(&mut self, key: &[u8], value: V) -> Result<(), KeyError> {
        insert(&mut self.exact, &key.to_ascii_lowercase(), value)
    }

    /// Files `value` under a name, `*.example.com`, `.example.com` or `www.example.*`.
    pub fn add(&mut self, key: &[u8], value: V) -> Result<(), KeyError> {
        let key = key.to_ascii_lowercase();
        let stars = key.iter().filter(|byte| **byte == b'*').count();
        if stars > 1 || key.windows(2).any(|pair| pair == b"..") || key.contains(&0) {
            return Err(KeyError::Invalid);
        }
        if key.len() > 1 && key[0] == b'.' {
            insert(&mut self.exact, &key[1..], value.clone())?;
            return insert(&mut self.suffix, &key, value);
        }
        if key.len() > 2 && key.starts_with(b"*.") {
            return insert(&mut self.suffix, &key[1..], value);
        }
        if key.len() > 2 && key.ends_with(b".*") {
            return insert(&mut self.prefix, &key[..key.len() - 1], value);
        }
        if stars > 0 {
            return Err(KeyError::Invalid);
        }
        insert(&mut self.exact, &key, value)
    }

    /// The value of `name`, which must be in lower case.
    pub fn find(&self, name: &[u8]) -> Option<&V> {
        if let Some(value) = self.exact.get(name) {
            return Some(value);
        }
        let in_suffixes = || {
            let mut dots = memchr::memchr_iter(b'.', name).filter(|dot| *dot > 0);
            dots.find_map(|dot| self.suffix.get(&name[dot..]))
        };
        let in_prefixes = || {
            let mut dots = memchr::memrchr_iter(b'.', name);
            dots.find_map(|dot| self.prefix.get(&name[..=dot]))
        };
        let suffix = if self.suffix.is_empty() { None } else { in_suffixes() };
        suffix.or_else(|| if self.prefix.is_empty() { None } else { in_prefixes() })
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.suffix.is_empty() && self.prefix.is_empty()
    }
}

fn insert<V>(map: &mut HashMap<Box<[u8]>, V>, key: &[u8], value: V) -> Result<(), KeyError> {
    if map.contains_key(key) {
        return Err(KeyError::Conflict);
    }
    map.insert(key.into(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_before_suffix_before_prefix() {
        let mut map = WildcardMap::default();
        for (key, value) in [
            ("Example.com", 1),
            ("*.example.com", 2),
            ("example.*", 3),
            (".dot.example.com", 4),
            ("a.b.*", 5),
        ] {
            map.add(key.as_bytes(), value).unwrap();
        }
        for (name, expected) in [
            ("example.com", Some(1)),
            ("www.example.com", Some(2)),
            ("x.www.example.com", Some(2)),
            ("example.org", Some(3)),
            ("example.co.uk", Some(3)),
            ("dot.example.com", Some(4)),
            ("www.dot.example.com", Some(4)),
            ("a.b.c", Some(5)),
            (".example.com", None),
            ("example", None),
            ("", None),
        ] {
            assert_eq!(map.find(name.as_bytes()), expected.as_ref(), "{name}");
        }
    }

    #[test]
    fn refused_keys() {
        let mut map = WildcardMap::default();
        map.add(b"a.example.com", ()).unwrap();
        for (key, expected) in [
            ("*.*", KeyError::Invalid),
            ("a..b", KeyError::Invalid),
            ("www.*.com", KeyError::Invalid),
            ("*", KeyError::Invalid),
            ("A.example.COM", KeyError::Conflict),
            (".a.example.com", KeyError::Conflict),
        ] {
            assert_eq!(map.add(key.as_bytes(), ()), Err(expected), "{key}");
        }
        assert_eq!(map.add_exact(b"*.*", ()), Ok(()));
    }
}
