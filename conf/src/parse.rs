//! Builds the tree: blocks nest, `include` is replaced by what it includes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::ast::{Block, COMMAND_LINE, Node, Span, Word};
use crate::error::{Error, Result};
use crate::lex::{Lexer, Token};
use crate::source::{Files, Sources};

/// How deep blocks may nest, over all files. nginx has no limit of its own; its contexts nest six deep, and
/// only `location` in `location` goes on from there.
pub const BLOCK_DEPTH_MAX: usize = 128;

/// How deep files may include files.
pub const INCLUDE_DEPTH_MAX: usize = 64;

/// How many files one configuration may open, counting each opening.
pub const INCLUDES_MAX: usize = 65_536;

/// Blocks of entries that cannot have blocks themselves: nginx reads them with a handler of their own, and
/// reports a `{` in them at once.
const FLAT_BLOCKS: [&str; 5] = ["charset_map", "geo", "map", "split_clients", "types"];

/// Flat blocks in which `include` is an entry like any other.
const BLOCKS_WITHOUT_INCLUDE: [&str; 2] = ["charset_map", "split_clients"];

/// What the parser must know besides the main file.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// The server's prefix directory (`-p`). Kept for callers; `include` does not use it.
    pub prefix: &'a Path,
    /// Directory of the main file, to which the names in `include` are relative.
    pub conf_prefix: &'a Path,
    /// Text of `-g`, read before the main file.
    pub globals: Option<&'a str>,
    /// Says of a directive's name whether its block is Lua text.
    pub raw_block: &'a dyn Fn(&str) -> bool,
}

/// Parses the text of `-g` and then the main file. Returns the tree and the record of everything read.
///
/// # Errors
/// The first error in nginx's words. Directives are not checked here, so an unknown directive is found later
/// than a missing brace even when it stands before it.
pub fn parse(main_file: &Path, files: &dyn Files, options: &Options<'_>) -> Result<(Vec<Node>, Sources)> {
    let mut parser =
        Parser { files, options, sources: Sources::new(), open: Vec::new(), opened: 0, depth: 0 };
    let mut nodes = Vec::new();
    if let Some(globals) = options.globals {
        let file = Rc::from(COMMAND_LINE);
        let mut lexer = Lexer::for_parameter(globals.as_bytes());
        parser.block(&mut lexer, &file, Place::Parameter, Rules::default(), &mut nodes)?;
    }
    parser.file(main_file.to_owned(), None, Rules::default(), &mut nodes)?;
    Ok((nodes, parser.sources))
}

/// What the current list of directives is part of; decides what may end it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    File,
    Block,
    Parameter,
}

/// Rules of the block directives are read into; they hold in files included from it too.
#[derive(Clone, Copy, Default)]
struct Rules {
    /// No entry may have a block.
    flat: bool,
    /// `include` is an ordinary entry.
    no_include: bool,
}

impl Rules {
    fn of_block(name: &str) -> Rules {
        Rules { flat: FLAT_BLOCKS.contains(&name), no_include: BLOCKS_WITHOUT_INCLUDE.contains(&name) }
    }
}

struct Parser<'a> {
    files: &'a dyn Files,
    options: &'a Options<'a>,
    sources: Sources,
    /// Files being read, outermost first.
    open: Vec<PathBuf>,
    /// Files opened so far.
    opened: usize,
    /// Blocks around the current position.
    depth: usize,
}

impl Parser<'_> {
    /// Reads one file into `nodes`. `from` is the `include` that names it.
    fn file(
        &mut self,
        path: PathBuf,
        from: Option<&Span>,
        rules: Rules,
        nodes: &mut Vec<Node>,
    ) -> Result<()> {
        let placed = |error: Error| match from {
            Some(span) => error.with_span(span),
            None => error,
        };
        let name = path.to_string_lossy().into_owned();
        if self.open.contains(&path) {
            return Err(placed(Error::new(format!("file \"{name}\" includes itself"))));
        }
        if self.open.len() > INCLUDE_DEPTH_MAX || self.opened >= INCLUDES_MAX {
            return Err(placed(Error::new(format!("too many nested or repeated includes at \"{name}\""))));
        }
        self.opened += 1;
        let bytes = match self.sources.file(&path) {
            Some(bytes) => bytes.to_vec(),
            None => self.read(&path).map_err(placed)?,
        };
        self.open.push(path);
        let mut lexer = Lexer::for_file(&bytes);
        let result = self.block(&mut lexer, &Rc::from(name.as_str()), Place::File, rules, nodes);
        self.open.pop();
        result
    }

    fn read(&mut self, path: &Path) -> Result<Vec<u8>> {
        let bytes = self.files.read(path).map_err(|error| {
            let name = path.to_string_lossy();
            if error.kind() == std::io::ErrorKind::IsADirectory {
                // A directory opens and fails at reading, which nginx reports without a place.
                return Error::without_place(Error::system("pread()", &name, &error).message());
            }
            Error::system("open()", &name, &error)
        })?;
        self.sources.add_file(path, bytes.clone());
        Ok(bytes)
    }

    /// Reads directives up to the end of `place`.
    fn block(
        &mut self,
        lexer: &mut Lexer<'_>,
        file: &Rc<str>,
        place: Place,
        rules: Rules,
        nodes: &mut Vec<Node>,
    ) -> Result<()> {
        let line_of = |line: u32| Span {
            file: Rc::clone(file),
            line: if place == Place::Parameter { 0 } else { line },
        };
        loop {
            let token = lexer.token().map_err(|error| Error::at(&line_of(error.line), error.message))?;
            let span = line_of(lexer.line());
            match token {
                Token::Simple(words) => {
                    let Some(node) = node(words, span) else { continue };
                    if !rules.no_include && node.name.bytes() == b"include" && node.args.len() == 1 {
                        self.include(&node, rules, nodes)?;
                    } else {
                        nodes.push(node);
                    }
                }
                Token::BlockStart(_) if place == Place::Parameter => {
                    return Err(Error::at(&span, "block directives are not supported in -g option"));
                }
                Token::BlockStart(_) if rules.flat => return Err(Error::at(&span, "unexpected \"{\"")),
                Token::BlockStart(words) => {
                    let Some(node) = node(words, span) else { continue };
                    nodes.push(self.nested(lexer, file, node)?);
                }
                Token::BlockEnd if place == Place::Block => return Ok(()),
                Token::BlockEnd => return Err(Error::at(&span, "unexpected \"}\"")),
                Token::End if place == Place::Block => {
                    return Err(Error::at(&span, "unexpected end of file, expecting \"}\""));
                }
                Token::End => return Ok(()),
            }
        }
    }

    /// Reads the block of `node`, whose `{` has been read.
    fn nested(&mut self, lexer: &mut Lexer<'_>, file: &Rc<str>, mut node: Node) -> Result<Node> {
        if (self.options.raw_block)(node.name.text()) {
            let raw = lexer
                .raw_block()
                .map_err(|error| Error::at(&node.span.at_line(error.line), error.message))?;
            node.block = Some(Block::Raw(raw.into()));
        } else {
            if self.depth >= BLOCK_DEPTH_MAX {
                return Err(Error::at(&node.span, "too many nested blocks"));
            }
            let mut children = Vec::new();
            let rules = Rules::of_block(node.name.text());
            self.depth += 1;
            self.block(lexer, file, Place::Block, rules, &mut children)?;
            self.depth -= 1;
            node.block = Some(Block::Directives(children));
        }
        node.end_line = lexer.line();
        Ok(node)
    }

    /// Replaces an `include` by what it names.
    fn include(&mut self, node: &Node, rules: Rules, nodes: &mut Vec<Node>) -> Result<()> {
        let path = full_name(self.options.conf_prefix, node.args[0].bytes());
        if !path.as_os_str().as_bytes().iter().any(|byte| b"*?[".contains(byte)) {
            return self.file(path, Some(&node.span), rules, nodes);
        }
        let pattern = path.to_string_lossy();
        let paths = self
            .files
            .glob(&pattern)
            .map_err(|error| Error::system("glob()", &pattern, &error).with_span(&node.span))?;
        self.sources.add_glob(&pattern, paths.clone());
        for path in paths {
            self.file(path, Some(&node.span), rules, nodes)?;
        }
        Ok(())
    }
}

/// A node of `words`, which a token never leaves empty.
fn node(words: Vec<Word>, span: Span) -> Option<Node> {
    let mut words = words.into_iter();
    let name = words.next()?;
    let end_line = span.line;
    Some(Node { name, args: words.collect(), block: None, span, end_line })
}

/// A file name of the configuration as a path: relative names are appended to `prefix`, text to text, as nginx
/// does.
pub fn full_name(prefix: &Path, name: &[u8]) -> PathBuf {
    if name.first() == Some(&b'/') {
        return PathBuf::from(OsStr::from_bytes(name));
    }
    let mut full = prefix.as_os_str().as_bytes().to_vec();
    if full.last() != Some(&b'/') && !full.is_empty() {
        full.push(b'/');
    }
    full.extend_from_slice(name);
    PathBuf::from(OsStr::from_bytes(&full))
}

#[cfg(test)]
mod tests;
