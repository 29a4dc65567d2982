//! The variable values one request has computed or assigned. Subrequests share their parent's, as in nginx.

use super::VarId;

/// A kept value.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub enum Value<'a> {
    /// Never computed or assigned.
    #[default]
    Unset,
    /// Computed: there is none.
    Missing,
    /// The value.
    Found(&'a [u8]),
}

/// Kept values by [`VarId`]. All bytes stand in one buffer that is reused from request to request.
#[derive(Debug, Default, Clone)]
pub struct Values {
    /// Sparse: most requests keep one or two values.
    slots: Vec<(u32, Option<(u32, u32)>)>,
    bytes: Vec<u8>,
}

impl Values {
    /// The kept value of `id`.
    pub fn get(&self, id: VarId) -> Value<'_> {
        match self.slots.iter().find(|(slot, _)| *slot == id.0) {
            None => Value::Unset,
            Some((_, None)) => Value::Missing,
            Some((_, Some((start, end)))) => Value::Found(&self.bytes[*start as usize..*end as usize]),
        }
    }

    /// Keeps a value (`None`: there is none) in place of any earlier one.
    pub fn put(&mut self, id: VarId, value: Option<&[u8]>) {
        let range = value.map(|value| {
            let start = self.bytes.len() as u32;
            self.bytes.extend_from_slice(value);
            (start, self.bytes.len() as u32)
        });
        match self.slots.iter_mut().find(|(slot, _)| *slot == id.0) {
            Some(slot) => slot.1 = range,
            None => self.slots.push((id.0, range)),
        }
        self.reclaim();
    }

    /// Forgets `id`: it will be computed anew.
    pub fn forget(&mut self, id: VarId) {
        self.slots.retain(|(slot, _)| *slot != id.0);
    }

    /// Forgets everything; keeps the memory.
    pub fn clear(&mut self) {
        self.slots.clear();
        self.bytes.clear();
    }

    /// Drops bytes of overwritten values once they are the larger part: a `set` in a rewrite loop must not grow.
    fn reclaim(&mut self) {
        const BYTES_KEPT_MIN: usize = 4096;
        let used: usize = self.slots.iter().filter_map(|(_, r)| *r).map(|(s, e)| (e - s) as usize).sum();
        if self.bytes.len() > BYTES_KEPT_MIN && used < self.bytes.len() / 2 {
            let old = std::mem::take(&mut self.bytes);
            for range in self.slots.iter_mut().filter_map(|(_, range)| range.as_mut()) {
                let start = self.bytes.len() as u32;
                self.bytes.extend_from_slice(&old[range.0 as usize..range.1 as usize]);
                *range = (start, self.bytes.len() as u32);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overwritten_values_do_not_pile_up() {
        let mut values = Values::default();
        values.put(VarId(7), Some(b"kept"));
        for n in 0..10_000u32 {
            values.put(VarId(1), Some(format!("value {n}").as_bytes()));
        }
        assert_eq!(values.get(VarId(1)), Value::Found(b"value 9999"));
        assert_eq!(values.get(VarId(7)), Value::Found(b"kept"));
        assert!(values.bytes.len() < 10_000);
        values.put(VarId(1), None);
        assert_eq!(values.get(VarId(1)), Value::Missing);
        values.forget(VarId(1));
        assert_eq!(values.get(VarId(1)), Value::Unset);
    }
}
