//! `ngx_http_array_var_module` of OpenResty's bundle: variables that are lists, made and used by instructions.
//!
//! A list is kept in a variable as its elements, each behind its length, after a mark that no other value begins with; a
//! variable without the mark is no list.

use std::rc::Rc;

use ::conf::{Arity, Contexts, Directive, Node, Result, Shape};

use super::rewrite::{self, Computed};
use super::set_misc::{self, Function};
use crate::build::Builder;
use crate::log::Level;
use crate::module::Module;
use crate::phase::Flow;
use crate::request::Request;
use crate::script::Template;
use crate::variables::Variable;

/// The module.
pub const MODULE: ArrayVar = ArrayVar;

/// See the module's documentation.
pub struct ArrayVar;

/// What lists begin with.
const MARK: &[u8] = b"\0array\0";

const BLOCKS: Contexts =
    Contexts::SERVER.or(Contexts::LOCATION).or(Contexts::SERVER_IF).or(Contexts::LOCATION_IF);

/// A row of the table.
const fn array(
    name: &'static str,
    arity: Arity,
    doc: &'static str,
    apply: fn(&mut Builder, &Node) -> Result<()>,
) -> Directive<Builder> {
    Directive { name, contexts: BLOCKS, arity, shape: Shape::Simple, default: "", doc, apply }
}

static DIRECTIVES: &[Directive<Builder>] = &[
    array(
        "array_split",
        Arity::Range(3, 4),
        "Makes a list of the parts of a text: separator, text, most parts, to=$list.",
        split,
    ),
    array("array_join", Arity::Range(2, 3), "Makes a text of a list: separator, list, to=$text.", join),
    array(
        "array_map",
        Arity::Range(2, 3),
        "Makes a template of each element, $array_it: template, list, to=$list.",
        map,
    ),
    array(
        "array_map_op",
        Arity::Range(2, 3),
        "Applies a set_* directive to each element: name, list, to=$list.",
        map_op,
    ),
];

/// The element a template is at.
struct It(Vec<u8>);

static VARIABLES: &[Variable] =
    &[Variable::new("array_it", "The element of a list that array_map is at.", |req, _, out| {
        let Some(It(element)) = req.context.get() else { return false };
        out.extend_from_slice(element);
        true
    })];

impl Module for ArrayVar {
    fn name(&self) -> &'static str {
        "ngx_http_array_var_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }

    fn variables(&self) -> &'static [Variable] {
        VARIABLES
    }
}

/// The variable of a `to=$name`.
fn target(node: &Node, i: usize) -> Option<&str> {
    node.arg(i)?.strip_prefix("to=").filter(|name| name.starts_with('$'))
}

fn unexpected(node: &Node, i: usize) -> ::conf::Error {
    let (name, argument) = (node.name.text(), node.arg(i).unwrap_or_default());
    node.error(format!("{name}: unexpected argument \"{argument}\""))
}

fn split(cx: &mut Builder, node: &Node) -> Result<()> {
    let last = node.len() - 1;
    let target = target(node, last).ok_or_else(|| unexpected(node, last))?;
    let mut args = vec![Template::parse(cx, node, node.first())?, Template::parse(cx, node, node.second())?];
    if last == 3 {
        args.push(Template::parse(cx, node, node.arg(2).unwrap_or_default())?);
    }
    rewrite::push_computed(cx, node, target, args.into(), Rc::new(Split))
}

/// The list in the second argument, and the variable that takes the result: the one behind `to=`, else the list's own.
fn list<'n>(cx: &mut Builder, node: &'n Node) -> Result<(Template, &'n str)> {
    let list = Template::parse(cx, node, node.second())?;
    if list.as_variable().is_none() {
        return Err(unexpected(node, 1));
    }
    if node.len() == 2 {
        return Ok((list, node.second()));
    }
    let target = target(node, 2).ok_or_else(|| unexpected(node, 2))?;
    Ok((list, target))
}

fn join(cx: &mut Builder, node: &Node) -> Result<()> {
    let (list, target) = list(cx, node)?;
    let separator = Template::parse(cx, node, node.first())?;
    rewrite::push_computed(cx, node, target, [separator, list].into(), Rc::new(Join))
}

fn map(cx: &mut Builder, node: &Node) -> Result<()> {
    let (list, target) = list(cx, node)?;
    let template = Template::parse(cx, node, node.first())?;
    rewrite::push_computed(cx, node, target, [list].into(), Rc::new(Map(template)))
}

fn map_op(cx: &mut Builder, node: &Node) -> Result<()> {
    let (list, target) = list(cx, node)?;
    let name = node.first();
    let function = set_misc::find(name).filter(|function| function.args == 1).ok_or_else(|| {
        node.error(format!("array_map_op: directive \"{name}\" not found or does not use ndk_set_var_value"))
    })?;
    rewrite::push_computed(cx, node, target, [list].into(), Rc::new(MapOp(function)))
}

/// Appends an element to a list.
fn push(out: &mut Vec<u8>, element: &[u8]) {
    if out.is_empty() {
        out.extend_from_slice(MARK);
    }
    out.extend_from_slice(&(element.len() as u32).to_ne_bytes());
    out.extend_from_slice(element);
}

/// The elements of a list; `None`: it is none.
fn elements(value: &[u8]) -> Option<Vec<&[u8]>> {
    let mut rest = value.strip_prefix(MARK)?;
    let mut all = Vec::new();
    while let Some((len, behind)) = rest.split_first_chunk::<4>() {
        let (element, behind) = behind.split_at_checked(u32::from_ne_bytes(*len) as usize)?;
        all.push(element);
        rest = behind;
    }
    rest.is_empty().then_some(all)
}

type Done = std::result::Result<(), Flow>;

fn failed(req: &Request, message: std::fmt::Arguments<'_>) -> Flow {
    req.log(Level::Error, message);
    Flow::Status(500)
}

/// The elements of an argument that must be a list. An empty one is a list without elements.
fn must<'v>(req: &Request, directive: &str, value: &'v [u8]) -> std::result::Result<Vec<&'v [u8]>, Flow> {
    elements(value).ok_or_else(|| {
        let value = value.escape_ascii();
        failed(
            req,
            format_args!("{directive}: invalid array variable value in the 2nd argument: \"{value}\""),
        )
    })
}

struct Split;

impl Computed for Split {
    fn compute(&self, req: &mut Request, args: &[Vec<u8>], out: &mut Vec<u8>) -> Done {
        let max = match args.get(2) {
            None => usize::MAX,
            Some(text) => {
                let max = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
                let Some(max) = max else {
                    let text = text.escape_ascii();
                    return Err(failed(req, format_args!("array_split: invalid max items: \"{text}\"")));
                };
                if max == 0 { usize::MAX } else { max }
            }
        };
        out.extend_from_slice(MARK);
        for part in parts(&args[1], &args[0], max) {
            push(out, part);
        }
        Ok(())
    }
}

/// The parts of a text, at most so many; without a separator its bytes.
fn parts<'t>(text: &'t [u8], separator: &[u8], max: usize) -> Vec<&'t [u8]> {
    let (mut parts, mut rest) = (Vec::new(), text);
    while parts.len() + 1 < max && !rest.is_empty() {
        let cut = if separator.is_empty() {
            (rest.len() > 1).then_some(1)
        } else {
            memchr::memmem::find(rest, separator)
        };
        let Some(cut) = cut else { break };
        parts.push(&rest[..cut]);
        rest = &rest[cut + separator.len()..];
    }
    parts.push(rest);
    parts
}

struct Join;

impl Computed for Join {
    fn compute(&self, req: &mut Request, args: &[Vec<u8>], out: &mut Vec<u8>) -> Done {
        out.extend(must(req, "array_join", &args[1])?.join(args[0].as_slice()));
        Ok(())
    }
}

struct Map(Template);

impl Computed for Map {
    fn compute(&self, req: &mut Request, args: &[Vec<u8>], out: &mut Vec<u8>) -> Done {
        out.extend_from_slice(MARK);
        for element in must(req, "array_map", &args[0])? {
            req.context.set(It(element.to_vec()));
            let value = self.0.eval(req);
            push(out, &value);
        }
        req.context.take::<It>();
        Ok(())
    }
}

struct MapOp(&'static Function);

impl Computed for MapOp {
    fn compute(&self, req: &mut Request, args: &[Vec<u8>], out: &mut Vec<u8>) -> Done {
        out.extend_from_slice(MARK);
        for element in must(req, "array_map_op", &args[0])? {
            match self.0.call(req, &[element.to_vec()]) {
                Ok(value) => push(out, &value),
                Err(message) => return Err(failed(req, format_args!("{message}"))),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_they_were_written() {
        let mut list = MARK.to_vec();
        assert_eq!(elements(&list), Some(vec![]));
        for element in [&b"a"[..], b"", b"\0array\0"] {
            push(&mut list, element);
        }
        assert_eq!(elements(&list), Some(vec![&b"a"[..], b"", b"\0array\0"]));
        assert_eq!(elements(b"a,b"), None);
        list.pop();
        assert_eq!(elements(&list), None);
    }

    #[test]
    fn parts_of_a_text() {
        let parts = |text: &'static str, separator: &str, max| {
            let parts = parts(text.as_bytes(), separator.as_bytes(), max);
            parts.into_iter().map(|part| std::str::from_utf8(part).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(parts("a,b,,c", ",", usize::MAX), ["a", "b", "", "c"]);
        assert_eq!(parts("a,b,c", ",", 2), ["a", "b,c"]);
        assert_eq!(parts("abc", "", usize::MAX), ["a", "b", "c"]);
        assert_eq!(parts("", ",", usize::MAX), [""]);
    }
}
