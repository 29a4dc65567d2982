use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;

use super::*;

fn fresh(size: usize) -> Slab {
    Slab::format(&Region::anonymous(size).unwrap(), 64).unwrap()
}

/// Checks every rule of the bookkeeping against itself.
fn check(slab: &Slab) {
    let mut free_runs = HashSet::new();
    let mut partial: Vec<HashSet<u32>> = vec![HashSet::new(); CLASSES.len()];
    let (mut page, mut used, mut after_free) = (0, 0, false);
    while page < slab.pages {
        let kind = slab.field(page, KIND).unwrap();
        let count = slab.field(page, COUNT).unwrap();
        match kind {
            FREE => {
                assert!(!after_free, "two free runs touch at {page}");
                assert!(count >= 1 && page + count <= slab.pages);
                for middle in page + 1..page + count {
                    let want = if middle == page + count - 1 { FREE_END } else { FREE_MIDDLE };
                    assert_eq!(slab.field(middle, KIND).unwrap(), want);
                }
                if count > 1 {
                    assert_eq!(slab.field(page + count - 1, COUNT).unwrap(), count);
                }
                free_runs.insert(page);
                page += count;
            }
            RUN => {
                for rest in page + 1..page + count {
                    assert_eq!(slab.field(rest, KIND).unwrap(), RUN_REST);
                }
                used += count;
                page += count;
            }
            _ => {
                let class = slab.chunk_class(kind).expect("a known kind");
                let bitmap = slab.bitmap(page).unwrap();
                let count = bitmap.count_ones();
                assert!(count >= 1);
                assert!(chunks(class) == 128 || bitmap >> chunks(class) == 0);
                if count < chunks(class) {
                    partial[class].insert(page);
                }
                used += 1;
                page += 1;
            }
        }
        after_free = kind == FREE;
    }
    assert_eq!(list(slab, slab.base + FREE_HEAD), free_runs);
    for (class, pages) in partial.iter().enumerate() {
        assert_eq!(&list(slab, slab.partial(class)), pages, "class {class}");
    }
    assert_eq!(slab.usage().unwrap().pages_used, used);
}

fn list(slab: &Slab, head: usize) -> HashSet<u32> {
    let mut seen = HashSet::new();
    let (mut link, mut prev) = (slab.region.load32(head).unwrap(), 0);
    while link != 0 {
        let page = slab.page_of_link(link).unwrap();
        assert_eq!(slab.field(page, PREV).unwrap(), prev);
        assert!(seen.insert(page), "a cycle");
        prev = link;
        link = slab.field(page, NEXT).unwrap();
    }
    seen
}

#[test]
fn classes_fit_their_sizes() {
    for size in 0..=CHUNK_MAX {
        let class = class_of(size);
        assert!(CLASSES[class] >= size);
        assert!(class == 0 || CLASSES[class - 1] < size, "{size} fits a smaller class");
        assert!(chunks(class) <= 128 && CLASSES[class].is_multiple_of(8));
    }
    assert_eq!(Slab::rounded(33), 48);
    assert_eq!(Slab::rounded(2049), 4096);
}

#[test]
fn fills_up_and_empties() {
    let slab = fresh(64 * 1024);
    for size in [1, 40, 100, 1000, 2048, 4096, 10_000] {
        let mut given = Vec::new();
        while let Some(at) = slab.alloc(size).unwrap() {
            given.push(at);
        }
        check(&slab);
        assert!(given.len() * Slab::rounded(size) > slab.size_max() / 2, "{} of {size}", given.len());
        for at in given {
            slab.free(at).unwrap();
        }
        check(&slab);
        assert_eq!(slab.usage().unwrap().pages_used, 0);
    }
    assert!(slab.alloc(slab.size_max()).unwrap().is_some());
    assert!(slab.alloc(1).unwrap().is_none());
    assert!(slab.alloc(usize::MAX).unwrap().is_none());
}

#[test]
fn refuses_wrong_frees() {
    let slab = fresh(64 * 1024);
    let small = slab.alloc(40).unwrap().unwrap();
    let big = slab.alloc(9000).unwrap().unwrap();
    for wrong in [0, small + 8, small + 48, big + 8, big + PAGE, usize::MAX] {
        assert!(matches!(slab.free(wrong), Err(Error::Corrupt(_))), "{wrong}");
    }
    slab.free(small).unwrap();
    assert!(slab.free(small).is_err(), "twice");
    slab.free(big).unwrap();
    assert!(slab.free(big).is_err(), "twice");
    check(&slab);
}

#[test]
fn too_small_a_region_is_refused() {
    let region = Region::anonymous(4096).unwrap();
    assert!(matches!(Slab::format(&region, 0), Err(Error::TooSmall { .. })));
    assert!(matches!(Slab::format(&region, 8192), Err(Error::TooSmall { .. })));
}

#[derive(Clone, Debug)]
enum Op {
    Alloc(usize),
    Free(usize),
    Rebuild,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let size = prop_oneof![6 => 1..300usize, 3 => 300..2100usize, 2 => 2100..20_000usize];
    let op = prop_oneof![
        10 => size.prop_map(Op::Alloc),
        9 => any::<usize>().prop_map(Op::Free),
        1 => Just(Op::Rebuild)
    ];
    prop::collection::vec(op, 1..300)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Allocations never overlap, never leave the pages, and what is freed can be had again.
    #[test]
    fn behaves_like_a_model(ops in ops()) {
        let slab = fresh(128 * 1024);
        let mut model: BTreeMap<usize, usize> = BTreeMap::new();
        for op in ops {
            match op {
                Op::Alloc(size) => {
                    let Some(at) = slab.alloc(size).unwrap() else { continue };
                    prop_assert!(at.is_multiple_of(8) && at >= slab.data);
                    prop_assert!(at + size <= slab.data + slab.size_max());
                    let before = model.range(..=at).next_back();
                    prop_assert!(before.is_none_or(|(other, length)| other + length <= at));
                    let after = model.range(at..).next();
                    prop_assert!(after.is_none_or(|(other, _)| at + size <= *other));
                    model.insert(at, size);
                }
                Op::Free(which) if !model.is_empty() => {
                    let at = *model.keys().nth(which % model.len()).unwrap();
                    model.remove(&at);
                    slab.free(at).unwrap();
                }
                Op::Free(_) => {}
                Op::Rebuild => slab.rebuild(model.iter().map(|(&at, &size)| (at, size))).unwrap(),
            }
        }
        check(&slab);
        for at in model.keys() {
            slab.free(*at).unwrap();
        }
        check(&slab);
        prop_assert_eq!(slab.usage().unwrap().pages_used, 0);
    }

    /// Whatever the bookkeeping holds, nothing panics or leaves the region, and a rebuild makes it sound.
    #[test]
    fn survives_garbage(noise in prop::collection::vec((0..6000usize, any::<u64>()), 1..40), sizes in prop::collection::vec(1..9000usize, 1..40)) {
        let slab = fresh(64 * 1024);
        let mut kept = Vec::new();
        for &size in &sizes {
            if let Some(at) = slab.alloc(size).unwrap() {
                kept.push((at, size));
            }
        }
        let bookkeeping = HEADER + slab.pages as usize * DESCRIPTOR;
        for (at, value) in noise {
            slab.region.store64(slab.base + at % bookkeeping / 8 * 8, value).unwrap();
        }
        for &size in &sizes {
            if let Ok(Some(at)) = slab.alloc(size) {
                prop_assert!(at + 8 <= slab.region.len());
            }
        }
        for &(at, _) in &kept {
            let _ = slab.free(at);
        }
        slab.rebuild(kept.iter().copied()).unwrap();
        check(&slab);
    }
}
