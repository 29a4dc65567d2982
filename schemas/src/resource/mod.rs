//! Resources in typed form, as workers use them.
//!
//! They are read from JSON that has passed its schema; what a worker does not look at (labels, times) is left out.

mod route;
mod rules;
mod upstream;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

pub use route::{Route, Service};
pub use rules::{Consumer, Credential, PluginHolder};
pub use upstream::{HashOn, KeepalivePool, Node, PassHost, Scheme, Timeout, Upstream};

/// Plugins by name with their configurations.
pub type Plugins = Map<String, Value>;

/// An id: a text, or a number that stands for its text.
pub(crate) fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<str>>, D::Error> {
    Ok(match Option::<Value>::deserialize(deserializer)? {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.into()),
        Some(other) => Some(other.to_string().into()),
    })
}
