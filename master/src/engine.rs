//! Reading a configuration: what the master asks of the worker crate, and what it keeps of the answer.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use conf::{DiskFiles, Errors};
use worker::config::Config;
use worker::listener::ListenSpec;
use worker::log::ErrorLog;
use worker::modules::http;
use worker::modules::main::{self, CpuMask, Identity, MainConf, Method};
use worker::zone::ZoneSpec;
use worker::{Input, Loaded, Paths};

use crate::identity::Limits;
use crate::modules;
use crate::place::Place;
use crate::title::Program;
use crate::version::Build;

/// A configuration that passed every check, as the master sees it.
pub struct Plan {
    /// The compiled configuration: the master looks at its logs.
    pub config: Rc<Config>,
    /// Encoded text, for workers.
    pub sources: Vec<u8>,
    /// Addresses to listen on.
    pub listens: Vec<ListenSpec>,
    /// Shared memory to provide.
    pub zones: Vec<ZoneSpec>,
    /// Directories for temporary files.
    pub temp_paths: Vec<PathBuf>,
    /// The pid file.
    pub pid: PathBuf,
    /// Number of workers.
    pub workers: u32,
    /// Limits and priority of workers.
    pub limits: Limits,
}

impl Plan {
    /// Takes from `loaded` what the master needs.
    fn new(loaded: &Loaded, program: Program, prefix: &Path) -> conf::Result<Self> {
        let main = loaded.config.main.get(&main::CONF);
        let listens = worker::listens(&loaded.config)?;
        let connections = *main.worker_connections.get();
        if connections < listens.len() + 1 {
            return Err(conf::Error::without_place(format!(
                "{connections} worker_connections are not enough for {} listening sockets",
                listens.len()
            )));
        }
        Ok(Self {
            config: Rc::clone(&loaded.config),
            sources: loaded.sources.to_bytes(),
            listens,
            zones: loaded.zones.clone(),
            temp_paths: loaded.temp_paths.clone(),
            pid: main.pid.as_ref().cloned().unwrap_or_else(|| prefix.join(program.pid())),
            workers: if *main.master_process.get() { *main.worker_processes.get() } else { 1 },
            limits: Limits::of(main),
        })
    }

    /// The main and events context.
    pub fn main(&self) -> &MainConf {
        self.config.main.get(&main::CONF)
    }

    /// Who workers become, when they become somebody else.
    pub fn user(&self) -> Option<&Identity> {
        self.main().user.as_ref()
    }

    /// The processors of the worker in `slot`.
    pub fn mask(&self, slot: u32) -> CpuMask {
        let usable = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0));
        let usable: Vec<usize> = match usable {
            Ok(set) => (0..nix::sched::CpuSet::count()).filter(|cpu| set.is_set(*cpu) == Ok(true)).collect(),
            Err(_) => Vec::new(),
        };
        self.main().affinity.get().mask(slot, &usable)
    }

    /// Whether workers must not use io_uring.
    pub fn epoll(&self) -> bool {
        *self.main().method.get() == Method::EpollOnly
    }

    /// The log of messages that belong to no request.
    pub fn error_log(&self) -> ErrorLog {
        self.config.main.get(&http::LOCATION).error_log.clone()
    }
}

/// A configuration just read.
pub struct Checked {
    /// As compiled.
    pub loaded: Loaded,
    /// As the master keeps it.
    pub plan: Plan,
}

/// Reads the configuration of `place`.
pub fn load(program: Program, place: &Place, globals: Option<&str>) -> Result<Checked, Errors> {
    let input = Input {
        main_file: &place.conf_file,
        paths: Paths {
            prefix: place.prefix.clone(),
            conf_prefix: place.conf_prefix.clone(),
            error_log: place.error_log.clone(),
        },
        globals,
        modules: modules::ALL,
    };
    let loaded = worker::load(&input, &DiskFiles)?;
    let plan = Plan::new(&loaded, program, &place.prefix)?;
    Ok(Checked { loaded, plan })
}

/// What `-V` is made from.
pub fn with_build<T>(make: impl FnOnce(&Build<'_>) -> T) -> T {
    let names: Vec<&str> = modules::ALL.iter().map(|module| module.name()).collect();
    let cache = modules::ALL
        .iter()
        .flat_map(|module| module.directives())
        .any(|directive| directive.name == "proxy_cache");
    make(&Build { nginx: http::VERSION, modules: &names, cache })
}
