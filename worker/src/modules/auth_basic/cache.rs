//! Passwords that were right, remembered by a keyed digest: neither password nor hash is kept, and another hash in the
//! file is another key.

use std::cell::RefCell;
use std::collections::{HashSet, VecDeque};

use sha2::{Digest as _, Sha256};

/// Digests remembered; the oldest goes first.
const ENTRIES_MAX: usize = 1024;

/// A password together with the hash it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

struct Cache {
    /// Of this process only: digests mean nothing elsewhere.
    secret: [u8; 32],
    known: HashSet<Key>,
    order: VecDeque<Key>,
}

thread_local! {
    static CACHE: RefCell<Cache> = RefCell::new(Cache {
        secret: rand::random(),
        known: HashSet::new(),
        order: VecDeque::new(),
    });
}

impl Key {
    /// The key of a pair.
    pub fn new(stored: &[u8], password: &[u8]) -> Self {
        CACHE.with_borrow(|cache| {
            let mut digest = Sha256::new();
            digest.update(cache.secret);
            digest.update((stored.len() as u64).to_le_bytes());
            digest.update(stored);
            digest.update(password);
            Self(digest.finalize().into())
        })
    }
}

/// Whether the pair was right before.
pub fn knows(key: &Key) -> bool {
    CACHE.with_borrow(|cache| cache.known.contains(key))
}

/// Remembers that the pair is right.
pub fn remember(key: Key) {
    CACHE.with_borrow_mut(|cache| {
        if !cache.known.insert(key) {
            return;
        }
        cache.order.push_back(key);
        if cache.order.len() > ENTRIES_MAX
            && let Some(oldest) = cache.order.pop_front()
        {
            cache.known.remove(&oldest);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_hash_or_password_is_another_key() {
        remember(Key::new(b"ab", b"c"));
        assert!(knows(&Key::new(b"ab", b"c")));
        assert!(!knows(&Key::new(b"a", b"bc")));
        assert!(!knows(&Key::new(b"ab", b"d")));
        for n in 0..ENTRIES_MAX {
            remember(Key::new(b"x", &n.to_le_bytes()));
        }
        assert!(!knows(&Key::new(b"ab", b"c")), "forgotten");
    }
}
