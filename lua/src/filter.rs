//! `header_filter_by_lua`, `body_filter_by_lua`, `log_by_lua`: Lua that looks at a response on its way.
//!
//! Unlike in OpenResty this code may wait. While it does, the piece of the response it looks at waits with it.

use std::rc::Rc;

use bytes::Bytes;
use worker::fault::Fault;
use worker::filter::{Chain, Filter, Interest};
use worker::log::Level;
use worker::phase::{Flow, Handler, Step};
use worker::request::Request;

use crate::code::Code;
use crate::ffi::State;
use crate::phase::Phases;
use crate::runtime;
use crate::sched::{End, Exit, Progress, Task, drive};

/// The Lua filters of a location.
pub(crate) struct LuaFilter {
    pub(crate) header: Option<Rc<Code>>,
    pub(crate) body: Option<Rc<Code>>,
}

/// The piece of the body that `ngx.arg` shows to a body filter.
pub(crate) struct Piece {
    /// `ngx.arg[1]`; `None`: it was set to nil.
    pub(crate) data: Option<Bytes>,
    /// `ngx.arg[2]`.
    pub(crate) last: bool,
    /// `ngx.arg[2]` was set by the code itself.
    pub(crate) ended: bool,
}

/// The body filter said that the body ended: what comes after that is dropped.
struct Over;

impl LuaFilter {
    fn task(code: &Code, phase: Phases, req: &mut Request) -> Result<Task, String> {
        let vm = runtime::vm_for(req)?;
        let coroutine = vm.coroutine();
        code.push(&vm, coroutine.lua, Some(req))?;
        Ok(Task::new(phase, coroutine, 0).quiet())
    }
}

/// What the code's end means to the response; the code of the phase is named `what` in the log.
fn ended(req: &mut Request, end: &End, task: &Task, what: &str) -> Result<(), Fault> {
    match end {
        End::Failed => {
            let message = task.take_message();
            let text = String::from_utf8_lossy(&message);
            req.log(Level::Error, format_args!("failed to run {what}: {text}"));
            Err(if req.out.sent { Fault::internal("a Lua filter failed") } else { Fault::answer(500) })
        }
        End::Exit(Exit::Status(status)) if *status >= 300 && !req.out.sent => {
            Err(Fault::answer(u16::try_from(*status).unwrap_or(500)))
        }
        End::Exit(Exit::Status(-1)) => Err(Fault::internal("a Lua filter gave the response up")),
        End::Done | End::Exit(_) => Ok(()),
    }
}

/// Runs a task to its end, now if it does not wait.
fn run<'r, T: 'r>(
    req: &'r mut Request,
    task: Task,
    then: impl FnOnce(&mut Request, End, Task) -> T + 'r,
) -> Step<'r, T> {
    match task.start(Some(req)) {
        Progress::Ended(end) => Step::Ready(then(req, end, task)),
        Progress::Waits => Step::wait(async move {
            let (end, task) = drive(task, req).await;
            then(req, end, task)
        }),
    }
}

impl Filter for LuaFilter {
    fn header<'r>(&'r self, req: &'r mut Request) -> Step<'r, Result<Interest, Fault>> {
        let interest = if self.body.is_some() { Interest::Memory } else { Interest::None };
        if interest == Interest::Memory {
            req.out.clear_length();
        }
        let Some(code) = &self.header else { return Step::Ready(Ok(interest)) };
        let before = req.outgoing.len();
        let task = match Self::task(code, Phases::HEADER_FILTER, req) {
            Ok(task) => task,
            Err(reason) => {
                req.log_error(format_args!("{reason}"));
                return Step::Ready(Err(Fault::answer(500)));
            }
        };
        debug_assert_eq!(before, req.outgoing.len(), "header filters print nothing");
        run(req, task, move |req, end, task| {
            ended(req, &end, &task, "header_filter_by_lua*")?;
            Ok(interest)
        })
    }

    fn body<'r>(&'r self, req: &'r mut Request, chain: &'r mut Chain) -> Step<'r, Result<(), Fault>> {
        let Some(code) = &self.body else { return Step::Ready(Ok(())) };
        if req.context.get::<Over>().is_some() {
            chain.take_memory().for_each(drop);
            return Step::Ready(Ok(()));
        }
        let data = match &mut chain.take_memory().collect::<Vec<Bytes>>()[..] {
            [] => Bytes::new(),
            [one] => std::mem::take(one),
            many => many.concat().into(),
        };
        req.context.set(Piece { data: Some(data), last: chain.last, ended: false });
        let task = match Self::task(code, Phases::BODY_FILTER, req) {
            Ok(task) => task,
            Err(reason) => return Step::Ready(Err(Fault::internal(reason))),
        };
        run(req, task, move |req, end, task| {
            ended(req, &end, &task, "body_filter_by_lua*")?;
            if let Some(piece) = req.context.take::<Piece>() {
                chain.push(piece.data.unwrap_or_default());
                if piece.last && !chain.last {
                    req.context.set(Over);
                    chain.last = true;
                }
            }
            Ok(())
        })
    }
}

/// Runs `log_by_lua`.
pub(crate) struct LuaLog {
    pub(crate) code: Rc<Code>,
}

impl Handler for LuaLog {
    fn handle<'r>(&'r self, req: &'r mut Request) -> Step<'r> {
        let task = match LuaFilter::task(&self.code, Phases::LOG, req) {
            Ok(task) => task,
            Err(reason) => {
                req.log_error(format_args!("{reason}"));
                return Step::Ready(Flow::Next);
            }
        };
        run(req, task, |req, end, task| {
            if let End::Failed = end {
                let message = task.take_message();
                let text = String::from_utf8_lossy(&message);
                req.log(Level::Error, format_args!("failed to run log_by_lua*: {text}"));
            }
            Flow::Next
        })
    }
}

/// The first value left on a stack as text; nothing where it is nil.
pub(crate) fn first_value(lua: State<'_>) -> Option<Vec<u8>> {
    if lua.top() == 0 {
        return None;
    }
    lua.set_top(1);
    match lua.type_of(1) {
        crate::ffi::Type::Nil => None,
        _ => {
            lua.to_text(1).ok()?;
            lua.to_bytes(-1).map(<[u8]>::to_vec)
        }
    }
}
