//! What must never be: keys that others know, identities that clients choose, paths that mean two things.

use kit::Origin;

use super::{CONF, Gw, answer_of, json, key};

#[test]
fn no_key_is_shipped_and_none_is_accepted_but_ours() {
    let one = Gw::start();
    let two = Gw::start();
    assert_ne!(one.key, two.key, "keys are made, not shipped");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &one.gateway.path("data/admin.key").metadata().unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    let refused = |key: &str, why: &str| {
        let answer = one.admin_as(key, "GET", "/routes", "");
        let body = json(&answer);
        assert_eq!((answer.status, &body["error_msg"]), (401, &"failed to check token".into()));
        assert_eq!(body["description"], why);
    };
    refused("edd1c9f034335f136f87ad84b625c8f1", "wrong apikey");
    refused("", "wrong apikey");
    refused(&one.key[1..], "wrong apikey");
    let none = kit::get(one.admin_addr(), "/apisix/admin/routes");
    assert_eq!((none.status, json(&none)["description"].as_str()), (401, Some("missing apikey")));
    for query in [format!("/apisix/admin/routes?api_key={}", one.key), "/apisix/admin/routes".into()] {
        let cookie =
            if query.contains('?') { String::new() } else { format!("Cookie: x_api_key={}\r\n", one.key) };
        let raw = format!("GET {query} HTTP/1.1\r\nHost: x\r\n{cookie}\r\n");
        assert_eq!(kit::request(one.admin_addr(), &raw).status, 200);
    }
    assert!(!one.gateway.error_log().contains(&one.key), "no key gets into the log");
    one.gateway.quit();
}

#[test]
fn a_viewer_reads_and_nothing_else() {
    let gw = Gw::start();
    let viewer = key(&gw.gateway, "viewer");
    assert_eq!(gw.admin_as(&viewer, "GET", "/routes", "").status, 200);
    for method in ["PUT", "POST", "PATCH", "DELETE"] {
        let answer = gw.admin_as(&viewer, method, "/routes/1", r#"{"uri": "/a", "plugins": {}}"#);
        assert_eq!(
            (answer.status, json(&answer)["description"].as_str()),
            (401, Some("invalid method for role viewer"))
        );
    }
    assert_eq!(gw.admin("GET", "/routes/1", "").status, 404);
}

#[test]
fn the_admin_api_is_not_on_the_data_port() {
    let gw = Gw::start();
    for path in ["/apisix/admin/routes", "/uresty/admin/status"] {
        let answer = gw.request("GET", path, &format!("X-API-KEY: {}\r\n", gw.key));
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (404, "{\"error_msg\":\"404 Route Not Found\"}\n")
        );
    }
}

#[test]
fn a_file_of_keys_that_others_can_read_is_not_used() {
    let gw = Gw::start();
    let path = gw.gateway.path("data/admin.key");
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let conf = CONF.replace("data/gateway.redb", "data/other.redb");
    let mut gateway = gw.gateway;
    gateway.rewrite_conf(&conf, &[]);
    gateway.signal(nix::sys::signal::Signal::SIGHUP);
    gateway.wait_for("a message", |gateway| gateway.error_log().contains("can be read by others"));
}

#[test]
fn names_that_occur_twice_are_refused() {
    let gw = Gw::start();
    let body = r#"{"uri": "/a", "uri": "/b", "plugins": {}}"#;
    let answer = gw.admin("PUT", "/routes/1", body);
    assert_eq!(answer.status, 400);
    let text = json(&answer)["error_msg"].as_str().unwrap().to_owned();
    assert!(text.starts_with("invalid request body: duplicate name \"uri\""), "{text}");
}

#[test]
fn a_body_beyond_the_limit_is_refused() {
    let gw = Gw::start();
    let large = 1_678_025;
    let raw = format!(
        "PUT /apisix/admin/routes/1 HTTP/1.1\r\nHost: x\r\nX-API-KEY: {}\r\nContent-Length: {large}\r\n\r\n",
        gw.key
    );
    let answer = kit::request(gw.admin_addr(), &raw);
    let text = "invalid request body: request size 1678025 is greater than the maximum size 1572864 allowed";
    assert_eq!((answer.status, json(&answer)["error_msg"].as_str()), (400, Some(text)));
}

#[test]
fn a_path_is_judged_and_passed_on_in_one_spelling() {
    let origin = Origin::echo();
    let gw = Gw::start();
    gw.put(
        "/routes/open",
        &format!(r#"{{"uri": "/open/*", "upstream": {{"nodes": {{"{}": 1}}}}}}"#, origin.addr),
    );
    gw.put("/routes/admin", r#"{"uri": "/admin/*", "plugins": {"key-auth": {}}}"#);
    for target in [
        "/open/../admin/x",
        "/open/%2e%2e/admin/x",
        "/open/%2E%2E/admin/x",
        "/./admin/x",
        "//admin/x",
        "/%61dmin/x",
        "/open/..%2fadmin/x",
        "/admin//x",
    ] {
        assert_eq!(gw.get(target).status, 401, "{target}");
    }
    for (target, sent) in [
        ("/open/a//b/./c/../d", "/open/a/b/d"),
        ("/open/a%2fb", "/open/a/b"),
        ("/open/%2e/a", "/open/a"),
        ("/open/a%20b?x=%2e%2e//", "/open/a%20b?x=%2e%2e//"),
    ] {
        let text = gw.get(target).text();
        assert!(text.starts_with(&format!("GET {sent} HTTP/1.1\r\n")), "{target}: {text}");
    }
    gw.gateway.quit();
}

#[test]
fn clients_do_not_say_who_they_are() {
    let origin = Origin::echo();
    let gw = Gw::start();
    gw.put("/consumers", r#"{"username": "jack", "plugins": {"key-auth": {"key": "jack-key"}}}"#);
    gw.put(
        "/routes/1",
        &format!(
            r#"{{"uri": "/*", "plugins": {{"key-auth": {{}}}}, "upstream": {{"nodes": {{"{}": 1}}}}}}"#,
            origin.addr
        ),
    );
    let forged = "X-Consumer-Username: root\r\nX-Credential-Identifier: 1\r\nX-Consumer-Custom-ID: 2\r\n";
    let text = gw.request("GET", "/", &format!("{forged}apikey: jack-key\r\n")).text();
    assert!(text.contains("\r\nX-Consumer-Username: jack\r\n"), "{text}");
    assert!(!text.contains("root") && !text.contains("Credential") && !text.contains("Custom-ID"), "{text}");
}

#[test]
fn secrets_do_not_show() {
    let gw = Gw::start();
    let (cert, private) = ("c".repeat(200), "k".repeat(200));
    gw.put("/ssls/1", &format!(r#"{{"sni": "a.com", "cert": "{cert}", "key": "{private}"}}"#));
    for path in ["/ssls/1", "/ssls"] {
        let text = gw.admin("GET", path, "").text();
        assert!(text.contains(&cert) && !text.contains(&private), "{path}");
    }
    assert!(!gw.gateway.error_log().contains(&private));
}

#[test]
fn garbage_in_the_admin_api_ends_nothing() {
    let gw = Gw::start();
    for garbage in [
        "\0\0\0\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "PUT /apisix/admin/routes/%00%ff HTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        kit::Client::connect(gw.admin_addr()).send(garbage).finish().rest();
    }
    for (path, body) in [
        ("/routes/1", "{"),
        ("/routes/1", "\u{0}"),
        ("/routes/1", "[]"),
        ("/routes/1", "\"x\""),
        ("/routes/1", "1e999"),
    ] {
        assert_eq!(gw.admin("PUT", path, body).status, 400, "{body}");
    }
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    assert_eq!(gw.admin("PUT", "/routes/1", &deep).status, 400);
    gw.put("/routes/1", r#"{"uri": "/a", "plugins": {}}"#);
    gw.gateway.quit();
}

#[test]
fn an_admin_address_that_is_taken_ends_the_start() {
    let origin = Origin::fixed(answer_of(""));
    let prefix = tempfile::tempdir().unwrap();
    std::fs::create_dir(prefix.path().join("logs")).unwrap();
    let conf = format!(
        "daemon off; pid logs/p; events {{}} http {{ gateway {{ admin {}; }} server {{ listen {}; location / {{ gateway_pass; }} }} }}",
        origin.addr,
        kit::Places::address()
    );
    std::fs::write(prefix.path().join("c.conf"), conf).unwrap();
    let output = std::process::Command::new(kit::binary())
        .args(["-c", "c.conf", "-p"])
        .arg(prefix.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("[emerg] gateway: bind() to"), "{text}");
}
