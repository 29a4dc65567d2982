//! A `server` of an `upstream` block.

use std::rc::Rc;

use md5::{Digest, Md5};
use net::Addr;
use serde::{Deserialize, Serialize};
use shm::peers::PeerConfig;

use super::crc32::Crc32;

/// What one `server` directive says.
#[derive(Debug, Clone)]
pub struct Server {
    /// The address as written.
    pub name: Rc<str>,
    /// Its addresses; none if they are found while serving.
    pub addrs: Vec<Addr>,
    /// `weight=`.
    pub weight: u32,
    /// `max_conns=`; 0: no limit.
    pub max_conns: u32,
    /// `max_fails=`; 0: failures do not count.
    pub max_fails: u32,
    /// `fail_timeout=`, seconds.
    pub fail_timeout: u64,
    /// `backup`.
    pub backup: bool,
    /// [`shm::peers::DOWN`] (`down`), [`shm::peers::DRAINING`] (`drain`) or 0.
    pub down: i64,
    /// `route=`.
    pub route: Option<Rc<[u8]>>,
    /// `resolve`: the name is resolved while serving.
    pub dynamic: Option<Dynamic>,
}

/// A name that is resolved while serving.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dynamic {
    /// The host.
    pub host: Box<str>,
    /// Its port; 0 with a service.
    pub port: u16,
    /// `service=`: addresses and ports come from SRV records.
    pub service: Option<Box<str>>,
}

/// A checksum of everything the configuration says of `servers`.
pub fn digest(servers: &[Server]) -> u32 {
    Crc32::of(format!("{servers:?}").as_bytes())
}

impl Server {
    /// A server of one address with the defaults of the directive.
    pub fn new(name: &str, addrs: Vec<Addr>) -> Self {
        Self {
            name: name.into(),
            addrs,
            weight: 1,
            max_conns: 0,
            max_fails: 1,
            fail_timeout: 10,
            backup: false,
            down: 0,
            route: None,
            dynamic: None,
        }
    }

    /// What the zone keeps of the server's address `name`; `origin` is the position of the server.
    pub fn config<'a>(&'a self, name: &'a str, origin: usize) -> PeerConfig<'a> {
        PeerConfig {
            name,
            server: &self.name,
            weight: self.weight,
            max_conns: self.max_conns,
            max_fails: self.max_fails,
            fail_timeout: self.fail_timeout,
            slow_start: 0,
            backup: self.backup,
            down: self.down,
            origin: origin as u32,
        }
    }

    /// What `sticky` binds sessions of the server's address `name` to: the route, or the MD5 of the address.
    pub fn sid(&self, name: &str) -> Rc<[u8]> {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        match &self.route {
            Some(route) => Rc::clone(route),
            None => {
                let digest = Md5::digest(name);
                digest.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|n| HEX[usize::from(n)]).collect()
            }
        }
    }
}
