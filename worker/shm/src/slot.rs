//! Slots: who counts what.
//!
//! Whatever a worker adds to a shared number, it also notes under a slot that bears its [`Identity`]. When it dies, the master
//! or the next worker that claims a slot subtracts what the dead one had noted, and only then gives the slot away.

use std::sync::atomic::Ordering;

use crate::{
    error::{Error, Result},
    lock::Lock,
    map::Region,
    process::Identity,
};

/// The number of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotId(pub u16);

/// A table of slots in shared memory. The last slot is nobody's: it serves those who come when all others are taken, and
/// what they note there is not subtracted when they die.
#[derive(Debug)]
pub struct Slots {
    lock: Lock,
    owners: Region,
    count: u16,
}

impl Slots {
    /// Bytes that `count` slots take, a multiple of 64.
    pub const fn bytes(count: u16) -> usize {
        Lock::SIZE + (count as usize * 8).next_multiple_of(64)
    }

    /// The slots at the start of `region`, which was zero-filled when it was made.
    pub fn at(region: &Region, count: u16) -> Result<Self> {
        if count == 0 || region.len() < Self::bytes(count) {
            return Err(Error::TooSmall { have: region.len(), need: Self::bytes(count.max(1)) });
        }
        let owners = region.part(Lock::SIZE, Self::bytes(count) - Lock::SIZE)?;
        Ok(Self { lock: Lock::at(region, 0)?, owners, count })
    }

    /// How many slots there are.
    pub fn count(&self) -> u16 {
        self.count
    }

    /// The slot of nobody.
    pub fn overflow(&self) -> SlotId {
        SlotId(self.count - 1)
    }

    /// Who owns the slot.
    pub fn owner(&self, slot: SlotId) -> Option<Identity> {
        let word = self.owners.word64(usize::from(slot.0) * 8).ok()?;
        Identity::from_raw(word.load(Ordering::Acquire))
    }

    /// A slot for `who`: the one it has, else a free one, else [`overflow`](Self::overflow). Retires the dead first.
    pub fn claim(&self, who: Identity, forget: impl FnMut(SlotId) -> Result<()>) -> Result<SlotId> {
        let _guard = self.lock.lock()?;
        self.retire(forget)?;
        let mut free = None;
        for slot in self.own_slots() {
            match self.owner(slot) {
                Some(owner) if owner == who => return Ok(slot),
                None if free.is_none() => free = Some(slot),
                _ => {}
            }
        }
        match free {
            Some(slot) => {
                self.set_owner(slot, who.raw())?;
                Ok(slot)
            }
            None => Ok(self.overflow()),
        }
    }

    /// Frees the slots of the dead after `forget` has subtracted what each had noted. `forget` may be called again for the
    /// same slot if the caller is killed meanwhile. How many there were.
    pub fn retire_dead(&self, forget: impl FnMut(SlotId) -> Result<()>) -> Result<usize> {
        let _guard = self.lock.lock()?;
        self.retire(forget)
    }

    fn retire(&self, mut forget: impl FnMut(SlotId) -> Result<()>) -> Result<usize> {
        // The owners' words are each valid by themselves, so a poisoned lock needs no repair here.
        let mut retired = 0;
        for slot in self.own_slots() {
            if self.owner(slot).is_some_and(|owner| !owner.is_alive()) {
                forget(slot)?;
                self.set_owner(slot, 0)?;
                retired += 1;
            }
        }
        Ok(retired)
    }

    pub(crate) fn set_owner(&self, slot: SlotId, raw: u64) -> Result<()> {
        self.owners.word64(usize::from(slot.0) * 8)?.store(raw, Ordering::Release);
        Ok(())
    }

    fn own_slots(&self) -> impl Iterator<Item = SlotId> + use<> {
        (0..self.count - 1).map(SlotId)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A process that never was: this one's id with another start time.
    pub(crate) fn dead(n: u64) -> Identity {
        Identity::from_raw(Identity::current().raw() ^ (n + 1) << 40).unwrap()
    }

    #[test]
    fn the_dead_are_forgotten_before_their_slot_is_given_away() {
        let region = Region::anonymous(4096).unwrap();
        let slots = Slots::at(&region, 3).unwrap();
        let never = |_| -> Result<()> { panic!("nobody has died") };
        slots
            .set_owner(SlotId(0), Identity::of_pid(std::os::unix::process::parent_id()).unwrap().raw())
            .unwrap();
        let me = Identity::current();
        assert_eq!(slots.claim(me, never).unwrap(), SlotId(1));
        assert_eq!(slots.claim(me, never).unwrap(), SlotId(1), "it keeps its slot");

        slots.set_owner(SlotId(1), dead(1).raw()).unwrap();
        let mut forgotten = Vec::new();
        let failed = slots.claim(me, |_| Err(Error::NoMemory));
        assert!(failed.is_err() && slots.owner(SlotId(1)) == Some(dead(1)), "not before it is forgotten");
        let slot = slots.claim(me, |slot| {
            forgotten.push(slot);
            Ok(())
        });
        assert_eq!((slot.unwrap(), forgotten), (SlotId(1), vec![SlotId(1)]));

        slots
            .set_owner(SlotId(1), Identity::of_pid(std::os::unix::process::parent_id()).unwrap().raw())
            .unwrap();
        assert_eq!(slots.claim(me, never).unwrap(), slots.overflow());
        assert_eq!(slots.retire_dead(never).unwrap(), 0);
    }
}
