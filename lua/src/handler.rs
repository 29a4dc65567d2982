//! Phase handlers that run Lua.

use std::rc::Rc;

use worker::phase::{Flow, Handler, Step};
use worker::request::Request;

use crate::code::{Code, Failure};
use crate::phase::Phases;
use crate::response;
use crate::runtime;
use crate::sched::{Progress, Task, drive};

/// Runs a piece of code in a phase that may answer the request.
pub(crate) struct LuaHandler {
    pub(crate) code: Rc<Code>,
    pub(crate) phase: Phases,
}

impl Handler for LuaHandler {
    fn handle<'r>(&'r self, req: &'r mut Request) -> Step<'r> {
        if response::settings(req).need_request_body && !req.body.started() && !req.body.is_absent() {
            return Step::wait(self.after_body(req));
        }
        self.run(req)
    }
}

impl LuaHandler {
    async fn after_body(&self, req: &mut Request) -> Flow {
        if let Err(fault) = req.read_body().await {
            return req.fail(&fault);
        }
        self.run(req).resolve().await
    }

    fn run<'r>(&'r self, req: &'r mut Request) -> Step<'r> {
        if self.phase == Phases::REWRITE && req.uri_changed {
            return Step::Ready(Flow::Next);
        }
        let task = match self.task(req) {
            Ok(task) => task,
            Err(reason) => {
                req.log_error(format_args!("{}", reason.text));
                return Step::Ready(Flow::Status(reason.status));
            }
        };
        match task.start(Some(req)) {
            Progress::Ended(end) => Step::Ready(response::flow(req, self.phase, end)),
            Progress::Waits => {
                let phase = self.phase;
                Step::wait(async move {
                    let (end, task) = drive(task, req).await;
                    drop(task);
                    response::flow(req, phase, end)
                })
            }
        }
    }

    fn task(&self, req: &mut Request) -> Result<Task, Failure> {
        let vm = runtime::vm_for(req)?;
        let coroutine = vm.coroutine();
        self.code.push(&vm, coroutine.lua, Some(req))?;
        Ok(Task::new(self.phase, coroutine, 0))
    }
}
