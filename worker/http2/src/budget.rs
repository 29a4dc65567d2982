//! What a peer may cost us. Every cheap trick spends from a bucket that fills with time and with honest work; an empty
//! bucket ends the connection. Requests and bytes of bodies are not limited here: those the limits of the server are for.

use crate::error::{Abuse, Fatal};

/// Tokens that come back with time and with good deeds.
#[derive(Debug, Clone)]
struct Bucket {
    tokens: u32,
    max: u32,
    per_second: u32,
    /// Up to when refilling was counted, ms.
    at: u64,
}

impl Bucket {
    fn new(max: u32, per_second: u32) -> Self {
        Self { tokens: max, max, per_second, at: 0 }
    }

    fn spend(&mut self, count: u32, now: u64) -> bool {
        let due = now.saturating_sub(self.at).saturating_mul(self.per_second.into()) / 1000;
        if due > 0 {
            self.earn(u32::try_from(due).unwrap_or(u32::MAX));
            self.at = now;
        }
        match self.tokens.checked_sub(count) {
            Some(left) => {
                self.tokens = left;
                true
            }
            None => false,
        }
    }

    fn earn(&mut self, count: u32) {
        self.tokens = self.tokens.saturating_add(count).min(self.max);
    }
}

/// The buckets of one connection.
#[derive(Debug)]
pub(crate) struct Budget {
    resets: Bucket,
    errors: Bucket,
    control: Bucket,
    now: u64,
}

/// Streams a peer may reset at once before they were answered; more where it may have more streams open.
const RESETS_MIN: u32 = 200;
const RESETS_MAX: u32 = 100_000;
const RESETS_PER_SECOND: u32 = 20;
/// Stream errors a peer may make at once.
const ERRORS: u32 = 100;
const ERRORS_PER_SECOND: u32 = 5;
/// Control frames a peer may send at once without anything else.
const CONTROL: u32 = 2_000;
const CONTROL_PER_SECOND: u32 = 200;
/// Control frames that come with a request, and with a DATA frame in either direction.
const CONTROL_PER_REQUEST: u32 = 8;
const CONTROL_PER_DATA: u32 = 2;
/// DATA frames with fewer bytes earn nothing.
const DATA_BYTES_MIN: usize = 64;

impl Budget {
    pub(crate) fn new(streams_max: u32) -> Self {
        let resets = streams_max.saturating_mul(2).clamp(RESETS_MIN, RESETS_MAX);
        Self {
            resets: Bucket::new(resets, RESETS_PER_SECOND),
            errors: Bucket::new(ERRORS, ERRORS_PER_SECOND),
            control: Bucket::new(CONTROL, CONTROL_PER_SECOND),
            now: 0,
        }
    }

    /// The time, ms on any clock that does not go back.
    pub(crate) fn set_time(&mut self, now: u64) {
        self.now = now;
    }

    /// The peer reset a stream that was not answered, or opened one beyond its limit.
    pub(crate) fn reset(&mut self) -> Result<(), Fatal> {
        Self::pay(self.resets.spend(1, self.now), Abuse::RapidReset)
    }

    /// The peer made us reset a stream.
    pub(crate) fn error(&mut self) -> Result<(), Fatal> {
        Self::pay(self.errors.spend(1, self.now), Abuse::MadeYouReset)
    }

    /// The peer sent a frame that moves nothing forward.
    pub(crate) fn control(&mut self, cost: u32) -> Result<(), Fatal> {
        Self::pay(self.control.spend(cost, self.now), Abuse::Control)
    }

    fn pay(paid: bool, abuse: Abuse) -> Result<(), Fatal> {
        if paid { Ok(()) } else { Err(Fatal::abuse(abuse)) }
    }

    /// A message was completed.
    pub(crate) fn completed(&mut self) {
        self.resets.earn(1);
        self.control.earn(CONTROL_PER_REQUEST);
    }

    /// A DATA frame with so many bytes went either way.
    pub(crate) fn data(&mut self, bytes: usize) {
        if bytes >= DATA_BYTES_MIN {
            self.control.earn(CONTROL_PER_DATA);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_fill_with_time() {
        let mut budget = Budget::new(128);
        let spent = (0..10_000).take_while(|_| budget.reset().is_ok()).count();
        assert_eq!(spent, 256);
        budget.set_time(1000);
        let spent = (0..10_000).take_while(|_| budget.reset().is_ok()).count();
        assert_eq!(spent, RESETS_PER_SECOND as usize);
        budget.completed();
        assert!(budget.reset().is_ok() && budget.reset().is_err());
        assert_eq!(budget.control(CONTROL + 1).unwrap_err().abuse, Some(Abuse::Control));
    }
}
