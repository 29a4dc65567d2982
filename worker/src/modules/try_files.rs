//! `ngx_http_try_files_module`: serve the first file that exists, or go elsewhere.
//!
//! It belongs to the block it is written in and is not inherited, not even by an `if` inside.

use std::rc::Rc;

use conf::{Arity, Contexts, Directive, Node, Result, Shape};

use super::http::{self, Root};
use crate::build::{Builder, Conf, MergeCx, Slot};
use crate::log::Level;
use crate::module::{Attach, Module};
use crate::phase::{Flow, Handler, Jump, Phase, Step, order};
use crate::request::Request;
use crate::script::Template;

/// The module.
pub const MODULE: TryFiles = TryFiles;

/// See the module's documentation.
pub struct TryFiles;

impl Module for TryFiles {
    fn name(&self) -> &'static str {
        "ngx_http_try_files_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&CONF);
    }

    fn attach(&self, cx: &mut Attach<'_>) -> Result<()> {
        if cx.is_own(&CONF)
            && let Some(list) = &cx.confs.get(&CONF).list
        {
            let handler = Rc::clone(list);
            cx.handler(Phase::Precontent, order::TRY_FILES, handler);
        }
        Ok(())
    }
}

static DIRECTIVES: &[Directive<Builder>] = &[Directive {
    name: "try_files",
    contexts: Contexts::SERVER.or(Contexts::LOCATION),
    arity: Arity::AtLeast(2),
    shape: Shape::Simple,
    default: "",
    doc: "Serves the first of the named files that exists, else goes to the last name or answers with its =code.",
    apply: try_files,
}];

static CONF: Slot<TryFilesConf> = Slot::new();

#[derive(Default)]
struct TryFilesConf {
    list: Option<Rc<List>>,
}

impl Conf for TryFilesConf {
    fn merge(&mut self, _outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        Ok(())
    }
}

/// The arguments of a `try_files`.
struct List {
    candidates: Vec<Candidate>,
    last: Last,
}

struct Candidate {
    name: Template,
    /// The name ends in a slash: a directory is wanted.
    directory: bool,
}

/// What happens when nothing was found.
enum Last {
    Code(u16),
    Elsewhere(Template),
}

fn try_files(cx: &mut Builder, node: &Node) -> Result<()> {
    const CODE_MAX: u64 = 999;
    if cx.conf(&CONF).list.is_some() {
        return Err(node.predicate("is duplicate"));
    }
    let last = node.len() - 1;
    let mut candidates = Vec::with_capacity(last);
    for i in 0..last {
        let name = node.bytes(i);
        let (name, directory) = match name.strip_suffix(b"/") {
            Some(name) => (name, true),
            None => (name, false),
        };
        candidates.push(Candidate { name: Template::parse(cx, node, name)?, directory });
    }
    let text = node.arg(last).unwrap_or_default();
    let last = match text.strip_prefix('=') {
        Some(code) => {
            let code = conf::value::number::parse(code).filter(|code| *code <= CODE_MAX);
            let code = code.ok_or_else(|| node.error(format!("invalid code \"{text}\"")))?;
            Last::Code(code as u16)
        }
        None => Last::Elsewhere(Template::parse(cx, node, node.bytes(last))?),
    };
    cx.conf(&CONF).list = Some(Rc::new(List { candidates, last }));
    Ok(())
}

impl Handler for List {
    fn handle<'r>(&'r self, req: &'r mut Request) -> Step<'r> {
        Step::wait(self.run(req))
    }
}

impl List {
    async fn run(&self, req: &mut Request) -> Flow {
        let place = Place::of(req);
        for candidate in &self.candidates {
            let name = place.name(req, &candidate.name);
            let mut path = req.document_root();
            path.extend_from_slice(&name);
            match req.stat_file(&path).await {
                Ok(found) if found.is_dir() == candidate.directory => {
                    place.take(req, name, candidate.directory);
                    return Flow::Next;
                }
                Ok(_) => {}
                Err(failure) if failure.is_not_found() => {}
                Err(failure) => req.log_file(Level::Crit, &path, &failure),
            }
        }
        match &self.last {
            Last::Code(code) => Flow::Status(*code),
            Last::Elsewhere(template) => {
                let mut target = place.name(req, template);
                if target.first() == Some(&b'@') {
                    return Flow::Jump(Jump::Named(target.into()));
                }
                let args = match memchr::memchr(b'?', &target) {
                    Some(at) => {
                        let args = target.split_off(at + 1);
                        target.pop();
                        args
                    }
                    None => Vec::new(),
                };
                Flow::Jump(Jump::Uri { uri: target, args: Some(args) })
            }
        }
    }
}

/// How names and URIs of the location belong together.
#[derive(Clone, Copy)]
enum Place {
    /// `root`: a name is a URI.
    Root,
    /// `alias` of a prefix of so many bytes: a name is what follows the prefix.
    Prefix(usize),
    /// `alias` of a pattern: it names the file, and a name is appended.
    Whole,
}

impl Place {
    fn of(req: &Request) -> Self {
        match &*req.location.confs.get(&http::LOCATION).root {
            Root::Root(_) => Place::Root,
            Root::Alias(_, prefix) => Place::Prefix(*prefix),
            Root::AliasWhole(_) => Place::Whole,
        }
    }

    /// Evaluates a name. One that was made of variables and begins with the location's prefix loses it.
    fn name(self, req: &mut Request, template: &Template) -> Vec<u8> {
        let mut name = template.eval(req);
        if let Place::Prefix(prefix) = self
            && template.as_literal().is_none()
            && req.uri.get(..prefix).is_some_and(|start| name.starts_with(start))
        {
            name.drain(..prefix);
        }
        name
    }

    /// Makes the request one for the file found.
    fn take(self, req: &mut Request, name: Vec<u8>, directory: bool) {
        match self {
            Place::Root => req.uri = name,
            Place::Prefix(prefix) => {
                req.uri.truncate(prefix);
                req.uri.extend_from_slice(&name);
            }
            Place::Whole if directory => {}
            Place::Whole => {
                req.uri = name;
                req.alias_takes_uri = true;
            }
        }
    }
}
