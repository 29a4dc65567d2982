//! Native gateway plugins: documentation, configuration, behaviour, tests. Names, fields, order, answers and texts are
//! Apache APISIX's; schemas stand in `schemas/plugins/`.
#![forbid(unsafe_code)]

mod args;
mod auth;
mod basic_auth;
mod consumer_restriction;
mod cors;
mod headers;
mod ip_restriction;
mod jwt_auth;
mod key_auth;
mod limit_count;
mod limit_key;
mod limits;
mod pattern;
mod proxy_rewrite;
mod redirect;
mod request_id;
mod response_rewrite;
mod restrictions;
mod simulate;
mod template;
mod traffic_split;

use schemas::{PluginSpec, Role};
use serde::Deserialize as _;
use serde_json::Value;
use worker::plugin::{Plugin, PluginEntry, Prepare};

/// Every plugin.
pub static ALL: &[PluginEntry] = &LIST;

/// Their descriptions, for the control plane.
pub static SPECS: &[&PluginSpec] = &{
    let mut specs = [LIST[0].spec; COUNT];
    let mut i = 0;
    while i < COUNT {
        specs[i] = LIST[i].spec;
        i += 1;
    }
    specs
};

const COUNT: usize = 20;

const LIST: [PluginEntry; COUNT] = [
    PluginEntry::of::<request_id::RequestId>(),
    PluginEntry::of::<simulate::FaultInjection>(),
    PluginEntry::of::<simulate::Mocking>(),
    PluginEntry::of::<cors::Cors>(),
    PluginEntry::of::<ip_restriction::IpRestriction>(),
    PluginEntry::of::<restrictions::UaRestriction>(),
    PluginEntry::of::<restrictions::RefererRestriction>(),
    PluginEntry::of::<restrictions::UriBlocker>(),
    PluginEntry::of::<basic_auth::BasicAuth>(),
    PluginEntry::of::<jwt_auth::JwtAuth>(),
    PluginEntry::of::<key_auth::KeyAuth>(),
    PluginEntry::of::<consumer_restriction::ConsumerRestriction>(),
    PluginEntry::of::<proxy_rewrite::ProxyRewrite>(),
    PluginEntry::of::<limits::LimitConn>(),
    PluginEntry::of::<limit_count::LimitCount>(),
    PluginEntry::of::<limits::LimitReq>(),
    PluginEntry::of::<traffic_split::TrafficSplit>(),
    PluginEntry::of::<redirect::Redirect>(),
    PluginEntry::of::<response_rewrite::ResponseRewrite>(),
    PluginEntry::of::<simulate::Echo>(),
];

/// Checks a configuration by preparing it: what a schema cannot say.
fn check<P: Plugin>(conf: &Value, role: Role) -> Result<(), String> {
    if role != Role::Route {
        return Ok(());
    }
    let read = P::Conf::deserialize(conf).map_err(|error| error.to_string())?;
    P::prepare(read, &Prepare { parent: "", conf }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::Validator;
    use serde_json::json;

    #[test]
    fn the_table_is_in_order_and_its_schemas_compile() {
        let mut before = i64::MAX;
        for entry in ALL {
            let spec = entry.spec;
            assert!(spec.priority <= before, "{} is out of order", spec.name);
            before = spec.priority;
            for text in [spec.schema, spec.consumer_schema, spec.metadata_schema] {
                if !text.is_empty() {
                    Validator::built_in(text);
                }
            }
            assert_eq!(spec.auth, !spec.identity.is_empty(), "{}", spec.name);
        }
    }

    #[test]
    fn refusals_a_schema_cannot_say() {
        for (name, conf, text) in [
            (
                "proxy-rewrite",
                json!({"regex_uri": ["a", "b", "c"]}),
                "The length of regex_uri should be an even number",
            ),
            ("proxy-rewrite", json!({"headers": {"X Y": "a"}}), "invalid field character in header"),
            (
                "redirect",
                json!({"http_to_https": true, "append_query_string": true}),
                "only one of `http_to_https` and `append_query_string` can be configured.",
            ),
            (
                "cors",
                json!({"allow_credential": true}),
                "you can not set '*' for other option when 'allow_credential' is true",
            ),
            ("response-rewrite", json!({"body": "?", "body_base64": true}), "invalid base64 content"),
            (
                "mocking",
                json!({"response_example": "", "content_type": "image/png"}),
                "unsupported content type!",
            ),
            (
                "limit-count",
                json!({"count": 1, "time_window": 1, "policy": "redis"}),
                "policy \"redis\" is not supported yet",
            ),
            (
                "limit-count",
                json!({"rules": [{"count": 1, "time_window": 1, "key": "a"}, {"count": 1, "time_window": 1, "key": "a"}]}),
                "duplicate key 'a' in rules",
            ),
        ] {
            let entry = ALL.iter().find(|entry| entry.spec.name == name).unwrap();
            let mut conf = conf;
            Validator::built_in(entry.spec.schema).check(&mut conf).unwrap();
            assert_eq!((entry.spec.check)(&conf, Role::Route), Err(text.to_owned()), "{name}");
        }
    }
}
