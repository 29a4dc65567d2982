//! nginx configuration: text to tree to typed values.
//!
//! The way of a configuration through this crate, top to bottom:
//!
//! 1. [`source`] reads files (from disk, or from a recording of an earlier read) and records what it read;
//! 2. [`lex`] cuts bytes into words exactly where nginx cuts them; [`lua_lex`] finds the end of inline Lua;
//! 3. [`mod@parse`] builds the tree of [`Node`]s and expands `include` in place, with [`glob`] for patterns;
//! 4. [`directive`] holds the tables that say which directive may stand where, with how many arguments, and
//!    walks the tree calling each directive's `apply`;
//! 5. `apply` functions read arguments with the methods of [`Node`] ([`argument`], [`value`]) and keep them in
//!    [`Setting`]s, which know "is duplicate" and inheritance;
//! 6. [`known`] names every directive of nginx and OpenResty, so that a directive this server lacks is reported
//!    as "not supported yet" and never as "unknown"; [`docs`] prints the tables as a reference.
//!
//! Error texts are nginx's own, including the ` in FILE:LINE` tail; see [`error`].
//!
//! The crate knows no sockets, no clock and no HTTP. Its only input besides bytes is the file system, behind
//! [`source::Files`], and the resolver of host names, behind [`value::addr::Hosts`].

#![forbid(unsafe_code)]

pub mod argument;
pub mod ast;
pub mod directive;
pub mod docs;
pub mod error;
pub mod glob;
pub mod known;
pub mod lex;
pub mod lua_lex;
pub mod parse;
pub mod print;
pub mod setting;
pub mod source;
pub mod value;

pub use argument::Entry;
pub use ast::{Block, Node, Span, Word};
pub use directive::{Arity, Contexts, Cursor, Directive, Lookup, Registry, Shape, apply};
pub use error::{Error, Errors, Kind, Result};
pub use parse::{Options, parse};
pub use setting::Setting;
pub use source::{DiskFiles, Files, Sources};
