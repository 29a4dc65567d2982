//! `balancer_by_lua`: Lua code that chooses the server of each try.
//!
//! Where the code chooses none, the servers of the block are taken as if it was not there.

use std::rc::Rc;

use net::Addr;
use worker::fault::Fault;
use worker::phase::Step;
use worker::request::Request;
use worker::upstream::{Balancer, Blame, NoPeer, Outcome, Peer, Picked, Tried};

use crate::code::Code;
use crate::phase::Phases;
use crate::runtime;
use crate::sched::{End, Exit, Progress, Task};

/// Chooses by Lua.
pub(crate) struct LuaBalancer {
    pub(crate) code: Rc<Code>,
    /// The servers of the block.
    pub(crate) servers: Rc<dyn Balancer>,
}

/// How the try before ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Last {
    pub(crate) failed: bool,
    pub(crate) status: u16,
}

/// What the code decided about one request.
#[derive(Default)]
pub(crate) struct Balancing {
    /// The server of this try.
    pub(crate) peer: Option<Addr>,
    /// Tries allowed after this one.
    pub(crate) more: usize,
    pub(crate) last: Option<Last>,
    /// The try under way was chosen by the code.
    ours: bool,
}

/// Tries of one request, whatever the code says.
const TRIES_MAX: usize = 1000;

impl Balancer for LuaBalancer {
    fn pick<'r>(&'r self, req: &'r mut Request, tried: &'r mut Tried) -> Step<'r, Result<Picked, NoPeer>> {
        let balancing = req.context.entry::<Balancing>();
        balancing.peer = None;
        balancing.more = balancing.more.saturating_sub(usize::from(!tried.peers.is_empty()));
        if let Err(fault) = self.run(req) {
            return Step::Ready(Err(NoPeer::Failed(fault)));
        }
        let balancing = req.context.entry::<Balancing>();
        match balancing.peer.take() {
            Some(addr) => {
                balancing.ours = true;
                let name: Rc<str> = addr.to_string().into();
                Step::Ready(Ok(Picked::new(Rc::new(Peer::new(addr, name)))))
            }
            None => {
                balancing.ours = false;
                self.servers.pick(req, tried)
            }
        }
    }

    fn done(&self, req: Option<&mut Request>, picked: Picked, outcome: Outcome) {
        // servers of the block have a state, those the code names have none
        if picked.peer.state.is_some() {
            return self.servers.done(req, picked, outcome);
        }
        let Some(req) = req else { return };
        let status = req.upstream.tries.last().and_then(|last| last.status).unwrap_or(502);
        let last = match outcome.blame {
            Blame::Failed => Last { failed: true, status },
            Blame::Next => Last { failed: false, status },
            Blame::None | Blame::Unknown => return,
        };
        req.context.entry::<Balancing>().last = Some(last);
    }

    fn tries(&self) -> usize {
        TRIES_MAX
    }

    fn may_try_again(&self, req: &Request) -> bool {
        req.context.get::<Balancing>().is_none_or(|balancing| !balancing.ours || balancing.more > 0)
    }
}

impl LuaBalancer {
    fn run(&self, req: &mut Request) -> Result<(), Fault> {
        let failed = |text: String| Fault::internal(format!("failed to run balancer_by_lua*: {text}"));
        let vm = runtime::vm_for(req).map_err(failed)?;
        let coroutine = vm.coroutine();
        self.code.push(&vm, coroutine.lua, Some(req)).map_err(|failure| Fault::internal(failure.text))?;
        let task = Task::new(Phases::BALANCER, coroutine, 0).quiet();
        match task.start(Some(req)) {
            Progress::Ended(End::Failed) => {
                Err(failed(String::from_utf8_lossy(&task.take_message()).into_owned()))
            }
            Progress::Ended(End::Exit(Exit::Status(status))) if status != 0 => {
                let status = u16::try_from(status).unwrap_or(500);
                Err(Fault::answer(status))
            }
            Progress::Ended(_) => Ok(()),
            Progress::Waits => Err(failed("attempt to yield".into())),
        }
    }
}
