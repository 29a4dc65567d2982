//! The servers under load, and the one behind them.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A program that takes an nginx.conf.
pub struct Contender {
    /// Its name in the report.
    pub name: &'static str,
    binary: PathBuf,
    extra: &'static str,
}

impl Contender {
    /// Debian's nginx.
    pub fn nginx() -> Self {
        Self { name: "nginx", binary: "nginx".into(), extra: "" }
    }

    /// The same with buffers that hold whole responses: its defaults are weak on bodies.
    pub fn nginx_large_buffers() -> Self {
        let extra = "proxy_buffer_size 64k; proxy_buffers 16 64k; proxy_busy_buffers_size 128k; proxy_max_temp_file_size 0;";
        Self { name: "nginx-large", binary: "nginx".into(), extra }
    }

    /// The binary of this workspace (`URESTY_BINARY` overrides).
    pub fn uresty() -> Result<Self, String> {
        let here = std::env::current_exe().map_err(|error| error.to_string())?;
        let built = here.with_file_name("uresty");
        let binary = std::env::var_os("URESTY_BINARY").map_or(built, PathBuf::from);
        if !binary.exists() {
            return Err(format!("{} is missing: cargo build --release", binary.display()));
        }
        Ok(Self { name: "uresty", binary, extra: "" })
    }
}

/// nginx serving bodies from memory, on the load's processor.
pub struct Backend {
    _process: Process,
    addr: SocketAddr,
}

struct Process {
    child: Child,
    dir: tempfile::TempDir,
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            // a server that has ended already needs no signal
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let _ = self.child.wait();
    }
}

fn free_address() -> Result<SocketAddr, String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|error| error.to_string())?;
    listener.local_addr().map_err(|error| error.to_string())
}

impl Process {
    fn start(
        binary: &Path,
        cpu: u32,
        dir: tempfile::TempDir,
        conf: &str,
        addr: SocketAddr,
    ) -> Result<Self, String> {
        let describe = |error: std::io::Error| format!("{}: {error}", binary.display());
        std::fs::create_dir_all(dir.path().join("logs")).map_err(describe)?;
        let file = dir.path().join("bench.conf");
        std::fs::write(&file, conf).map_err(describe)?;
        let child = Command::new("taskset")
            .args(["-c", &cpu.to_string()])
            .arg(binary)
            .arg("-p")
            .arg(dir.path())
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .spawn()
            .map_err(describe)?;
        let mut this = Self { child, dir };
        let until = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(addr).is_err() {
            if Instant::now() > until || this.child.try_wait().is_ok_and(|status| status.is_some()) {
                return Err(format!("{} does not start", binary.display()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(this)
    }
}

const FRAME: &str =
    "daemon off; worker_processes 1; user root; error_log logs/error.log crit; worker_rlimit_nofile 20000;
events { worker_connections 16000; }
";

impl Backend {
    /// Starts it.
    pub fn start() -> Result<Self, String> {
        let addr = free_address()?;
        let dir = tempfile::tempdir_in("/dev/shm").map_err(|error| error.to_string())?;
        for (name, bytes) in [("1k", 1 << 10), ("100k", 100 << 10), ("10m", 10 << 20)] {
            std::fs::write(dir.path().join(name), vec![b'x'; bytes]).map_err(|error| error.to_string())?;
        }
        let conf = format!(
            "{FRAME}pid backend.pid; http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000; \
             open_file_cache max=10; server {{ listen {addr} backlog=4096; root {}; }} }}",
            dir.path().display()
        );
        let process = Process::start(Path::new("nginx"), 1, dir, &conf, addr)?;
        Ok(Self { _process: process, addr })
    }
}

/// A running contender.
pub struct Server {
    process: Process,
    /// Where it listens.
    pub addr: SocketAddr,
}

impl Server {
    /// Starts `contender` in front of `backend`.
    pub fn start(contender: &Contender, backend: &Backend) -> Result<Self, String> {
        let addr = free_address()?;
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let conf = format!(
            "{FRAME}pid bench.pid; http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 3600s; tcp_nodelay on; \
             upstream backend {{ server {}; keepalive 256; keepalive_requests 100000000; keepalive_timeout 3600s; }} \
             server {{ listen {addr} backlog=4096; \
             location = /return {{ return 200 \"hello\\n\"; }} \
             location /file/ {{ alias {}/; }} \
             location / {{ proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection \"\"; {} }} }} }}",
            backend.addr,
            backend._process.dir.path().display(),
            contender.extra,
        );
        let process = Process::start(&contender.binary, 0, dir, &conf, addr)?;
        Ok(Self { process, addr })
    }

    fn worker(&self) -> Result<u32, String> {
        let pid = self.process.child.id();
        let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
            .map_err(|error| error.to_string())?;
        text.split_whitespace().find_map(|word| word.parse().ok()).ok_or_else(|| "no worker process".into())
    }

    /// Microseconds the worker has spent on a processor, all its threads together.
    pub fn worker_cpu_us(&self) -> Result<f64, String> {
        let worker = self.worker()?;
        let mut nanoseconds = 0.0;
        let tasks = std::fs::read_dir(format!("/proc/{worker}/task")).map_err(|error| error.to_string())?;
        for task in tasks.flatten() {
            let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            nanoseconds +=
                text.split_whitespace().next().and_then(|word| word.parse::<f64>().ok()).unwrap_or(0.0);
        }
        Ok(nanoseconds / 1000.0)
    }

    /// Memory of the worker's own, in bytes.
    pub fn worker_rss(&self) -> Result<f64, String> {
        let worker = self.worker()?;
        let text =
            std::fs::read_to_string(format!("/proc/{worker}/status")).map_err(|error| error.to_string())?;
        let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or_default();
        let kilobytes: f64 = line.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0.0);
        Ok(kilobytes * 1024.0)
    }
}
