//! `ngx_http_index_module`: a URI that ends in a slash becomes the first index file that exists.

use std::rc::Rc;

use conf::{Arity, Contexts, Directive, Node, Result, Shape};
use http1::Method;
use nix::libc;

use crate::build::{Builder, Conf, MergeCx, Slot};
use crate::files::FileError;
use crate::log::Level;
use crate::module::{Attach, Module};
use crate::phase::{Flow, Handler, Jump, Phase, Step, order};
use crate::request::Request;
use crate::script::Template;
use crate::settings;

/// The module.
pub const MODULE: Index = Index;

/// Where the module's settings stand.
pub static CONF: Slot<IndexConf> = Slot::new();

/// See the module's documentation.
pub struct Index;

settings! {
    /// Settings of a location.
    pub struct IndexConf, IndexSettings {
        /// `index`: the names to try, in order.
        names: Rc<[Template]> = Rc::from([Template::literal(*b"index.html")]),
    }
}

impl Conf for IndexConf {
    fn merge(&mut self, outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        self.merge_settings(outer);
        Ok(())
    }
}

static DIRECTIVES: &[Directive<Builder>] = &[Directive {
    name: "index",
    contexts: Contexts::HTTP_SERVER_LOCATION,
    arity: Arity::AtLeast(1),
    shape: Shape::Simple,
    default: "index.html",
    doc: "Files tried, in order, for a URI that ends in a slash; a last one that begins with a slash is redirected to internally.",
    apply: index,
}];

fn index(cx: &mut Builder, node: &Node) -> Result<()> {
    let mut names = Vec::with_capacity(node.len());
    for (at, text) in node.str_args().enumerate() {
        if text.is_empty() {
            return Err(node.error("index \"\" in \"index\" directive is invalid"));
        }
        if text.starts_with('/') && at + 1 != node.len() {
            let text = "only the last index in \"index\" directive should be absolute";
            cx.warn(node.warning(text));
        }
        names.push(Template::parse(cx, node, text)?);
    }
    let set = cx.conf(&CONF).set.names.or_insert_with(|| Rc::from([]));
    *set = set.iter().cloned().chain(names).collect();
    Ok(())
}

impl Module for Index {
    fn name(&self) -> &'static str {
        "ngx_http_index_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&CONF);
    }

    fn attach(&self, cx: &mut Attach<'_>) -> Result<()> {
        let names = Rc::clone(&cx.confs.get(&CONF).names);
        cx.handler(Phase::Content, order::INDEX, Rc::new(IndexHandler { names }));
        Ok(())
    }
}

struct IndexHandler {
    names: Rc<[Template]>,
}

impl Handler for IndexHandler {
    fn handle<'r>(&'r self, req: &'r mut Request) -> Step<'r> {
        if req.uri.last() != Some(&b'/') || !matches!(req.method, Method::Get | Method::Head | Method::Post) {
            return Step::Ready(Flow::Next);
        }
        Step::wait(self.find(req))
    }
}

impl IndexHandler {
    async fn find(&self, req: &mut Request) -> Flow {
        let mut is_directory = false;
        for template in self.names.iter() {
            let name = template.eval(req);
            if name.first() == Some(&b'/') {
                return Flow::Jump(Jump::Uri { uri: name, args: None });
            }
            let mut path = req.map_uri_to_path();
            let directory_len = path.len();
            path.extend_from_slice(&name);
            let failure = match req.stat_file(&path).await {
                Ok(_) => {
                    let uri = [&req.uri[..], &name].concat();
                    return Flow::Jump(Jump::Uri { uri, args: None });
                }
                Err(failure) => failure,
            };
            match failure.errno() {
                libc::ELOOP | libc::EMLINK => return Flow::Status(403),
                libc::ENOTDIR | libc::ENAMETOOLONG | libc::EACCES => return refuse(req, &path, &failure),
                _ => {}
            }
            if !is_directory && let Err(flow) = test_directory(req, &path, directory_len).await {
                return flow;
            }
            is_directory = true;
            if failure.errno() != libc::ENOENT {
                req.log_file(Level::Crit, &path, &failure);
                return Flow::Status(500);
            }
        }
        Flow::Next
    }
}

/// The index file is not there: says whether at least its directory is. `path` is that of the file, the directory's the first
/// `directory_len` bytes.
async fn test_directory(req: &mut Request, path: &[u8], directory_len: usize) -> Result<(), Flow> {
    let directory = match &path[..directory_len] {
        [rest @ .., b'/'] if !rest.is_empty() => rest,
        // an alias without its final slash
        whole => whole,
    };
    match req.stat_file(directory).await {
        Ok(info) if info.is_dir() => Ok(()),
        Ok(_) => {
            req.log(Level::Alert, format_args!("\"{}\" is not a directory", directory.escape_ascii()));
            Err(Flow::Status(500))
        }
        Err(failure) => match failure.errno() {
            libc::ELOOP | libc::EMLINK => Err(Flow::Status(403)),
            libc::ENOENT => Err(refuse(req, path, &failure)),
            // the directory may be searched, as the index file could be asked for
            libc::EACCES => Ok(()),
            _ => {
                req.log_file(Level::Crit, directory, &failure);
                Err(Flow::Status(500))
            }
        },
    }
}

fn refuse(req: &Request, path: &[u8], failure: &FileError) -> Flow {
    let (what, status) =
        if failure.errno() == libc::EACCES { ("forbidden", 403) } else { ("not found", 404) };
    if status == 403 || req.http().log_not_found {
        let errno = conf::error::errno(&failure.error);
        req.log_error(format_args!("\"{}\" is {what} ({errno})", path.escape_ascii()));
    }
    Flow::Status(status)
}
