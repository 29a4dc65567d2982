//! The commands of a location.

use std::path::PathBuf;

use conf::{Error, Node, Result};

use crate::build::Builder;
use crate::request::Request;
use crate::script::Template;

/// A text to send: arguments with spaces between them.
pub(super) struct Line {
    words: Box<[Template]>,
    newline: bool,
}

impl Line {
    /// Reads the arguments of `echo` and its like.
    pub(super) fn parse(cx: &mut Builder, node: &Node) -> Result<Self> {
        let (mut i, mut newline) = (0, true);
        while let Some(option) = node.arg(i).filter(|word| word.len() > 1 && word.starts_with('-')) {
            i += 1;
            match option {
                "--" => break,
                "-n" => newline = false,
                // options that do not exist are passed over, as the module does
                _ => {}
            }
        }
        let words: Result<Box<[_]>> =
            node.args[i..].iter().map(|word| Template::parse(cx, node, word.bytes())).collect();
        Ok(Self { words: words?, newline })
    }

    /// Appends the text to `out`.
    pub(super) fn append(&self, req: &mut Request, out: &mut Vec<u8>) {
        for (i, word) in self.words.iter().enumerate() {
            if i > 0 {
                out.push(b' ');
            }
            word.append(req, out);
        }
        if self.newline {
            out.push(b'\n');
        }
    }
}

/// Where a subrequest's body comes from.
pub(super) enum Body {
    /// None is sent.
    None,
    /// `-b`.
    Text(Template),
    /// `-f`: a file, relative to the prefix.
    File { name: Template, prefix: PathBuf },
}

/// A subrequest.
pub(super) struct Call {
    /// Its name, for messages.
    pub(super) directive: &'static str,
    /// `None`: `GET`.
    pub(super) method: Option<Template>,
    pub(super) uri: Template,
    pub(super) args: Template,
    pub(super) body: Body,
    /// The next command runs when it is complete.
    pub(super) wait: bool,
}

/// A command.
pub(super) enum Command {
    /// `echo`.
    Echo(Line),
    /// `echo_duplicate`.
    Duplicate { count: Template, text: Template },
    /// `echo_flush`.
    Flush,
    /// `echo_sleep`, `echo_blocking_sleep`.
    Sleep(Template),
    /// `echo_reset_timer`.
    ResetTimer,
    /// `echo_read_request_body`.
    ReadBody,
    /// `echo_request_body`.
    RequestBody,
    /// `echo_location`, `echo_subrequest` and their asynchronous likes.
    Call(Box<Call>),
    /// `echo_exec`.
    Exec { target: Template, args: Template },
    /// `echo_foreach_split`: `behind` is the command behind its `echo_end`.
    Foreach { delimiter: Template, text: Template, behind: usize },
    /// `echo_end`: `begin` is the first command of the loop.
    End { begin: usize },
}

/// The commands of one location.
pub(super) struct Program {
    pub(super) commands: Box<[Command]>,
    /// Some command looks at the request's body.
    pub(super) reads_body: bool,
}

impl Program {
    /// Ties the ends of loops to their beginnings.
    pub(super) fn new(mut commands: Vec<Command>) -> Result<Self> {
        let mut open = None;
        for at in 0..commands.len() {
            match &commands[at] {
                Command::Foreach { .. } if open.is_some() => {
                    return Err(Error::new("nested echo_foreach_split not supported yet."));
                }
                Command::Foreach { .. } => open = Some(at),
                Command::End { .. } => {
                    let Some(begin) = open.take() else {
                        return Err(Error::new(
                            "found a echo_end that has no corresponding echo_foreach_split before it.",
                        ));
                    };
                    commands[at] = Command::End { begin: begin + 1 };
                    if let Command::Foreach { behind, .. } = &mut commands[begin] {
                        *behind = at + 1;
                    }
                }
                _ => {}
            }
        }
        if open.is_some() {
            return Err(Error::new("echo_foreach_split has no corresponding echo_end."));
        }
        let reads_body = commands.iter().any(|command| {
            matches!(command, Command::ReadBody | Command::RequestBody | Command::Exec { .. })
        });
        Ok(Self { commands: commands.into(), reads_body })
    }
}
