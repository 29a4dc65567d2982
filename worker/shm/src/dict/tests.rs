use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::{map::kill, zone::Spec};

fn zone(size: usize) -> Zone {
    Zone::create(&Spec { name: "d".into(), size, kind: Dict::KIND }).unwrap()
}

fn dict(size: usize) -> (Zone, Dict) {
    let zone = zone(size);
    let dict = Dict::format(&zone).unwrap();
    (zone, dict)
}

#[derive(Clone, Debug, PartialEq)]
enum Owned {
    Boolean(bool),
    Number(f64),
    String(Vec<u8>),
    List(VecDeque<Owned>),
}

impl Owned {
    fn of(value: Value<'_>) -> Self {
        match value {
            Value::Boolean(value) => Self::Boolean(value),
            Value::Number(value) => Self::Number(value),
            Value::String(value) => Self::String(value.to_vec()),
        }
    }

    fn borrow(&self) -> Value<'_> {
        match self {
            Self::Boolean(value) => Value::Boolean(*value),
            Self::Number(value) => Value::Number(*value),
            Self::String(value) => Value::String(value),
            Self::List(_) => unreachable!("lists are not stored as such"),
        }
    }
}

fn get(dict: &Dict, key: &[u8], now: u64) -> Option<(Owned, u32)> {
    dict.get(key, now, false, |found| (Owned::of(found.value), found.flags)).unwrap()
}

fn keys(dict: &Dict, max: usize, now: u64) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    dict.keys(max, now, |key| keys.push(key.to_vec())).unwrap();
    keys
}

const TEXT: Value<'static> = Value::String(b"text");

#[test]
fn what_is_stored_is_found_by_every_handle() {
    let (zone, one) = dict(64 << 10);
    let two = Dict::open(&zone).unwrap();
    let order = Order { ttl_ms: 100, flags: 7, ..Order::SET };
    assert!(!one.store(b"s", TEXT, order, 1000).unwrap());
    one.store(b"n", Value::Number(-1.5), Order::SET, 1000).unwrap();
    one.store(b"b", Value::Boolean(false), Order::SET, 1000).unwrap();
    assert_eq!(get(&two, b"s", 1100), Some((Owned::String(b"text".to_vec()), 7)));
    assert_eq!(get(&two, b"n", 1100), Some((Owned::Number(-1.5), 0)));
    assert_eq!(get(&two, b"b", 1100), Some((Owned::Boolean(false), 0)));
    assert_eq!(two.ttl_ms(b"s", 1040).unwrap(), 60);
    assert_eq!(two.ttl_ms(b"n", 1040).unwrap(), 0);
    let stale = two.get(b"s", 1101, true, |found| (found.stale, found.flags)).unwrap();
    assert_eq!(stale, Some((true, 7)));
    assert_eq!(two.ttl_ms(b"s", 1101).unwrap(), -1, "asking does not remove it");
    two.expire(b"s", 50, 1101).unwrap();
    assert!(get(&two, b"s", 1101).is_some(), "revived");
    assert_eq!(two.ttl_ms(b"x", 0).unwrap_err().to_string(), "not found");
    assert_eq!(one.capacity(), 64 << 10);
}

#[test]
fn conditions() {
    let (_zone, dict) = dict(64 << 10);
    let add = Order { mode: Mode::Add, ttl_ms: 10, ..Order::SET };
    let replace = Order { mode: Mode::Replace, ..Order::SET };
    let text = |result: Result<bool, (Refusal, bool)>| result.unwrap_err().0.to_string();
    assert_eq!(text(dict.store(b"k", TEXT, replace, 5)), "not found");
    dict.store(b"k", TEXT, add, 5).unwrap();
    assert_eq!(text(dict.store(b"k", TEXT, add, 15)), "exists");
    dict.store(b"k", Value::Number(1.0), add, 16).unwrap();
    assert_eq!(get(&dict, b"k", 16), Some((Owned::Number(1.0), 0)));
    assert_eq!(text(dict.store(b"k", TEXT, replace, 27)), "not found", "it has expired");
    dict.delete(b"k", 27).unwrap();
    dict.delete(b"k", 27).unwrap();
}

#[test]
fn incr_as_documented() {
    let (_zone, dict) = dict(64 << 10);
    let value = |result: Answer<Increased>| result.map(|made| made.value).map_err(|error| error.to_string());
    assert_eq!(value(dict.incr(b"k", 1.0, None, 5)), Err("not found".into()));
    assert_eq!(value(dict.incr(b"k", 1.0, Some((10.0, 100)), 5)), Ok(11.0));
    assert_eq!(value(dict.incr(b"k", -0.5, Some((10.0, 100)), 50)), Ok(10.5));
    assert_eq!(dict.ttl_ms(b"k", 50).unwrap(), 55, "the time to live is the first one's");
    assert_eq!(value(dict.incr(b"k", 1.0, Some((0.0, 0)), 106)), Ok(1.0), "it had expired");
    dict.store(b"k", TEXT, Order::SET, 106).unwrap();
    assert_eq!(value(dict.incr(b"k", 1.0, Some((0.0, 0)), 106)), Err("not a number".into()));
}

#[test]
fn lists_from_both_ends() {
    let (_zone, dict) = dict(256 << 10);
    let pop = |end| dict.pop(b"l", end, 5, Owned::of).unwrap();
    for n in 0..500u32 {
        let text = vec![b'x'; n as usize % 50];
        assert_eq!(
            dict.push(b"l", Value::Number(f64::from(n)), End::Right, 5).unwrap(),
            u64::from(2 * n + 1)
        );
        assert_eq!(dict.push(b"l", Value::String(&text), End::Left, 5).unwrap(), u64::from(2 * n + 2));
    }
    assert_eq!(dict.llen(b"l", 5).unwrap(), 1000);
    assert!(matches!(dict.get(b"l", 5, false, |_| ()), Err(Refusal::IsAList)));
    for n in (0..500u32).rev() {
        assert_eq!(pop(End::Left), Some(Owned::String(vec![b'x'; n as usize % 50])));
        assert_eq!(pop(End::Right), Some(Owned::Number(f64::from(n))));
    }
    assert_eq!((pop(End::Left), dict.llen(b"l", 5).unwrap()), (None, 0));
    assert!(keys(&dict, 0, 5).is_empty());
    dict.store(b"l", TEXT, Order::SET, 5).unwrap();
    assert_eq!(dict.push(b"l", TEXT, End::Left, 5).unwrap_err().to_string(), "value not a list");
}

/// A queue whose elements go through it for long must not grow.
#[test]
fn a_queue_stays_where_it_is() {
    let (_zone, dict) = dict(64 << 10);
    for n in 0..20_000u32 {
        dict.push(b"q", Value::Number(f64::from(n)), End::Right, 5).unwrap();
        if n >= 10 {
            let popped = dict.pop(b"q", End::Left, 5, Owned::of).unwrap();
            assert_eq!(popped, Some(Owned::Number(f64::from(n - 10))));
        }
    }
    assert!(dict.free_space().unwrap() > 40 << 10);
}

#[test]
fn a_full_zone_evicts_or_refuses() {
    let (_zone, dict) = dict(32 << 10);
    let safe = Order { safe: true, ..Order::SET };
    let mut n = 0u32;
    let refused = loop {
        match dict.store(&n.to_ne_bytes(), TEXT, safe, 5) {
            Ok(evicted) => assert!(!evicted),
            Err((refusal, evicted)) => break (refusal.to_string(), evicted),
        }
        n += 1;
    };
    assert_eq!(refused, ("no memory".into(), false));
    assert!(n > 200, "{n}");
    assert_eq!(dict.push(b"l", TEXT, End::Left, 5).unwrap_err().to_string(), "no memory");
    assert!(get(&dict, &0u32.to_ne_bytes(), 5).is_some(), "a use");
    assert!(dict.store(b"more", TEXT, Order::SET, 5).unwrap(), "forcible");
    assert!(get(&dict, &1u32.to_ne_bytes(), 5).is_none(), "the oldest went");
    assert!(get(&dict, &0u32.to_ne_bytes(), 5).is_some());
    let huge = vec![0; 64 << 10];
    let (refusal, _) = dict.store(b"huge", Value::String(&huge), Order::SET, 5).unwrap_err();
    assert_eq!(refusal.to_string(), "no memory");
    dict.flush_all().unwrap();
    assert!(keys(&dict, 0, 6).is_empty());
    assert!(
        dict.get(b"more", 6, true, |found| found.stale).unwrap().unwrap(),
        "stale until the memory is needed"
    );
    assert!(dict.flush_expired(5, 6).unwrap() == 5 && dict.flush_expired(0, 6).unwrap() > 100);
    dict.store(b"large", Value::String(&huge[..20_000]), Order::SET, 5).unwrap();
    dict.store(b"large", Value::String(&huge[..20_500]), Order::SET, 5).unwrap();
    assert_eq!(get(&dict, b"large", 5), Some((Owned::String(huge[..20_500].to_vec()), 0)));
}

/// What is done to both the dictionary and the model.
#[derive(Clone, Debug)]
enum Op {
    Store(u8, Owned, u8, u64, u32),
    Get(u8),
    Delete(u8),
    Incr(u8, Option<u64>),
    Push(u8, Owned, bool),
    Pop(u8, bool),
    Expire(u8, u64),
    Wait(u64),
    FlushAll,
    FlushExpired,
}

fn op() -> impl Strategy<Value = Op> {
    let value = prop_oneof![
        any::<bool>().prop_map(Owned::Boolean),
        (-1000..1000i32).prop_map(|n| Owned::Number(f64::from(n))),
        proptest::collection::vec(any::<u8>(), 0..200).prop_map(Owned::String),
    ];
    let element = prop_oneof![
        (-1000..1000i32).prop_map(|n| Owned::Number(f64::from(n))),
        proptest::collection::vec(any::<u8>(), 0..100).prop_map(Owned::String),
    ];
    let key = || 0..12u8;
    prop_oneof![
        4 => (key(), value, 0..3u8, 0..20u64, 0..3u32).prop_map(|(k, v, m, t, f)| Op::Store(k, v, m, t, f)),
        3 => key().prop_map(Op::Get),
        1 => key().prop_map(Op::Delete),
        2 => (key(), proptest::option::of(0..20u64)).prop_map(|(k, t)| Op::Incr(k, t)),
        4 => (key(), element, any::<bool>()).prop_map(|(k, v, e)| Op::Push(k, v, e)),
        3 => (key(), any::<bool>()).prop_map(|(k, e)| Op::Pop(k, e)),
        1 => (key(), 0..20u64).prop_map(|(k, t)| Op::Expire(k, t)),
        2 => (1..10u64).prop_map(Op::Wait),
        1 => Just(Op::FlushAll),
        1 => Just(Op::FlushExpired),
    ]
}

/// The dictionary as it should be: oldest first. What has expired may be there or not, so it is only compared by its absence.
#[derive(Default)]
struct Model(Vec<(u8, Owned, u32, u64)>);

impl Model {
    fn valid(&mut self, key: u8, now: u64) -> Option<&mut (u8, Owned, u32, u64)> {
        self.0.retain(|(.., expires)| *expires == 0 || *expires >= now);
        let at = self.0.iter().position(|entry| entry.0 == key)?;
        let entry = self.0.remove(at);
        self.0.push(entry);
        self.0.last_mut()
    }

    fn put(&mut self, key: u8, value: Owned, flags: u32, expires: u64) {
        self.0.retain(|entry| entry.0 != key);
        self.0.push((key, value, flags, expires));
    }
}

fn end(left: bool) -> End {
    if left { End::Left } else { End::Right }
}

/// Runs one operation on both and compares the answers.
fn step(dict: &Dict, model: &mut Model, now: &mut u64, op: Op) {
    let at = |ttl: u64| if ttl == 0 { 0 } else { *now + ttl };
    match op {
        Op::Store(key, value, mode, ttl_ms, flags) => {
            let mode = [Mode::Set, Mode::Add, Mode::Replace][usize::from(mode)];
            let order = Order { mode, safe: false, ttl_ms, flags };
            let there = model.valid(key, *now).is_some();
            let stored = dict.store(&[key], value.borrow(), order, *now);
            match (mode, there) {
                (Mode::Add, true) => assert!(matches!(stored, Err((Refusal::Exists, false)))),
                (Mode::Replace, false) => assert!(matches!(stored, Err((Refusal::NotFound, false)))),
                _ => {
                    assert!(!stored.unwrap());
                    return model.put(key, value, flags, at(ttl_ms));
                }
            }
            // a refused store is no use of the entry
            let _ = dict.get(&[key], *now, false, |_| ());
        }
        Op::Get(key) => {
            let found = dict.get(&[key], *now, false, |found| (Owned::of(found.value), found.flags));
            match model.valid(key, *now) {
                None => assert!(found.unwrap().is_none()),
                Some((_, Owned::List(_), ..)) => assert!(matches!(found, Err(Refusal::IsAList))),
                Some((_, value, flags, _)) => assert_eq!(found.unwrap(), Some((value.clone(), *flags))),
            }
        }
        Op::Delete(key) => {
            dict.delete(&[key], *now).unwrap();
            model.0.retain(|entry| entry.0 != key);
        }
        Op::Incr(key, ttl) => {
            let made = dict.incr(&[key], 2.0, ttl.map(|ttl| (5.0, ttl)), *now).map(|made| made.value);
            match (model.valid(key, *now), ttl) {
                (Some((_, Owned::Number(n), ..)), _) => {
                    *n += 2.0;
                    assert_eq!(made.unwrap(), *n);
                }
                (Some(_), _) => {
                    assert!(matches!(made, Err(Refusal::NotANumber)));
                    let _ = dict.get(&[key], *now, false, |_| ());
                }
                (None, None) => assert!(matches!(made, Err(Refusal::NotFound))),
                (None, Some(ttl)) => {
                    assert_eq!(made.unwrap(), 7.0);
                    model.put(key, Owned::Number(7.0), 0, at(ttl));
                }
            }
        }
        Op::Push(key, value, left) => {
            let pushed = dict.push(&[key], value.borrow(), end(left), *now);
            match model.valid(key, *now) {
                None => {
                    assert_eq!(pushed.unwrap(), 1);
                    model.put(key, Owned::List([value].into()), 0, 0);
                }
                Some((_, Owned::List(list), ..)) => {
                    if left {
                        list.push_front(value)
                    } else {
                        list.push_back(value)
                    }
                    assert_eq!(pushed.unwrap(), list.len() as u64);
                }
                Some(_) => {
                    assert!(matches!(pushed, Err(Refusal::NotAList)));
                    let _ = dict.get(&[key], *now, false, |_| ());
                }
            }
        }
        Op::Pop(key, left) => {
            let popped = dict.pop(&[key], end(left), *now, Owned::of);
            match model.valid(key, *now) {
                None => assert!(popped.unwrap().is_none()),
                Some((_, Owned::List(list), ..)) => {
                    let want = if left { list.pop_front() } else { list.pop_back() };
                    assert_eq!(popped.unwrap(), want);
                    let len = list.len();
                    if len == 0 {
                        model.0.pop();
                    }
                    assert_eq!(dict.llen(&[key], *now).unwrap(), len as u64);
                }
                Some(_) => {
                    assert!(matches!(popped, Err(Refusal::NotAList)));
                    let _ = dict.get(&[key], *now, false, |_| ());
                }
            }
        }
        Op::Expire(key, ttl) => {
            model.0.retain(|(.., expires)| *expires == 0 || *expires >= *now);
            match model.0.iter_mut().find(|entry| entry.0 == key) {
                Some(entry) => {
                    dict.expire(&[key], ttl, *now).unwrap();
                    entry.3 = at(ttl);
                }
                // it may be there, expired, and would be revived
                None => dict.delete(&[key], *now).unwrap(),
            }
        }
        Op::Wait(ms) => *now += ms,
        Op::FlushAll => {
            dict.flush_all().unwrap();
            model.0.clear();
        }
        Op::FlushExpired => drop(dict.flush_expired(0, *now).unwrap()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn behaves_as_the_model(ops in proptest::collection::vec(op(), 1..200)) {
        let (_zone, dict) = dict(256 << 10);
        let (mut model, mut now) = (Model::default(), 1000);
        for op in ops {
            step(&dict, &mut model, &mut now, op);
            model.0.retain(|(.., expires)| *expires == 0 || *expires >= now);
            let want: Vec<_> = model.0.iter().map(|entry| vec![entry.0]).collect();
            prop_assert_eq!(keys(&dict, 0, now), want);
        }
    }

    /// A worker killed at any store loses the entry it was at, and nothing else.
    #[test]
    fn a_death_costs_one_entry_at_most(ops in proptest::collection::vec(op(), 20..60), last in op(), at in 0..60u32) {
        let (zone, dict) = dict(256 << 10);
        let (mut model, mut now) = (Model::default(), 1000);
        for op in ops {
            step(&dict, &mut model, &mut now, op);
        }
        model.0.retain(|(.., expires)| *expires == 0 || *expires >= now);
        if matches!(last, Op::FlushAll | Op::Wait(_)) {
            return Ok(());
        }
        let before: Vec<_> = model.0.iter().map(|entry| entry.0).collect();
        let at_work = match last {
            Op::Store(key, ..) | Op::Get(key) | Op::Delete(key) | Op::Incr(key, _) | Op::Push(key, ..)
            | Op::Pop(key, _) | Op::Expire(key, _) => Some(key),
            _ => None,
        };
        kill::dies_at(at, || step(&dict, &mut Model(model.0.clone()), &mut now.clone(), last.clone()));
        let heir = Dict::open(&zone).unwrap();
        let left = keys(&heir, 0, now);
        for key in before.iter().filter(|key| Some(**key) != at_work) {
            prop_assert!(left.contains(&vec![*key]), "{} is lost", key);
        }
        for entry in model.0.iter().filter(|entry| Some(entry.0) != at_work) {
            let found = heir.get(&[entry.0], now, false, |found| Owned::of(found.value));
            match &entry.1 {
                Owned::List(list) => prop_assert_eq!(heir.llen(&[entry.0], now).unwrap(), list.len() as u64),
                value => prop_assert_eq!(found.unwrap(), Some(value.clone())),
            }
        }
        let (mut fresh, mut later) = (Model::default(), now);
        heir.flush_all().unwrap();
        step(&heir, &mut fresh, &mut later, Op::Store(1, Owned::Boolean(true), 0, 0, 0));
    }
}
