//! Listening sockets: opened before workers exist, kept while any configuration wants them.
//!
//! Every TCP address has one socket per worker slot, all bound with SO_REUSEPORT, so that the kernel spreads connections
//! and no two workers wake for one. The master keeps them open: when a worker dies its queue waits for the next one.
//! Sockets are never taken away from an address: when the number of workers shrinks, those of the former slots are
//! handed to the remaining ones, and no connection that is queued on them is lost. A unix socket is one for all workers.
//!
//! A [`SocketTable`] belongs to one configuration. The next one is derived from it and shares its sockets; until it is
//! accepted the old one is as good as before.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use conf::error::errno;
use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use worker::boot::BootListener;
use worker::listener::{ListenAddr, ListenSpec};

use crate::guard::Guard;
use crate::{journal, sockopt};

/// Attempts to bind an address that is in use.
const TRIES_MAX: u32 = 5;

/// Pause between them.
const TRY_PAUSE: Duration = Duration::from_millis(500);

/// The sockets of one configuration.
#[derive(Default)]
pub struct SocketTable {
    entries: Vec<Entry>,
}

/// The sockets of one address.
struct Entry {
    spec: ListenSpec,
    sockets: Vec<Rc<OwnedFd>>,
    guard: Option<Rc<Guard>>,
    file: Option<Rc<SocketFile>>,
}

/// The file of a unix socket; removed with the last table that has it.
struct SocketFile {
    path: PathBuf,
    keep: std::cell::Cell<bool>,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.keep.get() {
            return;
        }
        if let Err(error) = std::fs::remove_file(&self.path) {
            journal::emerg(format_args!("unlink() {} failed ({})", self.path.display(), errno(&error)));
        }
    }
}

/// Why an address could not be opened.
enum Failure {
    /// Somebody else has it; may change.
    InUse(String),
    /// Anything else.
    Fatal(String),
}

impl SocketTable {
    /// The table of sockets this process was started with; `shared`: by a process that may still serve them.
    pub fn inherited(sockets: Vec<OwnedFd>, shared: bool) -> Self {
        let mut table = Self::default();
        for socket in sockets {
            match address(&socket) {
                Ok(addr) => table.adopt(addr, socket, shared),
                Err(reason) => {
                    journal::write(worker::log::Level::Crit, format_args!("{reason}"));
                }
            }
        }
        table
    }

    fn adopt(&mut self, addr: ListenAddr, socket: OwnedFd, shared: bool) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.spec.addr == addr) {
            entry.sockets.push(Rc::new(socket));
            return;
        }
        let file = match &addr {
            ListenAddr::Unix(path) => Some(Rc::new(SocketFile::new(path, shared))),
            ListenAddr::Tcp(_) => None,
        };
        let spec = ListenSpec::new(addr);
        self.entries.push(Entry { spec, sockets: vec![Rc::new(socket)], guard: None, file });
    }

    /// The table for `specs` and `workers`: what is open already, and new sockets. Messages have been logged when it
    /// fails; nothing is open then that was not open before.
    pub fn next(&self, specs: &[ListenSpec], workers: u32) -> Result<Self, ()> {
        let mut entries: Vec<Entry> = specs.iter().map(|spec| self.entry(spec)).collect();
        for tries_left in (0..TRIES_MAX).rev() {
            let mut failed = false;
            for entry in &mut entries {
                match entry.fill(workers) {
                    Ok(()) => {}
                    Err(Failure::Fatal(reason)) => {
                        journal::emerg(format_args!("{reason}"));
                        return Err(());
                    }
                    Err(Failure::InUse(reason)) => {
                        journal::emerg(format_args!("{reason}"));
                        failed = true;
                    }
                }
            }
            if !failed {
                return Ok(Self { entries });
            }
            if tries_left > 0 {
                journal::notice(format_args!("try again to bind() after {}ms", TRY_PAUSE.as_millis()));
                std::thread::sleep(TRY_PAUSE);
            }
        }
        journal::emerg(format_args!("still could not bind()"));
        Err(())
    }

    /// What is open for `spec` already.
    fn entry(&self, spec: &ListenSpec) -> Entry {
        let known = self.entries.iter().find(|entry| entry.spec.addr == spec.addr);
        Entry {
            spec: spec.clone(),
            sockets: known.map(|entry| entry.sockets.clone()).unwrap_or_default(),
            guard: known.and_then(|entry| entry.guard.clone()),
            file: known.and_then(|entry| entry.file.clone()),
        }
    }

    /// Gives sockets that were open before the options of this table: called when its configuration is accepted.
    pub fn configure(&self) {
        for entry in &self.entries {
            for socket in &entry.sockets {
                entry.configure(socket);
            }
        }
    }

    /// The sockets of the worker in `slot` of `workers`.
    pub fn of_slot(&self, slot: u32, workers: u32) -> Vec<BootListener> {
        let listener = |entry: &Entry| {
            let shared = matches!(entry.spec.addr, ListenAddr::Unix(_));
            let mine = |index: usize| shared || index % workers as usize == slot as usize;
            let fds = entry.sockets.iter().enumerate().filter(|(index, _)| mine(*index));
            BootListener {
                key: entry.spec.addr.to_string(),
                fds: fds.map(|(_, socket)| socket.as_raw_fd()).collect(),
            }
        };
        self.entries.iter().map(listener).filter(|listener| !listener.fds.is_empty()).collect()
    }

    /// Every socket.
    pub fn fds(&self) -> Vec<RawFd> {
        self.entries.iter().flat_map(|entry| &entry.sockets).map(|socket| socket.as_raw_fd()).collect()
    }

    /// Leaves the files of unix sockets alone from now on (`keep`), because another process serves them, or not.
    pub fn keep_files(&self, keep: bool) {
        for file in self.entries.iter().filter_map(|entry| entry.file.as_ref()) {
            file.keep.set(keep);
        }
    }

    /// Lets another process open sockets on our addresses (`open`), or not.
    pub fn open_guards(&self, open: bool) {
        for entry in &self.entries {
            if let (Some(guard), ListenAddr::Tcp(addr)) = (&entry.guard, &entry.spec.addr) {
                if open { guard.open() } else { guard.shut(addr) }
            }
        }
    }
}

impl SocketFile {
    fn new(path: &Path, keep: bool) -> Self {
        Self { path: path.to_owned(), keep: std::cell::Cell::new(keep) }
    }
}

impl Entry {
    /// Opens what is missing for `workers`.
    fn fill(&mut self, workers: u32) -> Result<(), Failure> {
        match self.spec.addr.clone() {
            ListenAddr::Unix(path) if self.sockets.is_empty() => {
                let socket = self.open_unix(&path)?;
                self.file = Some(Rc::new(SocketFile::new(&path, false)));
                self.sockets.push(Rc::new(socket.into()));
            }
            ListenAddr::Unix(_) => {}
            ListenAddr::Tcp(addr) => self.fill_tcp(addr, workers as usize)?,
        }
        Ok(())
    }

    /// The first socket of an address is bound without SO_REUSEPORT: with it the kernel would let us share the port
    /// with a stranger of the same user. It gets the option afterwards, and the others can join.
    fn fill_tcp(&mut self, addr: SocketAddr, wanted: usize) -> Result<(), Failure> {
        if self.sockets.is_empty() {
            let first = self.open_tcp(addr, false)?;
            self.sockets.push(Rc::new(first.into()));
        }
        if self.sockets.len() >= wanted && (wanted == 1 || self.guard.is_some()) {
            return Ok(());
        }
        for socket in &self.sockets {
            let shared = SockRef::from(&**socket).set_reuse_port(true);
            shared.map_err(|error| self.fatal("setsockopt(SO_REUSEPORT)", &error))?;
        }
        if let Some(guard) = &self.guard {
            guard.open();
        }
        let filled = self.fill_shared(addr, wanted);
        match &self.guard {
            Some(guard) => guard.shut(&addr),
            None => self.guard = Guard::new(&addr, self.spec.ipv6only).map(Rc::new),
        }
        filled
    }

    fn fill_shared(&mut self, addr: SocketAddr, wanted: usize) -> Result<(), Failure> {
        while self.sockets.len() < wanted {
            let socket = self.open_tcp(addr, true)?;
            self.sockets.push(Rc::new(socket.into()));
        }
        Ok(())
    }

    fn open_tcp(&self, addr: SocketAddr, shared: bool) -> Result<Socket, Failure> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None);
        let socket = socket.map_err(|error| self.fatal("socket()", &error))?;
        socket.set_reuse_address(true).map_err(|error| self.fatal("setsockopt(SO_REUSEADDR)", &error))?;
        if shared {
            socket.set_reuse_port(true).map_err(|error| self.fatal("setsockopt(SO_REUSEPORT)", &error))?;
        }
        if addr.is_ipv6() {
            socket
                .set_only_v6(self.spec.ipv6only)
                .map_err(|error| self.fatal("setsockopt(IPV6_V6ONLY)", &error))?;
        }
        self.start(&socket, &addr.into())?;
        Ok(socket)
    }

    fn open_unix(&self, path: &Path) -> Result<Socket, Failure> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None);
        let socket = socket.map_err(|error| self.fatal("socket()", &error))?;
        let addr = SockAddr::unix(path).map_err(|error| self.fatal("bind()", &error))?;
        if is_left_over(&addr) {
            journal::notice(format_args!("deleting socket {}, nobody listens on it", path.display()));
            std::fs::remove_file(path).map_err(|error| self.fatal("unlink()", &error))?;
        }
        self.bind(&socket, &addr)?;
        let mode = std::fs::Permissions::from_mode(0o666);
        std::fs::set_permissions(path, mode).map_err(|error| self.fatal("chmod()", &error))?;
        self.listen(&socket)?;
        Ok(socket)
    }

    fn start(&self, socket: &Socket, addr: &SockAddr) -> Result<(), Failure> {
        self.bind(socket, addr)?;
        self.listen(socket)
    }

    fn bind(&self, socket: &Socket, addr: &SockAddr) -> Result<(), Failure> {
        socket.set_nonblocking(true).map_err(|error| self.fatal("fcntl(O_NONBLOCK)", &error))?;
        socket
            .bind(addr)
            .map_err(|error| self.failure(format!("bind() to {} failed", self.spec.addr), &error))
    }

    fn listen(&self, socket: &Socket) -> Result<(), Failure> {
        sockopt::apply(socket, &self.spec, report);
        socket.listen(self.backlog()).map_err(|error| {
            self.failure(
                format!("listen() to {}, backlog {} failed", self.spec.addr, self.spec.backlog),
                &error,
            )
        })
    }

    /// Options of a socket that has been listening with others.
    fn configure(&self, socket: &OwnedFd) {
        let socket = SockRef::from(socket);
        sockopt::apply(&socket, &self.spec, report);
        if let Err(error) = socket.listen(self.backlog()) {
            let (addr, backlog) = (&self.spec.addr, self.spec.backlog);
            journal::alert(format_args!(
                "listen() to {addr}, backlog {backlog} failed, ignored ({})",
                errno(&error)
            ));
        }
    }

    fn backlog(&self) -> i32 {
        i32::try_from(self.spec.backlog).unwrap_or(i32::MAX)
    }

    fn fatal(&self, call: &str, error: &io::Error) -> Failure {
        Failure::Fatal(format!("{call} {} failed ({})", self.spec.addr, errno(error)))
    }

    fn failure(&self, what: String, error: &io::Error) -> Failure {
        let text = format!("{what} ({})", errno(error));
        match error.kind() {
            io::ErrorKind::AddrInUse => Failure::InUse(text),
            _ => Failure::Fatal(text),
        }
    }
}

fn report(message: std::fmt::Arguments<'_>) {
    journal::alert(message);
}

/// Whether a unix socket's file is there although nobody listens: a killed server cannot remove it.
fn is_left_over(addr: &SockAddr) -> bool {
    let Ok(probe) = Socket::new(Domain::UNIX, Type::STREAM, None) else { return false };
    // a full queue must not hold us
    let _ = probe.set_nonblocking(true);
    matches!(probe.connect(addr), Err(error) if error.kind() == io::ErrorKind::ConnectionRefused)
}

/// What an inherited socket listens on.
fn address(socket: &OwnedFd) -> Result<ListenAddr, String> {
    let number = socket.as_raw_fd();
    let socket = SockRef::from(socket);
    let addr = socket.local_addr().map_err(|error| {
        format!("getsockname() of the inherited socket #{number} failed ({})", errno(&error))
    })?;
    if !matches!(socket.r#type(), Ok(Type::STREAM)) {
        return Err(format!("the inherited socket #{number} is not a stream socket"));
    }
    match (addr.as_socket(), addr.as_pathname()) {
        (Some(addr), _) => Ok(ListenAddr::Tcp(addr)),
        (None, Some(path)) => Ok(ListenAddr::Unix(path.to_owned())),
        (None, None) => Err(format!("the inherited socket #{number} has an unsupported protocol family")),
    }
}
