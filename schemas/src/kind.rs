//! The kinds of resources and the keys they are stored under.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Validator;

/// A kind of resource. The order is the one in which a snapshot is applied: what others refer to comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs)] // each is the resource of its name
pub enum Kind {
    Secret,
    Proto,
    Ssl,
    PluginMetadata,
    Upstream,
    PluginConfig,
    ConsumerGroup,
    Consumer,
    Credential,
    Service,
    GlobalRule,
    Route,
    StreamRoute,
}

/// The prefix of every key, APISIX's default.
const PREFIX: &str = "/apisix/";

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 13] = [
        Kind::Secret,
        Kind::Proto,
        Kind::Ssl,
        Kind::PluginMetadata,
        Kind::Upstream,
        Kind::PluginConfig,
        Kind::ConsumerGroup,
        Kind::Consumer,
        Kind::Credential,
        Kind::Service,
        Kind::GlobalRule,
        Kind::Route,
        Kind::StreamRoute,
    ];

    /// The directory of its keys, and its place in Admin API paths: `routes`. Credentials live below their consumer.
    pub fn directory(self) -> &'static str {
        match self {
            Kind::Secret => "secrets",
            Kind::Proto => "protos",
            Kind::Ssl => "ssls",
            Kind::PluginMetadata => "plugin_metadata",
            Kind::Upstream => "upstreams",
            Kind::PluginConfig => "plugin_configs",
            Kind::ConsumerGroup => "consumer_groups",
            Kind::Consumer | Kind::Credential => "consumers",
            Kind::Service => "services",
            Kind::GlobalRule => "global_rules",
            Kind::Route => "routes",
            Kind::StreamRoute => "stream_routes",
        }
    }

    /// The kind in error messages: `route`, `plugin config`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Secret => "secret",
            Kind::Proto => "proto",
            Kind::Ssl => "ssl",
            Kind::PluginMetadata => "plugin_metadata",
            Kind::Upstream => "upstream",
            Kind::PluginConfig => "plugin config",
            Kind::ConsumerGroup => "consumer group",
            Kind::Consumer => "consumer",
            Kind::Credential => "credential",
            Kind::Service => "service",
            Kind::GlobalRule => "global rule",
            Kind::Route => "route",
            Kind::StreamRoute => "stream route",
        }
    }

    /// The kind whose directory is `name`.
    pub fn of_directory(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind != Kind::Credential && kind.directory() == name)
    }

    /// The schema's name in `/apisix/admin/schema/NAME`.
    pub fn schema_name(self) -> &'static str {
        match self {
            Kind::PluginConfig => "plugin_config",
            Kind::ConsumerGroup => "consumer_group",
            Kind::GlobalRule => "global_rule",
            Kind::StreamRoute => "stream_route",
            other => other.name(),
        }
    }

    /// The JSON Schema as text, references not yet replaced; `None`: it depends on the resource's id.
    pub fn schema_text(self) -> Option<&'static str> {
        Some(match self {
            Kind::Proto => include_str!("../resources/proto.json"),
            Kind::Ssl => include_str!("../resources/ssl.json"),
            Kind::Upstream => include_str!("../resources/upstream.json"),
            Kind::PluginConfig => include_str!("../resources/plugin_config.json"),
            Kind::ConsumerGroup => include_str!("../resources/consumer_group.json"),
            Kind::Consumer => include_str!("../resources/consumer.json"),
            Kind::Credential => include_str!("../resources/credential.json"),
            Kind::Service => include_str!("../resources/service.json"),
            Kind::GlobalRule => include_str!("../resources/global_rule.json"),
            Kind::Route => include_str!("../resources/route.json"),
            Kind::StreamRoute => include_str!("../resources/stream_route.json"),
            Kind::Secret | Kind::PluginMetadata => return None,
        })
    }

    /// The schema of a secret of `manager` (`vault`, `aws`, `gcp`).
    pub fn secret_schema(manager: &str) -> Option<&'static str> {
        Some(match manager {
            "vault" => include_str!("../resources/secret_vault.json"),
            "aws" => include_str!("../resources/secret_aws.json"),
            "gcp" => include_str!("../resources/secret_gcp.json"),
            _ => return None,
        })
    }

    /// A validator of this kind; `None`: the schema depends on the resource's id.
    pub fn validator(self) -> Option<Validator> {
        self.schema_text().map(Validator::built_in)
    }
}

/// What a resource is stored under: `/apisix/routes/1`, `/apisix/consumers/jack/credentials/1`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// The kind.
    pub kind: Kind,
    /// The id; `jack/credentials/1` for credentials, `vault/1` for secrets.
    pub id: Box<str>,
}

impl Key {
    /// The key of a resource.
    pub fn new(kind: Kind, id: impl Into<Box<str>>) -> Self {
        Self { kind, id: id.into() }
    }

    /// Reads a key below `/apisix`. `None`: it is none of a resource (`/apisix/gen_id`, a directory's placeholder).
    pub fn parse(text: &str) -> Option<Self> {
        let (directory, id) = text.strip_prefix(PREFIX)?.split_once('/')?;
        if id.is_empty() || id.ends_with('/') {
            return None;
        }
        let kind = match Kind::of_directory(directory)? {
            Kind::Consumer if id.contains('/') => {
                let mut parts = id.split('/');
                let shape = (parts.next()?, parts.next()?, parts.next()?, parts.next());
                if shape.1 != "credentials" || shape.3.is_some() {
                    return None;
                }
                Kind::Credential
            }
            kind => kind,
        };
        Some(Self::new(kind, id))
    }

    /// The consumer a credential belongs to.
    pub fn consumer(&self) -> Option<&str> {
        (self.kind == Kind::Credential).then(|| self.id.split('/').next().unwrap_or_default())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}/{}", self.kind.directory(), self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_as_they_print() {
        for (text, kind, id) in [
            ("/apisix/routes/1", Kind::Route, "1"),
            ("/apisix/consumers/jack", Kind::Consumer, "jack"),
            ("/apisix/consumers/jack/credentials/c1", Kind::Credential, "jack/credentials/c1"),
            ("/apisix/secrets/vault/1", Kind::Secret, "vault/1"),
            ("/apisix/plugin_metadata/http-logger", Kind::PluginMetadata, "http-logger"),
        ] {
            let key = Key::parse(text).unwrap();
            assert_eq!((key.kind, &*key.id), (kind, id));
            assert_eq!(key.to_string(), text);
        }
        for text in [
            "/apisix/routes/",
            "/apisix/gen_id",
            "/apisix/nothing/1",
            "/x/routes/1",
            "/apisix/consumers/a/b/c",
        ] {
            assert_eq!(Key::parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_schema_compiles() {
        for kind in Kind::ALL {
            assert_eq!(kind.validator().is_none(), matches!(kind, Kind::Secret | Kind::PluginMetadata));
        }
        for manager in ["vault", "aws", "gcp"] {
            Validator::built_in(Kind::secret_schema(manager).unwrap());
        }
    }
}
