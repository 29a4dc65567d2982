//! What is refused, in APISIX's words.

use serde_json::json;

use super::*;
use crate::store::Stored;

fn state(values: &[(Kind, &str, Value)]) -> State {
    let mut state = State::default();
    for (kind, id, value) in values {
        let key = Key::new(*kind, *id);
        let stored =
            Stored { key: key.to_string(), created: 1, modified: 1, value: Some(value.to_string().into()) };
        state.set(key, stored, value.clone());
    }
    state
}

static AUTH: PluginSpec = PluginSpec {
    auth: true,
    identity: "key",
    consumer_schema: r#"{"type": "object", "properties": {"key": {"type": "string"}}, "required": ["key"]}"#,
    ..PluginSpec::new(
        "an-auth",
        10,
        0.1,
        r#"{"type": "object", "properties": {"header": {"type": "string"}}}"#,
    )
};

fn refusal(kind: Kind, id: &str, value: Value, state: &State) -> Option<String> {
    Checker::new(&[&AUTH]).check(kind, Some(id), &value, Against { state: Some(state) }).err()
}

#[test]
fn dangling_references() {
    let state = state(&[(Kind::Service, "1", json!({}))]);
    let route = |value: Value| refusal(Kind::Route, "1", value, &state);
    assert_eq!(route(json!({"uri": "/", "service_id": 1})), None);
    assert_eq!(
        route(json!({"uri": "/", "upstream_id": "9"})).as_deref(),
        Some("failed to fetch upstream info by upstream id [9], response code: 404")
    );
    assert_eq!(
        route(json!({"uri": "/", "service_id": "9"})).as_deref(),
        Some("failed to fetch service info by service id [9], response code: 404")
    );
    assert_eq!(
        route(json!({"uri": "/", "plugins": {}, "plugin_config_id": "9"})).as_deref(),
        Some("failed to fetch plugin config info by plugin config id [9], response code: 404")
    );
}

#[test]
fn deletes_of_what_is_used() {
    let state = state(&[
        (Kind::Route, "1", json!({"service_id": 2, "upstream_id": "3", "plugin_config_id": "4"})),
        (Kind::Consumer, "jack", json!({"group_id": "g"})),
        (
            Kind::Service,
            "5",
            json!({"plugins": {"traffic-split": {"rules": [{"weighted_upstreams": [{"upstream_id": 6}]}]}}}),
        ),
    ]);
    let check = |kind, id: &str| Checker::new(&[]).check_delete(&Key::new(kind, id), &state).err();
    for (kind, id, text) in [
        (Kind::Service, "2", "can not delete this service directly, route [1] is still using it now"),
        (Kind::Upstream, "3", "can not delete this upstream, route [1] is still using it now"),
        (Kind::PluginConfig, "4", "can not delete this plugin config, route [1] is still using it now"),
        (
            Kind::ConsumerGroup,
            "g",
            "can not delete this consumer group, consumer [jack] is still using it now",
        ),
        (Kind::Upstream, "6", "can not delete this upstream, plugin in service [5] is still using it now"),
    ] {
        assert_eq!(check(kind, id).as_deref(), Some(text));
        assert_eq!(check(kind, "other"), None);
    }
}

#[test]
fn upstreams() {
    let state = State::default();
    let check = |value: Value| refusal(Kind::Upstream, "1", value, &state);
    let nodes = json!({"127.0.0.1:80": 1});
    for (value, text) in [
        (json!({"nodes": nodes, "type": "chash"}), "missing key"),
        (
            json!({"nodes": nodes, "type": "chash", "key": "not_support"}),
            "invalid configuration: failed to match pattern \
             \"^((uri|server_name|server_addr|request_uri|remote_port|remote_addr|query_string|host|hostname|mqtt_client_id)|\
             arg_[0-9a-zA-z_-]+)$\" with \"not_support\"",
        ),
        (
            json!({"nodes": nodes, "pass_host": "rewrite"}),
            "`upstream_host` can't be empty when `pass_host` is `rewrite`",
        ),
        (json!({"nodes": {"a:65536": 1}}), "invalid port 65536"),
        (
            json!({"nodes": nodes, "scheme": "https"}),
            "invalid configuration: scheme \"https\" is not supported yet",
        ),
        (
            json!({"nodes": nodes, "checks": {"active": {}}}),
            "invalid configuration: \"checks\" is not supported yet",
        ),
    ] {
        assert_eq!(check(value.clone()).as_deref(), Some(text), "{value}");
    }
    assert_eq!(check(json!({"nodes": nodes, "type": "chash", "key": "arg_x"})), None);
}

#[test]
fn consumers_with_one_key() {
    let state = state(&[
        (Kind::Consumer, "jack", json!({"username": "jack", "plugins": {"an-auth": {"key": "a"}}})),
        (Kind::Credential, "jack/credentials/c1", json!({"plugins": {"an-auth": {"key": "b"}}})),
    ]);
    let with = |key: &str| json!({"username": "rose", "plugins": {"an-auth": {"key": key}}});
    let check = |value: Value| refusal(Kind::Consumer, "rose", value, &state);
    assert_eq!(check(with("c")), None);
    assert_eq!(
        check(with("a")).as_deref(),
        Some("duplicate key of plugin an-auth found with consumer: jack")
    );
    assert_eq!(
        check(with("b")).as_deref(),
        Some("duplicate key of plugin an-auth found with credential: c1 of consumer: jack")
    );
    assert_eq!(
        check(json!({"username": "rose", "plugins": {"an-auth": {}}})).as_deref(),
        Some(
            "invalid plugins configuration: failed to check the configuration of plugin an-auth err: property \"key\" is \
             required"
        )
    );
    let other = json!({"username": "rose", "plugins": {"none": {}}});
    assert_eq!(check(other).as_deref(), Some("invalid plugins configuration: unknown plugin [none]"));
}

#[test]
fn conditions_and_plugins() {
    let state = State::default();
    let check = |value: Value| refusal(Kind::Route, "1", value, &state);
    let route = |extra: Value| {
        let mut value = json!({"uri": "/", "upstream": {"nodes": {"a:1": 1}}});
        value.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        value
    };
    for (extra, text) in [
        (
            json!({"vars": [["a", "=", "b"]]}),
            "failed to validate the 'vars' expression: invalid operator '='",
        ),
        (json!({"plugins": {"x": {}}}), "unknown plugin [x]"),
        (json!({"plugins": {"an-auth": 1}}), "invalid plugin conf 1 for plugin [an-auth]"),
        (json!({"host": "a", "hosts": ["b"]}), "only one of host or hosts is allowed"),
        (
            json!({"filter_func": "function(vars) return true end"}),
            "invalid configuration: \"filter_func\" is not supported yet",
        ),
        (
            json!({"vars": [["post_arg_a", "==", "b"]]}),
            "invalid configuration: variable \"post_arg_a\" is not supported yet",
        ),
    ] {
        assert_eq!(check(route(extra.clone())).as_deref(), Some(text), "{extra}");
    }
    let disabled = json!({"plugins": {"an-auth": {"header": 1, "_meta": {"disable": true}}}});
    assert_eq!(check(route(disabled)), None, "a plugin that does not run is not held against the route");
}
