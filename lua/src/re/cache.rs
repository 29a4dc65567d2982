//! Compiled patterns that are kept: those of calls with the option `o`.

use std::collections::HashMap;
use std::rc::Rc;

use super::Options;
use crate::ffi::pcre::Code;

/// Patterns by their letters and text. When it is full the one unused longest gives way.
#[derive(Default)]
pub struct Cache {
    codes: HashMap<Box<[u8]>, Kept>,
    /// Where a key is put together.
    key: Vec<u8>,
    uses: u64,
}

struct Kept {
    code: Rc<Code>,
    options: Options,
    last_use: u64,
}

impl Cache {
    /// The pattern compiled with `letters`, if it is kept.
    pub fn get(&mut self, pattern: &[u8], letters: &[u8]) -> Option<(Rc<Code>, Options)> {
        self.spell(pattern, letters);
        let kept = self.codes.get_mut(&*self.key)?;
        self.uses += 1;
        kept.last_use = self.uses;
        Some((Rc::clone(&kept.code), kept.options))
    }

    /// Keeps a pattern; at most `max` of them.
    pub fn put(&mut self, pattern: &[u8], letters: &[u8], code: &Rc<Code>, options: Options, max: usize) {
        if max == 0 {
            return;
        }
        while self.codes.len() >= max {
            let oldest = self.codes.iter().min_by_key(|(_, kept)| kept.last_use);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else { break };
            self.codes.remove(&oldest);
        }
        self.spell(pattern, letters);
        self.uses += 1;
        let kept = Kept { code: Rc::clone(code), options, last_use: self.uses };
        self.codes.insert(self.key.as_slice().into(), kept);
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.codes.is_empty()
    }

    fn spell(&mut self, pattern: &[u8], letters: &[u8]) {
        self.key.clear();
        // letters have no zero
        self.key.extend_from_slice(letters);
        self.key.push(0);
        self.key.extend_from_slice(pattern);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_unused_longest_gives_way() {
        let mut cache = Cache::default();
        let code = Rc::new(Code::compile(b"x", 0, false).unwrap());
        let options = Options::default();
        for pattern in [b"a", b"b"] {
            cache.put(pattern, b"jo", &code, options, 2);
        }
        assert!(cache.get(b"a", b"jo").is_some() && cache.get(b"a", b"o").is_none());
        cache.put(b"c", b"jo", &code, options, 2);
        assert!(cache.get(b"b", b"jo").is_none());
        assert!(cache.get(b"a", b"jo").is_some() && cache.get(b"c", b"jo").is_some());
        cache.put(b"d", b"jo", &code, options, 0);
        assert!(cache.get(b"d", b"jo").is_none());
    }
}
