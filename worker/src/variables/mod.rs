//! Variables: declared by modules, `set`, `map` and friends; used by templates; looked up by name at run time.
//!
//! A variable used somewhere in the configuration gets a [`VarId`], an index into [`Config::variables`]. A getter
//! appends to a buffer, so a template with five variables makes no five strings. Values that are computed at some cost or
//! must not change within a request are kept in the request's [`Values`].
//!
//! [`Config::variables`]: crate::config::Config

mod table;
mod values;

use std::cell::Cell;
use std::rc::Rc;

pub use table::{Builtins, CompiledVariable, VariableTable};
pub use values::{Value, Values};

use crate::request::Request;

/// A variable of a module's static table.
#[derive(Clone, Copy)]
pub struct Variable {
    /// The name without `$`; for a family of variables (`http_`, `arg_`), the prefix.
    pub name: &'static str,
    /// Whether `name` is a prefix.
    pub prefix: bool,
    /// One line for the reference.
    pub doc: &'static str,
    /// Appends the value to `out`; `false`: the variable has no value in this request.
    pub get: Get,
    /// Reacts to `set $name …` (`$args`, `$limit_rate`); `None`: not assignable, a `set` is refused as duplicate.
    pub set: Option<fn(&mut Request, &[u8])>,
    /// Keep the first value for the rest of the request.
    pub cached: bool,
}

/// A built-in getter. `tail` is the rest of the name behind a prefix (`user_agent` of `$http_user_agent`).
pub type Get = fn(req: &mut Request, tail: &[u8], out: &mut Vec<u8>) -> bool;

/// Reacts to an assignment.
pub type Set = fn(&mut Request, &[u8]);

impl Variable {
    /// A plain variable, computed at each use.
    pub const fn new(name: &'static str, doc: &'static str, get: Get) -> Self {
        Self { name, prefix: false, doc, get, set: None, cached: false }
    }

    /// A family of variables that begin with `name`.
    pub const fn prefix(name: &'static str, doc: &'static str, get: Get) -> Self {
        Self { name, prefix: true, doc, get, set: None, cached: false }
    }

    /// Computed once per request.
    pub const fn cached(mut self) -> Self {
        self.cached = true;
        self
    }

    /// Assignable with `set`.
    pub const fn assignable(mut self, set: fn(&mut Request, &[u8])) -> Self {
        self.set = Some(set);
        self
    }
}

/// A variable computed by an object of the configuration: `map`, `geo`, `split_clients`.
pub trait Compute {
    /// Appends the value to `out`; `false`: no value.
    fn compute(&self, req: &mut Request, out: &mut Vec<u8>) -> bool;
}

/// How a compiled variable gets its value.
#[derive(Clone)]
pub enum Source {
    /// A module's getter.
    Builtin {
        /// The getter.
        get: Get,
        /// Name behind the prefix.
        tail: Box<[u8]>,
    },
    /// An object of the configuration.
    Computed(Rc<dyn Compute>),
    /// Assigned by a named capture, `auth_request_set`, …; missing until then.
    Stored,
    /// Assigned by `set`; empty until then, which is logged. Gives way to whatever else computes a variable of the name.
    Set,
}

/// What became of an assignment by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assigned {
    /// It was made.
    Yes,
    /// The variable cannot be assigned.
    ReadOnly,
    /// There is no such variable.
    Unknown,
}

/// Index of a used variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VarId(pub(crate) u32);

/// How deep variables may depend on variables: a `map` of a `map` of … (nginx's limit).
const DEPTH_MAX: u32 = 100;

thread_local! {
    static DEPTH_LEFT: Cell<u32> = const { Cell::new(DEPTH_MAX) };
}

impl Request {
    /// Appends the value of variable `id`; `false`: it has none.
    pub fn append_variable(&mut self, id: VarId, out: &mut Vec<u8>) -> bool {
        let config = Rc::clone(&self.config);
        let variable = &config.variables[id.0 as usize];
        if variable.assignable {
            match self.values.get(id) {
                Value::Found(bytes) => {
                    out.extend_from_slice(bytes);
                    return true;
                }
                Value::Missing => return false,
                Value::Unset => {}
            }
        }
        let start = out.len();
        let found = match &variable.source {
            Source::Builtin { get, tail } => get(self, tail, out),
            Source::Computed(object) => self.compute_variable(&variable.name, &**object, out),
            Source::Stored => false,
            Source::Set => {
                if self.config_warns_uninitialized() {
                    self.log_uninitialized(&variable.name);
                }
                true
            }
        };
        if variable.keeps {
            self.values.put(id, found.then(|| &out[start..]));
        }
        if !found {
            out.truncate(start);
        }
        found
    }

    /// Computes a variable that may depend on others, within the limit on how deep such dependences go.
    fn compute_variable(&mut self, name: &str, object: &dyn Compute, out: &mut Vec<u8>) -> bool {
        let left = DEPTH_LEFT.get();
        if left == 0 {
            self.log_error(format_args!("cycle while evaluating variable \"{name}\""));
            return false;
        }
        DEPTH_LEFT.set(left - 1);
        let found = object.compute(self, out);
        DEPTH_LEFT.set(left);
        found
    }

    /// The value of variable `id` as a string of its own; `None`: it has none.
    pub fn variable(&mut self, id: VarId) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        self.append_variable(id, &mut out).then_some(out)
    }

    /// Assigns variable `id`.
    pub fn set_variable(&mut self, id: VarId, value: Option<&[u8]>) {
        let config = Rc::clone(&self.config);
        match (config.variables[id.0 as usize].set, value) {
            (Some(set), Some(value)) => set(self, value),
            (Some(set), None) => set(self, b""),
            (None, value) => self.values.put(id, value),
        }
    }

    /// Assigns the variable called `name`, in lower case; `None`: it has no value from now on.
    pub fn assign_variable_by_name(&mut self, name: &[u8], value: Option<&[u8]>) -> Assigned {
        let config = Rc::clone(&self.config);
        if let Some(id) = config.variable_names.get(name) {
            if !config.variables[id.0 as usize].is_changeable() {
                return Assigned::ReadOnly;
            }
            self.set_variable(*id, value);
            return Assigned::Yes;
        }
        match config.builtin_variables.find_set(name) {
            None => Assigned::Unknown,
            Some(None) => Assigned::ReadOnly,
            Some(Some(set)) => {
                set(self, value.unwrap_or_default());
                Assigned::Yes
            }
        }
    }

    /// Appends the value of the variable called `name`, known or not to the configuration's templates: for Lua, SSI.
    pub fn append_variable_by_name(&mut self, name: &[u8], out: &mut Vec<u8>) -> Option<bool> {
        let config = Rc::clone(&self.config);
        if let Some(id) = config.variable_names.get(name) {
            return Some(self.append_variable(*id, out));
        }
        let (get, tail) = config.builtin_variables.find(name)?;
        Some(get(self, tail, out))
    }
}
