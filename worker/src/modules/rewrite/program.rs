//! The instructions a server or location was compiled to.

use std::rc::Rc;

use super::Computed;
use super::condition::Condition;
use crate::phase::Flow;
use crate::regex::Regex;
use crate::request::Request;
use crate::script::Template;
use crate::variables::VarId;

/// The rewrite instructions of one server or location.
pub(super) struct Program {
    pub(super) codes: Box<[Code]>,
    /// `rewrite_log`: what happens is logged at `notice`.
    pub(super) log: bool,
}

/// An instruction of another module.
pub trait Instruction {
    /// Carries it out; a flow ends the program.
    fn run(&self, req: &mut Request) -> Option<Flow>;
}

/// One instruction.
pub(super) enum Code {
    /// `rewrite`.
    Rewrite(Box<RewriteCode>),
    /// `return`.
    Return { status: u16, text: Template },
    /// `set`.
    Set { variable: VarId, value: Template },
    /// A variable that another module computes.
    Compute { variable: VarId, args: Box<[Template]>, call: Rc<dyn Computed> },
    /// An instruction of another module (`set_by_lua`).
    Guest(Rc<dyn Instruction>),
    /// `break`.
    Break,
    /// `if`: what is inside follows.
    If {
        condition: Box<Condition>,
        /// Position among the location's `if` blocks; `None` in a server.
        block: Option<usize>,
        /// The instruction behind the block.
        behind: usize,
    },
}

/// A `rewrite`.
pub(super) struct RewriteCode {
    pub(super) regex: Regex,
    pub(super) replacement: Replacement,
    /// The request's arguments are appended: the replacement does not end with a question mark.
    pub(super) keeps_args: bool,
    /// Nothing after this instruction runs when it matched.
    pub(super) is_last: bool,
}

/// What a URI is replaced with.
pub(super) enum Replacement {
    /// Another URI of this server.
    Uri {
        path: Template,
        /// Behind the question mark, when there is one.
        args: Option<Template>,
        /// `break`: the location stays.
        stays: bool,
    },
    /// A redirect of the client.
    Redirect {
        target: Template,
        /// The target has a question mark of its own.
        has_args: bool,
        status: u16,
    },
}
