//! The workers: who is there, what they said, and what they are told.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use worker::boot::{Command, Event};
use worker::log::Level;

use crate::generation::{Generation, Setting};
use crate::journal;
use crate::respawn::Backoff;

/// One worker process.
pub struct Worker {
    /// Its process.
    pub pid: Pid,
    /// Its place among the workers of its generation.
    pub slot: u32,
    /// The configuration it serves.
    pub generation: u64,
    /// How far it is.
    pub phase: Phase,
    /// When it was started.
    pub started: Instant,
    control: OwnedFd,
    /// It has closed its end.
    silent: bool,
}

/// The life of a worker as the master sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Started, not heard of yet.
    Starting,
    /// It accepts connections, and waits with this for them.
    Ready(String),
    /// It said why it cannot begin.
    Failed(String),
    /// It was told to end.
    Leaving,
}

/// A slot whose worker died and whose next one is due.
struct Vacancy {
    slot: u32,
    due: Instant,
}

/// All workers of all generations, and the empty places of the current one.
#[derive(Default)]
pub struct Fleet {
    workers: Vec<Worker>,
    vacancies: Vec<Vacancy>,
    backoffs: Vec<Backoff>,
}

/// Pause before another attempt to start a process that the system refused.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

impl Fleet {
    /// Starts a worker for every slot of `generation`. The first that cannot be started ends it.
    pub fn start_all(&mut self, generation: &Generation, setting: &Setting) -> io::Result<()> {
        journal::notice(format_args!("start worker processes"));
        (0..generation.plan.workers).try_for_each(|slot| self.start(generation, setting, slot))
    }

    /// Starts workers for slots of the current `generation` that have none, or one that is leaving.
    pub fn start_missing(&mut self, generation: &Generation, setting: &Setting) {
        let now = Instant::now();
        let staffed = |fleet: &Self, slot| {
            let mine = |worker: &Worker| worker.slot == slot && worker.generation == generation.number;
            fleet.workers.iter().any(|worker| mine(worker) && worker.phase != Phase::Leaving)
        };
        self.vacancies = (0..generation.plan.workers)
            .filter(|slot| !staffed(self, *slot))
            .map(|slot| Vacancy { slot, due: now })
            .collect();
        self.fill_vacancies(generation, setting, now);
    }

    fn start(&mut self, generation: &Generation, setting: &Setting, slot: u32) -> io::Result<()> {
        let (pid, control) = generation.start(setting, slot)?;
        journal::notice(format_args!("start worker process {pid}"));
        self.workers.push(Worker {
            pid,
            slot,
            generation: generation.number,
            phase: Phase::Starting,
            started: Instant::now(),
            control,
            silent: false,
        });
        Ok(())
    }

    /// Plans the successor of `dead`, a worker of the current generation.
    pub fn replace(&mut self, dead: &Worker, could_not_begin: bool, now: Instant) {
        let slot = dead.slot as usize;
        if self.backoffs.len() <= slot {
            self.backoffs.resize_with(slot + 1, Backoff::default);
        }
        let backoff = &mut self.backoffs[slot];
        let wait = if could_not_begin { backoff.failed() } else { backoff.died(dead.started, now) };
        if !wait.is_zero() {
            let ms = wait.as_millis();
            journal::write(
                Level::Warn,
                format_args!("the next worker process in slot {slot} starts in {ms}ms"),
            );
        }
        self.vacancies.push(Vacancy { slot: dead.slot, due: now + wait });
    }

    /// Starts the workers that are due.
    pub fn fill_vacancies(&mut self, generation: &Generation, setting: &Setting, now: Instant) {
        let (due, later) =
            std::mem::take(&mut self.vacancies).into_iter().partition(|vacancy| vacancy.due <= now);
        self.vacancies = later;
        let due: Vec<Vacancy> = due;
        for Vacancy { slot, .. } in due {
            if let Err(error) = self.start(generation, setting, slot) {
                let error = conf::error::errno(&error);
                journal::alert(format_args!("could not respawn worker process ({error})"));
                self.vacancies.push(Vacancy { slot, due: now + REFUSED_PAUSE });
            }
        }
    }

    /// When the next worker is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.vacancies.iter().map(|vacancy| vacancy.due).min()
    }

    /// Starts no more workers in empty slots, and forgets their crashes.
    pub fn forget_vacancies(&mut self) {
        self.vacancies.clear();
        self.backoffs.clear();
    }

    /// Removes the worker `pid`, with what it said last.
    pub fn remove(&mut self, pid: Pid) -> Option<Worker> {
        let at = self.workers.iter().position(|worker| worker.pid == pid)?;
        self.workers[at].listen();
        Some(self.workers.swap_remove(at))
    }

    /// Whether there is no worker left.
    pub fn is_empty(&self) -> bool {
        self.workers.is_empty()
    }

    /// Whether every worker of `generation` accepts connections.
    pub fn is_ready(&self, generation: u64) -> bool {
        self.workers
            .iter()
            .filter(|worker| worker.generation == generation)
            .all(|worker| matches!(worker.phase, Phase::Ready(_)))
    }

    /// What the workers of `generation` wait for I/O with: one thing, unless the system treats them differently.
    pub fn drivers(&self, generation: u64) -> BTreeSet<&str> {
        let ready = self.workers.iter().filter(|worker| worker.generation == generation);
        let drivers = ready.filter_map(|worker| match &worker.phase {
            Phase::Ready(driver) => Some(driver.as_str()),
            _ => None,
        });
        drivers.collect()
    }

    /// Why a worker of `generation` cannot begin, if one said so.
    pub fn failure(&self, generation: u64) -> Option<&str> {
        self.workers.iter().find_map(|worker| match &worker.phase {
            Phase::Failed(reason) if worker.generation == generation => Some(reason.as_str()),
            _ => None,
        })
    }

    /// Reads what the workers have said.
    pub fn listen(&mut self) {
        self.workers.iter_mut().for_each(Worker::listen);
    }

    /// The control sockets, for polling.
    pub fn controls(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.workers.iter().filter(|worker| worker.speaks()).map(|worker| worker.control.as_fd())
    }

    /// Gives `command` to the workers `which` selects.
    pub fn command(&mut self, command: &Command, which: impl Fn(&Worker) -> bool) {
        for worker in self.workers.iter_mut().filter(|worker| which(worker)) {
            worker.command(command);
        }
    }

    /// Sends `signal` to the workers `which` selects.
    pub fn signal(&self, signal: Signal, which: impl Fn(&Worker) -> bool) {
        for worker in self.workers.iter().filter(|worker| which(worker)) {
            worker.signal(signal);
        }
    }
}

impl Worker {
    /// Whether it may have something to say yet.
    fn speaks(&self) -> bool {
        self.phase == Phase::Starting && !self.silent
    }

    fn listen(&mut self) {
        while self.speaks() {
            let bytes = match net::handoff::recv(&self.control) {
                Ok((bytes, _)) => bytes,
                Err(error) => {
                    self.silent = error.kind() != io::ErrorKind::WouldBlock;
                    return;
                }
            };
            match postcard::from_bytes(&bytes) {
                Ok(Event::Ready { driver }) => self.phase = Phase::Ready(driver),
                Ok(Event::Failed { reason }) => self.phase = Phase::Failed(reason),
                Err(error) => {
                    let pid = self.pid;
                    journal::alert(format_args!("worker process {pid} said something unknown ({error})"));
                }
            }
        }
    }

    fn command(&mut self, command: &Command) {
        let sent = match postcard::to_stdvec(command) {
            Ok(bytes) => net::handoff::send(&self.control, &bytes, &[]),
            Err(error) => Err(io::Error::other(error)),
        };
        if sent.is_err() {
            self.signal(match command {
                Command::Quit => Signal::SIGQUIT,
                Command::Terminate => Signal::SIGTERM,
                Command::Reopen => Signal::SIGUSR1,
            });
        }
        if *command != Command::Reopen {
            self.phase = Phase::Leaving;
        }
    }

    fn signal(&self, signal: Signal) {
        match kill(self.pid, signal) {
            // it has ended, and will be reaped
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => {
                let (pid, number) = (self.pid, signal as i32);
                journal::alert(format_args!(
                    "kill({pid}, {number}) failed ({})",
                    conf::error::errno(&errno.into())
                ));
            }
        }
    }
}
