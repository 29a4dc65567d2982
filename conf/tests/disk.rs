//! Configurations read from the disk: relative names, patterns, what cannot be read, and the record afterwards.

use std::fs;
use std::path::Path;

use conf::{DiskFiles, Node, Options, Result, Sources, parse};

/// Parses `nginx.conf` in `dir`.
fn parse_dir(dir: &Path) -> Result<(Vec<Node>, Sources)> {
    let options = Options { prefix: dir, conf_prefix: dir, globals: None, raw_block: &|_| false };
    parse(&dir.join("nginx.conf"), &DiskFiles, &options)
}

fn write(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().expect("below dir")).expect("a writable directory");
    fs::write(path, text).expect("a writable file");
}

#[test]
fn patterns_are_read_in_byte_order() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "nginx.conf", "http { include conf.d/*.conf; }");
    for name in ["b", "a", "Z", "10", "9", ".hidden"] {
        write(dir.path(), &format!("conf.d/{name}.conf"), &format!("x{name};"));
    }
    write(dir.path(), "conf.d/a.conf.off", "off;");
    let (nodes, sources) = parse_dir(dir.path()).unwrap();
    let names: Vec<_> = nodes[0].children().iter().map(|node| node.name.text()).collect();
    assert_eq!(names, ["x10", "x9", "xZ", "xa", "xb"]);

    let mut dump = Vec::new();
    sources.dump(&mut dump).unwrap();
    let dump = String::from_utf8(dump).unwrap();
    let root = dir.path().display();
    let head = format!(
        "# configuration file {root}/nginx.conf:\nhttp {{ include conf.d/*.conf; }}\n\
         # configuration file {root}/conf.d/10.conf:\nx10;\n"
    );
    assert!(dump.starts_with(&head), "{dump}");

    // The record outlives the files.
    fs::remove_dir_all(dir.path().join("conf.d")).unwrap();
    let options =
        Options { prefix: dir.path(), conf_prefix: dir.path(), globals: None, raw_block: &|_| false };
    let (again, _) = parse(&dir.path().join("nginx.conf"), &sources, &options).unwrap();
    assert_eq!(again, nodes);
}

#[test]
fn what_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().display();
    fs::create_dir(dir.path().join("sub")).unwrap();
    std::os::unix::fs::symlink("nowhere", dir.path().join("dangling")).unwrap();
    let cases = [
        (
            "\ninclude gone;",
            format!("open() \"{root}/gone\" failed (2: No such file or directory) in {root}/nginx.conf:2"),
        ),
        (
            "include dangl*;",
            format!(
                "open() \"{root}/dangling\" failed (2: No such file or directory) in {root}/nginx.conf:1"
            ),
        ),
        (
            "include nginx.conf/x;",
            format!("open() \"{root}/nginx.conf/x\" failed (20: Not a directory) in {root}/nginx.conf:1"),
        ),
        ("include sub;", format!("pread() \"{root}/sub\" failed (21: Is a directory)")),
        ("include su*;", format!("pread() \"{root}/sub\" failed (21: Is a directory)")),
    ];
    for (text, expected) in cases {
        write(dir.path(), "nginx.conf", text);
        assert_eq!(parse_dir(dir.path()).unwrap_err().to_string(), expected, "{text:?}");
    }
}
