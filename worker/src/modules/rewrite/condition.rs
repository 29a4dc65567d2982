//! The condition of an `if`.

use conf::{Node, Result};

use crate::build::Builder;
use crate::files::FileInfo;
use crate::regex::{CannotRun, Regex};
use crate::request::Request;
use crate::script::Template;
use crate::variables::VarId;

/// A condition.
pub(super) enum Condition {
    /// `if ($variable)`: neither empty nor `0`.
    Variable(VarId),
    /// `if ($variable = text)`.
    Equal { variable: VarId, text: Template, negated: bool },
    /// `if ($variable ~ pattern)`.
    Match { variable: VarId, regex: Regex, negated: bool },
    /// `if (-f path)`.
    File { path: Template, test: FileTest },
}

/// What is asked about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileTest {
    kind: FileKind,
    negated: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileKind {
    Plain,
    Directory,
    Any,
    Executable,
}

impl FileTest {
    /// Reads `-f`, `!-f` and their like.
    fn parse(text: &str) -> Option<Self> {
        let (negated, letter) = match text.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let kind = match letter {
            "-f" => FileKind::Plain,
            "-d" => FileKind::Directory,
            "-e" => FileKind::Any,
            "-x" => FileKind::Executable,
            _ => return None,
        };
        Some(Self { kind, negated })
    }

    /// The answer for what a lookup found.
    pub(super) fn answer(self, found: Option<&FileInfo>) -> bool {
        let holds = found.is_some_and(|found| match self.kind {
            FileKind::Plain => found.is_regular(),
            FileKind::Directory => found.is_dir(),
            FileKind::Any => found.is_regular() || found.is_dir(),
            FileKind::Executable => found.executable,
        });
        holds != self.negated
    }
}

impl Condition {
    /// Reads the arguments of an `if`.
    pub(super) fn parse(cx: &mut Builder, node: &Node) -> Result<Self> {
        let words = words(node)?;
        let invalid = |word: &str| node.error(format!("invalid condition \"{word}\""));
        match words[..] {
            [variable] if is_variable(variable) => Ok(Self::Variable(use_variable(cx, node, variable)?)),
            [variable, operator, operand] if is_variable(variable) => {
                let variable = use_variable(cx, node, variable)?;
                Self::compare(cx, node, variable, operator, operand)
            }
            [test, path] if !is_variable(test) => {
                let test = FileTest::parse(test).ok_or_else(|| invalid(test))?;
                Ok(Self::File { path: Template::parse(cx, node, path)?, test })
            }
            [first, ..] => Err(invalid(first)),
            [] => Err(invalid("")),
        }
    }

    fn compare(
        cx: &mut Builder,
        node: &Node,
        variable: VarId,
        operator: &str,
        operand: &str,
    ) -> Result<Self> {
        let (negated, caseless) = match operator {
            "=" | "!=" => {
                let text = Template::parse(cx, node, operand)?;
                return Ok(Self::Equal { variable, text, negated: operator == "!=" });
            }
            "~" => (false, false),
            "~*" => (false, true),
            "!~" => (true, false),
            "!~*" => (true, true),
            other => return Err(node.error(format!("unexpected \"{other}\" in condition"))),
        };
        let regex = Regex::new(operand, caseless).map_err(|error| node.error(error))?;
        regex.declare_names(cx, node)?;
        Ok(Self::Match { variable, regex, negated })
    }
}

/// The words between the parentheses, which may stand alone or stick to the first and last word.
fn words(node: &Node) -> Result<Vec<&str>> {
    let invalid = |word: &str| node.error(format!("invalid condition \"{word}\""));
    let mut words: Vec<&str> = node.str_args().collect();
    let first = words.first_mut().ok_or_else(|| node.invalid_arity())?;
    *first = first.strip_prefix('(').ok_or_else(|| invalid(first))?;
    let last = words.last_mut().expect("there is a first word");
    *last = last.strip_suffix(')').ok_or_else(|| invalid(last))?;
    // an operand may be the empty text in quotes: only parentheses that stood alone leave nothing behind
    if words.len() > 1 && words[0].is_empty() {
        words.remove(0);
    }
    let closed_alone = node.args.last().is_some_and(|word| word.bytes() == b")");
    if words.len() > 1 && closed_alone {
        words.pop();
    }
    Ok(words)
}

fn is_variable(word: &str) -> bool {
    word.len() > 1 && word.starts_with('$')
}

fn use_variable(cx: &mut Builder, node: &Node, word: &str) -> Result<VarId> {
    Ok(cx.variables.use_name(&word[1..], &node.span))
}

/// Whether a value counts as true.
pub(super) fn is_true(value: &[u8]) -> bool {
    !matches!(value, b"" | b"0")
}

/// What evaluating a condition gives at once.
pub(super) enum Outcome {
    /// It holds, or not.
    Known(bool),
    /// The file at this path must be looked up.
    Lookup(Vec<u8>, FileTest),
    /// A pattern could not be run.
    Failed,
}

impl Condition {
    /// Evaluates the condition. `escape`: captures in its operand are escaped.
    pub(super) fn eval(&self, req: &mut Request, escape: bool, log: bool) -> Outcome {
        match self {
            Self::Variable(id) => {
                let value = req.variable(*id).unwrap_or_default();
                Outcome::Known(is_true(&value))
            }
            Self::Equal { variable, text, negated } => {
                let mut both = Vec::new();
                req.append_variable(*variable, &mut both);
                let middle = both.len();
                text.append_with(req, &mut both, escape);
                Outcome::Known((both[..middle] == both[middle..]) != *negated)
            }
            Self::Match { variable, regex, negated } => {
                let value = req.variable(*variable).unwrap_or_default();
                match super::run::matches(req, regex, &value, log) {
                    Ok(matched) => Outcome::Known(matched != *negated),
                    Err(CannotRun) => Outcome::Failed,
                }
            }
            Self::File { path, test } => {
                let mut name = Vec::new();
                path.append_with(req, &mut name, escape);
                Outcome::Lookup(name, *test)
            }
        }
    }
}
