//! The levels of a configuration: main, http, server, location, and the nameless locations of `if` and `limit_except`.

use conf::{Contexts, Span};

use super::slot::LevelConfs;
use crate::regex::Regex;

/// One block of the configuration with what its directives set.
pub struct Level {
    /// What block this is.
    pub kind: LevelKind,
    /// The context its directives are checked against.
    pub context: Contexts,
    /// Where the block begins.
    pub span: Span,
    pub(super) own: LevelConfs,
    /// Blocks inside, in the order of the text.
    pub children: Vec<Level>,
}

/// The kind of a [`Level`].
#[derive(Debug, Clone)]
pub enum LevelKind {
    /// Outside of every block.
    Main,
    /// `http { }`.
    Http,
    /// `server { }` in `http`.
    Server,
    /// `location … { }`.
    Location(LocationSpec),
    /// `if (…) { }` in a server or location.
    If,
    /// `limit_except … { }`.
    LimitExcept,
    /// `upstream name { }`.
    Upstream(Box<str>),
}

/// What a `location` directive says: how it matches and its name.
#[derive(Debug, Clone)]
pub struct LocationSpec {
    /// How `name` is compared with the URI.
    pub kind: LocationKind,
    /// The prefix, exact URI, pattern or `@name`, as written.
    pub name: Box<[u8]>,
}

/// How a location is matched.
#[derive(Debug, Clone)]
pub enum LocationKind {
    /// `location = /uri`.
    Exact,
    /// `location /prefix`.
    Prefix,
    /// `location ^~ /prefix`: the longest prefix wins without looking at patterns.
    PrefixNoRegex,
    /// `location ~ pattern`, `~*` without regard to case.
    Regex(Regex),
    /// `location @name`.
    Named,
}

impl Level {
    /// The struct of `slot` at this level, created unset on first use.
    pub fn conf<T: super::Conf>(&mut self, slot: &super::Slot<T>) -> &mut T {
        self.own.get_mut(slot)
    }
}
