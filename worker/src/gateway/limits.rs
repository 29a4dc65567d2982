//! Shared memory of the plugins that limit: one count for all workers, which outlives them.

use std::cell::OnceCell;
use std::rc::Rc;

use conf::{Node, Result};
use shm::limit::conn::Held;
use shm::{Dict, LimitConn, LimitReq};

use super::directives::CONF;
use crate::build::Builder;
use crate::request::Request;
use crate::zone::{ZoneKind, ZoneRef};

/// Size of each zone in bytes, APISIX's default.
const ZONE_BYTES: usize = 10 * 1024 * 1024;

/// The zones, opened when they are used first.
pub struct Limits {
    count: (ZoneRef, OnceCell<Dict>),
    req: (ZoneRef, OnceCell<LimitReq>),
    conn: (ZoneRef, OnceCell<LimitConn>),
}

/// What a count says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Counted {
    /// How many more would pass; negative: this one does not.
    pub remaining: f64,
    /// Milliseconds until the window ends.
    pub reset_ms: u64,
}

impl Limits {
    pub(super) fn declare(cx: &mut Builder, node: &Node) -> Result<Rc<Self>> {
        let mut zone = |name: &str, kind| {
            let zone = cx.zone(node, name, Some(ZONE_BYTES), kind)?;
            Ok::<_, conf::Error>(zone)
        };
        Ok(Rc::new(Self {
            count: (zone("plugin-limit-count", ZoneKind::Dict)?, OnceCell::new()),
            req: (zone("plugin-limit-req", ZoneKind::LimitReq)?, OnceCell::new()),
            conn: (zone("plugin-limit-conn", ZoneKind::LimitConn)?, OnceCell::new()),
        }))
    }

    /// Those of the configuration `req` runs under.
    pub fn of(req: &Request) -> std::result::Result<Rc<Self>, String> {
        let limits = req.config.http.as_ref().and_then(|http| http.get(&CONF).limits.clone());
        limits.ok_or_else(|| "there is no gateway block".to_owned())
    }

    /// Takes `cost` from the `limit` of `key` in a window of `window_ms`.
    pub fn count(
        &self,
        key: &[u8],
        limit: f64,
        window_ms: u64,
        cost: f64,
    ) -> std::result::Result<Counted, String> {
        let dict = open(&self.count, Dict::open)?;
        let now = net::now().0;
        let made = dict.incr(key, -cost, Some((limit, window_ms)), now).map_err(|error| error.to_string())?;
        let left = dict.ttl_ms(key, now).unwrap_or(0);
        Ok(Counted { remaining: made.value, reset_ms: u64::try_from(left).unwrap_or(0) })
    }

    /// What is left of `key` without taking any; `None`: nothing was taken yet.
    pub fn peek(&self, key: &[u8]) -> std::result::Result<Option<f64>, String> {
        let dict = open(&self.count, Dict::open)?;
        Ok(dict.incr(key, 0.0, None, net::now().0).ok().map(|made| made.value))
    }

    /// Lets one request through a leaky bucket: `Some` milliseconds to wait, `None`: refused. `rate` and `burst` in
    /// thousandths.
    pub fn leak(&self, key: &[u8], rate: u64, burst: u64) -> std::result::Result<Option<u64>, String> {
        let bucket = open(&self.req, LimitReq::open)?;
        let answer = bucket.account(key, net::now().0, rate, burst).map_err(|error| error.to_string())?;
        Ok(match answer {
            shm::limit::req::Lookup::Busy { .. } => None,
            shm::limit::req::Lookup::Ok { excess } | shm::limit::req::Lookup::Again { excess, .. } => {
                Some(shm::limit::req::delay_ms(excess, 0, rate))
            }
        })
    }

    /// Counts a running request under `key` unless there are `max`; with how many run now.
    pub fn hold(&self, key: &[u8], max: u32) -> std::result::Result<Option<(Held, u64)>, String> {
        let counts = open(&self.conn, LimitConn::open)?;
        let held = counts.acquire(key, max).map_err(|error| error.to_string())?;
        let running = counts.count(key).unwrap_or(1);
        Ok(held.map(|held| (held, running)))
    }
}

fn open<M>(
    (zone, opened): &(ZoneRef, OnceCell<M>),
    open: impl Fn(&shm::Zone) -> shm::Result<M>,
) -> std::result::Result<&M, String> {
    if let Some(memory) = opened.get() {
        return Ok(memory);
    }
    let zone = zone.memory().ok_or("the zone is not attached")?;
    let made = open(zone).map_err(|error| error.to_string())?;
    Ok(opened.get_or_init(|| made))
}
