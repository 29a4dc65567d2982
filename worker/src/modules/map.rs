//! `ngx_http_map_module`: a variable whose value depends on another text.
//!
//! Exact keys and host names are found by hashing, patterns are tried in the order of the text afterwards.

use std::rc::Rc;

use conf::{Arity, Contexts, Directive, Node, Result, Shape};

use crate::build::{Builder, Conf, MergeCx, Slot};
use crate::module::Module;
use crate::regex::{CannotRun, Regex};
use crate::request::Request;
use crate::script::Template;
use crate::settings;
use crate::variables::{Compute, Source};
use crate::wildcard::WildcardMap;

/// The module.
pub const MODULE: MapModule = MapModule;

/// See the module's documentation.
pub struct MapModule;

impl Module for MapModule {
    fn name(&self) -> &'static str {
        "ngx_http_map_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&CONF);
    }
}

static CONF: Slot<MapConf> = Slot::new();

settings! {
    /// Settings nginx needs for its hash tables.
    pub struct MapConf, MapSettings {
        /// `map_hash_max_size`: tables size themselves.
        map_hash_max_size: u64 = 2048,
        /// `map_hash_bucket_size`: tables size themselves.
        map_hash_bucket_size: u64 = 64,
    }
}

impl Conf for MapConf {
    fn merge(&mut self, outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        self.merge_settings(outer);
        Ok(())
    }
}

static DIRECTIVES: &[Directive<Builder>] = &[
    Directive {
        name: "map",
        contexts: Contexts::HTTP,
        arity: Arity::Exactly(2),
        shape: Shape::Block,
        default: "",
        doc: "A variable whose value depends on another text: exact keys, host names, patterns.",
        apply: map,
    },
    Directive {
        name: "map_hash_max_size",
        contexts: Contexts::HTTP,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "2048",
        doc: "Accepted without effect: tables size themselves.",
        apply: |cx, node| cx.conf(&CONF).set.map_hash_max_size.set(node.number()?),
    },
    Directive {
        name: "map_hash_bucket_size",
        contexts: Contexts::HTTP,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "64",
        doc: "Accepted without effect: tables size themselves.",
        apply: |cx, node| cx.conf(&CONF).set.map_hash_bucket_size.set(node.number()?),
    },
];

/// A compiled `map`.
#[derive(Default)]
struct Map {
    source: Template,
    keys: WildcardMap<Rc<Template>>,
    patterns: Vec<(Regex, Rc<Template>)>,
    default: Option<Rc<Template>>,
    hostnames: bool,
    volatile: bool,
}

/// The name behind the `$` of a directive's argument `i`, as `map`, `geo` and their like declare it.
pub(super) fn variable_name(node: &Node, i: usize) -> Result<&str> {
    let word = node.arg(i).unwrap_or_default();
    match word.strip_prefix('$') {
        Some("") => Err(node.error("invalid variable name \"$\"")),
        Some(name) => Ok(name),
        None => Err(node.error(format!("invalid variable name \"{word}\""))),
    }
}

fn map(cx: &mut Builder, node: &Node) -> Result<()> {
    let mut map = Map { source: Template::parse(cx, node, node.bytes(0))?, ..Map::default() };
    let name = variable_name(node, 1)?;
    for entry in node.entries() {
        add_entry(cx, &mut map, entry?.node)?;
    }
    let keeps = !map.volatile;
    cx.variables.declare(node, name, Source::Computed(Rc::new(map)), keeps)?;
    Ok(())
}

fn add_entry(cx: &mut Builder, map: &mut Map, node: &Node) -> Result<()> {
    let key = node.name.bytes();
    match (key, node.len()) {
        (b"hostnames", 0) => {
            map.hostnames = true;
            return Ok(());
        }
        (b"volatile", 0) => {
            map.volatile = true;
            return Ok(());
        }
        (_, 1) => {}
        _ => return Err(node.error("invalid number of the map parameters")),
    }
    let value = Rc::new(Template::parse(cx, node, node.bytes(0))?);
    if key == b"default" {
        if map.default.replace(value).is_some() {
            return Err(node.error("duplicate default map parameter"));
        }
        return Ok(());
    }
    if let Some(pattern) = node.name.text().strip_prefix('~') {
        let (pattern, caseless) = match pattern.strip_prefix('*') {
            Some(pattern) => (pattern, true),
            None => (pattern, false),
        };
        let regex = Regex::new(pattern, caseless).map_err(|error| node.error(error))?;
        regex.declare_names(cx, node)?;
        map.patterns.push((regex, value));
        return Ok(());
    }
    let key = key.strip_prefix(b"\\").unwrap_or(key);
    let added = if map.hostnames { map.keys.add(key, value) } else { map.keys.add_exact(key, value) };
    added.map_err(|error| node.error(error.message(key)))
}

impl Compute for Map {
    fn compute(&self, req: &mut Request, out: &mut Vec<u8>) -> bool {
        let mut text = self.source.eval(req);
        if self.hostnames && text.last() == Some(&b'.') {
            text.pop();
        }
        if let Some(value) = self.find(req, &text) {
            value.append(req, out);
        }
        true
    }
}

impl Map {
    fn find(&self, req: &mut Request, text: &[u8]) -> Option<&Rc<Template>> {
        let found = if text.iter().any(u8::is_ascii_uppercase) {
            self.keys.find(&text.to_ascii_lowercase())
        } else {
            self.keys.find(text)
        };
        if found.is_some() {
            return found;
        }
        if !text.is_empty() {
            for (regex, value) in &self.patterns {
                match regex.exec(req, text) {
                    Ok(true) => return Some(value),
                    Ok(false) => {}
                    Err(CannotRun) => break,
                }
            }
        }
        self.default.as_ref()
    }
}
