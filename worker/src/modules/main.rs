//! The directives outside of every block and those of `events { }`: nginx's core, events, epoll, thread pool and
//! regex modules.
//!
//! Most of them are for the master (`daemon`, `pid`, `worker_processes`), some for a worker's first moments (`user`,
//! `worker_rlimit_nofile`); none of them is looked at while a request is served. What nginx needs and this server does
//! not (an accept mutex, a timer signal, a pool of threads for files) is accepted, and its documentation says that it
//! does nothing and why.
//!
//! A worker reads the same text again after the master. What depends on the process that reads it must therefore come
//! from the master's reading: the number of workers and the processor masks travel in [`Boot`](crate::boot::Boot).

use std::path::PathBuf;
use std::time::Duration;

use conf::{Arity, Contexts, Cursor, Directive, Error, Node, Result, Setting, Shape, Span};
use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, User};

use crate::build::{Builder, Conf, MergeCx, Slot};
use crate::module::Module;

/// Key of [`MainConf`] among the main level's structs.
pub static CONF: Slot<MainConf> = Slot::new();

/// The module.
pub const MODULE: Main = Main;

/// See the module's documentation.
pub struct Main;

impl Module for Main {
    fn name(&self) -> &'static str {
        "ngx_core_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&CONF);
    }
}

/// What the main and the events context say.
#[derive(Debug, Default, Clone)]
pub struct MainConf {
    /// Whether to leave the terminal and run in the background.
    pub daemon: Setting<bool>,
    /// Whether a master supervises workers; otherwise one process serves by itself.
    pub master_process: Setting<bool>,
    /// Number of workers, at least 1.
    pub worker_processes: Setting<u32>,
    /// Which processors a worker may run on.
    pub affinity: Setting<Affinity>,
    /// Scheduling priority of workers, as `nice` counts: negative is more.
    pub priority: Setting<i32>,
    /// Limit on open files of a worker; unset: inherited.
    pub rlimit_nofile: Setting<u64>,
    /// Limit on the size of a worker's core file, in bytes; unset: inherited.
    pub rlimit_core: Setting<u64>,
    /// How long a worker that was told to quit may take before it closes connections; zero: as long as it takes.
    pub shutdown_timeout: Setting<Duration>,
    /// Where workers go after they have given up their privileges; unset: they stay.
    pub working_directory: Setting<PathBuf>,
    /// The pid file, relative names made full; unset: the program's default.
    pub pid: Setting<PathBuf>,
    /// Who workers become; unset when the master is not root.
    pub user: Setting<Identity>,
    /// Environment variables that workers keep or get: name, and value when one was given.
    pub env: Vec<(String, Option<String>)>,
    /// Thread pools that were named: `aio threads=NAME` must name one of these or `default`.
    pub thread_pools: Vec<String>,
    /// `worker_connections`: the most connections of one worker, upstream connections included.
    pub worker_connections: Setting<usize>,
    /// `use`: what workers wait for I/O with.
    pub method: Setting<Method>,
    events: bool,
    affinity_at: Option<Span>,
    accepted: Accepted,
}

/// Directives that have no effect here, kept to refuse duplicates as nginx does.
#[derive(Debug, Default, Clone)]
struct Accepted {
    timer_resolution: Setting<u64>,
    debug_points: Setting<()>,
    lock_file: Setting<()>,
    pcre_jit: Setting<bool>,
    multi_accept: Setting<bool>,
    accept_mutex: Setting<bool>,
    accept_mutex_delay: Setting<u64>,
    aio_requests: Setting<u64>,
    epoll_events: Setting<u64>,
}

/// What waits for I/O in a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// io_uring where the kernel allows it, otherwise epoll.
    Best,
    /// epoll, even where io_uring would work.
    EpollOnly,
}

/// A user and a group that exist on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user's name; its supplementary groups are taken on as well.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// Which processors workers run on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Affinity {
    /// Wherever the kernel puts them.
    #[default]
    Any,
    /// Each on one of the processors of the mask, in turn; without a mask, on one of those this process may use.
    Auto(Option<CpuMask>),
    /// Each on the processors of its own mask; the last mask is for all workers beyond the list.
    Masks(Vec<CpuMask>),
}

/// A set of processors: bit `n % 64` of word `n / 64` is processor `n`.
pub type CpuMask = Vec<u64>;

impl Affinity {
    /// The processors of the worker in `slot`; an empty mask stands for any. `usable` is what the machine offers.
    pub fn mask(&self, slot: u32, usable: &[usize]) -> CpuMask {
        let slot = slot as usize;
        let in_turn = |cpus: &[usize]| match cpus.len() {
            0 => CpuMask::new(),
            n => mask_of(&[cpus[slot % n]]),
        };
        match self {
            Affinity::Any => CpuMask::new(),
            Affinity::Auto(None) => in_turn(usable),
            Affinity::Auto(Some(mask)) => in_turn(&cpus_of(mask)),
            Affinity::Masks(masks) => masks.get(slot).or(masks.last()).cloned().unwrap_or_default(),
        }
    }
}

fn mask_of(cpus: &[usize]) -> CpuMask {
    let words = cpus.iter().max().map_or(0, |max| max / 64 + 1);
    let mut mask = vec![0; words];
    for cpu in cpus {
        mask[cpu / 64] |= 1 << (cpu % 64);
    }
    mask
}

fn cpus_of(mask: &[u64]) -> Vec<usize> {
    (0..mask.len() * 64).filter(|cpu| mask[cpu / 64] & (1 << (cpu % 64)) != 0).collect()
}

impl Identity {
    /// Looks up names; errors as nginx words them.
    fn find(user: &str, group: &str) -> Result<Self> {
        let user = found("getpwnam", user, User::from_name(user))?;
        let group = found("getgrnam", group, Group::from_name(group))?;
        Ok(Self { name: user.name, uid: user.uid.as_raw(), gid: group.gid.as_raw() })
    }

    /// Who workers of a root master become when nothing is said: `nobody`, with the group of that name or `nogroup`.
    fn nobody() -> Result<Self> {
        let group = match Group::from_name("nogroup") {
            Ok(Some(_)) => "nogroup",
            _ => "nobody",
        };
        Self::find("nobody", group)
    }
}

fn found<T>(call: &str, name: &str, looked_up: nix::Result<Option<T>>) -> Result<T> {
    match looked_up {
        Ok(Some(entry)) => Ok(entry),
        Ok(None) => Err(Error::new(format!("{call}(\"{name}\") failed"))),
        Err(errno) => {
            Err(Error::new(format!("{call}(\"{name}\") failed ({})", conf::error::errno(&errno.into()))))
        }
    }
}

impl MainConf {
    /// What a worker does once it has read what only the master's user may read: becomes `user` and moves to
    /// `working_directory`. The error is nginx's message; a worker must not go on after it.
    pub fn drop_privileges(&self) -> Result<(), String> {
        if let Some(to) = self.user.as_ref().filter(|_| Uid::effective().is_root()) {
            let (uid, gid) = (Uid::from_raw(to.uid), Gid::from_raw(to.gid));
            nix::unistd::setgid(gid).map_err(|errno| failed(format!("setgid({gid})"), errno))?;
            let name = std::ffi::CString::new(to.name.as_str())
                .map_err(|_| format!("initgroups({}, {gid}) failed", to.name))?;
            nix::unistd::initgroups(&name, gid)
                .map_err(|errno| failed(format!("initgroups({}, {gid})", to.name), errno))?;
            nix::unistd::setuid(uid).map_err(|errno| failed(format!("setuid({uid})"), errno))?;
        }
        // a process that has changed its user leaves no core file unless it says that it may
        nix::sys::prctl::set_dumpable(true).map_err(|errno| failed("prctl(PR_SET_DUMPABLE)", errno))?;
        if let Some(directory) = self.working_directory.as_ref() {
            let shown = directory.display();
            nix::unistd::chdir(directory).map_err(|errno| failed(format!("chdir(\"{shown}\")"), errno))?;
        }
        Ok(())
    }
}

fn failed(call: impl std::fmt::Display, errno: Errno) -> String {
    format!("{call} failed ({})", conf::error::errno(&errno.into()))
}

impl Conf for MainConf {
    fn merge(&mut self, _outer: &Self, cx: &mut MergeCx<'_>) -> Result<()> {
        if !self.events {
            return Err(Error::without_place("no \"events\" section in configuration"));
        }
        self.daemon.init(true);
        self.master_process.init(true);
        self.worker_processes.init(1);
        self.affinity.init(Affinity::Any);
        self.priority.init(0);
        self.shutdown_timeout.init(Duration::ZERO);
        self.worker_connections.init(WORKER_CONNECTIONS);
        self.method.init(Method::Best);
        if !self.user.is_set() && Uid::effective().is_root() {
            self.user.init(Identity::nobody().map_err(|error| Error::without_place(error.message()))?);
        }
        self.check_masks(cx)
    }
}

impl MainConf {
    fn check_masks(&self, cx: &mut MergeCx<'_>) -> Result<()> {
        let (Affinity::Masks(masks), Some(at)) = (self.affinity.get(), &self.affinity_at) else {
            return Ok(());
        };
        if masks.len() == 1 || masks.len() == *self.worker_processes.get() as usize {
            return Ok(());
        }
        let warning = Error::warning(
            at,
            "the number of \"worker_processes\" is not equal to the number of \"worker_cpu_affinity\" masks, \
             using last mask for remaining worker processes",
        );
        match cx.builder.report(warning) {
            std::ops::ControlFlow::Continue(()) => Ok(()),
            std::ops::ControlFlow::Break(error) => Err(error),
        }
    }
}

/// nginx's DEFAULT_CONNECTIONS.
const WORKER_CONNECTIONS: usize = 512;

/// glibc's CPU_SETSIZE: processors a mask can name.
const CPUS_MAX: usize = 1024;

/// The most workers that can be asked for: nginx's NGX_MAX_PROCESSES.
const WORKERS_MAX: u64 = 1024;

const fn simple(
    name: &'static str,
    contexts: Contexts,
    arity: Arity,
    default: &'static str,
    doc: &'static str,
    apply: fn(&mut Builder, &Node) -> Result<()>,
) -> Directive<Builder> {
    Directive { name, contexts, arity, shape: Shape::Simple, default, doc, apply }
}

const MAIN: Contexts = Contexts::MAIN;
const EVENTS: Contexts = Contexts::EVENTS;

static DIRECTIVES: &[Directive<Builder>] = &[
    simple("daemon", MAIN, Arity::Flag, "on", "Whether the server goes to the background.", |cx, node| {
        let on = node.flag()?;
        cx.conf(&CONF).daemon.set(on)
    }),
    simple(
        "master_process",
        MAIN,
        Arity::Flag,
        "on",
        "Whether a master process starts and supervises workers. Off: one process does everything, for debugging.",
        |cx, node| {
            let on = node.flag()?;
            cx.conf(&CONF).master_process.set(on)
        },
    ),
    simple(
        "user",
        MAIN,
        Arity::Range(1, 2),
        "nobody nobody",
        "User and group of worker processes; the group is named like the user when left out. Only a master that runs \
         as root can give its workers another user.",
        user,
    ),
    simple(
        "worker_processes",
        MAIN,
        Arity::Exactly(1),
        "1",
        "Number of worker processes. `auto`: one for each processor this process may use, which honours affinity \
         masks and container limits.",
        worker_processes,
    ),
    simple(
        "worker_cpu_affinity",
        MAIN,
        Arity::AtLeast(1),
        "",
        "Binds workers to processors: one mask of 0 and 1 per worker, the rightmost digit is processor 0; or `auto`, \
         optionally with a mask of the processors to choose from.",
        worker_cpu_affinity,
    ),
    simple(
        "worker_priority",
        MAIN,
        Arity::Exactly(1),
        "0",
        "Scheduling priority of workers, as given to `nice`: negative numbers mean more of the processor.",
        worker_priority,
    ),
    simple(
        "worker_rlimit_nofile",
        MAIN,
        Arity::Exactly(1),
        "",
        "Limit on open files (RLIMIT_NOFILE) of workers.",
        |cx, node| {
            cx.conf(&CONF).rlimit_nofile.check_unset()?;
            let limit = node.number()?;
            cx.conf(&CONF).rlimit_nofile.set(limit)
        },
    ),
    simple(
        "worker_rlimit_core",
        MAIN,
        Arity::Exactly(1),
        "",
        "Limit on the size of core files (RLIMIT_CORE) of workers.",
        |cx, node| {
            cx.conf(&CONF).rlimit_core.check_unset()?;
            let limit = node.offset()?;
            cx.conf(&CONF).rlimit_core.set(limit)
        },
    ),
    simple(
        "worker_shutdown_timeout",
        MAIN,
        Arity::Exactly(1),
        "",
        "Time after which a worker that was told to quit closes the connections it still has. 0 or unset: it waits \
         for them.",
        |cx, node| {
            cx.conf(&CONF).shutdown_timeout.check_unset()?;
            let timeout = Duration::from_millis(node.time_ms()?);
            cx.conf(&CONF).shutdown_timeout.set(timeout)
        },
    ),
    simple(
        "working_directory",
        MAIN,
        Arity::Exactly(1),
        "",
        "Current directory of workers: where core files go.",
        |cx, node| cx.conf(&CONF).working_directory.set(PathBuf::from(node.first())),
    ),
    simple(
        "pid",
        MAIN,
        Arity::Exactly(1),
        "logs/nginx.pid",
        "File that holds the process id of the master. Called `uresty`, the program defaults to logs/uresty.pid.",
        |cx, node| {
            let path = cx.paths.full(node.first());
            cx.conf(&CONF).pid.set(path)
        },
    ),
    simple(
        "env",
        MAIN,
        Arity::Exactly(1),
        "TZ",
        "Keeps (`NAME`) or sets (`NAME=value`) an environment variable of workers and of a new binary during an \
         upgrade. All others except TZ are removed; those of the dynamic loader (LD_LIBRARY_PATH, LD_PRELOAD) stay, \
         because workers are started as programs of their own.",
        env,
    ),
    simple(
        "load_module",
        MAIN,
        Arity::Exactly(1),
        "",
        "Modules are part of the program: a file named like a module that is built in is accepted without being \
         opened, any other is refused.",
        load_module,
    ),
    simple(
        "lock_file",
        MAIN,
        Arity::Exactly(1),
        "logs/nginx.lock",
        "No effect: workers have sockets of their own and need no lock to accept.",
        |cx, _| cx.conf(&CONF).accepted.lock_file.set(()),
    ),
    simple(
        "timer_resolution",
        MAIN,
        Arity::Exactly(1),
        "",
        "No effect: the clock is read once per turn of the event loop, which costs no system call.",
        |cx, node| {
            cx.conf(&CONF).accepted.timer_resolution.check_unset()?;
            let interval = node.time_ms()?;
            cx.conf(&CONF).accepted.timer_resolution.set(interval)
        },
    ),
    simple(
        "debug_points",
        MAIN,
        Arity::Exactly(1),
        "",
        "No effect: an internal error ends the request or connection it happened in, with a message in the log, and \
         stops no process.",
        |cx, node| {
            cx.conf(&CONF).accepted.debug_points.check_unset()?;
            node.choice(&[("stop", ()), ("abort", ())])?;
            cx.conf(&CONF).accepted.debug_points.set(())
        },
    ),
    simple(
        "pcre_jit",
        MAIN,
        Arity::Flag,
        "off",
        "No effect: regular expressions are always compiled to machine code where the processor is supported.",
        |cx, node| {
            let on = node.flag()?;
            cx.conf(&CONF).accepted.pcre_jit.set(on)
        },
    ),
    simple(
        "thread_pool",
        MAIN,
        Arity::Range(2, 3),
        "default threads=32 max_queue=65536",
        "Names a pool for `aio threads=`. The numbers have no effect: io_uring reads files without threads, and \
         where epoll is used one small pool serves every name.",
        thread_pool,
    ),
    Directive {
        name: "events",
        contexts: MAIN,
        arity: Arity::Exactly(0),
        shape: Shape::Block,
        default: "",
        doc: "Holds the directives about connections; must be there, and may be empty.",
        apply: |cx, node| {
            if std::mem::replace(&mut cx.conf(&CONF).events, true) {
                return Err(Error::predicate("is duplicate"));
            }
            cx.block_in_place(node, EVENTS)
        },
    },
    simple(
        "worker_connections",
        EVENTS,
        Arity::Exactly(1),
        "512",
        "The most connections one worker has open, those to upstream servers included.",
        |cx, node| {
            cx.conf(&CONF).worker_connections.check_unset()?;
            let count =
                conf::value::number::parse(node.first()).and_then(|count| usize::try_from(count).ok());
            let count = count.ok_or_else(|| node.error(format!("invalid number \"{}\"", node.first())))?;
            cx.conf(&CONF).worker_connections.set(count)
        },
    ),
    simple(
        "use",
        EVENTS,
        Arity::Exactly(1),
        "io_uring",
        "How workers wait for I/O. `io_uring`, and also `epoll`, by which nginx configurations ask for the best \
         Linux offers: io_uring where the kernel allows it, otherwise epoll. `epoll_only`: never io_uring.",
        |cx, node| {
            cx.conf(&CONF).method.check_unset()?;
            let method = match node.first() {
                "io_uring" | "epoll" => Method::Best,
                "epoll_only" => Method::EpollOnly,
                other => return Err(node.error(format!("invalid event type \"{other}\""))),
            };
            cx.conf(&CONF).method.set(method)
        },
    ),
    simple(
        "multi_accept",
        EVENTS,
        Arity::Flag,
        "off",
        "No effect: a worker takes connections from its own queue as they come.",
        |cx, node| {
            let on = node.flag()?;
            cx.conf(&CONF).accepted.multi_accept.set(on)
        },
    ),
    simple(
        "accept_mutex",
        EVENTS,
        Arity::Flag,
        "off",
        "No effect: each worker has a socket of its own for every TCP address, so that none wakes for another's \
         connection.",
        |cx, node| {
            let on = node.flag()?;
            cx.conf(&CONF).accepted.accept_mutex.set(on)
        },
    ),
    simple(
        "accept_mutex_delay",
        EVENTS,
        Arity::Exactly(1),
        "500ms",
        "No effect, like accept_mutex.",
        |cx, node| {
            cx.conf(&CONF).accepted.accept_mutex_delay.check_unset()?;
            let delay = node.time_ms()?;
            cx.conf(&CONF).accepted.accept_mutex_delay.set(delay)
        },
    ),
    simple(
        "debug_connection",
        EVENTS,
        Arity::Exactly(1),
        "",
        "Ignored with a warning, as in nginx built without debugging: detail is chosen per log, with \
         `error_log FILE debug`.",
        |_, node| {
            Err(node.warning(
                "\"debug_connection\" is ignored, use the \"debug\" level of \"error_log\" for detailed messages",
            ))
        },
    ),
    simple(
        "worker_aio_requests",
        EVENTS,
        Arity::Exactly(1),
        "32",
        "No effect: files are read through the same ring as sockets, with its limits.",
        |cx, node| {
            cx.conf(&CONF).accepted.aio_requests.check_unset()?;
            let count = node.number()?;
            cx.conf(&CONF).accepted.aio_requests.set(count)
        },
    ),
    simple(
        "epoll_events",
        EVENTS,
        Arity::Exactly(1),
        "512",
        "No effect: how many events one turn of the event loop takes is not configurable.",
        |cx, node| {
            cx.conf(&CONF).accepted.epoll_events.check_unset()?;
            let count = node.number()?;
            cx.conf(&CONF).accepted.epoll_events.set(count)
        },
    ),
];

fn user(cx: &mut Builder, node: &Node) -> Result<()> {
    cx.conf(&CONF).user.check_unset()?;
    if !Uid::effective().is_root() {
        return Err(node.warning(
            "the \"user\" directive makes sense only if the master process runs with super-user privileges, ignored",
        ));
    }
    let group = node.arg(1).unwrap_or(node.first());
    let identity = Identity::find(node.first(), group)?;
    cx.conf(&CONF).user.set(identity)
}

fn worker_processes(cx: &mut Builder, node: &Node) -> Result<()> {
    cx.conf(&CONF).worker_processes.check_unset()?;
    let count = match node.first() {
        "auto" => std::thread::available_parallelism().map_or(1, |n| n.get() as u64),
        text => match conf::value::number::parse(text) {
            // nginx starts a master without workers for 0, which serves nobody
            Some(count @ 1..=WORKERS_MAX) => count,
            _ => return Err(node.predicate("invalid value")),
        },
    };
    cx.conf(&CONF).worker_processes.set(count.min(WORKERS_MAX) as u32)
}

fn worker_cpu_affinity(cx: &mut Builder, node: &Node) -> Result<()> {
    cx.conf(&CONF).affinity.check_unset()?;
    let masks = |from: usize| -> Result<Vec<CpuMask>> {
        node.str_args()
            .skip(from)
            .map(|text| parse_mask(text).map_err(|message| node.error(message)))
            .collect()
    };
    let affinity = match node.first() {
        "auto" if node.len() > 2 => return Err(node.invalid_arity()),
        "auto" => Affinity::Auto(masks(1)?.pop()),
        _ => Affinity::Masks(masks(0)?),
    };
    let conf = cx.conf(&CONF);
    conf.affinity_at = Some(node.span.clone());
    conf.affinity.set(affinity)
}

/// Reads `0101`: the rightmost digit is processor 0. Spaces are for the eye.
fn parse_mask(text: &str) -> Result<CpuMask, String> {
    if text.len() > CPUS_MAX {
        return Err(format!("\"worker_cpu_affinity\" supports up to {CPUS_MAX} CPUs only"));
    }
    let mut cpus = Vec::new();
    for (cpu, digit) in text.chars().rev().filter(|c| *c != ' ').enumerate() {
        match digit {
            '0' => {}
            '1' => cpus.push(cpu),
            other => return Err(format!("invalid character \"{other}\" in \"worker_cpu_affinity\"")),
        }
    }
    Ok(mask_of(&cpus))
}

fn worker_priority(cx: &mut Builder, node: &Node) -> Result<()> {
    cx.conf(&CONF).priority.check_unset()?;
    let text = node.first();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let number = conf::value::number::parse(digits).and_then(|number| i32::try_from(number).ok());
    let number = number.ok_or_else(|| node.predicate("invalid number"))?;
    cx.conf(&CONF).priority.set(sign * number)
}

fn env(cx: &mut Builder, node: &Node) -> Result<()> {
    let text = node.first();
    let variable = match text.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (text.to_owned(), None),
    };
    if text.contains('\0') {
        return Err(node.predicate("invalid value"));
    }
    cx.conf(&CONF).env.push(variable);
    Ok(())
}

fn load_module(cx: &mut Builder, node: &Node) -> Result<()> {
    let path = cx.paths.full(node.first());
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    if cx.modules().iter().any(|module| module.name() == name) {
        return Ok(());
    }
    Err(node.error(format!(
        "dlopen() \"{}\" failed (modules are part of the program, and \"{name}\" is not among them)",
        path.display()
    )))
}

fn thread_pool(cx: &mut Builder, node: &Node) -> Result<()> {
    let name = node.first();
    if cx.conf(&CONF).thread_pools.iter().any(|known| known == name) {
        return Err(node.error(format!("duplicate thread pool \"{name}\"")));
    }
    let mut threads = false;
    for (i, parameter) in node.str_args().enumerate().skip(1) {
        let number = |text: &str| conf::value::number::parse(text);
        if let Some(text) = parameter.strip_prefix("threads=") {
            if number(text).is_none_or(|count| count == 0) {
                return Err(node.error(format!("invalid threads value \"{parameter}\"")));
            }
            threads = true;
        } else if let Some(text) = parameter.strip_prefix("max_queue=") {
            if number(text).is_none() {
                return Err(node.error(format!("invalid max_queue value \"{parameter}\"")));
            }
        } else {
            return Err(node.invalid_parameter(i));
        }
    }
    if !threads {
        return Err(node.error("\"thread_pool\" must have \"threads\" parameter"));
    }
    cx.conf(&CONF).thread_pools.push(name.to_owned());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_read_from_the_right() {
        let cases: &[(&str, Result<CpuMask, &str>)] = &[
            ("1", Ok(vec![1])),
            ("0101", Ok(vec![5])),
            ("00 11", Ok(vec![3])),
            ("0000", Ok(vec![])),
            ("", Ok(vec![])),
            ("0121", Err("invalid character \"2\" in \"worker_cpu_affinity\"")),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_mask(text), expected.clone().map_err(str::to_owned), "{text}");
        }
        let far = format!("1{}", "0".repeat(64));
        assert_eq!(parse_mask(&far), Ok(vec![0, 1]));
        let too_far = "0".repeat(CPUS_MAX + 1);
        assert_eq!(
            parse_mask(&too_far),
            Err("\"worker_cpu_affinity\" supports up to 1024 CPUs only".to_owned())
        );
    }

    #[test]
    fn workers_take_their_masks() {
        let usable = [0, 2, 3];
        let masks = Affinity::Masks(vec![vec![1], vec![6]]);
        let auto = Affinity::Auto(Some(vec![0b1010]));
        let cases: &[(&Affinity, u32, CpuMask)] = &[
            (&Affinity::Any, 0, vec![]),
            (&Affinity::Auto(None), 0, vec![1]),
            (&Affinity::Auto(None), 1, vec![4]),
            (&Affinity::Auto(None), 3, vec![1]),
            (&auto, 0, vec![2]),
            (&auto, 1, vec![8]),
            (&auto, 2, vec![2]),
            (&Affinity::Auto(Some(vec![0])), 0, vec![]),
            (&masks, 0, vec![1]),
            (&masks, 1, vec![6]),
            (&masks, 7, vec![6]),
        ];
        for (affinity, slot, expected) in cases {
            assert_eq!(affinity.mask(*slot, &usable), *expected, "{affinity:?} {slot}");
        }
    }

    #[test]
    fn unknown_users_are_refused_in_nginx_words() {
        let error = Identity::find("no such user here", "root").unwrap_err();
        assert_eq!(error.message(), "getpwnam(\"no such user here\") failed");
        let error = Identity::find("root", "no such group here").unwrap_err();
        assert_eq!(error.message(), "getgrnam(\"no such group here\") failed");
        assert_eq!(Identity::find("root", "root").unwrap().uid, 0);
    }
}
