//! Plugins from the outside: what clients get and what upstreams are sent.

use kit::Origin;

use super::{Gw, answer_of, ask, json};

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

#[test]
fn limit_count_is_one_count_for_all_workers() {
    let (gw, _origin) = with_plugins(
        r#""limit-count": {"count": 4, "time_window": 60, "rejected_code": 429, "rejected_msg": "slow down"}"#,
    );
    let mut clients = gw.to_each_worker();
    let mut remaining = Vec::new();
    for n in 0..4 {
        let answer = ask(&mut clients[n % 2], "/");
        assert_eq!((answer.status, answer.header("X-RateLimit-Limit")), (200, Some("4")));
        remaining.push(answer.header("X-RateLimit-Remaining").unwrap().to_owned());
        let reset: f64 = answer.header("X-RateLimit-Reset").unwrap().parse().unwrap();
        assert!((55.0..=60.0).contains(&reset), "{reset}");
    }
    assert_eq!(remaining, ["3", "2", "1", "0"]);
    for client in &mut clients {
        let answer = ask(client, "/");
        assert_eq!((answer.status, answer.text().as_str()), (429, "{\"error_msg\":\"slow down\"}\n"));
        assert_eq!(answer.header("X-RateLimit-Remaining"), Some("0"));
    }
    gw.gateway.quit();
}

#[test]
fn limit_count_by_consumer_and_after_a_change() {
    let (gw, origin) = with_plugins(
        r#""key-auth": {}, "limit-count": {"count": 1, "time_window": 60, "key": "consumer_name"}"#,
    );
    for name in ["jack", "rose"] {
        gw.put(
            "/consumers",
            &format!(r#"{{"username": "{name}", "plugins": {{"key-auth": {{"key": "{name}"}}}}}}"#),
        );
    }
    let of = |name: &str| gw.request("GET", "/", &format!("apikey: {name}\r\n")).status;
    assert_eq!((of("jack"), of("jack"), of("rose"), of("rose")), (200, 503, 200, 503));
    route(
        &gw,
        &origin,
        r#""key-auth": {}, "limit-count": {"count": 2, "time_window": 60, "key": "consumer_name"}"#,
    );
    assert_eq!((of("jack"), of("jack"), of("jack")), (200, 200, 503), "another limit counts anew");
    route(
        &gw,
        &origin,
        r#""key-auth": {}, "limit-count": {"count": 2, "time_window": 60, "window_type": "sliding"}"#,
    );
    assert_eq!((of("jack"), of("rose"), of("jack")), (200, 200, 503));
}

#[test]
fn proxy_rewrite() {
    let (gw, origin) = with_plugins(
        r#""proxy-rewrite": {"uri": "/new/$arg_x", "host": "up.com", "method": "PUT",
            "headers": {"set": {"X-A": "$request_method"}, "add": {"X-B": ["1", "2"]}, "remove": ["X-C"]}}"#,
    );
    let text = gw.request("GET", "/old?x=a%3Fb", "X-C: 1\r\nX-A: old\r\n").text();
    assert!(text.starts_with("PUT /new/a%253Fb?x=a%3Fb HTTP/1.1\r\nHost: up.com\r\n"), "{text}");
    assert!(
        text.contains("X-A: GET\r\n") && text.contains("X-B: 1\r\nX-B: 2\r\n") && !text.contains("X-C"),
        "{text}"
    );
    route(
        &gw,
        &origin,
        r#""proxy-rewrite": {"regex_uri": ["^/a/(.*)/(.*)$", "/$2/$1"], "headers": {"X-R": "$1-$2"}}"#,
    );
    let text = gw.get("/a/b/c?d=e").text();
    assert!(text.starts_with("GET /c/b?d=e HTTP/1.1\r\n") && text.contains("X-R: b-c\r\n"), "{text}");
    route(&gw, &origin, r#""proxy-rewrite": {"uri": "/p$uri"}"#);
    let text = gw.get("/a%3Fadmin=1?b=c").text();
    assert!(text.starts_with("GET /p/a%3Fadmin=1?b=c HTTP/1.1\r\n"), "{text}");
    route(&gw, &origin, r#""proxy-rewrite": {"uri": "/x$arg_inject", "headers": {"X-I": "$arg_inject"}}"#);
    let text = gw.get("/?inject=%0d%0aX-Evil:%201").text();
    assert!(!text.contains("\r\nX-Evil"), "{text}");
    gw.gateway.quit();
}

#[test]
fn redirect() {
    let (gw, origin) =
        with_plugins(r#""redirect": {"uri": "/to$uri", "ret_code": 301, "append_query_string": true}"#);
    let answer = gw.get("/a?b=c");
    assert_eq!(answer.status, 301);
    assert!(answer.header("Location").unwrap().ends_with("/to/a?b=c"), "{}", answer.head);
    route(&gw, &origin, r#""redirect": {"http_to_https": true}"#);
    let answer = gw.get("/a?b=c");
    assert_eq!((answer.status, answer.header("Location")), (301, Some("https://localhost/a?b=c")));
    assert_eq!(gw.request("POST", "/a", "Content-Length: 0\r\n").status, 308);
    route(&gw, &origin, r#""redirect": {"regex_uri": ["^/x/(.*)", "https://o.com/$1"]}"#);
    assert_eq!(gw.get("/x/y").header("Location"), Some("https://o.com/y"));
    assert_eq!(gw.get("/z").status, 200);
    route(&gw, &origin, r#""redirect": {"uri": "https://$arg_h/"}"#);
    let answer = gw.get("/?h=a%0d%0aSet-Cookie:%20x=1");
    assert!(!answer.head.contains("\r\nSet-Cookie"), "{}", answer.head);
}

#[test]
fn response_rewrite() {
    let (gw, origin) = with_plugins(
        r#""response-rewrite": {"status_code": 201, "body": "new body", "headers": {"set": {"X-S": "$status"}, "add": ["X-T: 1", "X-T: 2"]}}"#,
    );
    let answer = gw.get("/");
    assert_eq!((answer.status, answer.text().as_str()), (201, "new body"));
    assert_eq!(answer.headers("X-T").collect::<Vec<_>>(), ["1", "2"]);
    route(
        &gw,
        &origin,
        r#""response-rewrite": {"filters": [{"regex": "GET (/\\w+)", "replace": "got $1", "scope": "global"}]}"#,
    );
    let text = gw.get("/abc").text();
    assert!(text.starts_with("got /abc HTTP/1.1"), "{text}");
    route(&gw, &origin, r#""response-rewrite": {"status_code": 404, "vars": [["arg_a", "==", "1"]]}"#);
    assert_eq!((gw.get("/?a=1").status, gw.get("/").status), (404, 200));
}

#[test]
fn cors() {
    let (gw, origin) = with_plugins(
        r#""cors": {"allow_origins": "http://a.com,http://b.com", "allow_methods": "GET", "max_age": 9}"#,
    );
    let answer = gw.request("GET", "/", "Origin: http://b.com\r\n");
    assert_eq!(answer.header("Access-Control-Allow-Origin"), Some("http://b.com"));
    assert_eq!(
        (answer.header("Access-Control-Allow-Methods"), answer.header("Access-Control-Max-Age")),
        (Some("GET"), Some("9"))
    );
    assert_eq!(answer.header("Vary"), Some("Origin"));
    assert_eq!(
        gw.request("GET", "/", "Origin: http://c.com\r\n").header("Access-Control-Allow-Origin"),
        None
    );
    let preflight = gw.request("OPTIONS", "/", "Origin: http://a.com\r\n");
    assert_eq!(
        (preflight.status, preflight.header("Access-Control-Allow-Origin")),
        (200, Some("http://a.com"))
    );
    route(&gw, &origin, r#""cors": {"allow_origins_by_regex": [".*\\.test\\.com$"]}"#);
    assert_eq!(
        gw.request("GET", "/", "Origin: http://x.test.com\r\n").header("Access-Control-Allow-Origin"),
        Some("http://x.test.com")
    );
    assert_eq!(
        gw.request("GET", "/", "Origin: http://x.test.org\r\n").header("Access-Control-Allow-Origin"),
        None
    );
}

#[test]
fn restrictions() {
    let (gw, origin) = with_plugins(r#""ip-restriction": {"whitelist": ["10.0.0.0/8"]}"#);
    let answer = gw.get("/");
    assert_eq!(
        (answer.status, json(&answer)["message"].as_str()),
        (403, Some("Your IP address is not allowed"))
    );
    for (plugins, fields, target, status) in [
        (r#""ip-restriction": {"blacklist": ["10.0.0.0/8"]}"#, "", "/", 200),
        (r#""ip-restriction": {"blacklist": ["127.0.0.0/8"]}"#, "", "/", 403),
        (r#""ua-restriction": {"denylist": ["^curl"]}"#, "User-Agent: curl/8\r\n", "/", 403),
        (r#""ua-restriction": {"denylist": ["^curl"]}"#, "User-Agent: wget\r\n", "/", 200),
        (r#""ua-restriction": {"denylist": ["^curl"]}"#, "", "/", 403),
        (r#""referer-restriction": {"whitelist": ["*.a.com"]}"#, "Referer: http://x.a.com/y\r\n", "/", 200),
        (
            r#""referer-restriction": {"whitelist": ["*.a.com"]}"#,
            "Referer: http://x.a.com@b.com/y\r\n",
            "/",
            403,
        ),
        (r#""referer-restriction": {"whitelist": ["*.a.com"]}"#, "", "/", 403),
        (r#""uri-blocker": {"block_rules": ["root.exe", "^/internal"]}"#, "", "/a/root.exe?x", 403),
        (r#""uri-blocker": {"block_rules": ["root.exe", "^/internal"]}"#, "", "/./internal/x", 403),
        (r#""uri-blocker": {"block_rules": ["root.exe", "^/internal"]}"#, "", "/%69nternal/x", 403),
        (r#""uri-blocker": {"block_rules": ["root.exe", "^/internal"]}"#, "", "/external", 200),
    ] {
        route(&gw, &origin, plugins);
        assert_eq!(gw.request("GET", target, fields).status, status, "{plugins} {fields} {target}");
    }
}

#[test]
fn basic_auth_and_consumer_restriction() {
    let (gw, _origin) = with_plugins(
        r#""basic-auth": {"hide_credentials": true}, "consumer-restriction": {"whitelist": ["jack"]}"#,
    );
    for name in ["jack", "rose"] {
        gw.put(
            "/consumers",
            &format!(r#"{{"username": "{name}", "plugins": {{"basic-auth": {{"username": "{name}", "password": "p:{name}"}}}}}}"#),
        );
    }
    let missing = gw.get("/");
    assert_eq!((missing.status, missing.header("WWW-Authenticate")), (401, Some("Basic realm=\"basic\"")));
    assert_eq!(json(&missing)["message"], "Missing authorization in request");
    let with = |field: &str| gw.request("GET", "/", &format!("Authorization: {field}\r\n"));
    // jack:p:jack, jack:wrong, rose:p:rose
    let fine = with("Basic amFjazpwOmphY2s=");
    assert_eq!(fine.status, 200);
    assert!(!fine.text().contains("Authorization"), "{}", fine.text());
    let wrong = with("Basic amFjazp3cm9uZw==");
    assert_eq!((wrong.status, json(&wrong)["message"].as_str()), (401, Some("Invalid user authorization")));
    let other = with("Basic cm9zZTpwOnJvc2U=");
    assert_eq!(
        (other.status, json(&other)["message"].as_str()),
        (403, Some("The consumer_name is forbidden."))
    );
    for garbage in ["Basic", "Basic ?", "Bearer amFjazpwOmphY2s=", "Basic amFjaw=="] {
        assert_eq!(with(garbage).status, 401, "{garbage}");
    }
    gw.gateway.quit();
}

#[test]
fn request_ids() {
    let (gw, _origin) = with_plugins(r#""request-id": {}"#);
    let answer = gw.get("/");
    let id = answer.header("X-Request-Id").unwrap().to_owned();
    assert!(id.len() == 36 && answer.text().contains(&format!("X-Request-Id: {id}")), "{id}");
    assert_ne!(gw.get("/").header("X-Request-Id"), Some(&*id));
    assert_eq!(gw.request("GET", "/", "X-Request-Id: mine\r\n").header("X-Request-Id"), Some("mine"));
}

#[test]
fn limits_of_rate_and_connections() {
    let (gw, origin) =
        with_plugins(r#""limit-req": {"rate": 0.1, "burst": 0, "key": "remote_addr", "rejected_code": 429}"#);
    assert_eq!((gw.get("/").status, gw.get("/").status), (200, 429));
    route(&gw, &origin, r#""limit-req": {"rate": 20, "burst": 5, "key": "remote_addr"}"#);
    let begin = std::time::Instant::now();
    assert!((0..4).all(|_| gw.get("/").status == 200));
    assert!(begin.elapsed() >= std::time::Duration::from_millis(100), "requests within the burst wait");
    let plugins = r#""limit-conn": {"conn": 1, "burst": 0, "default_conn_delay": 0.1, "key": "remote_addr"},
        "fault-injection": {"delay": {"duration": 0}}"#;
    route(&gw, &origin, plugins);
    assert!((0..5).all(|_| gw.get("/").status == 200), "a request that has ended is not counted");
}

#[test]
fn traffic_split() {
    let (one, two) = (Origin::fixed(answer_of("one")), Origin::fixed(answer_of("two")));
    let (gw, origin) = with_plugins("");
    gw.put("/upstreams/two", &format!(r#"{{"nodes": {{"{}": 1}}}}"#, two.addr));
    route(
        &gw,
        &origin,
        &format!(
            r#""traffic-split": {{"rules": [
                {{"match": [{{"vars": [["arg_a", "==", "1"]]}}], "weighted_upstreams": [{{"upstream_id": "two"}}]}},
                {{"weighted_upstreams": [{{"upstream": {{"nodes": {{"{}": 1}}}}, "weight": 2}}, {{"weight": 1}}]}}
            ]}}"#,
            one.addr
        ),
    );
    assert_eq!(gw.get("/?a=1").text(), "two");
    let client = &mut gw.to_each_worker()[0];
    let bodies: Vec<String> = (0..6).map(|_| ask(client, "/").text()).collect();
    assert_eq!(bodies.iter().filter(|body| *body == "one").count(), 4, "{bodies:?}");
    let refused = gw.admin("DELETE", "/upstreams/two", "");
    assert_eq!(
        json(&refused)["error_msg"].as_str(),
        Some("can not delete this upstream, plugin in route [1] is still using it now")
    );
}

#[test]
fn answers_that_no_upstream_gave() {
    let (gw, origin) = with_plugins(
        r#""fault-injection": {"abort": {"http_status": 418, "body": "no $uri", "headers": {"X-F": "1"}, "vars": [[["arg_a", "==", "1"]]]}}"#,
    );
    let answer = gw.get("/x?a=1");
    assert_eq!((answer.status, answer.text().as_str(), answer.header("X-F")), (418, "no /x", Some("1")));
    assert_eq!(gw.get("/x").status, 200);
    route(
        &gw,
        &origin,
        r#""mocking": {"response_example": "{\"u\":\"$uri\"}", "response_status": 202, "content_type": "application/json"}"#,
    );
    let answer = gw.get("/y");
    assert_eq!(
        (answer.status, answer.text().as_str(), answer.header("Content-Type")),
        (202, "{\"u\":\"/y\"}", Some("application/json"))
    );
    route(
        &gw,
        &origin,
        r#""mocking": {"response_schema": {"type": "object", "properties": {"n": {"type": "integer", "example": 7}}}}"#,
    );
    assert_eq!(json(&gw.get("/"))["n"], 7);
    route(&gw, &origin, r#""echo": {"before_body": "<", "after_body": ">", "headers": {"X-E": "1"}}"#);
    let answer = gw.get("/z");
    let text = answer.text();
    assert!(
        text.starts_with("<GET /z ") && text.ends_with('>') && answer.header("X-E") == Some("1"),
        "{text}"
    );
    gw.gateway.quit();
}

#[test]
fn precedence_of_plugins() {
    let (gw, origin) = with_plugins("");
    let echo = |text: &str| format!(r#""echo": {{"body": "{text}"}}"#);
    gw.put(
        "/services/s",
        &format!(
            r#"{{"plugins": {{{}}}, "upstream": {{"nodes": {{"{}": 1}}}}}}"#,
            echo("service"),
            origin.addr
        ),
    );
    gw.put("/routes/1", r#"{"uri": "/*", "service_id": "s"}"#);
    assert_eq!(gw.get("/").text(), "service");
    gw.put("/plugin_configs/p", &format!(r#"{{"plugins": {{{}}}}}"#, echo("plugin config")));
    gw.put("/routes/1", r#"{"uri": "/*", "service_id": "s", "plugin_config_id": "p"}"#);
    assert_eq!(gw.get("/").text(), "plugin config");
    gw.put(
        "/routes/1",
        &format!(r#"{{"uri": "/*", "service_id": "s", "plugin_config_id": "p", "plugins": {{{}, "key-auth": {{"anonymous_consumer": "nobody"}}}}}}"#, echo("route")),
    );
    gw.put("/consumers", r#"{"username": "nobody"}"#);
    assert_eq!(gw.get("/").text(), "route");
    gw.put("/consumer_groups/g", &format!(r#"{{"plugins": {{{}}}}}"#, echo("group")));
    gw.put("/consumers", r#"{"username": "jack", "group_id": "g", "plugins": {"key-auth": {"key": "k"}}}"#);
    let jack = || gw.request("GET", "/", "apikey: k\r\n").text();
    assert_eq!(jack(), "group");
    gw.put(
        "/consumers",
        &format!(
            r#"{{"username": "jack", "group_id": "g", "plugins": {{"key-auth": {{"key": "k"}}, {}}}}}"#,
            echo("consumer")
        ),
    );
    assert_eq!(jack(), "consumer");
    gw.put("/global_rules/1", r#"{"plugins": {"response-rewrite": {"headers": {"X-Global": "1"}}}}"#);
    assert_eq!(gw.get("/").header("X-Global"), Some("1"));
    assert_eq!(gw.admin("DELETE", "/routes/1", "").status, 200);
    let miss = gw.get("/");
    assert_eq!(
        (miss.status, miss.header("X-Global")),
        (404, Some("1")),
        "global rules run without a route, too"
    );
    let twice =
        gw.admin("PUT", "/global_rules/2", r#"{"plugins": {"response-rewrite": {"status_code": 200}}}"#);
    assert_eq!(
        json(&twice)["error_msg"].as_str(),
        Some("plugin 'response-rewrite' already exists in global rule with id '1'")
    );
}

#[test]
fn jwt_auth_does_not_ask_the_token_how_to_check_it() {
    let (gw, origin) = with_plugins(r#""jwt-auth": {"hide_credentials": true}"#);
    gw.put("/consumers", r#"{"username": "jack", "plugins": {"jwt-auth": {"key": "jack-key", "secret": "a-long-shared-secret"}}}"#);
    // {"alg":"HS256","typ":"JWT"} . {"key":"jack-key"} signed with the secret above
    let good = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJrZXkiOiJqYWNrLWtleSJ9.nINGYqaBsAdPeZwbPcDNR4wdaw3eh5BVbBeEGAEU_qA";
    let answer = gw.request("GET", "/", &format!("Authorization: Bearer {good}\r\n"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(
        answer.text().contains("X-Consumer-Username: jack") && !answer.text().contains("eyJ"),
        "{}",
        answer.text()
    );
    assert_eq!(gw.get(&format!("/?jwt={good}")).status, 200);
    assert_eq!(gw.request("GET", "/", &format!("Cookie: a=b; jwt={good}\r\n")).status, 200);
    let payload = "eyJrZXkiOiJqYWNrLWtleSJ9";
    let signature = good.rsplit('.').next().unwrap();
    for (token, message) in [
        // {"alg":"none"}, without and with a signature
        (format!("eyJhbGciOiJub25lIn0.{payload}."), "failed to verify jwt"),
        (format!("eyJhbGciOiJub25lIn0.{payload}.{signature}"), "failed to verify jwt"),
        // {"alg":"RS256"}
        (format!("eyJhbGciOiJSUzI1NiJ9.{payload}.{signature}"), "failed to verify jwt"),
        // another payload: {"key":"jack-key","a":1}
        (
            format!("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJrZXkiOiJqYWNrLWtleSIsImEiOjF9.{signature}"),
            "failed to verify jwt",
        ),
        ("garbage".to_owned(), "JWT token invalid"),
        // {"key":"nobody"}
        (
            format!("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJrZXkiOiJub2JvZHkifQ.{signature}"),
            "Invalid user key in JWT token",
        ),
    ] {
        let answer = gw.request("GET", "/", &format!("Authorization: Bearer {token}\r\n"));
        assert_eq!((answer.status, json(&answer)["message"].as_str()), (401, Some(message)), "{token}");
        assert!(!answer.text().contains("a-long-shared-secret"));
    }
    assert!(!gw.gateway.error_log().contains("a-long-shared-secret"));
    route(&gw, &origin, r#""jwt-auth": {"claims_to_verify": ["exp"]}"#);
    assert_eq!(gw.request("GET", "/", &format!("Authorization: {good}\r\n")).status, 401, "exp is demanded");
    let rsa = gw.admin("PUT", "/consumers", r#"{"username": "rose", "plugins": {"jwt-auth": {"key": "r", "algorithm": "RS256", "public_key": "x"}}}"#);
    assert_eq!(rsa.status, 400);
}
