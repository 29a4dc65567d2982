//! Typed configuration structs of modules, kept per level (http, server, location).
//!
//! nginx gives every module an array index and casts `void *`; here the index is handed out when the module
//! registers its [`Slot`], and the cast is checked. A level that sets nothing of its own shares the merged struct
//! of the level above, so ten thousand small locations cost ten thousand pointers and not ten thousand structs.

use std::any::Any;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{LevelKind, MergeCx};

/// A module's configuration struct for one level of nesting.
///
/// `Default` is "nothing was set". [`Conf::merge`] takes what is unset from the enclosing level, exactly once and
/// top down, and ends with every setting filled: what nginx does in `create_*_conf` and `merge_*_conf`.
pub trait Conf: Default + 'static {
    /// Fills what is unset here from `outer` (at the http level: from a struct where nothing is set).
    fn merge(&mut self, outer: &Self, cx: &mut MergeCx<'_>) -> conf::Result<()>;

    /// Whether a block of kind `inner`, in which nothing is set, may share this struct as it is. `false` where a value
    /// belongs to one block alone: the inner block then gets a struct of its own, merged from nothing set.
    fn is_inherited_whole(&self, _inner: &LevelKind) -> bool {
        true
    }
}

/// The key under which a module's [`Conf`] is found at every level.
pub struct Slot<T> {
    /// Index plus one; zero while the slot is not registered.
    index: AtomicUsize,
    kind: PhantomData<fn() -> T>,
}

impl<T: Conf> Slot<T> {
    /// An unregistered slot, for a module's `static`.
    pub const fn new() -> Self {
        Self { index: AtomicUsize::new(0), kind: PhantomData }
    }

    pub(super) fn index(&self) -> usize {
        let index = self.index.load(Ordering::Relaxed);
        assert!(index != 0, "configuration slot of {} is not registered", std::any::type_name::<T>());
        index - 1
    }
}

impl<T: Conf> Default for Slot<T> {
    fn default() -> Self {
        Self::new()
    }
}

type MergeFn = fn(&mut dyn Any, &dyn Any, &mut MergeCx<'_>) -> conf::Result<()>;

/// What the builder knows of one registered slot.
pub(super) struct SlotInfo {
    pub(super) create: fn() -> Box<dyn Any>,
    pub(super) share: fn(Box<dyn Any>) -> Rc<dyn Any>,
    pub(super) merge: MergeFn,
    pub(super) is_inherited_whole: fn(&dyn Any, &LevelKind) -> bool,
}

/// All slots of a process: the same for every configuration it loads.
#[derive(Default)]
pub(super) struct SlotTable {
    pub(super) slots: Vec<SlotInfo>,
}

impl SlotTable {
    /// Registers `slot`. A slot keeps its index for the life of the process, whatever is loaded later.
    pub(super) fn register<T: Conf>(&mut self, slot: &Slot<T>) {
        let next = self.slots.len() + 1;
        let seen = slot.index.compare_exchange(0, next, Ordering::Relaxed, Ordering::Relaxed);
        assert!(
            seen.is_ok() || seen == Err(next),
            "modules must register their slots in the same order every time"
        );
        self.slots.push(SlotInfo {
            create: || Box::new(T::default()),
            share: |conf| {
                Rc::from(conf.downcast::<T>().expect("a slot's struct has the slot's type") as Box<dyn Any>)
            },
            merge: |inner, outer, cx| {
                let inner = inner.downcast_mut::<T>().expect("a slot's struct has the slot's type");
                let outer = outer.downcast_ref::<T>().expect("a slot's struct has the slot's type");
                inner.merge(outer, cx)
            },
            is_inherited_whole: |outer, inner| {
                let outer = outer.downcast_ref::<T>().expect("a slot's struct has the slot's type");
                outer.is_inherited_whole(inner)
            },
        });
    }
}

/// The merged configuration structs of one level.
#[derive(Clone)]
pub struct ConfSet {
    pub(super) confs: Rc<[Rc<dyn Any>]>,
}

impl ConfSet {
    /// The struct of `slot` as merged at this level.
    pub fn get<T: Conf>(&self, slot: &Slot<T>) -> &T {
        self.confs[slot.index()].downcast_ref::<T>().expect("a slot's struct has the slot's type")
    }

    /// The same, shared: for handlers that keep their configuration.
    pub fn share<T: Conf>(&self, slot: &Slot<T>) -> Rc<T> {
        Rc::clone(&self.confs[slot.index()]).downcast::<T>().expect("a slot's struct has the slot's type")
    }
}

/// What one level's own directives have set, before merging.
pub(super) struct LevelConfs {
    pub(super) own: Vec<Option<Box<dyn Any>>>,
}

impl LevelConfs {
    pub(super) fn new() -> Self {
        Self { own: Vec::new() }
    }

    pub(super) fn get_mut<T: Conf>(&mut self, slot: &Slot<T>) -> &mut T {
        let index = slot.index();
        if self.own.len() <= index {
            self.own.resize_with(index + 1, || None);
        }
        self.own[index]
            .get_or_insert_with(|| Box::new(T::default()))
            .downcast_mut::<T>()
            .expect("a slot's struct has the slot's type")
    }
}
