//! Addresses of names taken over by a reload.
//!
//! When a reload makes an upstream's zone anew, names would stand for nothing until they are looked up again: requests
//! would fail meanwhile, and for long if the name servers do. The master therefore copies what the old zone knows of
//! the same names, with the parameters (and the port) of the new configuration.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use shm::peers::{Field, Group, PeerConfig};

use super::{Dynamic, Server};

/// What the master needs to know of a `server … resolve`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DynamicRoom {
    /// Position of the server in its upstream.
    pub origin: u32,
    /// What is resolved.
    pub dynamic: Dynamic,
    /// The address as written.
    pub server: String,
    /// `weight=`.
    pub weight: u32,
    /// `max_conns=`.
    pub max_conns: u32,
    /// `max_fails=`.
    pub max_fails: u32,
    /// `fail_timeout=`, seconds.
    pub fail_timeout: u64,
    /// `backup`.
    pub backup: bool,
    /// `down` or `drain`.
    pub down: i64,
}

impl DynamicRoom {
    /// Of those of `servers` that are resolved while serving.
    pub fn of(servers: &[Server]) -> Vec<Self> {
        let room = |(origin, server): (usize, &Server)| {
            Some(Self {
                origin: origin as u32,
                dynamic: server.dynamic.clone()?,
                server: server.name.to_string(),
                weight: server.weight,
                max_conns: server.max_conns,
                max_fails: server.max_fails,
                fail_timeout: server.fail_timeout,
                backup: server.backup,
                down: server.down,
            })
        };
        servers.iter().enumerate().filter_map(room).collect()
    }

    /// Enters into `new` what `old` knows of the same name there, where it was server `origin`.
    fn carry(&self, new: &Group, old: &Group, origin: u32) -> shm::Result<()> {
        let old = old.lock()?;
        let mut new = new.lock()?;
        for peer in old.peers() {
            if old.field(peer, Field::Origin)? != i64::from(origin) {
                continue;
            }
            let (state, (name, host)) = (old.state(peer)?, old.names(peer)?);
            let service = self.dynamic.service.is_some();
            let Some(name) = self.address(name) else { continue };
            let of_record = u32::try_from(state.weight).unwrap_or(1);
            new.add(&PeerConfig {
                name: &name,
                server: if service { &host } else { &self.server },
                weight: if service && self.weight == 1 { of_record } else { self.weight },
                max_conns: self.max_conns,
                max_fails: self.max_fails,
                fail_timeout: self.fail_timeout,
                slow_start: 0,
                backup: self.backup || service && state.backup,
                down: self.down,
                origin: self.origin,
            })?;
        }
        Ok(())
    }

    /// The address with the port of the new configuration; that of a service has its own.
    fn address(&self, name: String) -> Option<String> {
        if self.dynamic.service.is_some() {
            return Some(name);
        }
        let mut addr: SocketAddr = name.parse().ok()?;
        addr.set_port(self.dynamic.port);
        Some(net::Addr::from(addr).to_string())
    }
}

/// Enters into `new` what `old` knows of the names that both upstreams resolve.
pub fn carry(new: (&Group, &[DynamicRoom]), old: (&Group, &[DynamicRoom])) -> shm::Result<()> {
    for room in new.1 {
        let same = |known: &&DynamicRoom| {
            known.dynamic.host == room.dynamic.host && known.dynamic.service == room.dynamic.service
        };
        if let Some(known) = old.1.iter().find(same) {
            room.carry(new.0, old.0, known.origin)?;
        }
    }
    Ok(())
}
