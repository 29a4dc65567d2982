//! `least_time header|last_byte [inflight]`: the server expected to answer first, by its average times and connections.

use shm::peers::Field;

use super::least_conn::least;
use super::pick::{Memory, Pick};
use super::states::{Access, Place};
use super::{Finish, Method};

/// Which time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Until the response head.
    Header,
    /// Until the end of the response.
    LastByte,
}

/// See the module's documentation.
pub struct LeastTime {
    /// Which time counts.
    pub measure: Measure,
    /// Whether requests that still run count with the time they have taken so far.
    pub inflight: bool,
}

/// Times above this are equally bad, ms: connections decide then.
const SLOW_MS: i64 = 5000;
/// Times are compared in steps of so many ms, so that servers with close times take turns.
const STEP_MS: i64 = 20;

impl Method for LeastTime {
    fn choose(&self, pick: &mut Pick<'_>, _: &mut Memory) -> Option<usize> {
        let single = pick.tier.single;
        let chosen = least(pick, |pick, at| self.estimate(pick, at));
        if self.inflight
            && !single
            && let Some(at) = chosen
        {
            self.begin(pick, at);
        }
        chosen
    }

    fn counts_inflight(&self) -> bool {
        self.inflight
    }

    fn header(&self, access: &mut Access<'_>, place: Place, end: &Finish) -> bool {
        let (Measure::Header, Some(header_ms)) = (self.measure, end.header_ms) else { return false };
        average(access, place, Field::HeaderTime, header_ms);
        finish(access, place, header_ms, end.now_ms);
        true
    }

    fn done(&self, access: &mut Access<'_>, place: Place, end: &Finish) {
        let at_header = self.inflight && self.measure == Measure::Header;
        if end.inflight {
            finish(access, place, end.response_ms, end.now_ms);
        }
        // failures are often fast: they must not make a server look good
        let (true, Some(header_ms)) = (end.answered, end.header_ms) else { return };
        average(access, place, Field::ResponseTime, end.response_ms);
        if !at_header {
            average(access, place, Field::HeaderTime, header_ms);
        }
    }
}

impl LeastTime {
    /// Milliseconds the server needs for what it has and one more request.
    fn estimate(&self, pick: &mut Pick<'_>, at: usize) -> i64 {
        let place = pick.member(at).place;
        let running = pick.get(at, Field::Inflight);
        if running > 0 {
            let so_far = pick.get(at, Field::InflightLast) / running
                + (pick.now_ms - pick.get(at, Field::InflightSince)).max(0);
            average(&mut pick.access, place, Field::InflightTime, so_far);
        }
        let mut time = pick.get(
            at,
            match self.measure {
                Measure::Header => Field::HeaderTime,
                Measure::LastByte => Field::ResponseTime,
            },
        );
        let (idle, timeout) = (pick.now - pick.get(at, Field::Checked), pick.get(at, Field::FailTimeout));
        if idle > timeout {
            // a slow server gets another chance: its time halves with every fail_timeout
            time >>= (idle / (timeout + 1)).min(62);
        }
        if running > 0 {
            time = time.max(pick.get(at, Field::InflightTime));
        }
        time = if time > SLOW_MS { SLOW_MS } else { time + STEP_MS - time % STEP_MS };
        time.saturating_mul(1 + pick.get(at, Field::Conns))
    }

    /// Counts one more running request.
    fn begin(&self, pick: &mut Pick<'_>, at: usize) {
        let running = pick.get(at, Field::Inflight);
        if running > 0 {
            let passed = (pick.now_ms - pick.get(at, Field::InflightSince)).max(0).saturating_mul(running);
            pick.set(at, Field::InflightLast, pick.get(at, Field::InflightLast) + passed);
        }
        pick.set(at, Field::InflightSince, pick.now_ms);
        pick.set(at, Field::Inflight, running + 1);
    }
}

/// Counts off a running request that took `took_ms`.
fn finish(access: &mut Access<'_>, place: Place, took_ms: i64, now_ms: i64) {
    let running = access.get(place, Field::Inflight);
    if running <= 1 {
        access.set(place, Field::InflightLast, 0);
    } else {
        let passed = (now_ms - access.get(place, Field::InflightSince)).max(0).saturating_mul(running);
        let sum = access.get(place, Field::InflightLast) + passed - took_ms;
        access.set(place, Field::InflightLast, sum.max(0));
        access.set(place, Field::InflightSince, now_ms);
    }
    access.set(place, Field::Inflight, (running - 1).max(0));
}

/// Moves an average towards `value` by a twentieth; the first value is taken as it is.
fn average(access: &mut Access<'_>, place: Place, field: Field, value: i64) {
    let old = access.get(place, field);
    let new = if old == 0 { value } else { (value.saturating_add(old.saturating_mul(19)) + 10) / 20 };
    access.set(place, field, new);
}
