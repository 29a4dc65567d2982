use super::*;
use crate::{map::kill, slot::tests::dead, zone::Spec};

fn zone(size: usize) -> Zone {
    Zone::create(&Spec { name: "up".into(), size, kind: PeerZone::KIND }).unwrap()
}

fn fresh() -> (Zone, PeerZone) {
    let zone = zone(64 << 10);
    let groups = [GroupSpec { name: "a", peers_min: 2 }, GroupSpec { name: "b", peers_min: 1 }];
    let peers = PeerZone::format(&zone, &groups, 4).unwrap();
    (zone, peers)
}

fn config<'a>(name: &'a str) -> PeerConfig<'a> {
    PeerConfig { name, server: "backend", weight: 5, ..PeerConfig::default() }
}

fn names(group: &Group) -> Vec<String> {
    let guard = group.lock().unwrap();
    guard.peers().map(|peer| guard.names(peer).unwrap().0).collect()
}

#[test]
fn two_handles_share_the_state() {
    let (zone, one) = fresh();
    let two = PeerZone::open(&zone).unwrap();
    let (a, b) = (one.group("a").unwrap(), two.group("a").unwrap());
    assert!(one.group("c").is_none() && two.groups().count() == 2);
    let before = b.generation();
    let peer = a.lock().unwrap().add(&config("10.0.0.1:80")).unwrap();
    assert!(b.generation() != before);
    a.lock().unwrap().update(peer, |state| state.fails = 3).unwrap();
    a.lock().unwrap().set_field(peer, Field::CurrentWeight, -7).unwrap();
    let guard = b.lock().unwrap();
    assert_eq!(guard.find("10.0.0.1:80", "backend"), Some(peer));
    assert_eq!(guard.find("10.0.0.1:80", "other"), None);
    let state = guard.state(peer).unwrap();
    assert_eq!((state.fails, state.current_weight, state.weight, state.effective_weight), (3, -7, 5, 5));
    assert_eq!(guard.field(peer, Field::Fails).unwrap(), 3);
    assert_eq!(b.snapshot(), [(peer, state)]);
}

#[test]
fn room_is_what_the_zone_gives() {
    let groups = [GroupSpec { name: "a", peers_min: 200 }];
    assert!(matches!(PeerZone::format(&zone(64 << 10), &groups, 4), Err(Error::TooSmall { .. })));
    let (_zone, peers) = fresh();
    let a = peers.group("a").unwrap();
    assert!(a.capacity() > 40, "{}", a.capacity());
    let mut guard = a.lock().unwrap();
    for i in 0..a.capacity() {
        guard.add(&config(&format!("10.0.0.{i}:80"))).unwrap();
    }
    assert!(matches!(guard.add(&config("one more")), Err(Error::NoMemory)));
    assert!(peers.group("b").unwrap().lock().unwrap().peers().next().is_none(), "the neighbour is untouched");
    let first = guard.peers().next().unwrap();
    guard.remove(first).unwrap();
    let again = guard.add(&config("10.0.0.0:80")).unwrap();
    assert!(guard.state(first).is_err() && guard.state(again).is_ok(), "same record, another peer");
    assert!(matches!(guard.conn_closed(first), Err(Error::NotFound)));
    let long = "x".repeat(400);
    guard.remove(again).unwrap();
    assert!(matches!(guard.add(&config(&long)), Err(Error::TooLong { .. })));
}

#[test]
fn the_dead_have_no_connections() {
    let (zone, _) = fresh();
    let mut ghost = PeerZone::open_as(&zone, dead(1)).unwrap();
    let parent = Identity::of_pid(std::os::unix::process::parent_id()).unwrap();
    let mut live = PeerZone::open_as(&zone, parent).unwrap();
    live.claim().unwrap();
    ghost.claim().unwrap();
    let peer = live.group("a").unwrap().lock().unwrap().add(&config("p")).unwrap();
    for zone in [&ghost, &ghost, &live] {
        zone.group("a").unwrap().lock().unwrap().conn_opened(peer).unwrap();
    }
    let conns = || live.group("a").unwrap().lock().unwrap().state(peer).unwrap().conns;
    assert_eq!(conns(), 3);
    assert_eq!(live.retire_dead().unwrap(), 1);
    assert_eq!(conns(), 1);
    for _ in 0..3 {
        live.group("a").unwrap().lock().unwrap().conn_closed(peer).unwrap();
    }
    assert_eq!(conns(), 0, "nobody counts below nothing");
}

#[test]
fn reconcile_keeps_what_stays() {
    let (_zone, peers) = fresh();
    let a = peers.group("a").unwrap();
    a.lock().unwrap().reconcile(&[config("1"), config("2")]).unwrap();
    let two = a.lock().unwrap().find("2", "backend").unwrap();
    a.lock().unwrap().update(two, |state| state.fails = 9).unwrap();
    let heavier = PeerConfig { weight: 8, ..config("2") };
    a.lock().unwrap().reconcile(&[heavier, config("3"), config("3")]).unwrap();
    assert_eq!(names(a), ["3", "2"]);
    let state = a.lock().unwrap().state(two).unwrap();
    assert_eq!((state.fails, state.weight), (9, 8));
}

#[test]
fn a_new_zone_adopts_the_old_ones_memory() {
    let (_old_zone, old) = fresh();
    let (_new_zone, new) = fresh();
    let (old, new) = (old.group("a").unwrap(), new.group("a").unwrap());
    let there = old.lock().unwrap().add(&config("same")).unwrap();
    old.lock().unwrap().add(&config("gone")).unwrap();
    old.lock().unwrap().conn_opened(there).unwrap();
    old.lock()
        .unwrap()
        .update(there, |state| {
            state.fails = 2;
            state.effective_weight = 3;
            state.requests = 100;
        })
        .unwrap();
    let mut guard = new.lock().unwrap();
    guard.add(&config("fresh")).unwrap();
    let here = guard.add(&PeerConfig { weight: 10, ..config("same") }).unwrap();
    assert_eq!(guard.adopt(old).unwrap(), 1);
    let state = guard.state(here).unwrap();
    assert_eq!(
        (state.fails, state.weight, state.effective_weight, state.requests, state.conns),
        (2, 10, 8, 100, 0)
    );
}

#[test]
fn death_at_any_store_leaves_a_sound_group() {
    for n in 0.. {
        let (_zone, peers) = fresh();
        let a = peers.group("a").unwrap();
        let one = a.lock().unwrap().add(&config("one")).unwrap();
        let died = kill::dies_at(n, || {
            let mut guard = a.lock().unwrap();
            guard.conn_opened(one).unwrap();
            guard.update(one, |state| state.current_weight = 50).unwrap();
            guard.add(&config("two")).unwrap();
            guard.conn_closed(one).unwrap();
        });
        let mut guard = a.lock().unwrap();
        let state = guard.state(one).unwrap();
        assert!(state.conns <= 1 && state.weight == 5);
        assert!(!died || state.current_weight == 0);
        for peer in guard.peers().collect::<Vec<_>>() {
            assert!(matches!(guard.names(peer).unwrap().0.as_str(), "one" | "two"));
            assert_eq!(guard.state(peer).unwrap().weight, 5);
        }
        guard.add(&config("three")).unwrap();
        if !died {
            return;
        }
    }
}
