//! A light thread and what it may wait for.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;

use smallvec::SmallVec;
use worker::log::Level;
use worker::request::Request;

use super::task::Exit;

use crate::ffi::{Coroutine, State};

/// What a waiting function returns to Lua once it is answered.
pub enum Answer {
    /// No value.
    Nothing,
    /// `true`.
    True,
    /// A number.
    Number(f64),
    /// `nil, message`.
    Failure(Cow<'static, str>),
    /// `nil, message, and one more`: what was received before the failure.
    Partial(Cow<'static, str>, Vec<u8>),
    /// A string.
    Bytes(bytes::Bytes),
    /// No return: the handler ends so.
    Exit(Exit),
    /// Another answer, and a line for the error log.
    Logged(Level, String, Box<Answer>),
    /// Whatever the function pushes; it returns how many values.
    Push(Push),
}

/// See [`Answer::Push`].
pub type Push = Box<dyn FnOnce(State<'_>, Option<&mut Request>) -> i32>;

impl Answer {
    /// An answer that `push` makes.
    pub fn push(push: impl FnOnce(State<'_>, Option<&mut Request>) -> i32 + 'static) -> Self {
        Answer::Push(Box::new(push))
    }

    /// `nil, message`.
    pub fn failure(message: impl Into<Cow<'static, str>>) -> Self {
        Answer::Failure(message.into())
    }

    /// Pushes the values and tells how many.
    pub(super) fn deliver(self, to: State<'_>, request: Option<&mut Request>) -> i32 {
        match self {
            Answer::Nothing | Answer::Exit(_) => 0,
            Answer::Logged(_, _, answer) => answer.deliver(to, request),
            Answer::True => {
                to.push_bool(true);
                1
            }
            Answer::Number(number) => {
                to.push_number(number);
                1
            }
            Answer::Failure(text) => {
                to.push_nil();
                to.push_bytes(text.as_bytes());
                2
            }
            Answer::Partial(text, partial) => {
                to.push_nil();
                to.push_bytes(text.as_bytes());
                to.push_bytes(partial);
                3
            }
            Answer::Bytes(bytes) => {
                to.push_bytes(bytes);
                1
            }
            Answer::Push(push) => push(to, request),
        }
    }
}

/// Something to wait for that does not need the request.
pub type Op = Pin<Box<dyn Future<Output = Answer>>>;

/// Something to wait for that has the request to itself meanwhile.
pub type Borrow = Box<dyn for<'r> FnOnce(&'r mut Request) -> Pin<Box<dyn Future<Output = Answer> + 'r>>>;

/// What a thread is doing.
pub(super) enum Doing {
    /// It runs, or stands in the queue of those that can.
    Ready,
    /// It waits.
    Op(Op),
    /// It waits for something that needs the request.
    Borrow(Borrow),
    /// What it waits for is being done right now and cannot be called off.
    Borrowing,
    /// It waits for one of its children.
    Children(SmallVec<[usize; 2]>),
    /// It ended (`true`) or failed, and its results wait on its stack for `ngx.thread.wait`.
    Zombie(bool),
}

/// A light thread.
pub(super) struct Thread {
    /// The thread's own coroutine, then what it resumed.
    pub(super) chain: SmallVec<[State<'static>; 2]>,
    pub(super) own: Coroutine,
    pub(super) doing: Doing,
    /// The coroutine that spawned it; `None`: the entry thread.
    pub(super) parent: Option<State<'static>>,
}

impl Thread {
    pub(super) fn new(own: Coroutine, parent: Option<State<'static>>) -> Self {
        let mut chain = SmallVec::new();
        chain.push(own.lua);
        Self { chain, own, doing: Doing::Ready, parent }
    }

    /// The coroutine that runs or waits.
    pub(super) fn last(&self) -> State<'static> {
        *self.chain.last().expect("a chain begins with its thread")
    }
}

/// Why a thread cannot be killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Killed {
    /// It was.
    Yes,
    /// Only the coroutine that spawned a thread may kill it.
    NotParent,
    /// It ended, and its results wait.
    Terminated,
    /// It is gone.
    Gone,
    /// Something is being done for it that cannot be called off.
    Pending,
}
