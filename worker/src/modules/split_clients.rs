//! `ngx_http_split_clients_module`: a variable whose value is chosen by the hash of a text, in given proportions.

use std::rc::Rc;

use conf::{Arity, Contexts, Directive, Node, Result, Shape};

use super::map::variable_name;
use crate::build::Builder;
use crate::module::Module;
use crate::request::Request;
use crate::script::Template;
use crate::variables::{Compute, Source};

/// The module.
pub const MODULE: SplitClients = SplitClients;

/// See the module's documentation.
pub struct SplitClients;

impl Module for SplitClients {
    fn name(&self) -> &'static str {
        "ngx_http_split_clients_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }
}

static DIRECTIVES: &[Directive<Builder>] = &[Directive {
    name: "split_clients",
    contexts: Contexts::HTTP,
    arity: Arity::Exactly(2),
    shape: Shape::Block,
    default: "",
    doc: "A variable whose value is chosen by the hash of a text, in given proportions.",
    apply: split_clients,
}];

/// A compiled `split_clients`.
struct Split {
    source: Template,
    parts: Box<[Part]>,
}

struct Part {
    /// Hashes below it fall into this part; `None`: all that are left.
    below: Option<u32>,
    value: Box<[u8]>,
}

/// 100.00 %.
const WHOLE: u64 = 10_000;

fn split_clients(cx: &mut Builder, node: &Node) -> Result<()> {
    let source = Template::parse(cx, node, node.bytes(0))?;
    let name = variable_name(node, 1)?;
    let mut parts = Vec::new();
    let (mut sum, mut below) = (0, 0u32);
    for entry in node.entries() {
        let entry = entry?.node;
        if entry.len() != 1 {
            return Err(entry.error("invalid number of the split_clients parameters"));
        }
        let percent = percent(entry)?;
        sum = percent.map_or(WHOLE, |percent| sum + percent);
        if sum > WHOLE {
            return Err(node.end_error("percent total is greater than 100%"));
        }
        let limit = percent.filter(|_| sum < WHOLE).map(|percent| {
            below += (percent * u64::from(u32::MAX) / WHOLE) as u32;
            below
        });
        parts.push(Part { below: limit, value: entry.bytes(0).into() });
    }
    let split = Rc::new(Split { source, parts: parts.into() });
    cx.variables.declare(node, name, Source::Computed(split), true)?;
    Ok(())
}

/// Hundredths of a percent; `None` for `*`.
fn percent(entry: &Node) -> Result<Option<u64>> {
    let text = entry.name.text();
    if text == "*" {
        return Ok(None);
    }
    let number = text.strip_suffix('%').and_then(|number| conf::value::number::parse_fixed(number, 2));
    match number {
        Some(number @ 1..) => Ok(Some(number)),
        _ => Err(entry.error(format!("invalid percent value \"{text}\""))),
    }
}

impl Compute for Split {
    fn compute(&self, req: &mut Request, out: &mut Vec<u8>) -> bool {
        let hash = murmur2(&self.source.eval(req));
        let mut parts = self.parts.iter();
        if let Some(part) = parts.find(|part| part.below.is_none_or(|below| hash < below)) {
            out.extend_from_slice(&part.value);
        }
        true
    }
}

/// MurmurHash2 with seed 0, 32 bits.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = data.len() as u32;
    let words = data.chunks_exact(4);
    let rest = words.remainder();
    for word in words {
        let mut k = u32::from_le_bytes(word.try_into().expect("chunks of four")).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_hashes() {
        for (text, hash) in [("", 0), ("a", 0x9268_5f5e), ("abc", 0x1357_7c9b), ("abcd", 0x2687_3021)] {
            assert_eq!(murmur2(text.as_bytes()), hash, "{text:?} {:#x}", murmur2(text.as_bytes()));
        }
    }
}
