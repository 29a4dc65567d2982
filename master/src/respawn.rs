//! When to start a worker again that has died.
//!
//! At once, as nginx does: one crash must not cost more than the connections it took down. But a worker that dies as
//! soon as it starts would be started some hundred times a second, and leave no processor time to those that work. So
//! after [`CRASHES_MAX`] deaths in [`WINDOW`] the next start waits, each time twice as long, until a worker has lived
//! for [`STABLE`].

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Deaths in [`WINDOW`] that are answered at once, the last not included.
const CRASHES_MAX: usize = 10;

/// The time in which deaths are counted.
const WINDOW: Duration = Duration::from_secs(1);

/// The first wait.
const DELAY_MIN: Duration = Duration::from_millis(200);

/// The longest wait. Connections queue on the slot's socket meanwhile.
const DELAY_MAX: Duration = Duration::from_secs(5);

/// A worker that lived this long has shown that it can.
const STABLE: Duration = Duration::from_secs(10);

/// The deaths in one slot.
#[derive(Debug, Default)]
pub struct Backoff {
    crashes: VecDeque<Instant>,
    delay: Duration,
}

impl Backoff {
    /// How long to wait before the next start, after a worker started at `started` died at `now`.
    pub fn died(&mut self, started: Instant, now: Instant) -> Duration {
        if now.duration_since(started) >= STABLE {
            *self = Self::default();
        }
        while self.crashes.front().is_some_and(|crash| now.duration_since(*crash) > WINDOW) {
            self.crashes.pop_front();
        }
        self.crashes.push_back(now);
        if !self.delay.is_zero() {
            self.delay = (self.delay * 2).min(DELAY_MAX);
        } else if self.crashes.len() >= CRASHES_MAX {
            self.delay = DELAY_MIN;
        }
        self.delay
    }

    /// How long to wait after a worker could not begin at all: its surroundings must change first.
    pub fn failed(&mut self) -> Duration {
        self.delay = DELAY_MAX;
        self.delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// The waits when every worker dies `life` after it was started.
    fn waits(backoff: &mut Backoff, now: &mut Instant, life: Duration, count: usize) -> Vec<u128> {
        (0..count)
            .map(|_| {
                let started = *now;
                *now += life;
                let wait = backoff.died(started, *now);
                *now += wait;
                wait.as_millis()
            })
            .collect()
    }

    #[test]
    fn a_crash_loop_slows_down_and_recovers() {
        let (mut backoff, mut now) = (Backoff::default(), Instant::now());
        let loop_waits = waits(&mut backoff, &mut now, 10 * MS, 17);
        assert_eq!(loop_waits, [0, 0, 0, 0, 0, 0, 0, 0, 0, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
        assert_eq!(waits(&mut backoff, &mut now, STABLE, 1), [0]);
        assert_eq!(waits(&mut backoff, &mut now, 10 * MS, 3), [0, 0, 0]);
    }

    #[test]
    fn kills_now_and_then_are_answered_at_once() {
        let (mut backoff, mut now) = (Backoff::default(), Instant::now());
        assert!(waits(&mut backoff, &mut now, 150 * MS, 100).iter().all(|wait| *wait == 0));
    }

    #[test]
    fn a_worker_that_cannot_begin_waits_long() {
        assert_eq!(Backoff::default().failed(), DELAY_MAX);
    }
}
