//! Response filters: what happens to a header and a body between the content handler and the connection.
//!
//! A location's filters are sorted by [`Position`], which is nginx's fixed order. The header passes all of them; each
//! says whether it wants the body too. A response nobody transforms pays nothing per chunk.

mod chain;

use std::rc::Rc;

pub use chain::{Chain, Chunk, FilePart};

use crate::fault::Fault;
use crate::phase::Step;
use crate::request::Request;

/// The place of a filter, in the order in which a response passes (nginx's list read from its end).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Position {
    /// `slice` looks at the upstream's `Content-Range`.
    Slice,
    /// 304 and 412 instead of a body the client has.
    NotModified,
    /// Cuts ranges out of a body whose header passed [`Range`](Self::Range): before other filters see the bytes.
    RangeBody,
    /// Lua and other guests.
    Guest,
    /// `expires`, `add_header`, `add_trailer`.
    Headers,
    /// `userid`.
    UserId,
    /// `gunzip`.
    Gunzip,
    /// `addition`.
    Addition,
    /// `sub_filter`.
    Sub,
    /// `charset`.
    Charset,
    /// Server-side includes.
    Ssi,
    /// `gzip`.
    Gzip,
    /// Ranges.
    Range,
}

/// What a filter wants of the body that follows a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Leave me out.
    None,
    /// Chunks as they are: file chunks stay files.
    Body,
    /// Chunks in memory.
    Memory,
}

/// A response filter.
pub trait Filter {
    /// Looks at and changes the header of `req.out`.
    fn header<'r>(&'r self, req: &'r mut Request) -> Step<'r, Result<Interest, Fault>>;

    /// Transforms a piece of the body in place.
    fn body<'r>(&'r self, _req: &'r mut Request, _chain: &'r mut Chain) -> Step<'r, Result<(), Fault>> {
        Step::Ready(Ok(()))
    }
}

/// The filters of one location in order.
#[derive(Clone, Default)]
pub struct FilterChain(Rc<[(Position, Rc<dyn Filter>)]>);

impl FilterChain {
    pub(crate) fn new(mut filters: Vec<(Position, Rc<dyn Filter>)>) -> Self {
        assert!(filters.len() <= FILTERS_MAX, "a location has at most {FILTERS_MAX} filters");
        filters.sort_by_key(|(position, _)| *position);
        Self(filters.into())
    }

    /// The filters.
    pub fn iter(&self) -> impl Iterator<Item = &Rc<dyn Filter>> {
        self.0.iter().map(|(_, filter)| filter)
    }

    pub(crate) fn get(&self, index: usize) -> &Rc<dyn Filter> {
        &self.0[index].1
    }

    /// Index of the first filter whose place is behind `position`.
    pub(crate) fn first_behind(&self, position: Position) -> u32 {
        let before = self.0.iter().take_while(|(at, _)| *at <= position).count();
        u32::try_from(before).expect("a location has at most FILTERS_MAX filters")
    }
}

/// Interests are kept as bits of a word.
pub(crate) const FILTERS_MAX: usize = 32;
