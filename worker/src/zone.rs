//! Shared-memory zones of a configuration: declared while it is read, provided by the master, attached by workers.

use std::cell::OnceCell;
use std::rc::Rc;

use conf::{Node, Result};
use serde::{Deserialize, Serialize};

use crate::balance::DynamicRoom;

/// What a zone is used for. Two directives that name one zone must agree; a reload that changes the use makes it anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ZoneKind {
    /// `limit_req_zone`.
    LimitReq,
    /// `limit_conn_zone`.
    LimitConn,
    /// `zone` of an upstream.
    Upstream,
    /// `sticky learn`.
    Sticky,
    /// `lua_shared_dict`.
    Dict,
    /// `keys_zone` of a `proxy_cache_path`.
    Cache,
    /// `ssl_session_cache shared:…`, and the keys of tickets.
    TlsSessions,
    /// Counters of the process group (`stub_status`).
    Counters,
}

impl ZoneKind {
    /// The layout of such a zone's memory.
    pub fn layout(self) -> shm::Kind {
        match self {
            ZoneKind::LimitReq => shm::LimitReq::KIND,
            ZoneKind::LimitConn => shm::LimitConn::KIND,
            ZoneKind::Upstream => shm::PeerZone::KIND,
            ZoneKind::Sticky => shm::Sticky::KIND,
            ZoneKind::Dict => shm::Dict::KIND,
            ZoneKind::Cache => shm::CacheIndex::KIND,
            ZoneKind::TlsSessions => shm::Sessions::KIND,
            ZoneKind::Counters => crate::counters::Counters::zone_kind(),
        }
    }
}

/// A zone the master must provide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneSpec {
    /// The zone's name.
    pub name: String,
    /// Its size in bytes.
    pub size: usize,
    /// Its use.
    pub kind: ZoneKind,
    /// The upstreams whose servers it holds ([`ZoneKind::Upstream`]).
    pub groups: Vec<GroupRoom>,
}

/// What an upstream needs in its zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRoom {
    /// The upstream's name.
    pub name: String,
    /// Servers the configuration names by address; there must be room for them.
    pub peers_min: u32,
    /// Servers that are resolved while serving.
    pub dynamic: Vec<DynamicRoom>,
    /// Checksum of what the configuration says of the upstream.
    pub digest: u32,
}

impl ZoneSpec {
    /// The zone all workers count in.
    pub fn counters() -> Self {
        use crate::counters::Counters;
        Self {
            name: Counters::ZONE.into(),
            size: Counters::zone_size(),
            kind: ZoneKind::Counters,
            groups: Vec::new(),
        }
    }

    /// What the shared-memory crate calls this zone. A reload that changes an upstream makes its zone anew, because
    /// workers of both configurations could not agree on one list of servers.
    pub fn shm(&self) -> shm::Spec {
        let mut kind = self.kind.layout();
        for group in &self.groups {
            kind.layout = kind.layout.rotate_left(5) ^ group.digest;
        }
        shm::Spec { name: self.name.clone(), size: self.size, kind }
    }

    /// Prepares the fresh, zero-filled memory of this zone for its use.
    pub fn format(&self, zone: &shm::Zone) -> shm::Result<()> {
        match self.kind {
            ZoneKind::LimitReq => shm::LimitReq::format(zone).map(drop),
            ZoneKind::LimitConn => shm::LimitConn::format(zone).map(drop),
            ZoneKind::Upstream => self.format_peers(zone),
            ZoneKind::Sticky => shm::Sticky::format(zone).map(drop),
            ZoneKind::Dict => shm::Dict::format(zone).map(drop),
            ZoneKind::Cache => shm::CacheIndex::format(zone).map(drop),
            ZoneKind::TlsSessions => shm::Sessions::format(zone).map(drop),
            ZoneKind::Counters => Ok(()),
        }
    }

    /// Enters into the freshly formatted `zone` what is worth keeping of `old`, the memory of the same name that the
    /// configuration before this one used as `before`.
    pub fn carry(&self, zone: &shm::Zone, before: &ZoneSpec, old: &shm::Zone) -> shm::Result<()> {
        if self.kind != ZoneKind::Upstream || before.kind != ZoneKind::Upstream {
            return Ok(());
        }
        let (new, old) = (shm::PeerZone::open(zone)?, shm::PeerZone::open(old)?);
        for group in &self.groups {
            let Some(known) = before.groups.iter().find(|known| known.name == group.name) else { continue };
            if let (Some(to), Some(from)) = (new.group(&group.name), old.group(&group.name)) {
                crate::balance::carry((to, &group.dynamic), (from, &known.dynamic))?;
            }
        }
        Ok(())
    }

    fn format_peers(&self, zone: &shm::Zone) -> shm::Result<()> {
        let mut specs = Vec::with_capacity(self.groups.len());
        for GroupRoom { name, peers_min, .. } in &self.groups {
            specs.push(shm::peers::GroupSpec { name, peers_min: *peers_min });
        }
        let workers = (self.size / BYTES_PER_WORKER).clamp(WORKERS.0, WORKERS.1) as u16;
        shm::PeerZone::format(zone, &specs, workers).map(drop)
    }
}

/// Every server's record has room for so many workers to count connections in, those of former generations included;
/// more workers than that share a place. A small zone has room for few, so that it has room for servers.
const WORKERS: (usize, usize) = (16, 256);
/// One worker's place is made for so many bytes of the zone.
const BYTES_PER_WORKER: usize = 16 * 1024;

/// A zone as directives hold it: filled when the worker has attached its memory.
pub type ZoneRef = Rc<ZoneCell>;

/// The place where a worker puts an attached zone.
#[derive(Debug)]
pub struct ZoneCell {
    /// The zone's name.
    pub name: Box<str>,
    memory: OnceCell<shm::Zone>,
}

impl ZoneCell {
    /// The attached memory. `None` in a process that only checks the configuration.
    pub fn memory(&self) -> Option<&shm::Zone> {
        self.memory.get()
    }
}

/// Zones declared so far.
#[derive(Default)]
pub struct ZoneTable {
    zones: Vec<Declared>,
}

struct Declared {
    cell: ZoneRef,
    size: Option<usize>,
    kind: ZoneKind,
    span: conf::Span,
    groups: Vec<GroupRoom>,
}

impl ZoneTable {
    pub(crate) fn declare(
        &mut self,
        node: &Node,
        name: &str,
        size: Option<usize>,
        kind: ZoneKind,
    ) -> Result<ZoneRef> {
        if let Some(zone) = self.zones.iter_mut().find(|zone| &*zone.cell.name == name) {
            if zone.kind != kind {
                return Err(node.error(format!(
                    "the shared memory zone \"{name}\" is already declared for a different use"
                )));
            }
            match (zone.size, size) {
                (Some(old), Some(new)) if old != new => {
                    return Err(node.error(format!(
                        "the size {new} of shared memory zone \"{name}\" conflicts with already declared size {old}"
                    )));
                }
                (None, Some(new)) => zone.size = Some(new),
                _ => {}
            }
            return Ok(Rc::clone(&zone.cell));
        }
        let cell = Rc::new(ZoneCell { name: name.into(), memory: OnceCell::new() });
        let span = node.span.clone();
        self.zones.push(Declared { cell: Rc::clone(&cell), size, kind, span, groups: Vec::new() });
        Ok(cell)
    }

    /// Makes room for an upstream's servers in the zone called `zone`.
    pub(crate) fn add_group(&mut self, zone: &str, room: GroupRoom) {
        if let Some(zone) = self.zones.iter_mut().find(|known| &*known.cell.name == zone) {
            zone.groups.push(room);
        }
    }

    /// Checks that every zone that is used was given a size somewhere.
    pub(crate) fn check(&self) -> Result<()> {
        match self.zones.iter().find(|zone| zone.size.is_none()) {
            Some(zone) => Err(conf::Error::at(
                &zone.span,
                format!("zero size shared memory zone \"{}\"", zone.cell.name),
            )),
            None => Ok(()),
        }
    }

    pub(crate) fn specs(&self) -> Vec<ZoneSpec> {
        let spec = |zone: &Declared| {
            let (name, groups) = (zone.cell.name.to_string(), zone.groups.clone());
            Some(ZoneSpec { name, size: zone.size?, kind: zone.kind, groups })
        };
        self.zones.iter().filter_map(spec).collect()
    }

    /// The zone called `name`, if it was declared.
    pub fn find(&self, name: &str) -> Option<ZoneRef> {
        self.zones.iter().find(|zone| &*zone.cell.name == name).map(|zone| Rc::clone(&zone.cell))
    }

    /// Gives the zone called `name` its memory.
    pub fn attach(&self, name: &str, memory: shm::Zone) {
        if let Some(zone) = self.zones.iter().find(|zone| &*zone.cell.name == name) {
            zone.cell.memory.get_or_init(|| memory);
        }
    }
}
