//! Error texts as APISIX gives them.

use serde_json::json;

use super::*;
use crate::Kind;

fn route(mut value: Value) -> Result<(), String> {
    Kind::Route.validator().unwrap().check(&mut value)
}

#[test]
fn texts_of_routes() {
    let upstream = json!({"nodes": {"127.0.0.1:80": 1}});
    assert_eq!(route(json!({"uri": "/a", "upstream": upstream})), Ok(()));
    for (value, text) in [
        (json!({"uri": "/a", "upstream": upstream, "x": 1}), "additional properties forbidden, found x"),
        (
            json!({"uri": "/a", "upstream": upstream, "methods": ["GET", "GET"]}),
            "property \"methods\" validation failed: expected unique items but items 1 and 2 are equal",
        ),
        (
            json!({"uri": "/a", "upstream": upstream, "methods": ["FOO"]}),
            "property \"methods\" validation failed: failed to validate item 1: matches none of the enum values",
        ),
        (
            json!({"uri": "/a", "id": "*", "upstream": upstream}),
            "property \"id\" validation failed: object matches none of the required",
        ),
        (
            json!({"uri": "/a", "labels": {"env": ["a"]}, "upstream": upstream}),
            "property \"labels\" validation failed: failed to validate env (matching \".*\"): wrong type: expected string, \
             got table",
        ),
        (
            json!({"uri": "/a", "labels": "x", "upstream": upstream}),
            "property \"labels\" validation failed: wrong type: expected object, got string",
        ),
        (
            json!({"upstream": upstream}),
            "allOf 1 failed: value should match only one schema, but matches none",
        ),
        (
            json!({"uri": "/a", "upstream": {"nodes": {"a": 1}, "retries": -1}}),
            "property \"upstream\" validation failed: property \"retries\" validation failed: expected -1 to be at least 0",
        ),
        (
            json!({"uri": "/a", "upstream": {"nodes": {"a": -1}}}),
            "property \"upstream\" validation failed: property \"nodes\" validation failed: object matches none of the \
             required",
        ),
        (
            json!({"uri": "/a", "upstream": upstream, "remote_addr": "x"}),
            "property \"remote_addr\" validation failed: object matches none of the required",
        ),
        (
            json!({"uri": "/a", "upstream": upstream, "name": "x".repeat(257)}),
            "property \"name\" validation failed: string too long, expected at most 256, got 257",
        ),
        (
            json!({"uri": "/a", "upstream": upstream, "timeout": {"connect": 0, "send": 1, "read": 1}}),
            "property \"timeout\" validation failed: property \"connect\" validation failed: expected 0 to be greater than 0",
        ),
    ] {
        assert_eq!(route(value.clone()), Err(text.to_owned()), "{value}");
    }
    let none = route(json!({"uri": "/a"})).unwrap_err();
    assert!(none.starts_with(
        "object matches none of the required: [\"plugins\",\"uri\"] or [\"upstream\",\"uri\"] or"
    ));
}

#[test]
fn defaults_are_filled_in() {
    let mut value = json!({"uri": "/a", "upstream": {"nodes": [{"host": "a", "weight": 1}]}});
    Kind::Route.validator().unwrap().check(&mut value).unwrap();
    assert_eq!(value["priority"], 0);
    assert_eq!(value["upstream"]["pass_host"], "pass");
    assert_eq!(value["upstream"]["nodes"][0]["priority"], 0);
}

#[test]
fn conditions_see_defaults() {
    let mut value = json!({"cert": "x".repeat(128), "key": "k".repeat(64)});
    let ssl = Kind::Ssl.validator().unwrap();
    assert_eq!(ssl.check(&mut value), Err("then clause did not match".to_owned()));
    let mut client = json!({"type": "client", "cert": "x".repeat(128), "key": "k".repeat(64)});
    assert_eq!(ssl.check(&mut client), Ok(()));
}

#[test]
fn dependent_schemas() {
    let mut value = json!({"nodes": {"a": 1}, "tls": {"client_cert": "x".repeat(128)}});
    let error = Kind::Upstream.validator().unwrap().check(&mut value).unwrap_err();
    assert_eq!(
        error,
        "property \"tls\" validation failed: failed to validate dependent schema for \"client_cert\": property \
         \"client_key\" is required"
    );
}

#[test]
fn numbers_as_lua_prints_them() {
    for (number, text) in [
        (0.0, "0"),
        (-1.0, "-1"),
        (1.5, "1.5"),
        (0.1, "0.1"),
        (65536.0, "65536"),
        (1e20, "1e+20"),
        (1e-7, "1e-07"),
        (2.0 / 3.0, "0.66666666666667"),
    ] {
        assert_eq!(lua_number(number), text);
    }
    assert_eq!(lua_quote("a\"b\\c"), r#""a\"b\\c""#);
}
