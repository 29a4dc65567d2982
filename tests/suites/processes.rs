//! What happens to requests when processes come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use kit::{Client, Gateway};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const CONF: &str = "
daemon off; worker_processes 2; user root; pid logs/test.pid; error_log logs/error.log notice;
events { worker_connections 1024; }
http { server { listen @0; location / { return 200 one; } location /slow { limit_rate 1; return 200 slow; } } }";

/// Clients that send requests without a pause until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    good: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    /// One client keeps its connection (and opens another when the server ends it with an answer), one opens a connection
    /// per request, one posts.
    fn start(gateway: &Gateway) -> Self {
        let (stop, good) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let addr = gateway.addr(0);
        let threads = ["keep-alive", "close", "post"].map(|kind| {
            let (stop, good) = (Arc::clone(&stop), Arc::clone(&good));
            std::thread::spawn(move || {
                let mut lost = Vec::new();
                let mut kept: Option<Client> = None;
                while !stop.load(Ordering::Relaxed) {
                    let request = match kind {
                        "close" => "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                        "post" => "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi",
                        _ => "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                    };
                    let mut client = kept.take().unwrap_or_else(|| Client::connect(addr));
                    client.send(request);
                    match client.answer() {
                        Some(answer) if answer.status == 200 && answer.complete => {
                            good.fetch_add(1, Ordering::Relaxed);
                            if answer.header("Connection") == Some("keep-alive") {
                                kept = Some(client);
                            }
                        }
                        other => lost.push(format!("{kind}: {other:?}")),
                    }
                }
                lost
            })
        });
        Self { stop, good, threads: threads.into() }
    }

    fn answered(&self) -> usize {
        self.good.load(Ordering::Relaxed)
    }

    fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().flat_map(|thread| thread.join().expect("a client does not panic")).collect()
    }
}

#[test]
fn reloads_under_load_lose_nothing() {
    const RELOADS: usize = 20;
    let mut gateway = Gateway::start(CONF);
    let load = Load::start(&gateway);
    for _ in 0..RELOADS {
        let (before, answered) = (gateway.workers(), load.answered());
        gateway.signal(Signal::SIGHUP);
        gateway.wait_for("new workers", |gateway| {
            let now = gateway.workers();
            now.iter().filter(|pid| !before.contains(pid)).count() >= 2
        });
        gateway.wait_for("answers", |_| load.answered() > answered + 10);
    }
    let lost = load.stop();
    assert!(lost.is_empty(), "{} lost: {:?}", lost.len(), lost.first());
    gateway.quit();
}

#[test]
fn a_reload_changes_what_is_served_and_a_broken_one_changes_nothing() {
    let mut gateway = Gateway::start(CONF);
    gateway.rewrite_conf(&CONF.replace("200 one", "200 two"), &[]);
    gateway.signal(Signal::SIGHUP);
    gateway.wait_for("the new configuration", |gateway| kit::get(gateway.addr(0), "/").text() == "two");
    gateway.rewrite_conf(&CONF.replace("return 200 one", "nonsense"), &[]);
    gateway.signal(Signal::SIGHUP);
    gateway.wait_for("the error", |gateway| gateway.error_log().contains("unknown directive \"nonsense\""));
    assert_eq!(kit::get(gateway.addr(0), "/").text(), "two");
    gateway.signal(Signal::SIGQUIT);
    assert!(gateway.wait().success());
}

#[test]
fn fewer_workers_lose_no_connection() {
    let mut gateway = Gateway::start(CONF);
    let load = Load::start(&gateway);
    for count in ["1", "4", "1", "2"] {
        let before = gateway.workers();
        gateway.rewrite_conf(&CONF.replace("worker_processes 2", &format!("worker_processes {count}")), &[]);
        gateway.signal(Signal::SIGHUP);
        let wanted: usize = count.parse().expect("a number");
        gateway.wait_for("new workers", |gateway| {
            gateway.workers().iter().filter(|pid| !before.contains(pid)).count() == wanted
        });
    }
    let lost = load.stop();
    assert!(lost.is_empty(), "{} lost: {:?}", lost.len(), lost.first());
    gateway.quit();
}

#[test]
fn a_killed_worker_is_replaced() {
    let mut gateway = Gateway::start(CONF);
    let before = gateway.workers();
    assert_eq!(before.len(), 2);
    kill(Pid::from_raw(before[0]), Signal::SIGKILL).expect("our own worker");
    gateway.wait_for("another worker", |gateway| {
        let now = gateway.workers();
        now.len() == 2 && !now.contains(&before[0])
    });
    // connections that the kernel gives to the dead worker's socket wait there for its successor
    for _ in 0..50 {
        assert_eq!(kit::get(gateway.addr(0), "/").text(), "one");
    }
    let log = gateway.error_log();
    assert!(log.contains(&format!("worker process {} exited on signal 9", before[0])), "{log}");
}

#[test]
fn workers_outlive_a_killed_master() {
    let mut gateway = Gateway::start(CONF);
    let workers = gateway.workers();
    gateway.signal(Signal::SIGKILL);
    gateway.wait();
    for _ in 0..20 {
        assert_eq!(kit::get(gateway.addr(0), "/").text(), "one");
    }
    for pid in workers {
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("the worker is there");
    }
}

#[test]
fn quit_lets_a_response_finish() {
    let mut gateway = Gateway::start(CONF);
    let mut client = Client::connect(gateway.addr(0));
    client.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");
    // the head arrives, the body takes three seconds more
    gateway.signal(Signal::SIGQUIT);
    let answer = client.answer().expect("an answer");
    assert_eq!((answer.text().as_str(), answer.complete), ("slow", true));
    assert!(gateway.wait().success());
}

#[test]
fn an_address_in_use_is_an_error() {
    let gateway = Gateway::start(CONF);
    let dir = tempfile::tempdir().expect("a temporary directory");
    std::fs::create_dir(dir.path().join("logs")).expect("a fresh directory");
    let conf = CONF.replace("@0", &gateway.addr(0).to_string());
    std::fs::write(dir.path().join("x.conf"), conf).expect("a fresh file");
    let second = std::process::Command::new(kit::binary())
        .arg("-p")
        .arg(dir.path())
        .args(["-c", "x.conf"])
        .output()
        .expect("the binary runs");
    let text = String::from_utf8_lossy(&second.stderr);
    assert!(!second.status.success(), "{text}");
    assert!(
        text.contains(&format!("bind() to {} failed (98: Address already in use)", gateway.addr(0))),
        "{text}"
    );
    gateway.quit();
}
