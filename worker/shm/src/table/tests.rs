use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::map::kill;

fn fresh(size: usize) -> Table {
    Table::format(&Region::anonymous(size).unwrap(), 100).unwrap()
}

/// The table's content, oldest first; checks every link on the way.
fn dump(table: &Table) -> Vec<(Vec<u8>, Vec<u8>)> {
    let guard = table.lock().unwrap();
    let mut all = Vec::new();
    let (mut at, mut before) = (guard.oldest().unwrap(), None);
    while let Some(entry) = at {
        assert_eq!(guard.link(entry.at() + OLDER).unwrap(), before);
        let key = guard.key(entry, <[u8]>::to_vec).unwrap();
        assert_eq!(guard.find(&key).unwrap(), Some(entry));
        all.push((key, guard.value(entry, <[u8]>::to_vec).unwrap()));
        before = at;
        at = guard.newer(entry).unwrap();
        assert!(all.len() <= guard.len() as usize, "the list is longer than the table");
    }
    assert_eq!(guard.link(NEWEST_AT).unwrap(), before);
    assert_eq!(all.len(), guard.len() as usize);
    all
}

/// What the slab says is in use must be what the entries use.
fn check_slab(table: &Table) {
    let guard = table.lock().unwrap();
    let before = guard.usage().unwrap();
    let kept: Vec<_> = {
        let mut used = Vec::new();
        let mut at = guard.oldest().unwrap();
        while let Some(entry) = at {
            let (_, len) = guard.value_at(entry).unwrap();
            used.push((entry.at(), Table::entry_size(guard.key_len(entry).unwrap(), len)));
            at = guard.newer(entry).unwrap();
        }
        used
    };
    table.slab.rebuild(kept).unwrap();
    assert_eq!(guard.usage().unwrap(), before);
}

#[test]
fn sets_finds_replaces_removes() {
    let table = fresh(64 * 1024);
    let mut guard = table.lock().unwrap();
    assert_eq!(guard.find(b"a").unwrap(), None);
    guard.set(b"a", b"1", 0).unwrap();
    guard.set(b"b", b"22", 0).unwrap();
    let a = guard.find(b"a").unwrap().unwrap();
    assert_eq!(guard.value(a, <[u8]>::to_vec).unwrap(), b"1");
    assert_eq!(guard.oldest().unwrap(), Some(a));
    guard.set(b"a", &[7; 5000], 0).unwrap();
    assert!(guard.find(b"a").unwrap().unwrap() != a, "another size, another place");
    assert!(guard.value(a, |_| ()).is_err(), "the old reference is void");
    let b = guard.find(b"b").unwrap().unwrap();
    assert_eq!(guard.oldest().unwrap(), Some(b));
    guard.remove(b).unwrap();
    assert_eq!(guard.find(b"b").unwrap(), None);
    assert_eq!(guard.len(), 1);
    let epoch = guard.epoch();
    guard.flush().unwrap();
    assert_eq!((guard.len(), guard.epoch()), (0, epoch + 1));
    drop(guard);
    assert!(dump(&table).is_empty());
}

#[test]
fn a_second_handle_sees_the_same_table() {
    let region = Region::anonymous(64 * 1024).unwrap();
    assert!(matches!(Table::open(&region), Err(Error::Mismatch(_))));
    let one = Table::format(&region, 100).unwrap();
    let two = Table::open(&region).unwrap();
    one.lock().unwrap().set(b"key", b"value", 0).unwrap();
    one.lock().unwrap().reserve().unwrap().store64(64, 5).unwrap();
    assert_eq!(dump(&two), [(b"key".to_vec(), b"value".to_vec())]);
    let guard = two.lock().unwrap();
    let reserve = guard.reserve().unwrap();
    assert_eq!((reserve.len(), reserve.load64(64).unwrap()), (128, 5));
}

#[test]
fn full_means_evict_or_refuse() {
    let table = fresh(32 * 1024);
    let mut guard = table.lock().unwrap();
    let mut n = 0u32;
    while guard.insert(&n.to_le_bytes(), 8).is_ok() {
        n += 1;
    }
    assert!(n > 400, "{n} entries of 48 bytes in 32 KB");
    assert!(matches!(guard.insert(b"one more", 8), Err(Error::NoMemory)));
    let zero = guard.find(&0u32.to_le_bytes()).unwrap().unwrap();
    guard.touch(zero).unwrap();
    let (_, evicted) = guard.insert_evicting(b"one more", 8, 30).unwrap();
    assert_eq!((evicted, guard.evicted()), (1, 1));
    assert_eq!(guard.find(&1u32.to_le_bytes()).unwrap(), None, "the oldest went");
    assert!(guard.find(&0u32.to_le_bytes()).unwrap().is_some(), "the touched one stayed");
    assert!(matches!(guard.set(b"big", &[0; 20_000], 30), Err(Error::NoMemory)));
    guard.set(b"big", &[0; 20_000], u32::MAX).unwrap();
    assert!(matches!(guard.set(b"huge", &[0; 40_000], u32::MAX), Err(Error::TooLong { .. })));
    assert!(matches!(guard.set(&[0; 70_000], b"", 1), Err(Error::TooLong { .. })));
    drop(guard);
    check_slab(&table);
}

#[test]
fn a_panic_inside_does_no_harm() {
    let table = fresh(64 * 1024);
    table.lock().unwrap().set(b"a", b"1", 0).unwrap();
    let end = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _guard = table.lock().unwrap();
        std::panic::resume_unwind(Box::new(()));
    }));
    assert!(end.is_err());
    assert_eq!(dump(&table).len(), 1);
    assert_eq!(table.lock().unwrap().repairs(), 1);
}

type Content = BTreeMap<Vec<u8>, Vec<u8>>;

/// Kills `op` before each of its stores in turn. Afterwards every entry but `touched` must be there unharmed, `touched`
/// must be absent or hold a value from `allowed`, and the table must work on.
fn kill_everywhere(prepare: impl Fn(&Table), op: impl Fn(&Table), touched: &[u8], allowed: &[&[u8]]) {
    for n in 0.. {
        assert!(n < 10_000, "the operation never ends");
        let table = fresh(64 * 1024);
        prepare(&table);
        let before: Content = dump(&table).into_iter().collect();
        let died = kill::dies_at(n, || op(&table));
        let after: Content = dump(&table).into_iter().collect();
        for (key, value) in &before {
            if key != touched {
                assert_eq!(after.get(key), Some(value), "store {n}: a bystander was harmed");
            }
        }
        for (key, value) in &after {
            if key == touched {
                assert!(allowed.contains(&value.as_slice()), "store {n}: torn value {value:?}");
            } else {
                assert!(before.contains_key(key), "store {n}: {key:?} appeared");
            }
        }
        check_slab(&table);
        table.lock().unwrap().set(b"afterwards", &[1; 100], 30).unwrap();
        dump(&table);
        if !died {
            return;
        }
    }
}

fn some_entries(table: &Table) {
    let mut guard = table.lock().unwrap();
    for i in 0..40u8 {
        guard.set(&[b'k', i], &vec![i; i as usize * 11], 0).unwrap();
    }
}

#[test]
fn death_at_any_store_of_a_set_spares_the_others() {
    let set = |value: &'static [u8]| move |table: &Table| drop(table.lock().unwrap().set(b"k\x05", value, 0));
    let old: &[u8] = &[5; 55];
    kill_everywhere(some_entries, set(b"tiny"), b"k\x05", &[old, b"tiny"]);
    kill_everywhere(some_entries, set(&[9; 56]), b"k\x05", &[old, &[9; 56]]);
    kill_everywhere(some_entries, set(&[9; 9000]), b"k\x05", &[old, &[9; 9000]]);
    let new = |table: &Table| drop(table.lock().unwrap().set(b"new", b"value", 0));
    kill_everywhere(some_entries, new, b"new", &[b"value"]);
}

#[test]
fn death_at_any_store_of_a_remove_or_touch_spares_the_others() {
    let remove = |table: &Table| {
        let mut guard = table.lock().unwrap();
        let entry = guard.find(b"k\x05").unwrap().unwrap();
        guard.remove(entry).unwrap();
    };
    kill_everywhere(some_entries, remove, b"k\x05", &[&[5; 55]]);
    let touch = |table: &Table| {
        let mut guard = table.lock().unwrap();
        let entry = guard.find(b"k\x05").unwrap().unwrap();
        guard.touch(entry).unwrap();
    };
    kill_everywhere(some_entries, touch, b"none", &[]);
}

#[test]
fn death_at_any_store_of_a_repair_spares_everything() {
    let repair = |table: &Table| {
        let guard = table.lock().unwrap();
        guard.guard.poison();
        drop(guard);
        drop(table.lock().unwrap());
    };
    kill_everywhere(some_entries, repair, b"none", &[]);
}

#[derive(Clone, Debug)]
enum Op {
    Set(u8, usize),
    Touch(u8),
    Remove(u8),
    Evict(u8, usize),
    Die(u8, usize, u32),
    Flush,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let key = || 0..60u8;
    let len = || prop_oneof![8 => 0..200usize, 2 => 200..6000usize];
    let op = prop_oneof![
        12 => (key(), len()).prop_map(|(k, n)| Op::Set(k, n)),
        5 => key().prop_map(Op::Touch),
        6 => key().prop_map(Op::Remove),
        3 => (key(), len()).prop_map(|(k, n)| Op::Evict(k, n)),
        2 => (key(), len(), 0..60u32).prop_map(|(k, n, at)| Op::Die(k, n, at)),
        1 => Just(Op::Flush),
    ];
    prop::collection::vec(op, 1..200)
}

/// The model: entries, oldest first.
#[derive(Default)]
struct Model(Vec<(Vec<u8>, Vec<u8>)>);

impl Model {
    fn take(&mut self, key: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        let at = self.0.iter().position(|(k, _)| k == key)?;
        Some(self.0.remove(at))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn behaves_like_a_map_with_an_order(ops in ops()) {
        let table = fresh(48 * 1024);
        let mut model = Model::default();
        for (i, op) in ops.into_iter().enumerate() {
            let key = |k: u8| vec![k; 1 + k as usize % 20];
            match op {
                Op::Set(k, n) => match table.lock().unwrap().set(&key(k), &vec![i as u8; n], 0) {
                    Ok(_) => {
                        model.take(&key(k));
                        model.0.push((key(k), vec![i as u8; n]));
                    }
                    Err(Error::NoMemory) => {
                        let old = model.take(&key(k));
                        model.0.extend(old); // looked for, hence newest
                    }
                    Err(other) => panic!("{other}"),
                },
                Op::Evict(k, n) => {
                    let mut guard = table.lock().unwrap();
                    let before = guard.evicted();
                    guard.set(&key(k), &vec![i as u8; n], 1000).unwrap();
                    let evicted = guard.evicted() - before;
                    model.take(&key(k));
                    model.0.drain(..evicted as usize);
                    model.0.push((key(k), vec![i as u8; n]));
                }
                Op::Touch(k) => {
                    let mut guard = table.lock().unwrap();
                    let found = guard.find(&key(k)).unwrap();
                    let expected = model.take(&key(k));
                    prop_assert_eq!(found.is_some(), expected.is_some());
                    if let Some(entry) = found {
                        guard.touch(entry).unwrap();
                    }
                    model.0.extend(expected);
                }
                Op::Remove(k) => {
                    let mut guard = table.lock().unwrap();
                    let found = guard.find(&key(k)).unwrap();
                    prop_assert_eq!(found.is_some(), model.take(&key(k)).is_some());
                    if let Some(entry) = found {
                        guard.remove(entry).unwrap();
                    }
                }
                Op::Die(k, n, at) => {
                    kill::dies_at(at, || drop(table.lock().unwrap().set(&key(k), &vec![i as u8; n], 0)));
                    // Either outcome is right for the entry itself; the others keep value and order.
                    let now = dump(&table);
                    let others = |all: &[(Vec<u8>, Vec<u8>)]| all.iter().filter(|(x, _)| *x != key(k)).cloned().collect::<Vec<_>>();
                    prop_assert_eq!(others(&now), others(&model.0));
                    model.0 = now;
                }
                Op::Flush => {
                    table.lock().unwrap().flush().unwrap();
                    model.0.clear();
                }
            }
        }
        prop_assert_eq!(dump(&table), model.0);
        check_slab(&table);
    }

    /// Arbitrary damage ends in an error or a repair, never in a panic, a hang or an access outside.
    #[test]
    fn survives_garbage(noise in prop::collection::vec((0..8192usize, any::<u32>()), 1..60)) {
        let table = fresh(32 * 1024);
        {
            let mut guard = table.lock().unwrap();
            for i in 0..80u8 {
                guard.set(&[i; 9], &[i; 40], 0).unwrap();
            }
        }
        for (at, value) in noise {
            let at = 96 + at * 4;
            if at < table.region.len() {
                table.region.store32(at, value).unwrap();
            }
        }
        for i in 0..80u8 {
            let mut guard = table.lock().unwrap();
            let _ = guard.find(&[i; 9]).map(|found| found.map(|entry| guard.touch(entry)));
            let _ = guard.set(&[i; 9], &[i; 60], 30);
            if let Ok(Some(entry)) = guard.find(&[i; 9]) {
                let _ = guard.remove(entry);
            }
        }
        let mut guard = table.lock().unwrap();
        guard.flush().unwrap();
        guard.set(b"works", b"again", 0).unwrap();
        drop(guard);
        prop_assert_eq!(dump(&table).len(), 1);
    }
}
