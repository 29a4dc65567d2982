//! Loading a configuration: walk, merge, attach.

use std::any::Any;
use std::path::Path;
use std::rc::Rc;

use conf::{Errors, Files, Registry, Sources};

use super::level::{Level, LevelKind};
use super::paths::Paths;
use super::slot::{ConfSet, LevelConfs, SlotTable};
use super::{Builder, MergeCx};
use crate::config::{Config, Location, Server};
use crate::log::LogRegistry;
use crate::module::{Attach, Module};
use crate::phase::HandlerTable;
use crate::variables::VariableTable;
use crate::zone::{ZoneSpec, ZoneTable};

/// What to load and on whose behalf.
pub struct Input<'a> {
    /// The main configuration file.
    pub main_file: &'a Path,
    /// Prefix and configuration directory.
    pub paths: Paths,
    /// Text of `-g`.
    pub globals: Option<&'a str>,
    /// The modules of the process.
    pub modules: &'static [&'static dyn Module],
}

/// A configuration that passed every check.
pub struct Loaded {
    /// The compiled configuration.
    pub config: Rc<Config>,
    /// The text it came from, for `-T` and for workers.
    pub sources: Sources,
    /// Zones the master must provide.
    pub zones: Vec<ZoneSpec>,
    /// Where a worker attaches them.
    pub table: ZoneTable,
    /// Warnings, to be logged once the configuration is accepted.
    pub warnings: Vec<conf::Error>,
    /// Directories for temporary files that must exist.
    pub temp_paths: Vec<std::path::PathBuf>,
    /// The modules it was built with.
    pub modules: &'static [&'static dyn Module],
}

/// Parses, checks and compiles the configuration.
///
/// Errors that only say "not supported yet" are collected, so that one run names all of them; the first error of any
/// other kind ends the walk, as in nginx.
pub fn load(input: &Input<'_>, files: &dyn Files) -> Result<Loaded, Errors> {
    let registry = Rc::new(registry(input.modules));
    let raw = |name: &str| registry.is_raw(name);
    let options = conf::Options {
        prefix: &input.paths.prefix,
        conf_prefix: &input.paths.conf_prefix,
        globals: input.globals,
        raw_block: &raw,
    };
    let (nodes, sources) = conf::parse(input.main_file, files, &options)?;
    let mut builder = new_builder(input, Rc::clone(&registry));
    for module in input.modules {
        builder.variables.declare_builtin(module.variables());
        module.register(&mut builder);
    }
    let walked = conf::apply(&registry, &nodes, &mut builder);
    if let Err(error) = walked {
        builder.errors.push(error);
    }
    builder.fail_if_errors()?;
    for module in input.modules {
        module.declare(&mut builder)?;
    }
    let config = builder.compile()?;
    let mut zones = builder.zones.specs();
    zones.push(ZoneSpec::counters());
    let Builder { warnings, temp_paths, zones: table, .. } = builder;
    Ok(Loaded { config, sources, zones, table, warnings, temp_paths, modules: input.modules })
}

/// The directives of `modules`.
pub fn registry(modules: &[&'static dyn Module]) -> Registry<Builder> {
    let mut registry = Registry::new();
    for module in modules {
        registry.add(module.name(), module.directives());
    }
    registry
}

fn new_builder(input: &Input<'_>, registry: Rc<Registry<Builder>>) -> Builder {
    let span = conf::Span::new(&input.main_file.to_string_lossy(), 0);
    let main = Level {
        kind: LevelKind::Main,
        context: conf::Contexts::MAIN,
        span,
        own: LevelConfs::new(),
        children: Vec::new(),
    };
    Builder {
        registry,
        slots: SlotTable::default(),
        stack: vec![main],
        errors: Vec::new(),
        paths: input.paths.clone(),
        variables: VariableTable::default(),
        zones: ZoneTable::default(),
        logs: LogRegistry::default(),
        upstreams: crate::upstream::UpstreamTable::default(),
        temp_paths: Vec::new(),
        warnings: Vec::new(),
        default_log: None,
        modules: input.modules,
    }
}

impl Builder {
    fn fail_if_errors(&mut self) -> Result<(), Errors> {
        let mut errors = std::mem::take(&mut self.errors).into_iter();
        match errors.next() {
            None => Ok(()),
            Some(first) => {
                let mut all = Errors::from(first);
                errors.for_each(|error| all.push(error));
                Err(all)
            }
        }
    }

    /// Merges and attaches everything below the main level.
    fn compile(&mut self) -> conf::Result<Rc<Config>> {
        let main = self.stack.pop().expect("the main level is always there");
        let unset = ConfSet { confs: self.unset() };
        let kind = main.kind.clone();
        let confs = self.merge(main.own, &unset, &kind, true)?;
        let mut config = Config::new(confs.clone());
        for level in main.children {
            if matches!(level.kind, LevelKind::Http) {
                self.compile_http(level, &confs, &mut config)?;
            }
        }
        config.variables = self.variables.finish()?;
        config.variable_names = self.variables.names();
        config.builtin_variables = self.variables.builtins();
        config.logs = std::mem::take(&mut self.logs);
        config.upstream_table = std::mem::take(&mut self.upstreams);
        Ok(Rc::new(config))
    }

    fn unset(&self) -> Rc<[Rc<dyn Any>]> {
        self.slots.slots.iter().map(|slot| (slot.share)((slot.create)())).collect()
    }

    /// Merges one level's own structs with the level above. `all` forces a merge even where nothing was set: at the
    /// outermost level defaults must be filled in.
    fn merge(
        &mut self,
        own: LevelConfs,
        outer: &ConfSet,
        kind: &LevelKind,
        all: bool,
    ) -> conf::Result<ConfSet> {
        let mut own = own.own;
        own.resize_with(self.slots.slots.len(), || None);
        let shares = |slots: &SlotTable, index: usize| {
            !all && (slots.slots[index].is_inherited_whole)(&*outer.confs[index], kind)
        };
        if own.iter().enumerate().all(|(index, conf)| conf.is_none() && shares(&self.slots, index)) {
            return Ok(outer.clone());
        }
        let mut merged = Vec::with_capacity(own.len());
        for (index, conf) in own.into_iter().enumerate() {
            let info = &self.slots.slots[index];
            let (create, share, merge) = (info.create, info.share, info.merge);
            let mut conf = match conf {
                None if shares(&self.slots, index) => {
                    merged.push(Rc::clone(&outer.confs[index]));
                    continue;
                }
                None => create(),
                Some(conf) => conf,
            };
            merge(&mut *conf, &*outer.confs[index], &mut MergeCx { kind, builder: self })?;
            merged.push(share(conf));
        }
        Ok(ConfSet { confs: merged.into() })
    }

    fn compile_http(&mut self, http: Level, outer: &ConfSet, config: &mut Config) -> conf::Result<()> {
        let at = |span: conf::Span| move |error: conf::Error| error.with_span(&span);
        let confs = self.merge(http.own, outer, &http.kind, false).map_err(at(http.span))?;
        config.http = Some(confs.clone());
        for level in http.children {
            let span = level.span.clone();
            match &level.kind {
                LevelKind::Server => {
                    let server = self.compile_server(level, &confs).map_err(at(span))?;
                    config.servers.push(Rc::new(server));
                }
                LevelKind::Upstream(name) => {
                    let name = name.clone();
                    let kind = level.kind.clone();
                    let merged = self.merge(level.own, &confs, &kind, false).map_err(at(span))?;
                    config.upstreams.push((name, merged));
                }
                other => unreachable!("no block of kind {other:?} is filed under http"),
            }
        }
        Ok(())
    }

    fn compile_server(&mut self, level: Level, outer: &ConfSet) -> conf::Result<Server> {
        let confs = self.merge(level.own, outer, &level.kind, false)?;
        let root = self.compile_location(&level.kind, confs.clone(), outer, level.children, &level.span)?;
        Ok(Server { confs, root: Rc::new(root), span: level.span })
    }

    /// Makes the runtime form of a server's own level, a location, an `if` or a `limit_except` block.
    fn compile_location(
        &mut self,
        kind: &LevelKind,
        confs: ConfSet,
        outer: &ConfSet,
        children: Vec<Level>,
        span: &conf::Span,
    ) -> conf::Result<Location> {
        let (mut handlers, mut filters, mut content) = (Vec::new(), Vec::new(), None);
        for module in self.modules {
            let mut attach = Attach {
                confs: &confs,
                outer,
                kind,
                builder: self,
                handlers: &mut handlers,
                filters: &mut filters,
                content: &mut content,
            };
            module.attach(&mut attach).map_err(|error| error.with_span(span))?;
        }
        filters.sort_by_key(|(position, _)| *position);
        let mut location = Location::new(kind.clone(), confs, HandlerTable::new(handlers), filters, content);
        for child in children {
            let merged = self
                .merge(child.own, &location.confs, &child.kind, false)
                .map_err(|e| e.with_span(&child.span))?;
            let compiled =
                self.compile_location(&child.kind, merged, &location.confs, child.children, &child.span)?;
            location.add(compiled).map_err(|error| error.with_span(&child.span))?;
        }
        location.seal();
        Ok(location)
    }
}
