//! `zone name [size]` in an `upstream` block.

use conf::value::size;
use conf::{Arity, Contexts, Directive, Node, Result, Shape};

use super::CONF;
use crate::build::Builder;
use crate::zone::ZoneKind;

/// Smallest zone, bytes, as in nginx: eight pages.
pub(super) const SIZE_MIN: usize = 8 * 4096;

pub(super) static DIRECTIVES: &[Directive<Builder>] = &[Directive {
    name: "zone",
    contexts: Contexts::UPSTREAM,
    arity: Arity::Range(1, 2),
    shape: Shape::Simple,
    default: "",
    doc: "Shared memory in which all workers keep the state of the group's servers. Several groups may share a zone.",
    apply: zone,
}];

fn zone(cx: &mut Builder, node: &Node) -> Result<()> {
    let name = node.first();
    if name.is_empty() {
        return Err(node.error(format!("invalid zone name \"{name}\"")));
    }
    let size = match node.arg(1) {
        None => None,
        Some(text) => {
            let size =
                size::parse_size(text).ok_or_else(|| node.error(format!("invalid zone size \"{text}\"")))?;
            if size < SIZE_MIN {
                return Err(node.error(format!("zone \"{name}\" is too small")));
            }
            Some(size)
        }
    };
    let zone = cx.zone(node, name, size, ZoneKind::Upstream)?;
    cx.conf(&CONF).zone = Some(zone);
    Ok(())
}
