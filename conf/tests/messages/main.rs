//! What an administrator sees: whole configurations and the message nginx prints for each.
//!
//! [`cases`] is the table; [`miniature`] is a server of a few directives, enough to reach every message of the
//! parser, the walk and the argument readers. Each message has been compared with nginx's.

mod cases;
mod miniature;

use std::path::Path;

use conf::{Error, Sources, parse};
use miniature::Miniature;

/// Parses and applies `text` as /n.conf; the first fatal error, then everything that was collected.
fn run(text: &str) -> (Option<Error>, Vec<Error>) {
    let registry = miniature::registry();
    let mut files = Sources::new();
    files.add_file(Path::new("/n.conf"), text.as_bytes().to_vec());
    let options = conf::Options {
        prefix: Path::new("/"),
        conf_prefix: Path::new("/"),
        globals: None,
        raw_block: &|name| registry.is_raw(name),
    };
    let nodes = match parse(Path::new("/n.conf"), &files, &options) {
        Ok((nodes, _)) => nodes,
        Err(error) => return (Some(error), Vec::new()),
    };
    let mut server = Miniature::new();
    let result = conf::apply(&registry, &nodes, &mut server);
    (result.err(), server.collected)
}

#[test]
fn fatal_messages() {
    for (text, expected) in cases::FATAL {
        let (error, _) = run(text);
        let message = error.map(|error| error.to_string());
        assert_eq!(message.as_deref(), Some(*expected), "{text:?}");
    }
}

#[test]
fn accepted() {
    for text in cases::ACCEPTED {
        assert_eq!(run(text), (None, Vec::new()), "{text:?}");
    }
}

#[test]
fn unsupported_directives_are_all_listed() {
    let text = "http {\n gzip on;\n server {\n  root a;\n  proxy_pass b;\n  location / {\n   proxy_pass b;\n   \
                dav_methods PUT;\n  }\n }\n}\n";
    let (error, collected) = run(text);
    // A directive that nobody allows here stays an error.
    assert_eq!(error.unwrap().to_string(), "\"proxy_pass\" directive is not allowed here in /n.conf:5");
    assert_eq!(collected.len(), 1);

    let (error, collected) = run(&text.replace("  proxy_pass b;\n  location", "  location"));
    assert_eq!(error, None);
    let lines: Vec<_> = collected.iter().map(Error::to_string).collect();
    assert_eq!(
        lines,
        [
            "directive \"gzip\" is not supported yet (ngx_http_gzip_filter_module) in /n.conf:2",
            "directive \"proxy_pass\" is not supported yet (ngx_http_proxy_module) in /n.conf:6",
            "directive \"dav_methods\" is not supported yet (ngx_http_dav_module) in /n.conf:7",
        ]
    );
    assert!(collected.iter().all(Error::is_unsupported));
}

#[test]
fn unsupported_in_one_place_and_supported_in_another() {
    // The miniature has `server` in http only.
    let (error, collected) = run("stream {\n server { listen 1; }\n}\n");
    assert_eq!(error, None);
    let message = "directive \"stream\" is not supported yet (ngx_stream_module) in /n.conf:1";
    assert_eq!(collected.iter().map(Error::to_string).collect::<Vec<_>>(), [message]);

    let (_, collected) = run("http { upstream u { server a; } }");
    assert_eq!(
        collected[0].to_string(),
        "directive \"upstream\" is not supported yet (ngx_http_upstream_module) in /n.conf:1"
    );
}
