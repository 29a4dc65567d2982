//! Lists of byte pieces that are sent together.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::Buf;

/// An ordered list of non-empty [`Bytes`], for example a head and the parts of a body.
#[derive(Debug, Default, Clone)]
pub struct Chain {
    parts: VecDeque<Bytes>,
    length: usize,
}

impl Chain {
    /// An empty chain; allocates nothing.
    pub const fn new() -> Self {
        Self { parts: VecDeque::new(), length: 0 }
    }

    /// Total number of bytes.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is no byte in it.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Number of pieces.
    pub fn parts(&self) -> usize {
        self.parts.len()
    }

    /// Appends a piece; empty ones are ignored.
    pub fn push(&mut self, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        if !bytes.is_empty() {
            self.length += bytes.len();
            self.parts.push_back(bytes);
        }
    }

    /// Puts a piece before all others; empty ones are ignored.
    pub fn push_front(&mut self, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        if !bytes.is_empty() {
            self.length += bytes.len();
            self.parts.push_front(bytes);
        }
    }

    /// Takes the first piece.
    pub fn pop(&mut self) -> Option<Bytes> {
        let bytes = self.parts.pop_front()?;
        self.length -= bytes.len();
        Some(bytes)
    }

    /// Moves all pieces of `other` to the end.
    pub fn append(&mut self, other: &mut Chain) {
        self.length += std::mem::take(&mut other.length);
        self.parts.append(&mut other.parts);
    }

    /// Drops `count` bytes at the front. Panics when there are fewer.
    pub fn consume(&mut self, mut count: usize) {
        assert!(count <= self.length, "{count} bytes consumed of {}", self.length);
        self.length -= count;
        while count > 0 {
            let first = self.parts.front_mut().expect("the length counts the pieces' bytes");
            if first.len() > count {
                bytes::Buf::advance(first, count);
                return;
            }
            count -= first.len();
            self.parts.pop_front();
        }
    }

    /// The pieces in order.
    pub fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.parts.iter()
    }

    /// All bytes in one buffer (a copy).
    pub fn to_buf(&self) -> Buf {
        let mut buf = Buf::with_capacity(self.length);
        for part in &self.parts {
            buf.extend_from_slice(part);
        }
        buf
    }
}

impl From<Bytes> for Chain {
    fn from(bytes: Bytes) -> Self {
        let mut chain = Self::new();
        chain.push(bytes);
        chain
    }
}

impl From<Vec<Bytes>> for Chain {
    fn from(parts: Vec<Bytes>) -> Self {
        let mut parts = VecDeque::from(parts);
        parts.retain(|part| !part.is_empty());
        let length = parts.iter().map(Bytes::len).sum();
        Self { parts, length }
    }
}

impl From<Buf> for Bytes {
    fn from(buf: Buf) -> Self {
        buf.freeze()
    }
}

impl Extend<Bytes> for Chain {
    fn extend<I: IntoIterator<Item = Bytes>>(&mut self, parts: I) {
        parts.into_iter().for_each(|part| self.push(part));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consume_crosses_pieces() {
        let mut chain =
            Chain::from(vec![Bytes::from_static(b"abc"), Bytes::new(), Bytes::from_static(b"defg")]);
        chain.push_front(&b"<"[..]);
        chain.push(Buf::copy_of(b">"));
        assert_eq!((chain.len(), chain.parts()), (9, 4));
        chain.consume(5);
        assert_eq!(&chain.to_buf()[..], b"efg>");
        assert_eq!(chain.pop().as_deref(), Some(&b"efg"[..]));
        chain.consume(1);
        assert!(chain.is_empty() && chain.pop().is_none());
    }
}
