//! Services: SRV records and the addresses of the hosts they name.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use net::Tick;
use rand::Rng;

use super::message::Service;
use super::{Answer, Freshness, Resolver};
use crate::upstream::ResolveError;

/// Hosts of one service whose addresses are looked up.
const HOSTS_MAX: usize = 256;

/// One address of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it is.
    pub addr: SocketAddr,
    /// The host it belongs to.
    pub host: Box<str>,
    /// Lower is used first.
    pub priority: u16,
    /// Its share among those of the same priority.
    pub weight: u16,
}

/// All addresses of a service.
#[derive(Debug, Clone)]
pub struct ServiceAnswer {
    /// By priority.
    pub endpoints: Vec<Endpoint>,
    /// Hosts without an address.
    pub failures: Vec<(Box<str>, ResolveError)>,
    /// Until when this is so.
    pub valid_until: Tick,
}

/// The name under which SRV records of `service` stand: `http` is short for `_http._tcp`.
fn service_name(service: &str, name: &str) -> String {
    if service.contains('.') { format!("{service}.{name}") } else { format!("_{service}._tcp.{name}") }
}

impl Resolver {
    /// Looks up the addresses of a service. Each lookup may take `limit`.
    pub async fn service(
        self: &Rc<Self>,
        service: &str,
        name: &str,
        limit: Duration,
    ) -> Result<ServiceAnswer, ResolveError> {
        let found = self.find(&service_name(service, name), true, limit, Freshness::Required).await?;
        let mut hosts: Vec<Host<'_>> =
            found.services.iter().take(HOSTS_MAX).map(|service| Host { service, result: None }).collect();
        self.hosts(&mut hosts, limit).await;
        let mut answer =
            ServiceAnswer { endpoints: Vec::new(), failures: Vec::new(), valid_until: found.valid_until };
        shuffle(&mut hosts);
        for Host { service, result } in hosts {
            match result {
                None => {}
                Some(Ok(found)) => {
                    answer.valid_until = answer.valid_until.min(found.valid_until);
                    answer.endpoints.extend(found.ips.iter().map(|ip| Endpoint {
                        addr: (*ip, service.port).into(),
                        host: service.target.clone(),
                        priority: service.priority,
                        weight: service.weight,
                    }));
                }
                Some(Err(error)) => answer.failures.push((service.target.clone(), error)),
            }
        }
        match answer.failures.first() {
            Some((_, first)) if answer.endpoints.is_empty() => {
                let none = answer.failures.iter().find(|(_, error)| error.code == ResolveError::NXDOMAIN);
                Err(none.map_or_else(|| first.clone(), |(_, error)| error.clone()))
            }
            _ => Ok(answer),
        }
    }

    /// Looks up all hosts, side by side.
    async fn hosts(self: &Rc<Self>, hosts: &mut [Host<'_>], limit: Duration) {
        match hosts {
            [] => {}
            [Host { service, result }] => {
                *result = Some(self.find(&service.target, false, limit, Freshness::Required).await);
            }
            _ => {
                let (left, right) = hosts.split_at_mut(hosts.len() / 2);
                Box::pin(net::join2(self.hosts(left, limit), self.hosts(right, limit))).await;
            }
        }
    }
}

/// A host of a service and what is known of it.
struct Host<'a> {
    service: &'a Service,
    result: Option<Result<Rc<Answer>, ResolveError>>,
}

/// Turns those of the same priority so that the first is one by chance, by weight.
fn shuffle(hosts: &mut [Host<'_>]) {
    for same in hosts.chunk_by_mut(|one, two| one.service.priority == two.service.priority) {
        let total: u32 = same.iter().map(|host| u32::from(host.service.weight)).sum();
        let mut left = rand::rng().random_range(0..total.max(1));
        let heavy = same.iter().position(|host| {
            let weight = u32::from(host.service.weight);
            let here = left < weight;
            left = left.saturating_sub(weight);
            here
        });
        same.rotate_left(heavy.unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_services() {
        assert_eq!(service_name("http", "example.net"), "_http._tcp.example.net");
        assert_eq!(service_name("_dns._udp", "example.net"), "_dns._udp.example.net");
    }

    #[test]
    fn priorities_stay_in_order() {
        let service =
            |priority, weight| Service { priority, weight, port: 1, target: weight.to_string().into() };
        let services = [service(1, 1), service(1, 2), service(1, 3), service(5, 4)];
        for _ in 0..50 {
            let mut hosts: Vec<_> = services.iter().map(|service| Host { service, result: None }).collect();
            shuffle(&mut hosts);
            let order: Vec<u16> = hosts.iter().map(|host| host.service.weight).collect();
            assert!(
                [[1, 2, 3, 4], [2, 3, 1, 4], [3, 1, 2, 4]]
                    .contains(&[order[0], order[1], order[2], order[3]])
            );
        }
    }
}
