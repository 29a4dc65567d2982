//! A decoded list of field lines.

use std::ops::Range;

/// Names and values in an arena. Used again it does not allocate.
#[derive(Debug, Default, Clone)]
pub struct Fields {
    bytes: Vec<u8>,
    list: Vec<(u32, u32, u32)>,
    /// Size as SETTINGS_MAX_HEADER_LIST_SIZE counts it, including what was left out.
    size: usize,
    overflow: bool,
}

impl Fields {
    /// No fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets the fields and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.list.clear();
        self.size = 0;
        self.overflow = false;
    }

    /// Number of fields.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All fields in order: name, value.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> + Clone {
        self.list.iter().map(|&(at, name, value)| {
            let (at, name, value) = (at as usize, name as usize, value as usize);
            (&self.bytes[at..at + name], &self.bytes[at + name..at + name + value])
        })
    }

    /// The first value of `name`.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// Whether fields were left out because the list became too large.
    pub fn is_overflowed(&self) -> bool {
        self.overflow
    }

    /// Size of the list, each field with 32 bytes of overhead (RFC 9113 section 6.5.2).
    pub fn size(&self) -> usize {
        self.size
    }

    /// Adds a field.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
        self.enlist(at, name.len(), value.len());
    }

    /// Whether a field of so many bytes still fits under `max`; if not, the list is marked.
    pub(super) fn fits(&mut self, len: usize, max: usize) -> bool {
        self.size += len + super::table::ENTRY_OVERHEAD;
        self.overflow |= self.size > max;
        !self.overflow
    }

    /// The arena, for decoding in place.
    pub(super) fn arena(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Bytes of the arena.
    pub(super) fn slice(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }

    /// Makes a field of what was written at the end of the arena.
    pub(super) fn enlist(&mut self, at: usize, name_len: usize, value_len: usize) {
        // blocks are limited to far less than 4 GiB
        self.list.push((at as u32, name_len as u32, value_len as u32));
    }
}
