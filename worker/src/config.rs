//! The compiled configuration: immutable, shared by everything a worker does.

use std::collections::HashMap;
use std::rc::Rc;

use crate::build::{ConfSet, LevelKind, LocationKind};
use crate::filter::{Filter, FilterChain, Position};
use crate::locate::LocationTree;
use crate::log::LogRegistry;
use crate::phase::{Handler, HandlerTable};
use crate::variables::{Builtins, CompiledVariable, VarId};

/// Everything compiled from nginx.conf.
pub struct Config {
    /// Structs of the main level.
    pub main: ConfSet,
    /// Structs of the http level, if there is an `http` block.
    pub http: Option<ConfSet>,
    /// `server` blocks in the order of the text.
    pub servers: Vec<Rc<Server>>,
    /// `upstream` blocks: name and structs.
    pub upstreams: Vec<(Box<str>, ConfSet)>,
    /// Every variable some template uses, at the index of its [`VarId`](crate::variables::VarId).
    pub variables: Vec<CompiledVariable>,
    /// The same by name, for lookups at run time.
    pub variable_names: HashMap<Box<[u8]>, VarId>,
    /// Modules' variables, whether a template uses them or not.
    pub builtin_variables: Builtins,
    /// Every log file named.
    pub logs: LogRegistry,
    /// Every upstream group, for names that come out of variables.
    pub upstream_table: crate::upstream::UpstreamTable,
}

impl Config {
    pub(crate) fn new(main: ConfSet) -> Self {
        Self {
            main,
            http: None,
            servers: Vec::new(),
            upstreams: Vec::new(),
            variables: Vec::new(),
            variable_names: HashMap::new(),
            builtin_variables: Builtins::default(),
            logs: LogRegistry::default(),
            upstream_table: crate::upstream::UpstreamTable::default(),
        }
    }
}

/// A `server` block.
pub struct Server {
    /// The structs at server level.
    pub confs: ConfSet,
    /// The server's own level as a location: what serves before a location is found, and the tree below it.
    pub root: Rc<Location>,
    /// Where the block stands, for messages.
    pub span: conf::Span,
}

/// A location, `if` or `limit_except` block, or a server's own level, ready to run.
pub struct Location {
    /// What kind of block this is, with pattern and name for locations.
    pub kind: LevelKind,
    /// The merged structs.
    pub confs: ConfSet,
    /// Phase handlers.
    pub handlers: HandlerTable,
    /// Response filters, in the order a response passes them.
    pub filters: FilterChain,
    /// The location's own content handler.
    pub content: Option<Rc<dyn Handler>>,
    /// Nested locations.
    pub tree: LocationTree,
    /// `if` blocks, in the order of the text.
    pub ifs: Vec<Rc<Location>>,
    /// The `limit_except` block, if there is one.
    pub limit_except: Option<Rc<Location>>,
}

impl Location {
    pub(crate) fn new(
        kind: LevelKind,
        confs: ConfSet,
        handlers: HandlerTable,
        filters: Vec<(Position, Rc<dyn Filter>)>,
        content: Option<Rc<dyn Handler>>,
    ) -> Self {
        Self {
            kind,
            confs,
            handlers,
            filters: FilterChain::new(filters),
            content,
            tree: LocationTree::default(),
            ifs: Vec::new(),
            limit_except: None,
        }
    }

    /// Files a block that stands inside this one.
    pub(crate) fn add(&mut self, inner: Location) -> conf::Result<()> {
        match &inner.kind {
            LevelKind::If => self.ifs.push(Rc::new(inner)),
            LevelKind::LimitExcept => self.limit_except = Some(Rc::new(inner)),
            LevelKind::Location(_) => self.tree.add(Rc::new(inner))?,
            other => unreachable!("no block of kind {other:?} is filed under a location"),
        }
        Ok(())
    }

    /// Orders the nested locations for lookup once all are there.
    pub(crate) fn seal(&mut self) {
        self.tree.seal();
    }

    /// The location's name as written (`/prefix`, `@name`); empty for other blocks.
    pub fn name(&self) -> &[u8] {
        match &self.kind {
            LevelKind::Location(spec) => &spec.name,
            _ => b"",
        }
    }

    /// How the location matches; `None` for `if`, `limit_except` and servers.
    pub fn location_kind(&self) -> Option<&LocationKind> {
        match &self.kind {
            LevelKind::Location(spec) => Some(&spec.kind),
            _ => None,
        }
    }
}

impl Location {
    /// Whether a request for this prefix without its final slash is redirected to it.
    pub(crate) fn auto_redirect(&self) -> bool {
        self.confs.get(&crate::modules::http::LOCATION).auto_redirect
    }

    /// Whether a `limit_except` block applies to the request's method.
    pub(crate) fn limits_method(&self, req: &crate::request::Request) -> bool {
        !self.confs.get(&crate::modules::http::LOCATION).except_methods.contains(&req.method)
    }
}
