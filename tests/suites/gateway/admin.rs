//! The Admin API's answers: status codes, bodies, texts.

use serde_json::json;

use super::{Gw, json};

const UPSTREAM: &str = r#""upstream": {"nodes": {"127.0.0.1:1": 1}}"#;

fn error(gw: &Gw, method: &str, path: &str, body: &str) -> (u16, String) {
    let answer = gw.admin(method, path, body);
    let text = json(&answer)["error_msg"].as_str().unwrap_or_default().to_owned();
    (answer.status, text)
}

#[test]
fn the_life_of_a_route() {
    let gw = Gw::start();
    let created = gw.admin("PUT", "/routes/1", &format!(r#"{{"uri": "/a", {UPSTREAM}}}"#));
    assert_eq!((created.status, created.header("X-API-VERSION")), (201, Some("v3")));
    let body = json(&created);
    assert_eq!(body["key"], "/apisix/routes/1");
    assert_eq!(body["value"]["id"], "1");
    assert_eq!(body["createdIndex"], body["modifiedIndex"]);
    let (created_at, index) = (body["value"]["create_time"].clone(), body["createdIndex"].clone());
    assert!(created_at.is_u64());
    let replaced =
        gw.admin("PUT", "/routes/1", &format!(r#"{{"uri": "/b", {UPSTREAM}, "labels": {{"k": "v"}}}}"#));
    assert_eq!(replaced.status, 200);
    let body = json(&replaced);
    assert_eq!((&body["value"]["create_time"], &body["createdIndex"]), (&created_at, &index));
    assert!(body["modifiedIndex"].as_u64() > index.as_u64());
    let patched = gw.admin("PATCH", "/routes/1", r#"{"uri": "/c", "labels": {"k": null, "l": "w"}}"#);
    assert_eq!(patched.status, 200);
    assert_eq!(json(&patched)["value"]["labels"], json!({"l": "w"}));
    let patched = gw.admin("PATCH", "/routes/1/upstream/nodes", r#"{"127.0.0.1:2": 3}"#);
    assert_eq!(json(&patched)["value"]["upstream"]["nodes"], json!({"127.0.0.1:2": 3}));
    let got = json(&gw.admin("GET", "/routes/1", ""));
    assert_eq!((&got["value"]["uri"], &got["createdIndex"]), (&json!("/c"), &index));
    let deleted = gw.admin("DELETE", "/routes/1", "");
    assert_eq!((deleted.status, json(&deleted)), (200, json!({"deleted": "1", "key": "/apisix/routes/1"})));
    let gone = gw.admin("GET", "/routes/1", "");
    assert_eq!((gone.status, json(&gone)), (404, json!({"message": "Key not found"})));
    assert_eq!(gw.admin("DELETE", "/routes/1", "").status, 404);
    assert_eq!(gw.admin("PATCH", "/routes/1", "{}").status, 404);
    let posted = gw.admin("POST", "/routes", &format!(r#"{{"uri": "/a", {UPSTREAM}}}"#));
    assert_eq!(posted.status, 201);
    let id = json(&posted)["value"]["id"].as_str().unwrap().to_owned();
    assert!(id.len() == 20 && id.bytes().all(|byte| byte.is_ascii_digit()), "{id}");
    assert_eq!(gw.admin("GET", &format!("/routes/{id}"), "").status, 200);
    gw.gateway.quit();
}

#[test]
fn refusals_in_apisix_s_words() {
    let gw = Gw::start();
    let route = |rest: &str| format!(r#"{{"uri": "/a", {UPSTREAM}, {rest}}}"#);
    for (method, path, body, status, text) in [
        ("PUT", "/routes/1", String::new(), 400, "missing configurations"),
        ("PUT", "/routes", route(r#""name": "x""#), 400, "missing route id"),
        ("PUT", "/routes/1", route(r#""id": "2""#), 400, "wrong route id"),
        ("POST", "/routes/1", route(r#""name": "x""#), 400, "wrong route id, do not need it"),
        ("PATCH", "/routes", "{}".into(), 400, "missing route id"),
        ("DELETE", "/routes", String::new(), 400, "missing route id"),
        ("PUT", "/routes/1", route(r#""create_time": 1"#), 400, "the property is forbidden:  create_time"),
        (
            "PUT",
            "/routes/1",
            route(r#""nothing": 1"#),
            400,
            "invalid configuration: additional properties forbidden, found nothing",
        ),
        (
            "PUT",
            "/routes/1",
            route(r#""methods": ["FOO"]"#),
            400,
            "invalid configuration: property \"methods\" validation failed: failed to validate item 1: matches none of the enum values",
        ),
        (
            "PUT",
            "/routes/*",
            route(r#""name": "x""#),
            400,
            "invalid configuration: property \"id\" validation failed: object matches none of the required",
        ),
        (
            "PUT",
            "/routes/1",
            r#"{"uri": "/a", "upstream_id": "9"}"#.into(),
            400,
            "failed to fetch upstream info by upstream id [9], response code: 404",
        ),
        ("PUT", "/nothing/1", "{}".into(), 404, "Unsupported resource type: nothing"),
        ("POST", "/consumers", "{}".into(), 405, "not supported `POST` method for consumer"),
        (
            "PATCH",
            "/plugin_metadata/key-auth",
            "{}".into(),
            405,
            "not supported `PATCH` method for plugin_metadata",
        ),
        ("PUT", "/stream_routes/1", "{}".into(), 400, "stream mode is disabled, can not add stream routes"),
        (
            "PUT",
            "/routes/1?ttl=abc",
            route(r#""name": "x""#),
            400,
            "invalid argument ttl: should be a number",
        ),
        ("PUT", "/plugin_metadata/none", "{}".into(), 400, "invalid plugin name"),
        ("PUT", "/consumers/jack/credentials/1", r#"{"plugins": {}}"#.into(), 404, "consumer not found"),
        ("PUT", "/secrets/none/1", "{}".into(), 400, "invalid secret manager: none"),
    ] {
        assert_eq!(error(&gw, method, path, &body), (status, text.to_owned()), "{method} {path}");
    }
    assert_eq!(json(&gw.admin("GET", "/routes", "")), json!({"total": 0, "list": []}), "nothing was stored");
    gw.gateway.quit();
}

#[test]
fn what_is_used_cannot_be_deleted() {
    let gw = Gw::start();
    gw.put("/upstreams/u", r#"{"nodes": {"127.0.0.1:1": 1}}"#);
    gw.put("/services/s", r#"{"upstream_id": "u"}"#);
    gw.put("/plugin_configs/p", r#"{"plugins": {}}"#);
    gw.put("/routes/1", r#"{"uri": "/", "service_id": "s", "plugin_config_id": "p"}"#);
    for (path, text) in [
        ("/upstreams/u", "can not delete this upstream, service [s] is still using it now"),
        ("/services/s", "can not delete this service directly, route [1] is still using it now"),
        ("/plugin_configs/p", "can not delete this plugin config, route [1] is still using it now"),
    ] {
        assert_eq!(error(&gw, "DELETE", path, ""), (400, text.to_owned()));
        assert_eq!(gw.admin("GET", path, "").status, 200);
    }
    assert_eq!(gw.admin("DELETE", "/services/s?force=true", "").status, 200);
    assert_eq!(gw.get("/").status, 404, "a route whose service is gone");
}

#[test]
fn lists_are_filtered_and_paged() {
    let gw = Gw::start();
    gw.put("/services/s", "{}");
    for n in 0..12 {
        let service = if n % 2 == 0 { r#", "service_id": "s""# } else { "" };
        gw.put(
            &format!("/routes/{n}"),
            &format!(
                r#"{{"uri": "/r{n}", "name": "name-{n}", "labels": {{"l{}": "x"}}, {UPSTREAM}{service}}}"#,
                n % 3
            ),
        );
    }
    let total =
        |query: &str| json(&gw.admin("GET", &format!("/routes{query}"), ""))["total"].as_u64().unwrap();
    assert_eq!(total(""), 12);
    assert_eq!(total("?name=name-1"), 3, "a pattern");
    assert_eq!(total("?uri=^/r1$"), 1);
    assert_eq!(total("?label=l0"), 4);
    assert_eq!(total("?filter=service_id%3Ds"), 6);
    let page = json(&gw.admin("GET", "/routes?page=2&page_size=10", ""));
    assert_eq!((page["total"].as_u64(), page["list"].as_array().unwrap().len()), (Some(12), 2));
    assert_eq!(page["list"][0]["value"]["uri"], "/r10", "in the order they were made");
    let wrong = gw.admin("GET", "/routes?page=1&page_size=5", "");
    assert_eq!((wrong.status, wrong.text().as_str()), (400, "page_size must be between 10 and 500"));
}

#[test]
fn schemas_and_plugins_describe_themselves() {
    let gw = Gw::start();
    let schema = json(&gw.admin("GET", "/schema/route", ""));
    assert_eq!(schema["properties"]["upstream"]["properties"]["pass_host"]["default"], "pass");
    assert_eq!(error(&gw, "GET", "/schema/none", ""), (400, "not found schema: none".to_owned()));
    let names = json(&gw.admin("GET", "/plugins/list", ""));
    assert!(names.as_array().unwrap().contains(&json!("key-auth")));
    let schema = json(&gw.admin("GET", "/schema/plugins/key-auth?schema_type=consumer", ""));
    assert_eq!(schema["required"], json!(["key"]));
    assert_eq!(
        error(&gw, "GET", "/plugins/none", ""),
        (404, "plugin not found in subsystem http".to_owned())
    );
    assert_eq!(
        gw.admin("POST", "/schema/validate/routes", &format!(r#"{{"uri": "/a", {UPSTREAM}}}"#)).status,
        200
    );
    let (status, text) = error(&gw, "POST", "/schema/validate/routes", r#"{"uri": 1}"#);
    assert_eq!(status, 400);
    assert!(
        text.starts_with("invalid configuration: property \"uri\" validation failed: wrong type"),
        "{text}"
    );
    assert_eq!(gw.admin("PUT", "/plugins/reload", "").text(), "done");
    assert_eq!(gw.admin("POST", "/plugins/reload", "").status, 405);
}

#[test]
fn a_dry_run_shows_and_changes_nothing() {
    let gw = Gw::start();
    let body = format!(r#"{{"uri": "/a", {UPSTREAM}}}"#);
    let answer = gw.admin("PUT", "/routes/1?dry_run=1", &body);
    assert_eq!((answer.status, json(&answer)["before"].is_null()), (200, true));
    assert_eq!(gw.admin("GET", "/routes/1", "").status, 404);
    assert_eq!(gw.admin("PUT", "/routes/1?dry_run=1", "{}").status, 400, "it is checked");
    gw.put("/routes/1", &body);
    assert_eq!(gw.admin("DELETE", "/routes/1?dry_run=1", "").status, 200);
    assert_eq!(gw.admin("GET", "/routes/1", "").status, 200);
}

#[test]
fn a_resource_with_a_time_to_live_goes_by_itself() {
    let mut gw = Gw::start();
    let body = r#"{"uri": "/a", "plugins": {}}"#;
    assert_eq!(gw.admin("PUT", "/routes/1?ttl=1", body).status, 201);
    assert_eq!(gw.get("/a").status, 503);
    let addr = gw.addr();
    gw.gateway.wait_for("the route to go", |_| kit::get(addr, "/a").status == 404);
}

#[test]
fn history_is_kept_and_can_be_undone() {
    let gw = Gw::start();
    gw.put("/routes/1", r#"{"uri": "/a", "plugins": {}}"#);
    gw.put("/routes/1", r#"{"uri": "/b", "plugins": {}}"#);
    assert_eq!(gw.admin("DELETE", "/routes/1", "").status, 200);
    let history = json(&gw.admin("GET", "/uresty/admin/history", ""));
    let list = history["list"].as_array().unwrap();
    assert_eq!((list.len(), &list[0]["action"], &list[0]["by"]), (3, &json!("delete"), &json!("admin")));
    assert_eq!((&list[1]["before"]["uri"], &list[1]["after"]["uri"]), (&json!("/a"), &json!("/b")));
    let first = list[2]["revision"].as_u64().unwrap();
    let answer = gw.admin("POST", &format!("/uresty/admin/rollback/{first}"), "");
    assert_eq!((answer.status, answer.header("X-Config-Applied")), (200, Some("2/2")), "{}", answer.text());
    assert_eq!(json(&gw.admin("GET", "/routes/1", ""))["value"]["uri"], "/a");
    assert_eq!((gw.get("/a").status, gw.get("/b").status), (503, 404));
    assert_eq!(gw.admin("POST", "/uresty/admin/rollback/999999", "").status, 404);
}

#[test]
fn status_names_revision_and_workers() {
    let gw = Gw::start();
    let revision = gw.put("/routes/1", r#"{"uri": "/a", "plugins": {}}"#)["modifiedIndex"].clone();
    let status = json(&gw.admin("GET", "/uresty/admin/status", ""));
    assert_eq!((&status["revision"], &status["resources"]["routes"]), (&revision, &json!(1)));
    let workers = status["workers"].as_array().unwrap();
    assert!(workers.len() == 2 && workers.iter().all(|worker| worker["revision"] == revision), "{status}");
}
