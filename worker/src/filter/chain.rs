//! A piece of a response body on its way through the filters.

use std::rc::Rc;

use bytes::Bytes;
use smallvec::SmallVec;

/// A part of an open file.
#[derive(Clone)]
pub struct FilePart {
    /// The file.
    pub file: Rc<net::File>,
    /// Where the part begins.
    pub offset: u64,
    /// Its length.
    pub len: u64,
}

/// One chunk of a body.
#[derive(Clone)]
pub enum Chunk {
    /// Bytes in memory.
    Memory(Bytes),
    /// Bytes in a file, read when they are sent or when a filter needs to see them.
    File(FilePart),
}

impl Chunk {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Chunk::Memory(bytes) => bytes.len() as u64,
            Chunk::File(part) => part.len,
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Consecutive chunks, and what comes with them.
#[derive(Clone, Default)]
pub struct Chain {
    /// The chunks in order.
    pub chunks: SmallVec<[Chunk; 2]>,
    /// Nothing comes after this.
    pub last: bool,
    /// Send what is held back.
    pub flush: bool,
}

impl Chain {
    /// A piece with more to come.
    pub fn more(bytes: impl Into<Bytes>) -> Self {
        let mut chain = Self::default();
        chain.push(bytes.into());
        chain
    }

    /// The whole or last piece.
    pub fn last(bytes: impl Into<Bytes>) -> Self {
        Self { last: true, ..Self::more(bytes) }
    }

    /// The end without any bytes.
    pub fn end() -> Self {
        Self { last: true, ..Self::default() }
    }

    /// A request to send what is held back.
    pub fn flush() -> Self {
        Self { flush: true, ..Self::default() }
    }

    /// A part of a file as the whole or last piece.
    pub fn file(part: FilePart) -> Self {
        let mut chain = Self { last: true, ..Self::default() };
        if part.len > 0 {
            chain.chunks.push(Chunk::File(part));
        }
        chain
    }

    /// Appends bytes; empty ones leave no chunk.
    pub fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.chunks.push(Chunk::Memory(bytes));
        }
    }

    /// Length of all chunks in bytes.
    pub fn len(&self) -> u64 {
        self.chunks.iter().map(Chunk::len).sum()
    }

    /// Whether there are no bytes (there may still be `last` or `flush`).
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Takes the chunks, all of which must be in memory (the engine guarantees it after
    /// [`Interest::Memory`](super::Interest::Memory)).
    pub fn take_memory(&mut self) -> impl Iterator<Item = Bytes> + use<> {
        std::mem::take(&mut self.chunks).into_iter().map(|chunk| match chunk {
            Chunk::Memory(bytes) => bytes,
            Chunk::File(_) => unreachable!("file chunks are loaded before a filter that asked for memory"),
        })
    }
}
