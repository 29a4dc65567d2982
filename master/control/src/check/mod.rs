//! Checking resources: schema, plugins, conditions, references. Texts are APISIX's.
//!
//! The order of checks is APISIX's, too: which of two errors a client hears is part of the contract. What this program
//! does not do is refused by name, so that nobody believes it is done.

mod consumer;
mod references;
mod unsupported;
mod upstream;

use std::cell::RefCell;
use std::collections::HashMap;

use schemas::expr::Expr;
use schemas::{Key, Kind, PluginSpec, Role, Validator};
use serde_json::{Map, Value};

use crate::state::State;

/// See the module's documentation.
pub struct Checker {
    validators: HashMap<Kind, Validator>,
    plugins: HashMap<&'static str, &'static PluginSpec>,
    compiled: RefCell<HashMap<*const u8, Validator>>,
}

/// What a check may look at.
#[derive(Clone, Copy)]
pub struct Against<'s> {
    /// What is stored; `None`: references and other objects are not looked at.
    pub state: Option<&'s State>,
}

type Result<T = (), E = String> = std::result::Result<T, E>;

impl Checker {
    /// A checker that knows `plugins`.
    pub fn new(plugins: &[&'static PluginSpec]) -> Self {
        let validator = |kind: Kind| Some((kind, kind.validator()?));
        Self {
            validators: Kind::ALL.into_iter().filter_map(validator).collect(),
            plugins: plugins.iter().map(|spec| (spec.name, *spec)).collect(),
            compiled: RefCell::default(),
        }
    }

    /// A plugin by name.
    pub fn plugin(&self, name: &str) -> Option<&'static PluginSpec> {
        self.plugins.get(name).copied()
    }

    /// All plugins, those of high priority first.
    pub fn plugins(&self) -> Vec<&'static PluginSpec> {
        let mut all: Vec<_> = self.plugins.values().copied().collect();
        all.sort_by(|a, b| b.priority.cmp(&a.priority).then(a.name.cmp(b.name)));
        all
    }

    /// Checks a value that comes out of the store, where its references may still be on their way.
    pub fn check_stored(&self, key: &Key, value: &Value) -> Result {
        self.check(key.kind, Some(&key.id), value, Against { state: None })
    }

    /// Checks a resource. `id` is the one of its key.
    pub fn check(&self, kind: Kind, id: Option<&str>, value: &Value, against: Against<'_>) -> Result {
        if kind == Kind::Route {
            early_route_checks(value)?;
        }
        let mut filled = value.clone();
        match kind {
            Kind::Secret => return check_secret(id, &mut filled),
            Kind::PluginMetadata => return self.check_metadata(id, &mut filled),
            Kind::Upstream => return self.check_upstream(&mut filled, against),
            _ => {}
        }
        if let Some(validator) = self.validators.get(&kind) {
            validator.check(&mut filled).map_err(invalid)?;
        }
        match kind {
            Kind::Consumer | Kind::Credential => return self.check_consumer(kind, id, &filled, against),
            Kind::Ssl | Kind::Proto => return unsupported::check(kind, &filled),
            _ => {}
        }
        if let Some(upstream) = filled.get_mut("upstream") {
            self.check_upstream(upstream, against)?;
        }
        if let Some(state) = against.state {
            references::check(state, &filled)?;
        }
        if let Some(plugins) = filled.get("plugins").and_then(Value::as_object) {
            self.check_plugins(plugins, Role::Route)?;
            if kind == Kind::GlobalRule
                && let Some(state) = against.state
            {
                references::check_global_rule(state, id, plugins)?;
            }
        }
        if let Some(vars) = filled.get("vars") {
            let wrong = |error| format!("failed to validate the 'vars' expression: {error}");
            let expr = Expr::parse(vars).map_err(wrong)?;
            unsupported::check_vars(&expr)?;
        }
        unsupported::check(kind, &filled)
    }

    /// Whether a resource may be removed. The error is APISIX's.
    pub fn check_delete(&self, key: &Key, state: &State) -> Result {
        references::check_delete(state, key)
    }

    /// Checks plugin configurations.
    pub fn check_plugins(&self, plugins: &Map<String, Value>, role: Role) -> Result {
        for (name, conf) in plugins {
            if !conf.is_object() && conf.as_array().is_none_or(|array| !array.is_empty()) {
                return Err(format!("invalid plugin conf {conf} for plugin [{name}]"));
            }
            let spec = self.plugin(name).ok_or_else(|| format!("unknown plugin [{name}]"))?;
            let disabled = conf.get("_meta").and_then(|meta| meta.get("disable")) == Some(&Value::Bool(true));
            match self.check_plugin(spec, conf, role) {
                Err(error) if !disabled => {
                    return Err(format!("failed to check the configuration of plugin {name} err: {error}"));
                }
                _ => {}
            }
            self.check_meta(name, conf)?;
        }
        Ok(())
    }

    fn check_plugin(&self, spec: &'static PluginSpec, conf: &Value, role: Role) -> Result {
        let mut filled = if conf.is_array() { Value::Object(Map::new()) } else { conf.clone() };
        // `_meta` is checked apart: schemas of plugins need not know it
        if let Some(object) = filled.as_object_mut() {
            object.shift_remove("_meta");
        }
        if let Some(schema) = spec.schema_of(role) {
            self.validator(schema).check(&mut filled)?;
        }
        (spec.check)(&filled, role)
    }

    fn check_meta(&self, name: &str, conf: &Value) -> Result {
        let Some(meta) = conf.get("_meta") else { return Ok(()) };
        let mut meta = meta.clone();
        self.validator(META).check(&mut meta).map_err(|error| {
            format!(
                "failed to check the configuration of plugin {name} err: property \"_meta\" validation failed: {error}"
            )
        })?;
        if let Some(filter) = meta.get("filter") {
            let wrong = |error| format!("failed to validate the 'vars' expression: {error}");
            unsupported::check_vars(&Expr::parse(filter).map_err(wrong)?)?;
        }
        if meta.get("pre_function").is_some() {
            return Err(format!(
                "failed to load _meta.pre_function in plugin {name}: Lua is not supported yet"
            ));
        }
        Ok(())
    }

    /// The compiled form of a schema of the program.
    fn validator(&self, schema: &'static str) -> Validator {
        let mut compiled = self.compiled.borrow_mut();
        compiled.entry(schema.as_ptr()).or_insert_with(|| Validator::built_in(schema)).clone()
    }

    fn check_metadata(&self, id: Option<&str>, value: &mut Value) -> Result {
        let name = id.ok_or("missing plugin name")?;
        let spec = self.plugin(name).ok_or("invalid plugin name")?;
        if let Some(object) = value.as_object_mut() {
            object.shift_remove("id");
        }
        match spec.schema_of(Role::Metadata) {
            Some(schema) => self.validator(schema).check(value).map_err(invalid)?,
            None if value.is_object() => {}
            None => return Err(invalid("wrong type: expected object".into())),
        }
        (spec.check)(value, Role::Metadata).map_err(invalid)
    }
}

/// `_meta` of a plugin's configuration.
const META: &str = r#"{
    "type": "object",
    "properties": {
        "disable": {"type": "boolean"},
        "error_response": {"oneOf": [{"type": "string"}, {"type": "object"}]},
        "priority": {"type": "integer"},
        "filter": {"type": "array"},
        "pre_function": {"type": "string"}
    },
    "additionalProperties": false
}"#;

fn invalid(error: String) -> String {
    format!("invalid configuration: {error}")
}

fn early_route_checks(value: &Value) -> Result {
    let both = |one: &str, many: &str| value.get(one).is_some() && value.get(many).is_some();
    if both("host", "hosts") {
        return Err("only one of host or hosts is allowed".into());
    }
    if both("remote_addr", "remote_addrs") {
        return Err("only one of remote_addr or remote_addrs is allowed".into());
    }
    Ok(())
}

fn check_secret(id: Option<&str>, value: &mut Value) -> Result {
    let manager = id.and_then(|id| id.split('/').next()).ok_or("missing secret type")?;
    let schema = Kind::secret_schema(manager).ok_or_else(|| format!("invalid secret manager: {manager}"))?;
    if let Some(object) = value.as_object_mut() {
        for known in ["id", "create_time", "update_time"] {
            object.shift_remove(known);
        }
    }
    Validator::built_in(schema).check(value).map_err(invalid)
}

/// An id in a value, as text: it may be a number.
fn id_of(value: &Value, field: &str) -> Option<String> {
    match value.get(field)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
