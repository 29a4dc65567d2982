//! What happens to requests when processes come and go.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use kit::{Client, Gateway, Habit, Load, Loss};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const CONF: &str = "
daemon off; worker_processes 2; user root; pid logs/test.pid; error_log logs/error.log notice;
events { worker_connections 1024; }
http { server { listen @0; location / { return 200 one; } location /slow { limit_rate 80; return 200 slow; } } }";

/// Tells the master to reload and waits until `wanted` new workers are all there is.
fn reload(gateway: &mut Gateway, wanted: usize) {
    let before = gateway.workers();
    gateway.signal(Signal::SIGHUP);
    gateway.wait_for("new workers only", |gateway| {
        let now = gateway.workers();
        now.len() == wanted && now.iter().all(|pid| !before.contains(pid))
    });
}

/// Waits until clients were answered some more.
fn some_answers(gateway: &mut Gateway, load: &Load) {
    let answered = load.answered();
    gateway.wait_for("answers", |_| load.answered() > answered + 20);
}

#[test]
fn reloads_under_load_lose_nothing_and_leave_nothing_behind() {
    let mut gateway = Gateway::start(CONF);
    let load = Load::start(gateway.addr(0), &Habit::ALL, 2);
    let mut level = None;
    for round in 0..kit::rounds(9) {
        let workers = [2, 3, 1][round % 3];
        gateway.rewrite_conf(&with_workers(workers), &[]);
        reload(&mut gateway, workers);
        some_answers(&mut gateway, &load);
        if workers == 2 {
            let now = (kit::descriptors_of(gateway.pid()).len(), kit::memory_kib_of(gateway.pid()));
            // the first rounds open a socket for every worker there ever was, and warm the allocator
            if let (Some((descriptors, kib)), true) = (level, round >= 6) {
                assert_eq!(now.0, descriptors, "{:?}", kit::descriptors_of(gateway.pid()));
                assert!(now.1 < kib + 2048, "{} KiB after {kib}", now.1);
            } else {
                level = Some(now);
            }
        }
    }
    load.stop_without_loss();
    gateway.quit();
}

fn with_workers(count: usize) -> String {
    CONF.replace("worker_processes 2", &format!("worker_processes {count}"))
}

#[test]
fn broken_configurations_under_load_change_nothing() {
    let mut gateway = Gateway::start(CONF);
    let load = Load::start(gateway.addr(0), &Habit::ALL, 2);
    let workers = gateway.workers();
    for round in 0..kit::rounds(6) {
        let broken = match round % 3 {
            0 => CONF.replace("return 200 one", "nonsense"),
            1 => CONF.replace("listen @0;", "listen @0; listen 192.0.2.1:1;"),
            _ => CONF.replace("location / {", "location / { access_log /no/such/dir/log;"),
        };
        gateway.rewrite_conf(&broken, &[]);
        let errors = gateway.error_log().matches("[emerg]").count();
        gateway.signal(Signal::SIGHUP);
        gateway.wait_for("an error", |gateway| gateway.error_log().matches("[emerg]").count() > errors);
        some_answers(&mut gateway, &load);
    }
    load.stop_without_loss();
    assert_eq!(gateway.workers(), workers);
    let log = gateway.error_log();
    let place = gateway.path("conf/test.conf").display().to_string();
    assert!(log.contains(&format!("unknown directive \"nonsense\" in {place}:")), "{log}");
    gateway.signal(Signal::SIGQUIT);
    assert!(gateway.wait().success());
}

#[test]
fn changing_the_binary_under_load_loses_nothing() {
    let mut gateway = Gateway::start(CONF);
    let load = Load::start(gateway.addr(0), &Habit::ALL, 2);
    for _ in 0..kit::rounds(3) {
        let old = gateway.change_binary();
        assert!(gateway.path("logs/test.pid.oldbin").exists());
        some_answers(&mut gateway, &load);
        kill(Pid::from_raw(old), Signal::SIGQUIT).expect("the old master is there");
        gateway.wait_for("the end of the old master", |gateway| {
            kit::has_ended(old) && !gateway.path("logs/test.pid.oldbin").exists()
        });
        some_answers(&mut gateway, &load);
    }
    load.stop_without_loss();
    gateway.quit();
}

#[test]
fn a_new_binary_that_does_not_start_changes_nothing() {
    let mut gateway = Gateway::start(CONF);
    let load = Load::start(gateway.addr(0), &Habit::ALL, 1);
    let (master, workers, pid) = (gateway.pid(), gateway.workers(), gateway.read("logs/test.pid"));
    gateway.rewrite_conf(&CONF.replace("return 200 one", "nonsense"), &[]);
    for round in 1..=kit::rounds(2) {
        gateway.signal(Signal::SIGUSR2);
        gateway.wait_for("the end of the new binary", |gateway| {
            // one line for its start, one for its end
            gateway.error_log().matches("new binary process").count() >= 2 * round
                && gateway.read("logs/test.pid") == pid
        });
        some_answers(&mut gateway, &load);
    }
    load.stop_without_loss();
    assert_eq!((gateway.pid(), gateway.workers()), (master, workers));
    gateway.signal(Signal::SIGQUIT);
    assert!(gateway.wait().success());
}

#[test]
fn the_way_back_from_a_new_binary_loses_nothing() {
    let mut gateway = Gateway::start(CONF);
    // WINCH from a terminal means its size: only a master in the background, or one that took over, lets workers rest
    let first = gateway.change_binary();
    kill(Pid::from_raw(first), Signal::SIGQUIT).expect("the first master is there");
    gateway.wait_for("the end of the first master", |_| kit::has_ended(first));
    let load = Load::start(gateway.addr(0), &Habit::ALL, 2);
    for _ in 0..kit::rounds(2) {
        let old = gateway.change_binary();
        let new = gateway.pid();
        kill(Pid::from_raw(old), Signal::SIGWINCH).expect("the old master is there");
        // its only child is the new master
        gateway.wait_for("rest", |_| kit::children_of(old) == [new]);
        some_answers(&mut gateway, &load);
        kill(Pid::from_raw(old), Signal::SIGHUP).expect("the old master is there");
        gateway.wait_for("the old workers", |_| kit::children_of(old).len() == 3);
        kill(Pid::from_raw(new), Signal::SIGQUIT).expect("the new master is there");
        gateway.wait_for("the old master alone", |gateway| {
            kit::children_of(old).len() == 2 && gateway.read("logs/test.pid") == format!("{old}\n")
        });
        gateway.speak_to(old);
        some_answers(&mut gateway, &load);
    }
    load.stop_without_loss();
    gateway.quit();
}

#[test]
fn a_new_master_takes_over_from_a_killed_one() {
    let mut gateway = Gateway::start(CONF);
    let load = Load::start(gateway.addr(0), &Habit::ALL, 2);
    for _ in 0..kit::rounds(2) {
        let orphans = gateway.workers();
        gateway.signal(Signal::SIGKILL);
        gateway.wait();
        some_answers(&mut gateway, &load);
        gateway.start_again();
        gateway.wait_for("the end of the orphans", |_| orphans.iter().all(|pid| kit::has_ended(*pid)));
        some_answers(&mut gateway, &load);
    }
    load.stop_without_loss();
    gateway.signal(Signal::SIGQUIT);
    assert!(gateway.wait().success());
}

#[test]
fn logs_are_opened_again_under_load() {
    let conf = CONF.replace("location / {", "access_log logs/access.log; location / {");
    let mut gateway = Gateway::start(&conf);
    let load = Load::start(gateway.addr(0), &[Habit::Keep, Habit::Fresh], 1);
    let mut lines = 0;
    for _ in 0..kit::rounds(3) {
        some_answers(&mut gateway, &load);
        std::fs::rename(gateway.path("logs/access.log"), gateway.path("logs/rotated")).expect("a log");
        gateway.signal(Signal::SIGUSR1);
        gateway.wait_for("a new log", |gateway| !gateway.read("logs/access.log").is_empty());
        // both workers have it when the old one does not grow any more
        let mut len = 0;
        gateway.wait_for("the last lines", |gateway| {
            let now = gateway.read("logs/rotated").len();
            std::mem::replace(&mut len, now) == now
        });
        lines += gateway.read("logs/rotated").lines().count();
    }
    let answered = load.stop_without_loss();
    gateway.signal(Signal::SIGQUIT);
    assert!(gateway.wait().success());
    lines += gateway.read("logs/access.log").lines().count();
    assert!(lines >= answered - answered / 10, "{lines} lines for {answered} answers");
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

/// A connection the worker has not accepted is none of those that die with it.
#[test]
fn connections_in_the_queue_of_a_killed_worker_are_served_by_the_next() {
    const CONNECTIONS: usize = 60;
    let mut gateway = Gateway::start(CONF);
    for round in 0..kit::rounds(3) {
        let worker = gateway.workers()[round % 2];
        // it cannot accept any more, and the kernel goes on queueing
        kill(Pid::from_raw(worker), Signal::SIGSTOP).expect("our own worker");
        let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| Client::connect(gateway.addr(0))).collect();
        for client in &mut clients {
            client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        }
        kill(Pid::from_raw(worker), Signal::SIGKILL).expect("our own worker");
        let killed = Instant::now();
        for client in &mut clients {
            assert_eq!(client.answer().expect("an answer from the next worker").text(), "one");
        }
        let took = killed.elapsed();
        assert!(took < Duration::from_secs(2), "the next worker took {took:?}");
        gateway.wait_for("two workers", |gateway| gateway.workers().len() == 2);
    }
}

#[test]
fn a_killed_worker_costs_what_was_in_flight_in_it() {
    let mut gateway = Gateway::start(CONF);
    let load = Load::start(gateway.addr(0), &Habit::ALL, 2);
    for round in 0..kit::rounds(5) {
        some_answers(&mut gateway, &load);
        let (before, lost) = (gateway.workers(), load.lost());
        let worker = before[round % 2];
        kill(Pid::from_raw(worker), Signal::SIGSTOP).expect("our own worker");
        // one listens, one is to the master
        let connections = kit::sockets_of(worker) - 2;
        kill(Pid::from_raw(worker), Signal::SIGKILL).expect("our own worker");
        gateway.wait_for("another worker", |gateway| {
            let now = gateway.workers();
            now.len() == 2 && !now.contains(&worker)
        });
        some_answers(&mut gateway, &load);
        let lost = load.lost() - lost;
        assert!(lost <= connections, "{lost} requests lost with {connections} connections");
        let log = gateway.error_log();
        assert!(log.contains(&format!("worker process {worker} exited on signal 9")), "{log}");
    }
    let (_, lost) = load.stop();
    assert!(lost.iter().all(|lost| matches!(lost.loss, Loss::Silent(_) | Loss::Send(_))), "{lost:?}");
}

/// A worker that dies as soon as it starts must not take all processor time with it.
#[test]
fn a_worker_that_crashes_at_once_is_started_again_with_pauses() {
    let mut gateway = Gateway::start(CONF);
    let until = Instant::now() + Duration::from_millis(1500);
    let mut crashes = 0;
    while Instant::now() < until {
        let before = gateway.workers();
        if let Some(worker) = before.first() {
            kill(Pid::from_raw(*worker), Signal::SIGABRT).expect("our own worker");
            crashes += 1;
            gateway.wait_for("its end", |gateway| !gateway.workers().contains(worker));
        }
    }
    let log = gateway.error_log();
    assert!(log.contains("the next worker process in slot") && log.contains("starts in 200ms"), "{log}");
    assert!(crashes < 60, "{crashes} crashes in 1.5 s");
    // and it recovers by itself
    gateway.wait_for("two workers", |gateway| gateway.workers().len() == 2);
    assert_eq!(kit::get(gateway.addr(0), "/").text(), "one");
}

#[test]
fn why_a_worker_cannot_begin_is_told_and_logged() {
    // only the master may open this log: it does, and workers reopen what they were told by name
    let conf = CONF.replace("location / {", "location / { access_log logs/deep/access.log;");
    let mut gateway = Gateway::start_with(&conf, &[], |prefix| {
        std::fs::create_dir(prefix.join("logs/deep")).expect("a fresh directory");
    });
    std::fs::remove_dir_all(gateway.path("logs/deep")).expect("a directory");
    let worker = gateway.workers()[0];
    kill(Pid::from_raw(worker), Signal::SIGKILL).expect("our own worker");
    gateway.wait_for("the reason", |gateway| {
        let log = gateway.error_log();
        let said = |line: &str| line.contains("[emerg]") && line.contains("logs/deep/access.log");
        let by_master = format!("{0}#{0}:", gateway.pid());
        log.lines().any(|line| said(line) && line.contains(&by_master))
    });
    assert!(gateway.error_log().contains("exited with fatal code 2"));
}

#[test]
fn who_connects_after_quit_is_refused_at_once() {
    let mut gateway = Gateway::start(CONF);
    let mut client = Client::connect(gateway.addr(0));
    client.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");
    // its answer has begun: the worker will not end before it is complete
    gateway.wait_for("the head", |_| client.has_answer());
    gateway.signal(Signal::SIGQUIT);
    gateway.wait_for("a refusal", |gateway| TcpStream::connect(gateway.addr(0)).is_err());
    assert!(!gateway.workers().is_empty(), "the refusal came before the end");
    assert_eq!(client.answer().map(|answer| answer.text()).as_deref(), Some("slow"));
    assert!(gateway.wait().success());
}

#[test]
fn one_process_alone_serves_reloads_and_keeps_its_user() {
    let conf = CONF
        .replace("worker_processes 2;", "master_process off;")
        .replace("user root;", "user nobody nogroup;");
    let mut gateway = Gateway::start(&conf);
    assert_eq!(kit::get(gateway.addr(0), "/").text(), "one");
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).expect("it runs");
    let uid = nix::unistd::geteuid();
    assert!(status.contains(&format!("Uid:\t{uid}\t")), "{status}");
    gateway.rewrite_conf(&conf.replace("200 one", "200 two"), &[]);
    gateway.signal(Signal::SIGHUP);
    gateway.wait_for("the new configuration", |gateway| {
        TcpStream::connect(gateway.addr(0)).is_ok() && kit::get(gateway.addr(0), "/").text() == "two"
    });
    gateway.quit();
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

#[test]
fn workers_say_what_drives_them() {
    let gateway = Gateway::start(CONF);
    let log = gateway.error_log();
    if kit::is_io_uring_refused() {
        assert!(log.contains("using the \"epoll\" event method"), "{log}");
        assert!(log.contains("io_uring is not available, using epoll"), "{log}");
    } else {
        let driver = if log.contains("io_uring is not available") { "epoll" } else { "io_uring" };
        assert!(log.contains(&format!("using the \"{driver}\" event method")), "{log}");
    }
    gateway.quit();
}
