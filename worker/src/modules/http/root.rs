//! `root` and `alias`.

use std::rc::Rc;

use conf::{Node, Result};

use super::LOCATION;
use crate::build::{Builder, LevelKind, LocationKind};
use crate::script::Template;

/// How a URI becomes a file name.
#[derive(Debug, Clone)]
pub enum Root {
    /// Directory and URI joined.
    Root(Template),
    /// The location's prefix, of so many bytes, is replaced.
    Alias(Template, usize),
    /// In a location with a pattern: the template names the file itself.
    AliasWhole(Template),
}

/// `root path` and `alias path`.
pub(super) fn apply(cx: &mut Builder, node: &Node) -> Result<()> {
    let name = node.name.text();
    let alias = name == "alias";
    if let Some(old) = cx.conf(&LOCATION).set.root.as_ref() {
        let was_alias = !matches!(**old, Root::Root(_));
        return Err(if was_alias == alias {
            node.predicate("is duplicate")
        } else {
            let other = if was_alias { "alias" } else { "root" };
            node.error(format!(
                "\"{name}\" directive is duplicate, \"{other}\" directive was specified earlier"
            ))
        });
    }
    let text = node.first();
    for forbidden in ["$document_root", "${document_root}", "$realpath_root", "${realpath_root}"] {
        if text.contains(forbidden) {
            let variable = forbidden.trim_matches(|c| "${}".contains(c));
            return Err(
                node.error(format!("the ${variable} variable cannot be used in the \"{name}\" directive"))
            );
        }
    }
    let text = if alias || text.len() < 2 { text } else { text.strip_suffix('/').unwrap_or(text) };
    let template = Template::parse(cx, node, text)?;
    let root = if alias { alias_of(cx, node, template)? } else { Root::Root(template) };
    cx.conf(&LOCATION).set.root.set(Rc::new(root))
}

fn alias_of(cx: &Builder, node: &Node, template: Template) -> Result<Root> {
    // inside `if` the prefix is that of the location around
    let spec = cx.levels().iter().rev().find_map(|level| match &level.kind {
        LevelKind::Location(spec) => Some(spec),
        _ => None,
    });
    let Some(spec) = spec else { return Err(node.error("the \"alias\" directive is not allowed here")) };
    Ok(match spec.kind {
        LocationKind::Regex(_) => Root::AliasWhole(template),
        LocationKind::Named => {
            return Err(node.error("the \"alias\" directive cannot be used inside the named location"));
        }
        _ => Root::Alias(template, spec.name.len()),
    })
}
