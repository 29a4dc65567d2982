use std::path::Path;

use super::*;
use crate::print;

/// Parses `main` of `/c/nginx.conf`, with further files given as path and text.
fn parse_files(main: &str, others: &[(&str, &str)], globals: Option<&str>) -> Result<(Vec<Node>, Sources)> {
    let mut files = Sources::new();
    files.add_file(Path::new("/c/nginx.conf"), main.as_bytes().to_vec());
    for (path, text) in others {
        files.add_file(Path::new(path), text.as_bytes().to_vec());
    }
    let of_directory = |suffix: &str| {
        let matches = |path: &str| path.starts_with("/c/d/") && path.ends_with(suffix);
        others.iter().map(|(path, _)| *path).filter(|path| matches(path)).map(PathBuf::from).collect()
    };
    files.add_glob("/c/d/*.conf", of_directory(".conf"));
    files.add_glob("/c/none/*", Vec::new());
    parse_in(&files, globals)
}

fn parse_in(files: &dyn Files, globals: Option<&str>) -> Result<(Vec<Node>, Sources)> {
    let options = Options {
        prefix: Path::new("/p/"),
        conf_prefix: Path::new("/c/"),
        globals,
        raw_block: &|name| name.ends_with("_by_lua_block"),
    };
    parse(Path::new("/c/nginx.conf"), files, &options)
}

/// The tree on one line: `a b;`, `a b { … }`.
fn flat(nodes: &[Node]) -> String {
    let text = String::from_utf8(print::to_bytes(nodes)).unwrap();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn trees() {
    let cases = [
        ("", ""),
        ("a;b 1 2;", "a; b 1 2;"),
        ("a { b; c { } } d;", "a { b; c { } } d;"),
        ("types { text/html html htm; }", "types { text/html html htm; }"),
        ("map $a $b { default 0; '~ x' 1; }", "map \"$a\" \"$b\" { default 0; \"~ x\" 1; }"),
        ("content_by_lua_block { if x { y } } a;", "content_by_lua_block { if x { y } } a;"),
        ("set_by_lua_block $r { return {} }", "set_by_lua_block \"$r\" { return {} }"),
        ("include;", "include;"),
        ("include a b;", "include a b;"),
        ("include a { }", "include a { }"),
        ("split_clients a $b { include x; }", "split_clients a \"$b\" { include x; }"),
    ];
    for (text, expected) in cases {
        let (nodes, _) = parse_files(text, &[], None).unwrap();
        assert_eq!(flat(&nodes), expected, "{text:?}");
    }
}

#[test]
fn includes_are_replaced() {
    let others = [
        ("/c/one", "one;"),
        ("/c/sub/two", "two { include one; }"),
        ("/abs", "abs;"),
        ("/c/d/a.conf", "a;"),
        ("/c/d/b.conf", "b;"),
        ("/c/d/c.txt", "c;"),
        ("/c/types", "types { text/html html; }"),
        ("/c/entries", "x 1; y 2;"),
    ];
    let cases = [
        ("include one;", "one;"),
        ("x; include one; y;", "x; one; y;"),
        ("'include' \"one\";", "one;"),
        ("include /abs;", "abs;"),
        ("include sub/two;", "two { one; }"),
        ("include one; include one;", "one; one;"),
        ("h { include d/*.conf; z; }", "h { a; b; z; }"),
        ("h { include none/*; }", "h { }"),
        ("http { include types; }", "http { types { text/html html; } }"),
        ("map { include entries; z 3; }", "map { x 1; y 2; z 3; }"),
    ];
    for (text, expected) in cases {
        let (nodes, _) = parse_files(text, &others, None).unwrap();
        assert_eq!(flat(&nodes), expected, "{text:?}");
    }
}

#[test]
fn messages() {
    let others = [
        ("/c/brace", "a;\n}"),
        ("/c/open", "a {\n"),
        ("/c/word", "a;\nb"),
        ("/c/missing", "\ninclude gone;"),
        ("/c/self", "include nginx.conf;"),
        ("/c/nested", "x { y; }"),
    ];
    let cases = [
        ("}", "unexpected \"}\" in /c/nginx.conf:1"),
        ("a { }\n}\n", "unexpected \"}\" in /c/nginx.conf:2"),
        ("a {\n b;\n", "unexpected end of file, expecting \"}\" in /c/nginx.conf:3"),
        ("a {\n b\n", "unexpected end of file, expecting \";\" or \"}\" in /c/nginx.conf:3"),
        ("a {\n b }\n", "unexpected \"}\" in /c/nginx.conf:2"),
        ("\ninclude gone\n;", "open() \"/c/gone\" failed (2: No such file or directory) in /c/nginx.conf:3"),
        ("include missing;", "open() \"/c/gone\" failed (2: No such file or directory) in /c/missing:2"),
        ("include brace;", "unexpected \"}\" in /c/brace:2"),
        ("x { include brace; }", "unexpected \"}\" in /c/brace:2"),
        ("include open; }", "unexpected end of file, expecting \"}\" in /c/open:2"),
        ("include word;", "unexpected end of file, expecting \";\" or \"}\" in /c/word:2"),
        ("\n\ninclude self;", "file \"/c/nginx.conf\" includes itself in /c/self:1"),
        ("map {\n a { } }", "unexpected \"{\" in /c/nginx.conf:2"),
        ("types {\n include nested;\n}", "unexpected \"{\" in /c/nested:1"),
        ("split_clients { a {", "unexpected \"{\" in /c/nginx.conf:1"),
        (
            "content_by_lua_block {\n {\n",
            "unexpected end of file, expecting terminating characters for lua code block in /c/nginx.conf:2",
        ),
        (
            "\ncontent_by_lua_block {\n x = [[ }",
            "Lua code block missing the closing long bracket \"]]\", the inlined Lua code may be too long \
             in /c/nginx.conf:3",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(parse_files(text, &others, None).unwrap_err().to_string(), expected, "{text:?}");
    }
}

#[test]
fn globals_come_first_and_take_no_blocks() {
    let (nodes, sources) = parse_files("b;", &[("/c/g", "g { h; }")], Some("a 1; include g; c;")).unwrap();
    assert_eq!(flat(&nodes), "a 1; g { h; } c; b;");
    assert_eq!(nodes[0].span.to_string(), "command line");
    assert_eq!(nodes[1].span.to_string(), "/c/g:1");
    let order: Vec<_> = sources.files().map(|(path, _)| path.display().to_string()).collect();
    assert_eq!(order, ["/c/g", "/c/nginx.conf"]);

    let cases = [
        ("a", "unexpected end of parameter, expecting \";\" in command line"),
        ("a {", "block directives are not supported in -g option in command line"),
        ("}", "unexpected \"}\" in command line"),
        ("a;\n;", "unexpected \";\" in command line"),
        ("include gone;", "open() \"/c/gone\" failed (2: No such file or directory) in command line"),
    ];
    for (globals, expected) in cases {
        assert_eq!(parse_files("", &[], Some(globals)).unwrap_err().to_string(), expected, "{globals:?}");
    }
}

#[test]
fn missing_main_file_has_no_place() {
    let error = parse_in(&crate::DiskFiles, None).unwrap_err();
    assert_eq!(error.to_string(), "open() \"/c/nginx.conf\" failed (2: No such file or directory)");
}

#[test]
fn places() {
    let text = "a\n b\n ;\nc {\n d;\n}\nx_by_lua_block\n{\n{}\n}\n";
    let (nodes, _) = parse_files(text, &[], None).unwrap();
    let places: Vec<_> = nodes.iter().map(|node| (node.name.line, node.span.line, node.end_line)).collect();
    assert_eq!(places, [(1, 3, 3), (4, 4, 6), (7, 8, 10)]);
    assert_eq!(nodes[1].children()[0].span.to_string(), "/c/nginx.conf:5");
    assert_eq!(nodes[1].end_span().to_string(), "/c/nginx.conf:6");
    assert_eq!(nodes[2].raw(), Some(&b"\n{}\n"[..]));
}

#[test]
fn depth_is_limited() {
    let nest = |depth: usize| format!("{}{}", "a {".repeat(depth), "}".repeat(depth));
    assert!(parse_files(&nest(BLOCK_DEPTH_MAX), &[], None).is_ok());
    let error = parse_files(&nest(BLOCK_DEPTH_MAX + 1), &[], None).unwrap_err();
    assert_eq!(error.to_string(), "too many nested blocks in /c/nginx.conf:1");
    assert!(parse_files(&nest(100_000), &[], None).is_err());
}

#[test]
fn repeated_includes_are_limited() {
    // Each file includes the next one twice: 2^20 openings without a limit.
    let texts: Vec<(String, String)> =
        (0..20).map(|i| (format!("/c/f{i}"), format!("include f{n}; include f{n};", n = i + 1))).collect();
    let mut others: Vec<(&str, &str)> =
        texts.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    others.push(("/c/f20", ""));
    let error = parse_files("include f0;", &others, None).unwrap_err();
    assert!(error.message().starts_with("too many nested or repeated includes"), "{error}");
}

#[test]
fn a_record_parses_like_the_files() {
    let others = [("/c/d/a.conf", "a;"), ("/c/d/b.conf", "b { include one; }"), ("/c/one", "one;")];
    let (nodes, sources) = parse_files("include d/*.conf; include none/*;", &others, None).unwrap();
    let copy = Sources::from_bytes(&sources.to_bytes()).unwrap();
    assert_eq!(copy, sources);
    let (again, _) = parse_in(&copy, None).unwrap();
    assert_eq!(again, nodes);
}

#[test]
fn full_names() {
    let cases = [
        ("/etc/nginx/", "mime.types", "/etc/nginx/mime.types"),
        ("/etc/nginx", "mime.types", "/etc/nginx/mime.types"),
        ("/etc/nginx/", "/abs", "/abs"),
        ("/etc/nginx/", "../x", "/etc/nginx/../x"),
        ("", "x", "x"),
    ];
    for (prefix, name, expected) in cases {
        assert_eq!(full_name(Path::new(prefix), name.as_bytes()), Path::new(expected));
    }
}
