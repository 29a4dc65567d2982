//! The control plane at work.

use std::cell::{Ref, RefCell};
use std::fs::File;
use std::io::{self, Write as _};
use std::rc::Rc;
use std::time::Duration;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use schemas::Key;
use serde_json::Value;
use tokio::sync::{Mutex, MutexGuard, Notify, watch};

use crate::check::Checker;
use crate::history::{History, Record};
use crate::log::Log;
use crate::member::Member;
use crate::state::State;
use crate::store::{Store, StoreError, StoreEvent, Stored, Write};

/// See the [crate's documentation](crate).
pub struct Plane {
    state: RefCell<State>,
    store: Box<dyn Store>,
    /// Checks what is written, and what comes out of the store.
    pub checker: Checker,
    log: Log,
    /// The revision that is published.
    revision: watch::Sender<Option<u64>>,
    members: RefCell<Vec<Rc<Member>>>,
    acks: Notify,
    /// One write at a time: what a write was checked against must still be so when it is stored.
    writing: Mutex<()>,
    packed: RefCell<Option<(Option<u64>, Rc<Packed>)>>,
    broken: Notify,
    history: RefCell<History>,
}

/// An update ready to be sent.
pub(crate) struct Packed {
    pub(crate) fd: File,
    pub(crate) len: u64,
    pub(crate) to: u64,
}

/// How far a change has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// The revision.
    pub revision: u64,
    /// Workers that serve it.
    pub workers: usize,
    /// Workers there are.
    pub of: usize,
}

/// Why a write failed.
pub type WriteError = StoreError;

impl Plane {
    pub(crate) fn new(store: Box<dyn Store>, checker: Checker, log: Log) -> Rc<Self> {
        Rc::new(Self {
            state: RefCell::default(),
            store,
            checker,
            log,
            revision: watch::Sender::new(None),
            members: RefCell::default(),
            acks: Notify::new(),
            writing: Mutex::new(()),
            packed: RefCell::default(),
            broken: Notify::new(),
            history: RefCell::default(),
        })
    }

    /// What is known.
    pub fn state(&self) -> Ref<'_, State> {
        self.state.borrow()
    }

    /// The log.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The workers.
    pub fn members(&self) -> Vec<Rc<Member>> {
        self.members.borrow().clone()
    }

    /// The last changes.
    pub fn history(&self) -> Ref<'_, History> {
        self.history.borrow()
    }

    /// Remembers a change.
    pub fn record(&self, record: Record) {
        self.history.borrow_mut().add(record);
    }

    // === writing ===

    /// The right to write: nothing changes through this node while it is held.
    pub async fn writer(&self) -> Writer<'_> {
        Writer { plane: self, _turn: self.writing.lock().await }
    }

    /// Waits until every worker serves `revision`, at most for `wait`.
    pub async fn applied(&self, revision: u64, wait: Duration) -> Applied {
        let all = async {
            loop {
                let notified = self.acks.notified();
                let applied = self.count(revision);
                if applied.workers == applied.of {
                    return;
                }
                notified.await;
            }
        };
        // a worker that does not answer in time is told in the numbers
        let _ = tokio::time::timeout(wait, all).await;
        self.count(revision)
    }

    /// How many workers serve `revision`.
    pub fn count(&self, revision: u64) -> Applied {
        let members = self.members.borrow();
        // one that was never heard of does not accept connections yet
        let serving = members.iter().filter_map(|member| member.acked.get());
        let (mut workers, mut of) = (0, 0);
        for acked in serving {
            of += 1;
            workers += usize::from(acked >= revision);
        }
        Applied { revision, workers, of }
    }

    // === what comes out of the store ===

    /// Takes an event of the store in and publishes what it changes.
    pub(crate) fn take(&self, event: StoreEvent) {
        let revision = match event {
            StoreEvent::Snapshot { revision, entries } => {
                self.take_snapshot(entries, revision);
                revision
            }
            StoreEvent::Changes { revision, changes } => {
                changes.into_iter().for_each(|stored| self.take_one(stored));
                revision
            }
        };
        self.state.borrow_mut().reached(revision);
        self.packed.take();
        self.revision.send_replace(Some(revision));
    }

    fn take_snapshot(&self, entries: Vec<Stored>, revision: u64) {
        let present: std::collections::HashSet<Key> =
            entries.iter().filter_map(|stored| Key::parse(&stored.key)).collect();
        let gone: Vec<Key> =
            self.state.borrow().keys().into_iter().filter(|key| !present.contains(key)).collect();
        let first = self.revision.borrow().is_none();
        gone.iter().for_each(|key| self.state.borrow_mut().remove(key, revision));
        entries.into_iter().for_each(|stored| self.take_one(stored));
        if first {
            self.state.borrow_mut().forget_log(revision);
        }
    }

    fn take_one(&self, stored: Stored) {
        let Some(key) = Key::parse(&stored.key) else { return };
        let Some(json) = &stored.value else {
            self.state.borrow_mut().remove(&key, stored.modified);
            return;
        };
        let known = self.state.borrow().get(key.kind, &key.id).map(|entry| entry.modified);
        if known == Some(stored.modified) {
            return;
        }
        let read = serde_json::from_slice::<Value>(json).map_err(|error| error.to_string());
        let checked = read.and_then(|value| self.checker.check_stored(&key, &value).map(|()| value));
        match checked {
            Ok(value) => self.state.borrow_mut().set(key, stored, value),
            Err(reason) => {
                if self.state.borrow_mut().refuse(key.clone(), reason.clone()) {
                    self.log.error(format_args!("gateway: {key} in the store cannot be used: {reason}"));
                }
            }
        }
    }

    // === workers ===

    pub(crate) fn news(&self) -> watch::Receiver<Option<u64>> {
        self.revision.subscribe()
    }

    pub(crate) fn join(&self, member: &Rc<Member>) {
        self.members.borrow_mut().push(Rc::clone(member));
    }

    pub(crate) fn leave(&self, member: &Rc<Member>) {
        self.members.borrow_mut().retain(|other| !Rc::ptr_eq(other, member));
        self.acked();
    }

    pub(crate) fn acked(&self) {
        self.acks.notify_waiters();
    }

    /// The update for a worker that has `has`; workers that have the same get the same memory.
    pub(crate) fn pack(&self, has: Option<u64>) -> io::Result<Rc<Packed>> {
        if let Some((of, packed)) = &*self.packed.borrow()
            && *of == has
        {
            return Ok(Rc::clone(packed));
        }
        let update = self.state.borrow().update(has);
        let bytes = update.to_bytes().map_err(io::Error::other)?;
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let mut fd = File::from(memfd_create(c"gateway", flags)?);
        fd.write_all(&bytes)?;
        let seals =
            SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
        fcntl(&fd, FcntlArg::F_ADD_SEALS(seals))?;
        let packed = Rc::new(Packed { fd, len: bytes.len() as u64, to: update.to });
        *self.packed.borrow_mut() = Some((has, Rc::clone(&packed)));
        Ok(packed)
    }

    /// Something is broken that cannot be mended here: the plane begins anew.
    pub(crate) fn give_up(&self) {
        self.broken.notify_one();
    }

    pub(crate) async fn broken(&self) {
        self.broken.notified().await;
    }
}

/// See [`Plane::writer`].
pub struct Writer<'p> {
    plane: &'p Plane,
    _turn: MutexGuard<'p, ()>,
}

impl Writer<'_> {
    /// Writes; the result is the revision, which [`Plane::state`] knows when this returns.
    pub async fn write(&self, write: Write) -> Result<u64, WriteError> {
        let changes = !matches!(write, Write::Touch);
        let revision = self.plane.store.write(write).await?;
        if changes {
            let mut news = self.plane.news();
            let seen = |published: &Option<u64>| published.is_some_and(|published| published >= revision);
            if news.wait_for(seen).await.is_err() {
                return Err(StoreError::Failed("the control plane ends".into()));
            }
        }
        Ok(revision)
    }
}
