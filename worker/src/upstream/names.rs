//! Sets of field names, asked once per field of every message.

use http1::Known;

/// A set of field names without regard to case: one bit per known name, a short list of others.
#[derive(Debug, Clone, Default)]
pub struct NameSet {
    known: u128,
    others: Vec<Box<[u8]>>,
    /// Bit `n`: one of `others` has `n` bytes (63: or more).
    lengths: u64,
}

impl NameSet {
    /// A set of `names`.
    pub fn new<'n>(names: impl IntoIterator<Item = &'n [u8]>) -> Self {
        let mut set = Self::default();
        names.into_iter().for_each(|name| set.insert(name));
        set
    }

    /// Adds a name.
    pub fn insert(&mut self, name: &[u8]) {
        match Known::from_name(name) {
            Some(known) => self.known |= 1 << known as u32,
            None if self.contains(None, name) => {}
            None => {
                self.lengths |= length_bit(name);
                self.others.push(name.into());
            }
        }
    }

    /// Removes a name.
    pub fn remove(&mut self, name: &[u8]) {
        match Known::from_name(name) {
            Some(known) => self.known &= !(1 << known as u32),
            None => self.others.retain(|other| !other.eq_ignore_ascii_case(name)),
        }
    }

    /// Whether the field is in the set; `known` is its number as [`http1::Headers::entries`] gives it.
    #[inline]
    pub fn contains(&self, known: Option<Known>, name: &[u8]) -> bool {
        match known {
            Some(known) => self.known & (1 << known as u32) != 0,
            None => {
                self.lengths & length_bit(name) != 0
                    && self.others.iter().any(|other| other.eq_ignore_ascii_case(name))
            }
        }
    }
}

fn length_bit(name: &[u8]) -> u64 {
    1 << name.len().min(63)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_any_case() {
        let mut set = NameSet::new([&b"Host"[..], b"X-Pad", b"x-pad"]);
        let has =
            |set: &NameSet, name: &str| set.contains(Known::from_name(name.as_bytes()), name.as_bytes());
        assert!(has(&set, "host") && has(&set, "X-PAD") && !has(&set, "X-Par") && !has(&set, "Date"));
        set.remove(b"X-Pad");
        set.remove(b"HOST");
        assert!(!has(&set, "host") && !has(&set, "x-pad"));
    }
}
