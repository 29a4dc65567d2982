//! `hash key consistent`: ketama points, as Cache::Memcached::Fast places them.
//!
//! Every server has 160 points per unit of weight on a ring of 32-bit hashes, `crc32(HOST \0 PORT PREVIOUS)`; a key
//! belongs to the first point at or behind its own hash. When a server leaves, only its own keys move.

use std::rc::Rc;

use shm::peers::Field;

use super::crc32::Crc32;
use super::pick::{Memory, Pick, TRIES_MAX};
use super::tier::Member;
use super::{Method, round_robin};

/// Points per unit of weight.
const POINTS_PER_WEIGHT: i64 = 160;

/// See the module's documentation. [`Memory::key`] holds the key.
pub struct ConsistentHash;

impl Method for ConsistentHash {
    fn choose(&self, pick: &mut Pick<'_>, memory: &mut Memory) -> Option<usize> {
        if memory.tries > TRIES_MAX || pick.tier.single || memory.key.is_empty() {
            return round_robin::choose(pick);
        }
        if pick.count() == 0 {
            return None;
        }
        if let Some(at) = pick.hinted() {
            return Some(at);
        }
        let tier = pick.tier;
        let ring = tier.ring();
        if memory.rehash == 0 {
            (memory.hash, memory.rehash) = (ring.first_from(Crc32::of(&memory.key)) as u64, 1);
        }
        loop {
            let server = ring.server(memory.hash)?;
            if let Some(at) = of_server(pick, server) {
                return Some(at);
            }
            memory.hash += 1;
            memory.tries += 1;
            if memory.tries > TRIES_MAX {
                return round_robin::choose(pick);
            }
        }
    }
}

/// A turn among the usable addresses of one server.
fn of_server(pick: &mut Pick<'_>, server: &str) -> Option<usize> {
    let mut best: Option<(usize, i64)> = None;
    let mut total = 0;
    for at in 0..pick.count() {
        if &*pick.member(at).peer.server != server || !pick.is_usable(at) {
            continue;
        }
        total += pick.step(at);
        let current = pick.get(at, Field::CurrentWeight);
        if best.is_none_or(|(_, most)| current > most) {
            best = Some((at, current));
        }
    }
    let (at, _) = best?;
    pick.win(at, total);
    Some(at)
}

/// All points, by hash.
pub struct Ring {
    points: Vec<(u32, u32)>,
    servers: Vec<Rc<str>>,
}

impl Ring {
    /// The points of `members`, which are known by the names of their servers.
    pub fn new(members: &[Member]) -> Self {
        let mut ring = Self { points: Vec::new(), servers: Vec::new() };
        for member in members {
            let name = &member.peer.server;
            let known = ring.servers.iter().position(|server| server == name);
            let server = known.unwrap_or_else(|| {
                ring.servers.push(Rc::clone(name));
                ring.servers.len() - 1
            });
            ring.points.extend(points(name, member.weight).map(|hash| (hash, server as u32)));
        }
        ring.points.sort_by_key(|(hash, _)| *hash);
        ring.points.dedup_by_key(|(hash, _)| *hash);
        ring
    }

    /// Index of the first point at or behind `hash`; the number of points when there is none.
    fn first_from(&self, hash: u32) -> usize {
        self.points.partition_point(|(point, _)| *point < hash)
    }

    /// The server of a point, counted around the ring.
    fn server(&self, index: u64) -> Option<&Rc<str>> {
        let count = self.points.len() as u64;
        let (_, server) = self.points.get((index % count.max(1)) as usize)?;
        self.servers.get(*server as usize)
    }
}

/// The points of one server.
fn points(server: &str, weight: i64) -> impl Iterator<Item = u32> {
    let (host, port) = host_and_port(server);
    let mut base = Crc32::new();
    base.update(host.as_bytes());
    base.update(b"\0");
    base.update(port.as_bytes());
    let mut previous = 0u32;
    (0..weight * POINTS_PER_WEIGHT).map(move |_| {
        let mut crc = base;
        crc.update(&previous.to_le_bytes());
        previous = crc.finish();
        previous
    })
}

fn host_and_port(server: &str) -> (&str, &str) {
    if let Some(prefix) = server.get(..5)
        && prefix.eq_ignore_ascii_case("unix:")
    {
        return (&server[5..], "");
    }
    match server.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port),
        _ => (server, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_as_by_nginx() {
        let cases = [
            ("127.0.0.1:80", ("127.0.0.1", "80")),
            ("host", ("host", "")),
            ("host:", ("host", "")),
            ("[::1]", ("[::1]", "")),
            ("[::1]:8080", ("[::1]", "8080")),
            ("unix:/tmp/a:1", ("/tmp/a:1", "")),
            ("UNIX:/tmp/a", ("/tmp/a", "")),
        ];
        for (server, expected) in cases {
            assert_eq!(host_and_port(server), expected, "{server}");
        }
    }

    #[test]
    fn a_chain_of_points() {
        // crc32("127.0.0.1" 00 "8081" 00000000), and each next one over the one before
        let first: Vec<u32> = points("127.0.0.1:8081", 1).collect();
        assert_eq!(first.len(), 160);
        let mut text = b"127.0.0.1\x008081".to_vec();
        text.extend([0; 4]);
        assert_eq!(first[0], Crc32::of(&text));
        text.truncate(14);
        text.extend(first[0].to_le_bytes());
        assert_eq!(first[1], Crc32::of(&text));
        assert_eq!(points("127.0.0.1:8081", 3).count(), 480);
    }
}
