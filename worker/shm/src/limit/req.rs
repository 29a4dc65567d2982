//! `limit_req`: a leaky bucket per key, as nginx's ngx_http_limit_req_module has it.
//!
//! A bucket holds `excess`, in thousandths of a request: each request adds 1000, and `rate` thousandths leak out per second. A
//! request that would lift it above `burst` is refused and adds nothing. With several limits on one location a request must be
//! added to all buckets or to none: all but the last are looked up first with a [`Reservation`], which keeps the bucket from being
//! evicted, and are accounted when the last has agreed ([`limit_all`] does the whole dance).
//!
//! One thing differs: a reservation whose worker was killed holds its bucket for [`RESERVATION_MS_MAX`] and not for ever.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{
    error::{Error, Result},
    map::Region,
    table::{EntryRef, Shards, Table, TableGuard},
    zone::{Kind, Zone},
};

/// A reservation older than this was left by a dead worker. Milliseconds.
pub const RESERVATION_MS_MAX: u64 = 60_000;
/// A bucket idle for less than this is not given up. Milliseconds.
const IDLE_MS_MIN: u64 = 60_000;
/// How many of the oldest buckets may be thrown out by force to make room for one. nginx: one, but keys of different lengths
/// do not share pages, so that the room of one may not do.
const FORCED_MAX: u32 = 16;

// Words of a bucket.
const LAST: usize = 0;
const EXCESS: usize = 1;
/// Count of reservations in the high 16 bits, time of the latest in the low 48.
const RESERVED: usize = 2;
const VALUE_LEN: usize = 24;

/// Longest key, bytes; longer ones are not limited.
pub const KEY_MAX: usize = crate::table::KEY_MAX;

/// A `limit_req_zone`.
#[derive(Debug)]
pub struct LimitReq {
    shards: Shards,
}

/// What a bucket says to one more request. `excess` is in thousandths of a request and includes this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Accounted.
    Ok {
        /// Level of the bucket now.
        excess: u64,
    },
    /// Above the burst; nothing was accounted.
    Busy {
        /// The level it would have had.
        excess: u64,
    },
    /// Within the burst and reserved: to be given to [`LimitReq::account_reserved`] or [`LimitReq::release`].
    Again {
        /// The level it would have now.
        excess: u64,
        /// Keeps the bucket.
        reservation: Reservation,
    },
}

/// A claim on a bucket between lookup and account.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    entry: EntryRef,
    shard: usize,
    epoch: u32,
}

impl LimitReq {
    /// What the zone is registered as.
    pub const KIND: Kind = Kind { id: *b"lreq", layout: 1 };

    /// Prepares a new zone.
    pub fn format(zone: &Zone) -> Result<Self> {
        Ok(Self { shards: Shards::format(zone.body(), 0)? })
    }

    /// The limits in a zone that was prepared.
    pub fn open(zone: &Zone) -> Result<Self> {
        Self::open_region(zone.body())
    }

    /// As [`open`](Self::open), for a region that is not a whole zone.
    pub fn open_region(region: &Region) -> Result<Self> {
        Ok(Self { shards: Shards::open(region)? })
    }

    /// Asks the bucket of `key` for one request and accounts it if it fits: what the only or last limit of a location does.
    /// `rate` in thousandths per second, `burst` in thousandths, `now_ms` of a monotonic clock common to all workers.
    pub fn account(&self, key: &[u8], now_ms: u64, rate: u64, burst: u64) -> Result<Lookup> {
        self.lookup(key, now_ms, rate, burst, true)
    }

    /// As [`account`](Self::account) but only reserves: what every limit but the last does.
    pub fn reserve(&self, key: &[u8], now_ms: u64, rate: u64, burst: u64) -> Result<Lookup> {
        self.lookup(key, now_ms, rate, burst, false)
    }

    /// Accounts a reserved request; the bucket's level. `None` if the zone was emptied meanwhile.
    pub fn account_reserved(&self, reservation: Reservation, now_ms: u64, rate: u64) -> Result<Option<u64>> {
        let Some((guard, entry)) = self.reserved(reservation)? else { return Ok(None) };
        let bucket = Bucket(guard.words(entry)?);
        let (excess, ms) = bucket.level(now_ms, rate);
        bucket.account(excess, ms, now_ms);
        bucket.unreserve();
        Ok(Some(excess))
    }

    /// Gives a reservation up without accounting.
    pub fn release(&self, reservation: Reservation) -> Result<()> {
        if let Some((guard, entry)) = self.reserved(reservation)? {
            Bucket(guard.words(entry)?).unreserve();
        }
        Ok(())
    }

    /// Repairs what dead workers left locked; for the master.
    pub fn recover(&self) -> Result<usize> {
        self.shards.recover()
    }

    fn lookup(&self, key: &[u8], now_ms: u64, rate: u64, burst: u64, account: bool) -> Result<Lookup> {
        let place = self.shards.of(key);
        let mut guard = place.table.lock()?;
        let (entry, excess) = match guard.find_hashed(key, place.hash)? {
            Some(entry) => {
                guard.touch(entry)?;
                let bucket = Bucket(guard.words(entry)?);
                let (excess, ms) = bucket.level(now_ms, rate);
                if excess > burst {
                    return Ok(Lookup::Busy { excess });
                }
                if account {
                    bucket.account(excess, ms, now_ms);
                }
                (entry, excess)
            }
            None => {
                let entry = new_bucket(&mut guard, key, now_ms, rate)?;
                if account {
                    Bucket(guard.words(entry)?).set(LAST, now_ms);
                }
                (entry, 0)
            }
        };
        if account {
            return Ok(Lookup::Ok { excess });
        }
        Bucket(guard.words(entry)?).reserve(now_ms);
        let (shard, epoch) = (place.number, guard.epoch());
        Ok(Lookup::Again { excess, reservation: Reservation { entry, shard, epoch } })
    }

    fn reserved(&self, reservation: Reservation) -> Result<Option<(TableGuard<'_>, EntryRef)>> {
        let table: &Table = self.shards.table(reservation.shard)?;
        let guard = table.lock()?;
        let valid = guard.epoch() == reservation.epoch;
        Ok(valid.then_some((guard, reservation.entry)))
    }
}

const STAMP: u64 = (1 << 48) - 1;

/// The words of one bucket, under the table's lock.
struct Bucket<'a>(&'a [AtomicU64; 3]);

impl Bucket<'_> {
    fn of(&self, word: usize) -> u64 {
        self.0[word].load(Ordering::Relaxed)
    }

    fn set(&self, word: usize, value: u64) {
        self.0[word].store(value, Ordering::Relaxed);
    }

    /// The level with one more request, and the time since the last one as nginx takes it: a clock that went back a little
    /// counts as no time, one that went back by more than a minute as one millisecond.
    fn level(&self, now_ms: u64, rate: u64) -> (u64, u64) {
        let last = self.of(LAST);
        if last == 0 {
            return (0, now_ms); // reserved but never accounted: nothing is in it
        }
        let ms = match now_ms.wrapping_sub(last) as i64 {
            ms if ms < -60_000 => 1,
            ms => ms.max(0) as u64,
        };
        (self.of(EXCESS).saturating_add(1000).saturating_sub(leaked(rate, ms)), ms)
    }

    fn account(&self, excess: u64, ms: u64, now_ms: u64) {
        self.set(EXCESS, excess);
        if ms != 0 {
            self.set(LAST, now_ms);
        }
    }

    fn reserve(&self, now_ms: u64) {
        let count = self.of(RESERVED) >> 48;
        self.set(RESERVED, (count + 1).min(0xFFFF) << 48 | now_ms & STAMP);
    }

    fn unreserve(&self) {
        let count = (self.of(RESERVED) >> 48).saturating_sub(1);
        self.set(RESERVED, count << 48 | self.of(RESERVED) & STAMP);
    }

    fn is_reserved(&self, now_ms: u64) -> bool {
        let age_ms = (now_ms & STAMP).abs_diff(self.of(RESERVED) & STAMP);
        self.of(RESERVED) >> 48 != 0 && age_ms < RESERVATION_MS_MAX
    }

    fn is_idle(&self, now_ms: u64, rate: u64) -> bool {
        let idle_ms = (now_ms.wrapping_sub(self.of(LAST)) as i64).unsigned_abs();
        idle_ms >= IDLE_MS_MIN && self.of(EXCESS) <= leaked(rate, idle_ms)
    }
}

fn leaked(rate: u64, ms: u64) -> u64 {
    rate.saturating_mul(ms) / 1000
}

fn new_bucket(guard: &mut TableGuard<'_>, key: &[u8], now_ms: u64, rate: u64) -> Result<EntryRef> {
    expire_idle(guard, now_ms, rate)?;
    for _ in 0..FORCED_MAX {
        match guard.insert(key, VALUE_LEN) {
            Err(Error::NoMemory) => {}
            other => return other,
        }
        if !expire_oldest(guard, now_ms)? {
            return Err(Error::NoMemory);
        }
        expire_idle(guard, now_ms, rate)?;
    }
    guard.insert(key, VALUE_LEN)
}

/// Removes one or two of the oldest buckets if they are empty and unused for a minute.
fn expire_idle(guard: &mut TableGuard<'_>, now_ms: u64, rate: u64) -> Result<()> {
    for _ in 0..2 {
        let Some(entry) = guard.oldest()? else { return Ok(()) };
        let bucket = Bucket(guard.words(entry)?);
        if bucket.is_reserved(now_ms) || !bucket.is_idle(now_ms, rate) {
            return Ok(());
        }
        guard.remove(entry)?;
    }
    Ok(())
}

fn expire_oldest(guard: &mut TableGuard<'_>, now_ms: u64) -> Result<bool> {
    match guard.oldest()? {
        Some(entry) if !Bucket(guard.words(entry)?).is_reserved(now_ms) => guard.remove(entry).map(|()| true),
        _ => Ok(false),
    }
}

/// How long a request waits that found its bucket at `excess`, milliseconds; `delay` is the `delay=` parameter in thousandths.
pub fn delay_ms(excess: u64, delay: u64, rate: u64) -> u64 {
    excess.saturating_sub(delay).saturating_mul(1000) / rate.max(1)
}

/// One `limit_req` of a location, with the request's key.
#[derive(Clone, Copy, Debug)]
pub struct Limit<'a> {
    /// The zone.
    pub zone: &'a LimitReq,
    /// The zone's key for this request; an empty one or one above [`KEY_MAX`] is not limited.
    pub key: &'a [u8],
    /// The zone's rate, thousandths per second.
    pub rate: u64,
    /// `burst=`, thousandths.
    pub burst: u64,
    /// `delay=`, thousandths; `nodelay` is `u64::MAX`.
    pub delay: u64,
}

/// What all limits together say. `limit` is the index of the one that decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No limit had a key.
    Declined,
    /// Go on at once.
    Passed,
    /// Go on after `ms` milliseconds.
    Delayed {
        /// Milliseconds.
        ms: u64,
        /// Level of the deciding bucket, thousandths.
        excess: u64,
        /// Which limit.
        limit: usize,
    },
    /// Refuse.
    Rejected {
        /// The level the bucket would have had, thousandths.
        excess: u64,
        /// Which limit.
        limit: usize,
    },
}

/// Asks all limits of a location and accounts the request in all of them or in none.
///
/// An error – the zone is full, or its lock is stuck – is a refusal to nginx; nothing stays reserved.
pub fn limit_all(limits: &[Limit<'_>], now_ms: u64) -> Result<Outcome> {
    let mut reserved: Vec<(usize, Reservation)> = Vec::new();
    let mut decided = None;
    for (i, limit) in limits.iter().enumerate() {
        if limit.key.is_empty() || limit.key.len() > KEY_MAX {
            continue;
        }
        match limit.zone.lookup(limit.key, now_ms, limit.rate, limit.burst, i == limits.len() - 1) {
            Ok(Lookup::Again { reservation, .. }) => reserved.push((i, reservation)),
            Ok(Lookup::Ok { excess }) => decided = Some((excess, i)),
            Ok(Lookup::Busy { excess }) => {
                release_all(limits, &reserved)?;
                return Ok(Outcome::Rejected { excess, limit: i });
            }
            Err(error) => {
                release_all(limits, &reserved)?;
                return Err(error);
            }
        }
    }
    if decided.is_none() && reserved.is_empty() {
        return Ok(Outcome::Declined);
    }
    let mut worst = (0, 0, 0);
    if let Some((excess, i)) = decided {
        worst = (delay_ms(excess, limits[i].delay, limits[i].rate), excess, i);
    }
    // nginx accounts the reserved ones backwards; of equal delays the later limit is the one it reports.
    for &(i, reservation) in reserved.iter().rev() {
        let limit = &limits[i];
        let Some(excess) = limit.zone.account_reserved(reservation, now_ms, limit.rate)? else { continue };
        let ms = delay_ms(excess, limit.delay, limit.rate);
        if ms > worst.0 {
            worst = (ms, excess, i);
        }
    }
    match worst {
        (0, ..) => Ok(Outcome::Passed),
        (ms, excess, limit) => Ok(Outcome::Delayed { ms, excess, limit }),
    }
}

fn release_all(limits: &[Limit<'_>], reserved: &[(usize, Reservation)]) -> Result<()> {
    reserved.iter().try_for_each(|&(i, reservation)| limits[i].zone.release(reservation))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::zone::Spec;

    const R: u64 = 10_000; // 10 r/s

    fn fresh(size: usize) -> LimitReq {
        let spec = Spec { name: "one".into(), size, kind: LimitReq::KIND };
        let zone = Zone::create(&spec).unwrap();
        LimitReq::format(&zone).unwrap();
        LimitReq::open(&zone).unwrap()
    }

    fn len(zone: &LimitReq) -> u32 {
        zone.shards.iter().map(|table| table.lock().unwrap().len()).sum()
    }

    #[test]
    fn fills_leaks_and_refuses() {
        let zone = fresh(64 << 10);
        let ask = |now| zone.account(b"k", now, R, 2000).unwrap();
        for (now, want) in [
            (1000, Lookup::Ok { excess: 0 }),
            (1000, Lookup::Ok { excess: 1000 }),
            (1000, Lookup::Ok { excess: 2000 }),
            (1000, Lookup::Busy { excess: 3000 }),
            (1000, Lookup::Busy { excess: 3000 }),
            (1050, Lookup::Busy { excess: 2500 }),
            (1100, Lookup::Ok { excess: 2000 }),
            (1099, Lookup::Busy { excess: 3000 }), // the clock went back a little
            (9000, Lookup::Ok { excess: 0 }),
        ] {
            assert_eq!(ask(now), want, "at {now}");
        }
    }

    #[test]
    fn a_clock_an_hour_back_counts_one_millisecond() {
        let zone = fresh(64 << 10);
        let hour = 3_600_000;
        zone.account(b"k", 2 * hour, R, 5000).unwrap();
        assert_eq!(zone.account(b"k", hour, R, 5000).unwrap(), Lookup::Ok { excess: 990 });
        assert_eq!(zone.account(b"k", hour + 100, R, 5000).unwrap(), Lookup::Ok { excess: 990 });
    }

    #[test]
    fn keeps_part_of_the_credit() {
        // 1000 more, 1200 leaked: the fraction counts.
        let zone = fresh(64 << 10);
        zone.account(b"k", 1000, R, 5000).unwrap();
        zone.account(b"k", 1050, R, 5000).unwrap(); // 500
        assert_eq!(zone.account(b"k", 1170, R, 5000).unwrap(), Lookup::Ok { excess: 300 });
    }

    #[test]
    fn a_full_zone_forgets_the_oldest() {
        let zone = fresh(32 << 10);
        let mut n = 0u32;
        while len(&zone) == n {
            n += 1;
            zone.account(&n.to_be_bytes(), 1000, 1, 0).unwrap();
        }
        let kept = len(&zone);
        assert!(kept > 300, "{kept}");
        for more in n..n + 100 {
            zone.account(&more.to_be_bytes(), 1000, 1, 0).unwrap();
        }
        assert_eq!(
            zone.account(&1u32.to_be_bytes(), 1000, 1, 0).unwrap(),
            Lookup::Ok { excess: 0 },
            "forgotten"
        );
        let last = (n + 99).to_be_bytes();
        assert_eq!(zone.account(&last, 1000, 1, 0).unwrap(), Lookup::Busy { excess: 1000 });
    }

    #[test]
    fn two_idle_buckets_go_with_every_new_one() {
        let zone = fresh(64 << 10);
        for n in 0..10u32 {
            zone.account(&n.to_be_bytes(), 1000, R, 0).unwrap();
        }
        zone.account(b"busy", 1000, R, 0).unwrap();
        assert_eq!(len(&zone), 11);
        zone.account(b"a", 60_999, R, 0).unwrap();
        assert_eq!(len(&zone), 12, "a minute has not passed");
        zone.account(b"b", 61_000, R, 0).unwrap();
        assert_eq!(len(&zone), 11);
        zone.account(b"b", 61_000, R, 0).unwrap();
        assert_eq!(len(&zone), 11, "only a new key expires others");
    }

    #[test]
    fn a_reserved_bucket_stays_for_a_minute() {
        let zone = fresh(64 << 10);
        let Lookup::Again { reservation, .. } = zone.reserve(b"k", 1000, R, 0).unwrap() else { panic!() };
        for n in 0..2000u32 {
            let _ = zone.account(&n.to_be_bytes(), 1000, 1, 0);
        }
        assert!(matches!(zone.account(b"new", 1000, R, 0), Err(Error::NoMemory)), "as nginx");
        assert_eq!(zone.account_reserved(reservation, 1000, R).unwrap(), Some(0));
        zone.account(b"new", 1000, R, 0).unwrap();

        let zone = fresh(64 << 10);
        let _ = zone.reserve(b"dead worker's", 1000, R, 0).unwrap();
        zone.account(b"x", 1000, R, 0).unwrap();
        zone.account(b"new", 61_000, R, 0).unwrap();
        assert_eq!(len(&zone), 1, "both old buckets went");
    }

    #[test]
    fn several_limits_account_all_or_none() {
        let (a, b) = (fresh(64 << 10), fresh(64 << 10));
        let limits = |burst_b| {
            [
                Limit { zone: &a, key: b"k", rate: R, burst: 5000, delay: 0 },
                Limit { zone: &b, key: b"k", rate: 1000, burst: burst_b, delay: 0 },
            ]
        };
        assert_eq!(limit_all(&limits(1000), 5000).unwrap(), Outcome::Passed);
        let second = limit_all(&limits(1000), 5000).unwrap();
        assert_eq!(second, Outcome::Delayed { ms: 1000, excess: 1000, limit: 1 });
        let third = limit_all(&limits(1000), 5000).unwrap();
        assert_eq!(third, Outcome::Rejected { excess: 2000, limit: 1 });
        // The refusal left nothing in the first zone, and no reservation.
        assert_eq!(a.account(b"k", 5000, R, 9000).unwrap(), Lookup::Ok { excess: 2000 });
        let guard = a.shards.of(b"k").table.lock().unwrap();
        let entry = guard.find(b"k").unwrap().unwrap();
        assert_eq!(guard.word(entry, RESERVED).unwrap() >> 48, 0);
    }

    #[test]
    fn keys_that_do_not_count() {
        let zone = fresh(64 << 10);
        let limit = |key| Limit { zone: &zone, key, rate: 1, burst: 0, delay: 0 };
        let long = vec![1; KEY_MAX + 1];
        assert_eq!(limit_all(&[limit(b""), limit(&long)], 1).unwrap(), Outcome::Declined);
        assert_eq!(limit_all(&[], 1).unwrap(), Outcome::Declined);
        // The last limit has no key: the first is reserved and then accounted.
        assert_eq!(limit_all(&[limit(b"k"), limit(b"")], 1).unwrap(), Outcome::Passed);
        assert!(matches!(
            limit_all(&[limit(b"k"), limit(b"")], 1).unwrap(),
            Outcome::Rejected { limit: 0, .. }
        ));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        /// Against the same arithmetic on plain signed numbers.
        #[test]
        fn agrees_with_the_formula(steps in prop::collection::vec((0u8..3, -70_000i64..200_000), 1..200), rate in 1u64..5_000_000, burst in 0u64..20_000) {
            let zone = fresh(64 << 10);
            let mut model: std::collections::HashMap<u8, (i64, i64)> = Default::default();
            let mut now = 1_000_000_000i64;
            for (key, step) in steps {
                now += step;
                let got = zone.account(&[key], now as u64, rate, burst).unwrap();
                let want = match model.get_mut(&key) {
                    None => {
                        model.insert(key, (now, 0));
                        Lookup::Ok { excess: 0 }
                    }
                    Some((last, level)) => {
                        let ms = match now - *last { ms if ms < -60_000 => 1, ms => ms.max(0) };
                        let excess = (*level - rate as i64 * ms / 1000 + 1000).max(0);
                        if excess as u64 > burst {
                            Lookup::Busy { excess: excess as u64 }
                        } else {
                            if ms != 0 { *last = now; }
                            *level = excess;
                            Lookup::Ok { excess: excess as u64 }
                        }
                    }
                };
                // A bucket that idled for a minute may have been dropped: it is empty then, as it would be anyway.
                if zone.shards.iter().next().unwrap().lock().unwrap().len() as usize == model.len() {
                    prop_assert_eq!(got, want);
                } else {
                    return Ok(());
                }
            }
        }
    }
}
