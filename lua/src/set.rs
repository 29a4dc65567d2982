//! `set_by_lua`: a variable assigned by Lua, among the rewrite instructions.

use std::rc::Rc;

use ::conf::{Node, Result};
use worker::build::Builder;
use worker::log::Level;
use worker::modules::rewrite::{self, Instruction};
use worker::phase::Flow;
use worker::request::Request;
use worker::script::Template;
use worker::variables::{Source, VarId};

use crate::code::Code;
use crate::filter::first_value;
use crate::phase::Phases;
use crate::runtime;
use crate::sched::{End, Progress, Task};

/// One `set_by_lua`.
struct SetByLua {
    variable: VarId,
    code: Rc<Code>,
    arguments: Vec<Template>,
}

/// The arguments as `ngx.arg[n]` shows them.
pub(crate) struct Arguments(pub(crate) Vec<Vec<u8>>);

/// Reads `set_by_lua $variable …`.
pub(crate) fn apply(cx: &mut Builder, node: &Node) -> Result<()> {
    let Some(name) = node.first().strip_prefix('$').filter(|name| !name.is_empty()) else {
        return Err(node.error(format!("invalid variable name \"{}\"", node.first())));
    };
    let variable = cx.variables.declare(node, name, Source::Set, true)?;
    let code = Code::new(cx, node, 1)?;
    let mut arguments = Vec::new();
    for n in 2..node.len() {
        arguments.push(Template::parse(cx, node, node.bytes(n))?);
    }
    rewrite::add_instruction(cx, Rc::new(SetByLua { variable, code, arguments }));
    Ok(())
}

impl Instruction for SetByLua {
    fn run(&self, req: &mut Request) -> Option<Flow> {
        match self.value(req) {
            Ok(value) => {
                req.set_variable(self.variable, Some(&value.unwrap_or_default()));
                None
            }
            Err(reason) => {
                req.log(Level::Error, format_args!("{reason}"));
                Some(Flow::Status(500))
            }
        }
    }
}

impl SetByLua {
    fn value(&self, req: &mut Request) -> std::result::Result<Option<Vec<u8>>, String> {
        let arguments = self.arguments.iter().map(|template| template.eval(req)).collect();
        req.context.set(Arguments(arguments));
        let vm = runtime::vm_for(req)?;
        let coroutine = vm.coroutine();
        let lua = coroutine.lua;
        self.code.push(&vm, lua, Some(req))?;
        let task = Task::new(Phases::SET, coroutine, 0).quiet();
        let result = match task.start(Some(req)) {
            Progress::Ended(End::Done) => Ok(first_value(lua)),
            Progress::Ended(End::Failed) => {
                let message = task.take_message();
                Err(format!("failed to run set_by_lua*: {}", String::from_utf8_lossy(&message)))
            }
            Progress::Ended(End::Exit(_)) => Ok(None),
            Progress::Waits => Err("failed to run set_by_lua*: attempt to yield".into()),
        };
        req.context.take::<Arguments>();
        result
    }
}
