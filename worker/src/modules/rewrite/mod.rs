//! `ngx_http_rewrite_module`: `return`, `set`, `rewrite`, `break`, `if`.
//!
//! The instructions of one server or location are one [`Program`], in the order of the text. What stands inside an `if`
//! belongs to the program of the block around it: the condition is an instruction that skips it. Programs are not
//! inherited by locations inside. A location's `if` that holds also moves the request into the `if`'s own level, so that
//! the other directives written there apply.

mod condition;
mod directives;
mod program;
mod run;

use std::rc::Rc;

use conf::{Directive, Node, Result, Setting};

use crate::build::{Builder, Conf, LevelKind, MergeCx, Slot};
use crate::module::{Attach, Module};
use crate::phase::{Flow, Phase, order};
use crate::request::Request;
use crate::script::Template;

pub use program::Instruction;
use program::{Code, Program};
use run::Rewriter;

/// The module.
pub const MODULE: Rewrite = Rewrite;

/// Key of [`RewriteConf`].
pub static CONF: Slot<RewriteConf> = Slot::new();

/// Adds an instruction of another module at this place of the text.
pub fn add_instruction(cx: &mut Builder, instruction: Rc<dyn Instruction>) {
    cx.conf_around_if(&CONF).codes.push(Code::Guest(instruction));
}

/// See the module's documentation.
pub struct Rewrite;

/// What another module computes among the instructions, in the order of the text: `set_md5`, `set_by_lua`.
pub trait Computed {
    /// Appends the value for these arguments to `out`. What is returned instead ends the phase.
    fn compute(
        &self,
        req: &mut Request,
        args: &[Vec<u8>],
        out: &mut Vec<u8>,
    ) -> std::result::Result<(), Flow>;
}

/// Adds an instruction that assigns what `call` makes of `args` to the variable written as `name`, with its `$`.
pub fn push_computed(
    cx: &mut Builder,
    node: &Node,
    name: &str,
    args: Box<[Template]>,
    call: Rc<dyn Computed>,
) -> Result<()> {
    let variable = directives::assigned(cx, node, name)?;
    cx.conf_around_if(&CONF).codes.push(Code::Compute { variable, args, call });
    Ok(())
}

/// Rewrite settings of one level.
#[derive(Default)]
pub struct RewriteConf {
    /// `rewrite_log`.
    log: Setting<bool>,
    /// The instructions read so far.
    codes: Vec<Code>,
    /// All of them, once the level is complete.
    program: Option<Rc<Program>>,
}

impl Conf for RewriteConf {
    fn merge(&mut self, outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        self.log.merge(&outer.log, false);
        if !self.codes.is_empty() {
            let codes = std::mem::take(&mut self.codes).into();
            self.program = Some(Rc::new(Program { codes, log: *self.log.get() }));
        }
        Ok(())
    }
}

impl Module for Rewrite {
    fn name(&self) -> &'static str {
        "ngx_http_rewrite_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        directives::DIRECTIVES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&CONF);
    }

    fn attach(&self, cx: &mut Attach<'_>) -> Result<()> {
        // a level without instructions shares its struct with the level around, whose program is not its own
        if !cx.is_own(&CONF) {
            return Ok(());
        }
        let Some(program) = &cx.confs.get(&CONF).program else { return Ok(()) };
        let handler = Rc::new(Rewriter::new(Rc::clone(program)));
        let phase = match cx.kind {
            LevelKind::Server => Phase::ServerRewrite,
            _ => Phase::Rewrite,
        };
        cx.handler(phase, order::REWRITE, handler);
        Ok(())
    }
}
