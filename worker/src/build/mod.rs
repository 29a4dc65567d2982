//! From the parsed tree to the compiled [`Config`](crate::config::Config).
//!
//! 1. The walk: every directive's `apply` runs once, in the order of the text, with the [`Builder`] as its world. It
//!    fills the structs of the current [`Level`]; blocks push a level and walk their children.
//! 2. The merge: top down, each level's structs take what is unset from the level above ([`slot::Conf::merge`]).
//! 3. The attachment: for every server and location each module is asked once what it wants to run there
//!    ([`Module::attach`](crate::module::Module::attach)). A location where a module has nothing to do does not know the module.

mod level;
mod paths;
mod settings;
mod slot;
mod walk;

pub use level::{Level, LevelKind, LocationKind, LocationSpec};
pub use paths::Paths;
pub use slot::{Conf, ConfSet, Slot};
pub use walk::{Input, Loaded, load, registry};

use std::ops::ControlFlow;
use std::rc::Rc;

use conf::{Contexts, Error, Node, Registry, Result};

use crate::log::{self, ErrorLog, LogRegistry, Target};
use crate::module::Module;
use crate::variables::VariableTable;
use crate::zone::{ZoneKind, ZoneRef, ZoneTable};
use slot::{LevelConfs, SlotTable};

/// The world of a directive's `apply`: where in the configuration we are, and what has been declared so far.
pub struct Builder {
    registry: Rc<Registry<Builder>>,
    slots: SlotTable,
    stack: Vec<Level>,
    errors: Vec<Error>,
    /// Where relative paths lead: the prefix (`-p`) and the directory of the main file.
    pub paths: Paths,
    /// Variables declared and used so far.
    pub variables: VariableTable,
    /// Shared-memory zones declared so far.
    pub zones: ZoneTable,
    /// Log files named so far; each is opened once, however often it is named.
    pub logs: LogRegistry,
    /// Upstream groups registered so far: blocks while the text is walked, addresses while locations are attached.
    pub upstreams: crate::upstream::UpstreamTable,
    /// Directories for temporary files that must exist.
    pub temp_paths: Vec<std::path::PathBuf>,
    /// Warnings collected so far.
    pub warnings: Vec<Error>,
    default_log: Option<Target>,
    modules: &'static [&'static dyn Module],
}

/// What [`Conf::merge`] may look at besides the two structs.
pub struct MergeCx<'a> {
    /// The kind of the level being merged.
    pub kind: &'a LevelKind,
    /// The builder, for variables, paths, zones and logs.
    pub builder: &'a mut Builder,
}

impl Builder {
    /// The struct of `slot` at the current level, created unset on first use.
    pub fn conf<T: Conf>(&mut self, slot: &Slot<T>) -> &mut T {
        self.level_mut().own.get_mut(slot)
    }

    /// The struct of `slot` at the nearest enclosing level that is not an `if` block: rewrite instructions of an
    /// `if` belong to the program of the block around it.
    pub fn conf_around_if<T: Conf>(&mut self, slot: &Slot<T>) -> &mut T {
        let level = self.stack.iter_mut().rev().find(|level| !matches!(level.kind, LevelKind::If));
        level.expect("the main level is never an if block").own.get_mut(slot)
    }

    /// The struct of `slot` at the `http` level we are in.
    pub fn http_conf<T: Conf>(&mut self, slot: &Slot<T>) -> &mut T {
        let level = self.stack.iter_mut().find(|level| matches!(level.kind, LevelKind::Http));
        level.expect("asked for inside an http block only").own.get_mut(slot)
    }

    /// The struct of `slot` at the enclosing `server` level.
    pub fn server_conf<T: Conf>(&mut self, slot: &Slot<T>) -> &mut T {
        let level = self.stack.iter_mut().rev().find(|level| matches!(level.kind, LevelKind::Server));
        level.expect("asked for inside a server block only").own.get_mut(slot)
    }

    /// The kind of the current level.
    pub fn kind(&self) -> &LevelKind {
        &self.stack.last().expect("the main level is always there").kind
    }

    /// The levels around and including the current one, outermost first.
    pub fn levels(&self) -> &[Level] {
        &self.stack
    }

    /// The current level.
    pub fn level_mut(&mut self) -> &mut Level {
        self.stack.last_mut().expect("the main level is always there")
    }

    /// Opens a level, applies the directives of `node`'s block in it and files it under the level around it.
    /// Returns the position of the new level among its siblings.
    pub fn block(&mut self, node: &Node, kind: LevelKind, context: Contexts) -> Result<usize> {
        self.stack.push(Level {
            kind,
            context,
            span: node.span.clone(),
            own: LevelConfs::new(),
            children: Vec::new(),
        });
        let walked = self.walk(node);
        let level = self.stack.pop().expect("pushed above");
        walked?;
        let parent = self.level_mut();
        parent.children.push(level);
        Ok(parent.children.len() - 1)
    }

    /// Applies the directives of `node`'s block in the current level, under another context
    /// (`events`: its directives live in the main level's structs).
    pub fn block_in_place(&mut self, node: &Node, context: Contexts) -> Result<()> {
        let outer = std::mem::replace(&mut self.level_mut().context, context);
        let walked = self.walk(node);
        self.level_mut().context = outer;
        walked
    }

    fn walk(&mut self, node: &Node) -> Result<()> {
        let registry = Rc::clone(&self.registry);
        conf::apply(&registry, node.children(), self)
    }

    /// Declares (or finds) the shared zone `name`. `size` is `None` where a directive only refers to it.
    pub fn zone(&mut self, node: &Node, name: &str, size: Option<usize>, kind: ZoneKind) -> Result<ZoneRef> {
        self.zones.declare(node, name, size, kind)
    }

    /// Takes a warning; it is logged when the configuration is accepted.
    pub fn warn(&mut self, warning: Error) {
        self.warnings.push(warning);
    }

    /// The error log where no `error_log` says otherwise: `-e`, or the built-in default.
    pub fn process_log(&mut self) -> ErrorLog {
        let target = match &self.default_log {
            Some(target) => target.clone(),
            None => {
                let path = self.paths.error_log.clone().unwrap_or_else(|| self.paths.full("logs/error.log"));
                let target = Target::File(self.logs.file(&path));
                self.default_log = Some(target.clone());
                target
            }
        };
        ErrorLog::new(vec![(target, log::Level::Error)])
    }

    /// Registers a module's slot; called from [`Module::register`].
    pub fn register<T: Conf>(&mut self, slot: &Slot<T>) {
        self.slots.register(slot);
    }

    /// The modules of this process.
    pub fn modules(&self) -> &'static [&'static dyn Module] {
        self.modules
    }
}

impl conf::Cursor for Builder {
    fn context(&self) -> Contexts {
        self.stack.last().expect("the main level is always there").context
    }

    fn report(&mut self, error: Error) -> ControlFlow<Error> {
        match error.kind() {
            conf::Kind::Fatal => ControlFlow::Break(error),
            conf::Kind::Unsupported => {
                self.errors.push(error);
                ControlFlow::Continue(())
            }
            conf::Kind::Warning => {
                self.warnings.push(error);
                ControlFlow::Continue(())
            }
        }
    }
}
