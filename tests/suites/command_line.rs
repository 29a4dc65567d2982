//! Flags and configuration errors, as somebody at a terminal meets them.

use std::process::{Command, Output};

fn check(conf: &str) -> (Output, String) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    std::fs::create_dir(dir.path().join("logs")).expect("a fresh directory");
    std::fs::write(dir.path().join("x.conf"), conf).expect("a fresh file");
    let output =
        Command::new(kit::binary()).arg("-t").arg("-p").arg(dir.path()).args(["-c", "x.conf"]).output();
    let output = output.expect("the binary runs");
    let text = String::from_utf8_lossy(&output.stderr).replace(&dir.path().display().to_string(), "PREFIX");
    (output, text)
}

#[test]
fn a_good_configuration_passes() {
    let (output, text) =
        check("events { }\nhttp { server { listen 127.0.0.1:1; location / { return 204; } } }");
    assert!(output.status.success(), "{text}");
    assert!(text.contains("syntax is ok") && text.contains("test is successful"), "{text}");
}

/// Configurations and what must be said about them.
const ERRORS: &[(&str, &str)] = &[
    ("events { }\nhttp {\n  nonsense on;\n}", "unknown directive \"nonsense\" in PREFIX/x.conf:3"),
    ("events { }\nlisten 80;", "\"listen\" directive is not allowed here in PREFIX/x.conf:2"),
    (
        "events { }\nhttp { server { listen; } }",
        "invalid number of arguments in \"listen\" directive in PREFIX/x.conf:2",
    ),
    ("events { }\nhttp { server { root a; root b; } }", "\"root\" directive is duplicate in PREFIX/x.conf:2"),
    (
        "events { }\nhttp { sendfile maybe; }",
        "invalid value \"maybe\" in \"sendfile\" directive, it must be \"on\" or \"off\" in PREFIX/x.conf:2",
    ),
    ("events { }\nhttp { server {", "unexpected end of file, expecting \"}\" in PREFIX/x.conf:2"),
    ("events { }\nhttp { server { location / { return 200 $nothing; } } }", "unknown \"nothing\" variable"),
    ("http { }", "no \"events\" section in configuration"),
];

#[test]
fn errors_say_what_and_where() {
    for (conf, wanted) in ERRORS {
        let (output, text) = check(conf);
        assert!(!output.status.success(), "accepted: {conf}");
        assert!(text.contains(wanted), "wanted: {wanted}\ngot: {text}");
        assert!(text.contains("test failed"), "{text}");
    }
}

#[test]
fn the_migration_report_names_every_unsupported_directive() {
    let (output, text) = check(
        "events { }\nhttp {\n  image_filter_buffer 1m;\n  server {\n    xslt_last_modified on;\n  }\n}\nmail { }",
    );
    assert!(!output.status.success());
    for wanted in [
        "\"image_filter_buffer\" is not supported yet (ngx_http_image_filter_module) in PREFIX/x.conf:3",
        "\"xslt_last_modified\" is not supported yet (ngx_http_xslt_filter_module) in PREFIX/x.conf:5",
        "\"mail\" is not supported yet",
    ] {
        assert!(text.contains(wanted), "wanted: {wanted}\ngot: {text}");
    }
}

#[test]
fn the_version_is_honest() {
    let output = Command::new(kit::binary()).arg("-V").output().expect("the binary runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.starts_with("nginx version: nginx/") && text.contains("uresty"), "{text}");
    assert!(text.contains("--with-http_stub_status_module"), "{text}");
    // what is not there is not claimed
    assert!(!text.contains("http_perl_module") && !text.contains("--with-mail"), "{text}");
}
