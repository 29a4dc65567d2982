//! Bytes that wait to be sent: small ones copied together, large ones as they are.

use bytes::Bytes;

/// Pieces up to this size are copied.
const COPY_BYTES_MAX: usize = 2048;

/// What is to be sent, in order.
#[derive(Debug, Default)]
pub struct Output {
    parts: Vec<Bytes>,
    parts_len: usize,
    tail: Vec<u8>,
}

impl Output {
    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.parts_len + self.tail.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.tail.is_empty()
    }

    /// Where frames are written.
    pub(crate) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.tail
    }

    /// Appends payload bytes.
    pub(crate) fn push(&mut self, bytes: Bytes) {
        if bytes.len() <= COPY_BYTES_MAX {
            self.tail.extend_from_slice(&bytes);
            return;
        }
        self.seal();
        self.parts_len += bytes.len();
        self.parts.push(bytes);
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.parts_len += self.tail.len();
            self.parts.push(Bytes::from(std::mem::take(&mut self.tail)));
        }
    }

    /// Takes everything.
    pub fn take(&mut self) -> Vec<Bytes> {
        self.seal();
        self.parts_len = 0;
        std::mem::take(&mut self.parts)
    }

    /// Takes everything if it is in one piece that can still be written to.
    pub fn take_single(&mut self) -> Option<Vec<u8>> {
        self.parts.is_empty().then(|| std::mem::take(&mut self.tail))
    }
}
