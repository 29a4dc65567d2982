//! `ngx_http_echo_module` of OpenResty's bundle: responses made of commands that stand in the configuration, as in a shell
//! script; text before and after the response of any other handler; variables about the request.
//!
//! A location's commands are one [`Program`](program::Program), run in the order of the text by its content handler. Blocks
//! of `if` without commands of their own run those of their location; locations inside do not.
//!
//! `echo_blocking_sleep` waits like `echo_sleep`: a worker is never blocked. `echo_abort_parent` is not supported.

mod around;
mod directives;
mod program;
mod run;
mod subrequest;
mod variables;

use std::rc::Rc;

use conf::{Directive, Result, Setting};

use crate::build::{Builder, Conf, LevelKind, MergeCx, Slot};
use crate::filter::Position;
use crate::module::{Attach, Module};
use crate::variables::Variable;
use around::Around;
use program::{Command, Line, Program};
use run::Runner;

/// The module.
pub const MODULE: Echo = Echo;

static CONF: Slot<EchoConf> = Slot::new();

/// See the module's documentation.
pub struct Echo;

/// What one level says.
#[derive(Default)]
pub struct EchoConf {
    /// The commands read so far.
    commands: Vec<Command>,
    /// All of them, once the level is complete.
    program: Option<Rc<Program>>,
    /// `echo_before_body`.
    before: Vec<Rc<Line>>,
    /// `echo_after_body`.
    after: Vec<Rc<Line>>,
    /// `echo_status`.
    status: Setting<u16>,
}

impl Conf for EchoConf {
    fn merge(&mut self, outer: &Self, cx: &mut MergeCx<'_>) -> Result<()> {
        self.status.merge(&outer.status, 200);
        if !self.commands.is_empty() {
            self.program = Some(Rc::new(Program::new(std::mem::take(&mut self.commands))?));
        } else if matches!(cx.kind, LevelKind::If | LevelKind::LimitExcept) {
            self.program.clone_from(&outer.program);
        }
        if self.before.is_empty() {
            self.before.clone_from(&outer.before);
        }
        if self.after.is_empty() {
            self.after.clone_from(&outer.after);
        }
        Ok(())
    }

    fn is_inherited_whole(&self, inner: &LevelKind) -> bool {
        self.program.is_none() || matches!(inner, LevelKind::If | LevelKind::LimitExcept)
    }
}

impl Module for Echo {
    fn name(&self) -> &'static str {
        "ngx_http_echo_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        directives::DIRECTIVES
    }

    fn variables(&self) -> &'static [Variable] {
        variables::VARIABLES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&CONF);
    }

    fn attach(&self, cx: &mut Attach<'_>) -> Result<()> {
        let conf = cx.confs.get(&CONF);
        if !conf.before.is_empty() || !conf.after.is_empty() {
            let around = Around { before: conf.before.clone(), after: conf.after.clone() };
            cx.filter(Position::Guest, Rc::new(around));
        }
        if let Some(program) = &conf.program {
            let runner = Runner { program: Rc::clone(program), status: *conf.status.get() };
            cx.content(Rc::new(runner));
        }
        Ok(())
    }
}
