//! The worker's VM: made at its start, and where handlers find it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use worker::config::Config;
use worker::log::{self, Level};
use worker::request::Request;
use worker::worker::Worker;

use crate::code::Code;
use crate::conf::{self, HttpConf};
use crate::ffi::{State, Vm, watchdog};
use crate::phase::Phases;
use crate::response;
use crate::sched::{End, Progress, Task};

thread_local! {
    static RUNTIME: RefCell<Option<Runtime>> = const { RefCell::new(None) };
}

struct Runtime {
    vm: Rc<Vm>,
    worker: Rc<Worker>,
}

/// The worker process.
pub(crate) fn worker() -> Option<Rc<Worker>> {
    RUNTIME.with_borrow(|runtime| runtime.as_ref().map(|runtime| Rc::clone(&runtime.worker)))
}

/// The directory relative names begin at, with a slash behind it.
pub(crate) fn prefix() -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    let mut prefix = worker().map_or_else(Vec::new, |worker| worker.prefix.as_os_str().as_bytes().to_vec());
    if !prefix.ends_with(b"/") {
        prefix.push(b'/');
    }
    prefix
}

/// The VM of the worker.
pub(crate) fn vm() -> Option<Rc<Vm>> {
    RUNTIME.with_borrow(|runtime| runtime.as_ref().map(|runtime| Rc::clone(&runtime.vm)))
}

/// The VM that handlers of `req` run in: the worker's, or with `lua_code_cache off` one of the request's own.
///
/// # Errors
/// What to log.
pub(crate) fn vm_for(req: &mut Request) -> Result<Rc<Vm>, String> {
    if response::settings(req).code_cache {
        return vm().ok_or_else(|| "the Lua VM was not started".into());
    }
    if let Some(own) = req.context.lasting::<OwnVm>() {
        return Ok(own.0);
    }
    let worker = worker().ok_or("the Lua VM was not started")?;
    let vm = make(&http_settings(&worker), Some(&worker.config))?;
    init(&vm, &worker.config)?;
    req.context.keep_lasting(OwnVm(Rc::clone(&vm)));
    Ok(vm)
}

/// The VM of a request and its subrequests.
#[derive(Clone)]
struct OwnVm(Rc<Vm>);

/// The settings of the http level.
pub(crate) fn http_settings(worker: &Worker) -> Rc<HttpConf> {
    match &worker.config.http {
        Some(http) => http.share(&conf::HTTP),
        None => Rc::default(),
    }
}

fn settings(config: &Config) -> Option<&HttpConf> {
    config.http.as_ref().map(|http| http.get(&conf::HTTP))
}

/// The share of the memory limit, in percent, that may be in use after garbage was collected.
const USED_PERCENT_MAX: usize = 75;

/// Code in `vm` met the memory limit: collects garbage, and if that does not help enough, makes the worker a new VM. Requests
/// under way finish in the old one.
#[cold]
pub(crate) fn starved(vm: &Rc<Vm>) {
    vm.main().collect();
    let Some(worker) = worker() else { return };
    let limit = http_settings(&worker).memory_limit;
    if vm.used() / USED_PERCENT_MAX * 100 < limit
        || self::vm().is_none_or(|ours| ours.number() != vm.number())
    {
        return;
    }
    let used = vm.used();
    log::process(
        Level::Alert,
        format_args!("lua_memory_limit: {used} bytes are in use after collecting, the Lua VM is replaced"),
    );
    let new = make(&http_settings(&worker), Some(&worker.config))
        .and_then(|new| init(&new, &worker.config).map(|()| new));
    match new {
        Ok(new) => RUNTIME.with_borrow_mut(|runtime| {
            if let Some(runtime) = runtime {
                runtime.vm = new;
            }
        }),
        Err(reason) => log::process(Level::Alert, format_args!("{reason}")),
    }
}

/// Makes the worker's VM and runs `init_by_lua`.
///
/// # Errors
/// `init_by_lua` failed.
pub(crate) fn prepare(worker: &Rc<Worker>) -> Result<(), String> {
    let vm = make(&http_settings(worker), Some(&worker.config))?;
    watchdog::start(Duration::from_millis(http_settings(worker).time_limit));
    RUNTIME.set(Some(Runtime { vm: Rc::clone(&vm), worker: Rc::clone(worker) }));
    init(&vm, &worker.config)
}

fn init(vm: &Rc<Vm>, config: &Config) -> Result<(), String> {
    let Some(code) = settings(config).and_then(|settings| settings.init.clone()) else { return Ok(()) };
    run_alone(vm, &code, Phases::INIT).map_err(|message| format!("init_by_lua error: {message}"))
}

/// Runs `init_worker_by_lua`.
pub(crate) fn start(worker: &Rc<Worker>) {
    let (Some(vm), Some(settings)) = (vm(), settings(&worker.config)) else { return };
    if let Some(code) = &settings.init_worker
        && let Err(message) = run_alone(&vm, code, Phases::INIT_WORKER)
    {
        log::process(Level::Error, format_args!("init_worker_by_lua error: {message}"));
    }
}

/// Runs `exit_worker_by_lua`.
pub(crate) fn stop(worker: &Rc<Worker>) {
    let (Some(vm), Some(settings)) = (vm(), settings(&worker.config)) else { return };
    if let Some(code) = &settings.exit_worker
        && let Err(message) = run_alone(&vm, code, Phases::EXIT_WORKER)
    {
        log::process(Level::Error, format_args!("exit_worker_by_lua error: {message}"));
    }
}

/// Runs code without a request that may not wait.
fn run_alone(vm: &Rc<Vm>, code: &Code, phase: Phases) -> Result<(), String> {
    let coroutine = vm.coroutine();
    code.push(vm, coroutine.lua, None)?;
    let task = Task::new(phase, coroutine, 0).quiet();
    match task.start(None) {
        Progress::Ended(End::Failed) => Err(String::from_utf8_lossy(&task.take_message()).into_owned()),
        Progress::Ended(_) => Ok(()),
        Progress::Waits => Err("attempt to yield".into()),
    }
}

/// A VM with the API and the module paths; with the shared dictionaries where there is a configuration that has them, which a
/// VM of another thread has not.
pub(crate) fn make(settings: &HttpConf, config: Option<&Config>) -> Result<Rc<Vm>, String> {
    let vm = Vm::new(settings.memory_limit)?;
    let lua = vm.main();
    paths(lua, settings);
    crate::api::install(lua);
    if let Some(config) = config {
        crate::api::shared::setup(lua, config)?;
    }
    crate::api::re::setup(lua, config);
    crate::api::library::setup(lua);
    Ok(vm)
}

/// `package.path` and `package.cpath`: the configured ones, in which `;;` stands for the built-in ones.
fn paths(lua: State<'_>, settings: &HttpConf) {
    lua.push_value(State::GLOBALS);
    lua.raw_get_field(-1, "package");
    for (name, configured) in [("path", &settings.package_path), ("cpath", &settings.package_cpath)] {
        let Some(configured) = configured else { continue };
        lua.raw_get_field(-1, name);
        let default = lua.to_bytes(-1).unwrap_or_default().to_vec();
        lua.pop(1);
        lua.push_bytes(with_default(configured, &default));
        lua.raw_set_field(-2, name);
    }
    lua.set_top(0);
}

fn with_default(path: &[u8], default: &[u8]) -> Vec<u8> {
    let Some(at) = memchr::memmem::find(path, b";;") else { return path.to_vec() };
    let mut out = path[..at].to_vec();
    if !out.is_empty() {
        out.push(b';');
    }
    out.extend_from_slice(default);
    if at + 2 < path.len() {
        out.push(b';');
        out.extend_from_slice(&path[at + 2..]);
    }
    out
}
