//! The state of upstream peers that all workers share: what `zone` in an `upstream` block asks for.
//!
//! A zone holds several groups (upstreams may share a zone), each with a small lock and a fixed number of records; spare records are
//! for names that resolve to more addresses later. Fields are atomics: read them without the lock for display, change them under
//! it. What a worker counts in `conns` is also noted under its slot, so that a killed one's connections are taken off.
//!
//! ```text
//! header 64 | slots | group: lock, generation, capacity, name (512 bytes), records … | group …
//! record: fields (216 bytes), name and server (296 bytes), connections of every slot (4 bytes each)
//! ```

mod record;

use std::sync::atomic::Ordering;

pub use record::{DOWN, DRAINING, Field, PeerConfig, PeerState};

use crate::{
    error::{Error, Result},
    lock::{Guard, Lock},
    map::Region,
    process::Identity,
    slot::{SlotId, Slots},
    zone::{Kind, Zone},
};
use record::{FLAGS, RECORD, SERIAL, USED};

const HEADER: usize = 64;
const GROUPS_AT: usize = 0;
const SLOTS_AT: usize = 8;

const GROUP_HEADER: usize = 512;
const GENERATION: usize = 64;
const CAPACITY: usize = 72;
const SERIALS: usize = 80;
const GROUP_NAME_LEN: usize = 88;
const GROUP_NAME: usize = 96;
/// Records from this one on were never used.
const USED_END: usize = 352;
/// Longest name of a group, bytes.
pub const GROUP_NAME_MAX: usize = 255;
/// Groups in one zone.
pub const GROUPS_MAX: usize = 4096;

/// A group to make room for.
#[derive(Clone, Copy, Debug)]
pub struct GroupSpec<'a> {
    /// Name of the upstream.
    pub name: &'a str,
    /// Records it needs at least.
    pub peers_min: u32,
}

/// The upstream zone.
#[derive(Debug)]
pub struct PeerZone {
    groups: Vec<Group>,
}

impl PeerZone {
    /// What the zone is registered as.
    pub const KIND: Kind = Kind { id: *b"peer", layout: 2 };

    /// Prepares a new zone: `workers` is how many processes may use it at the same time. What room is left after every group
    /// has what it needs is shared out evenly.
    pub fn format(zone: &Zone, groups: &[GroupSpec<'_>], workers: u16) -> Result<Self> {
        let body = zone.body();
        // One more is nobody's, two more are for workers that replace dead ones which nobody has reaped yet.
        let slots = workers.saturating_add(3);
        let stride = stride(slots);
        let fixed = HEADER + Slots::bytes(slots) + groups.len() * GROUP_HEADER;
        let needed: u64 = groups.iter().map(|group| u64::from(group.peers_min)).sum();
        let need = fixed.saturating_add(usize::try_from(needed).unwrap_or(usize::MAX).saturating_mul(stride));
        if groups.is_empty() || groups.len() > GROUPS_MAX || body.len() < need {
            return Err(Error::TooSmall { have: body.len(), need });
        }
        let spare = ((body.len() - need) / stride / groups.len()).min(u32::MAX as usize / 2) as u32;
        body.store64(GROUPS_AT, groups.len() as u64)?;
        body.store64(SLOTS_AT, slots.into())?;
        let mut at = HEADER + Slots::bytes(slots);
        for group in groups {
            let capacity = group.peers_min.saturating_add(spare);
            let name = group.name.as_bytes();
            if name.len() > GROUP_NAME_MAX {
                return Err(Error::TooLong { have: name.len(), max: GROUP_NAME_MAX });
            }
            body.store64(at + CAPACITY, capacity.into())?;
            body.store64(at + GROUP_NAME_LEN, name.len() as u64)?;
            body.write(at + GROUP_NAME, name)?;
            at += GROUP_HEADER + capacity as usize * stride;
        }
        Self::open(zone)
    }

    /// The groups in a zone that was prepared.
    pub fn open(zone: &Zone) -> Result<Self> {
        Self::open_as(zone, Identity::current())
    }

    fn open_as(zone: &Zone, who: Identity) -> Result<Self> {
        let body = zone.body();
        let slots = u16::try_from(body.load64(SLOTS_AT)?).map_err(|_| Error::Corrupt("number of slots"))?;
        let slot_table = body.part(HEADER, Slots::bytes(slots))?;
        let count = body.load64(GROUPS_AT)? as usize;
        if count == 0 || count > GROUPS_MAX {
            return Err(Error::Mismatch("it holds no upstreams"));
        }
        let mut groups = Vec::with_capacity(count);
        let mut at = HEADER + Slots::bytes(slots);
        for _ in 0..count {
            let capacity = body.load64(at + CAPACITY)? as usize;
            let len = capacity
                .checked_mul(stride(slots))
                .and_then(|len| len.checked_add(GROUP_HEADER))
                .ok_or(Error::Corrupt("number of peers"))?;
            let region = body.part(at, len)?;
            groups.push(Group::open(region, Slots::at(&slot_table, slots)?, who)?);
            at += len;
        }
        Ok(Self { groups })
    }

    /// The group of this name.
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }

    /// All groups, in the order they were made.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter()
    }

    /// The group of this name, taken out.
    pub fn into_group(self, name: &str) -> Option<Group> {
        self.groups.into_iter().find(|group| group.name == name)
    }

    /// Gives this worker a slot of its own, so that what it counts can be taken off should it be killed. Without it the
    /// worker counts in the shared slot.
    pub fn claim(&mut self) -> Result<()> {
        let Some(first) = self.groups.first() else { return Ok(()) };
        let slot = first.slots.claim(first.who, |dead| self.forget(dead))?;
        self.groups.iter_mut().for_each(|group| group.slot = slot);
        Ok(())
    }

    /// Takes off the connections of dead workers; how many there were.
    pub fn retire_dead(&self) -> Result<usize> {
        match self.groups.first() {
            Some(first) => first.slots.retire_dead(|dead| self.forget(dead)),
            None => Ok(0),
        }
    }

    fn forget(&self, slot: SlotId) -> Result<()> {
        self.groups.iter().try_for_each(|group| group.lock()?.forget(slot))
    }
}

fn stride(slots: u16) -> usize {
    RECORD + (usize::from(slots) * 4).next_multiple_of(64)
}

/// The peers of one upstream.
#[derive(Debug)]
pub struct Group {
    name: String,
    lock: Lock,
    region: Region,
    slots: Slots,
    who: Identity,
    slot: SlotId,
    capacity: u32,
    stride: usize,
}

/// A peer. When it is removed, what still refers to it gets [`Error::NotFound`], also if its record is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerRef {
    index: u32,
    serial: u32,
}

impl PeerRef {
    /// Grows from peer to peer added to a group, until it wraps around.
    pub fn serial(self) -> u32 {
        self.serial
    }
}

impl Group {
    fn open(region: Region, slots: Slots, who: Identity) -> Result<Self> {
        let name_len = region.load64(GROUP_NAME_LEN)? as usize;
        if name_len > GROUP_NAME_MAX {
            return Err(Error::Corrupt("name of a group"));
        }
        let name = region.read(GROUP_NAME, name_len, |name| String::from_utf8_lossy(name).into_owned())?;
        Ok(Self {
            name,
            lock: Lock::at(&region, 0)?,
            capacity: region.load64(CAPACITY)? as u32,
            stride: stride(slots.count()),
            slot: slots.overflow(),
            region,
            slots,
            who,
        })
    }

    /// Name of the upstream.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Records there are.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Changes whenever a peer was added or removed; read without the lock.
    pub fn generation(&self) -> u64 {
        self.region.word64(GENERATION).map_or(0, |word| word.load(Ordering::Acquire))
    }

    /// Takes the lock. If its last holder died inside, weights start afresh and connections are added up again.
    pub fn lock(&self) -> Result<GroupGuard<'_>> {
        let guard = GroupGuard { group: self, guard: self.lock.lock()? };
        if guard.guard.poisoned() {
            guard.repair()?;
            guard.guard.clear_poison();
        }
        Ok(guard)
    }

    /// All peers' states as they are, without the lock: each field is right, but they may not be of one moment.
    pub fn snapshot(&self) -> Vec<(PeerRef, PeerState)> {
        self.refs()
            .filter_map(|peer| Some((peer, PeerState::load(&self.region, self.at(peer)).ok()?)))
            .collect()
    }

    fn refs(&self) -> impl Iterator<Item = PeerRef> + '_ {
        let end = self.region.load64(USED_END).map_or(0, |end| end as u32).min(self.capacity);
        (0..end).filter_map(|index| {
            let at = self.record(index);
            let used = self.region.load64(at + FLAGS).ok()? & USED != 0;
            used.then(|| self.region.load64(at + SERIAL).ok())
                .flatten()
                .map(|serial| PeerRef { index, serial: serial as u32 })
        })
    }

    fn record(&self, index: u32) -> usize {
        GROUP_HEADER + index as usize * self.stride
    }

    fn at(&self, peer: PeerRef) -> usize {
        self.record(peer.index)
    }

    fn slot_at(&self, record: usize, slot: SlotId) -> usize {
        record + RECORD + usize::from(slot.0) * 4
    }
}

/// The lock of a [`Group`], held.
#[derive(Debug)]
pub struct GroupGuard<'a> {
    group: &'a Group,
    guard: Guard<'a>,
}

impl GroupGuard<'_> {
    /// The peers, in the order of their records.
    pub fn peers(&self) -> impl Iterator<Item = PeerRef> + '_ {
        self.group.refs()
    }

    /// The peer with this address text and `server` name.
    pub fn find(&self, name: &str, server: &str) -> Option<PeerRef> {
        self.peers().find(|&peer| record::is_named(&self.group.region, self.group.at(peer), name, server))
    }

    /// Address text and `server` name of a peer.
    pub fn names(&self, peer: PeerRef) -> Result<(String, String)> {
        record::names(&self.group.region, self.checked(peer)?)
    }

    /// One field.
    #[inline]
    pub fn field(&self, peer: PeerRef, field: Field) -> Result<i64> {
        let at = self.checked(peer)?;
        Ok(self.group.region.load64(at + field.offset())? as i64)
    }

    /// Stores one field.
    #[inline]
    pub fn set_field(&mut self, peer: PeerRef, field: Field, value: i64) -> Result<()> {
        let at = self.checked(peer)?;
        self.group.region.store64(at + field.offset(), value as u64)
    }

    /// All fields.
    pub fn state(&self, peer: PeerRef) -> Result<PeerState> {
        PeerState::load(&self.group.region, self.checked(peer)?)
    }

    /// Changes fields. `conns` is not among those stored: see [`conn_opened`](Self::conn_opened).
    pub fn update(&mut self, peer: PeerRef, change: impl FnOnce(&mut PeerState)) -> Result<()> {
        let at = self.checked(peer)?;
        let mut state = PeerState::load(&self.group.region, at)?;
        change(&mut state);
        state.store(&self.group.region, at)
    }

    /// Counts a connection of this worker.
    pub fn conn_opened(&mut self, peer: PeerRef) -> Result<()> {
        let at = self.checked(peer)?;
        self.count(at, |own| own.checked_add(1), 1)
    }

    /// Counts it off.
    pub fn conn_closed(&mut self, peer: PeerRef) -> Result<()> {
        let at = self.checked(peer)?;
        self.count(at, |own| own.checked_sub(1), -1)
    }

    /// Adds a peer. [`Error::NoMemory`] when all records are taken.
    pub fn add(&mut self, config: &PeerConfig<'_>) -> Result<PeerRef> {
        let (group, region) = (self.group, &self.group.region);
        let is_free =
            |index: &u32| region.load64(group.record(*index) + FLAGS).is_ok_and(|flags| flags & USED == 0);
        let index = (0..group.capacity).find(is_free).ok_or(Error::NoMemory)?;
        let serial = region.load64(SERIALS)?.wrapping_add(1) & u64::from(u32::MAX);
        region.store64(SERIALS, serial)?;
        let at = group.record(index);
        let end = region.load64(USED_END)?.max(u64::from(index) + 1);
        region.store64(USED_END, end)?;
        region.zero(at, group.stride)?;
        record::write_names(region, at, config)?;
        config.initial_state().store(region, at)?;
        region.store64(at + SERIAL, serial)?;
        region.word64(at + FLAGS)?.store(config.flags(), Ordering::Release);
        self.changed()?;
        Ok(PeerRef { index, serial: serial as u32 })
    }

    /// Removes a peer.
    pub fn remove(&mut self, peer: PeerRef) -> Result<()> {
        let at = self.checked(peer)?;
        self.group.region.word64(at + FLAGS)?.store(0, Ordering::Release);
        self.changed()
    }

    /// Makes the group's peers those of `wanted`: what is in both keeps its state (and takes the new configuration), the rest
    /// is removed or added. For a name that resolved anew.
    pub fn reconcile(&mut self, wanted: &[PeerConfig<'_>]) -> Result<()> {
        let mut kept = Vec::with_capacity(wanted.len());
        for config in wanted {
            if let Some(peer) = self.find(config.name, config.server).filter(|peer| !kept.contains(peer)) {
                self.update(peer, |state| config.apply(state))?;
                kept.push(peer);
            }
        }
        let gone: Vec<_> = self.peers().filter(|peer| !kept.contains(peer)).collect();
        for peer in gone {
            self.remove(peer)?;
        }
        for config in wanted {
            let have = kept.iter().any(|&peer| {
                record::is_named(&self.group.region, self.group.at(peer), config.name, config.server)
            });
            if !have {
                let peer = self.add(config)?;
                kept.push(peer);
            }
        }
        Ok(())
    }

    /// Takes failures, weights and statistics over from the peers of the same names in `old`: for a reload that made the zone
    /// anew. Connections are not taken over: they belong to workers that use the old zone. How many were found.
    pub fn adopt(&mut self, old: &Group) -> Result<usize> {
        let old = old.lock()?;
        let mut found = 0;
        for theirs in old.peers() {
            let (name, server) = old.names(theirs)?;
            let Some(mine) = self.find(&name, &server) else { continue };
            let state = old.state(theirs)?;
            self.update(mine, |mine| mine.inherit(&state))?;
            found += 1;
        }
        Ok(found)
    }

    fn changed(&self) -> Result<()> {
        self.group.region.word64(GENERATION)?.fetch_add(1, Ordering::Release);
        Ok(())
    }

    fn checked(&self, peer: PeerRef) -> Result<usize> {
        let at = self.group.at(peer);
        let region = &self.group.region;
        if peer.index >= self.group.capacity
            || region.load64(at + FLAGS)? & USED == 0
            || region.load64(at + SERIAL)? != u64::from(peer.serial)
        {
            return Err(Error::NotFound);
        }
        Ok(at)
    }

    fn count(&self, at: usize, own: impl FnOnce(u32) -> Option<u32>, change: i64) -> Result<()> {
        let region = &self.group.region;
        let own_at = self.group.slot_at(at, self.group.slot);
        let Some(own) = own(region.load32(own_at)?) else { return Ok(()) };
        let conns = region.load64(at + Field::Conns.offset())?;
        region.store32(own_at, own)?;
        region.store64(at + Field::Conns.offset(), conns.saturating_add_signed(change))
    }

    fn forget(&mut self, slot: SlotId) -> Result<()> {
        for peer in self.group.refs() {
            let at = self.group.at(peer);
            self.group.region.store32(self.group.slot_at(at, slot), 0)?;
            self.add_up(at)?;
        }
        Ok(())
    }

    fn add_up(&self, at: usize) -> Result<()> {
        let mut conns = 0;
        for slot in 0..self.group.slots.count() {
            conns += u64::from(self.group.region.load32(self.group.slot_at(at, SlotId(slot)))?);
        }
        self.group.region.store64(at + Field::Conns.offset(), conns)
    }

    #[cold]
    fn repair(&self) -> Result<()> {
        for peer in self.group.refs() {
            let at = self.group.at(peer);
            self.add_up(at)?;
            let mut state = PeerState::load(&self.group.region, at)?;
            state.current_weight = 0;
            state.effective_weight = state.effective_weight.clamp(0, state.weight);
            state.store(&self.group.region, at)?;
        }
        self.changed()
    }
}

#[cfg(test)]
mod tests;
