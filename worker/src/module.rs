//! What a module is: directives, variables, configuration structs and what it runs where.

use std::rc::Rc;

use conf::{Directive, Result};

use crate::build::{Builder, Conf, ConfSet, LevelKind, Slot};
use crate::filter::{Filter, Position};
use crate::phase::{Handler, Phase};
use crate::variables::Variable;

/// One module, in nginx's sense. Modules depend on the engine and never the other way; the binary's list of modules
/// (`master/src/modules.rs`) is the only place that knows them all.
pub trait Module: Sync {
    /// nginx's name of the module, for messages and documentation: `ngx_http_access_module`.
    fn name(&self) -> &'static str;

    /// The module's directives.
    fn directives(&self) -> &'static [Directive<Builder>] {
        &[]
    }

    /// The module's variables.
    fn variables(&self) -> &'static [Variable] {
        &[]
    }

    /// Registers the module's configuration slots; called before the configuration is walked.
    fn register(&self, _cx: &mut Builder) {}

    /// Called after the walk and before the merge: declarations that depend on the whole of the http level.
    fn declare(&self, _cx: &mut Builder) -> Result<()> {
        Ok(())
    }

    /// Says what the module runs in one server or location whose merged structs are `cx.confs`.
    fn attach(&self, _cx: &mut Attach<'_>) -> Result<()> {
        Ok(())
    }

    /// Called once in every worker process before any module starts; the process does not serve when it fails.
    ///
    /// # Errors
    /// Why the process cannot serve, as logged.
    fn prepare(&self, _worker: &Rc<crate::worker::Worker>) -> std::result::Result<(), String> {
        Ok(())
    }

    /// Called when a worker process is about to end, once nothing is served any more.
    fn stop(&self, _worker: &Rc<crate::worker::Worker>) {}

    /// Called once in every worker process before it accepts: background tasks start here.
    fn start(&self, _worker: &Rc<crate::worker::Worker>) {}
}

/// One server's or location's lists while modules fill them.
pub struct Attach<'a> {
    /// The merged structs of this level.
    pub confs: &'a ConfSet,
    pub(crate) outer: &'a ConfSet,
    /// What level this is: [`LevelKind::Server`] for the phases before a location is found.
    pub kind: &'a LevelKind,
    /// The builder, for templates and variables that are made only now.
    pub builder: &'a mut Builder,
    pub(crate) handlers: &'a mut Vec<Attached>,
    pub(crate) filters: &'a mut Vec<(Position, Rc<dyn Filter>)>,
    pub(crate) content: &'a mut Option<Rc<dyn Handler>>,
}

/// A handler with its place.
pub(crate) struct Attached {
    pub(crate) phase: Phase,
    pub(crate) order: u16,
    pub(crate) handler: Rc<dyn Handler>,
}

impl Attach<'_> {
    /// Adds a phase handler. Within a phase, handlers run by ascending `order` (see [`crate::phase::order`]).
    pub fn handler(&mut self, phase: Phase, order: u16, handler: Rc<dyn Handler>) {
        self.handlers.push(Attached { phase, order, handler });
    }

    /// Adds a response filter at its fixed place in the chain.
    pub fn filter(&mut self, position: Position, filter: Rc<dyn Filter>) {
        self.filters.push((position, filter));
    }

    /// Makes `handler` the location's own content handler (`proxy_pass`, `stub_status`): it replaces the content phase.
    pub fn content(&mut self, handler: Rc<dyn Handler>) {
        *self.content = Some(handler);
    }

    /// Whether this level has a struct of its own for `slot`: some directive of this module stands in this very block.
    /// Otherwise the struct is that of the level around.
    pub fn is_own<T: Conf>(&self, slot: &Slot<T>) -> bool {
        !Rc::ptr_eq(&self.confs.share(slot), &self.outer.share(slot))
    }

    /// Whether this level is a location (of any kind) and not a server.
    pub fn is_location(&self) -> bool {
        !matches!(self.kind, LevelKind::Server)
    }
}
