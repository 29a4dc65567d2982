//! The house rules that a machine can see.

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ stands in the repository").to_owned()
}

/// Every file git knows, with its text if it is text.
fn files() -> Vec<(String, String)> {
    let output =
        Command::new("git").arg("-C").arg(root()).args(["ls-files", "-z"]).output().expect("git runs");
    let names = String::from_utf8(output.stdout).expect("file names are UTF-8");
    let read = |name: &str| Some((name.to_owned(), std::fs::read_to_string(root().join(name)).ok()?));
    names.split('\0').filter(|name| !name.is_empty()).filter_map(read).collect()
}

fn rust_files() -> impl Iterator<Item = (String, String)> {
    files().into_iter().filter(|(name, _)| name.ends_with(".rs"))
}

/// The part of a source file that is not tests.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text)
}

const LINES_MAX: usize = 800;
const MEDIAN_LINES_MAX: usize = 200;

#[test]
fn files_stay_small() {
    let mut lines: Vec<usize> = Vec::new();
    for (name, text) in rust_files().filter(|(name, _)| !name.starts_with("tests/")) {
        let count = without_tests(&text).lines().count();
        // a table may be long
        let table = name.contains("/known/") || name.ends_with("/directives.rs");
        assert!(count <= LINES_MAX || table, "{name} has {count} lines without its tests");
        lines.push(count);
    }
    lines.sort_unstable();
    let median = lines[lines.len() / 2];
    assert!(median <= MEDIAN_LINES_MAX, "the median file has {median} lines");
}

/// A crate and the only folders that may name it.
const TENANTS: &[(&str, &[&str])] = &[
    ("monoio", &["worker/net/"]),
    ("io_uring", &["worker/net/", "bench/"]),
    ("rustls", &["worker/tls/"]),
    ("tokio", &["master/control/", "master/admin/", "tests/"]),
];

#[test]
fn crates_are_named_where_they_live() {
    for (name, text) in rust_files().filter(|(name, _)| name != "tests/tidy.rs") {
        for (tenant, rooms) in TENANTS {
            let uses = text.lines().any(|line| {
                let code = line.split("//").next().unwrap_or_default();
                code.contains(&format!("{tenant}::"))
            });
            assert!(!uses || rooms.iter().any(|room| name.starts_with(room)), "{name} names {tenant}");
        }
    }
}

/// Where `unsafe` may stand.
const UNSAFE_ROOMS: &[&str] =
    &["worker/net/", "worker/shm/", "lua/src/ffi/", "master/src/spawn.rs", "master/src/title.rs"];

#[test]
fn unsafe_stays_in_its_rooms() {
    for (name, text) in rust_files().filter(|(name, _)| name != "tests/tidy.rs") {
        let uses = text.lines().any(|line| {
            let code = line.split("//").next().unwrap_or_default();
            code.contains("unsafe {") || code.contains("unsafe fn") || code.contains("unsafe impl")
        });
        assert!(!uses || UNSAFE_ROOMS.iter().any(|room| name.starts_with(room)), "{name} has unsafe code");
    }
}

#[test]
fn nothing_is_left_undone() {
    for (name, text) in rust_files().filter(|(name, _)| name != "tests/tidy.rs") {
        for word in ["todo!(", "unimplemented!(", "#[ignore]", "FIXME", "XXX:"] {
            assert!(!text.contains(word), "{name} has {word}");
        }
    }
}

#[test]
fn every_source_file_says_what_it_is() {
    for (name, text) in
        rust_files().filter(|(name, _)| !name.contains("/tests.rs") && !name.contains("/tests/"))
    {
        assert!(text.starts_with("//!") || text.starts_with("#!"), "{name} does not begin with its essay");
    }
}

#[test]
fn markdown_has_one_title() {
    for (name, text) in files().into_iter().filter(|(name, _)| name.ends_with(".md")) {
        let mut fenced = false;
        let titles = text.lines().filter(|line| {
            fenced ^= line.starts_with("```");
            !fenced && line.starts_with("# ")
        });
        assert_eq!(titles.count(), 1, "{name}");
    }
}
