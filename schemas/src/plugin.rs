//! What the control plane knows of a plugin: its name, order and schemas.

use serde_json::Value;

/// In which role a configuration is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Of a route, service, plugin config, consumer group or global rule.
    Route,
    /// What identifies a consumer, for plugins that authenticate.
    Consumer,
    /// `plugin_metadata`.
    Metadata,
}

/// A plugin's description.
pub struct PluginSpec {
    /// APISIX's name.
    pub name: &'static str,
    /// Plugins of higher priority run first.
    pub priority: i64,
    /// The version APISIX gives it.
    pub version: f64,
    /// Whether it authenticates consumers (`type = auth`).
    pub auth: bool,
    /// The field of its consumer schema that identifies a consumer, for plugins that authenticate.
    pub identity: &'static str,
    /// JSON Schema of a configuration.
    pub schema: &'static str,
    /// JSON Schema of what identifies a consumer; empty: there is none.
    pub consumer_schema: &'static str,
    /// JSON Schema of its metadata; empty: any object.
    pub metadata_schema: &'static str,
    /// Checks what a schema cannot say, in APISIX's words.
    pub check: fn(&Value, Role) -> Result<(), String>,
}

impl PluginSpec {
    /// A plugin that has a schema and nothing else.
    pub const fn new(name: &'static str, priority: i64, version: f64, schema: &'static str) -> Self {
        Self {
            name,
            priority,
            version,
            auth: false,
            identity: "",
            schema,
            consumer_schema: "",
            metadata_schema: "",
            check: |_, _| Ok(()),
        }
    }

    /// The schema of a role; `None`: the plugin has none, anything of the right type is good.
    pub fn schema_of(&self, role: Role) -> Option<&'static str> {
        let text = match role {
            Role::Consumer if !self.consumer_schema.is_empty() => self.consumer_schema,
            Role::Metadata => self.metadata_schema,
            Role::Route | Role::Consumer => self.schema,
        };
        (!text.is_empty()).then_some(text)
    }
}
