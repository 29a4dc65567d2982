//! Kept connections: `setkeepalive` and what `connect` takes from there.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use net::{Either, Notify};
use worker::transport::Transport;

/// A connection that waits to be used again.
struct Kept {
    transport: Transport,
    reused: u64,
    /// Tells the watcher that the connection was taken.
    taken: Rc<Notify>,
    number: u64,
}

/// Connections of one name.
struct Pool {
    idle: VecDeque<Kept>,
    max: usize,
    /// Connections in use or idle; only counted where a backlog limits them.
    open: usize,
    backlog: Option<usize>,
    waiting: VecDeque<Rc<Notify>>,
}

/// The pools by name, and the number of connections they were given so far.
type Pools = (HashMap<Box<[u8]>, Pool>, u64);

thread_local! {
    static POOLS: RefCell<Pools> = RefCell::default();
}

/// Pools a worker may have.
const POOLS_MAX: usize = 4096;

/// What `connect` found in a pool.
pub(crate) enum Taken {
    /// A connection, and how often it was used.
    Connection(Transport, u64),
    /// None: a new one may be made.
    New,
    /// The pool is full: wait for this, then ask again.
    Wait(Rc<Notify>),
    /// The pool and its backlog are full.
    Full,
}

/// Takes a connection of pool `name`, the one that was put there last.
pub(crate) fn take(name: &[u8], max: usize, backlog: Option<usize>) -> Taken {
    POOLS.with_borrow_mut(|(pools, _)| {
        if pools.len() >= POOLS_MAX && !pools.contains_key(name) {
            pools.retain(|_, pool| !pool.idle.is_empty() || pool.open > 0);
        }
        let pool = pools.entry(name.into()).or_insert_with(|| Pool {
            idle: VecDeque::new(),
            max,
            open: 0,
            backlog,
            waiting: VecDeque::new(),
        });
        if backlog.is_some() {
            pool.backlog = backlog;
        }
        while let Some(kept) = pool.idle.pop_back() {
            kept.taken.notify_one();
            if !kept.transport.socket().has_hung_up() {
                return Taken::Connection(kept.transport, kept.reused);
            }
            pool.open = pool.open.saturating_sub(1);
        }
        match pool.backlog {
            Some(_) if pool.open < pool.max => {
                pool.open += 1;
                Taken::New
            }
            Some(backlog) if pool.waiting.len() < backlog => {
                let notify = Rc::new(Notify::new());
                pool.waiting.push_back(Rc::clone(&notify));
                Taken::Wait(notify)
            }
            Some(_) => Taken::Full,
            None => Taken::New,
        }
    })
}

/// A connection of pool `name` was closed, or could not be made.
pub(crate) fn closed(name: &[u8]) {
    POOLS.with_borrow_mut(|(pools, _)| {
        if let Some(pool) = pools.get_mut(name)
            && pool.backlog.is_some()
        {
            pool.open = pool.open.saturating_sub(1);
            if let Some(next) = pool.waiting.pop_front() {
                next.notify_one();
            }
        }
    });
}

/// Somebody stopped waiting for pool `name`.
pub(crate) fn gave_up(name: &[u8], notify: &Rc<Notify>) {
    POOLS.with_borrow_mut(|(pools, _)| {
        if let Some(pool) = pools.get_mut(name) {
            pool.waiting.retain(|other| !Rc::ptr_eq(other, notify));
        }
    });
}

/// Keeps a connection for at most `idle` (zero: forever) in pool `name`, of which at most `max` are kept.
pub(crate) fn put(name: &[u8], transport: Transport, reused: u64, idle: Duration, max: usize) {
    let (number, taken) = POOLS.with_borrow_mut(|(pools, count)| {
        *count += 1;
        let pool = pools.entry(name.into()).or_insert_with(|| Pool {
            idle: VecDeque::new(),
            max,
            open: 0,
            backlog: None,
            waiting: VecDeque::new(),
        });
        if pool.idle.len() >= pool.max
            && let Some(oldest) = pool.idle.pop_front()
        {
            oldest.taken.notify_one();
        }
        let taken = Rc::new(Notify::new());
        pool.idle.push_back(Kept {
            transport: transport.clone(),
            reused,
            taken: Rc::clone(&taken),
            number: *count,
        });
        if let Some(next) = pool.waiting.pop_front() {
            next.notify_one();
        }
        (*count, taken)
    });
    let name: Box<[u8]> = name.into();
    net::spawn(async move {
        // the peer closes, sends what nobody asked for, or nobody needs the connection in time
        let limit = if idle.is_zero() { net::Timeout::NEVER } else { net::Timeout::after(idle) };
        if let Either::Right(_) = net::select2(taken.notified(), transport.readable(limit)).await {
            drop(transport);
            remove(&name, number);
        }
    });
}

fn remove(name: &[u8], number: u64) {
    POOLS.with_borrow_mut(|(pools, _)| {
        let Some(pool) = pools.get_mut(name) else { return };
        let before = pool.idle.len();
        pool.idle.retain(|kept| kept.number != number);
        if pool.idle.len() < before {
            pool.open = pool.open.saturating_sub(1);
            if pool.idle.is_empty() && pool.open == 0 && pool.waiting.is_empty() {
                pools.remove(name);
            }
        }
    });
}
