//! Metrics that every worker writes without a lock and anybody adds up.
//!
//! Each worker has a block of cache lines of its own. A counter stays when its worker dies: the block keeps the number and its next
//! owner counts on from there, so the sum never goes back. A gauge – how many connections there are now – is zeroed with its worker.
//!
//! ```text
//! slots (who owns which block) | block 0 | block 1 | …      block = one 64-bit word per metric, padded to 64 bytes
//! ```

use std::{
    marker::PhantomData,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::{
    error::{Error, Result},
    map::Region,
    process::Identity,
    slot::{SlotId, Slots},
    zone::{Kind, Zone},
};

/// Blocks: workers at the same time, those that drain after a reload included; more share the last block.
const SLOTS: u16 = 256;

/// One number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name, for whoever prints it.
    pub name: &'static str,
    /// Whether it tells the present (and dies with its worker) or the past.
    pub gauge: bool,
}

/// What `stub_status` shows, in the order of [`STATUS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Status {
    /// Connections accepted.
    Accepts,
    /// Connections handled; fewer when a resource limit was reached.
    Handled,
    /// Requests.
    Requests,
    /// Client connections now.
    Active,
    /// Of these, those whose request head is being read.
    Reading,
    /// Those that are being answered.
    Writing,
    /// Idle ones.
    Waiting,
    /// HTTP/2 connections ended because their clients opened and reset streams.
    RapidReset,
    /// Because they made the server reset streams.
    MadeYouReset,
    /// Because of header blocks in too many pieces.
    Continuation,
    /// Because of control frames that moved nothing forward.
    ControlFrames,
}

/// The metrics of `stub_status`.
pub const STATUS: &[Metric] = &[
    Metric { name: "accepts", gauge: false },
    Metric { name: "handled", gauge: false },
    Metric { name: "requests", gauge: false },
    Metric { name: "active", gauge: true },
    Metric { name: "reading", gauge: true },
    Metric { name: "writing", gauge: true },
    Metric { name: "waiting", gauge: true },
    Metric { name: "http2_rapid_reset", gauge: false },
    Metric { name: "http2_made_you_reset", gauge: false },
    Metric { name: "http2_continuation", gauge: false },
    Metric { name: "http2_control_frames", gauge: false },
];

impl From<Status> for usize {
    fn from(status: Status) -> Self {
        status as Self
    }
}

/// A table of metrics; the number of one is its place in the list it was made with.
#[derive(Debug)]
pub struct Counters {
    metrics: &'static [Metric],
    slots: Slots,
    blocks: Region,
    block: usize,
}

impl Counters {
    /// What a zone of these metrics is registered as: another list is another zone.
    pub fn kind(metrics: &[Metric]) -> Kind {
        let mut fnv = 0x811c_9dc5u32;
        for metric in metrics {
            for byte in metric.name.bytes().chain([u8::from(metric.gauge)]) {
                fnv = (fnv ^ u32::from(byte)).wrapping_mul(0x0100_0193);
            }
        }
        Kind { id: *b"cntr", layout: fnv }
    }

    /// Bytes to ask for in the zone's spec.
    pub fn zone_size(metrics: &[Metric]) -> usize {
        1024 + Slots::bytes(SLOTS) + usize::from(SLOTS) * block_size(metrics)
    }

    /// The metrics in a zone; a zero-filled one needs no preparation.
    pub fn open(zone: &Zone, metrics: &'static [Metric]) -> Result<Self> {
        if zone.spec().kind != Self::kind(metrics) {
            return Err(Error::Mismatch("it holds other metrics"));
        }
        let slots = Slots::at(zone.body(), SLOTS)?;
        let block = block_size(metrics);
        let blocks = zone.body().part(Slots::bytes(SLOTS), usize::from(SLOTS) * block)?;
        Ok(Self { metrics, slots, blocks, block })
    }

    /// This process's own numbers. To be written by one thread at a time.
    pub fn claim(&self) -> Result<Mine> {
        self.claim_as(Identity::current())
    }

    fn claim_as(&self, who: Identity) -> Result<Mine> {
        let slot = self.slots.claim(who, |dead| self.forget(dead))?;
        let block = self.blocks.part(usize::from(slot.0) * self.block, self.block)?;
        Ok(Mine {
            block,
            count: self.metrics.len(),
            shared: slot == self.slots.overflow(),
            _one_thread: PhantomData,
        })
    }

    /// Zeroes the gauges of dead workers; how many there were.
    pub fn retire_dead(&self) -> Result<usize> {
        self.slots.retire_dead(|dead| self.forget(dead))
    }

    /// The sum over all workers. Zero for a number that is not in the list.
    pub fn sum(&self, metric: impl Into<usize>) -> u64 {
        let metric = metric.into();
        let of = |slot| self.word(slot, metric).map_or(0, |word| word.load(Ordering::Relaxed));
        // A gauge may be below zero in the shared block and is only right as a whole: hence wrapping.
        (0..SLOTS).map(SlotId).map(of).fold(0, u64::wrapping_add)
    }

    /// The number of every worker that owns a block, by process id.
    pub fn each(&self, metric: impl Into<usize>) -> Vec<(u32, u64)> {
        let metric = metric.into();
        (0..SLOTS)
            .map(SlotId)
            .filter_map(|slot| {
                let owner = self.slots.owner(slot)?;
                Some((owner.pid(), self.word(slot, metric)?.load(Ordering::Relaxed)))
            })
            .collect()
    }

    /// The list it was made with.
    pub fn metrics(&self) -> &'static [Metric] {
        self.metrics
    }

    fn forget(&self, slot: SlotId) -> Result<()> {
        for (number, metric) in self.metrics.iter().enumerate() {
            if metric.gauge
                && let Some(word) = self.word(slot, number)
            {
                word.store(0, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    fn word(&self, slot: SlotId, metric: usize) -> Option<&AtomicU64> {
        if metric >= self.metrics.len() {
            return None;
        }
        self.blocks.word64(usize::from(slot.0) * self.block + metric * 8).ok()
    }
}

fn block_size(metrics: &[Metric]) -> usize {
    (metrics.len() * 8).next_multiple_of(64).max(64)
}

/// The numbers of one process. A number that is not in the list is ignored.
#[derive(Debug)]
pub struct Mine {
    block: Region,
    count: usize,
    shared: bool,
    _one_thread: PhantomData<std::cell::Cell<()>>,
}

impl Mine {
    /// Adds.
    #[inline]
    pub fn add(&self, metric: impl Into<usize>, n: u64) {
        let metric = metric.into();
        let Some(word) = self.word(metric) else { return };
        if self.shared {
            word.fetch_add(n, Ordering::Relaxed);
        } else {
            // Nobody else writes here, so no locked instruction is needed.
            word.store(word.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
        }
    }

    /// Subtracts, from a gauge.
    #[inline]
    pub fn sub(&self, metric: impl Into<usize>, n: u64) {
        self.add(metric, n.wrapping_neg());
    }

    /// What this process has in it.
    pub fn own(&self, metric: impl Into<usize>) -> u64 {
        self.word(metric.into()).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    #[inline]
    fn word(&self, metric: usize) -> Option<&AtomicU64> {
        if metric >= self.count {
            return None;
        }
        self.block.word64(metric * 8).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{slot::tests::dead, zone::Spec};

    fn zone() -> Zone {
        let spec =
            Spec { name: "status".into(), size: Counters::zone_size(STATUS), kind: Counters::kind(STATUS) };
        Zone::create(&spec).unwrap()
    }

    #[test]
    fn the_list_is_in_the_order_of_the_enum() {
        let all = [
            Status::Accepts,
            Status::Handled,
            Status::Requests,
            Status::Active,
            Status::Reading,
            Status::Writing,
            Status::Waiting,
            Status::RapidReset,
            Status::MadeYouReset,
            Status::Continuation,
            Status::ControlFrames,
        ];
        assert_eq!(all.len(), STATUS.len());
        for (number, status) in all.into_iter().enumerate() {
            assert_eq!(usize::from(status), number);
            let name = STATUS[number].name.trim_start_matches("http2_").replace('_', "");
            assert_eq!(format!("{status:?}").to_lowercase(), name);
        }
    }

    #[test]
    fn counters_outlive_their_worker_and_gauges_do_not() {
        let zone = zone();
        let counters = Counters::open(&zone, STATUS).unwrap();
        let mine = counters.claim().unwrap();
        let ghost = counters.claim_as(dead(1)).unwrap();
        for worker in [&mine, &ghost] {
            worker.add(Status::Requests, 10);
            worker.add(Status::Active, 3);
            worker.sub(Status::Active, 1);
        }
        assert_eq!((counters.sum(Status::Requests), counters.sum(Status::Active)), (20, 4));
        assert_eq!(counters.retire_dead().unwrap(), 1);
        assert_eq!((counters.sum(Status::Requests), counters.sum(Status::Active)), (20, 2));
        let next = counters.claim_as(dead(2)).unwrap();
        assert_eq!(next.own(Status::Requests), 10, "it counts on in the dead one's block");
        next.add(Status::Requests, 1);
        assert_eq!(counters.sum(Status::Requests), 21);
        assert_eq!(counters.each(Status::Active).len(), 2);
        mine.add(99usize, 1);
        assert_eq!(counters.sum(99usize), 0);
    }

    #[test]
    fn the_shared_block_adds_up() {
        let zone = zone();
        let counters = Counters::open(&zone, STATUS).unwrap();
        for slot in 0..SLOTS - 1 {
            counters.slots.set_owner(SlotId(slot), Identity::of_pid(1).unwrap().raw()).unwrap();
        }
        let (one, two) = (counters.claim().unwrap(), counters.claim().unwrap());
        assert!(one.shared && two.shared);
        one.add(Status::Active, 1);
        two.sub(Status::Active, 1);
        one.add(Status::Active, 5);
        assert_eq!(counters.sum(Status::Active), 5);
    }

    #[test]
    fn another_list_is_another_zone() {
        const OTHER: &[Metric] = &[Metric { name: "accepts", gauge: true }];
        assert!(matches!(Counters::open(&zone(), OTHER), Err(Error::Mismatch(_))));
    }
}
