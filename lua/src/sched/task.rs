//! One run of Lua code: its threads, and the loop that resumes them.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ptr::NonNull;
use std::rc::Rc;
use std::task::{Context, Poll};

use smallvec::SmallVec;
use worker::log::{self, Level};
use worker::request::Request;

use super::thread::{Answer, Borrow, Doing, Killed, Op, Thread};
use super::traceback;
use crate::ffi::{Coroutine, Ref, Resumed, State, Vm, current, watchdog};
use crate::phase::Phases;
use crate::runtime;

/// Light threads of one task at a time.
const THREADS_MAX: usize = 65_536;
/// Coroutines that may resume each other within one thread.
const CHAIN_MAX: usize = 4_096;

/// What a function that yields asks of the scheduler.
#[derive(Default)]
pub enum Command {
    /// `coroutine.yield`.
    #[default]
    Yield,
    /// `coroutine.resume`: the first yielded value is the coroutine, the others are what it gets.
    Resume(State<'static>),
    /// `ngx.thread.spawn`: the new thread, with its function and arguments on its stack.
    Spawn(Coroutine),
    /// Wait for something.
    Wait(Op),
    /// Wait for something that needs the request.
    Borrow(Borrow),
    /// `ngx.thread.wait`.
    Children(SmallVec<[usize; 2]>),
    /// End the task, as [`Task::exit`] says.
    Exit,
}

/// How Lua code asked to end its handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// `ngx.exit(status)`.
    Status(i32),
    /// `ngx.exec`: a URI and its arguments.
    Uri(Vec<u8>, Vec<u8>),
    /// `ngx.exec("@name")`.
    Named(Vec<u8>),
    /// `ngx.req.set_uri(uri, true)`.
    Rewrite,
    /// `ngx.redirect`, or a status whose answer is already made.
    Redirect(u16),
}

/// How a task ended.
#[derive(Debug)]
pub enum End {
    /// All threads ended.
    Done,
    /// Lua code asked for it.
    Exit(Exit),
    /// The entry thread failed; it was logged.
    Failed,
}

/// How far a task has come.
pub enum Progress {
    /// It ended.
    Ended(End),
    /// All its threads wait.
    Waits,
}

/// One run of Lua code.
pub struct Task {
    vm: Rc<Vm>,
    phase: Phases,
    request: Cell<Option<NonNull<Request>>>,
    command: Cell<Command>,
    exit: RefCell<Option<Exit>>,
    failed: Cell<bool>,
    /// The code met the memory limit.
    starved: Cell<bool>,
    running: Cell<usize>,
    threads: RefCell<SmallVec<[Option<Thread>; 1]>>,
    ready: RefCell<VecDeque<(usize, i32)>>,
    /// The function's error message, where the phase logs it in its own words.
    message: RefCell<Option<Vec<u8>>>,
    /// `ngx.ctx` of a task without a request.
    ctx: RefCell<Option<Ref>>,
    /// What `ngx.on_abort` was given.
    abort: RefCell<Option<Coroutine>>,
    /// `ngx.on_abort` was called.
    aborts: Cell<bool>,
    /// Code of this phase logs its failures itself.
    quiet: bool,
}

impl Task {
    /// A task whose entry thread is `entry`, with the function and `arguments` arguments on its stack.
    pub fn new(phase: Phases, entry: Coroutine, arguments: i32) -> Self {
        let vm = Rc::clone(entry.vm());
        let mut threads = SmallVec::new();
        threads.push(Some(Thread::new(entry, None)));
        let task = Self {
            vm,
            phase,
            request: Cell::new(None),
            command: Cell::default(),
            exit: RefCell::new(None),
            failed: Cell::new(false),
            starved: Cell::new(false),
            running: Cell::new(0),
            threads: RefCell::new(threads),
            ready: RefCell::default(),
            message: RefCell::new(None),
            ctx: RefCell::new(None),
            abort: RefCell::new(None),
            aborts: Cell::new(false),
            quiet: false,
        };
        task.running.set(arguments as usize);
        task
    }

    /// The error of the entry thread is not logged but kept for [`Task::take_message`].
    #[must_use]
    pub fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// The phase.
    pub fn phase(&self) -> Phases {
        self.phase
    }

    /// The VM.
    pub fn vm(&self) -> &Rc<Vm> {
        &self.vm
    }

    /// Where `ngx.ctx` of a task without a request is kept.
    pub(crate) fn ctx(&self) -> &RefCell<Option<Ref>> {
        &self.ctx
    }

    pub(crate) fn request_pointer(&self) -> Option<NonNull<Request>> {
        self.request.get()
    }

    /// Leaves a command for the scheduler; the function that does so yields right after.
    pub(crate) fn command(&self, command: Command) {
        self.command.set(command);
    }

    /// Takes the command of a coroutine that was resumed in place; whether it was a plain `coroutine.yield`.
    pub(crate) fn took_plain_yield(&self) -> bool {
        matches!(self.command.take(), Command::Yield)
    }

    /// Decides how the task ends. Takes effect when the function yields [`Command::Exit`], or when the task ends.
    pub(crate) fn set_exit(&self, exit: Exit) {
        *self.exit.borrow_mut() = Some(exit);
    }

    /// The message of the failed entry thread of a quiet task.
    pub(crate) fn take_message(&self) -> Vec<u8> {
        self.message.take().unwrap_or_else(|| b"unknown reason".to_vec())
    }

    /// Starts the entry thread and runs all that can run.
    pub fn start(&self, request: Option<&mut Request>) -> Progress {
        let arguments = self.running.replace(0) as i32;
        self.with_request(request, || {
            self.run_thread(0, arguments);
            self.run_ready()
        })
    }

    /// Runs all that can run now.
    pub(super) fn run(&self, request: Option<&mut Request>) -> Progress {
        self.with_request(request, || self.run_ready())
    }

    fn with_request<R>(&self, request: Option<&mut Request>, f: impl FnOnce() -> R) -> R {
        self.request.set(request.map(NonNull::from));
        let result = current::within(self, f);
        self.request.set(None);
        result
    }

    fn run_ready(&self) -> Progress {
        loop {
            if let Some(end) = self.ended() {
                return Progress::Ended(end);
            }
            let next = self.ready.borrow_mut().pop_front();
            match next {
                Some((index, values)) => self.run_thread(index, values),
                None => return Progress::Waits,
            }
        }
    }

    fn ended(&self) -> Option<End> {
        if self.failed.get() {
            return Some(End::Failed);
        }
        if self.exit.borrow().is_some() {
            return self.exit.take().map(End::Exit);
        }
        let threads = self.threads.borrow();
        let lives = |thread: &Thread| !matches!(thread.doing, Doing::Zombie(_));
        (!threads.iter().flatten().any(lives)).then_some(End::Done)
    }

    fn last(&self, index: usize) -> Option<State<'static>> {
        self.threads.borrow().get(index)?.as_ref().map(Thread::last)
    }

    /// Resumes thread `index` with the top `values` values of its last coroutine, and follows the switches.
    fn run_thread(&self, mut index: usize, mut values: i32) {
        loop {
            let Some(co) = self.last(index) else { return };
            self.running.set(index);
            watchdog::resumed(co);
            let resumed = co.resume(values);
            watchdog::stopped();
            let next = match resumed {
                Resumed::Yielded => self.yielded(index, co),
                Resumed::Ended => self.co_ended(index, co),
                Resumed::Failed => self.co_failed(index, co),
                Resumed::NoMemory => {
                    self.starved.set(true);
                    self.co_failed(index, co)
                }
            };
            match next {
                Some(next) => (index, values) = next,
                None => return,
            }
        }
    }

    /// Carries out the command of a coroutine that yielded; says what to resume next.
    fn yielded(&self, index: usize, co: State<'static>) -> Option<(usize, i32)> {
        match self.command.take() {
            Command::Exit => None,
            Command::Wait(op) => self.park(index, Doing::Op(op)),
            Command::Borrow(borrow) => self.park(index, Doing::Borrow(borrow)),
            Command::Children(children) => self.park(index, Doing::Children(children)),
            Command::Resume(target) => {
                let count = (co.top() - 1).max(0);
                co.move_to(target, count);
                self.with_thread(index, |thread| thread.chain.push(target));
                Some((index, count))
            }
            Command::Spawn(coroutine) => Some(self.spawn(index, co, coroutine)),
            Command::Yield => match self.pop_chain(index) {
                Some(parent) => Some((index, hand_over(co, parent, true))),
                None => {
                    // a light thread: it goes on after the others, and what it yielded nobody gets
                    co.set_top(0);
                    self.ready.borrow_mut().push_back((index, 0));
                    None
                }
            },
        }
    }

    fn park<T>(&self, index: usize, doing: Doing) -> Option<T> {
        self.with_thread(index, |thread| thread.doing = doing);
        None
    }

    fn with_thread<R>(&self, index: usize, f: impl FnOnce(&mut Thread) -> R) -> Option<R> {
        self.threads.borrow_mut().get_mut(index)?.as_mut().map(f)
    }

    /// Removes the last coroutine of a chain and returns the one below; `None`: it is the thread itself.
    fn pop_chain(&self, index: usize) -> Option<State<'static>> {
        self.with_thread(index, |thread| {
            if thread.chain.len() < 2 {
                return None;
            }
            thread.chain.pop();
            Some(thread.last())
        })
        .flatten()
    }

    fn spawn(&self, index: usize, co: State<'static>, coroutine: Coroutine) -> (usize, i32) {
        let child_values = coroutine.lua.top() - 1;
        // the parent gets the thread when its turn comes
        co.set_top(0);
        coroutine.push(co);
        self.ready.borrow_mut().push_back((index, 1));
        (self.add(coroutine, co), child_values)
    }

    fn add(&self, coroutine: Coroutine, parent: State<'static>) -> usize {
        self.add_thread(Thread::new(coroutine, Some(parent)))
    }

    fn add_thread(&self, thread: Thread) -> usize {
        let thread = Some(thread);
        let mut threads = self.threads.borrow_mut();
        match threads.iter().position(Option::is_none) {
            // place 0 is the entry thread's for good
            Some(free) if free > 0 => {
                threads[free] = thread;
                free
            }
            _ => {
                threads.push(thread);
                threads.len() - 1
            }
        }
    }

    /// Whether one more thread may be spawned.
    pub(crate) fn may_spawn(&self) -> bool {
        self.threads.borrow().len() < THREADS_MAX
    }

    /// A coroutine ended; its results stand on its stack.
    fn co_ended(&self, index: usize, co: State<'static>) -> Option<(usize, i32)> {
        if let Some(parent) = self.pop_chain(index) {
            return Some((index, hand_over(co, parent, true)));
        }
        self.thread_ended(index, true)
    }

    /// A coroutine failed; the error object is on top of its stack.
    fn co_failed(&self, index: usize, co: State<'static>) -> Option<(usize, i32)> {
        if let Some(parent) = self.pop_chain(index) {
            parent.push_bool(false);
            co.move_to(parent, 1);
            return Some((index, 2));
        }
        if index == 0 {
            self.fail(co, "entry");
            return None;
        }
        self.report(co, "user");
        let error = co.top();
        for _ in 1..error {
            co.remove(1);
        }
        self.thread_ended(index, false)
    }

    fn fail(&self, co: State<'static>, kind: &str) {
        if self.quiet {
            *self.message.borrow_mut() =
                Some(co.to_bytes(-1).map_or_else(|| b"unknown reason".to_vec(), <[u8]>::to_vec));
        } else {
            self.report(co, kind);
        }
        self.failed.set(true);
    }

    fn report(&self, co: State<'static>, kind: &str) {
        let message = match co.to_bytes(-1) {
            Some(message) => String::from_utf8_lossy(message),
            None => Cow::Borrowed("unknown reason"),
        };
        let trace = traceback::of(&[co]);
        self.log(Level::Error, format_args!("lua {kind} thread aborted: runtime error: {message}\n{trace}"));
    }

    /// A light thread or the entry thread ended.
    fn thread_ended(&self, index: usize, ok: bool) -> Option<(usize, i32)> {
        if index == 0 {
            self.with_thread(0, |thread| thread.doing = Doing::Zombie(ok));
            return None;
        }
        let parent = self.threads.borrow().get(index)?.as_ref()?.parent;
        let waiting = parent.and_then(|parent| self.waiting_parent(parent, index));
        if let (Some(waiting), Some(parent)) = (waiting, parent) {
            let child = self.threads.borrow_mut()[index].take()?;
            let count = hand_over(child.own.lua, parent, ok);
            self.with_thread(waiting, |thread| thread.doing = Doing::Ready);
            return Some((waiting, count));
        }
        if parent.is_some_and(|parent| self.lives(parent)) {
            self.with_thread(index, |thread| thread.doing = Doing::Zombie(ok));
        } else {
            self.threads.borrow_mut()[index] = None;
        }
        None
    }

    /// The thread that waits in coroutine `parent` for child `index`.
    fn waiting_parent(&self, parent: State<'static>, index: usize) -> Option<usize> {
        self.threads.borrow().iter().position(|thread| {
            thread.as_ref().is_some_and(|thread| {
                thread.last() == parent
                    && matches!(&thread.doing, Doing::Children(children) if children.contains(&index))
            })
        })
    }

    /// Whether `co` is the coroutine of some thread that has not ended.
    fn lives(&self, co: State<'static>) -> bool {
        let lives = |thread: &Thread| !matches!(thread.doing, Doing::Zombie(_)) && thread.chain.contains(&co);
        self.threads.borrow().iter().flatten().any(lives)
    }

    /// Whether `co` runs or waits for what it resumed.
    pub(crate) fn is_active(&self, co: State<'_>) -> bool {
        let same = |other: &State<'static>| other.as_ptr() == co.as_ptr();
        self.threads.borrow().iter().flatten().any(|thread| thread.chain.iter().any(same))
    }

    /// Whether `co` is the last of its thread's chain: it runs, or waits for something that is no coroutine.
    pub(crate) fn is_last(&self, co: State<'_>) -> bool {
        let last = |thread: &Thread| {
            !matches!(thread.doing, Doing::Zombie(_)) && thread.last().as_ptr() == co.as_ptr()
        };
        self.threads.borrow().iter().flatten().any(last)
    }

    /// Whether the chain of the running thread may get longer.
    pub(crate) fn may_resume(&self) -> bool {
        let threads = self.threads.borrow();
        let thread = threads.get(self.running.get()).and_then(Option::as_ref);
        thread.is_some_and(|thread| thread.chain.len() < CHAIN_MAX)
    }

    /// The light thread whose own coroutine is `co`: its place, whether the running coroutine spawned it, and whether it
    /// ended and how.
    pub(crate) fn child(&self, co: State<'_>) -> Option<(usize, bool, Option<bool>)> {
        let running = self.last(self.running.get());
        let threads = self.threads.borrow();
        let found = |thread: &Option<Thread>| {
            thread.as_ref().is_some_and(|thread| thread.own.lua.as_ptr() == co.as_ptr())
        };
        let index = threads.iter().position(found)?;
        let thread = threads[index].as_ref()?;
        let ended = if let Doing::Zombie(ok) = thread.doing { Some(ok) } else { None };
        Some((index, thread.parent.is_some() && thread.parent == running, ended))
    }

    /// Moves the results of ended child `index` to `to`, `true` or `false` first; says how many values that are.
    pub(crate) fn reap(&self, index: usize, to: State<'_>) -> i32 {
        let child = self.threads.borrow_mut().get_mut(index).and_then(Option::take);
        let Some(child) = child else { return 0 };
        let ok = matches!(child.doing, Doing::Zombie(true));
        hand_over(child.own.lua, to, ok)
    }

    /// `ngx.thread.kill`.
    pub(crate) fn kill(&self, co: State<'_>) -> Killed {
        let Some((index, mine, ended)) = self.child(co) else { return Killed::Gone };
        if !mine {
            return Killed::NotParent;
        }
        if ended.is_some() {
            self.threads.borrow_mut()[index] = None;
            return Killed::Terminated;
        }
        if self.with_thread(index, |thread| matches!(thread.doing, Doing::Borrowing)) == Some(true) {
            return Killed::Pending;
        }
        self.ready.borrow_mut().retain(|(ready, _)| *ready != index);
        let killed = self.threads.borrow_mut()[index].take();
        drop(killed);
        Killed::Yes
    }

    /// Whether `ngx.on_abort` was called.
    pub(crate) fn has_abort(&self) -> bool {
        self.aborts.get()
    }

    /// Keeps the function of `ngx.on_abort`, on the stack of a coroutine of its own.
    pub(crate) fn set_abort(&self, coroutine: Coroutine) {
        self.aborts.set(true);
        *self.abort.borrow_mut() = Some(coroutine);
    }

    /// Starts the function of `ngx.on_abort` as a light thread; `false`: there is none.
    pub(super) fn start_abort(&self) -> bool {
        let Some(coroutine) = self.abort.take() else { return false };
        let index = self.add_thread(Thread::new(coroutine, None));
        self.ready.borrow_mut().push_back((index, 0));
        true
    }

    /// The next thing to do that needs the request, with its thread.
    pub(super) fn next_borrow(&self) -> Option<(usize, Borrow)> {
        let mut threads = self.threads.borrow_mut();
        let index = threads.iter().position(|thread| {
            thread.as_ref().is_some_and(|thread| matches!(thread.doing, Doing::Borrow(_)))
        })?;
        let thread = threads[index].as_mut()?;
        match std::mem::replace(&mut thread.doing, Doing::Borrowing) {
            Doing::Borrow(borrow) => Some((index, borrow)),
            _ => None,
        }
    }

    /// Polls everything that is waited for; what is answered is delivered.
    pub(super) fn poll(&self, cx: &mut Context<'_>, mut request: Option<&mut Request>) -> Poll<()> {
        let mut any = false;
        let count = self.threads.borrow().len();
        for index in 0..count {
            let taken = self.with_thread(index, |thread| match &thread.doing {
                Doing::Op(_) => Some(std::mem::replace(&mut thread.doing, Doing::Borrowing)),
                _ => None,
            });
            let Some(Some(Doing::Op(mut op))) = taken else { continue };
            match op.as_mut().poll(cx) {
                Poll::Ready(answer) => {
                    any = true;
                    drop(op);
                    self.answer(index, answer, request.as_deref_mut());
                }
                Poll::Pending => {
                    self.with_thread(index, |thread| thread.doing = Doing::Op(op));
                }
            }
        }
        if any { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Gives thread `index` what it waited for; it can run again.
    pub(super) fn answer(&self, index: usize, answer: Answer, request: Option<&mut Request>) {
        let Some(co) = self.last(index) else { return };
        match &answer {
            Answer::Exit(exit) => self.set_exit(exit.clone()),
            Answer::Logged(level, text, _) => match &request {
                Some(request) => request.log(*level, format_args!("{text}")),
                None => self.log(*level, format_args!("{text}")),
            },
            _ => {}
        }
        co.set_top(0);
        let values = answer.deliver(co, request);
        self.with_thread(index, |thread| thread.doing = Doing::Ready);
        self.ready.borrow_mut().push_back((index, values));
    }

    /// Logs on behalf of the task.
    pub fn log(&self, level: Level, message: std::fmt::Arguments<'_>) {
        match self.request.get() {
            // SAFETY is kept in one room: see `Call::request`
            Some(request) => crate::ffi::call::log_request(request, level, message),
            None => {
                let title = self.phase.title();
                log::process(level, format_args!("{message}, context: {title}"));
            }
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        // the entry coroutine of a task that ended well serves the next one
        let entry = self.threads.get_mut().first_mut().and_then(Option::take);
        if let Some(thread) = entry
            && matches!(thread.doing, Doing::Zombie(true))
            && thread.chain.len() == 1
        {
            self.vm.recycle(thread.own);
        }
        if self.starved.get() {
            runtime::starved(&self.vm);
        }
    }
}

/// Moves all values of `from` to `to`, behind `true` or `false`; says how many that makes.
fn hand_over(from: State<'_>, to: State<'_>, ok: bool) -> i32 {
    let count = from.top();
    to.push_bool(ok);
    from.move_to(to, count);
    count + 1
}
