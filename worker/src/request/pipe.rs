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

use super::{Origin, Request, ResponseHead, SubrequestOptions};
use crate::body::Progress;
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
    /// Its head, for a parent that asked for it.
    head: Option<SubHead>,
    wants_head: bool,
}

/// The head of a subrequest's response.
#[derive(Debug)]
pub struct SubHead {
    /// The status code.
    pub status: u16,
    /// Time of the last change, seconds since the epoch.
    pub last_modified: Option<i64>,
    /// The fields that have no place of their own.
    pub headers: http1::Headers,
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

    /// The head was sent.
    pub(crate) fn head(&self, out: &ResponseHead) {
        let mut state = self.shared.state.borrow_mut();
        if state.wants_head {
            let (status, last_modified) = (out.status, out.last_modified);
            state.head = Some(SubHead { status, last_modified, headers: out.headers.clone() });
            drop(state);
            self.shared.filled.notify_one();
        }
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
    /// The next piece of a subrequest's response; `None` at its end.
    ///
    /// # Errors
    /// The client is gone: there is nobody to send it to.
    pub async fn next_piece(&mut self, running: &Running) -> Result<Option<Chain>, Fault> {
        // of nested subrequests the outermost waits for all
        if !matches!(self.io, Io::H1(_)) || running.has_piece() {
            return Ok(running.next().await);
        }
        match net::select2(running.next(), self.hung_up()).await {
            Either::Left(piece) => Ok(piece),
            Either::Right(()) => {
                self.keepalive = false;
                Err(Fault::new(Side::Client, Kind::Closed, 499, "client prematurely closed connection"))
            }
        }
    }

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
        spawn(sub, &shared, false);
        Ok(Running { shared })
    }

    /// Starts a subrequest that asks the content handler of this request's location once more, for the same URI. Its response passes
    /// no filters of its own. `prepare` says in what it differs.
    ///
    /// # Errors
    /// Subrequests are nested too deep.
    pub fn start_clone(&mut self, prepare: impl FnOnce(&mut Request)) -> Result<Running, Fault> {
        if self.subrequests_left == 0 {
            return Err(Fault::internal("subrequests cycle"));
        }
        let state = State { wants_head: true, ..State::default() };
        let shared = Rc::new(Shared { state: RefCell::new(state), ..Shared::default() });
        let pipe = PipeIn { shared: Rc::clone(&shared), aborted: false, stub: None };
        let with_body = self.body.progress == Progress::Kept;
        let options = SubrequestOptions {
            args: self.args.clone(),
            method: Some(self.method),
            with_body,
            ..SubrequestOptions::default()
        };
        let mut sub = self.fork(self.uri.clone(), options, Io::Pipe(Box::new(pipe)));
        sub.origin = Origin::Subrequest;
        sub.unfiltered = true;
        sub.location = Rc::clone(&self.location);
        sub.unparsed_valid = self.unparsed_valid;
        sub.valid_location = self.valid_location;
        sub.location_valid = self.location_valid;
        sub.alias_takes_uri = self.alias_takes_uri;
        sub.captures = self.captures.clone();
        prepare(&mut sub);
        spawn(sub, &shared, true);
        Ok(Running { shared })
    }
}

/// Runs `sub` as a task until it ends or its parent is gone.
fn spawn(mut sub: Box<Request>, shared: &Rc<Shared>, is_clone: bool) {
    let end = End(Rc::clone(shared));
    net::spawn(async move {
        let run = async {
            if is_clone {
                phase::run_clone(&mut sub).await;
            } else {
                phase::run_subrequest(&mut sub).await;
            }
        };
        if let Either::Left(()) = net::select2(run, end.deserted()).await {
            end.leave(sub).await;
        }
    });
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
    /// Whether [`Running::next`] has something to give.
    fn has_piece(&self) -> bool {
        let state = self.shared.state.borrow();
        state.ended || !state.pieces.is_empty()
    }

    /// The next piece of the response; `None` at its end.
    async fn next(&self) -> Option<Chain> {
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

    /// The head of the response; `None`: it has none. Of a subrequest made by [`Request::start_clone`] only.
    pub async fn head(&self) -> Option<SubHead> {
        loop {
            {
                let mut state = self.shared.state.borrow_mut();
                if state.head.is_some() || state.ended {
                    return state.head.take();
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
