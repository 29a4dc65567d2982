//! The tree a configuration is parsed into: a list of [`Node`]s, each one directive with its words and,
//! when it was followed by `{`, its block.
//!
//! The tree is general: `types`, `map`, `geo` and `split_clients` hold free-form entries, and these are nodes
//! too (the key is the node's name). Nothing here knows which directives exist.

use std::fmt;
use std::rc::Rc;
use std::str::Utf8Error;

/// What stands in the place of a file name for text given with `-g`.
pub const COMMAND_LINE: &str = "command line";

/// A line of a configuration file. Displays as nginx does: `FILE:LINE`, or `command line` for `-g` text.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Span {
    /// Path of the file as it was opened, or [`COMMAND_LINE`].
    pub file: Rc<str>,
    /// Line in the file, counted from 1; 0 for `-g` text, whose lines nginx does not report.
    pub line: u32,
}

impl Span {
    /// A span for `line` of `file`.
    pub fn new(file: &str, line: u32) -> Span {
        Span { file: Rc::from(file), line }
    }

    /// The same file at another line.
    pub fn at_line(&self, line: u32) -> Span {
        Span { file: Rc::clone(&self.file), line: if self.line == 0 { 0 } else { line } }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 { f.write_str(&self.file) } else { write!(f, "{}:{}", self.file, self.line) }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One word of a directive, with quotes removed and backslash escapes resolved.
///
/// Words are bytes, because nginx passes any byte through. Two words are equal when their bytes are: nginx
/// itself does not distinguish `"on"` from `on`.
#[derive(Clone)]
pub struct Word {
    /// The bytes of the word.
    pub text: Box<[u8]>,
    /// Whether the word was written in single or double quotes.
    pub quoted: bool,
    /// Line on which the word starts.
    pub line: u32,
    /// Readable form of `text`, present only when `text` is not UTF-8.
    lossy: Option<Box<str>>,
}

impl Word {
    /// A word made of `text` that starts at `line`.
    pub fn new(text: Vec<u8>, quoted: bool, line: u32) -> Word {
        let lossy = match std::str::from_utf8(&text) {
            Ok(_) => None,
            Err(_) => Some(String::from_utf8_lossy(&text).into_owned().into_boxed_str()),
        };
        Word { text: text.into_boxed_slice(), quoted, line, lossy }
    }

    /// The word's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.text
    }

    /// The word as text.
    ///
    /// # Errors
    /// When the bytes are not UTF-8.
    pub fn as_str(&self) -> Result<&str, Utf8Error> {
        std::str::from_utf8(&self.text)
    }

    /// The word as text, with U+FFFD for bytes that are not UTF-8. For names, numbers and messages; a value
    /// that goes on the wire is taken from [`Word::bytes`].
    pub fn text(&self) -> &str {
        match &self.lossy {
            Some(text) => text,
            None => std::str::from_utf8(&self.text).unwrap_or_default(),
        }
    }
}

impl PartialEq for Word {
    fn eq(&self, other: &Word) -> bool {
        self.text == other.text
    }
}

impl Eq for Word {}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.text(), f)
    }
}

/// One directive, or one entry of a free-form block.
///
/// Equality compares words and blocks, not positions.
#[derive(Clone, Debug)]
pub struct Node {
    /// The first word.
    pub name: Word,
    /// The words after the first.
    pub args: Vec<Word>,
    /// What stood in braces; `None` when the directive ended with `;`.
    pub block: Option<Block>,
    /// Where the directive's `;` or `{` stands; nginx reports errors there.
    pub span: Span,
    /// Line of the block's `}`; the span's line when there is no block. nginx reports there what it finds
    /// missing once the block is complete.
    pub end_line: u32,
}

/// What stands between the braces of a directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// Directives or free-form entries.
    Directives(Vec<Node>),
    /// Lua text, exactly as written between `{` and `}`.
    Raw(Box<[u8]>),
}

impl PartialEq for Node {
    fn eq(&self, other: &Node) -> bool {
        self.name == other.name && self.args == other.args && self.block == other.block
    }
}

impl Eq for Node {}
