//! A rule on a path holds for every spelling of it, and what is forwarded is what was judged.

use super::*;

const CONF: &str = "
http { server {
    listen @0;
    location / { proxy_pass http://%0; }
    location /admin { deny all; }
    location /mapped/ { proxy_pass http://%0/inner/; }
    location /redirect/ { return 302 http://x$uri; }
    location /query/ { return 302 http://x/?$arg_a; }
    location /header/ { add_header X-Uri $uri; return 200 ok; }
    location /rewrite/ { rewrite ^/rewrite/(.*)$ /$1 redirect; }
    location /set/ { set $target $uri; proxy_set_header X-Uri $target; proxy_pass http://%0/fixed; }
} }";

/// Spellings of a path at or below `/admin`.
const SPELLINGS: &[&str] = &[
    "/admin",
    "/admin/",
    "/admin/x",
    "//admin",
    "///admin",
    "/./admin",
    "/././admin",
    "/x/../admin",
    "/x/y/../../admin",
    "/x/./../admin",
    "/x//../admin",
    "/%61dmin",
    "/adm%69n",
    "/%61%64%6d%69%6e",
    "/%2fadmin",
    "/%2Fadmin",
    "/.%2fadmin",
    "/%2e/admin",
    "/%2E/admin",
    "/x/%2e%2e/admin",
    "/x/.%2e/admin",
    "/x/%2e./admin",
    "/x/..%2fadmin",
    "/x%2f..%2fadmin",
    "/x%2f%2e%2e%2fadmin",
    "/admin%2f",
    "/admin%2fx",
    "/admin/%2e",
    "/admin?x",
    "/admin#x",
    "/admin;x",
    "/admin/;x",
    "http://other/admin",
    "http://other//admin",
    "http://other/x/../admin",
    "/x/../x/../admin",
    "/a/b/c/../../../admin",
    "/admin/../admin",
    "/admin/x/..",
    "/admin/.",
];

/// A path as a careful origin reads it: decoded once, slashes merged, dots resolved.
fn normal(target: &[u8]) -> String {
    let path = target.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or_default();
    let (mut decoded, mut at) = (Vec::new(), 0);
    while at < path.len() {
        let hex = path.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match (path[at], hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                at += 3;
            }
            (byte, _) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    let text = String::from_utf8_lossy(&decoded).into_owned();
    let mut segments = Vec::new();
    for segment in text.split('/').filter(|segment| !segment.is_empty() && *segment != ".") {
        match segment {
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    format!("/{}", segments.join("/"))
}

fn start_paths(origin: &Origin) -> Gateway {
    Gateway::start_with(CONF, &[origin.addr], |_| {})
}

fn one(gateway: &Gateway, target: &str) -> (u16, String) {
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let answer = kit::request(gateway.addr(0), &request);
    (answer.status, answer.head)
}

#[test]
fn no_spelling_steps_around_a_rule() {
    let origin = strict_origin();
    let gateway = start_paths(&origin);
    for spelling in SPELLINGS {
        let (status, _) = one(&gateway, spelling);
        assert!(matches!(status, 400 | 403), "{spelling}: {status}");
    }
    assert_eq!(origin.seen.count(), 0);
    // and what is let through is not the forbidden path under another name
    for (n, target) in [
        "/x/admin",
        "/%2561dmin",
        "/x%2fy",
        "/a//b",
        "/a/./b",
        "/.well-known/x",
        "/..;/admin",
        "/\\admin",
        "/x/..%5cadmin",
    ]
    .iter()
    .enumerate()
    {
        assert_eq!(one(&gateway, target).0, 200, "{target}");
        let seen = origin.seen.since(n);
        let Reading::Request(message, _) = strict::read(&seen[0], PASSED) else {
            panic!("{target}: {seen:?}")
        };
        assert!(!normal(&message.target).starts_with("/admin"), "{target} became {message:?}");
        assert_eq!(message.target, target.as_bytes(), "what needs no change is passed on as it came");
    }
    gateway.quit();
}

#[test]
fn a_replaced_path_is_escaped() {
    let origin = strict_origin();
    let gateway = start_paths(&origin);
    for (target, wanted) in [
        ("/mapped/a%20b", "/inner/a%20b"),
        ("/mapped/a%0d%0aX:%20y", "/inner/a%0D%0AX:%20y"),
        ("/mapped/%3fa", "/inner/%3Fa"),
        ("/mapped/%23a", "/inner/%23a"),
        ("/mapped/%25", "/inner/%25"),
        ("/mapped/a/../b", "/inner/b"),
    ] {
        let before = origin.seen.count();
        assert_eq!(one(&gateway, target).0, 200, "{target}");
        let seen = origin.seen.since(before);
        let Reading::Request(message, _) = strict::read(&seen[0], PASSED) else {
            panic!("{target}: {seen:?}")
        };
        assert_eq!(String::from_utf8_lossy(&message.target), wanted, "{target}");
    }
    gateway.quit();
}

/// Bytes that end a line must not get out of a decoded path into a head, neither to the client nor to the origin.
#[test]
fn decoded_line_ends_split_nothing() {
    let origin = strict_origin();
    let gateway = start_paths(&origin);
    for place in ["redirect", "query", "header", "rewrite", "set"] {
        for line_end in ["%0d%0a", "%0a", "%0d", "%0D%0A%0D%0A", "%E5%98%8A", "%00"] {
            let tail = format!("x{line_end}Set-Cookie:%20evil=1{line_end}{line_end}HTTP/1.1%20200%20OK");
            let request = format!("GET /{place}/{tail}?a={tail} HTTP/1.1\r\nHost: localhost\r\n\r\n{AFTER}");
            let before = origin.seen.count();
            let outcome = exchange(gateway.addr(0), request.as_bytes(), &[]);
            assert!(outcome.garbage.is_empty() && outcome.statuses.len() <= 2, "{request:?}: {outcome:?}");
            for seen in origin.seen.since(before) {
                assert!(!seen.starts_with(UNREADABLE.as_bytes()), "{}", String::from_utf8_lossy(&seen));
                let Reading::Request(message, _) = strict::read(&seen, PASSED) else { panic!("{seen:?}") };
                assert!(message.field("set-cookie").is_none(), "{message:?}");
            }
            let answer = kit::request(
                gateway.addr(0),
                &request.replace(AFTER, "").replace("localhost\r\n", "x\r\nConnection: close\r\n"),
            );
            assert!(answer.header("Set-Cookie").is_none(), "{}", answer.head);
        }
    }
    gateway.quit();
}
