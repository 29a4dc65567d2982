//! WebDAV: nothing outside the location's root is read, written or removed, whatever a request says.

use std::path::Path;

use kit::{Answer, Gateway};

fn gateway() -> Gateway {
    let conf = "http { server { listen @0;
        location / { root @prefix/html; client_max_body_size 1m; client_body_buffer_size 1k;
            dav_methods PUT DELETE MKCOL COPY MOVE; create_full_put_path on; }
        location /alias/ { alias @prefix/html/inner/; dav_methods PUT DELETE MKCOL COPY MOVE; }
    } }";
    Gateway::start_with(conf, &[], |prefix| {
        std::fs::create_dir_all(prefix.join("html/inner")).expect("the prefix is ours");
        std::fs::write(prefix.join("html/a"), "content").expect("the prefix is ours");
        std::fs::write(prefix.join("html/inner/a"), "inner").expect("the prefix is ours");
        std::fs::write(prefix.join("outside"), "secret").expect("the prefix is ours");
    })
}

fn send(gateway: &Gateway, method: &str, target: &str, fields: &str, body: &str) -> Answer {
    let length = body.len();
    kit::request(
        gateway.addr(0),
        &format!(
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
        ),
    )
}

/// Everything in the prefix but logs and configuration.
fn outside(gateway: &Gateway) -> Vec<String> {
    let names = |path: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(path).expect("the prefix is ours");
        entries
            .map(|entry| {
                entry.expect("the prefix is ours").file_name().into_string().expect("the prefix is ours")
            })
            .collect()
    };
    let mut all = names(&gateway.path(""));
    all.sort();
    all
}

#[test]
fn files_are_written_copied_moved_and_removed() {
    let gateway = gateway();
    let large = "0123456789".repeat(1000);
    assert_eq!(send(&gateway, "PUT", "/new/dir/file", "", "hello").status, 201);
    assert_eq!(gateway.read("html/new/dir/file"), "hello");
    assert_eq!(send(&gateway, "PUT", "/new/dir/file", "", &large).status, 204);
    assert_eq!(gateway.read("html/new/dir/file"), large);
    assert_eq!(send(&gateway, "MKCOL", "/made/", "", "").status, 201);
    assert_eq!(send(&gateway, "COPY", "/new/", "Destination: /copy/\r\n", "").status, 201);
    assert_eq!(gateway.read("html/copy/dir/file"), large);
    assert_eq!(send(&gateway, "MOVE", "/a", "Destination: http://localhost/made/b\r\n", "").status, 204);
    assert_eq!(gateway.read("html/made/b"), "content");
    let keep = "Destination: /made/b\r\nOverwrite: F\r\n";
    assert_eq!(send(&gateway, "COPY", "/new/dir/file", keep, "").status, 412);
    assert_eq!(send(&gateway, "DELETE", "/copy/", "", "").status, 204);
    assert!(!gateway.path("html/copy").exists());
    gateway.quit();
}

#[test]
fn dav_never_leaves_its_root() {
    let gateway = gateway();
    let before = outside(&gateway);
    for target in [
        "/../outside",
        "/%2e%2e/outside",
        "/inner/../../outside",
        "/inner/%2e%2e/%2e%2e/outside",
        "/..%2foutside",
        "/inner%2f..%2f..%2foutside",
        "/alias/../../outside",
        "/alias/%2e%2e/%2e%2e/outside",
        "/alias%2f..%2f..%2f..%2foutside",
        "/a/..%00/outside",
    ] {
        for method in ["PUT", "DELETE"] {
            let body = if method == "PUT" { "overwritten" } else { "" };
            send(&gateway, method, target, "", body);
            assert_eq!(gateway.read("outside"), "secret", "{method} {target}");
        }
        for method in ["COPY", "MOVE"] {
            let status = send(&gateway, method, "/inner/a", &format!("Destination: {target}\r\n"), "").status;
            assert!(status >= 400, "{method} to {target}: {status}");
            assert_eq!(gateway.read("outside"), "secret", "{method} to {target}");
            assert_eq!(gateway.read("html/inner/a"), "inner", "{method} to {target}");
        }
    }
    assert_eq!(outside(&gateway), before);
    gateway.quit();
}

#[test]
fn dav_destinations_are_on_this_host_and_below_the_alias() {
    let gateway = gateway();
    for destination in [
        "http://example.org/x",
        "http://localhost.example.org/x",
        "http://localhost@example.org/x",
        "https://localhost/x",
        "http://localhost:1/x",
        "http://localhost",
        "x",
        "",
    ] {
        let status = send(&gateway, "COPY", "/a", &format!("Destination: {destination}\r\n"), "").status;
        // the port of the request is not in its Host: any port is as good as another one
        if destination != "http://localhost:1/x" {
            assert_eq!(status, 400, "{destination}");
        }
    }
    assert_eq!(send(&gateway, "COPY", "/a", "", "").status, 400);
    for destination in ["/", "/x", "/ali", "/alias", "/other/x"] {
        let fields = format!("Destination: {destination}\r\n");
        let status = send(&gateway, "COPY", "/alias/a", &fields, "").status;
        assert!(status >= 400, "{destination}: {status}");
    }
    assert_eq!(send(&gateway, "COPY", "/alias/a", "Destination: /alias/b\r\n", "").status, 204);
    assert_eq!(gateway.read("html/inner/b"), "inner");
    gateway.quit();
}

#[test]
fn dav_does_not_copy_a_tree_into_itself() {
    let gateway = gateway();
    for destination in ["/inner/", "/inner/deeper/", "/"] {
        let fields = format!("Destination: {destination}\r\n");
        for method in ["COPY", "MOVE"] {
            assert_eq!(send(&gateway, method, "/inner/", &fields, "").status, 403, "{method} {destination}");
        }
    }
    assert_eq!(gateway.read("html/inner/a"), "inner");
    gateway.quit();
}

#[test]
fn dav_does_not_follow_links_on_its_way_down() {
    let gateway = gateway();
    std::fs::create_dir(gateway.path("elsewhere")).expect("the prefix is ours");
    std::fs::write(gateway.path("elsewhere/file"), "kept").expect("the prefix is ours");
    std::os::unix::fs::symlink(gateway.path("elsewhere"), gateway.path("html/inner/link"))
        .expect("the prefix is ours");
    assert_eq!(send(&gateway, "COPY", "/inner/", "Destination: /copy/\r\n", "").status, 201);
    assert!(!gateway.path("html/copy/link").exists(), "links are left behind");
    assert_eq!(send(&gateway, "DELETE", "/inner/", "", "").status, 204);
    assert_eq!(gateway.read("elsewhere/file"), "kept");
    gateway.quit();
}
