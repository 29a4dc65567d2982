//! A gateway under test: the real binary in a directory of its own.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::places::{Places, WAIT_MAX};

/// A running gateway; killed when dropped.
pub struct Gateway {
    child: Child,
    /// The master that is spoken to: the child, or one that took over from it.
    master: i32,
    prefix: tempfile::TempDir,
    addresses: Vec<SocketAddr>,
}

/// How often something that gives no event is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The binary under test: `URESTY_BINARY`, else the one built beside this test.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("URESTY_BINARY") {
        return path.into();
    }
    let test = std::env::current_exe().expect("a test knows its own path");
    let profile = test.parent().and_then(Path::parent).expect("tests are built into PROFILE/deps");
    let path = profile.join("uresty");
    assert!(path.exists(), "{} is missing: run `cargo build -p uresty` (tests/run does)", path.display());
    path
}

impl Gateway {
    /// Starts a gateway with `conf`. `@0`, `@1`, … in it become addresses, `@prefix` its directory. A configuration without
    /// `events` gets a frame: one worker, an error log at `info`, events, temporary directories.
    pub fn start(conf: &str) -> Self {
        Self::start_with(conf, &[], |_| {})
    }

    /// The same, with origins' addresses for `%0`, `%1`, … and a chance to put files into the prefix first.
    pub fn start_with(conf: &str, origins: &[SocketAddr], prepare: impl FnOnce(&Path)) -> Self {
        let prefix =
            tempfile::Builder::new().prefix("uresty-test.").tempdir().expect("a temporary directory");
        for dir in ["logs", "html", "conf"] {
            std::fs::create_dir(prefix.path().join(dir)).expect("a fresh directory");
        }
        prepare(prefix.path());
        let mut addresses = Vec::new();
        let text = fill_in(conf, prefix.path(), origins, &mut addresses);
        std::fs::write(prefix.path().join("conf/test.conf"), text).expect("a fresh file");
        let child = spawn(prefix.path());
        let master = pid_of(&child);
        let mut this = Self { child, master, prefix, addresses };
        this.wait_until_up();
        this
    }

    /// Starts the binary once more in the same place, for a master that was killed; the new one is spoken to from now on.
    pub fn start_again(&mut self) {
        let before = self.read("logs/test.pid");
        // it was killed, and waited for
        self.child = spawn(self.prefix.path());
        self.master = pid_of(&self.child);
        self.wait_for("the pid file of the new master", |this| {
            assert!(!this.has_ended(), "the new master ended at once:\n{}", this.read("logs/stderr"));
            this.read("logs/test.pid") != before
        });
    }

    /// Changes the binary (USR2) and waits for the new master, which is spoken to from now on. Returns the old one.
    pub fn change_binary(&mut self) -> i32 {
        let (old, old_text) = (self.master, format!("{}\n", self.master));
        self.signal(Signal::SIGUSR2);
        self.wait_for("the pid file of the new master", |this| {
            let pid = this.read("logs/test.pid");
            pid.ends_with('\n') && pid != old_text
        });
        self.master = self.read("logs/test.pid").trim().parse().expect("a process id");
        old
    }

    /// Speaks to the master `pid` from now on.
    pub fn speak_to(&mut self, pid: i32) {
        self.master = pid;
    }

    fn wait_until_up(&mut self) {
        let pid_file = self.path("logs/test.pid");
        self.wait_for("start", |this| {
            if let Ok(Some(status)) = this.child.try_wait() {
                panic!(
                    "the gateway ended at once ({status}):\n{}\n{}",
                    this.read("logs/stderr"),
                    this.error_log()
                );
            }
            pid_file.exists() && this.addresses.iter().take(1).all(|addr| TcpStream::connect(addr).is_ok())
        });
    }

    /// Waits until `done` says so; panics with the error log when it never does.
    pub fn wait_for(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let until = Instant::now() + WAIT_MAX;
        while !done(self) {
            assert!(Instant::now() < until, "waited in vain for {what}\n{}", self.error_log());
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// The address that replaced `@n`.
    pub fn addr(&self, n: usize) -> SocketAddr {
        self.addresses[n]
    }

    /// A path below the prefix.
    pub fn path(&self, name: &str) -> PathBuf {
        self.prefix.path().join(name)
    }

    /// A file below the prefix, or nothing.
    pub fn read(&self, name: &str) -> String {
        std::fs::read(self.path(name))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// The error log so far.
    pub fn error_log(&self) -> String {
        self.read("logs/error.log")
    }

    /// Replaces the configuration (placeholders keep their addresses).
    pub fn rewrite_conf(&mut self, conf: &str, origins: &[SocketAddr]) {
        let mut addresses = self.addresses.clone();
        let text = fill_in(conf, self.prefix.path(), origins, &mut addresses);
        self.addresses = addresses;
        std::fs::write(self.path("conf/test.conf"), text).expect("the prefix is writable");
    }

    /// The master's process id.
    pub fn pid(&self) -> i32 {
        self.master
    }

    /// Process ids of the workers, oldest first.
    pub fn workers(&self) -> Vec<i32> {
        children_of(self.pid())
    }

    /// Sends a signal to the master.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).expect("the master is there");
    }

    /// Whether the master has ended.
    fn has_ended(&mut self) -> bool {
        match self.master == pid_of(&self.child) {
            true => self.child.try_wait().expect("our own child").is_some(),
            false => has_ended(self.master),
        }
    }

    /// Waits until the master has ended; the status is that of the process that was started here.
    pub fn wait(&mut self) -> ExitStatus {
        self.wait_for("the end of the master", Self::has_ended);
        let mut status = None;
        self.wait_for("the end of the process that was started", |this| {
            status = this.child.try_wait().expect("our own child");
            status.is_some()
        });
        status.expect("set when the wait ended")
    }

    /// Ends the gateway gracefully and checks that nothing went wrong in it.
    pub fn quit(mut self) {
        self.signal(Signal::SIGQUIT);
        let status = self.wait();
        assert!(status.success(), "ended with {status} (signal {:?})\n{}", status.signal(), self.error_log());
        let log = self.error_log();
        for word in ["[alert]", "[emerg]", "panicked"] {
            assert!(!log.contains(word), "the log has {word}:\n{log}");
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let mut workers = self.workers();
        if self.master != pid_of(&self.child) {
            workers.insert(0, self.master);
        }
        // what is gone already needs no killing
        let _ = self.child.kill();
        let _ = self.child.wait();
        for pid in workers {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        if std::thread::panicking() {
            eprintln!("--- error log\n{}", self.error_log());
        }
    }
}

/// Starts the binary in `prefix`.
fn spawn(prefix: &Path) -> Child {
    if !is_io_uring_refused() {
        return spawn_here(prefix);
    }
    // a filter holds for the thread that asks for it, and for what that starts
    std::thread::scope(|scope| {
        let filtered = scope.spawn(|| {
            refuse_io_uring();
            spawn_here(prefix)
        });
        filtered.join().expect("the thread only starts a process")
    })
}

/// Whether gateways run where io_uring is refused (`TEST_IO_URING=refused`), as in a container with Docker's default profile.
pub fn is_io_uring_refused() -> bool {
    std::env::var_os("TEST_IO_URING").is_some_and(|value| value == "refused")
}

/// From now on this thread, and every process started by it, gets EPERM for `io_uring_setup`.
fn refuse_io_uring() {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
    let refused = SeccompAction::Errno(nix::libc::EPERM as u32);
    let arch = std::env::consts::ARCH.try_into().expect("an architecture that filters know");
    let rules = [(nix::libc::SYS_io_uring_setup, Vec::new())].into_iter().collect();
    let filter =
        SeccompFilter::new(rules, SeccompAction::Allow, refused, arch).expect("a filter of one rule");
    let program: BpfProgram = filter.try_into().expect("a filter of one rule");
    seccompiler::apply_filter(&program).expect("the kernel has seccomp");
}

fn spawn_here(prefix: &Path) -> Child {
    Command::new(binary())
        .arg("-p")
        .arg(prefix)
        .args(["-c", "conf/test.conf", "-e", "logs/error.log"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(prefix.join("logs/stderr")).expect("a fresh file"))
        .spawn()
        .expect("the binary can be started")
}

fn pid_of(child: &Child) -> i32 {
    i32::try_from(child.id()).expect("process ids are small")
}

/// Whether the process `pid`, which need not be a child, has ended; somebody else may have to reap it.
pub fn has_ended(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}

/// How many sockets the process `pid` has open.
pub fn sockets_of(pid: i32) -> usize {
    descriptors_of(pid).iter().filter(|to| to.starts_with("socket:")).count()
}

/// What the descriptors of the process `pid` stand for.
pub fn descriptors_of(pid: i32) -> Vec<String> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
    let links = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    links.map(|link| link.display().to_string()).collect()
}

/// Memory of the process `pid` that is its own, in KiB.
pub fn memory_kib_of(pid: i32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|value| value.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// How often a test repeats something: `short`, or what `TEST_ROUNDS` says for a long run.
pub fn rounds(short: usize) -> usize {
    std::env::var("TEST_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(short)
}

fn fill_in(conf: &str, prefix: &Path, origins: &[SocketAddr], addresses: &mut Vec<SocketAddr>) -> String {
    let mut text = String::new();
    if !conf.contains("events") {
        text.push_str(
            "daemon off; worker_processes 1; user root; pid logs/test.pid;\nerror_log logs/error.log info;\nevents { worker_connections 1024; }\n",
        );
    }
    text.push_str(&conf.replace("@prefix", &prefix.display().to_string()));
    for n in (0..10).rev() {
        let place = format!("@{n}");
        if text.contains(&place) {
            while addresses.len() <= n {
                addresses.push(Places::address());
            }
            text = text.replace(&place, &addresses[n].to_string());
        }
    }
    for (n, origin) in origins.iter().enumerate().rev() {
        text = text.replace(&format!("%{n}"), &origin.to_string());
    }
    text
}

/// The processes whose parent is `pid`.
pub fn children_of(pid: i32) -> Vec<i32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}
