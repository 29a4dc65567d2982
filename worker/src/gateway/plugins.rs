//! Plugins of a resource, prepared and in order.

use std::rc::Rc;

use schemas::expr::Expr;
use schemas::resource::Plugins;
use schemas::{Role, Validator};
use serde_json::Value;

use crate::plugin::{Instance, Phases, Prepare, find};

/// One plugin with its configuration.
pub(super) struct Attached {
    pub(super) name: &'static str,
    pub(super) priority: i64,
    pub(super) auth: bool,
    pub(super) instance: Rc<dyn Instance>,
    pub(super) phases: Phases,
    /// `_meta.filter`.
    pub(super) filter: Option<Expr>,
    /// `_meta.error_response`: body and whether it is JSON.
    pub(super) error_response: Option<(bytes::Bytes, bool)>,
    /// `_meta.disable`.
    disabled: bool,
}

/// Plugins in the order they run.
#[derive(Clone, Default)]
pub(super) struct PluginSet {
    pub(super) list: Rc<[Rc<Attached>]>,
    /// The phases one of them runs in.
    pub(super) phases: Phases,
}

impl PluginSet {
    /// Prepares `plugins` of the resource with the key `parent`.
    pub(super) fn prepare(plugins: &Plugins, parent: &str) -> Result<Self, String> {
        let mut list = Vec::with_capacity(plugins.len());
        for (name, conf) in plugins {
            list.push(Rc::new(Attached::new(name, conf, parent)?));
        }
        Ok(Self::new(list))
    }

    fn new(mut list: Vec<Rc<Attached>>) -> Self {
        list.sort_by(|a, b| b.priority.cmp(&a.priority).then_with(|| a.name.cmp(b.name)));
        let phases = list.iter().fold(Phases::NONE, |all, plugin| all.or(plugin.phases));
        Self { list: list.into(), phases }
    }

    /// The plugins of all `sets`; of two with one name, that of the earlier set. A disabled one hides those behind it, and
    /// does not run.
    pub(super) fn merge<'s>(sets: impl IntoIterator<Item = &'s PluginSet>) -> Self {
        let mut list: Vec<Rc<Attached>> = Vec::new();
        for set in sets {
            for plugin in set.list.iter() {
                if !list.iter().any(|other| other.name == plugin.name) {
                    list.push(Rc::clone(plugin));
                }
            }
        }
        list.retain(|plugin| !plugin.disabled);
        Self::new(list)
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

impl Attached {
    fn new(name: &str, conf: &Value, parent: &str) -> Result<Self, String> {
        let entry = find(name).ok_or_else(|| format!("unknown plugin [{name}]"))?;
        let mut conf = conf.clone();
        if let Some(schema) = entry.spec.schema_of(Role::Route) {
            fill(schema, &mut conf);
        }
        let wrong = |error| format!("failed to check the configuration of plugin {name} err: {error}");
        let instance = (entry.make)(&Prepare { parent, conf: &conf }).map_err(wrong)?;
        let meta = conf.get("_meta");
        let filter = meta.and_then(|meta| meta.get("filter")).map(Expr::parse).transpose();
        let filter = filter.map_err(|error| format!("failed to validate the 'vars' expression: {error}"))?;
        let error_response = meta.and_then(|meta| meta.get("error_response")).map(|value| match value {
            Value::String(text) => (text.clone().into_bytes().into(), false),
            other => (format!("{other}\n").into_bytes().into(), true),
        });
        Ok(Self {
            name: entry.spec.name,
            priority: meta.and_then(|meta| meta.get("priority")?.as_i64()).unwrap_or(entry.spec.priority),
            auth: entry.spec.auth,
            phases: instance.phases(),
            instance,
            filter,
            error_response,
            disabled: meta.and_then(|meta| meta.get("disable")?.as_bool()).unwrap_or(false),
        })
    }
}

/// Fills in the defaults of a plugin's schema.
fn fill(schema: &'static str, conf: &mut Value) {
    use std::cell::RefCell;
    use std::collections::HashMap;
    thread_local! {
        /// Compiled schemas of the plugins that were used so far.
        static COMPILED: RefCell<HashMap<*const u8, Validator>> = RefCell::default();
    }
    COMPILED.with_borrow_mut(|compiled| {
        compiled.entry(schema.as_ptr()).or_insert_with(|| Validator::built_in(schema)).fill(conf);
    });
}
