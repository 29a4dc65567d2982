//! A response between a fast server and a slow client: in memory up to a limit, then in a temporary file, then the server
//! waits.
//!
//! One part of the task fills it, the other drains it; both run side by side, and whoever changed something has the other one
//! looked at again (see [`Spool::changes`]).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;

use crate::fault::Fault;
use crate::filter::{Chain, Chunk, FilePart};
use crate::temp::{Spill, TempPath};

/// See the module's documentation.
pub(super) struct Spool {
    state: RefCell<State>,
    /// Counts changes that may let the other part go on.
    changes: Cell<u64>,
}

struct State {
    queue: VecDeque<Chunk>,
    /// Bytes of `queue` in memory.
    memory: usize,
    memory_max: usize,
    file: Option<Spill>,
    file_max: u64,
    temp_path: Rc<TempPath>,
    /// Nothing is being sent and nothing waits: the client keeps up.
    idle: bool,
    end: End,
}

/// Whether more comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    /// The response is complete.
    Complete,
    /// It will never be complete.
    Cut,
}

impl Spool {
    pub(super) fn new(memory_max: usize, file_max: u64, temp_path: &Rc<TempPath>) -> Self {
        let state = State {
            queue: VecDeque::new(),
            memory: 0,
            memory_max,
            file: None,
            file_max,
            temp_path: Rc::clone(temp_path),
            idle: true,
            end: End::Open,
        };
        Self { state: RefCell::new(state), changes: Cell::new(0) }
    }

    /// How often something changed.
    pub(super) fn changes(&self) -> u64 {
        self.changes.get()
    }

    fn changed(&self) {
        self.changes.set(self.changes.get() + 1);
    }

    /// Whether everything was sent.
    pub(super) fn is_idle(&self) -> bool {
        let state = self.state.borrow();
        state.idle && state.queue.is_empty()
    }

    /// Whether more may be received: there is room in memory or file.
    pub(super) fn has_room(&self) -> bool {
        let state = self.state.borrow();
        let file_has_room = state.file.as_ref().map_or(0, Spill::len) < state.file_max;
        let spilled = matches!(state.queue.back(), Some(Chunk::File(_)));
        file_has_room || (!spilled && state.memory < state.memory_max)
    }

    /// Adds bytes. `true`: a temporary file was begun.
    pub(super) async fn push(&self, bytes: Bytes) -> Result<bool, Fault> {
        if bytes.is_empty() {
            return Ok(false);
        }
        let spill = {
            let mut state = self.state.borrow_mut();
            // what follows bytes in the file goes to the file as well, until all of it was sent
            let spilled = matches!(state.queue.back(), Some(Chunk::File(_)));
            let full = state.memory + bytes.len() > state.memory_max && state.memory > 0;
            if !(spilled || full) || state.file_max == 0 {
                state.memory += bytes.len();
                state.queue.push_back(Chunk::Memory(bytes));
                drop(state);
                self.changed();
                return Ok(false);
            }
            state.file.take()
        };
        self.spill(spill, bytes).await
    }

    async fn spill(&self, spill: Option<Spill>, bytes: Bytes) -> Result<bool, Fault> {
        let begun = spill.is_none();
        let mut spill = match spill {
            Some(spill) => spill,
            None => {
                let path = Rc::clone(&self.state.borrow().temp_path);
                Spill::create(&path).await?
            }
        };
        if self.is_idle() {
            spill.rewind();
        }
        let (offset, len) = (spill.len(), bytes.len() as u64);
        spill.write(bytes).await?;
        let mut state = self.state.borrow_mut();
        let file = Rc::clone(spill.file());
        match state.queue.back_mut() {
            Some(Chunk::File(last)) if last.offset + last.len == offset => last.len += len,
            _ => state.queue.push_back(Chunk::File(FilePart { file, offset, len })),
        }
        state.file = Some(spill);
        drop(state);
        self.changed();
        Ok(begun)
    }

    /// No more comes; with `complete` the response ends here, else it is cut.
    pub(super) fn close(&self, complete: bool) {
        let mut state = self.state.borrow_mut();
        if state.end == End::Open {
            state.end = if complete { End::Complete } else { End::Cut };
            drop(state);
            self.changed();
        }
    }

    /// Waits for something to send; `None` at the end of a response that is cut, and after the last piece.
    pub(super) async fn next(&self) -> Option<Chain> {
        poll_fn(|_| {
            let mut state = self.state.borrow_mut();
            let mut chain = Chain::default();
            while let Some(chunk) = state.queue.pop_front() {
                let in_file = matches!(chunk, Chunk::File(_));
                if let Chunk::Memory(bytes) = &chunk {
                    state.memory -= bytes.len();
                }
                chain.chunks.push(chunk);
                if in_file {
                    break;
                }
            }
            let drained = state.queue.is_empty();
            match state.end {
                End::Complete if drained => chain.last = true,
                End::Cut if drained && chain.is_empty() => return Poll::Ready(None),
                _ if chain.is_empty() => {
                    let was_idle = std::mem::replace(&mut state.idle, true);
                    drop(state);
                    if !was_idle {
                        self.changed();
                    }
                    return Poll::Pending;
                }
                _ => {}
            }
            state.idle = false;
            drop(state);
            self.changed();
            Poll::Ready(Some(chain))
        })
        .await
    }

    /// Waits until `ready` holds; looked at again after each change.
    pub(super) async fn until(&self, ready: impl Fn(&Self) -> bool) {
        poll_fn(|_| if ready(self) { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}
