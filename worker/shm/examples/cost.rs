//! What the operations cost, in nanoseconds: `cargo run --release -p uresty-shm --example cost`.
//!
//! The first figures are the best of several passes of one process alone, the last ones the mean while a second process does the
//! same on the same zone.

use std::{
    hint::black_box,
    process::{Command, Stdio},
    sync::atomic::Ordering,
    time::Instant,
};

use shm::{
    Counters, Dict, Identity, LimitConn, LimitReq, Lock, PeerZone, Region, Result, Spec, Table, Zone,
    counter::{STATUS, Status},
    dict::{Order, Value},
    peers::{GroupSpec, PeerConfig},
};

const ROUNDS: u32 = 200_000;
const PASSES: u32 = 5;

fn best(mut op: impl FnMut(u32)) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..PASSES {
        let began = Instant::now();
        (0..ROUNDS).for_each(&mut op);
        best = best.min(began.elapsed().as_nanos() as f64 / f64::from(ROUNDS));
    }
    best
}

/// The mean of all passes: under contention the best one is the one that met nobody.
fn mean(mut op: impl FnMut(u32)) -> f64 {
    let began = Instant::now();
    (0..PASSES * ROUNDS).for_each(&mut op);
    began.elapsed().as_nanos() as f64 / f64::from(PASSES * ROUNDS)
}

fn report(what: &str, ns: f64) {
    println!("{what:<44} {ns:>8.1}");
}

fn zone(kind: shm::Kind, size: usize) -> Result<Zone> {
    Zone::create(&Spec { name: "cost".into(), size, kind })
}

fn key(n: u32) -> [u8; 16] {
    let mut key = *b"key-000000000000";
    key[12..].copy_from_slice(&n.to_be_bytes());
    key
}

fn alone() -> Result<()> {
    let region = Region::anonymous(4096)?;
    let lock = Lock::at(&region, 0)?;
    report("lock + unlock", best(|_| drop(black_box(lock.lock()))));
    report(
        "Identity::current",
        best(|_| {
            black_box(Identity::current());
        }),
    );

    let region = Region::anonymous(16 << 20)?;
    let table = Table::format(&region, 0)?;
    for n in 0..10_000 {
        table.lock()?.set(&key(n), &[7; 32], 0)?;
    }
    let get = |n: u32| table.lock().and_then(|guard| Ok(guard.find(&key(n))?.is_some()));
    report("table: get of 1 key", best(|_| drop(black_box(get(1)))));
    report("table: get of 10,000 keys", best(|n| drop(black_box(get(n % 10_000)))));
    let set = |n: u32| table.lock().and_then(|mut guard| guard.set(&key(n), &[8; 32], 0));
    report("table: overwrite of 10,000 keys", best(|n| drop(black_box(set(n % 10_000)))));
    let cycle = |n: u32| {
        table.lock().and_then(|mut guard| {
            let entry = guard.insert(&key(n + 1_000_000), 32)?;
            guard.remove(entry)
        })
    };
    report("table: insert + remove", best(|n| drop(black_box(cycle(n)))));

    let limit = LimitReq::format(&zone(LimitReq::KIND, 10 << 20)?)?;
    let account = |n: u32| limit.account(&key(n), u64::from(n) + 1, 1000, 1 << 40);
    report("limit_req: account of 1 key", best(|_| drop(black_box(account(1)))));
    report("limit_req: account of 10,000 keys", best(|n| drop(black_box(account(n % 10_000)))));

    let conn = LimitConn::format(&zone(LimitConn::KIND, 1 << 20)?)?;
    report("limit_conn: acquire + release", best(|n| drop(black_box(conn.acquire(&key(n % 1000), 10)))));

    let counters = Counters::open(&zone(Counters::kind(STATUS), Counters::zone_size(STATUS))?, STATUS)?;
    let mine = counters.claim()?;
    report("counter: add", best(|_| mine.add(Status::Requests, black_box(1))));

    let peers =
        PeerZone::format(&zone(PeerZone::KIND, 64 << 10)?, &[GroupSpec { name: "up", peers_min: 4 }], 2)?;
    let group = peers.group("up").ok_or(shm::Error::NotFound)?;
    for name in ["a", "b", "c", "d"] {
        group.lock()?.add(&PeerConfig { name, ..PeerConfig::default() })?;
    }
    let round = |_| {
        group.lock().and_then(|mut guard| {
            let refs: Vec<_> = guard.peers().collect();
            for &peer in &refs {
                let weight = guard.field(peer, shm::peers::Field::CurrentWeight)?;
                guard.set_field(peer, shm::peers::Field::CurrentWeight, weight + 1)?;
            }
            refs.first()
                .map_or(Ok(()), |&peer| guard.conn_opened(peer).and_then(|()| guard.conn_closed(peer)))
        })
    };
    report("peers: one round over 4 + count", best(|n| drop(black_box(round(n)))));
    dictionary()
}

fn dictionary() -> Result<()> {
    let dict = Dict::format(&zone(Dict::KIND, 10 << 20)?)?;
    let set = |n: u32| dict.store(&key(n % 10_000), Value::String(&[7; 32]), Order::SET, u64::from(n));
    report("dict: set of 10,000 keys", best(|n| drop(black_box(set(n)))));
    let get = |n: u32| dict.get(&key(n), 1, false, |found| matches!(found.value, Value::String(_)));
    report("dict: get of 1 key", best(|_| drop(black_box(get(1)))));
    report("dict: get of 10,000 keys", best(|n| drop(black_box(get(n % 10_000)))));
    let incr = |n: u32| dict.incr(&key(n), 1.0, Some((0.0, 0)), 1);
    report("dict: incr of 1 key", best(|_| drop(black_box(incr(20_000)))));
    report("dict: incr of 10,000 keys", best(|n| drop(black_box(incr(20_000 + n % 10_000)))));
    Ok(())
}

const SHARED: usize = 10 << 20;
const STOP_AT: usize = 256;

fn spec() -> Spec {
    Spec { name: "shared".into(), size: SHARED, kind: LimitReq::KIND }
}

/// The second process: the same operation until told to stop.
fn rival(path: &str, what: &str) -> Result<()> {
    let file = std::fs::File::options().read(true).write(true).open(path);
    let fd = file.map_err(|source| shm::Error::System { call: "open", source })?.into();
    let zone = Zone::attach(fd, &spec())?;
    let stop = zone.body().word64(zone.body().len() - STOP_AT)?;
    stop.store(1, Ordering::Release);
    let mut op = contended(&zone, what)?;
    while stop.load(Ordering::Relaxed) != 2 {
        (0..100).for_each(&mut op);
    }
    Ok(())
}

fn contended(zone: &Zone, what: &str) -> Result<Box<dyn FnMut(u32)>> {
    let tables = zone.body().part(64, zone.body().len() / 2 / 64 * 64)?;
    Ok(match what {
        "lock" => {
            let lock = Lock::at(zone.body(), 0)?;
            Box::new(move |_| drop(black_box(lock.lock())))
        }
        "limit_req, 1 table" => {
            let limit = LimitReq::open_region(&tables.part(0, 1 << 20)?)?;
            Box::new(move |n| {
                drop(black_box(limit.account(&key(n % 10_000), u64::from(n) + 1, 1000, 1 << 40)))
            })
        }
        "dict incr, 1 key" | "dict incr, 10,000 keys" => {
            let dict = Dict::open_region(&dictionary_part(zone)?)?;
            let keys = if what.ends_with("1 key") { 1 } else { 10_000 };
            Box::new(move |n| drop(black_box(dict.incr(&key(n % keys), 1.0, Some((0.0, 0)), 1))))
        }
        "dict get, 1 key" | "dict get, 10,000 keys" => {
            let dict = Dict::open_region(&dictionary_part(zone)?)?;
            let keys = if what.ends_with("1 key") { 1 } else { 10_000 };
            for n in 0..10_000 {
                // it is there or was refused: either costs what it costs
                let _ = dict.store(&key(n), Value::Number(1.0), Order::SET, 1);
            }
            Box::new(move |n| drop(black_box(dict.get(&key(n % keys), 1, false, |_| ()))))
        }
        _ => {
            let limit = LimitReq::open_region(&tables)?;
            Box::new(move |n| {
                drop(black_box(limit.account(&key(n % 10_000), u64::from(n) + 1, 1000, 1 << 40)))
            })
        }
    })
}

/// As much of the zone as makes two tables.
fn dictionary_part(zone: &Zone) -> Result<Region> {
    zone.body().part(64, 9 << 20)
}

fn together(what: &str) -> Result<()> {
    let zone = Zone::create(&spec())?;
    let tables = zone.body().part(64, zone.body().len() / 2 / 64 * 64)?;
    match what {
        "lock" => {}
        "limit_req, 1 table" => drop(shm::Shards::format(&tables.part(0, 1 << 20)?, 0)?),
        dict if dict.starts_with("dict") => drop(Dict::format_region(&dictionary_part(&zone)?)?),
        _ => drop(shm::Shards::format(&tables, 0)?),
    }
    let fd = std::os::fd::AsRawFd::as_raw_fd(&zone.fd());
    let path = format!("/proc/{}/fd/{fd}", std::process::id());
    let system = |call| move |source| shm::Error::System { call, source };
    let mut child = Command::new("/proc/self/exe")
        .args([&path, what])
        .stdin(Stdio::null())
        .spawn()
        .map_err(system("spawn"))?;
    let stop = zone.body().word64(zone.body().len() - STOP_AT)?;
    while stop.load(Ordering::Acquire) != 1 {
        std::thread::yield_now();
    }
    let mut op = contended(&zone, what)?;
    report(&format!("{what}, against another process"), mean(&mut op));
    stop.store(2, Ordering::Release);
    child.wait().map_err(system("wait"))?;
    Ok(())
}

fn main() -> Result<()> {
    let args: Vec<_> = std::env::args().collect();
    if let [_, path, what] = &args[..] {
        return rival(path, what);
    }
    println!("{:<44} {:>8}", "", "ns");
    alone()?;
    [
        "lock",
        "limit_req, 1 table",
        "limit_req, 4 tables",
        "dict incr, 1 key",
        "dict incr, 10,000 keys",
        "dict get, 1 key",
        "dict get, 10,000 keys",
    ]
    .into_iter()
    .try_for_each(together)
}
