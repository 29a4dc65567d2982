//! Plugins from the outside: what clients get and what upstreams are sent.

use kit::Origin;

use super::{Gw, json};

/// A route `/*` with plugins, to an origin that answers with what it was sent.
fn with_plugins(plugins: &str) -> (Gw, Origin) {
    let origin = Origin::echo();
    let gw = Gw::start();
    route(&gw, &origin, plugins);
    (gw, origin)
}

fn route(gw: &Gw, origin: &Origin, plugins: &str) {
    let body = format!(
        r#"{{"uri": "/*", "plugins": {{{plugins}}}, "upstream": {{"nodes": {{"{}": 1}}}}}}"#,
        origin.addr
    );
    gw.put("/routes/1", &body);
}

#[test]
fn key_auth() {
    let (gw, _origin) = with_plugins(r#""key-auth": {"hide_credentials": true}"#);
    gw.put("/consumers", r#"{"username": "jack", "plugins": {"key-auth": {"key": "one"}}}"#);
    gw.put("/consumers/jack/credentials/c2", r#"{"plugins": {"key-auth": {"key": "two"}}}"#);
    let missing = gw.get("/");
    assert_eq!(
        (missing.status, json(&missing)["message"].as_str()),
        (401, Some("Missing API key in request"))
    );
    assert_eq!(missing.header("WWW-Authenticate"), Some("apikey realm=\"key\""));
    let wrong = gw.request("GET", "/", "apikey: three\r\n");
    assert_eq!((wrong.status, json(&wrong)["message"].as_str()), (401, Some("Invalid API key in request")));
    let by_header = gw.request("GET", "/a?b=c", "apikey: one\r\n");
    assert_eq!(by_header.status, 200);
    assert!(by_header.text().contains("X-Consumer-Username: jack") && !by_header.text().contains("one"));
    let by_argument = gw.get("/a?b=c&apikey=two").text();
    assert!(by_argument.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{by_argument}");
    assert!(by_argument.contains("X-Credential-Identifier: c2"), "{by_argument}");
    let duplicate =
        gw.admin("PUT", "/consumers", r#"{"username": "rose", "plugins": {"key-auth": {"key": "two"}}}"#);
    assert_eq!(
        json(&duplicate)["error_msg"].as_str(),
        Some("duplicate key of plugin key-auth found with credential: c2 of consumer: jack")
    );
    assert_eq!(gw.admin("DELETE", "/consumers/jack", "").status, 200);
    assert_eq!(gw.request("GET", "/", "apikey: one\r\n").status, 401);
    assert_eq!(gw.request("GET", "/", "apikey: two\r\n").status, 401, "credentials go with their consumer");
    gw.gateway.quit();
}

#[test]
fn a_disabled_plugin_does_not_run() {
    let (gw, origin) = with_plugins(r#""key-auth": {"_meta": {"disable": true}}"#);
    assert_eq!(gw.get("/").status, 200);
    route(&gw, &origin, r#""key-auth": {"_meta": {"filter": [["arg_a", "==", "1"]]}}"#);
    assert_eq!((gw.get("/?a=1").status, gw.get("/?a=2").status), (401, 200));
    route(&gw, &origin, r#""key-auth": {"_meta": {"error_response": {"why": "no"}}}"#);
    let answer = gw.get("/");
    assert_eq!((answer.status, answer.text().as_str()), (401, "{\"why\":\"no\"}\n"));
}
