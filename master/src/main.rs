//! The program: reads the command line, becomes what it says.
//!
//! One binary has four roles. Called by somebody, it answers (`-v`, `-t`), sends a signal (`-s`), or serves, as a master
//! with workers ([`supervise`]) or alone ([`single`]). Started by a master, it is a worker ([`birth`]).
//!
//! From top to bottom: [`cli`] flags, [`place`] files they lead to, [`engine`] the configuration, [`generation`] what it
//! needs ([`listen`], [`files`]), [`supervise`] and [`fleet`] the processes.
#![deny(unsafe_code)]

mod birth;
mod check;
mod cli;
mod daemon;
mod engine;
mod environment;
mod files;
mod fleet;
mod generation;
mod guard;
mod identity;
mod journal;
mod listen;
mod modules;
mod orphans;
mod pid;
mod place;
mod plane;
mod respawn;
mod resty;
mod signal;
mod single;
mod sockopt;
mod spawn;
mod supervise;
mod title;
mod upgrade;
mod version;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::kill;
use worker::log::Level;

use crate::cli::Options;
use crate::daemon::Caller;
use crate::engine::{Checked, Plan};
use crate::generation::{Generation, Setting};
use crate::listen::SocketTable;
use crate::orphans::Orphans;
use crate::place::Place;
use crate::signal::{Order, Signals};
use crate::spawn::TitleMemory;
use crate::supervise::Start;
use crate::title::Program;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let argv: Vec<OsString> = std::env::args_os().collect();
    worker::plugin::install(plugins::ALL);
    if let Some(fd) = birth::is_worker(&argv) {
        return birth::live(fd);
    }
    let program = Program::of(argv.first().map_or(OsStr::new(""), OsString::as_os_str));
    let options = match resty::asked(&argv) {
        Some(words) => resty::options(words),
        None => Options::parse(argv.iter().skip(1).cloned()),
    };
    let options = match options {
        Ok(options) => options,
        Err(reason) => {
            journal::print(format_args!("{reason}"));
            return ExitCode::FAILURE;
        }
    };
    if options.version {
        eprint!("{}", version_text(program, &options));
        if !options.test {
            return ExitCode::SUCCESS;
        }
    }
    let place = Place::of(program, &options);
    if let Some(log) = place.early_log.as_deref().filter(|_| options.error_log.is_none()) {
        files::make_log_directory(log);
    }
    journal::open_early(place.early_log.as_deref());
    if options.test {
        check::run(program, &place, &options)
    } else if let Some(order) = options.signal {
        send(order, program, &place, &options)
    } else {
        serve(argv, program, place, options).unwrap_or(ExitCode::FAILURE)
    }
}

fn version_text(program: Program, options: &Options) -> String {
    engine::with_build(|build| {
        let mut text = if options.configure { build.configure() } else { build.version() };
        if options.help {
            let prefix = place::default_prefix(program, None, Path::new("/nowhere"));
            text.push_str(&cli::usage(&prefix.to_string_lossy(), title::ERROR_LOG, &program.conf()));
        }
        text
    })
}

/// `-s`: sends the signal of `order` to the master whose pid file the configuration names.
fn send(order: Order, program: Program, place: &Place, options: &Options) -> ExitCode {
    let Ok(checked) = load(program, place, options) else { return ExitCode::FAILURE };
    journal::notice(format_args!("signal process started"));
    let pid = match pid::read(&checked.plan.pid) {
        Ok(pid) => pid,
        Err(reason) => {
            journal::write(Level::Error, format_args!("{reason}"));
            return ExitCode::FAILURE;
        }
    };
    let signal = order.signal();
    match kill(pid, signal) {
        Ok(()) => ExitCode::SUCCESS,
        Err(errno) => {
            let error = conf::error::errno(&errno.into());
            journal::alert(format_args!("kill({pid}, {}) failed ({error})", signal as i32));
            ExitCode::FAILURE
        }
    }
}

/// Reads the configuration and says what is wrong with it.
fn load(program: Program, place: &Place, options: &Options) -> Result<Checked, ()> {
    let checked = engine::load(program, place, options.globals.as_deref()).map_err(|errors| {
        errors.iter().for_each(|error| journal::emerg(format_args!("{error}")));
    })?;
    for warning in &checked.loaded.warnings {
        journal::write(Level::Warn, format_args!("{warning}"));
    }
    Ok(checked)
}

/// Becomes the server. `Err`: messages have been printed.
fn serve(argv: Vec<OsString>, program: Program, place: Place, options: Options) -> Result<ExitCode, ()> {
    let inherited = upgrade::inherit();
    let Checked { loaded, plan } = load(program, &place, &options)?;
    let (daemon, master) = (*plan.main().daemon.get(), *plan.main().master_process.get());
    let resumed = inherited.is_some();
    let predecessor = inherited.as_ref().and_then(|inherited| inherited.predecessor);
    let orphans = if master && !resumed { orphans::find(&plan.pid) } else { Orphans::default() };
    let sockets = inherited.map_or(orphans.sockets, |inherited| inherited.sockets);
    let sockets = SocketTable::inherited(sockets, predecessor.is_some());
    let first = Generation::open(0, plan, &sockets, &shm::Registry::new(), &[])?;
    // those that no address wants
    drop(sockets);
    journal::use_log(first.plan.error_log());
    announce(&first.plan);
    let mut stderr = None;
    let caller = if daemon && !resumed {
        stderr = files::stderr(&place);
        Caller::leave().map_err(|reason| journal::emerg(format_args!("{reason}")))?
    } else {
        Caller::none()
    };
    let detached = daemon || resumed;
    let globals = options.globals;
    let environment = std::env::vars_os().collect();
    let setting = Setting { program, argv, environment, place, globals, stderr };
    if !master {
        if plane::conf(&first.plan).is_some() {
            journal::emerg(format_args!("a \"gateway\" block needs \"master_process on\""));
            return Err(());
        }
        return single::run(setting, first, loaded, caller);
    }
    drop(loaded);
    if let Some(title) = TitleMemory::claim() {
        title.set(&program.master_title(&setting.argv));
    }
    let signals = Signals::open().map_err(|errno| {
        journal::emerg(format_args!("signalfd() failed ({})", conf::error::errno(&errno.into())));
    })?;
    Ok(supervise::run(
        setting,
        first,
        signals,
        Start { predecessor, detached, orphans: orphans.workers, caller },
    ))
}

/// Says what is about to serve, as nginx does.
fn announce(plan: &Plan) {
    engine::with_build(|build| journal::notice(format_args!("{}", build.name())));
    journal::notice(format_args!("built with Rust {}", version::RUST));
    if let Ok(system) = nix::sys::utsname::uname() {
        let (name, release) = (system.sysname().display(), system.release().display());
        journal::notice(format_args!("OS: {name} {release}"));
    }
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    journal::notice(format_args!("getrlimit(RLIMIT_NOFILE): {soft}:{hard}"));
    let limit = plan.limits.open_files.unwrap_or(soft);
    let connections = *plan.main().worker_connections.get();
    if connections as u64 > limit {
        journal::write(
            Level::Warn,
            format_args!("{connections} worker_connections exceed open file resource limit: {limit}"),
        );
    }
}
