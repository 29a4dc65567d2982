//! The methods against simple models and known orders.

use std::collections::BTreeMap;
use std::rc::Rc;

use net::Addr;
use shm::peers::DOWN;

use super::crc32::Crc32;
use super::*;
use crate::upstream::{Blame, Outcome, Peer, Picked};
use crate::zone::{GroupRoom, ZoneKind, ZoneSpec};

/// Servers at 127.0.0.1, ports from 8081 on, with these weights.
fn servers(weights: &[u32]) -> Vec<Server> {
    let server = |(at, weight): (usize, &u32)| {
        let name = format!("127.0.0.1:{}", 8081 + at);
        let addr = Addr::from(name.parse::<std::net::SocketAddr>().unwrap());
        Server { weight: *weight, ..Server::new(&name, vec![addr]) }
    };
    weights.iter().enumerate().map(server).collect()
}

fn group(servers: Vec<Server>, method: impl Method + 'static) -> Group {
    Group::new("u".into(), servers, Box::new(method), Seed::None, None)
}

/// The last digit of a server's port, less one: a is 8081.
fn letter(peer: &Peer) -> char {
    char::from(b'a' + (peer.addr.port() - 8081) as u8)
}

const GOOD: Outcome = Outcome { blame: Blame::None, header_ms: Some(1), response_ms: 1 };
const BAD: Outcome = Outcome { blame: Blame::Failed, header_ms: None, response_ms: 1 };

fn pick(group: &Group) -> Option<Picked> {
    group.choose(&[], None, &mut Memory::default())
}

/// The servers of `count` requests, each ended as `outcome` says.
fn run(group: &Group, count: usize, outcome: impl Fn(char) -> Outcome) -> String {
    let one = |_| match pick(group) {
        None => '-',
        Some(picked) => {
            let name = letter(&picked.peer);
            group.finish(&picked, outcome(name));
            name
        }
    };
    (0..count).map(one).collect()
}

/// All servers one request is sent to, none of which works.
fn tries(group: &Group, memory: &mut Memory) -> String {
    let mut tried: Vec<Rc<Peer>> = Vec::new();
    let mut names = String::new();
    while let Some(picked) = group.choose(&tried, None, memory) {
        names.push(letter(&picked.peer));
        tried.push(Rc::clone(&picked.peer));
        group.finish(&picked, BAD);
        if tried.len() > 10 {
            break;
        }
    }
    names
}

fn counts(names: &str) -> BTreeMap<char, usize> {
    let mut counts = BTreeMap::new();
    names.chars().for_each(|name| *counts.entry(name).or_insert(0) += 1);
    counts
}

#[test]
fn turns_are_smooth() {
    let cases: [(&[u32], &str); 4] =
        [(&[5, 1, 1], "aabacaaaabacaa"), (&[1, 1, 1], "abcabc"), (&[3, 2], "abaabababa"), (&[1], "aaaa")];
    for (weights, expected) in cases {
        let group = group(servers(weights), RoundRobin);
        let order = run(&group, expected.len(), |_| GOOD);
        if weights == [3, 2] {
            assert_eq!(counts(&order), BTreeMap::from([('a', 6), ('b', 4)]));
            assert!(!order.contains("aaa") && !order.contains("bb"), "{order}");
        } else {
            assert_eq!(order, expected, "{weights:?}");
        }
    }
}

#[test]
fn failures_take_a_server_out() {
    let group = group(servers(&[1, 1, 1]), RoundRobin);
    // max_fails=1: b fails once and is left alone for fail_timeout
    assert_eq!(run(&group, 8, |name| if name == 'b' { BAD } else { GOOD }), "abccacac");
}

#[test]
fn the_only_server_is_never_out() {
    let group = group(servers(&[1]), RoundRobin);
    assert_eq!(run(&group, 3, |_| BAD), "aaa");
    assert_eq!(group.current().tries(), 1);
}

#[test]
fn one_request_tries_each_server_once_and_backups_last() {
    let mut list = servers(&[1, 1, 1, 1]);
    list[2].backup = true;
    list[3].down = DOWN;
    let group = group(list, RoundRobin);
    assert_eq!(tries(&group, &mut Memory::default()), "abc");
    assert_eq!(group.current().tries(), 3);
    assert_eq!(run(&group, 2, |_| GOOD), "--", "all have failed");
}

#[test]
fn a_lowered_weight_comes_back() {
    let mut list = servers(&[4, 1]);
    list[0].max_fails = 2;
    let group = group(list, RoundRobin);
    assert_eq!(run(&group, 1, |_| BAD), "a");
    // effective weight of a: 4 - 4/2 = 2, then one more with each turn
    assert_eq!(run(&group, 5, |_| GOOD), "baaab");
}

#[test]
fn max_conns_holds() {
    let mut list = servers(&[1, 1]);
    list[0].max_conns = 1;
    let group = group(list, RoundRobin);
    let held: Vec<Picked> = (0..4).map(|_| pick(&group).unwrap()).collect();
    let names: String = held.iter().map(|picked| letter(&picked.peer)).collect();
    assert_eq!(names, "abbb");
    held.iter().for_each(|picked| {
        group.finish(picked, GOOD);
    });
    assert_eq!(run(&group, 2, |_| GOOD).matches('a').count(), 1);
}

#[test]
fn least_conn_fills_by_weight() {
    let group = group(servers(&[2, 1]), LeastConn);
    let held: Vec<Picked> = (0..9).map(|_| pick(&group).unwrap()).collect();
    let names: String = held.iter().map(|picked| letter(&picked.peer)).collect();
    assert_eq!(counts(&names), BTreeMap::from([('a', 6), ('b', 3)]));
    // a is freed: everything goes there until both are equally full
    for picked in held.iter().filter(|picked| letter(&picked.peer) == 'a') {
        group.finish(picked, GOOD);
    }
    let names: String = (0..4).map(|_| letter(&pick(&group).unwrap().peer)).collect();
    assert_eq!(names, "aaaa");
}

#[test]
fn hash_is_what_memcached_clients_compute() {
    let weights = [1, 2, 3];
    let group = group(servers(&weights), Hash);
    for n in 0..200 {
        let key = format!("key {n}");
        let hash = Crc32::of(key.as_bytes()) >> 16 & 0x7fff;
        let flat = ['a', 'b', 'b', 'c', 'c', 'c'];
        let mut memory = Memory { key: key.clone().into_bytes(), ..Memory::default() };
        let picked = group.choose(&[], None, &mut memory).unwrap();
        assert_eq!(letter(&picked.peer), flat[hash as usize % flat.len()], "{key}");
        group.finish(&picked, GOOD);
    }
    let memory = || Memory { key: b"x".to_vec(), ..Memory::default() };
    let mut all: Vec<char> = tries(&group, &mut memory()).chars().collect();
    all.sort_unstable();
    assert_eq!(all, ['a', 'b', 'c'], "rehashed until all were tried");
}

#[test]
fn consistent_hash_moves_few_keys() {
    let home = |count: usize| {
        let group = group(servers(&vec![1; count]), ConsistentHash);
        let one = |n: usize| {
            let mut memory = Memory { key: format!("/{n}").into_bytes(), ..Memory::default() };
            letter(&group.choose(&[], None, &mut memory).unwrap().peer)
        };
        (0..3000).map(one).collect::<String>()
    };
    let (three, four) = (home(3), home(4));
    for (name, count) in counts(&three) {
        assert!((700..1300).contains(&count), "{name}: {count}");
    }
    for (before, after) in three.chars().zip(four.chars()) {
        assert!(before == after || after == 'd', "a key moved between old servers");
    }
}

#[test]
fn ip_hash_follows_the_address() {
    // the arithmetic by hand: 89, times 113 plus each byte, modulo 6271
    let model = |bytes: &[u8]| bytes.iter().fold(89u32, |hash, byte| (hash * 113 + u32::from(*byte)) % 6271);
    let group = group(servers(&[1, 1, 1]), IpHash);
    for third in 0..=255u8 {
        let bytes = [10, 20, third];
        let mut memory = Memory { key: bytes.to_vec(), ..Memory::default() };
        let picked = group.choose(&[], None, &mut memory).unwrap();
        assert_eq!(letter(&picked.peer), ['a', 'b', 'c'][model(&bytes) as usize % 3]);
    }
}

#[test]
fn random_keeps_to_the_weights() {
    let single = group(servers(&[3, 1]), Random { two: false });
    let share = counts(&run(&single, 4000, |_| GOOD));
    assert!((2800..3200).contains(&share[&'a']), "{share:?}");
    let two = group(servers(&[1, 1, 1]), Random { two: true });
    let held: Vec<Picked> = (0..300).map(|_| pick(&two).unwrap()).collect();
    let share = counts(&held.iter().map(|picked| letter(&picked.peer)).collect::<String>());
    assert!(share.values().all(|count| (85..115).contains(count)), "{share:?}");
}

#[test]
fn least_time_prefers_the_fast() {
    let group = group(servers(&[1, 1]), LeastTime { measure: Measure::LastByte, inflight: false });
    let outcome = |name| Outcome { response_ms: if name == 'a' { 900 } else { 10 }, ..GOOD };
    run(&group, 2, outcome);
    assert_eq!(run(&group, 10, outcome), "b".repeat(10));
    let header = Outcome { header_ms: None, ..GOOD };
    assert_eq!(run(&group, 3, |_| header), "bbb", "without a head nothing is learnt");
}

#[test]
fn running_requests_count_when_asked_to() {
    let group = group(servers(&[1, 1]), LeastTime { measure: Measure::Header, inflight: true });
    let held: Vec<Picked> = (0..4).map(|_| pick(&group).unwrap()).collect();
    let names: String = held.iter().map(|picked| letter(&picked.peer)).collect();
    assert_eq!(counts(&names), BTreeMap::from([('a', 2), ('b', 2)]));
    for picked in &held {
        group.finish(picked, GOOD);
    }
    assert_eq!(counts(&run(&group, 6, |_| GOOD)).len(), 2);
}

#[test]
fn bound_sessions_stay_and_draining_servers_get_no_others() {
    let mut list = servers(&[1, 1]);
    list[1].route = Some(Rc::from(*b"r2"));
    list[1].down = shm::peers::DRAINING;
    let group = group(list, RoundRobin);
    assert_eq!(run(&group, 3, |_| GOOD), "aaa");
    for _ in 0..3 {
        let picked = group.choose(&[], Some(b"r2"), &mut Memory::default()).unwrap();
        assert_eq!(letter(&picked.peer), 'b');
        group.finish(&picked, GOOD);
    }
    // the id of a server without a route is the MD5 of its address
    let sid = group.servers[0].sid("127.0.0.1:8081");
    assert_eq!(sid.len(), 32);
    let picked = group.choose(&[], Some(&sid), &mut Memory::default()).unwrap();
    assert_eq!(letter(&picked.peer), 'a');
}

/// What a zone for group `u` is to be.
fn zone_spec(peers_min: u32, dynamic: Vec<DynamicRoom>) -> ZoneSpec {
    let room = GroupRoom { name: "u".into(), peers_min, dynamic, digest: 7 };
    ZoneSpec { name: "z".into(), size: 64 << 10, kind: ZoneKind::Upstream, groups: vec![room] }
}

fn make(spec: &ZoneSpec) -> shm::Zone {
    let zone = shm::Zone::create(&spec.shm()).unwrap();
    spec.format(&zone).unwrap();
    zone
}

fn zone(peers_min: u32) -> shm::Zone {
    make(&zone_spec(peers_min, Vec::new()))
}

#[test]
fn workers_share_turns_failures_and_connections() {
    let zone = zone(3);
    let list = || {
        let mut list = servers(&[1, 1, 1]);
        list[2].backup = true;
        list
    };
    let (one, two) = (group(list(), RoundRobin), group(list(), RoundRobin));
    one.open(&zone).unwrap();
    two.open(&zone).unwrap();
    assert_eq!(one.shared().unwrap().snapshot().len(), 3, "entered once");
    let turn = |group: &Group, outcome| {
        let picked = pick(group).unwrap();
        group.finish(&picked, outcome);
        letter(&picked.peer)
    };
    assert_eq!([turn(&one, GOOD), turn(&two, GOOD), turn(&one, GOOD)], ['a', 'b', 'a']);
    assert_eq!(turn(&two, BAD), 'b');
    assert_eq!([turn(&one, GOOD), turn(&one, GOOD)], ['a', 'a'], "failed for all");
    assert_eq!(turn(&one, BAD), 'a');
    assert_eq!(turn(&two, GOOD), 'c', "the backup");
}

#[test]
fn addresses_come_and_go_under_running_requests() {
    let zone = zone(1);
    let group = group(servers(&[1]), RoundRobin);
    group.open(&zone).unwrap();
    let shared = group.shared().unwrap();
    let running = pick(&group).unwrap();
    let added = shared.lock().unwrap().add(&group.servers[0].config("127.0.0.1:8082", 0)).unwrap();
    assert_eq!(counts(&run(&group, 4, |_| GOOD)), BTreeMap::from([('a', 2), ('b', 2)]));
    let other = loop {
        let picked = pick(&group).unwrap();
        if letter(&picked.peer) == 'b' {
            break picked;
        }
        group.finish(&picked, GOOD);
    };
    shared.lock().unwrap().remove(added).unwrap();
    assert_eq!(run(&group, 2, |_| GOOD), "aa");
    group.finish(&other, BAD);
    group.finish(&running, GOOD);
    assert_eq!(run(&group, 2, |_| GOOD), "aa");
    let states = shared.snapshot();
    assert_eq!((states.len(), states[0].1.conns), (1, 0));
}

#[test]
fn a_reload_keeps_what_names_stand_for() {
    let named = |port: u16| {
        let dynamic = Dynamic { host: "a.test".into(), port, service: None };
        Server { dynamic: Some(dynamic), ..Server::new(&format!("a.test:{port}"), Vec::new()) }
    };
    let of = |list: &[Server]| zone_spec(1, DynamicRoom::of(list));
    let (old_list, new_list) = (vec![named(8081)], [servers(&[1]), vec![named(8082)]].concat());
    let (before, after) = (of(&old_list), of(&new_list));
    let (old, new) = (make(&before), make(&after));
    let running = group(old_list, RoundRobin);
    running.open(&old).unwrap();
    running.shared().unwrap().lock().unwrap().add(&running.servers[0].config("127.0.0.1:8081", 0)).unwrap();
    after.carry(&new, &before, &old).unwrap();
    let next = group(new_list, RoundRobin);
    next.open(&new).unwrap();
    assert_eq!(counts(&run(&next, 4, |_| GOOD)), BTreeMap::from([('a', 2), ('b', 2)]));
    let names: Vec<_> = next.current().members().map(|member| member.peer.server.to_string()).collect();
    assert!(names.contains(&"a.test:8082".into()), "{names:?}");
}
