//! From a write to requests: every worker serves what the Admin API has acknowledged.

use kit::{Gateway, Origin};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{CONF, Gw, answer_of, ask, json, key};

const NOT_FOUND: &str = "{\"error_msg\":\"404 Route Not Found\"}\n";

#[test]
fn a_route_is_served_by_every_worker_when_the_write_returns() {
    let origin = Origin::fixed(answer_of("hello"));
    let gw = Gw::start();
    let mut clients = gw.to_each_worker();
    for n in 0..200 {
        let route = format!(r#"{{"uri": "/r{n}", "upstream": {{"nodes": {{"{}": 1}}}}}}"#, origin.addr);
        gw.put(&format!("/routes/{n}"), &route);
        for client in &mut clients {
            let answer = ask(client, &format!("/r{n}"));
            assert_eq!((answer.status, answer.text().as_str()), (200, "hello"), "route {n}");
        }
    }
    for n in 0..200 {
        let answer = gw.admin("DELETE", &format!("/routes/{n}"), "");
        assert_eq!((answer.status, answer.header("X-Config-Applied")), (200, Some("2/2")));
        for client in &mut clients {
            let answer = ask(client, &format!("/r{n}"));
            assert_eq!((answer.status, answer.text().as_str()), (404, NOT_FOUND), "route {n}");
            assert_eq!(answer.header("Content-Type"), Some("application/json"));
        }
    }
    gw.gateway.quit();
}

#[test]
fn a_changed_upstream_moves_traffic_at_once() {
    let (one, two) = (Origin::fixed(answer_of("one")), Origin::fixed(answer_of("two")));
    let gw = Gw::start();
    let mut clients = gw.to_each_worker();
    gw.put("/upstreams/u", &format!(r#"{{"nodes": {{"{}": 1}}}}"#, one.addr));
    gw.put("/services/s", r#"{"upstream_id": "u"}"#);
    gw.put("/routes/1", r#"{"uri": "/*", "service_id": "s"}"#);
    for round in 0..20 {
        let (origin, body) = if round % 2 == 0 { (&two, "two") } else { (&one, "one") };
        gw.put("/upstreams/u", &format!(r#"{{"nodes": {{"{}": 1}}}}"#, origin.addr));
        for client in &mut clients {
            assert_eq!(ask(client, "/x").text(), body);
        }
    }
    gw.gateway.quit();
}

#[test]
fn routes_outlive_workers_reloads_and_restarts() {
    let origin = Origin::fixed(answer_of("hello"));
    let mut gw = Gw::start();
    gw.put("/routes/1", &format!(r#"{{"uri": "/a", "upstream": {{"nodes": {{"{}": 1}}}}}}"#, origin.addr));
    let old = gw.gateway.workers();
    kill(Pid::from_raw(old[0]), Signal::SIGKILL).unwrap();
    gw.gateway.wait_for("the next worker", |gateway| {
        let now = gateway.workers();
        now.len() == 2 && !now.contains(&old[0])
    });
    for client in &mut gw.to_each_worker() {
        assert_eq!(ask(client, "/a").status, 200);
    }
    let before = gw.gateway.workers();
    gw.gateway.signal(Signal::SIGHUP);
    gw.gateway.wait_for("the new workers", |gateway| {
        let now = gateway.workers();
        now.len() == 2 && !now.iter().any(|pid| before.contains(pid))
    });
    for client in &mut gw.to_each_worker() {
        assert_eq!(ask(client, "/a").status, 200);
    }
    gw.put("/routes/2", r#"{"uri": "/b", "plugins": {}}"#);
    kill(Pid::from_raw(gw.gateway.pid()), Signal::SIGQUIT).unwrap();
    assert!(gw.gateway.wait().success());
    gw.gateway.start_again();
    gw.gateway.wait_for("the workers", |gateway| gateway.workers().len() == 2);
    for client in &mut gw.to_each_worker() {
        assert_eq!(ask(client, "/a").status, 200);
    }
    assert_eq!(gw.key, key(&gw.gateway, "admin"), "keys are made once");
    assert_eq!(json(&gw.admin("GET", "/routes", ""))["total"], 2);
}

#[test]
fn matching_by_host_method_address_and_conditions() {
    let origin = Origin::fixed(answer_of("hit"));
    let gw = Gw::start();
    let route = |id: &str, rest: &str| {
        gw.put(
            &format!("/routes/{id}"),
            &format!(r#"{{"upstream": {{"nodes": {{"{}": 1}}}}, {rest}}}"#, origin.addr),
        );
    };
    route("host", r#""uri": "/host", "hosts": ["foo.com", "*.bar.com"]"#);
    route("method", r#""uri": "/method", "methods": ["POST", "PURGE"]"#);
    route("addr", r#""uri": "/addr", "remote_addrs": ["10.0.0.0/8", "127.0.0.0/8"]"#);
    route("not-addr", r#""uri": "/not-addr", "remote_addr": "10.0.0.1""#);
    route("vars", r#""uri": "/vars", "vars": [["arg_x", "==", "1"], ["http_x_y", "~~", "^a"]]"#);
    route("off", r#""uri": "/off", "status": 0"#);
    for (method, target, fields, status) in [
        ("GET", "/host", "", 404),
        ("POST", "/method", "", 200),
        ("PURGE", "/method", "", 200),
        ("GET", "/method", "", 404),
        ("GET", "/addr", "", 200),
        ("GET", "/not-addr", "", 404),
        ("GET", "/vars?x=1", "X-Y: abc\r\n", 200),
        ("GET", "/vars?x=2", "X-Y: abc\r\n", 404),
        ("GET", "/vars?x=1", "", 404),
        ("GET", "/off", "", 404),
    ] {
        assert_eq!(gw.request(method, target, fields).status, status, "{method} {target}");
    }
    for (host, status) in
        [("foo.com", 200), ("FOO.com:99", 200), ("a.bar.com", 200), ("bar.com", 404), ("foo.com.x", 404)]
    {
        let answer = kit::request(
            gw.addr(),
            &format!("GET /host HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"),
        );
        assert_eq!(answer.status, status, "{host}");
    }
    gw.gateway.quit();
}

#[test]
fn a_service_lends_its_hosts_to_routes_without() {
    let origin = Origin::fixed(answer_of("hit"));
    let gw = Gw::start();
    let of = |host: &str| {
        kit::request(gw.addr(), &format!("GET /a HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
            .status
    };
    let service = |hosts: &str| {
        gw.put(
            "/services/s",
            &format!(r#"{{"hosts": [{hosts}], "upstream": {{"nodes": {{"{}": 1}}}}}}"#, origin.addr),
        );
    };
    service(r#""one.com""#);
    gw.put("/routes/1", r#"{"uri": "/a", "service_id": "s"}"#);
    assert_eq!((of("one.com"), of("two.com")), (200, 404));
    service(r#""two.com""#);
    assert_eq!((of("one.com"), of("two.com")), (404, 200));
}

#[test]
fn what_the_upstream_is_sent() {
    let origin = Origin::echo();
    let gw = Gw::start();
    let node = origin.addr;
    for (id, rest) in [
        ("pass", String::new()),
        ("node", r#", "pass_host": "node""#.into()),
        ("rewrite", r#", "pass_host": "rewrite", "upstream_host": "up.example""#.into()),
    ] {
        gw.put(
            &format!("/routes/{id}"),
            &format!(r#"{{"uri": "/{id}*", "upstream": {{"nodes": {{"{node}": 1}}{rest}}}}}"#),
        );
    }
    let sent = |target: &str, fields: &str| gw.request("GET", target, fields).text();
    let text = sent(
        "/pass?a=b%20c",
        "X-Real-IP: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n",
    );
    assert!(text.starts_with("GET /pass?a=b%20c HTTP/1.1\r\nHost: localhost\r\n"), "{text}");
    assert!(
        text.contains(
            "\r\nX-Real-IP: 127.0.0.1\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\n"
        ),
        "{text}"
    );
    assert!(!text.contains("1.2.3.4") && !text.contains("https") && !text.contains("X-Hop"), "{text}");
    assert!(sent("/node", "").contains(&format!("\r\nHost: {node}\r\n")));
    assert!(sent("/rewrite", "").contains("\r\nHost: up.example\r\n"));
    let body = kit::request(
        gw.addr(),
        "POST /pass HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    );
    assert!(
        body.text().contains("\r\nContent-Length: 3\r\n") && body.text().ends_with("\r\n\r\nabc"),
        "{}",
        body.text()
    );
    gw.gateway.quit();
}

#[test]
fn weights_retries_and_no_nodes() {
    let (one, two) = (Origin::fixed(answer_of("1")), Origin::fixed(answer_of("2")));
    let gw = Gw::start();
    let nodes = format!(r#"{{"{}": 3, "{}": 1}}"#, one.addr, two.addr);
    gw.put("/routes/1", &format!(r#"{{"uri": "/w", "upstream": {{"nodes": {nodes}}}}}"#));
    let client = &mut gw.to_each_worker()[0];
    let bodies: String = (0..8).map(|_| ask(client, "/w").text()).collect();
    assert_eq!(bodies.matches('1').count(), 6, "{bodies}");
    let dead = kit::Places::address();
    let nodes = format!(r#"{{"{dead}": 1, "{}": 1}}"#, one.addr);
    gw.put("/routes/2", &format!(r#"{{"uri": "/r", "upstream": {{"nodes": {nodes}}}}}"#));
    gw.put("/routes/3", &format!(r#"{{"uri": "/n", "upstream": {{"nodes": {nodes}, "retries": 0}}}}"#));
    for _ in 0..6 {
        assert_eq!(ask(client, "/r").text(), "1", "a refused connection is tried elsewhere");
    }
    let statuses: Vec<u16> = (0..4).map(|_| ask(client, "/n").status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 502).count(), 2, "{statuses:?}");
    gw.put("/routes/4", r#"{"uri": "/none", "upstream": {"nodes": {}}}"#);
    gw.put("/routes/5", r#"{"uri": "/nowhere", "plugins": {}}"#);
    assert_eq!((gw.get("/none").status, gw.get("/nowhere").status), (503, 503));
    let priority = format!(
        r#"[{{"host": "127.0.0.1", "port": {}, "weight": 1, "priority": 0}}, {{"host": "127.0.0.1", "port": {}, "weight": 1, "priority": -1}}]"#,
        dead.port(),
        two.addr.port()
    );
    let two_ip = two.addr.ip().to_string();
    let priority = priority.replacen("127.0.0.1", &dead.ip().to_string(), 1).replace("127.0.0.1", &two_ip);
    gw.put("/routes/6", &format!(r#"{{"uri": "/p", "upstream": {{"nodes": {priority}}}}}"#));
    assert_eq!(gw.get("/p").text(), "2", "lower priorities are used when the higher are gone");
}

#[test]
fn chash_keeps_a_key_on_its_node() {
    let origins: Vec<Origin> = (0..4).map(|n| Origin::fixed(answer_of(&n.to_string()))).collect();
    let gw = Gw::start();
    let nodes: Vec<String> = origins.iter().map(|origin| format!("\"{}\": 1", origin.addr)).collect();
    let nodes = nodes.join(", ");
    gw.put(
        "/routes/1",
        &format!(r#"{{"uri": "/h", "upstream": {{"type": "chash", "key": "arg_k", "nodes": {{{nodes}}}}}}}"#),
    );
    let mut clients = gw.to_each_worker();
    let mut seen = std::collections::BTreeSet::new();
    for key in 0..20 {
        let target = format!("/h?k={key}");
        let first = ask(&mut clients[0], &target).text();
        for client in &mut clients {
            assert_eq!(ask(client, &target).text(), first, "key {key}");
        }
        seen.insert(first);
    }
    assert!(seen.len() > 1, "keys are spread");
}

#[test]
fn a_block_without_gateway_is_refused() {
    let gateway = Gateway::start(CONF);
    let conf = "events {} http { server { listen 127.0.0.1:1; location / { gateway_pass; } } }";
    std::fs::write(gateway.path("conf/bad.conf"), conf).unwrap();
    let output = std::process::Command::new(kit::binary())
        .args(["-t", "-c", "conf/bad.conf", "-p"])
        .arg(gateway.path(""))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && text.contains("\"gateway_pass\" without a \"gateway\" block"),
        "{text}"
    );
}

#[test]
fn a_binary_upgrade_takes_store_and_address_along() {
    let origin = Origin::fixed(answer_of("hello"));
    let mut gw = Gw::start();
    gw.put("/routes/1", &format!(r#"{{"uri": "/a", "upstream": {{"nodes": {{"{}": 1}}}}}}"#, origin.addr));
    let old = gw.gateway.change_binary();
    let admin = gw.admin_addr();
    gw.gateway.wait_for("the Admin API of the new master", |_| std::net::TcpStream::connect(admin).is_ok());
    kill(Pid::from_raw(old), Signal::SIGQUIT).unwrap();
    gw.gateway.wait_for("the end of the old workers", |gateway| {
        kit::children_of(old).is_empty() && gateway.workers().len() == 2
    });
    gw.put("/routes/2", &format!(r#"{{"uri": "/b", "upstream": {{"nodes": {{"{}": 1}}}}}}"#, origin.addr));
    for client in &mut gw.to_each_worker() {
        assert_eq!((ask(client, "/a").status, ask(client, "/b").status), (200, 200));
    }
}
