//! Stores that are not the embedded one.

use kit::{Gateway, Origin};

use super::{answer_of, json, key};

const CONF: &str = "
daemon off; worker_processes 2; user root; pid logs/test.pid;
error_log logs/error.log info;
events { worker_connections 1024; }
http {
    gateway { store yaml conf/apisix.yaml; admin @1 key_file=data/admin.key; }
    server { listen @0; location / { gateway_pass; } }
}
";

fn file(origin: &Origin, uri: &str) -> String {
    format!(
        "routes:\n  - id: 1\n    uri: {uri}\n    upstream_id: u\nupstreams:\n  - id: u\n    nodes:\n      \"{}\": 1\n#END\n",
        origin.addr
    )
}

#[test]
fn a_yaml_file_is_read_again_as_a_whole_or_not_at_all() {
    let origin = Origin::fixed(answer_of("hello"));
    let mut gateway = Gateway::start_with(CONF, &[], |prefix| {
        std::fs::write(prefix.join("conf/apisix.yaml"), file(&origin, "/a")).unwrap();
    });
    let (addr, path) = (gateway.addr(0), gateway.path("conf/apisix.yaml"));
    assert_eq!(kit::get(addr, "/a").text(), "hello");
    std::fs::write(&path, file(&origin, "/much-longer")).unwrap();
    gateway.wait_for("the new file", |_| kit::get(addr, "/much-longer").status == 200);
    assert_eq!(kit::get(addr, "/a").status, 404);
    for (bad, message) in [
        (file(&origin, "/unfinished").replace("#END", ""), "the last line is not \"#END\""),
        (
            file(&origin, "/b").replace("upstream_id: u", "upstream_id: other"),
            "failed to fetch upstream info",
        ),
        (file(&origin, "/c").replace("nodes", "knots"), "additional properties forbidden, found knots"),
        (": : :\n#END\n".to_owned(), "apisix.yaml"),
    ] {
        let before = gateway.error_log().matches("is not used").count();
        std::fs::write(&path, &bad).unwrap();
        gateway.wait_for("a message", |gateway| gateway.error_log().matches("is not used").count() > before);
        assert!(gateway.error_log().contains(message), "{message}");
        assert_eq!(kit::get(addr, "/much-longer").status, 200, "what was served goes on");
    }
    let admin = format!("X-API-KEY: {}\r\n", key(&gateway, "admin"));
    let ask = |method: &str| {
        let body = r#"{"uri": "/x", "plugins": {}}"#;
        let length = body.len();
        kit::request(
            gateway.addr(1),
            &format!(
                "{method} /apisix/admin/routes/1 HTTP/1.1\r\nHost: x\r\n{admin}Content-Length: {length}\r\n\r\n{body}"
            ),
        )
    };
    assert_eq!(json(&ask("GET"))["value"]["uri"], "/much-longer");
    let refused = ask("PUT");
    assert_eq!((refused.status, kit::get(addr, "/x").status), (405, 404));
    assert!(!gateway.error_log().contains("[alert]"), "{}", gateway.error_log());
}

#[test]
fn a_bad_file_ends_the_start() {
    let prefix = tempfile::tempdir().unwrap();
    std::fs::create_dir(prefix.path().join("logs")).unwrap();
    std::fs::write(prefix.path().join("apisix.yaml"), "routes:\n  - id: 1\n#END\n").unwrap();
    let conf = format!(
        "daemon off; pid logs/p; events {{}} http {{ gateway {{ store yaml apisix.yaml; }} server {{ listen {}; location / {{ gateway_pass; }} }} }}",
        kit::Places::address()
    );
    std::fs::write(prefix.path().join("c.conf"), conf).unwrap();
    let output = std::process::Command::new(kit::binary())
        .args(["-c", "c.conf", "-p"])
        .arg(prefix.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("/apisix/routes/1: invalid configuration"), "{text}");
}
