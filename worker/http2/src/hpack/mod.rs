//! HPACK (RFC 7541): field lines to octets and back.
//!
//! The decoder's work and memory are bounded by the size of the block: what a field refers to is not copied once the list
//! has reached its limit, and the dynamic table never exceeds the size we announced.

mod decoder;
mod encoder;
mod fields;
mod huffman;
mod huffman_table;
mod integer;
mod static_table;
mod table;

use std::fmt;

pub use decoder::Decoder;
pub use encoder::Encoder;
pub use fields::Fields;

/// The size of the dynamic table both sides begin with, bytes.
pub const TABLE_SIZE_DEFAULT: usize = 4096;

/// Why a block cannot be decoded. All of them are connection errors of type COMPRESSION_ERROR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// The block ends inside a field.
    Truncated,
    /// An integer larger than any we accept.
    Integer,
    /// An index that leads nowhere.
    Index,
    /// Bad Huffman code or padding.
    Huffman,
    /// A table size update that is too large, or behind a field, or missing where one is due.
    TableSize,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::Truncated => "header block is truncated",
            Error::Integer => "too large integer in header block",
            Error::Index => "invalid hpack table index",
            Error::Huffman => "invalid encoded header field",
            Error::TableSize => "invalid hpack table size update",
        })
    }
}

impl std::error::Error for Error {}
