//! The directive tables as a Markdown reference.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::directive::{Arity, Contexts, Directive, Registered, Registry, Shape};
use crate::known;

/// The reference: one section per module, in the order the modules were added, then what is missing.
pub fn reference<C>(registry: &Registry<C>) -> String {
    let mut modules: Vec<(&str, Vec<&Directive<C>>)> = Vec::new();
    for Registered { module, directive } in registry.iter() {
        match modules.iter_mut().find(|(name, _)| *name == module) {
            Some((_, directives)) => directives.push(directive),
            None => modules.push((module, vec![directive])),
        }
    }
    let mut out = String::from("# Directives\n");
    for (module, directives) in modules {
        section(&mut out, module, &directives);
    }
    out.push_str(&unsupported(registry));
    out
}

fn section<C>(out: &mut String, module: &str, directives: &[&Directive<C>]) {
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        "\n## {module}\n\n| directive | arguments | default | contexts | description |\n|---|---|---|---|---|\n"
    );
    for directive in directives {
        let default = match directive.default {
            "" => "–".to_owned(),
            text => format!("`{}`", cell(text)),
        };
        let contexts: Vec<_> = directive.contexts.names().collect();
        let _ = writeln!(
            out,
            "| `{}` | {} | {default} | {} | {} |",
            directive.name,
            arguments(directive.arity, directive.shape),
            contexts.join(", "),
            cell(directive.doc)
        );
    }
}

/// The directives of nginx and OpenResty that the registry lacks, by module; those it lacks only in some places
/// name the places.
pub fn unsupported<C>(registry: &Registry<C>) -> String {
    let mut modules: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for known in known::all() {
        let mine = registry.named(known.name);
        let supported = mine.fold(Contexts::NONE, |all, entry| all.or(entry.directive.contexts));
        let missing = known.contexts.without(supported);
        if missing == Contexts::NONE {
            continue;
        }
        let mut item = format!("`{}`", known.name);
        if missing != known.contexts {
            let _ = write!(item, " (in {})", missing.names().collect::<Vec<_>>().join(", "));
        }
        modules.entry(known.module).or_default().push(item);
    }
    let mut out = String::from("\n# Not supported yet\n\n| module | directives |\n|---|---|\n");
    for (module, items) in modules {
        let _ = writeln!(out, "| {module} | {} |", items.join(", "));
    }
    out
}

fn arguments(arity: Arity, shape: Shape) -> String {
    let count = match arity {
        Arity::Flag => "`on` or `off`".to_owned(),
        Arity::Exactly(0) => "none".to_owned(),
        Arity::Exactly(n) => n.to_string(),
        Arity::Range(low, high) => format!("{low} to {high}"),
        Arity::AtLeast(n) => format!("{n} or more"),
        Arity::Any => "any".to_owned(),
    };
    match shape {
        Shape::Simple => count,
        Shape::Block => format!("{count}, block"),
        Shape::RawBlock => format!("{count}, Lua block"),
        Shape::Either => format!("{count}, block optional"),
    }
}

/// Text that does not end its table cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    static DIRECTIVES: &[Directive<Nothing>] = &[
        Directive {
            name: "sendfile",
            contexts: Contexts::HTTP_SERVER_LOCATION.or(Contexts::LOCATION_IF),
            arity: Arity::Flag,
            shape: Shape::Simple,
            default: "off",
            doc: "Sends files from the kernel's cache | or not.",
            apply: |_, _| Ok(()),
        },
        Directive {
            name: "types",
            contexts: Contexts::HTTP,
            arity: Arity::Exactly(0),
            shape: Shape::Block,
            default: "",
            doc: "Maps extensions to types.",
            apply: |_, _| Ok(()),
        },
    ];

    #[test]
    fn reference_lists_supported_and_missing() {
        let mut registry = Registry::new();
        registry.add("ngx_http_core_module", DIRECTIVES);
        let text = reference(&registry);
        let lines = [
            "## ngx_http_core_module",
            "| `sendfile` | `on` or `off` | `off` | http, server, location, if in location | Sends files from the \
             kernel's cache \\| or not. |",
            "| `types` | none, block | – | http | Maps extensions to types. |",
        ];
        for line in lines {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        let missing = text.lines().find(|line| line.starts_with("| ngx_http_core_module |")).unwrap();
        assert!(missing.contains("`types` (in server, location)"), "{missing}");
        assert!(missing.contains("`root`") && !missing.contains("`sendfile`"), "{missing}");
        assert!(text.contains("| ngx_http_memc_module |"));
    }
}
