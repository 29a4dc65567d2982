//! A piece of Lua code of the configuration: where it stands, and the function it compiles to.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use ::conf::{Node, Result};
use worker::build::Builder;
use worker::request::Request;
use worker::script::Template;

use crate::ffi::{Ref, State, Vm};

/// Code given in a directive.
pub struct Code {
    source: Source,
    /// The compiled function, and the number of the VM it belongs to.
    compiled: RefCell<Option<(u64, Ref)>>,
    /// The functions of files whose names come out of variables.
    files: RefCell<HashMap<PathBuf, (u64, Ref)>>,
}

/// Why code cannot run.
#[derive(Debug)]
pub struct Failure {
    /// The status to answer with.
    pub status: u16,
    /// What to log.
    pub text: String,
}

impl Failure {
    fn internal(text: String) -> Self {
        Self { status: 500, text }
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self::internal(text)
    }
}

impl From<Failure> for String {
    fn from(failure: Failure) -> Self {
        failure.text
    }
}

enum Source {
    Inline { text: Box<[u8]>, chunk: CString },
    File { path: Template, prefix: PathBuf },
}

impl Code {
    /// The block, text or file of `node`, whose Lua is argument `at` unless it is a block.
    pub fn new(cx: &mut Builder, node: &Node, at: usize) -> Result<Rc<Self>> {
        let name = node.name.text();
        let source = match node.raw() {
            Some(text) => {
                Source::Inline { text: text.into(), chunk: chunk(cx, node, name.trim_end_matches("_block")) }
            }
            None if name.ends_with("_file") => {
                let path = Template::parse(cx, node, node.bytes(at))?;
                Source::File { path, prefix: cx.paths.prefix.clone() }
            }
            None => Source::Inline { text: node.bytes(at).into(), chunk: chunk(cx, node, name) },
        };
        if let Source::Inline { text, .. } = &source
            && text.is_empty()
        {
            return Err(node.error("invalid location config: no runnable Lua code"));
        }
        Ok(Rc::new(Self { source, compiled: RefCell::default(), files: RefCell::default() }))
    }

    /// Pushes the function. `req` is asked for variables in the name of a file.
    ///
    /// # Errors
    /// What to log.
    pub fn push(
        &self,
        vm: &Rc<Vm>,
        to: State<'_>,
        req: Option<&mut Request>,
    ) -> std::result::Result<(), Failure> {
        if let Some((number, function)) = &*self.compiled.borrow()
            && *number == vm.number()
        {
            function.push(to);
            return Ok(());
        }
        match &self.source {
            Source::Inline { text, chunk } => {
                load(to, text, chunk).map_err(|error| {
                    Failure::internal(format!("failed to load inlined Lua code: {error}"))
                })?;
                self.keep(vm, to);
                Ok(())
            }
            Source::File { path, prefix } => match (path.as_literal(), req) {
                (Some(literal), _) => {
                    load_file(to, &absolute(prefix, literal))?;
                    self.keep(vm, to);
                    Ok(())
                }
                (None, Some(req)) => self.push_named(vm, to, &absolute(prefix, &path.eval(req))),
                (None, None) => Err(Failure::internal(
                    "the name of a Lua file has variables, and there is no request".into(),
                )),
            },
        }
    }

    fn keep(&self, vm: &Rc<Vm>, to: State<'_>) {
        to.push_value(-1);
        *self.compiled.borrow_mut() = Some((vm.number(), vm.take(to)));
    }

    fn push_named(&self, vm: &Rc<Vm>, to: State<'_>, path: &Path) -> std::result::Result<(), Failure> {
        /// Files one directive may come to name by its variables.
        const FILES_MAX: usize = 1024;
        if let Some((number, function)) = self.files.borrow().get(path)
            && *number == vm.number()
        {
            function.push(to);
            return Ok(());
        }
        load_file(to, path)?;
        let mut files = self.files.borrow_mut();
        if files.len() >= FILES_MAX {
            files.clear();
        }
        to.push_value(-1);
        files.insert(path.to_owned(), (vm.number(), vm.take(to)));
        Ok(())
    }
}

/// `=content_by_lua(nginx.conf:45)`: the file as seen from the directory of the main file; what does not fit into the names
/// Lua shows is cut at the front.
fn chunk(cx: &Builder, node: &Node, name: &str) -> CString {
    /// Bytes of a name that Lua shows.
    const SHOWN_MAX: usize = 59;
    let file: &str = &node.span.file;
    let prefix = format!("{}/", cx.paths.conf_prefix.display());
    let file = file.strip_prefix(prefix.as_str()).unwrap_or(file);
    let line = node.span.line.to_string();
    let room = SHOWN_MAX.saturating_sub(name.len() + line.len() + "(:)".len());
    let file = if file.len() > room {
        let tail = room.saturating_sub("...".len());
        let from =
            (file.len() - tail..file.len()).find(|at| file.is_char_boundary(*at)).unwrap_or(file.len());
        format!("...{}", &file[from..])
    } else {
        file.to_owned()
    };
    CString::new(format!("={name}({file}:{line})")).unwrap_or_default()
}

fn absolute(prefix: &Path, path: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    prefix.join(std::ffi::OsStr::from_bytes(path))
}

fn load(to: State<'_>, text: &[u8], chunk: &CString) -> std::result::Result<(), String> {
    to.load(text, chunk).map_err(|_| {
        let message = String::from_utf8_lossy(to.to_bytes(-1).unwrap_or_default()).into_owned();
        to.pop(1);
        message
    })
}

fn load_file(to: State<'_>, path: &Path) -> std::result::Result<(), Failure> {
    let shown = path.display();
    let text = std::fs::read(path).map_err(|error| Failure {
        status: match error.kind() {
            std::io::ErrorKind::NotFound => 404,
            std::io::ErrorKind::PermissionDenied => 503,
            _ => 500,
        },
        text: {
            let reason = crate::text::errno_text(&error);
            format!("failed to load external Lua file \"{shown}\": cannot open {shown}: {reason}")
        },
    })?;
    let name = CString::new(format!("@{shown}")).unwrap_or_default();
    // a first line for the shell
    let text = match text.strip_prefix(b"#") {
        Some(rest) => &rest[memchr::memchr(b'\n', rest).unwrap_or(rest.len())..],
        None => &text[..],
    };
    load(to, text, &name)
        .map_err(|error| Failure::internal(format!("failed to load external Lua file \"{shown}\": {error}")))
}
