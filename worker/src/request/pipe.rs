//! A subrequest's response on its way into the response of its parent: `addition`, SSI, `slice`.
//!
//! The subrequest runs as a task of its own and pushes pieces; the parent takes them when their turn has come. Several may
//! run at the same time, each ahead of its turn by [`AHEAD_BYTES_MAX`] bytes at most. When the parent goes away the
//! subrequest is dropped.
//!
//! ```text
//!   subrequest's task ── push (waits while full) ──► queue ── next ──► parent's filter or handler
//!          └── ends: the request itself is left behind, for its head and its variables
//! ```

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;
use net::{Either, Notify};

use super::{Origin, Request, SubrequestOptions};
use crate::fault::{Fault, Kind, Side};
use crate::filter::Chain;
use crate::filter::Chunk;
use crate::io::Io;
use crate::phase;

/// Bytes in memory a subrequest may be ahead of its parent.
const AHEAD_BYTES_MAX: usize = 64 * 1024;

/// The subrequest's end.
#[derive(Debug)]
pub struct PipeIn {
    shared: Rc<Shared>,
    /// The subrequest failed.
    aborted: bool,
    /// Sent in place of an empty response or of the page of an error.
    stub: Option<Bytes>,
}

#[derive(Default)]
struct Shared {
    state: RefCell<State>,
    /// The subrequest did something.
    filled: Notify,
    /// The parent did something.
    taken: Notify,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

#[derive(Default)]
struct State {
    pieces: VecDeque<Chain>,
    /// Bytes in memory in `pieces`.
    bytes: usize,
    /// Nothing more comes.
    ended: bool,
    /// The parent is gone.
    deserted: bool,
    /// The subrequest, when it has ended.
    request: Option<Box<Request>>,
    /// It broke off.
    aborted: bool,
}

/// A subrequest that runs.
pub struct Running {
    shared: Rc<Shared>,
}

impl PipeIn {
    /// The response is not complete and will not be.
    pub(crate) fn abort(&mut self) {
        self.aborted = true;
    }

    pub(crate) fn is_aborted(&self) -> bool {
        self.aborted
    }

    /// What is sent in place of the page of an error.
    pub(crate) fn take_stub(&mut self) -> Option<Bytes> {
        self.stub.take()
    }
}

/// Hands a piece of a subrequest's response to its parent, and waits until there is room.
pub(crate) async fn push(req: &mut Request, chain: Chain) -> Result<(), Fault> {
    let Io::Pipe(pipe) = &req.io else { return Ok(()) };
    if req.header_only || chain.is_empty() {
        return Ok(());
    }
    let shared = Rc::clone(&pipe.shared);
    req.out.body_bytes += chain.len();
    let bytes = memory_bytes(&chain);
    {
        let mut state = shared.state.borrow_mut();
        state.bytes += bytes;
        state.pieces.push_back(chain);
    }
    shared.filled.notify_one();
    while shared.state.borrow().bytes > AHEAD_BYTES_MAX {
        if shared.state.borrow().deserted {
            return Err(Fault::new(Side::Client, Kind::Closed, 499, "the main request is closed"));
        }
        shared.taken.notified().await;
    }
    Ok(())
}

fn memory_bytes(chain: &Chain) -> usize {
    let bytes = chain.chunks.iter().map(|chunk| match chunk {
        Chunk::Memory(bytes) => bytes.len(),
        Chunk::File(_) => 0,
    });
    bytes.sum()
}

impl Request {
    /// Starts a subrequest for `uri` whose response is read while it runs. `stub` is sent in place of an empty response and
    /// of the page of an error.
    ///
    /// # Errors
    /// Subrequests are nested too deep, or there are too many of them.
    pub fn start_subrequest(
        &mut self,
        uri: Vec<u8>,
        options: SubrequestOptions,
        stub: Option<Bytes>,
    ) -> Result<Running, Fault> {
        self.count_subrequest(&uri)?;
        let shared = Rc::new(Shared::default());
        let pipe = PipeIn { shared: Rc::clone(&shared), aborted: false, stub };
        let mut sub = self.fork(uri, options, Io::Pipe(Box::new(pipe)));
        sub.origin = Origin::Subrequest;
        let end = End(Rc::clone(&shared));
        net::spawn(async move {
            let done = {
                let run = phase::run_subrequest(&mut sub);
                matches!(net::select2(run, end.deserted()).await, Either::Left(()))
            };
            if done {
                end.leave(sub).await;
            }
        });
        Ok(Running { shared })
    }
}

/// Ends the pipe however the task ends.
struct End(Rc<Shared>);

impl End {
    async fn deserted(&self) {
        while !self.0.state.borrow().deserted {
            self.0.taken.notified().await;
        }
    }
}

impl End {
    /// The subrequest has ended.
    async fn leave(self, mut sub: Box<Request>) {
        if let Io::Pipe(pipe) = &mut sub.io
            && !pipe.aborted
            && sub.out.body_bytes == 0
            && let Some(stub) = pipe.stub.take()
        {
            let _ = sub.output(Chain::more(stub)).await;
        }
        let mut state = self.0.state.borrow_mut();
        state.aborted = sub.io.is_aborted();
        // it must not hold the pipe that holds it
        sub.io = Io::None;
        state.request = Some(sub);
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.0.state.borrow_mut().ended = true;
        self.0.filled.notify_one();
    }
}

impl Running {
    /// The next piece of the response; `None` at its end.
    pub async fn next(&self) -> Option<Chain> {
        loop {
            {
                let mut state = self.shared.state.borrow_mut();
                if let Some(mut chain) = state.pieces.pop_front() {
                    state.bytes -= memory_bytes(&chain);
                    drop(state);
                    self.shared.taken.notify_all();
                    chain.last = false;
                    return Some(chain);
                }
                if state.ended {
                    return None;
                }
            }
            self.shared.filled.notified().await;
        }
    }

    /// Waits for the end of a response of which every piece was taken. Gives the subrequest back: its head, its variables.
    ///
    /// # Errors
    /// It broke off: what was taken is not the whole response.
    pub async fn end(self) -> Result<Box<Request>, Fault> {
        while !self.shared.state.borrow().ended {
            self.shared.filled.notified().await;
        }
        let mut state = self.shared.state.borrow_mut();
        match state.request.take() {
            Some(request) if !state.aborted => Ok(request),
            _ => Err(Fault::internal("subrequest was broken off")),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = self.shared.state.borrow_mut();
        state.deserted = true;
        state.pieces.clear();
        state.bytes = 0;
        drop(state);
        self.shared.taken.notify_all();
    }
}
