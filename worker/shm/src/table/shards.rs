//! Several tables side by side, each with its own lock and slab, so that workers seldom meet.
//!
//! Small regions stay one table: there the memory is shared by all keys and the order of eviction is exact. Each of the tables of
//! a large one evicts on its own.

use super::Table;
use crate::{
    error::{Error, Result},
    hash::HashKey,
    map::Region,
};

/// One table is made for so many bytes.
const BYTES_PER_SHARD: usize = 1 << 20;
/// Tables there are at most. More would cost locality and gain nothing: a guarded section takes well under a microsecond.
const SHARDS_MAX: usize = 32;

/// A region cut into tables by the hash of the key.
#[derive(Debug)]
pub struct Shards {
    tables: Vec<Table>,
    hash: HashKey,
}

/// Where a key belongs.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The table.
    pub table: &'a Table,
    /// Its number.
    pub number: usize,
    pub(crate) hash: u32,
}

impl Shards {
    /// Makes empty tables over a zero-filled region, each with `reserve` bytes for the user.
    pub fn format(region: &Region, reserve: usize) -> Result<Self> {
        Self::format_sized(region, reserve, BYTES_PER_SHARD)
    }

    /// As [`format`](Self::format), one table for so many bytes: no entry can be larger than a table.
    pub fn format_sized(region: &Region, reserve: usize, bytes_per_shard: usize) -> Result<Self> {
        let key = HashKey::random();
        for part in Self::parts(region, bytes_per_shard)? {
            Table::format_with(&part, reserve, key)?;
        }
        Self::open_sized(region, bytes_per_shard)
    }

    /// The tables that [`format`](Self::format) made there.
    pub fn open(region: &Region) -> Result<Self> {
        Self::open_sized(region, BYTES_PER_SHARD)
    }

    /// The tables that [`format_sized`](Self::format_sized) made there.
    pub fn open_sized(region: &Region, bytes_per_shard: usize) -> Result<Self> {
        let parts = Self::parts(region, bytes_per_shard)?;
        let tables = parts.iter().map(Table::open).collect::<Result<Vec<_>>>()?;
        let first = tables.first().ok_or(Error::Mismatch("it holds no table"))?;
        Ok(Self { hash: first.hash, tables })
    }

    /// Where `key` belongs.
    #[inline]
    pub fn of(&self, key: &[u8]) -> Place<'_> {
        // All tables have one secret: the high half of the hash chooses the table, the low half the chain in it.
        let hash = self.hash.hash(key);
        let number = (hash >> 32) as usize & (self.tables.len() - 1);
        Place { table: &self.tables[number], number, hash: hash as u32 }
    }

    /// The table of this number.
    pub fn table(&self, number: usize) -> Result<&Table> {
        self.tables.get(number).ok_or(Error::NotFound)
    }

    /// All tables.
    pub fn iter(&self) -> impl Iterator<Item = &Table> {
        self.tables.iter()
    }

    /// Repairs every table whose holder is dead; how many there were.
    pub fn recover(&self) -> Result<usize> {
        let mut repaired = 0;
        for table in &self.tables {
            repaired += usize::from(table.recover()?);
        }
        Ok(repaired)
    }

    fn parts(region: &Region, bytes_per_shard: usize) -> Result<Vec<Region>> {
        let wanted = (region.len() / bytes_per_shard).clamp(1, SHARDS_MAX);
        let shards = 1 << wanted.ilog2();
        let len = region.len() / shards / 64 * 64;
        (0..shards).map(|i| region.part(i * len, len)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grow_with_the_region_and_spread_the_keys() {
        for (size, shards) in [(32 << 10, 1), (1 << 20, 1), (10 << 20, 8), (100 << 20, 32)] {
            let region = Region::anonymous(size).unwrap();
            let one = Shards::format(&region, 0).unwrap();
            assert_eq!(one.iter().count(), shards, "{size} bytes");
            let two = Shards::open(&region).unwrap();
            let mut used = std::collections::HashSet::new();
            for i in 0..1000u32 {
                let key = i.to_le_bytes();
                assert_eq!(one.of(&key).number, two.of(&key).number);
                used.insert(one.of(&key).number);
            }
            assert_eq!(used.len(), shards);
        }
    }
}
