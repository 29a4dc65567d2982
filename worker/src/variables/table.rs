//! The variables of a configuration while it is read.

use std::collections::HashMap;

use conf::{Error, Node, Result, Span};

use super::{Get, Set, Source, VarId, Variable};
use crate::request::Request;

/// A variable some template uses.
#[derive(Clone)]
pub struct CompiledVariable {
    /// The name without `$`.
    pub name: Box<str>,
    /// How it gets its value.
    pub source: Source,
    /// Whether what is computed is kept in the request.
    pub keeps: bool,
    /// Whether the request may have a value of its own for it: one that was kept or assigned.
    pub assignable: bool,
    /// Reacts to assignments.
    pub set: Option<fn(&mut Request, &[u8])>,
}

impl CompiledVariable {
    /// Whether the variable may be assigned at run time.
    pub(super) fn is_changeable(&self) -> bool {
        match &self.source {
            Source::Builtin { tail, .. } => self.set.is_some() || (self.assignable && !tail.is_empty()),
            Source::Computed(_) | Source::Stored | Source::Set => true,
        }
    }
}

/// Modules' variables by name.
#[derive(Clone, Default)]
pub struct Builtins {
    names: HashMap<&'static str, &'static Variable>,
    prefixes: Vec<&'static Variable>,
}

impl Builtins {
    /// The getter for `name` and the part of `name` behind the variable's prefix.
    pub fn find<'n>(&self, name: &'n [u8]) -> Option<(Get, &'n [u8])> {
        let text = std::str::from_utf8(name).ok()?;
        self.lookup(text).map(|variable| {
            let tail = if variable.prefix { &name[variable.name.len()..] } else { &[][..] };
            (variable.get, tail)
        })
    }

    /// How `name` reacts to assignments, if it is a variable and if it does.
    pub(super) fn find_set(&self, name: &[u8]) -> Option<Option<Set>> {
        self.lookup(std::str::from_utf8(name).ok()?).map(|variable| variable.set)
    }

    fn lookup(&self, name: &str) -> Option<&'static Variable> {
        let exact = self.names.get(name).copied();
        // the longest prefix: `upstream_http_` before a future `upstream_`; `$arg_` alone is of the family too
        let family = || {
            let fits = |v: &&&'static Variable| name.starts_with(v.name);
            self.prefixes.iter().filter(fits).max_by_key(|v| v.name.len()).copied()
        };
        exact.or_else(family)
    }
}

/// Variables declared and used so far.
#[derive(Default)]
pub struct VariableTable {
    builtins: Builtins,
    used: Vec<Used>,
    ids: HashMap<Box<str>, VarId>,
}

struct Used {
    name: Box<str>,
    declared: Option<Source>,
    /// The declared source computes once per request.
    keeps: bool,
    /// Something may assign it.
    assigned: bool,
    span: Span,
}

impl VariableTable {
    pub(crate) fn declare_builtin(&mut self, variables: &'static [Variable]) {
        for variable in variables {
            if variable.prefix {
                self.builtins.prefixes.push(variable);
            } else {
                self.builtins.names.insert(variable.name, variable);
            }
        }
    }

    /// The index of variable `name`, which may be declared later in the text.
    pub fn use_name(&mut self, name: &str, span: &Span) -> VarId {
        let name = name.to_ascii_lowercase();
        if let Some(id) = self.ids.get(&*name) {
            return *id;
        }
        let id = VarId(self.used.len() as u32);
        self.used.push(Used {
            name: name.as_str().into(),
            declared: None,
            keeps: false,
            assigned: false,
            span: span.clone(),
        });
        self.ids.insert(name.into(), id);
        id
    }

    /// Declares a variable of the configuration: `set`, `map`, named captures. `keeps`: compute once per request.
    ///
    /// Declaring a name again replaces what computes it, as the last `map` of a name wins in nginx. An assigned variable
    /// leaves alone what computes its name already; it may bear the name of a family (`$http_x`), whose value shows until
    /// it is assigned, if it is assigned by `set`.
    pub fn declare(&mut self, node: &Node, name: &str, source: Source, keeps: bool) -> Result<VarId> {
        let lower = name.to_ascii_lowercase();
        let builtin = self.builtins.lookup(&lower);
        if builtin.is_some_and(|builtin| !builtin.prefix && builtin.set.is_none()) {
            return Err(node.error(format!("the duplicate \"{name}\" variable")));
        }
        let id = self.use_name(&lower, &node.span);
        let used = &mut self.used[id.0 as usize];
        used.assigned |= matches!(source, Source::Set | Source::Stored);
        let replaces = match (&source, &used.declared) {
            (Source::Set, declared) => declared.is_none() && builtin.is_none(),
            (Source::Stored, declared) => {
                matches!(declared, None | Some(Source::Set)) && builtin.is_none_or(|builtin| builtin.prefix)
            }
            (Source::Builtin { .. } | Source::Computed(_), _) => true,
        };
        if replaces {
            used.declared = Some(source);
            used.keeps = keeps;
        }
        Ok(id)
    }

    /// Resolves every used name.
    pub(crate) fn finish(&mut self) -> Result<Vec<CompiledVariable>> {
        let builtins = &self.builtins;
        self.used.iter().map(|used| compile(builtins, used)).collect()
    }

    pub(crate) fn names(&self) -> HashMap<Box<[u8]>, VarId> {
        self.ids.iter().map(|(name, id)| (name.as_bytes().into(), *id)).collect()
    }

    pub(crate) fn builtins(&self) -> Builtins {
        self.builtins.clone()
    }
}

fn compile(builtins: &Builtins, used: &Used) -> Result<CompiledVariable> {
    let builtin = builtins.lookup(&used.name);
    let set = builtin.filter(|builtin| !builtin.prefix).and_then(|builtin| builtin.set);
    let (source, keeps) = match (&used.declared, builtin) {
        (Some(source), _) => (source.clone(), used.keeps),
        (None, Some(builtin)) => {
            let tail = if builtin.prefix { &used.name.as_bytes()[builtin.name.len()..] } else { b"" };
            (Source::Builtin { get: builtin.get, tail: tail.into() }, builtin.cached)
        }
        (None, None) => {
            return Err(Error::at(&used.span, format!("unknown \"{}\" variable", used.name)));
        }
    };
    let assignable = keeps || used.assigned;
    Ok(CompiledVariable { name: used.name.clone(), source, keeps, assignable, set })
}
