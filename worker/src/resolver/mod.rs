//! The DNS client behind `resolver`: names that come out of variables, and servers of upstreams with `resolve`.
//!
//! A name is looked up once however many wait for it ([`lookup`]); the answer is kept for its time to live, or for
//! `valid=` ([`cache`]). When it has grown old it is looked up again, and requests wait for that – but not for name
//! servers that say nothing: after a moment they are given the old answer. A server that *says* that there is no such
//! name, or that it failed, is believed, as by nginx.
//!
//! Every question is sent from a socket of its own ([`exchange`]) and answers are checked for identifier, question and
//! sender ([`message`]).

mod cache;
mod exchange;
mod lookup;
mod message;
mod service;

#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use net::{Addr, Tick};
use rand::Rng;

use cache::{Cache, Cached};
use lookup::{Flight, Key};
pub use service::{Endpoint, ServiceAnswer};

use crate::phase::Wait;
use crate::upstream::{Resolve, ResolveError};

/// Lookups under way at the same time.
const FLIGHTS_MAX: usize = 4096;
/// How long a request waits for name servers when there is an old answer, ms.
const PATIENCE_MS: u64 = 500;

/// Name servers, what they said, and what they are being asked.
pub struct Resolver {
    servers: Vec<Addr>,
    /// `valid=`, seconds: in place of the time to live.
    valid: Option<u64>,
    ipv4: bool,
    ipv6: bool,
    next: Cell<usize>,
    cache: RefCell<Cache>,
    flights: RefCell<HashMap<Key, Rc<Flight>>>,
}

/// What a name stands for.
#[derive(Debug)]
pub struct Answer {
    /// Its addresses.
    pub ips: Vec<IpAddr>,
    services: Vec<message::Service>,
    /// Until when this is so.
    pub valid_until: Tick,
}

/// Whether an answer that is no longer valid will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// It will, while the name servers are silent.
    Preferred,
    /// It will not.
    Required,
}

impl Resolver {
    /// A resolver that asks `servers`, of which there is at least one.
    pub fn new(servers: Vec<Addr>, valid: Option<u64>, ipv4: bool, ipv6: bool) -> Rc<Self> {
        Rc::new(Self {
            servers,
            valid,
            ipv4,
            ipv6,
            next: Cell::new(0),
            cache: RefCell::default(),
            flights: RefCell::default(),
        })
    }

    /// `valid=`, seconds.
    pub fn valid(&self) -> Option<u64> {
        self.valid
    }

    /// The addresses of `name`, waiting at most `limit`.
    pub async fn addresses_of(
        self: &Rc<Self>,
        name: &str,
        limit: Duration,
        freshness: Freshness,
    ) -> Result<Rc<Answer>, ResolveError> {
        self.find(name, false, limit, freshness).await
    }

    /// The server to ask first; lookups take turns.
    fn next_server(&self) -> usize {
        let next = self.next.get();
        self.next.set((next + 1) % self.servers.len());
        next
    }

    async fn find(
        self: &Rc<Self>,
        name: &str,
        service: bool,
        limit: Duration,
        freshness: Freshness,
    ) -> Result<Rc<Answer>, ResolveError> {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        if message::query(0, &name, message::RecordType::A).is_none() {
            return Err(ResolveError::of_code(ResolveError::NXDOMAIN));
        }
        let key = Key { name: name.into(), service };
        let cached = self.cache.borrow_mut().get(&key, net::now());
        let old = match cached {
            Some(Cached::Fresh(answer)) => return Ok(answer),
            Some(Cached::Stale(answer)) if freshness == Freshness::Preferred => Some(answer),
            _ => None,
        };
        let patience = match &old {
            Some(_) => limit.min(Duration::from_millis(PATIENCE_MS)),
            None => limit,
        };
        let flight = self.flight(&key)?;
        let passenger = flight.board();
        let result = net::timeout(patience, landed(&flight)).await;
        drop(passenger);
        match (result, old) {
            (Ok(Err(error)), Some(old)) if error.code == ResolveError::TIMED_OUT => Ok(old),
            (Ok(result), _) => result,
            (Err(_), Some(old)) => Ok(old),
            (Err(_), None) => Err(ResolveError::of_code(ResolveError::TIMED_OUT)),
        }
    }

    /// The lookup of `key`: the one under way, or a new one. It goes on when those who wait for it give up, to its
    /// next question.
    fn flight(self: &Rc<Self>, key: &Key) -> Result<Rc<Flight>, ResolveError> {
        let mut flights = self.flights.borrow_mut();
        if let Some(flight) = flights.get(key) {
            return Ok(Rc::clone(flight));
        }
        if flights.len() >= FLIGHTS_MAX {
            return Err(ResolveError::of_code(ResolveError::SERVFAIL));
        }
        let flight = Rc::new(Flight::default());
        flights.insert(key.clone(), Rc::clone(&flight));
        net::spawn(fly(Rc::clone(self), key.clone(), Rc::clone(&flight)));
        Ok(flight)
    }
}

/// Carries a lookup out.
async fn fly(resolver: Rc<Resolver>, key: Key, flight: Rc<Flight>) {
    let mut landing = Landing { resolver, key, flight, result: None };
    let result = landing.resolver.look_up(&landing.key, &landing.flight).await.map(Rc::new);
    let mut cache = landing.resolver.cache.borrow_mut();
    match &result {
        Ok(answer) => cache.put(landing.key.clone(), Rc::clone(answer), net::now()),
        Err(error) if error.code == ResolveError::NXDOMAIN => cache.remove(&landing.key),
        Err(_) => {}
    }
    drop(cache);
    landing.result = Some(result);
}

/// Tells those who wait, whatever happens to the lookup.
struct Landing {
    resolver: Rc<Resolver>,
    key: Key,
    flight: Rc<Flight>,
    result: Option<Result<Rc<Answer>, ResolveError>>,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.resolver.flights.borrow_mut().remove(&self.key);
        let failed = || Err(ResolveError::of_code(ResolveError::SERVFAIL));
        *self.flight.result.borrow_mut() = Some(self.result.take().unwrap_or_else(failed));
        self.flight.landed.notify_all();
    }
}

async fn landed(flight: &Flight) -> Result<Rc<Answer>, ResolveError> {
    loop {
        if let Some(result) = &*flight.result.borrow() {
            return result.clone();
        }
        flight.landed.notified().await;
    }
}

/// A resolver with the `resolver_timeout` of a location.
pub struct Located {
    resolver: Rc<Resolver>,
    limit: Duration,
}

impl Located {
    /// `resolver`, which is waited for at most `limit`.
    pub fn new(resolver: Rc<Resolver>, limit: Duration) -> Self {
        Self { resolver, limit }
    }
}

impl Resolve for Located {
    fn resolve<'r>(&'r self, name: &'r str) -> Wait<'r, Result<Vec<IpAddr>, ResolveError>> {
        Box::pin(async move {
            if let Some(ip) = conf::value::addr::parse_ip(name) {
                return Ok(vec![ip]);
            }
            let answer = self.resolver.addresses_of(name, self.limit, Freshness::Preferred).await?;
            Ok(turned(&answer.ips))
        })
    }
}

/// The addresses of each family from a random one on: clients spread over all of them.
fn turned(ips: &[IpAddr]) -> Vec<IpAddr> {
    let mut ips = ips.to_vec();
    let fours = ips.iter().filter(|ip| ip.is_ipv4()).count();
    let (four, six) = ips.split_at_mut(fours);
    for family in [four, six] {
        if family.len() > 1 {
            family.rotate_left(rand::rng().random_range(0..family.len()));
        }
    }
    ips
}
