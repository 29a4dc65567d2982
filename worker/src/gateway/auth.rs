//! Consumers: who a request is from.

use std::rc::Rc;

use schemas::resource::Consumer;
use serde_json::Value;

use super::context::GatewayContext;
use super::plugins::PluginSet;
use crate::request::Request;

/// A consumer as one of its credentials identifies it.
pub struct Binding {
    /// The consumer.
    pub consumer: Rc<Consumer>,
    /// The credential, unless the consumer itself holds the key.
    pub credential: Option<Box<str>>,
    /// What the plugin's `consumer_schema` describes, with defaults.
    pub conf: Value,
    /// The consumer's plugins.
    pub(super) plugins: PluginSet,
}

impl Binding {
    /// The consumer's name.
    pub fn name(&self) -> &str {
        &self.consumer.username
    }

    /// The consumer's group.
    pub fn group_id(&self) -> Option<&str> {
        self.consumer.group_id.as_deref()
    }

    /// `labels.custom_id`.
    fn custom_id(&self) -> Option<&str> {
        self.consumer.labels.get("custom_id")?.as_str()
    }
}

/// The consumer that `plugin` knows by `identity` (an API key, a user name, a key id).
pub fn find_consumer(req: &Request, plugin: &str, identity: &str) -> Option<Rc<Binding>> {
    req.worker.gateway.consumer_by_identity(plugin, identity)
}

/// The consumer called `name`, for `anonymous_consumer`.
pub fn find_anonymous(req: &Request, name: &str) -> Option<Rc<Binding>> {
    req.worker.gateway.consumer_by_name(name)
}

/// Fields that tell the upstream who the consumer is. A client's own are never passed on where consumers are identified.
pub(super) const IDENTITY_FIELDS: [&[u8]; 3] =
    [b"X-Consumer-Username", b"X-Credential-Identifier", b"X-Consumer-Custom-ID"];

/// The request is from this consumer.
pub fn attach_consumer(req: &mut Request, binding: &Rc<Binding>) {
    IDENTITY_FIELDS.iter().for_each(|name| {
        req.headers.remove(name);
    });
    req.headers.set(IDENTITY_FIELDS[0], binding.name().as_bytes());
    if let Some(credential) = &binding.credential {
        req.headers.set(IDENTITY_FIELDS[1], credential.as_bytes());
    }
    if let Some(custom_id) = binding.custom_id() {
        req.headers.set(IDENTITY_FIELDS[2], custom_id.as_bytes());
    }
    req.context.entry::<GatewayContext>().consumer = Some(Rc::clone(binding));
}
