//! What is known of each server of a group: weights, failures, connections.
//!
//! Without `zone` the numbers belong to the worker and stand in a vector; with it they stand in shared memory under the
//! group's lock. The methods see one [`Access`] and do not know which.

use std::cell::{OnceCell, RefCell, RefMut};

use shm::peers::{DOWN, Field, Group, GroupGuard, PeerRef};

/// Numbers of one server, at the index `field as usize`.
pub type Record = [i64; Field::COUNT];

/// Where the numbers of a server stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the worker's own vector.
    Own(usize),
    /// In the zone.
    Shared(PeerRef),
}

/// The numbers of all servers of a group.
#[derive(Default)]
pub struct States {
    own: RefCell<Vec<Record>>,
    shared: OnceCell<Group>,
}

impl States {
    /// Numbers of the worker's own.
    pub fn new(records: Vec<Record>) -> Self {
        Self { own: RefCell::new(records), shared: OnceCell::new() }
    }

    /// From now on the numbers stand in `group`.
    pub fn share(&self, group: Group) {
        let _ = self.shared.set(group);
    }

    /// The group in shared memory, if there is one.
    pub fn shared(&self) -> Option<&Group> {
        self.shared.get()
    }

    /// The numbers, to read and change. `None` when the zone cannot be used (its lock is stuck or its memory is corrupt).
    pub fn access(&self) -> Option<Access<'_>> {
        match self.shared.get() {
            Some(group) => group.lock().ok().map(Access::Shared),
            None => Some(Access::Own(self.own.borrow_mut())),
        }
    }
}

/// The numbers while they are being used.
pub enum Access<'a> {
    /// In the worker's own vector.
    Own(RefMut<'a, Vec<Record>>),
    /// In the zone, whose lock is held.
    Shared(GroupGuard<'a>),
}

impl Access<'_> {
    /// A number. A server that was removed from the zone meanwhile is down.
    #[inline]
    pub fn get(&self, place: Place, field: Field) -> i64 {
        match (self, place) {
            (Access::Own(records), Place::Own(at)) => records[at][field as usize],
            (Access::Shared(guard), Place::Shared(peer)) => {
                guard.field(peer, field).unwrap_or(if matches!(field, Field::Down) { DOWN } else { 0 })
            }
            _ => unavailable(field),
        }
    }

    /// Changes a number.
    #[inline]
    pub fn set(&mut self, place: Place, field: Field, value: i64) {
        match (self, place) {
            (Access::Own(records), Place::Own(at)) => records[at][field as usize] = value,
            (Access::Shared(guard), Place::Shared(peer)) => {
                // a removed server has no numbers any more
                let _ = guard.set_field(peer, field, value);
            }
            _ => {}
        }
    }

    /// Counts a connection.
    pub fn opened(&mut self, place: Place) {
        match (self, place) {
            (Access::Own(records), Place::Own(at)) => records[at][Field::Conns as usize] += 1,
            (Access::Shared(guard), Place::Shared(peer)) => {
                let _ = guard.conn_opened(peer);
            }
            _ => {}
        }
    }

    /// Counts it off.
    pub fn closed(&mut self, place: Place) {
        match (self, place) {
            (Access::Own(records), Place::Own(at)) => {
                let conns = &mut records[at][Field::Conns as usize];
                *conns = (*conns - 1).max(0);
            }
            (Access::Shared(guard), Place::Shared(peer)) => {
                let _ = guard.conn_closed(peer);
            }
            _ => {}
        }
    }
}

/// A server of the time before the numbers moved to the zone: chosen by a request that is still running.
#[cold]
fn unavailable(field: Field) -> i64 {
    if matches!(field, Field::Down) { DOWN } else { 0 }
}
