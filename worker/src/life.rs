//! A worker's life: read the configuration, take over sockets and zones, give up privileges, serve, drain, end.
//!
//! ```text
//!   start ──► serve ──(Quit)──► drain ──► end
//!     │         └────(Terminate, drain time over)────► end
//!     └──(cannot begin: says why)──► end
//! ```

use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use net::{Driver, DriverChoice, Either, Listener, RingOptions};

use crate::boot::{Boot, Command, Event};
use crate::build::{Input, Loaded, Paths, load};
use crate::config::Config;
use crate::connection::{self, Listening};
use crate::counters::Counters;
use crate::listener::ListenSpec;
use crate::log::{self, Level};
use crate::module::Module;
use crate::modules::{http, main};
use crate::worker::Worker;

/// How long idle connections stay readable once draining has begun: a request that was on its way is answered.
const IDLE_DRAIN: Duration = Duration::from_millis(500);

/// The addresses a configuration listens on.
pub fn listens(config: &Config) -> conf::Result<Vec<ListenSpec>> {
    Ok(http::listening(config)?.iter().map(|listening| listening.spec.clone()).collect())
}

/// Runs a worker from start to end.
pub fn run(mut boot: Boot, modules: &'static [&'static dyn Module]) -> ExitCode {
    let control = match boot.control.take().map(net::inherit).transpose() {
        Ok(control) => control,
        Err(error) => return give_up(None, format!("control socket: {error}")),
    };
    let loaded = match start(&boot, modules) {
        Ok(loaded) => loaded,
        Err(reason) => return give_up(control, reason),
    };
    let prepared = open_logs(&loaded).and_then(|()| loaded.config.main.get(&main::CONF).drop_privileges());
    match prepared {
        Ok(()) => serve(boot, loaded, control),
        Err(reason) => give_up(control, reason),
    }
}

/// Serves in this very process, without a master (`master_process off`). As with nginx it stays who it is: it could not
/// open its logs again, nor begin again with its sockets, as somebody else.
pub fn run_single(loaded: Loaded, boot: Boot) -> ExitCode {
    match open_logs(&loaded) {
        Ok(()) => serve(boot, loaded, None),
        Err(reason) => give_up(None, reason),
    }
}

/// Logs why this worker cannot begin, and tells the master.
fn give_up(control: Option<OwnedFd>, reason: String) -> ExitCode {
    log::process(Level::Emerg, format_args!("{reason}"));
    if let Some(control) = control
        && let Ok(bytes) = postcard::to_stdvec(&Event::Failed { reason })
    {
        // a master that is gone needs no news
        let _ = net::handoff::send(&control, &bytes, &[]);
    }
    ExitCode::from(2)
}

fn start(boot: &Boot, modules: &'static [&'static dyn Module]) -> Result<Loaded, String> {
    let sources = conf::Sources::from_bytes(&boot.sources).map_err(|error| error.to_string())?;
    let conf_prefix = boot.main_file.parent().unwrap_or(&boot.prefix).to_owned();
    let input = Input {
        main_file: &boot.main_file,
        paths: Paths { prefix: boot.prefix.clone(), conf_prefix, error_log: boot.error_log.clone() },
        globals: boot.globals.as_deref(),
        modules,
    };
    load(&input, &sources).map_err(|errors| errors.to_string())
}

fn serve(boot: Boot, loaded: Loaded, control: Option<OwnedFd>) -> ExitCode {
    let choice = if boot.epoll { DriverChoice::Epoll } else { DriverChoice::Auto };
    net::set_panic_hook(|message| log::process(Level::Alert, format_args!("a task panicked: {message}")));
    let options = RingOptions { driver: choice, ..RingOptions::default() };
    // for words about a driver that cannot start: the loop takes the socket itself
    let spare = control.as_ref().and_then(|control| control.try_clone().ok());
    match net::run(options, |driver| live(boot, loaded, driver, control)) {
        Ok(code) => code,
        Err(error) => give_up(spare, format!("cannot start the I/O driver ({})", conf::error::errno(&error))),
    }
}

/// What must happen while the process still has its master's privileges.
fn open_logs(loaded: &Loaded) -> Result<(), String> {
    loaded.config.logs.open_all()?;
    log::set_process_log(loaded.config.main.get(&http::LOCATION).error_log.clone());
    Ok(())
}

async fn live(boot: Boot, loaded: Loaded, driver: Driver, control: Option<OwnedFd>) -> ExitCode {
    let control = match control.map(net::handoff::Channel::from_fd).transpose() {
        Ok(control) => control,
        Err(error) => return give_up(None, format!("control socket: {error}")),
    };
    let worker = match assemble(&boot, &loaded) {
        Ok(worker) => worker,
        Err(reason) => return fail(control.as_ref(), reason).await,
    };
    if let Err(reason) = follow_gateway(&boot, &worker).await {
        return fail(control.as_ref(), reason).await;
    }
    let listeners = match listen(&boot, &worker) {
        Ok(listeners) => listeners,
        Err(reason) => return fail(control.as_ref(), reason).await,
    };
    if driver == Driver::Epoll && !boot.epoll {
        log::process(Level::Notice, format_args!("io_uring is not available, using epoll"));
    }
    for module in loaded.modules {
        if let Err(reason) = module.prepare(&worker) {
            return fail(control.as_ref(), reason).await;
        }
    }
    for module in loaded.modules {
        module.start(&worker);
    }
    if let Some(control) = &control {
        let event =
            Event::Ready { driver: if driver == Driver::Epoll { "epoll" } else { "io_uring" }.into() };
        tell(control, &event).await;
    }
    let end = commands(&worker, control).await;
    for (listener, listening) in &listeners {
        listener.stop();
        if end == Command::Quit {
            connection::accept_rest(&worker, listener, listening);
        }
    }
    // who connects from now on is refused, or is somebody else's
    drop(listeners);
    if end != Command::Terminate {
        drain(&worker).await;
    }
    for module in loaded.modules {
        module.stop(&worker);
    }
    worker.config.logs.flush_all();
    ExitCode::SUCCESS
}

/// Waits until the worker has what the gateway serves.
async fn follow_gateway(boot: &Boot, worker: &Rc<Worker>) -> Result<(), String> {
    let Some(fd) = boot.gateway else { return Ok(()) };
    let fd = net::inherit(fd).map_err(|error| format!("gateway socket: {error}"))?;
    crate::gateway::follow(worker, fd).await
}

async fn fail(control: Option<&net::handoff::Channel>, reason: String) -> ExitCode {
    log::process(Level::Emerg, format_args!("{reason}"));
    if let Some(control) = control {
        tell(control, &Event::Failed { reason }).await;
    }
    ExitCode::from(2)
}

async fn tell(control: &net::handoff::Channel, event: &Event) {
    if let Ok(bytes) = postcard::to_stdvec(event) {
        // a master that is gone needs no news
        let _ = control.send(&bytes, &[]).await;
    }
}

fn assemble(boot: &Boot, loaded: &Loaded) -> Result<Rc<Worker>, String> {
    let mut counters = None;
    for zone in &boot.zones {
        let fd = net::inherit(zone.fd).map_err(|error| format!("zone \"{}\": {error}", zone.spec.name))?;
        let memory = shm::Zone::attach(fd, &zone.spec.shm()).map_err(|error| error.to_string())?;
        if zone.spec.name == Counters::ZONE {
            counters = Some(Counters::open(&memory).map_err(|error| error.to_string())?);
        } else {
            loaded.table.attach(&zone.spec.name, memory);
        }
    }
    let counters = counters.ok_or("the master gave no memory for counters")?;
    let connections = *loaded.config.main.get(&main::CONF).worker_connections.get();
    Ok(Worker::new(boot, Rc::clone(&loaded.config), connections, counters))
}

/// A listening socket and the address it belongs to.
type Open = (Rc<Listener>, Rc<Listening>);

fn listen(boot: &Boot, worker: &Rc<Worker>) -> Result<Vec<Open>, String> {
    let listening: Vec<Rc<Listening>> = http::listening(&worker.config).map_err(|error| error.to_string())?;
    let mut listeners = Vec::new();
    for inherited in &boot.listeners {
        let found = listening.iter().find(|listening| listening.spec.addr.to_string() == inherited.key);
        let Some(listening) = found else {
            return Err(format!("no server listens on {}", inherited.key));
        };
        for fd in &inherited.fds {
            let describe = |error: std::io::Error| format!("socket for {}: {error}", inherited.key);
            let fd: OwnedFd = net::inherit(*fd).map_err(describe)?;
            let listener = Rc::new(Listener::from_fd(fd).map_err(describe)?);
            listeners.push((Rc::clone(&listener), Rc::clone(listening)));
            net::spawn(connection::accept_loop(Rc::clone(worker), listener, Rc::clone(listening)));
        }
    }
    Ok(listeners)
}

/// Waits for the order to end, and carries out the others.
async fn commands(worker: &Rc<Worker>, control: Option<net::handoff::Channel>) -> Command {
    let mut signals = match net::signal::Signals::new(&[
        nix::libc::SIGTERM,
        nix::libc::SIGINT,
        nix::libc::SIGQUIT,
        nix::libc::SIGUSR1,
        nix::libc::SIGWINCH,
    ]) {
        Ok(signals) => signals,
        Err(error) => {
            log::process(Level::Emerg, format_args!("signalfd() failed ({})", conf::error::errno(&error)));
            return Command::Terminate;
        }
    };
    let mut control = control;
    loop {
        let command = match &control {
            Some(channel) => match net::select2(signals.next(), receive(channel)).await {
                Either::Left(signal) => of_signal(signal),
                Either::Right(Some(command)) => Some(command),
                Either::Right(None) => {
                    log::process(Level::Alert, format_args!("the master process is gone, serving on"));
                    control = None;
                    None
                }
            },
            None => of_signal(signals.next().await),
        };
        match command {
            Some(Command::Reopen) => reopen(worker),
            Some(end) => return end,
            None => {}
        }
    }
}

/// What a signal stands for.
fn of_signal(signal: std::io::Result<i32>) -> Option<Command> {
    match signal {
        Ok(nix::libc::SIGQUIT) => Some(Command::Quit),
        Ok(nix::libc::SIGUSR1) => Some(Command::Reopen),
        Ok(nix::libc::SIGTERM | nix::libc::SIGINT) => Some(Command::Terminate),
        Ok(_) => None,
        Err(_) => Some(Command::Terminate),
    }
}

async fn receive(channel: &net::handoff::Channel) -> Option<Command> {
    let (bytes, _) = channel.recv().await.ok()?;
    postcard::from_bytes(&bytes).ok()
}

fn reopen(worker: &Rc<Worker>) {
    log::process(Level::Notice, format_args!("reopening logs"));
    for reason in worker.config.logs.reopen_all() {
        log::process(Level::Emerg, format_args!("{reason}"));
    }
}

/// Lets requests in flight finish, then the idle connections go.
async fn drain(worker: &Rc<Worker>) {
    log::process(Level::Notice, format_args!("gracefully shutting down"));
    worker.drain();
    let limit = *worker.config.main.get(&main::CONF).shutdown_timeout.get();
    let finish = async {
        let grace = net::sleep(IDLE_DRAIN);
        // busy connections may end before that: only idle ones are waited for
        let _ = net::select2(grace, all_gone(worker)).await;
        while worker.connections.get() > 0 {
            worker.close_idle();
            let tick = net::sleep(IDLE_DRAIN);
            let _ = net::select2(tick, all_gone(worker)).await;
        }
    };
    if limit.is_zero() {
        finish.await;
    } else if net::timeout(limit, finish).await.is_err() {
        log::process(
            Level::Notice,
            format_args!("worker_shutdown_timeout passed, closing {} connections", worker.connections.get()),
        );
    }
}

async fn all_gone(worker: &Rc<Worker>) {
    while worker.connections.get() > 0 {
        worker.changed.notified().await;
    }
}
