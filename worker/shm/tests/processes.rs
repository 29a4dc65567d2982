//! Several processes on one zone, and what happens when one is killed inside.
//!
//! A test starts this very binary again with a role; the child maps the parent's descriptor through `/proc` and says `ready` when
//! it has done what the role asks for.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    os::fd::{AsRawFd, OwnedFd},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use shm::{
    Counters, Dict, LimitConn, LimitReq, Lock, PeerZone, Spec, Table, Zone,
    counter::{STATUS, Status},
    dict::{End, Order, Value},
    limit::Lookup,
    peers::{GroupSpec, PeerConfig},
};

const ROLE: &str = "SHM_TEST_ROLE";
const ROUNDS: u64 = 20_000;

/// The bound asked of a takeover is 100 ms; the machine may be busy.
const TAKEOVER_MAX: Duration = Duration::from_millis(500);

fn spec(kind: shm::Kind, size: usize) -> Spec {
    Spec { name: "test".into(), size, kind }
}

fn raw() -> Spec {
    spec(shm::Kind { id: *b"test", layout: 0 }, 256 << 10)
}

struct Worker {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts a child and waits until it is ready.
    fn start(role: &str, zone: &Zone) -> Self {
        let mut worker = Self::launch(role, zone);
        worker.expect("ready");
        worker
    }

    fn launch(role: &str, zone: &Zone) -> Self {
        let path = format!("/proc/{}/fd/{}", std::process::id(), zone.fd().as_raw_fd());
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env(ROLE, format!("{role} {path}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, input, output }
    }

    fn expect(&mut self, word: &str) {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the child ended before it said {word}");
            if line.trim() == word {
                return;
            }
        }
    }

    /// Kills it and waits until it is dead, but leaves the zombie.
    fn kill(&mut self) {
        use nix::sys::wait::{Id, WaitPidFlag, waitid};
        self.child.kill().unwrap();
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).unwrap();
    }

    fn finish(mut self) {
        drop(self.input);
        self.output.read_to_end(&mut Vec::new()).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

/// Says `ready` and stays until killed or told to end.
fn stay() {
    println!("\nready");
    std::io::stdout().flush().unwrap();
    let _ = std::io::stdin().read(&mut [0]);
}

/// Not a test by itself: what a child does.
#[test]
fn child() {
    let Ok(role) = env::var(ROLE) else { return };
    let (role, path) = role.split_once(' ').unwrap();
    let fd: OwnedFd = std::fs::File::options().read(true).write(true).open(path).unwrap().into();
    match role {
        "hold" => {
            let zone = Zone::attach(fd, &raw()).unwrap();
            let lock = Lock::at(zone.body(), 0).unwrap();
            let _guard = lock.lock().unwrap();
            stay();
        }
        "increment" => {
            let zone = Zone::attach(fd, &raw()).unwrap();
            let lock = Lock::at(zone.body(), 0).unwrap();
            let word = zone.body().word64(128).unwrap();
            stay();
            for _ in 0..ROUNDS {
                let _guard = lock.lock().unwrap();
                word.store(
                    word.load(std::sync::atomic::Ordering::Relaxed) + 1,
                    std::sync::atomic::Ordering::Relaxed,
                );
            }
        }
        "churn" => {
            let zone = Zone::attach(fd, &raw()).unwrap();
            let table = Table::open(zone.body()).unwrap();
            println!("\nready");
            for n in 0u32.. {
                let key = format!("churn{}", n % 300);
                table.lock().unwrap().set(key.as_bytes(), &vec![n as u8; n as usize * 31 % 700], 30).unwrap();
            }
        }
        "dictionary" => {
            let zone = Zone::attach(fd, &dictionary()).unwrap();
            let dict = Dict::open(&zone).unwrap();
            println!("\nready");
            hammer(&dict);
        }
        "connections" => {
            let zone = Zone::attach(fd, &spec(LimitConn::KIND, 64 << 10)).unwrap();
            let conn = LimitConn::open(&zone).unwrap();
            let _held: Vec<_> = (0..3).map(|_| conn.acquire(b"k", 10).unwrap().unwrap()).collect();
            stay();
        }
        "requests" => {
            let zone = Zone::attach(fd, &spec(LimitReq::KIND, 64 << 10)).unwrap();
            let limit = LimitReq::open(&zone).unwrap();
            stay();
            for _ in 0..1000 {
                let _ = limit.account(b"k", 5000, 1, 1_500_000).unwrap();
            }
        }
        "gauges" => {
            let size = Counters::zone_size(STATUS);
            let zone = Zone::attach(fd, &spec(Counters::kind(STATUS), size)).unwrap();
            let mine = Counters::open(&zone, STATUS).unwrap().claim().unwrap();
            mine.add(Status::Requests, 5);
            mine.add(Status::Active, 5);
            stay();
        }
        "peers" => {
            let zone = Zone::attach(fd, &spec(PeerZone::KIND, 64 << 10)).unwrap();
            let mut peers = PeerZone::open(&zone).unwrap();
            peers.claim().unwrap();
            let mut guard = peers.group("up").unwrap().lock().unwrap();
            let peer = guard.find("p", "s").unwrap();
            guard.conn_opened(peer).unwrap();
            drop(guard);
            stay();
        }
        other => panic!("no such role: {other}"),
    }
}

#[test]
fn a_killed_holder_is_replaced_quickly_reaped_or_not() {
    let zone = Zone::create(&raw()).unwrap();
    let lock = Lock::at(zone.body(), 0).unwrap();
    for reap in [false, true] {
        let mut holder = Worker::start("hold", &zone);
        assert!(lock.try_lock().is_none());
        assert_eq!(lock.holder().unwrap().pid(), holder.child.id());
        holder.kill();
        if reap {
            holder.child.wait().unwrap();
        }
        let began = Instant::now();
        let guard = lock.lock().unwrap();
        let took = began.elapsed();
        println!("taken over after {took:?}, reaped: {reap}");
        assert!(took < TAKEOVER_MAX, "{took:?}");
        assert!(guard.poisoned());
        guard.clear_poison();
        drop(guard);
        holder.child.wait().unwrap();
    }
    assert_eq!(lock.takeovers(), 2);
}

#[test]
fn the_master_need_not_wait_for_a_dead_holder() {
    let zone = Zone::create(&raw()).unwrap();
    let lock = Lock::at(zone.body(), 0).unwrap();
    let mut holder = Worker::start("hold", &zone);
    assert!(lock.take_from_dead().is_none(), "it lives");
    holder.kill();
    holder.child.wait().unwrap();
    assert!(lock.take_from_dead().unwrap().poisoned());
}

#[test]
fn no_increment_is_lost_between_processes() {
    let zone = Zone::create(&raw()).unwrap();
    let mut workers: Vec<_> = (0..3).map(|_| Worker::start("increment", &zone)).collect();
    for worker in &mut workers {
        worker.input.write_all(b"!").unwrap();
    }
    workers.into_iter().for_each(Worker::finish);
    let total = zone.body().word64(128).unwrap().load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(total, 3 * ROUNDS);
    assert_eq!(Lock::at(zone.body(), 0).unwrap().takeovers(), 0);
}

#[test]
fn a_table_survives_workers_killed_in_the_middle_of_it() {
    let zone = Zone::create(&raw()).unwrap();
    let table = Table::format(zone.body(), 0).unwrap();
    table.lock().unwrap().set(b"precious", &[42; 64], 0).unwrap();
    for round in 0..12u8 {
        let mut workers = [Worker::start("churn", &zone), Worker::start("churn", &zone)];
        // Work against them for a while; each of these waits for one of theirs.
        for i in 0..200u32 {
            let mut guard = table.lock().unwrap();
            let precious = guard.find(b"precious").unwrap().expect("nobody removes it");
            guard.touch(precious).unwrap();
            assert!(guard.value(precious, |value| value == [42; 64]).unwrap());
            guard.set(&(i % 20).to_le_bytes(), &[round; 40], 30).unwrap();
        }
        for worker in &mut workers {
            worker.kill();
            worker.child.wait().unwrap();
        }
        table.recover().unwrap();
        let guard = table.lock().unwrap();
        let mut next = guard.oldest().unwrap();
        let mut entries = 0;
        while let Some(entry) = next {
            let key = guard.key(entry, <[u8]>::to_vec).unwrap();
            assert_eq!(guard.find(&key).unwrap(), Some(entry));
            if key.starts_with(b"churn") {
                let uniform = guard.value(entry, |value| value.iter().all(|byte| *byte == value[0])).unwrap();
                assert!(uniform, "a torn value under {key:?}");
            }
            entries += 1;
            next = guard.newer(entry).unwrap();
        }
        assert_eq!(entries, guard.len());
    }
    println!("{} takeovers in 24 kills", table.takeovers());
}

#[test]
fn what_the_dead_had_counted_is_taken_off() {
    let zone = Zone::create(&spec(LimitConn::KIND, 64 << 10)).unwrap();
    let conn = LimitConn::format(&zone).unwrap();
    let held = conn.acquire(b"k", 10).unwrap();
    let mut one = Worker::start("connections", &zone);
    let two = Worker::start("connections", &zone);
    assert_eq!(conn.count(b"k").unwrap(), 7);
    one.kill();
    assert_eq!(conn.retire_dead().unwrap(), 1);
    one.child.wait().unwrap();
    assert_eq!(conn.count(b"k").unwrap(), 4);
    two.finish();
    assert_eq!(conn.count(b"k").unwrap(), 1);
    drop(held);
    assert_eq!(conn.count(b"k").unwrap(), 0);
}

#[test]
fn workers_share_one_bucket() {
    let zone = Zone::create(&spec(LimitReq::KIND, 64 << 10)).unwrap();
    let limit = LimitReq::format(&zone).unwrap();
    let _ = limit.account(b"k", 5000, 1, 1_500_000).unwrap();
    let mut workers = [Worker::start("requests", &zone), Worker::start("requests", &zone)];
    for worker in &mut workers {
        worker.input.write_all(b"!").unwrap();
    }
    workers.into_iter().for_each(Worker::finish);
    // 2,000 requests on a burst of 1,500: exactly that many were let in.
    assert_eq!(limit.account(b"k", 5000, 1, 1_500_000).unwrap(), Lookup::Busy { excess: 1_501_000 });
}

#[test]
fn gauges_die_with_their_worker_and_counters_do_not() {
    let size = Counters::zone_size(STATUS);
    let zone = Zone::create(&spec(Counters::kind(STATUS), size)).unwrap();
    let counters = Counters::open(&zone, STATUS).unwrap();
    let mut worker = Worker::start("gauges", &zone);
    assert_eq!((counters.sum(Status::Requests), counters.sum(Status::Active)), (5, 5));
    worker.kill();
    counters.retire_dead().unwrap();
    worker.child.wait().unwrap();
    assert_eq!((counters.sum(Status::Requests), counters.sum(Status::Active)), (5, 0));
}

#[test]
fn a_dead_workers_upstream_connections_are_taken_off() {
    let zone = Zone::create(&spec(PeerZone::KIND, 64 << 10)).unwrap();
    let peers = PeerZone::format(&zone, &[GroupSpec { name: "up", peers_min: 1 }], 2).unwrap();
    let group = peers.group("up").unwrap();
    let config = PeerConfig { name: "p", server: "s", ..PeerConfig::default() };
    let peer = group.lock().unwrap().add(&config).unwrap();
    let mut worker = Worker::start("peers", &zone);
    assert_eq!(group.lock().unwrap().state(peer).unwrap().conns, 1);
    worker.kill();
    assert_eq!(peers.retire_dead().unwrap(), 1);
    worker.child.wait().unwrap();
    assert_eq!(group.lock().unwrap().state(peer).unwrap().conns, 0);
}

fn dictionary() -> Spec {
    spec(Dict::KIND, 256 << 10)
}

/// Does everything there is to do to a dictionary, for ever. Texts are of one byte, so that a torn one is noticed.
fn hammer(dict: &Dict) {
    for n in 0u64.. {
        let key = (n * 7919 % 60).to_le_bytes();
        let text = vec![n as u8; n as usize * 31 % 900];
        let order = Order { ttl_ms: n % 3 * 10, ..Order::SET };
        match n % 9 {
            0 | 1 => drop(dict.store(&key, Value::String(&text), order, n)),
            2 => drop(dict.incr(&key, 1.0, Some((0.0, 0)), n)),
            3 => drop(dict.push(b"list", Value::String(&text), End::Left, n)),
            4 => drop(dict.push(b"list", Value::Number(1.0), End::Right, n)),
            5 | 6 => drop(dict.pop(b"list", End::Right, n, |_| ())),
            7 => drop(dict.delete(&key, n)),
            _ => check_text(dict, &key, n),
        }
        let _ = dict.incr(b"precious", 1.0, None, n);
    }
}

fn check_text(dict: &Dict, key: &[u8], now: u64) {
    let _ = dict.get(key, now, true, |found| {
        if let Value::String(text) = found.value {
            assert!(text.iter().all(|byte| *byte == text[0]), "a torn value");
        }
    });
}

#[test]
fn a_dictionary_survives_workers_killed_in_the_middle_of_it() {
    let zone = Zone::create(&dictionary()).unwrap();
    let dict = Dict::format(&zone).unwrap();
    dict.store(b"precious", Value::Number(0.0), Order::SET, 1).unwrap();
    let mut workers: Vec<_> = (0..4).map(|_| Worker::start("dictionary", &zone)).collect();
    let mut last = 0.0;
    for round in 0..40usize {
        let victim = &mut workers[round % 4];
        victim.kill();
        victim.child.wait().unwrap();
        workers[round % 4] = Worker::start("dictionary", &zone);
        // nobody waits longer than for one takeover, and what counts only grows
        let began = Instant::now();
        let now = dict.incr(b"precious", 0.0, None, 1).expect("it is used most of all").value;
        assert!(began.elapsed() < TAKEOVER_MAX, "{:?}", began.elapsed());
        assert!(now >= last, "{now} after {last}");
        last = now;
        for n in 0..60u64 {
            check_text(&dict, &n.to_le_bytes(), 1);
        }
        dict.llen(b"list", 1).unwrap();
    }
    for worker in &mut workers {
        worker.kill();
        worker.child.wait().unwrap();
    }
    dict.recover().unwrap();
    let mut keys = Vec::new();
    dict.keys(0, 1, |key| keys.push(key.to_vec())).unwrap();
    for key in &keys {
        check_text(&dict, key, 1);
    }
    assert!(last > 0.0 && keys.contains(&b"precious".to_vec()));
    dict.flush_all().unwrap();
    dict.flush_expired(0, 2).unwrap();
    assert!(dict.free_space().unwrap() > 200 << 10, "no memory is lost");
}
