//! `COMPATIBILITY.md` is made from the tables of directives and variables, and must be what they say now.
//!
//! `UPDATE=1 cargo test -p uresty-worker --test compatibility` writes it.

use std::fmt::Write as _;
use std::path::Path;

use worker::module::Module;

/// Every module: the worker's and Lua.
fn modules() -> Vec<&'static dyn Module> {
    worker::modules::ALL.iter().copied().chain([&lua::MODULE as &dyn Module]).collect()
}

const HEAD: &str = include_str!("head.txt");

fn page() -> String {
    let registry = worker::build::registry(&modules());
    let reference = conf::docs::reference(&registry);
    let body = reference.strip_prefix("# Directives\n").expect("the reference begins with its title");
    let mut page = String::from(HEAD);
    page.push_str("\n## Variables\n\n| variable | module | description |\n|---|---|---|\n");
    for module in modules() {
        variables(&mut page, module);
    }
    // one title per page: what is a title of its own in the reference is a section here
    page.push_str(&body.replace("\n# ", "\n## "));
    page
}

fn variables(page: &mut String, module: &dyn Module) {
    for variable in module.variables() {
        let family = if variable.prefix { "*name*" } else { "" };
        writeln!(page, "| `${}`{family} | {} | {} |", variable.name, module.name(), variable.doc)
            .expect("writing to a string does not fail");
    }
}

#[test]
fn the_page_is_what_the_tables_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../COMPATIBILITY.md");
    let page = page();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &page).expect("the page can be written");
    }
    let file = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        file == page,
        "COMPATIBILITY.md is out of date: UPDATE=1 cargo test -p uresty-worker --test compatibility"
    );
}
