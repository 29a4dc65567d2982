//! The worker process as its connections see it: counters, pools, draining.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::{Rc, Weak};

use net::Stream;
use shm::counter::Status;

use crate::boot::Boot;
use crate::config::Config;
use crate::connection::Connection;
use crate::counters::Counters;
use crate::io::Io;
use crate::request::Request;
use crate::transport::Transport;

/// Free requests kept for reuse.
const REQUESTS_KEPT: usize = 64;

/// Idle connections ended at once to make room.
const SHED_MAX: usize = 32;

/// One worker process.
pub struct Worker {
    /// Position among the workers.
    pub slot: u32,
    /// Number of workers.
    pub workers: u32,
    /// There is no master process.
    pub is_single: bool,
    /// The directory relative names begin at (`-p`).
    pub prefix: std::path::PathBuf,
    /// The configuration.
    pub config: Rc<Config>,
    /// Statistics.
    pub counters: Counters,
    /// The gateway's routes, as this worker serves them.
    pub gateway: crate::gateway::Live,
    /// Open client connections.
    pub connections: Cell<usize>,
    /// `worker_connections`.
    pub connections_max: usize,
    /// Woken when draining begins and when the last connection ends.
    pub changed: net::Notify,
    draining: Cell<bool>,
    next_connection: Cell<u64>,
    // a request is large and lives in connection tasks: passed around by pointer, reused with its buffers
    #[allow(clippy::vec_box)]
    requests: RefCell<Vec<Box<Request>>>,
    nobody: OnceCell<Rc<Connection>>,
    idle: RefCell<Idle>,
    this: Weak<Worker>,
}

/// Streams of idle connections, in slots that are reused.
#[derive(Default)]
struct Idle {
    slots: Vec<Option<Stream>>,
    free: Vec<u32>,
    /// Connections that became idle since memory was given back last.
    recent: u32,
}

/// So many connections becoming idle free enough memory to give it back.
const IDLE_RELEASES_AT: u32 = 256;
/// Once none of them followed for so long.
const RELEASE_AFTER: std::time::Duration = std::time::Duration::from_millis(300);

impl Worker {
    /// A worker that serves `config`.
    pub fn new(boot: &Boot, config: Rc<Config>, connections_max: usize, counters: Counters) -> Rc<Self> {
        Rc::new_cyclic(|this| Self {
            slot: boot.slot,
            workers: boot.workers,
            is_single: boot.control.is_none(),
            prefix: boot.prefix.clone(),
            config,
            counters,
            gateway: crate::gateway::Live::default(),
            connections: Cell::new(0),
            connections_max,
            changed: net::Notify::new(),
            draining: Cell::new(false),
            next_connection: Cell::new(1),
            requests: RefCell::new(Vec::new()),
            nobody: OnceCell::new(),
            idle: RefCell::default(),
            this: this.clone(),
        })
    }

    /// The next `*N`.
    pub fn next_connection(&self) -> u64 {
        self.next_connection.replace(self.next_connection.get() + 1)
    }

    /// Whether the worker takes no new work.
    pub fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Begins to drain: responses from now on end their connections.
    pub fn drain(&self) {
        self.draining.set(true);
        self.changed.notify_all();
    }

    /// A request for `conn`, reused if possible.
    pub fn request(&self, conn: &Rc<Connection>, io: Io) -> Box<Request> {
        let worker = self.this.upgrade().expect("called on a living worker");
        match self.requests.borrow_mut().pop() {
            Some(mut req) => {
                req.conn = Rc::clone(conn);
                req.location = Rc::clone(&conn.listening.servers.default.root);
                req.server = Rc::clone(&conn.listening.servers.default);
                req.watch = crate::request::watch_of(&io);
                req.io = io;
                req
            }
            None => Box::new(Request::new(worker, conn, io)),
        }
    }

    /// Takes a request back.
    pub fn recycle(&self, mut req: Box<Request>) {
        req.io = Io::None;
        req.watch = None;
        if self.requests.borrow().len() >= REQUESTS_KEPT {
            return;
        }
        // a request that is kept must not keep its connection open
        let Some(nobody) = self.nobody(&req.conn) else { return };
        req.conn = nobody;
        req.client = Rc::clone(&req.conn.client);
        req.reset();
        self.requests.borrow_mut().push(req);
    }

    /// The connection of requests that have none.
    fn nobody(&self, like: &Connection) -> Option<Rc<Connection>> {
        if let Some(nobody) = self.nobody.get() {
            return Some(Rc::clone(nobody));
        }
        let (stream, _) = Stream::pair().ok()?;
        let nobody = Connection::nobody(Transport::Plain(stream), Rc::clone(&like.listening));
        Some(Rc::clone(self.nobody.get_or_init(|| Rc::new(nobody))))
    }

    /// Registers `stream` as idle until the result is dropped.
    pub fn idle(&self, stream: &Stream) -> IdleGuard<'_> {
        let mut idle = self.idle.borrow_mut();
        let slot = match idle.free.pop() {
            Some(slot) => {
                idle.slots[slot as usize] = Some(stream.clone());
                slot
            }
            None => {
                idle.slots.push(Some(stream.clone()));
                (idle.slots.len() - 1) as u32
            }
        };
        idle.recent += 1;
        if idle.recent == IDLE_RELEASES_AT {
            self.release_memory_soon();
        }
        self.counters.change(Status::Waiting, 1);
        IdleGuard { worker: self, slot }
    }

    fn release_memory_soon(&self) {
        let this = self.this.clone();
        net::spawn(async move {
            let mut seen = IDLE_RELEASES_AT;
            loop {
                net::sleep(RELEASE_AFTER).await;
                let Some(worker) = this.upgrade() else { return };
                let recent = worker.idle.borrow().recent;
                if recent == seen || worker.is_draining() {
                    net::release_free_memory();
                    worker.idle.borrow_mut().recent = 0;
                    return;
                }
                seen = recent;
            }
        });
    }

    /// Ends all idle connections, except those on which a request has just arrived: their tasks are about to run.
    pub fn close_idle(&self) {
        self.close_idle_up_to(usize::MAX);
    }

    /// Ends at most `most` idle connections on which nothing has arrived, and says how many.
    fn close_idle_up_to(&self, most: usize) -> usize {
        let streams: Vec<Stream> = self.idle.borrow().slots.iter().flatten().cloned().collect();
        let quiet = |stream: &&Stream| {
            stream.try_peek(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
        };
        // their tasks wake up, read the end and leave
        streams.iter().filter(quiet).filter(|stream| stream.shutdown().is_ok()).take(most).count()
    }

    /// Ends some idle connections to make room, as nginx an eighth of them but at most 32; `false`: there are none.
    pub fn shed_idle(&self) -> bool {
        let idle = self.idle.borrow().slots.iter().flatten().count();
        self.close_idle_up_to((idle / 8).clamp(1, SHED_MAX)) > 0
    }
}

/// A registered idle connection.
pub struct IdleGuard<'a> {
    worker: &'a Worker,
    slot: u32,
}

impl Drop for IdleGuard<'_> {
    fn drop(&mut self) {
        let mut idle = self.worker.idle.borrow_mut();
        idle.slots[self.slot as usize] = None;
        idle.free.push(self.slot);
        self.worker.counters.change(Status::Waiting, -1);
    }
}

/// Counts a connection as open while it lives.
pub struct ConnectionGuard(Rc<Worker>);

impl ConnectionGuard {
    /// The worker it counts in.
    pub fn worker(&self) -> &Rc<Worker> {
        &self.0
    }

    /// Counts one more.
    pub fn new(worker: &Rc<Worker>) -> Self {
        worker.connections.set(worker.connections.get() + 1);
        worker.counters.change(Status::Active, 1);
        Self(Rc::clone(worker))
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        let left = self.0.connections.get() - 1;
        self.0.connections.set(left);
        self.0.counters.change(Status::Active, -1);
        if left == 0 {
            self.0.changed.notify_all();
        }
    }
}
