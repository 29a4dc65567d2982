//! Finding out what a name stands for: questions in parallel, aliases, other servers when one is silent.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use net::Tick;

use super::exchange::{self, NoReply, Question};
use super::message::{Record, RecordType, Reply, Service};
use super::{Answer, Resolver};
use crate::upstream::ResolveError;

/// How long one server is waited for before the next is asked (nginx's `resend_timeout`).
const RESEND: Duration = Duration::from_secs(5);
/// Aliases followed (nginx's `NGX_RESOLVER_MAX_RECURSION`).
const ALIASES_MAX: usize = 50;
/// When every server is useless, all are asked again after this time …
const USELESS_PAUSE: Duration = Duration::from_millis(250);
/// … so many times, before the lookup fails.
const USELESS_ROUNDS_MAX: usize = 4;
/// The most questions a lookup sends for one name and type.
const ATTEMPTS_MAX: usize = 256;

/// What is looked up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// The name in lower case, without a final dot.
    pub(super) name: Box<str>,
    /// SRV records and not addresses.
    pub(super) service: bool,
}

/// A lookup under way, and those who wait for it.
#[derive(Default)]
pub(super) struct Flight {
    pub(super) result: RefCell<Option<Result<Rc<Answer>, ResolveError>>>,
    pub(super) landed: net::Notify,
    waiting: Cell<usize>,
}

/// One who waits; nobody's lookup ends.
pub(super) struct Passenger<'a>(&'a Flight);

impl Flight {
    pub(super) fn board(&self) -> Passenger<'_> {
        self.waiting.set(self.waiting.get() + 1);
        Passenger(self)
    }
}

impl Drop for Passenger<'_> {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get() - 1);
    }
}

impl Resolver {
    /// Looks `key` up to the end.
    pub(super) async fn look_up(&self, key: &Key, flight: &Flight) -> Result<Answer, ResolveError> {
        let first = self.next_server();
        let mut ttl = u32::MAX;
        let mut name = key.name.clone();
        for _ in 0..=ALIASES_MAX {
            let found = if key.service {
                self.services(&name, first, flight).await?
            } else {
                self.addresses(&name, first, flight).await?
            };
            ttl = ttl.min(found.ttl);
            match found.alias {
                Some(alias) if found.ips.is_empty() && found.services.is_empty() => name = alias,
                None if found.ips.is_empty() && found.services.is_empty() => break,
                _ => {
                    let valid_ms = self.valid.map_or(u64::from(ttl) * 1000, |valid| valid * 1000);
                    return Ok(Answer {
                        ips: found.ips,
                        services: found.services,
                        valid_until: Tick(net::now().0.saturating_add(valid_ms)),
                    });
                }
            }
        }
        Err(ResolveError::of_code(ResolveError::NXDOMAIN))
    }

    /// Asks for the addresses of both families. As in nginx, an error in one of the answers is the lookup's.
    async fn addresses(&self, name: &str, first: usize, flight: &Flight) -> Result<Found, ResolveError> {
        let ask = async |wanted: bool, kind| match wanted {
            true => self.ask(Question { name, kind }, first, flight).await.map(Some),
            false => Ok(None),
        };
        let (four, six) = net::join2(ask(self.ipv4, RecordType::A), ask(self.ipv6, RecordType::Aaaa)).await;
        let mut found = Found::default();
        for reply in [four?, six?].into_iter().flatten() {
            found.add(reply);
        }
        Ok(found)
    }

    async fn services(&self, name: &str, first: usize, flight: &Flight) -> Result<Found, ResolveError> {
        let mut found = Found::default();
        found.add(self.ask(Question { name, kind: RecordType::Srv }, first, flight).await?);
        found.services.sort_by_key(|service| service.priority);
        Ok(found)
    }

    /// Asks one server after the other until one answers or nobody waits any more.
    async fn ask(
        &self,
        question: Question<'_>,
        first: usize,
        flight: &Flight,
    ) -> Result<Reply, ResolveError> {
        let timed_out = || ResolveError::of_code(ResolveError::TIMED_OUT);
        let mut useless = 0;
        for attempt in 0..ATTEMPTS_MAX {
            let server = &self.servers[(first + attempt) % self.servers.len()];
            match exchange::ask(server, question, RESEND).await {
                Ok(reply) if reply.code == 0 => return Ok(reply),
                Ok(reply) => return Err(ResolveError::of_code(reply.code.into())),
                Err(NoReply::Silence) => useless = 0,
                Err(NoReply::Useless) => {
                    useless += 1;
                    if useless >= USELESS_ROUNDS_MAX * self.servers.len() {
                        return Err(timed_out());
                    }
                    if useless % self.servers.len() == 0 {
                        net::sleep(USELESS_PAUSE).await;
                    }
                }
            }
            if flight.waiting.get() == 0 {
                break;
            }
        }
        Err(timed_out())
    }
}

/// What the answers for one name say.
struct Found {
    ips: Vec<IpAddr>,
    services: Vec<Service>,
    alias: Option<Box<str>>,
    ttl: u32,
}

impl Default for Found {
    fn default() -> Self {
        Self { ips: Vec::new(), services: Vec::new(), alias: None, ttl: u32::MAX }
    }
}

impl Found {
    fn add(&mut self, reply: Reply) {
        if !reply.is_empty {
            self.ttl = self.ttl.min(reply.ttl);
        }
        // as in nginx the last answer decides: one that knows the name by another one in one family only contradicts itself
        self.alias = reply.alias;
        for record in reply.records {
            match record {
                Record::Address(ip) => self.ips.push(ip),
                Record::Service(service) => self.services.push(service),
            }
        }
    }
}
