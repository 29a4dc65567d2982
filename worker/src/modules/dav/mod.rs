//! `ngx_http_dav_module`: PUT, DELETE, MKCOL, COPY and MOVE (RFC 4918) on files.
//!
//! Paths come from URIs that were normalised: they have no `..`. A destination goes through the same checks, must be on this host and
//! below this location ([`destination`]), and trees are walked without following links ([`tree`]). So nothing outside the
//! location's root is written or removed, unless a link that somebody with access to the files made leads there.

mod destination;
mod put;
mod tree;

use std::path::{Path, PathBuf};
use std::rc::Rc;

use ::conf::{Arity, Contexts, Directive, Node, Result, Shape};
use http1::{Escape, Known, Method};
use nix::libc;

use crate::build::{Builder, Conf, MergeCx, Slot};
use crate::files::as_path;
use crate::log::Level;
use crate::module::{Attach, Module};
use crate::phase::{Flow, Handler, Phase, Step, order};
use crate::request::Request;
use crate::settings;
use destination::Destination;
use tree::{Failed, Kind};

/// The module.
pub const MODULE: Dav = Dav;

static CONF: Slot<DavConf> = Slot::new();

/// See the module's documentation.
pub struct Dav;

const HSL: Contexts = Contexts::HTTP_SERVER_LOCATION;

static DIRECTIVES: &[Directive<Builder>] = &[
    Directive {
        name: "dav_methods",
        contexts: HSL,
        arity: Arity::AtLeast(1),
        shape: Shape::Simple,
        default: "off",
        doc: "Methods that change files: PUT, DELETE, MKCOL, COPY, MOVE.",
        apply: methods,
    },
    Directive {
        name: "create_full_put_path",
        contexts: HSL,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "off",
        doc: "Whether PUT makes the directories that are missing.",
        apply: |cx, node| cx.conf(&CONF).set.create_path.set(node.flag()?),
    },
    Directive {
        name: "min_delete_depth",
        contexts: HSL,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "0",
        doc: "Fewest elements of a URI that DELETE may remove.",
        apply: |cx, node| cx.conf(&CONF).set.min_delete_depth.set(node.number()?),
    },
    Directive {
        name: "dav_access",
        contexts: HSL,
        arity: Arity::Range(1, 3),
        shape: Shape::Simple,
        default: "user:rw",
        doc: "Permissions of files and directories that are made.",
        apply: access,
    },
];

settings! {
    /// What may be done to the files of a location.
    pub struct DavConf, DavSettings {
        /// `dav_methods`.
        methods: Rc<[Method]> = Rc::from([]),
        /// `create_full_put_path`.
        create_path: bool = false,
        /// `min_delete_depth`.
        min_delete_depth: u64 = 0,
        /// `dav_access`: mode of files.
        access: u32 = 0o600,
    }
}

impl Conf for DavConf {
    fn merge(&mut self, outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        self.merge_settings(outer);
        Ok(())
    }
}

const METHODS: [(&str, Method); 5] = [
    ("put", Method::Put),
    ("delete", Method::Delete),
    ("mkcol", Method::Mkcol),
    ("copy", Method::Copy),
    ("move", Method::Move),
];

fn methods(cx: &mut Builder, node: &Node) -> Result<()> {
    let mut list = Vec::new();
    for i in 0..node.len() {
        let name = node.arg(i).unwrap_or_default();
        if name == "off" {
            continue;
        }
        let found = METHODS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        let (_, method) = found.ok_or_else(|| node.invalid_value(i))?;
        if list.contains(method) {
            cx.warn(node.warning(format!("duplicate value \"{name}\"")));
        }
        list.push(*method);
    }
    cx.conf(&CONF).set.methods.set(list.into())
}

/// `user:rw group:rw all:r`.
fn access(cx: &mut Builder, node: &Node) -> Result<()> {
    cx.conf(&CONF).set.access.check_unset()?;
    let mut mode = 0o600;
    for i in 0..node.len() {
        let (who, rights) =
            node.arg(i).and_then(|text| text.split_once(':')).ok_or_else(|| node.invalid_value(i))?;
        let right = match rights {
            "rw" => 0o6,
            "r" => 0o4,
            _ => return Err(node.invalid_value(i)),
        };
        // what the owner may do is at least reading and writing, for others everybody before may
        mode |= match who {
            "user" => right << 6,
            "group" => right << 3,
            "all" => right << 3 | right,
            _ => return Err(node.invalid_value(i)),
        };
    }
    cx.conf(&CONF).set.access.set(mode)
}

impl Module for Dav {
    fn name(&self) -> &'static str {
        "ngx_http_dav_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&CONF);
    }

    fn attach(&self, cx: &mut Attach<'_>) -> Result<()> {
        let conf = cx.confs.share(&CONF);
        if !conf.methods.is_empty() {
            cx.handler(Phase::Content, order::DAV, Rc::new(DavHandler { conf }));
        }
        Ok(())
    }
}

struct DavHandler {
    conf: Rc<DavConf>,
}

impl Handler for DavHandler {
    fn handle<'r>(&'r self, req: &'r mut Request) -> Step<'r> {
        if !self.conf.methods.contains(&req.method) || !req.is_main() {
            return Step::Ready(Flow::Next);
        }
        Step::wait(self.serve(req))
    }
}

impl DavHandler {
    async fn serve(&self, req: &mut Request) -> Flow {
        let has_body =
            req.body.declared.is_some_and(|length| length > 0) || req.body.framing == http1::Framing::Chunked;
        if req.method != Method::Put && has_body {
            let method = req.method_name().escape_ascii().to_string();
            req.log_error(format_args!("{method} with body is unsupported"));
            return Flow::Status(415);
        }
        match req.method {
            Method::Put => put::put(req, &self.conf).await,
            Method::Delete => self.delete(req).await,
            Method::Mkcol => self.mkcol(req).await,
            _ => copy_or_move(req, &self.conf).await,
        }
    }

    async fn delete(&self, req: &mut Request) -> Flow {
        let depth = elements(&req.uri);
        if self.conf.min_delete_depth > depth {
            req.log_error(format_args!("insufficient URI depth:{depth} to DELETE"));
            return Flow::Status(409);
        }
        let is_collection = req.uri.ends_with(b"/");
        let path = file_path(&req.map_uri_to_path());
        let kind = match tree::look(path.clone()).await {
            Ok(kind) => kind,
            Err(failed) => return refuse(req, &failed, if failed.is(libc::ENOTDIR) { 409 } else { 404 }),
        };
        if (kind == Kind::Directory) != is_collection {
            req.log_error(format_args!("DELETE \"{}\" failed", path.display()));
            return Flow::Status(409);
        }
        let allowed: &[Depth] =
            if is_collection { &[Depth::Infinity] } else { &[Depth::Zero, Depth::Infinity] };
        let default = if is_collection { Depth::Infinity } else { Depth::Zero };
        if let Err(flow) = check_depth(req, default, allowed) {
            return flow;
        }
        match tree::remove(path, kind).await {
            Ok(()) => Flow::Status(204),
            Err(failed) => refuse(req, &failed, 404),
        }
    }

    async fn mkcol(&self, req: &mut Request) -> Flow {
        if !req.uri.ends_with(b"/") {
            req.log_error(format_args!("MKCOL can create a collection only"));
            return Flow::Status(409);
        }
        let path = file_path(&req.map_uri_to_path());
        match tree::make_directory(path, directory_mode(self.conf.access)).await {
            Ok(()) => created(req),
            Err(failed) => refuse(req, &failed, 409),
        }
    }
}

async fn copy_or_move(req: &mut Request, conf: &DavConf) -> Flow {
    let destination = match Destination::of(req) {
        Ok(destination) => destination,
        Err(status) => return Flow::Status(status),
    };
    let allowed: &[Depth] =
        if req.method == Method::Copy { &[Depth::Zero, Depth::Infinity] } else { &[Depth::Infinity] };
    if let Err(flow) = check_depth(req, Depth::Infinity, allowed) {
        return flow;
    }
    let is_collection = req.uri.ends_with(b"/");
    let (from, to) = (file_path(&req.map_uri_to_path()), file_path(&req.map_to_path(&destination.uri)));
    if from == to || to.starts_with(&from) || from.starts_with(&to) {
        req.log_error(format_args!("\"{}\" and \"{}\" overlap", from.display(), to.display()));
        return Flow::Status(403);
    }
    let existing = match tree::look(to.clone()).await {
        Ok(kind) => Some(kind),
        Err(failed) if failed.is(libc::ENOENT) => None,
        Err(failed) => return refuse(req, &failed, 404),
    };
    if existing == Some(Kind::Directory) && !is_collection {
        req.log_error(format_args!("\"{}\" is a collection", to.display()));
        return Flow::Status(409);
    }
    if existing.is_some() && !destination.overwrite {
        req.log_error(format_args!("\"{}\" could not be created", to.display()));
        return Flow::Status(412);
    }
    let kind = match tree::look(from.clone()).await {
        Ok(kind) => kind,
        Err(failed) => return refuse(req, &failed, 404),
    };
    if (kind == Kind::Directory) != is_collection {
        req.log_error(format_args!("\"{}\" is not what its URI says", from.display()));
        return Flow::Status(400);
    }
    if kind == Kind::Directory
        && let Some(existing) = existing
        && let Err(failed) = tree::remove(to.clone(), existing).await
    {
        return refuse(req, &failed, 404);
    }
    let done = if req.method == Method::Move {
        tree::rename(from, to, kind, directory_mode(conf.access)).await
    } else {
        tree::copy(from, to, kind).await
    };
    match done {
        Ok(()) => Flow::Status(if kind == Kind::Directory { 201 } else { 204 }),
        Err(failed) => refuse(req, &failed, 404),
    }
}

/// `Depth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    Zero,
    One,
    Infinity,
}

fn check_depth(req: &Request, default: Depth, allowed: &[Depth]) -> std::result::Result<(), Flow> {
    let depth = match req.headers.get(b"Depth") {
        None => Some(default),
        Some(b"0") => Some(Depth::Zero),
        Some(b"1") => Some(Depth::One),
        Some(text) if text.eq_ignore_ascii_case(b"infinity") => Some(Depth::Infinity),
        Some(_) => None,
    };
    if depth.is_some_and(|depth| allowed.contains(&depth)) {
        return Ok(());
    }
    let expected = if allowed.contains(&Depth::Zero) { "0 or infinity" } else { "infinity" };
    req.log_error(format_args!("\"Depth\" header must be {expected}"));
    Err(Flow::Status(400))
}

/// Elements of a path.
fn elements(uri: &[u8]) -> u64 {
    uri.split(|byte| *byte == b'/').filter(|element| !element.is_empty()).count() as u64
}

/// The file a mapped path names: without a slash at its end.
fn file_path(path: &[u8]) -> PathBuf {
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(1, |last| last + 1);
    as_path(&path[..end.min(path.len())]).to_owned()
}

/// Directories can be searched by whoever can read them.
fn directory_mode(access: u32) -> u32 {
    access | (access & 0o444) >> 2
}

/// A file or directory was made where there was none.
fn created(req: &mut Request) -> Flow {
    let mut url = Vec::with_capacity(req.uri.len());
    http1::escape_uri(&mut url, &req.uri, Escape::Uri);
    req.out.location = Some(url);
    Flow::Status(201)
}

/// Logs a failure and answers with `missing` where something is not there, else with what the reason says.
fn refuse(req: &Request, failed: &Failed, missing: u16) -> Flow {
    let (status, level) = match failed.errno() {
        _ if failed.is_missing() => (missing, Level::Error),
        libc::EACCES | libc::EPERM | libc::ELOOP => (403, Level::Error),
        libc::EEXIST => (405, Level::Error),
        libc::ENOSPC => (507, Level::Crit),
        _ => (500, Level::Crit),
    };
    req.log(level, format_args!("{failed}"));
    Flow::Status(status)
}

/// The directory a file is in.
fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

/// Whether the request wants to change a part of a file.
fn has_range(req: &Request) -> bool {
    req.headers.contains_known(Known::ContentRange)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_depths() {
        assert_eq!(file_path(b"/srv/a/"), Path::new("/srv/a"));
        assert_eq!(file_path(b"/srv//a//"), Path::new("/srv//a"));
        assert_eq!(file_path(b"/"), Path::new("/"));
        assert_eq!(elements(b"/a/b/"), 2);
        assert_eq!(elements(b"//"), 0);
        assert_eq!(directory_mode(0o664), 0o775);
    }
}
