//! Routes and services.

use serde::Deserialize;
use serde_json::Value;

use super::{Plugins, Timeout, Upstream};

/// A route.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)] // each is the field of its name
pub struct Route {
    pub name: Option<Box<str>>,
    pub uri: Option<Box<str>>,
    pub uris: Vec<Box<str>>,
    pub host: Option<Box<str>>,
    pub hosts: Vec<Box<str>>,
    pub methods: Vec<Box<str>>,
    pub remote_addr: Option<Box<str>>,
    pub remote_addrs: Vec<Box<str>>,
    pub vars: Option<Value>,
    pub priority: i64,
    pub plugins: Plugins,
    #[serde(deserialize_with = "super::id")]
    pub plugin_config_id: Option<Box<str>>,
    #[serde(deserialize_with = "super::id")]
    pub service_id: Option<Box<str>>,
    #[serde(deserialize_with = "super::id")]
    pub upstream_id: Option<Box<str>>,
    pub upstream: Option<Upstream>,
    pub timeout: Option<Timeout>,
    pub enable_websocket: Option<bool>,
    pub status: Option<i64>,
}

impl Route {
    /// Its paths.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.uri.iter().chain(&self.uris).map(|path| &**path)
    }

    /// Its own hosts.
    pub fn own_hosts(&self) -> impl Iterator<Item = &str> {
        self.host.iter().chain(&self.hosts).map(|host| &**host)
    }

    /// Its client addresses.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        self.remote_addr.iter().chain(&self.remote_addrs).map(|address| &**address)
    }

    /// Whether it is switched on.
    pub fn is_enabled(&self) -> bool {
        self.status != Some(0)
    }
}

/// A service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)] // each is the field of its name
pub struct Service {
    pub name: Option<Box<str>>,
    pub hosts: Vec<Box<str>>,
    pub plugins: Plugins,
    #[serde(deserialize_with = "super::id")]
    pub upstream_id: Option<Box<str>>,
    pub upstream: Option<Upstream>,
    pub enable_websocket: Option<bool>,
}
