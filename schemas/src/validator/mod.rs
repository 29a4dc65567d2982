//! JSON Schema with APISIX's error texts.
//!
//! The texts are part of the Admin API's contract: clients and tests compare them literally. They come from the Lua
//! library `jsonschema`, which reports the first error in an order of its own; a general validator reports others, in
//! other words. So the checks stand here in that order: type, properties (each with its dependencies and whether it is
//! required), other properties, items, lengths, numbers, `enum`, `allOf`, `anyOf`, `oneOf`, `not`, `if`, `format`,
//! `const`.
//!
//! A schema is compiled once. Defaults are filled in before a value is checked, because conditions look at them.

mod check;
mod compile;
mod text;

use std::sync::Arc;

use serde_json::Value;

pub use text::{lua_number, lua_quote};

/// A compiled schema.
#[derive(Clone)]
pub struct Validator(Arc<Node>);

impl Validator {
    /// Compiles a schema. `Err` says what is wrong with it.
    pub fn compile(schema: &Value) -> Result<Self, String> {
        compile::node(schema).map(|node| Self(Arc::new(node)))
    }

    /// Compiles a schema of this crate or of a native plugin, whose text is part of the program.
    ///
    /// # Panics
    ///
    /// If the text is no schema.
    pub fn built_in(text: &str) -> Self {
        let schema = Self::expand(text);
        Self::compile(&schema).unwrap_or_else(|error| panic!("a built-in schema is wrong: {error}"))
    }

    /// A built-in schema as JSON with its references replaced by what they stand for.
    ///
    /// # Panics
    ///
    /// If the text is no schema.
    pub fn expand(text: &str) -> Value {
        compile::expand(text).unwrap_or_else(|error| panic!("a built-in schema is wrong: {error}"))
    }

    /// Fills in defaults and checks. The error is APISIX's.
    pub fn check(&self, value: &mut Value) -> Result<(), String> {
        self.0.fill(value);
        self.0.check(value)
    }

    /// Fills in defaults.
    pub fn fill(&self, value: &mut Value) {
        self.0.fill(value);
    }
}

/// One schema.
#[derive(Default)]
struct Node {
    /// `true` and `false` as schemas.
    always: Option<bool>,
    types: Vec<Type>,
    types_text: String,
    one_type: bool,
    properties: Vec<Property>,
    required: Vec<String>,
    dependencies: Vec<(String, Dependency)>,
    patterns: Vec<(String, Pattern, Node)>,
    additional: Additional,
    min_properties: Option<u64>,
    max_properties: Option<u64>,
    items: Option<Box<Node>>,
    min_items: Option<u64>,
    max_items: Option<u64>,
    unique: bool,
    min_length: Option<u64>,
    max_length: Option<u64>,
    pattern: Option<(String, Pattern)>,
    minimum: Option<f64>,
    maximum: Option<f64>,
    exclusive_minimum: Option<f64>,
    exclusive_maximum: Option<f64>,
    multiple_of: Option<f64>,
    choices: Option<Vec<Value>>,
    all_of: Vec<Node>,
    any_of: Vec<Node>,
    /// `["a"] or ["b"]`: what the branches of `anyOf` require.
    any_requires: String,
    one_of: Vec<Node>,
    not: Option<Box<Node>>,
    condition: Option<Box<Condition>>,
    format: Option<Format>,
    constant: Option<Value>,
    /// Whether filling in defaults can change anything.
    has_defaults: bool,
}

struct Property {
    name: String,
    node: Node,
    default: Option<Value>,
}

enum Dependency {
    Names(Vec<String>),
    Schema(Box<Node>),
}

#[derive(Default)]
enum Additional {
    #[default]
    Allowed,
    Forbidden,
    Schema(Box<Node>),
}

struct Condition {
    test: Node,
    then: Option<Node>,
    otherwise: Option<Node>,
}

type Pattern = pcre2::bytes::Regex;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Object,
    Array,
    String,
    Number,
    Integer,
    Boolean,
    Null,
}

#[derive(Clone, Copy)]
enum Format {
    Email,
    Ipv4,
    Ipv6,
    Hostname,
}

#[cfg(test)]
mod tests;
