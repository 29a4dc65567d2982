//! `server name resolve`: the addresses of names, kept up to date while serving.
//!
//! The first worker looks names up and enters what it finds in the zone; the others see the zone change. When it dies,
//! the one that takes its place goes on from what the zone holds. Connections to an address that left the name are
//! not touched: it is only not chosen any more.

use std::rc::Rc;
use std::time::Duration;

use shm::peers::{Field, GroupGuard, PeerConfig};

use crate::balance::{Dynamic, Group, Server};
use crate::log::{self, Level};
use crate::resolver::{Freshness, Resolver};
use crate::upstream::ResolveError;
use crate::worker::Worker;

/// The worker that looks names up.
pub(super) const SLOT: u32 = 0;
/// Shortest time between two lookups of a name, also after a failure.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// How long "there is no such name" is believed, seconds, unless `valid=` says otherwise.
const NONE_VALID: u64 = 10;

/// An address a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    /// As the zone prints it.
    name: String,
    /// The host of a service; otherwise the server as configured.
    server: Rc<str>,
    weight: u32,
    backup: bool,
}

/// Keeps the addresses of server `origin` of `group` up to date.
pub(super) async fn keep(
    group: Rc<Group>,
    origin: usize,
    resolver: Rc<Resolver>,
    limit: Duration,
    worker: Rc<Worker>,
) {
    let Some(dynamic) = group.servers[origin].dynamic.clone() else { return };
    while !worker.is_draining() {
        let pause = match look_up(&group.servers[origin], &dynamic, &resolver, limit).await {
            Ok((wanted, valid_until)) => {
                enter(&group, origin, wanted);
                valid_until.since(net::now()) + PAUSE_MIN
            }
            Err(error) => {
                complain(&dynamic, &error);
                if error.code == ResolveError::NXDOMAIN {
                    enter(&group, origin, Vec::new());
                    Duration::from_secs(resolver.valid().unwrap_or(NONE_VALID) + 1)
                } else {
                    // what was known stays
                    limit.max(PAUSE_MIN)
                }
            }
        };
        // a worker that begins to drain ends this task with itself, at the latest
        net::sleep(pause).await;
    }
}

fn complain(dynamic: &Dynamic, error: &ResolveError) {
    let host = &dynamic.host;
    match &dynamic.service {
        Some(service) => {
            let text = format_args!("service {service} of {host} could not be resolved {error}");
            log::process(Level::Error, text);
        }
        None => log::process(Level::Error, format_args!("{host} could not be resolved {error}")),
    }
}

async fn look_up(
    server: &Server,
    dynamic: &Dynamic,
    resolver: &Rc<Resolver>,
    limit: Duration,
) -> Result<(Vec<Wanted>, net::Tick), ResolveError> {
    let Some(service) = &dynamic.service else {
        let answer = resolver.addresses_of(&dynamic.host, limit, Freshness::Required).await?;
        let wanted = answer.ips.iter().map(|ip| Wanted {
            name: net::Addr::from(std::net::SocketAddr::new(*ip, dynamic.port)).to_string(),
            server: Rc::clone(&server.name),
            weight: server.weight,
            backup: server.backup,
        });
        return Ok((wanted.collect(), answer.valid_until));
    };
    let answer = resolver.service(service, &dynamic.host, limit).await?;
    for (host, error) in &answer.failures {
        let text = format_args!(
            "{host} could not be resolved {error} while resolving service {service} of {}",
            dynamic.host
        );
        log::process(Level::Error, text);
    }
    let first = answer.endpoints.iter().map(|endpoint| endpoint.priority).min();
    let wanted = answer.endpoints.iter().map(|endpoint| Wanted {
        name: net::Addr::from(endpoint.addr).to_string(),
        server: (&*endpoint.host).into(),
        weight: if server.weight == 1 { endpoint.weight.into() } else { server.weight },
        backup: server.backup || Some(endpoint.priority) != first,
    });
    Ok((wanted.collect(), answer.valid_until))
}

/// Makes the zone's addresses of server `origin` those that are wanted. What is in both stays as it is.
fn enter(group: &Group, origin: usize, wanted: Vec<Wanted>) {
    let Some(shared) = group.shared() else { return };
    let done = shared.lock().and_then(|mut guard| replace(&mut guard, group, origin, wanted));
    match done {
        Ok(()) => {}
        Err(shm::Error::NoMemory) => log::process(
            Level::Error,
            format_args!("cannot add new server to upstream \"{}\", memory exhausted", group.name),
        ),
        Err(error) => {
            log::process(Level::Error, format_args!("cannot change upstream \"{}\": {error}", group.name));
        }
    }
}

fn replace(
    guard: &mut GroupGuard<'_>,
    group: &Group,
    origin: usize,
    mut wanted: Vec<Wanted>,
) -> shm::Result<()> {
    let peers: Vec<_> = guard.peers().collect();
    for peer in peers {
        if guard.field(peer, Field::Origin)? != origin as i64 {
            continue;
        }
        let (state, (name, server)) = (guard.state(peer)?, guard.names(peer)?);
        let same = wanted.iter().position(|wanted| {
            wanted.name == name
                && *wanted.server == *server
                && i64::from(wanted.weight) == state.weight
                && wanted.backup == state.backup
        });
        match same {
            Some(at) => {
                wanted.remove(at);
            }
            None => guard.remove(peer)?,
        }
    }
    let configured = &group.servers[origin];
    for Wanted { name, server, weight, backup } in &wanted {
        let config =
            PeerConfig { server, weight: *weight, backup: *backup, ..configured.config(name, origin) };
        guard.add(&config)?;
    }
    Ok(())
}
