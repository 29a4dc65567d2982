//! The master: starts workers, replaces dead ones, and carries out what signals ask for.
//!
//! ```text
//!            first configuration            HUP, a good configuration
//!   start ──► starting ──(all ready)──► serving ──► starting beside ──(all ready)──► serving the new one
//!                │ a worker fails         ▲  │            │ a worker fails, time is up   (old workers quit)
//!                ▼                        │  │            ▼
//!              end (1)                    └──┼────── the new workers end
//!                                            └─(QUIT, TERM)──► ending ──(all workers gone)──► end (0)
//! ```
//!
//! One thread waits for signals, for words of workers, and for the next deadline; it never touches a request.

use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use worker::boot::Command;
use worker::log::Level;

use crate::birth::FATAL;
use crate::daemon::Caller;
use crate::engine;
use crate::fleet::{Fleet, Phase, Worker};
use crate::generation::{Generation, Setting};
use crate::plane::ControlPlane;
use crate::signal::{Order, Received, Signals};
use crate::{files, journal, orphans, pid, upgrade};

/// How long workers of a new configuration may take until they accept connections. The old ones serve meanwhile.
const READY_WAIT: Duration = Duration::from_secs(60);

/// The first pause between two TERMs to workers; each is twice the one before.
const TERM_PAUSE: Duration = Duration::from_millis(50);

/// After a longer pause workers are killed.
const TERM_PAUSE_MAX: Duration = Duration::from_secs(1);

/// The master process.
pub struct Master {
    setting: Setting,
    signals: Signals,
    fleet: Fleet,
    /// The configuration that is served; `None` until the first one is.
    current: Option<Generation>,
    /// The configuration whose workers are being started.
    pending: Option<Pending>,
    ending: Option<Ending>,
    /// HUP came while a configuration was pending.
    reload_again: bool,
    /// The new binary, while it runs beside this one.
    new_binary: Option<Pid>,
    /// Workers were told to leave by WINCH.
    resting: bool,
    /// The process whose sockets this one was started with.
    predecessor: Option<Pid>,
    /// In the background, or started by a predecessor: WINCH does not come from a terminal.
    detached: bool,
    /// Workers of a dead master, to be sent home when ours serve.
    orphans: Vec<Pid>,
    caller: Caller,
}

/// A configuration on trial.
struct Pending {
    generation: Generation,
    deadline: Instant,
}

/// How the master ends.
struct Ending {
    code: u8,
    /// TERM is being sent to workers: the last pause, and when to send the next.
    term: Option<(Duration, Instant)>,
}

/// How the master was started.
pub struct Start {
    /// The process whose sockets it has.
    pub predecessor: Option<Pid>,
    /// Whether it is in the background.
    pub detached: bool,
    /// Workers of a dead master whose sockets it has.
    pub orphans: Vec<Pid>,
    /// Who waits for it to serve.
    pub caller: Caller,
}

/// Runs the master from its first configuration to its end.
pub fn run(setting: Setting, mut first: Generation, signals: Signals, start: Start) -> ExitCode {
    let mut master = Master {
        setting,
        signals,
        fleet: Fleet::default(),
        current: None,
        pending: None,
        ending: None,
        reload_again: false,
        new_binary: None,
        resting: false,
        predecessor: start.predecessor,
        detached: start.detached,
        orphans: start.orphans,
        caller: start.caller,
    };
    match ControlPlane::next(&first.plan, None) {
        Ok(plane) => first.plane = plane,
        Err(()) => return ExitCode::FAILURE,
    }
    master.try_out(first);
    while !master.is_over() {
        master.turn();
    }
    master.end()
}

impl Master {
    /// Waits for something to happen and deals with it.
    fn turn(&mut self) {
        self.wait();
        while let Some(received) = self.signals.next() {
            self.receive(received);
        }
        self.reap();
        self.fleet.listen();
        self.planes().for_each(|plane| plane.report());
        self.judge_pending();
        let now = Instant::now();
        if let Some(current) = self.current.as_ref().filter(|_| self.ending.is_none()) {
            self.fleet.fill_vacancies(current, &self.setting, now);
        }
        self.press_on(now);
    }

    fn wait(&self) {
        let deadlines = [
            self.fleet.next_due().filter(|_| self.ending.is_none()),
            self.pending.as_ref().map(|pending| pending.deadline),
            self.ending.as_ref().and_then(|ending| ending.term).map(|(_, next)| next),
        ];
        let timeout = match deadlines.into_iter().flatten().min() {
            None => PollTimeout::NONE,
            Some(deadline) => {
                // rounded up: waking a little early would only mean to wait again
                let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
            }
        };
        let mut fds = vec![PollFd::new(self.signals.fd(), PollFlags::POLLIN)];
        fds.extend(self.fleet.controls().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        fds.extend(self.planes().map(|plane| PollFd::new(plane.fd(), PollFlags::POLLIN)));
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => journal::alert(format_args!("poll() failed ({})", describe(errno))),
        }
    }

    /// The control planes of the configurations there are.
    fn planes(&self) -> impl Iterator<Item = &ControlPlane> {
        let pending = self.pending.as_ref().map(|pending| &pending.generation);
        pending.into_iter().chain(&self.current).filter_map(|generation| generation.plane.as_deref())
    }

    /// Carries out a signal.
    fn receive(&mut self, received: Received) {
        let order = received.order;
        let twice = order == Order::ChangeBinary && self.is_changing_binary();
        let action = match order {
            Order::ChangeBinary if twice => ", ignoring",
            Order::NoAccept if !self.detached => "",
            order => order.action(),
        };
        let (number, name, from) = (received.signal as i32, received.signal.as_str(), received.from);
        journal::notice(format_args!("signal {number} ({name}) received from {from}{action}"));
        match order {
            Order::Stop => self.stop(),
            Order::Quit => self.quit(),
            Order::Reload => self.reload(),
            Order::Reopen => self.reopen(),
            Order::ChangeBinary if twice => journal::write(
                Level::Crit,
                format_args!(
                    "the changing binary signal is ignored: you should shutdown or terminate before either old or \
                     new binary's process"
                ),
            ),
            Order::ChangeBinary => self.change_binary(),
            Order::NoAccept => self.rest(),
            // children are looked for in every turn
            Order::Reap => {}
        }
    }

    // === configurations ===

    fn reload(&mut self) {
        if self.ending.is_some() {
            return;
        }
        if self.new_binary.is_some() {
            // the way back: this binary serves again what it served before
            self.wake();
            return;
        }
        if self.pending.is_some() {
            self.reload_again = true;
            return;
        }
        let Some(current) = &self.current else { return };
        journal::notice(format_args!("reconfiguring"));
        let setting = &self.setting;
        let checked = match engine::load(setting.program, &setting.place, setting.globals.as_deref()) {
            Ok(checked) => checked,
            Err(errors) => {
                errors.iter().for_each(|error| journal::emerg(format_args!("{error}")));
                return;
            }
        };
        for warning in &checked.loaded.warnings {
            journal::write(Level::Warn, format_args!("{warning}"));
        }
        let (sockets, zones, before) = (&current.sockets, &current.zones, &current.plan.zones);
        let number = current.number + 1;
        let Ok(mut next) = Generation::open(number, checked.plan, sockets, zones, before) else { return };
        if let Ok(plane) = ControlPlane::next(&next.plan, current.plane.as_ref()) {
            next.plane = plane;
            self.try_out(next);
        }
    }

    /// Starts the workers of `generation`; it is served once all of them accept connections.
    fn try_out(&mut self, generation: Generation) {
        let started = self.fleet.start_all(&generation, &self.setting);
        self.pending = Some(Pending { generation, deadline: Instant::now() + READY_WAIT });
        if let Err(error) = started {
            let error = conf::error::errno(&error);
            self.give_up(&format!("could not start worker processes ({error})"));
        }
    }

    fn judge_pending(&mut self) {
        let Some(pending) = &self.pending else { return };
        let number = pending.generation.number;
        if let Some(reason) = self.fleet.failure(number).map(str::to_owned) {
            self.give_up(&reason);
        } else if self.fleet.is_ready(number) {
            self.accept_pending();
        } else if Instant::now() >= pending.deadline {
            self.give_up(&format!("worker processes were not ready after {}s", READY_WAIT.as_secs()));
        }
    }

    /// The workers of the pending configuration serve: the others may go.
    fn accept_pending(&mut self) {
        let Some(Pending { generation, .. }) = self.pending.take() else { return };
        let number = generation.number;
        if let Err(reason) = self.claim_pid_file(&generation.plan.pid) {
            self.discard(number, generation, &reason);
            return;
        }
        journal::use_log(generation.plan.error_log());
        for driver in self.fleet.drivers(number) {
            journal::notice(format_args!("using the \"{driver}\" event method"));
        }
        self.fleet.forget_vacancies();
        if self.current.is_some() {
            generation.sockets.configure();
        } else {
            self.caller.release(self.setting.stderr.as_ref());
            journal::stop_printing();
            orphans::dismiss(&self.orphans);
        }
        // what only the old configuration has is closed here
        self.current = Some(generation);
        self.fleet
            .command(&Command::Quit, |worker| worker.generation != number && worker.phase != Phase::Leaving);
        if std::mem::take(&mut self.reload_again) {
            self.reload();
        }
    }

    /// Writes the pid file when its name is new.
    fn claim_pid_file(&self, path: &Path) -> Result<(), String> {
        let before = self.current.as_ref().map(|current| &*current.plan.pid);
        if before == Some(path) {
            return Ok(());
        }
        pid::write(path)?;
        if let Some(before) = before
            && let Err(reason) = pid::remove(before)
        {
            journal::alert(format_args!("{reason}"));
        }
        Ok(())
    }

    /// The pending configuration cannot be served.
    fn give_up(&mut self, reason: &str) {
        let Some(Pending { generation, .. }) = self.pending.take() else { return };
        self.discard(generation.number, generation, reason);
    }

    fn discard(&mut self, number: u64, generation: Generation, reason: &str) {
        journal::emerg(format_args!("{reason}"));
        self.fleet.command(&Command::Terminate, |worker| worker.generation == number);
        self.fleet.signal(Signal::SIGTERM, |worker| worker.generation == number);
        match &self.current {
            Some(current) => {
                let others = current.number;
                journal::emerg(format_args!(
                    "the new configuration is not used, worker processes of generation {others} go on"
                ));
                if std::mem::take(&mut self.reload_again) {
                    self.reload();
                }
            }
            None => self.begin_to_end(1, true),
        }
        drop(generation);
        // it may have been paused for the one that is not used
        if let Some(plane) = self.current.as_ref().and_then(|current| current.plane.as_ref()) {
            plane.resume();
        }
    }

    // === the end ===

    fn stop(&mut self) {
        self.begin_to_end(0, true);
    }

    fn quit(&mut self) {
        if self.current.is_none() {
            return self.stop();
        }
        self.begin_to_end(0, false);
    }

    /// Tells the workers to end, at once (`term`) or when they are done.
    fn begin_to_end(&mut self, code: u8, term: bool) {
        if let Some(Pending { generation, .. }) = self.pending.take() {
            self.fleet.command(&Command::Terminate, |worker| worker.generation == generation.number);
        }
        let ending = self.ending.get_or_insert(Ending { code, term: None });
        let command = match term {
            true if ending.term.is_none() => {
                ending.term = Some((TERM_PAUSE, Instant::now() + TERM_PAUSE));
                Command::Terminate
            }
            true => return,
            false => Command::Quit,
        };
        self.fleet
            .command(&command, |worker| command == Command::Terminate || worker.phase != Phase::Leaving);
        if !term {
            self.close_sockets();
        }
    }

    /// Repeats TERM, and kills in the end.
    fn press_on(&mut self, now: Instant) {
        let Some((pause, next)) = self.ending.as_mut().and_then(|ending| ending.term.as_mut()) else {
            return;
        };
        if now < *next {
            return;
        }
        *pause *= 2;
        *next = now + *pause;
        let signal = if *pause > TERM_PAUSE_MAX { Signal::SIGKILL } else { Signal::SIGTERM };
        self.fleet.signal(signal, |_| true);
    }

    fn is_over(&self) -> bool {
        self.ending.is_some() && self.fleet.is_empty()
    }

    fn end(mut self) -> ExitCode {
        if let Some(current) = &self.current {
            let path = match self.new_binary {
                Some(_) => pid::old(&current.plan.pid),
                None => current.plan.pid.clone(),
            };
            if let Err(reason) = pid::remove(&path) {
                journal::alert(format_args!("{reason}"));
            }
            journal::notice(format_args!("exit"));
        }
        self.close_sockets();
        ExitCode::from(self.ending.map_or(0, |ending| ending.code))
    }

    /// Closes the listening sockets; files of unix sockets are removed unless another binary serves them.
    fn close_sockets(&mut self) {
        let Some(current) = &mut self.current else { return };
        if let Some(plane) = &current.plane {
            plane.pause();
        }
        let shared = self.new_binary.is_some() || self.predecessor.is_some_and(|pid| Pid::parent() == pid);
        current.sockets.keep_files(shared);
        current.sockets = Default::default();
    }

    // === the other binary ===

    fn is_changing_binary(&self) -> bool {
        self.new_binary.is_some() || self.predecessor.is_some_and(|pid| Pid::parent() == pid)
    }

    fn change_binary(&mut self) {
        let Some(current) = self.current.as_ref().filter(|_| self.ending.is_none()) else { return };
        journal::notice(format_args!("changing binary"));
        let (path, old) = (&current.plan.pid, pid::old(&current.plan.pid));
        let argv0 = self.setting.argv[0].display();
        if let Err(error) = std::fs::rename(path, &old) {
            let (path, old, error) = (path.display(), old.display(), conf::error::errno(&error));
            journal::alert(format_args!(
                "rename() {path} to {old} failed before executing new binary process \"{argv0}\" ({error})"
            ));
            return;
        }
        current.sockets.open_guards(true);
        if let Some(plane) = &current.plane {
            plane.pause();
        }
        let own = &self.setting.environment;
        let path_list = own.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_os_str());
        let env = &current.plan.main().env;
        match upgrade::start(&self.setting.argv, env, own.iter().cloned(), path_list, current.sockets.fds()) {
            Ok(pid) => {
                journal::notice(format_args!("start new binary process {pid}"));
                self.new_binary = Some(pid);
            }
            Err(errno) => {
                let error = describe(errno);
                journal::alert(format_args!(
                    "execve() failed while executing new binary process \"{argv0}\" ({error})"
                ));
                self.come_back();
            }
        }
    }

    /// There is no new binary any more: this one is the server again.
    fn come_back(&mut self) {
        self.new_binary = None;
        let Some(current) = &self.current else { return };
        current.sockets.open_guards(false);
        if let Some(plane) = &current.plane {
            plane.resume();
        }
        let (path, old) = (&current.plan.pid, pid::old(&current.plan.pid));
        if let Err(error) = std::fs::rename(&old, path) {
            let (path, old, error) = (path.display(), old.display(), conf::error::errno(&error));
            let argv0 = self.setting.argv[0].display();
            journal::alert(format_args!(
                "rename() {old} back to {path} failed after the new binary process \"{argv0}\" exited ({error})"
            ));
        }
        if self.resting && self.ending.is_none() {
            self.wake();
        }
    }

    /// Workers leave, the master stays: the new binary serves alone.
    fn rest(&mut self) {
        if self.detached && self.current.is_some() && self.ending.is_none() {
            self.resting = true;
            self.fleet.forget_vacancies();
            self.fleet.command(&Command::Quit, |worker| worker.phase != Phase::Leaving);
        }
    }

    /// Starts the workers again.
    fn wake(&mut self) {
        self.resting = false;
        if let Some(current) = &self.current {
            self.fleet.start_missing(current, &self.setting);
        }
    }

    // === children and logs ===

    fn reopen(&mut self) {
        let Some(current) = &self.current else { return };
        journal::notice(format_args!("reopening logs"));
        files::reopen(&current.plan);
        if self.setting.stderr.is_some() {
            self.setting.stderr = files::stderr(&self.setting.place);
            if let Some(log) = &self.setting.stderr {
                // a daemon whose standard error stays on the rotated file still serves
                let _ = nix::unistd::dup2_stderr(log.as_fd());
            }
        }
        self.fleet.command(&Command::Reopen, |_| true);
    }

    /// Learns who has ended.
    fn reap(&mut self) {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => self.ended(pid, Some(code)),
                Ok(WaitStatus::Signaled(pid, ..)) if self.new_binary == Some(pid) => self.ended(pid, None),
                Ok(WaitStatus::Signaled(pid, signal, core)) => {
                    let (number, core) = (signal as i32, if core { " (core dumped)" } else { "" });
                    journal::alert(format_args!("worker process {pid} exited on signal {number}{core}"));
                    self.ended(pid, None);
                }
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return,
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => {
                    journal::alert(format_args!("waitpid() failed ({})", describe(errno)));
                    return;
                }
            }
        }
    }

    fn ended(&mut self, pid: Pid, code: Option<i32>) {
        if self.new_binary == Some(pid) {
            match code {
                Some(code) => {
                    journal::notice(format_args!("new binary process {pid} exited with code {code}"))
                }
                None => journal::alert(format_args!("new binary process {pid} exited on a signal")),
            }
            self.come_back();
            return;
        }
        if let Some(code) = code {
            journal::notice(format_args!("worker process {pid} exited with code {code}"));
        }
        let Some(dead) = self.fleet.remove(pid) else { return };
        let fatal = code == Some(FATAL.into());
        if dead.phase == Phase::Leaving || self.ending.is_some() {
            return;
        }
        if self.pending.as_ref().is_some_and(|pending| pending.generation.number == dead.generation) {
            self.give_up(&obituary(&dead, code));
        } else if self.current.as_ref().is_some_and(|current| current.number == dead.generation) {
            if let Phase::Failed(reason) = &dead.phase {
                journal::emerg(format_args!("{reason}"));
            }
            if fatal {
                journal::alert(format_args!("worker process {pid} exited with fatal code {FATAL}"));
            }
            self.fleet.replace(&dead, fatal, Instant::now());
        }
    }
}

/// Why a configuration whose worker died is given up.
fn obituary(dead: &Worker, code: Option<i32>) -> String {
    let pid = dead.pid;
    match (&dead.phase, code) {
        (Phase::Failed(reason), _) => reason.clone(),
        (_, Some(code)) => format!("worker process {pid} exited with code {code} before it was ready"),
        (_, None) => format!("worker process {pid} was killed before it was ready"),
    }
}

fn describe(errno: Errno) -> String {
    conf::error::errno(&errno.into())
}
