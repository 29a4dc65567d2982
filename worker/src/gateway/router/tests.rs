//! The order in which routes are found.

use serde_json::json;

use super::super::plugins::PluginSet;
use super::*;

fn route(id: &str, created: u64, value: serde_json::Value) -> Rc<RouteEntry> {
    let route = serde_json::from_value(value).unwrap();
    Rc::new(RouteEntry::new(id, created, route, PluginSet::default(), None).unwrap())
}

fn hosts(route: &RouteEntry) -> Vec<Box<str>> {
    route.route.own_hosts().map(Into::into).collect()
}

fn router(routes: &[Rc<RouteEntry>]) -> Router {
    let mut router = Router::default();
    routes.iter().for_each(|route| router.insert(route, &hosts(route)));
    router
}

fn found(router: &Router, host: &str, path: &str) -> Option<String> {
    router.find(host.as_bytes(), path.as_bytes(), |_| true).map(|route| route.id.to_string())
}

#[test]
fn hosts_then_paths_then_priority() {
    let routes = [
        route("any", 1, json!({"uri": "/*"})),
        route("wild", 2, json!({"uri": "/*", "host": "*.foo.com"})),
        route("wilder", 3, json!({"uri": "/*", "host": "*.a.foo.com"})),
        route("exact", 4, json!({"uri": "/x", "hosts": ["A.foo.com", "b.foo.com"]})),
        route("late", 6, json!({"uri": "/p"})),
        route("early", 5, json!({"uri": "/p"})),
        route("first", 7, json!({"uri": "/p", "priority": 1})),
    ];
    let mut router = router(&routes);
    for (host, path, id) in [
        ("a.foo.com", "/x", Some("exact")),
        ("a.foo.com", "/y", Some("wild")),
        ("b.a.foo.com", "/y", Some("wilder")),
        ("c.foo.com", "/x", Some("wild")),
        ("foo.com", "/x", Some("any")),
        ("bar.com", "/p", Some("first")),
    ] {
        assert_eq!(found(&router, host, path).as_deref(), id, "{host}{path}");
    }
    router.remove(&routes[6], &[]);
    assert_eq!(found(&router, "x", "/p").as_deref(), Some("early"));
    routes.iter().for_each(|route| router.remove(route, &hosts(route)));
    assert_eq!(found(&router, "a.foo.com", "/x"), None);
    assert!(router.exact.is_empty() && router.wildcards.is_empty() && router.any.is_empty());
}

#[test]
fn a_route_that_does_not_fit_lets_the_search_go_on() {
    let routes = [
        route("exact", 1, json!({"uri": "/a/b", "host": "h"})),
        route("prefix", 2, json!({"uri": "/a/*", "host": "h"})),
        route("any", 3, json!({"uri": "/a/b"})),
    ];
    let router = router(&routes);
    let without = |not: &[&str]| {
        let hit = router.find(b"h", b"/a/b", |route| !not.contains(&&*route.id));
        hit.map(|route| route.id.to_string())
    };
    assert_eq!(without(&[]).as_deref(), Some("exact"));
    assert_eq!(without(&["exact"]).as_deref(), Some("prefix"));
    assert_eq!(without(&["exact", "prefix"]).as_deref(), Some("any"));
    assert_eq!(without(&["exact", "prefix", "any"]), None);
}
