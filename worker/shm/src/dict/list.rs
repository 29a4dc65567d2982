//! Lists: all elements of one in one value, with room at both ends.
//!
//! ```text
//! header of the value | begin, end of the elements | how many | room … elements … room
//! element: word | bytes | word        word: twice the length, plus 1 for a number
//! ```
//!
//! The word at both ends lets an element be taken from either. When an end has no room left the elements move: inside the
//! value if half of it is free, else to a value half as large again. Everything that is not one word is done under the journal
//! of the table, so a process killed meanwhile loses this list and nothing else.

use super::{Answer, Dict, End, HEADER, LIST, Meta, Refusal, Value, meta};
use crate::{
    error::Error,
    map::Region,
    table::{EntryRef, TableGuard},
};

/// Bytes before the elements: header, ends, count.
const ELEMENTS: usize = HEADER + 16;
/// The words of the value that hold the ends and the count.
const ENDS: usize = HEADER / 8;
const COUNT: usize = ENDS + 1;
/// Bytes an element takes besides its own.
const FRAME: usize = 8;
/// Bytes a new list has room for at least.
const ROOM_MIN: usize = 64;
/// A list is given less memory when it uses less than a so-many-th part of more than this.
const SHRINK: (usize, usize) = (8, 4096);

const TORN: Error = Error::Corrupt("the elements of a list");

/// Where the elements of a list are, relative to the first place for one.
#[derive(Clone, Copy)]
struct Extent {
    begin: usize,
    end: usize,
    room: usize,
    count: u64,
}

impl Extent {
    fn read(guard: &TableGuard<'_>, entry: EntryRef) -> Answer<Self> {
        let ends = guard.word(entry, ENDS)?;
        let count = guard.word(entry, COUNT)?;
        let room = guard.value(entry, <[u8]>::len)?.checked_sub(ELEMENTS).ok_or(TORN)?;
        let (begin, end) = (ends as u32 as usize, (ends >> 32) as usize);
        if begin > end || end > room {
            return Err(TORN.into());
        }
        Ok(Self { begin, end, room, count })
    }

    fn used(self) -> usize {
        self.end - self.begin
    }

    fn ends(self) -> u64 {
        self.begin as u64 | (self.end as u64) << 32
    }

    /// Puts the same elements elsewhere: most of the room at the end where `end` says, a quarter of it at the other.
    fn placed(self, room: usize, end: End) -> Self {
        let free = room - self.used();
        let begin = match end {
            End::Left => free - free / 4,
            End::Right => free / 4,
        };
        Self { begin, end: begin + self.used(), room, count: self.count }
    }

    fn store(self, region: &Region, at: usize) -> crate::Result<()> {
        region.store64(at + HEADER, self.ends())?;
        region.store64(at + HEADER + 8, self.count)
    }
}

impl Dict {
    /// Adds an element at an end of the list under `key`, which is made if it is not there; how many there are then. Nothing is
    /// ever evicted for it. Booleans are not kept in lists.
    pub fn push(&self, key: &[u8], value: Value<'_>, end: End, now_ms: u64) -> Answer<u64> {
        let number;
        let (bytes, is_number) = match value {
            Value::String(bytes) => (bytes, false),
            Value::Number(value) => {
                number = value.to_ne_bytes();
                (&number[..], true)
            }
            Value::Boolean(_) => return Err(Refusal::NotAList),
        };
        if bytes.len() > u32::MAX as usize / 4 {
            return Err(Refusal::NoMemory);
        }
        let word = (bytes.len() as u32) << 1 | u32::from(is_number);
        let (mut guard, found) = self.enter(key, now_ms)?;
        let entry = match found {
            Some((entry, meta)) if !meta.has_expired(now_ms) => {
                if meta.kind != LIST {
                    return Err(Refusal::NotAList);
                }
                guard.touch(entry)?;
                entry
            }
            other => {
                if let Some((expired, _)) = other {
                    guard.remove(expired)?;
                }
                let extent = Extent { begin: 0, end: 0, room: 0, count: 0 };
                let room = (bytes.len() + FRAME).max(ROOM_MIN);
                make(&mut guard, key, &[], extent.placed(room, end), 0, None)?
            }
        };
        let need = bytes.len() + FRAME;
        let entry = make_room(&mut guard, key, entry, need, end)?;
        let mut extent = Extent::read(&guard, entry)?;
        let to = match end {
            End::Left => {
                extent.begin -= need;
                extent.begin
            }
            End::Right => {
                extent.end += need;
                extent.end - need
            }
        };
        extent.count += 1;
        let len = ELEMENTS + extent.room;
        guard.change(entry, len, |region, at| {
            let to = at + ELEMENTS + to;
            region.write(to, &word.to_ne_bytes())?;
            region.write(to + 4, bytes)?;
            region.write(to + 4 + bytes.len(), &word.to_ne_bytes())?;
            extent.store(region, at)
        })?;
        Ok(extent.count)
    }

    /// Takes the element at an end of the list under `key` and shows it to `use_it`, which copies and nothing else. A list
    /// without elements is removed.
    pub fn pop<R>(
        &self,
        key: &[u8],
        end: End,
        now_ms: u64,
        use_it: impl FnOnce(Value<'_>) -> R,
    ) -> Answer<Option<R>> {
        let (mut guard, found) = self.enter(key, now_ms)?;
        let Some((entry, meta)) = found.filter(|(_, meta)| !meta.has_expired(now_ms)) else {
            return Ok(None);
        };
        if meta.kind != LIST {
            return Err(Refusal::NotAList);
        }
        let mut extent = Extent::read(&guard, entry)?;
        let (result, taken) = guard.value(entry, |value| {
            let elements = &value[ELEMENTS + extent.begin..ELEMENTS + extent.end];
            let (element, taken) = element(elements, end)?;
            Ok::<_, Error>((use_it(element), taken))
        })??;
        if extent.count <= 1 {
            guard.remove(entry)?;
            return Ok(Some(result));
        }
        match end {
            End::Left => extent.begin += taken,
            End::Right => extent.end -= taken,
        }
        extent.count -= 1;
        guard.touch(entry)?;
        guard.change(entry, ELEMENTS + extent.room, |region, at| extent.store(region, at))?;
        if extent.room > SHRINK.1 && extent.used() < extent.room / SHRINK.0 {
            let room = (extent.used() * 2).max(ROOM_MIN);
            // for want of memory it stays as it is
            match relocate(&mut guard, key, entry, room, end) {
                Ok(_) | Err(Refusal::NoMemory) => {}
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(Some(result))
    }

    /// How many elements the list under `key` has; 0 if it is not there.
    pub fn llen(&self, key: &[u8], now_ms: u64) -> Answer<u64> {
        let (mut guard, found) = self.enter(key, now_ms)?;
        let Some((entry, meta)) = found.filter(|(_, meta)| !meta.has_expired(now_ms)) else { return Ok(0) };
        if meta.kind != LIST {
            return Err(Refusal::NotAList);
        }
        guard.touch(entry)?;
        Ok(guard.word(entry, COUNT)?)
    }
}

/// The element at an end of `elements`, and how many bytes it takes.
fn element(elements: &[u8], end: End) -> Result<(Value<'_>, usize), Error> {
    let word = match end {
        End::Left => elements.first_chunk::<4>(),
        End::Right => elements.last_chunk::<4>(),
    };
    let word = u32::from_ne_bytes(*word.ok_or(TORN)?);
    let (len, is_number) = ((word >> 1) as usize, word & 1 != 0);
    let taken = len + FRAME;
    let start = match end {
        End::Left => 0,
        End::Right => elements.len().checked_sub(taken).ok_or(TORN)?,
    };
    let bytes = elements.get(start + 4..start + 4 + len).ok_or(TORN)?;
    let value = match is_number {
        true => Value::Number(f64::from_ne_bytes(bytes.try_into().map_err(|_| TORN)?)),
        false => Value::String(bytes),
    };
    Ok((value, taken))
}

/// Sees to it that there are `need` bytes of room at `end`; the entry may become another.
fn make_room(
    guard: &mut TableGuard<'_>,
    key: &[u8],
    entry: EntryRef,
    need: usize,
    end: End,
) -> Answer<EntryRef> {
    let extent = Extent::read(guard, entry)?;
    let has = match end {
        End::Left => extent.begin,
        End::Right => extent.room - extent.end,
    };
    if has >= need {
        return Ok(entry);
    }
    let used = extent.used();
    if (used + need) * 2 <= extent.room {
        let placed = extent.placed(extent.room, end);
        guard.change(entry, ELEMENTS + extent.room, |region, at| {
            region.shift(at + ELEMENTS + extent.begin, at + ELEMENTS + placed.begin, used)?;
            placed.store(region, at)
        })?;
        return Ok(entry);
    }
    // the quarter of the room that goes to the other end comes on top
    let least = used + need + need.div_ceil(3) + 1;
    let grown = least + used / 2;
    match relocate(guard, key, entry, grown, end) {
        Err(Refusal::NoMemory) => {}
        other => return other,
    }
    match relocate(guard, key, entry, least, end) {
        Err(Refusal::NoMemory) if extent.count == 0 => {
            guard.remove(entry)?;
            Err(Refusal::NoMemory)
        }
        other => other,
    }
}

/// Moves the list to a value with another amount of room.
fn relocate(
    guard: &mut TableGuard<'_>,
    key: &[u8],
    entry: EntryRef,
    room: usize,
    end: End,
) -> Answer<EntryRef> {
    let extent = Extent::read(guard, entry)?;
    let expires = meta(guard, entry)?.expires;
    let elements =
        guard.value(entry, |value| value[ELEMENTS + extent.begin..ELEMENTS + extent.end].to_vec())?;
    let new = make(guard, key, &elements, extent.placed(room, end), expires, Some(entry))?;
    guard.remove(entry)?;
    Ok(new)
}

/// Makes a list with these elements, while the one it takes the place of is still there.
fn make(
    guard: &mut TableGuard<'_>,
    key: &[u8],
    elements: &[u8],
    extent: Extent,
    expires: u64,
    old: Option<EntryRef>,
) -> Answer<EntryRef> {
    let mut value = vec![0; ELEMENTS + extent.room];
    value[..HEADER].copy_from_slice(&Meta { expires, flags: 0, kind: LIST }.header());
    value[HEADER..HEADER + 8].copy_from_slice(&extent.ends().to_ne_bytes());
    value[HEADER + 8..ELEMENTS].copy_from_slice(&extent.count.to_ne_bytes());
    value[ELEMENTS + extent.begin..ELEMENTS + extent.end].copy_from_slice(elements);
    if value.len() > u32::MAX as usize {
        return Err(Refusal::NoMemory);
    }
    let (entry, _) = guard.insert_parts(key, &[&value], 0, old)?;
    Ok(entry)
}
