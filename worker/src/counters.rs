//! Connection and request statistics (`stub_status`), in memory shared by all workers.

use shm::counter::{Mine, STATUS, Status};

/// This worker's counters.
pub struct Counters {
    all: shm::Counters,
    mine: Mine,
}

impl Counters {
    /// Name of the zone all processes of one master share.
    pub const ZONE: &'static str = "uresty_counters";

    /// Size of that zone in bytes.
    pub fn zone_size() -> usize {
        shm::Counters::zone_size(STATUS)
    }

    /// Its kind.
    pub fn zone_kind() -> shm::Kind {
        shm::Counters::kind(STATUS)
    }

    /// Claims a worker's slot in `zone`.
    pub fn open(zone: &shm::Zone) -> Result<Self, shm::Error> {
        let all = shm::Counters::open(zone, STATUS)?;
        let mine = all.claim()?;
        Ok(Self { all, mine })
    }

    /// Sum over all workers.
    pub fn sum(&self, status: Status) -> u64 {
        self.all.sum(status)
    }

    pub(crate) fn accepted(&self) {
        self.mine.add(Status::Accepts, 1);
    }

    pub(crate) fn handled(&self) {
        self.mine.add(Status::Handled, 1);
    }

    pub(crate) fn request(&self) {
        self.mine.add(Status::Requests, 1);
    }

    /// Counts a connection that was ended for what its client did.
    pub(crate) fn abuse(&self, abuse: http2::Abuse) {
        let status = match abuse {
            http2::Abuse::RapidReset => Status::RapidReset,
            http2::Abuse::MadeYouReset => Status::MadeYouReset,
            http2::Abuse::Continuation => Status::Continuation,
            http2::Abuse::Control => Status::ControlFrames,
        };
        self.mine.add(status, 1);
    }

    /// Counts a connection as being in `status` until that changes or the guard is dropped.
    pub(crate) fn stage(&self, status: Status) -> Stage<'_> {
        self.mine.add(status, 1);
        Stage { counters: self, status }
    }

    pub(crate) fn change(&self, status: Status, by: i8) {
        if by >= 0 {
            self.mine.add(status, by.unsigned_abs().into())
        } else {
            self.mine.sub(status, by.unsigned_abs().into())
        }
    }
}

/// What a connection is doing: reading a head, being answered, waiting.
pub(crate) struct Stage<'a> {
    counters: &'a Counters,
    status: Status,
}

impl Stage<'_> {
    /// The connection does something else now.
    pub(crate) fn becomes(&mut self, status: Status) {
        if self.status != status {
            self.counters.mine.sub(self.status, 1);
            self.counters.mine.add(status, 1);
            self.status = status;
        }
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        self.counters.mine.sub(self.status, 1);
    }
}
