//! The directive tables and the walk that applies them.
//!
//! Each module has one static table of [`Directive`]s: name, where it may stand, how many arguments it takes,
//! whether it has a block, its default, a sentence of documentation, and the function that takes it in. A
//! [`Registry`] joins the tables. [`apply`] walks one block, checks every directive in nginx's order and words
//! and calls its function; functions of blocks call [`apply`] again for what is inside, or walk free-form
//! entries themselves ([`Node::entries`]).
//!
//! ```
//! use std::ops::ControlFlow;
//! use conf::{Arity, Contexts, Cursor, Directive, Error, Setting, Shape};
//!
//! #[derive(Default)]
//! struct Builder { root: Setting<String> }
//!
//! impl Cursor for Builder {
//!     fn context(&self) -> Contexts { Contexts::HTTP }
//!     fn report(&mut self, error: Error) -> ControlFlow<Error> { ControlFlow::Break(error) }
//! }
//!
//! static DIRECTIVES: &[Directive<Builder>] = &[Directive {
//!     name: "root",
//!     contexts: Contexts::HTTP.or(Contexts::SERVER).or(Contexts::LOCATION),
//!     arity: Arity::Exactly(1),
//!     shape: Shape::Simple,
//!     default: "html",
//!     doc: "Directory that URIs are appended to.",
//!     apply: |cx, node| cx.root.set(node.first().to_owned()),
//! }];
//! ```

use std::collections::HashMap;
use std::ops::ControlFlow;

use crate::ast::{Block, Node};
use crate::error::{Error, Result};
use crate::known;

/// A set of the places where a directive may stand.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Contexts(u32);

impl Contexts {
    /// No place.
    pub const NONE: Contexts = Contexts(0);
    /// The outermost level.
    pub const MAIN: Contexts = Contexts(1);
    /// `events { }`.
    pub const EVENTS: Contexts = Contexts(1 << 1);
    /// `http { }`.
    pub const HTTP: Contexts = Contexts(1 << 2);
    /// `server { }` in `http`.
    pub const SERVER: Contexts = Contexts(1 << 3);
    /// `location { }`.
    pub const LOCATION: Contexts = Contexts(1 << 4);
    /// `if { }` in an http `server`.
    pub const SERVER_IF: Contexts = Contexts(1 << 5);
    /// `if { }` in a `location`.
    pub const LOCATION_IF: Contexts = Contexts(1 << 6);
    /// `limit_except { }`.
    pub const LIMIT_EXCEPT: Contexts = Contexts(1 << 7);
    /// `upstream { }` in `http`.
    pub const UPSTREAM: Contexts = Contexts(1 << 8);
    /// `stream { }`.
    pub const STREAM: Contexts = Contexts(1 << 9);
    /// `server { }` in `stream`.
    pub const STREAM_SERVER: Contexts = Contexts(1 << 10);
    /// `upstream { }` in `stream`.
    pub const STREAM_UPSTREAM: Contexts = Contexts(1 << 11);
    /// `mail { }`.
    pub const MAIL: Contexts = Contexts(1 << 12);
    /// `server { }` in `mail`.
    pub const MAIL_SERVER: Contexts = Contexts(1 << 13);
    /// `gateway { }`.
    pub const GATEWAY: Contexts = Contexts(1 << 14);
    /// Every place.
    pub const ANY: Contexts = Contexts((1 << 15) - 1);

    /// `http`, `server` and `location`, where most http directives may stand.
    pub const HTTP_SERVER_LOCATION: Contexts = Contexts::HTTP.or(Contexts::SERVER).or(Contexts::LOCATION);

    /// Names as the reference prints them, by bit.
    const NAMES: [&'static str; 15] = [
        "main",
        "events",
        "http",
        "server",
        "location",
        "if in server",
        "if in location",
        "limit_except",
        "upstream",
        "stream",
        "server in stream",
        "upstream in stream",
        "mail",
        "server in mail",
        "gateway",
    ];

    /// The places of both sets.
    #[must_use]
    pub const fn or(self, other: Contexts) -> Contexts {
        Contexts(self.0 | other.0)
    }

    /// The places of this set that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Contexts) -> Contexts {
        Contexts(self.0 & !other.0)
    }

    /// Whether the sets have a place in common.
    pub const fn intersects(self, other: Contexts) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether every place of `other` is in this set.
    pub const fn contains(self, other: Contexts) -> bool {
        self.0 & other.0 == other.0
    }

    /// The names of the places, outermost first.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Contexts::NAMES
            .into_iter()
            .enumerate()
            .filter(move |(bit, _)| self.0 & (1 << bit) != 0)
            .map(|(_, name)| name)
    }
}

/// How many arguments a directive takes, its name not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    /// One, `on` or `off`.
    Flag,
    /// This many.
    Exactly(u8),
    /// From the first to the second number, both included.
    Range(u8, u8),
    /// This many or more.
    AtLeast(u8),
    /// Any number.
    Any,
}

impl Arity {
    /// Whether `count` arguments are right.
    pub fn accepts(self, count: usize) -> bool {
        match self {
            Arity::Flag => count == 1,
            Arity::Exactly(n) => count == usize::from(n),
            Arity::Range(low, high) => (usize::from(low)..=usize::from(high)).contains(&count),
            Arity::AtLeast(n) => count >= usize::from(n),
            Arity::Any => true,
        }
    }
}

/// What a directive ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `;`
    Simple,
    /// A block of directives or entries.
    Block,
    /// A block of Lua.
    RawBlock,
    /// `;` or a block.
    Either,
}

/// One directive of one module.
pub struct Directive<C: 'static> {
    /// The name as written.
    pub name: &'static str,
    /// Where it may stand.
    pub contexts: Contexts,
    /// How many arguments it takes.
    pub arity: Arity,
    /// What it ends with.
    pub shape: Shape,
    /// Its default as it would be written, or "" for none.
    pub default: &'static str,
    /// What it does, in a sentence.
    pub doc: &'static str,
    /// Takes one use of the directive in.
    pub apply: fn(&mut C, &Node) -> Result<()>,
}

/// A directive and the module it belongs to.
pub struct Registered<C: 'static> {
    /// The module's name (`ngx_http_proxy_module`).
    pub module: &'static str,
    /// The table entry.
    pub directive: &'static Directive<C>,
}

impl<C> Clone for Registered<C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for Registered<C> {}

/// What a name is in a context.
pub enum Lookup<C: 'static> {
    /// A directive that may stand here.
    Found(Registered<C>),
    /// nginx or OpenResty knows it here, in this module; this server does not.
    Unsupported(&'static str),
    /// It exists elsewhere only.
    NotAllowedHere,
    /// Nobody knows it.
    Unknown,
}

/// All directives of the program, by name.
pub struct Registry<C: 'static> {
    order: Vec<Registered<C>>,
    by_name: HashMap<&'static str, Vec<usize>>,
}

impl<C> Default for Registry<C> {
    fn default() -> Registry<C> {
        Registry { order: Vec::new(), by_name: HashMap::new() }
    }
}

impl<C> Registry<C> {
    /// A registry without directives.
    pub fn new() -> Registry<C> {
        Registry::default()
    }

    /// Adds a module's table.
    ///
    /// # Panics
    /// When two directives of one name may stand in the same place.
    pub fn add(&mut self, module: &'static str, directives: &'static [Directive<C>]) {
        for directive in directives {
            let same_name = self.by_name.entry(directive.name).or_default();
            for &other in same_name.iter() {
                let other = self.order[other];
                assert!(
                    !other.directive.contexts.intersects(directive.contexts),
                    "directive {} of {} is also in {module}",
                    directive.name,
                    other.module
                );
            }
            same_name.push(self.order.len());
            self.order.push(Registered { module, directive });
        }
    }

    /// What `name` is in `context`.
    pub fn find(&self, name: &str, context: Contexts) -> Lookup<C> {
        let here = self.named(name).find(|entry| entry.directive.contexts.intersects(context));
        if let Some(entry) = here {
            return Lookup::Found(entry);
        }
        if let Some(known) = known::find(name).find(|known| known.contexts.intersects(context)) {
            return Lookup::Unsupported(known.module);
        }
        if self.has(name) || known::find(name).next().is_some() {
            return Lookup::NotAllowedHere;
        }
        Lookup::Unknown
    }

    /// Whether there is a directive of this name, wherever it may stand.
    pub fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// Whether the blocks of directives of this name are Lua text; the parser asks (see
    /// [`crate::parse::Options::raw_block`]).
    pub fn is_raw(&self, name: &str) -> bool {
        self.named(name).any(|entry| entry.directive.shape == Shape::RawBlock) || known::is_raw(name)
    }

    /// The directives of this name.
    pub fn named(&self, name: &str) -> impl Iterator<Item = Registered<C>> {
        self.by_name.get(name).into_iter().flatten().map(|&at| self.order[at])
    }

    /// All directives, in the order they were added.
    pub fn iter(&self) -> impl Iterator<Item = Registered<C>> {
        self.order.iter().copied()
    }
}

/// What the walk needs of the thing that is being built.
pub trait Cursor {
    /// The one place whose directives are being applied now.
    fn context(&self) -> Contexts;

    /// Takes an error, complete with its place. `Continue` goes on with the next directive, `Break` ends the
    /// walk with the error inside. A cursor breaks on [`crate::Kind::Fatal`] and collects the other kinds.
    /// A fatal error of an inner block is reported again by each block around.
    fn report(&mut self, error: Error) -> ControlFlow<Error>;
}

/// Applies the directives of one block, in order.
///
/// # Errors
/// The error that the cursor broke on.
pub fn apply<C: Cursor>(registry: &Registry<C>, nodes: &[Node], cursor: &mut C) -> Result<()> {
    for node in nodes {
        let error = match step(registry, node, cursor) {
            Ok(()) => continue,
            Err(error) => error.in_directive(node.name.text()).with_span(&node.span),
        };
        if let ControlFlow::Break(error) = cursor.report(error) {
            return Err(error);
        }
    }
    Ok(())
}

/// Checks and applies one directive.
fn step<C: Cursor>(registry: &Registry<C>, node: &Node, cursor: &mut C) -> Result<()> {
    let name = node.name.text();
    if name == "include" {
        // A well-formed one has been replaced by the parser.
        return check(node, Arity::Exactly(1), Shape::Simple);
    }
    match registry.find(name, cursor.context()) {
        Lookup::Found(Registered { directive, .. }) => {
            check(node, directive.arity, directive.shape)?;
            (directive.apply)(cursor, node)
        }
        Lookup::Unsupported(module) => {
            let message = format!("directive \"{name}\" is not supported yet ({module})");
            Err(Error::unsupported(&node.span, message))
        }
        Lookup::NotAllowedHere => Err(Error::new(format!("\"{name}\" directive is not allowed here"))),
        Lookup::Unknown => Err(Error::new(format!("unknown directive \"{name}\""))),
    }
}

/// Checks the ending and the number of arguments, in nginx's order.
fn check(node: &Node, arity: Arity, shape: Shape) -> Result<()> {
    let name = node.name.text();
    let (may_end, may_open) = match shape {
        Shape::Simple => (true, false),
        Shape::Block | Shape::RawBlock => (false, true),
        Shape::Either => (true, true),
    };
    match node.block {
        Some(_) if !may_open => {
            return Err(Error::new(format!("directive \"{name}\" is not terminated by \";\"")));
        }
        None if !may_end => return Err(Error::new(format!("directive \"{name}\" has no opening \"{{\""))),
        _ => {}
    }
    debug_assert!(
        shape != Shape::RawBlock || matches!(node.block, Some(Block::Raw(_))),
        "the parser was not told that {name} holds Lua"
    );
    if !arity.accepts(node.args.len()) {
        return Err(Error::new(format!("invalid number of arguments in \"{name}\" directive")));
    }
    if arity == Arity::Flag {
        node.flag()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    const fn simple(name: &'static str, contexts: Contexts) -> Directive<Nothing> {
        Directive {
            name,
            contexts,
            arity: Arity::Any,
            shape: Shape::Simple,
            default: "",
            doc: "",
            apply: |_, _| Ok(()),
        }
    }

    static TABLE: &[Directive<Nothing>] = &[
        simple("server", Contexts::HTTP),
        simple("server", Contexts::UPSTREAM),
        simple("own", Contexts::GATEWAY),
    ];

    #[test]
    fn one_name_in_several_places() {
        let mut registry = Registry::new();
        registry.add("m", TABLE);
        let is = |name: &str, context: Contexts| match registry.find(name, context) {
            Lookup::Found(entry) => entry.module,
            Lookup::Unsupported(module) => module,
            Lookup::NotAllowedHere => "elsewhere",
            Lookup::Unknown => "unknown",
        };
        let cases = [
            ("server", Contexts::HTTP, "m"),
            ("server", Contexts::UPSTREAM, "m"),
            ("server", Contexts::STREAM, "ngx_stream_core_module"),
            ("server", Contexts::LOCATION, "elsewhere"),
            ("own", Contexts::GATEWAY, "m"),
            ("own", Contexts::HTTP, "elsewhere"),
            ("gzip", Contexts::HTTP, "ngx_http_gzip_filter_module"),
            ("gzip", Contexts::MAIN, "elsewhere"),
            ("nothing", Contexts::MAIN, "unknown"),
        ];
        for (name, context, expected) in cases {
            assert_eq!(is(name, context), expected, "{name} {context:?}");
        }
        assert_eq!(registry.named("server").count(), 2);
        assert_eq!(registry.iter().count(), 3);
        assert!(registry.has("own") && !registry.has("gzip"));
        assert!(registry.is_raw("content_by_lua_block") && !registry.is_raw("server"));
    }

    #[test]
    #[should_panic(expected = "directive server of m is also in other")]
    fn two_directives_in_one_place_panic() {
        let mut registry = Registry::new();
        registry.add("m", TABLE);
        registry.add("other", TABLE);
    }

    #[test]
    fn arities() {
        let cases = [
            (Arity::Flag, [false, true, false, false]),
            (Arity::Exactly(2), [false, false, true, false]),
            (Arity::Range(0, 1), [true, true, false, false]),
            (Arity::AtLeast(1), [false, true, true, true]),
            (Arity::Any, [true; 4]),
        ];
        for (arity, expected) in cases {
            assert_eq!([0, 1, 2, 3].map(|count| arity.accepts(count)), expected, "{arity:?}");
        }
    }

    #[test]
    fn sets_of_places() {
        let set = Contexts::HTTP.or(Contexts::SERVER_IF);
        assert!(set.intersects(Contexts::HTTP) && !set.intersects(Contexts::SERVER));
        assert!(set.contains(Contexts::SERVER_IF) && !set.contains(Contexts::HTTP_SERVER_LOCATION));
        assert_eq!(set.without(Contexts::HTTP), Contexts::SERVER_IF);
        assert_eq!(set.names().collect::<Vec<_>>(), ["http", "if in server"]);
        assert_eq!(Contexts::ANY.names().count(), 15);
    }
}
