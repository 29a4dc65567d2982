//! Consumers, and resources that are little more than plugins.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::Plugins;

/// A consumer.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)] // each is the field of its name
pub struct Consumer {
    pub username: Box<str>,
    pub plugins: Plugins,
    #[serde(deserialize_with = "super::id")]
    pub group_id: Option<Box<str>>,
    pub labels: Map<String, Value>,
}

/// A credential of a consumer.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)] // the field of its name
pub struct Credential {
    pub plugins: Plugins,
}

/// A plugin config, consumer group or global rule.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)] // the field of its name
pub struct PluginHolder {
    pub plugins: Plugins,
}
