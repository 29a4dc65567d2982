//! `master_process off`: one process that does everything, for debugging and for tests.
//!
//! A reload replaces the program by itself: the configuration is checked, requests in flight finish, and the process
//! executes its own program with the listening sockets. Its id stays what it was.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;
use worker::Loaded;

use crate::daemon::Caller;
use crate::generation::{Generation, Setting};
use crate::place::Place;
use crate::title::Program;
use crate::{engine, environment, identity, journal, pid, signal, spawn, upgrade};

/// How long requests in flight may hold up a reload.
const RELOAD_WAIT: Duration = Duration::from_secs(5);

/// Serves until told to end.
pub fn run(setting: Setting, first: Generation, loaded: Loaded, mut caller: Caller) -> Result<ExitCode, ()> {
    let path = first.plan.pid.clone();
    pid::write(&path).map_err(|reason| journal::emerg(format_args!("{reason}")))?;
    identity::name(setting.program.name());
    spawn::replace_environment(environment::of_child(
        &first.plan.main().env,
        setting.environment.iter().cloned(),
    ));
    let mut boot = first.boot(&setting, 0, None);
    // the worker owns what it is told about, and we keep ours for a reload
    let numbers = boot.listeners.iter_mut().flat_map(|listener| &mut listener.fds);
    for number in numbers.chain(boot.zones.iter_mut().map(|zone| &mut zone.fd)) {
        *number = spawn::duplicate(*number).map_err(|errno| {
            journal::emerg(format_args!(
                "fcntl(F_DUPFD_CLOEXEC) failed ({})",
                conf::error::errno(&errno.into())
            ));
        })?;
    }
    let reload = watch(&setting)?;
    journal::use_log(first.plan.error_log());
    caller.release(setting.stderr.as_ref());
    journal::stop_printing();
    let code = worker::run_single(loaded, boot);
    if reload.load(Ordering::Acquire) {
        return begin_again(&setting, &first);
    }
    if let Err(reason) = pid::remove(&path) {
        journal::alert(format_args!("{reason}"));
    }
    journal::notice(format_args!("exit"));
    Ok(code)
}

/// Starts the thread that waits for HUP. The result is set when the process is to begin again after its end.
fn watch(setting: &Setting) -> Result<Arc<AtomicBool>, ()> {
    let hup: SigSet = [Signal::SIGHUP].into_iter().collect();
    // every thread must have them blocked, or the kernel would find one to end the process with; the worker takes
    // those it knows, and there is no other binary to start and no worker to rest
    let blocked = signal::all();
    let reload = Arc::new(AtomicBool::new(false));
    let (program, place, globals) = (setting.program, setting.place.clone(), setting.globals.clone());
    let flag = Arc::clone(&reload);
    let started = blocked.thread_block().map_err(std::io::Error::from).and_then(|()| {
        std::thread::Builder::new().name("reload".into()).spawn(move || {
            journal::open_early(place.early_log.as_deref());
            while hup.wait().is_ok() {
                if check(program, &place, globals.as_deref()) {
                    flag.store(true, Ordering::Release);
                    end_this_run();
                }
            }
        })
    });
    match started {
        Ok(_) => Ok(reload),
        Err(error) => {
            journal::emerg(format_args!("cannot wait for signals ({})", conf::error::errno(&error)));
            Err(())
        }
    }
}

/// Whether the configuration can be served.
fn check(program: Program, place: &Place, globals: Option<&str>) -> bool {
    journal::notice(format_args!("reconfiguring"));
    match engine::load(program, place, globals) {
        Ok(_) => true,
        Err(errors) => {
            errors.iter().for_each(|error| journal::emerg(format_args!("{error}")));
            false
        }
    }
}

fn end_this_run() {
    // a signal to oneself does not fail
    let _ = kill(Pid::this(), Signal::SIGQUIT);
    std::thread::sleep(RELOAD_WAIT);
    let _ = kill(Pid::this(), Signal::SIGTERM);
}

fn begin_again(setting: &Setting, first: &Generation) -> Result<ExitCode, ()> {
    let sockets = first.sockets.fds();
    first.sockets.keep_files(true);
    let argv: Vec<_> = setting.argv.iter().map(spawn::c_string).collect();
    let mut env: Vec<_> =
        setting.environment.iter().map(|(name, value)| environment::pair(name, value)).collect();
    env.extend(upgrade::variables_for_self(&sockets));
    let errno = spawn::replace_self(&argv, &env, &sockets);
    journal::emerg(format_args!("execve() failed ({})", conf::error::errno(&errno.into())));
    Err(())
}
