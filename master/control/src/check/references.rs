//! References between resources: what is named must be there, and what is used must not go.

use schemas::{Key, Kind};
use serde_json::{Map, Value};

use super::{Result, id_of};
use crate::state::{Entry, State};

/// Checks that everything `value` names by id is there.
pub(super) fn check(state: &State, value: &Value) -> Result {
    for (field, kind, name) in [
        ("upstream_id", Kind::Upstream, "upstream"),
        ("service_id", Kind::Service, "service"),
        ("plugin_config_id", Kind::PluginConfig, "plugin config"),
    ] {
        if let Some(id) = id_of(value, field)
            && state.get(kind, &id).is_none()
        {
            return Err(format!("failed to fetch {name} info by {name} id [{id}], response code: 404"));
        }
    }
    Ok(())
}

/// A plugin may occur in one global rule only.
pub(super) fn check_global_rule(state: &State, id: Option<&str>, plugins: &Map<String, Value>) -> Result {
    for other in state.all(Kind::GlobalRule).filter(|other| Some(&*other.key.id) != id) {
        let Some(theirs) = other.value.get("plugins").and_then(Value::as_object) else { continue };
        if let Some(name) = plugins.keys().find(|name| theirs.contains_key(*name)) {
            let id = &other.key.id;
            return Err(format!("plugin '{name}' already exists in global rule with id '{id}'"));
        }
    }
    Ok(())
}

/// Whether something uses the resource of `key`.
pub(super) fn check_delete(state: &State, key: &Key) -> Result {
    let user = |kind: Kind, field: &str| {
        state.all(kind).find(|entry| id_of(&entry.value, field).as_deref() == Some(&*key.id))
    };
    let refuse = |what: &str, by: &str, entry: &Entry| {
        Err(format!("can not delete this {what}, {by} [{}] is still using it now", entry.key.id))
    };
    match key.kind {
        Kind::Service => {
            if let Some(route) = user(Kind::Route, "service_id") {
                return refuse("service directly", "route", route);
            }
            if let Some(route) = user(Kind::StreamRoute, "service_id") {
                return refuse("service directly", "stream_route", route);
            }
        }
        Kind::Upstream => {
            for (kind, by, direct) in [
                (Kind::Route, "route", true),
                (Kind::Service, "service", true),
                (Kind::PluginConfig, "plugin_config", false),
                (Kind::Consumer, "consumer", false),
                (Kind::ConsumerGroup, "consumer_group", false),
                (Kind::GlobalRule, "global_rules", false),
            ] {
                if let Some(entry) = state.all(kind).find(|entry| splits_to(&entry.value, &key.id)) {
                    return refuse("upstream", &format!("plugin in {by}"), entry);
                }
                if direct && let Some(entry) = user(kind, "upstream_id") {
                    return refuse("upstream", by, entry);
                }
            }
        }
        Kind::PluginConfig => {
            if let Some(route) = user(Kind::Route, "plugin_config_id") {
                return refuse("plugin config", "route", route);
            }
        }
        Kind::ConsumerGroup => {
            if let Some(consumer) = user(Kind::Consumer, "group_id") {
                return refuse("consumer group", "consumer", consumer);
            }
        }
        Kind::Proto => {
            for (kind, by) in [(Kind::Route, "route"), (Kind::Service, "service")] {
                let uses = |entry: &&std::rc::Rc<Entry>| {
                    let transcode =
                        entry.value.get("plugins").and_then(|plugins| plugins.get("grpc-transcode"));
                    transcode.and_then(|conf| id_of(conf, "proto_id")).as_deref() == Some(&*key.id)
                };
                if let Some(entry) = state.all(kind).find(uses) {
                    return refuse("proto", by, entry);
                }
            }
        }
        _ => {}
    }
    Ok(())
}

/// Whether `traffic-split` of a resource leads to upstream `id`.
fn splits_to(value: &Value, id: &str) -> bool {
    let rules =
        value.get("plugins").and_then(|plugins| plugins.get("traffic-split")?.get("rules")?.as_array());
    let upstreams = rules.into_iter().flatten().filter_map(|rule| rule.get("weighted_upstreams")?.as_array());
    upstreams.flatten().any(|upstream| id_of(upstream, "upstream_id").as_deref() == Some(id))
}
