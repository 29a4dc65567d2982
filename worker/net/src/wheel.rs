//! Hierarchical timer wheel: six levels of 64 slots, one millisecond at the lowest.
//!
//! Nodes live in a slab and are linked by index, so arming, moving and removing are O(1) and allocate only when the
//! slab grows. A node has two times: the one it is *queued* for and the *deadline* it stands for. Moving a deadline
//! later is a store – the node finds out when its queued time comes and queues itself again – which is what makes
//! a timeout around every read and write affordable.

use std::task::Waker;

/// No deadline.
pub(crate) const NEVER: u64 = u64::MAX;

const LEVELS: usize = 6;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const NIL: u32 = u32::MAX;
/// Longest time a node is queued ahead, in milliseconds (about two years); later ones are queued again from there.
/// One slot less than a full round, so that it never lands in the slot of the present.
const HORIZON: u64 = (SLOTS as u64 - 1) << (SLOT_BITS * (LEVELS as u32 - 1));

/// Names a node; outdated as soon as the node is freed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    pub(crate) const NONE: Key = Key { index: NIL, generation: 0 };
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Free,
    Queued,
    Fired,
}

struct Node {
    next: u32,
    previous: u32,
    generation: u32,
    slot: u16,
    state: State,
    queued_for: u64,
    deadline: u64,
    waker: Option<Waker>,
}

/// The wheel of one thread. Times are milliseconds of any clock that never goes back.
pub(crate) struct Wheel {
    elapsed: u64,
    nodes: Vec<Node>,
    free: u32,
    queued: usize,
    heads: [u32; LEVELS * SLOTS],
    occupied: [u64; LEVELS],
    /// Generation of new nodes; differs between the wheels of a thread, so that no key outlives its wheel.
    first_generation: u32,
}

impl Wheel {
    pub(crate) const fn new() -> Self {
        Self {
            first_generation: 0,
            elapsed: 0,
            nodes: Vec::new(),
            free: NIL,
            queued: 0,
            heads: [NIL; LEVELS * SLOTS],
            occupied: [0; LEVELS],
        }
    }

    /// An empty wheel for the next loop of the same thread: keys of this one name nothing in it.
    pub(crate) const fn successor(&self) -> Self {
        const GENERATIONS_PER_LOOP: u32 = 1 << 24;
        let mut next = Self::new();
        next.first_generation = self.first_generation.wrapping_add(GENERATIONS_PER_LOOP);
        next
    }

    /// Number of nodes that wait for their time.
    #[cfg(test)]
    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    /// Sets the deadline of the node `key` names, or of a new node when it names none. Returns the (new) key and, if
    /// the node had to be queued, the time it is queued for.
    pub(crate) fn arm(&mut self, key: Key, deadline: u64, now: u64) -> (Key, Option<u64>) {
        debug_assert_ne!(deadline, NEVER);
        let (index, key) = match self.index(key) {
            Some(index) => (index, key),
            None => self.allocate(),
        };
        let node = &mut self.nodes[index as usize];
        node.deadline = deadline;
        match node.state {
            State::Queued if node.queued_for <= deadline => return (key, None),
            State::Queued => self.unlink(index),
            State::Fired | State::Free => {}
        }
        if deadline <= now {
            self.nodes[index as usize].state = State::Fired;
            return (key, None);
        }
        // A wheel that slept for long would sort near deadlines into coarse slots and wake up needlessly.
        if now > self.elapsed && self.next_event().is_none_or(|event| event > now) {
            self.elapsed = now;
        }
        self.link(index);
        (key, Some(self.nodes[index as usize].queued_for))
    }

    /// Forgets the deadline but leaves the node queued for cheap re-arming; a fired node is freed. Returns the
    /// waker, to be dropped by the caller when the wheel is no longer borrowed.
    pub(crate) fn disarm(&mut self, key: Key) -> Option<Waker> {
        let index = self.index(key)?;
        let node = &mut self.nodes[index as usize];
        node.deadline = NEVER;
        let waker = node.waker.take();
        if node.state == State::Fired {
            self.release(index);
        }
        waker
    }

    /// Frees the node. Returns the waker as [`Wheel::disarm`] does.
    pub(crate) fn remove(&mut self, key: Key) -> Option<Waker> {
        let index = self.index(key)?;
        if self.nodes[index as usize].state == State::Queued {
            self.unlink(index);
        }
        let waker = self.nodes[index as usize].waker.take();
        self.release(index);
        waker
    }

    /// Whether the deadline passed.
    pub(crate) fn fired(&self, key: Key) -> bool {
        self.index(key).is_some_and(|index| self.nodes[index as usize].state == State::Fired)
    }

    /// Whether `waker` must be cloned into the node with [`Wheel::set_waker`].
    pub(crate) fn needs_waker(&self, key: Key, waker: &Waker) -> bool {
        self.index(key).is_some_and(|index| {
            self.nodes[index as usize].waker.as_ref().is_none_or(|w| !w.will_wake(waker))
        })
    }

    /// Stores who is to be woken. Returns the previous waker, to be dropped by the caller.
    pub(crate) fn set_waker(&mut self, key: Key, waker: Waker) -> Option<Waker> {
        match self.index(key) {
            Some(index) => self.nodes[index as usize].waker.replace(waker),
            None => Some(waker),
        }
    }

    /// Lets time pass up to `now`; wakers of deadlines that passed are pushed to `due`.
    pub(crate) fn advance(&mut self, now: u64, due: &mut Vec<Waker>) {
        while let Some((level, slot, event)) = self.next_slot() {
            if event > now {
                break;
            }
            self.elapsed = self.elapsed.max(event);
            let mut index = std::mem::replace(&mut self.heads[level * SLOTS + slot], NIL);
            self.occupied[level] &= !(1 << slot);
            while index != NIL {
                let next = self.nodes[index as usize].next;
                self.queued -= 1;
                self.expire(index, now, due);
                index = next;
            }
        }
        self.elapsed = self.elapsed.max(now);
    }

    /// A node came out of its slot: fire it, queue it again, or free it when nobody needs it any more.
    fn expire(&mut self, index: u32, now: u64, due: &mut Vec<Waker>) {
        let node = &mut self.nodes[index as usize];
        if node.deadline == NEVER {
            debug_assert!(node.waker.is_none());
            self.release(index);
        } else if node.deadline <= now {
            node.state = State::Fired;
            due.extend(node.waker.take());
        } else {
            self.link(index);
        }
    }

    /// The next time at which [`Wheel::advance`] has something to do.
    pub(crate) fn next_event(&self) -> Option<u64> {
        self.next_slot().map(|(_, _, event)| event)
    }

    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        // Lower levels hold only what comes before anything in the levels above.
        let level = self.occupied.iter().position(|&slots| slots != 0)?;
        let shift = SLOT_BITS * level as u32;
        let current = (self.elapsed >> shift) as u32 % SLOTS as u32;
        let ahead = self.occupied[level].rotate_right(current).trailing_zeros();
        let slot = (current + ahead) as usize % SLOTS;
        let round = 1u64 << (shift + SLOT_BITS);
        let mut event = (self.elapsed & !(round - 1)) + ((slot as u64) << shift);
        if event < self.elapsed && (slot as u32) < current {
            event += round;
        }
        Some((level, slot, event))
    }

    fn index(&self, key: Key) -> Option<u32> {
        let node = self.nodes.get(key.index as usize)?;
        (node.generation == key.generation && node.state != State::Free).then_some(key.index)
    }

    fn allocate(&mut self) -> (u32, Key) {
        let index = self.free;
        if index != NIL {
            let node = &mut self.nodes[index as usize];
            self.free = node.next;
            node.state = State::Fired;
            return (index, Key { index, generation: node.generation });
        }
        let index =
            u32::try_from(self.nodes.len()).ok().filter(|&i| i != NIL).expect("fewer timers than 2^32");
        let generation = self.first_generation;
        self.nodes.push(Node {
            next: NIL,
            previous: NIL,
            generation,
            slot: 0,
            state: State::Fired,
            queued_for: 0,
            deadline: NEVER,
            waker: None,
        });
        (index, Key { index, generation })
    }

    fn release(&mut self, index: u32) {
        let node = &mut self.nodes[index as usize];
        debug_assert!(node.waker.is_none());
        node.state = State::Free;
        node.generation = node.generation.wrapping_add(1);
        node.next = self.free;
        self.free = index;
    }

    fn link(&mut self, index: u32) {
        let time = self.nodes[index as usize].deadline.min(self.elapsed + HORIZON).max(self.elapsed + 1);
        let level = level_of(self.elapsed, time);
        let slot = (time >> (SLOT_BITS * level as u32)) as usize % SLOTS;
        let position = level * SLOTS + slot;
        let head = std::mem::replace(&mut self.heads[position], index);
        self.occupied[level] |= 1 << slot;
        if head != NIL {
            self.nodes[head as usize].previous = index;
        }
        self.queued += 1;
        let node = &mut self.nodes[index as usize];
        node.queued_for = time;
        node.slot = position as u16;
        node.state = State::Queued;
        node.next = head;
        node.previous = NIL;
    }

    fn unlink(&mut self, index: u32) {
        let Node { next, previous, slot, .. } = self.nodes[index as usize];
        if next != NIL {
            self.nodes[next as usize].previous = previous;
        }
        if previous != NIL {
            self.nodes[previous as usize].next = next;
        } else {
            let slot = slot as usize;
            debug_assert_eq!(self.heads[slot], index);
            self.heads[slot] = next;
            if next == NIL {
                self.occupied[slot / SLOTS] &= !(1 << (slot % SLOTS));
            }
        }
        self.queued -= 1;
    }
}

/// The level on which `time` differs from `elapsed` in the highest bits.
fn level_of(elapsed: u64, time: u64) -> usize {
    let different = (elapsed ^ time) | (SLOTS as u64 - 1);
    let highest = 63 - different.leading_zeros();
    ((highest / SLOT_BITS) as usize).min(LEVELS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_later_deadline_is_a_store_and_an_earlier_one_moves_the_node() {
        let mut wheel = Wheel::new();
        let (key, queued) = wheel.arm(Key::NONE, 100, 0);
        assert_eq!(queued, Some(100));
        assert_eq!(wheel.arm(key, 5000, 10), (key, None));
        let mut due = Vec::new();
        wheel.advance(200, &mut due);
        assert!(!wheel.fired(key));
        assert_eq!(wheel.arm(key, 300, 200), (key, Some(300)));
        wheel.advance(299, &mut due);
        assert!(!wheel.fired(key));
        wheel.advance(300, &mut due);
        assert!(wheel.fired(key));
        wheel.disarm(key);
        assert!(!wheel.fired(key));
        assert_eq!((wheel.queued(), wheel.next_event()), (0, None));
    }

    #[test]
    fn a_disarmed_node_is_freed_when_its_time_comes() {
        let mut wheel = Wheel::new();
        let (key, _) = wheel.arm(Key::NONE, 60_000, 0);
        wheel.disarm(key);
        assert_eq!(wheel.queued(), 1);
        wheel.advance(60_001, &mut Vec::new());
        assert_eq!(wheel.queued(), 0);
        let (other, _) = wheel.arm(Key::NONE, 70_000, 60_001);
        assert_ne!(key, other);
        assert!(wheel.remove(key).is_none());
        assert_eq!(wheel.queued(), 1);
    }

    #[test]
    fn a_deadline_beyond_the_horizon_still_fires() {
        let mut wheel = Wheel::new();
        let far = HORIZON * 3;
        let (key, _) = wheel.arm(Key::NONE, far, 5);
        while let Some(event) = wheel.next_event() {
            assert!(!wheel.fired(key));
            wheel.advance(event, &mut Vec::new());
        }
        assert!(wheel.fired(key));
    }

    proptest! {
        /// Every node fires at the first advance at or after its deadline, never before, and the announced next
        /// event is never later than the earliest deadline.
        #[test]
        fn agrees_with_a_list(start in 0u64..1 << 40, steps in prop::collection::vec((0u8..4, 0u64..1 << 20, 0usize..8), 1..200)) {
            let mut wheel = Wheel::new();
            let mut now = start;
            wheel.advance(now, &mut Vec::new());
            let mut slots: [(Key, Option<u64>); 8] = [(Key::NONE, None); 8];
            for (what, amount, which) in steps {
                let amount = amount >> (amount % 20);
                match what {
                    0 | 1 => {
                        let (key, _) = wheel.arm(slots[which].0, now + amount, now);
                        slots[which] = (key, Some(now + amount));
                    }
                    2 => {
                        if amount % 2 == 0 { wheel.remove(slots[which].0); } else { wheel.disarm(slots[which].0); }
                        slots[which].1 = None;
                    }
                    _ => {
                        now += amount;
                        wheel.advance(now, &mut Vec::new());
                    }
                }
                for (key, deadline) in slots {
                    let expected = deadline.is_some_and(|deadline| deadline <= now);
                    prop_assert_eq!(deadline.is_some() && wheel.fired(key), expected);
                }
                let earliest = slots.iter().filter_map(|s| s.1).filter(|&d| d > now).min();
                if let Some(earliest) = earliest {
                    prop_assert!(wheel.next_event().is_some_and(|event| event <= earliest));
                }
            }
        }
    }
}
