//! The variables of a configuration while it is read.

use std::collections::HashMap;

use conf::{Error, Node, Result, Span};

use super::{Get, Source, VarId, Variable};
use crate::request::Request;

/// A variable some template uses.
#[derive(Clone)]
pub struct CompiledVariable {
    /// The name without `$`.
    pub name: Box<str>,
    /// How it gets its value.
    pub source: Source,
    /// Whether values are kept in the request.
    pub keeps: bool,
    /// Reacts to assignments.
    pub set: Option<fn(&mut Request, &[u8])>,
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

    fn lookup(&self, name: &str) -> Option<&'static Variable> {
        let exact = self.names.get(name).copied();
        // the longest prefix: `upstream_http_` before a future `upstream_`
        let family = || {
            let fits = |v: &&&'static Variable| name.starts_with(v.name) && name.len() > v.name.len();
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
    declared: Option<(Source, bool)>,
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
        self.used.push(Used { name: name.as_str().into(), declared: None, span: span.clone() });
        self.ids.insert(name.into(), id);
        id
    }

    /// Declares a variable of the configuration: `set`, `map`, named captures. `keeps`: compute once per request.
    ///
    /// Declaring a name again replaces what computes it, as the last `map` of a name wins in nginx; declaring it as
    /// [`Source::Stored`] leaves an object or an assignable built-in variable as it is.
    pub fn declare(&mut self, node: &Node, name: &str, source: Source, keeps: bool) -> Result<VarId> {
        let lower = name.to_ascii_lowercase();
        let stored = matches!(source, Source::Stored);
        if let Some(builtin) = self.builtins.lookup(&lower) {
            let fixed = builtin.set.is_none() && (!builtin.prefix || !stored);
            if fixed || !stored {
                return Err(node.error(format!("the duplicate \"{name}\" variable")));
            }
            if builtin.set.is_some() {
                return Ok(self.use_name(&lower, &node.span));
            }
        }
        let id = self.use_name(&lower, &node.span);
        let used = &mut self.used[id.0 as usize];
        if used.declared.is_none() || !stored {
            used.declared = Some((source, keeps || stored));
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
    if let Some((source, keeps)) = &used.declared {
        return Ok(CompiledVariable {
            name: used.name.clone(),
            source: source.clone(),
            keeps: *keeps,
            set: None,
        });
    }
    let Some(builtin) = builtins.lookup(&used.name) else {
        return Err(Error::at(&used.span, format!("unknown \"{}\" variable", used.name)));
    };
    let tail =
        if builtin.prefix { used.name[builtin.name.len()..].as_bytes().into() } else { Box::default() };
    Ok(CompiledVariable {
        name: used.name.clone(),
        source: Source::Builtin { get: builtin.get, tail },
        keeps: builtin.cached,
        set: builtin.set,
    })
}
