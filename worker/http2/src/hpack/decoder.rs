//! Decoding header blocks (RFC 7541 section 3).

use super::{Error, Fields, huffman, integer, static_table, table::Table};

/// The decoding side of a connection.
#[derive(Debug)]
pub struct Decoder {
    table: Table,
    /// The size we announced: the limit of table size updates.
    size_max: usize,
    /// Strings longer than this are decoded and forgotten.
    scratch: Vec<u8>,
}

impl Decoder {
    /// A decoder for a peer that was told `size_max` as SETTINGS_HEADER_TABLE_SIZE.
    pub fn new(size_max: usize) -> Self {
        Self { table: Table::new(size_max), size_max, scratch: Vec::new() }
    }

    /// Decodes a complete block behind what `fields` holds. A list larger than `list_max` is cut and marked, but decoded to
    /// its end: the table must stay what the peer believes it to be.
    pub fn decode(&mut self, block: &[u8], fields: &mut Fields, list_max: usize) -> Result<(), Error> {
        let mut at = 0;
        let mut updates_allowed = 2;
        while at < block.len() {
            let first = block[at];
            if first & 0x80 != 0 {
                let index = integer::read(block, &mut at, 7)?;
                self.indexed(index, fields, list_max)?;
            } else if first & 0xe0 == 0x20 {
                if updates_allowed == 0 {
                    return Err(Error::TableSize);
                }
                updates_allowed -= 1;
                let size = integer::read(block, &mut at, 5)?;
                if size > self.size_max {
                    return Err(Error::TableSize);
                }
                self.table.resize(size);
                continue;
            } else {
                let indexing = first & 0x40 != 0;
                let index = integer::read(block, &mut at, if indexing { 6 } else { 4 })?;
                self.literal(block, &mut at, index, indexing, fields, list_max)?;
            }
            updates_allowed = 0;
        }
        Ok(())
    }

    fn lookup(table: &Table, index: usize) -> Result<(&[u8], &[u8]), Error> {
        let index = index.checked_sub(1).ok_or(Error::Index)?;
        match static_table::ENTRIES.get(index) {
            Some(entry) => Ok(*entry),
            None => table.get(index - static_table::LEN).ok_or(Error::Index),
        }
    }

    fn indexed(&mut self, index: usize, fields: &mut Fields, list_max: usize) -> Result<(), Error> {
        let (name, value) = Self::lookup(&self.table, index)?;
        if fields.fits(name.len() + value.len(), list_max) {
            fields.push(name, value);
        }
        Ok(())
    }

    fn literal(
        &mut self,
        block: &[u8],
        at: &mut usize,
        index: usize,
        indexing: bool,
        fields: &mut Fields,
        list_max: usize,
    ) -> Result<(), Error> {
        // once the list is full the strings are only needed for the table
        let kept = !fields.is_overflowed();
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let arena = if kept { fields.arena() } else { &mut scratch };
        let start = arena.len();
        let result = Self::strings(&self.table, block, at, index, arena);
        let lens = match result {
            Ok(lens) => lens,
            Err(error) => {
                arena.truncate(start);
                self.scratch = scratch;
                return Err(error);
            }
        };
        let (name_len, value_len) = lens;
        if indexing {
            let text = if kept { fields.slice(start..start + name_len + value_len) } else { &scratch[..] };
            let (name, value) = text.split_at(name_len);
            self.table.insert(name, value);
        }
        let fits = fields.fits(name_len + value_len, list_max);
        if kept {
            if fits {
                fields.enlist(start, name_len, value_len);
            } else {
                fields.arena().truncate(start);
            }
        }
        self.scratch = scratch;
        Ok(())
    }

    /// Writes name and value to the end of `arena`; returns their lengths.
    fn strings(
        table: &Table,
        block: &[u8],
        at: &mut usize,
        index: usize,
        arena: &mut Vec<u8>,
    ) -> Result<(usize, usize), Error> {
        let start = arena.len();
        if index == 0 {
            string(block, at, arena)?;
        } else {
            arena.extend_from_slice(Self::lookup(table, index)?.0);
        }
        let name_len = arena.len() - start;
        string(block, at, arena)?;
        Ok((name_len, arena.len() - start - name_len))
    }
}

/// Reads one string (section 5.2) behind what `out` holds.
fn string(block: &[u8], at: &mut usize, out: &mut Vec<u8>) -> Result<(), Error> {
    let coded = block.get(*at).ok_or(Error::Truncated)? & 0x80 != 0;
    let len = integer::read(block, at, 7)?;
    let end = at.checked_add(len).filter(|&end| end <= block.len()).ok_or(Error::Truncated)?;
    let text = &block[*at..end];
    *at = end;
    if coded {
        return huffman::decode(text, out);
    }
    out.extend_from_slice(text);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<(String, String)>, Error> {
        let mut fields = Fields::new();
        decoder.decode(block, &mut fields, 4096)?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Ok(fields.iter().map(|(name, value)| (text(name), text(value))).collect())
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn requests_of_appendix_c4() {
        let mut decoder = Decoder::new(4096);
        let first = [
            0x82, 0x86, 0x84, 0x41, 0x8c, 0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4,
            0xff,
        ];
        let mut expected =
            vec![(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")];
        assert_eq!(decode(&mut decoder, &first), Ok(pairs(&expected)));
        let second = [0x82, 0x86, 0x84, 0xbe, 0x58, 0x86, 0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf];
        expected.push(("cache-control", "no-cache"));
        assert_eq!(decode(&mut decoder, &second), Ok(pairs(&expected)));
        assert_eq!(decoder.table.len(), 2);
    }

    #[test]
    fn faults() {
        let fails = |block: &[u8]| decode(&mut Decoder::new(4096), block).unwrap_err();
        assert_eq!(fails(&[0x80]), Error::Index, "index 0");
        assert_eq!(fails(&[0xbe]), Error::Index, "beyond the tables");
        assert_eq!(fails(&[0x40]), Error::Truncated);
        assert_eq!(fails(&[0x40, 0x01]), Error::Truncated);
        assert_eq!(fails(&[0x00, 0x81, 0xff, 0x00]), Error::Huffman);
        assert_eq!(fails(&[0x3f, 0xe2, 0x1f]), Error::TableSize, "4097");
        assert_eq!(fails(&[0x82, 0x20]), Error::TableSize, "behind a field");
        assert_eq!(decode(&mut Decoder::new(4096), &[0x20, 0x3f, 0xe1, 0x1f, 0x82]).unwrap().len(), 1);
    }

    #[test]
    fn a_bomb_costs_nothing() {
        let mut decoder = Decoder::new(4096);
        let mut block = vec![0x40, 0x01, b'x', 0x7f, 0x81, 0x1e];
        block.extend(std::iter::repeat_n(b'v', 127 + 0x81 - 0x80 + (0x1e << 7)));
        block.extend(std::iter::repeat_n(0xbe, 16_000));
        let mut fields = Fields::new();
        decoder.decode(&block, &mut fields, 16_384).unwrap();
        assert!(fields.is_overflowed() && fields.bytes_len() <= 16_384);
        assert!(fields.size() > 16_000 * 3_900, "all of it was seen");
        assert_eq!(decoder.table.len(), 1, "and the table is as the peer believes");
    }

    impl Fields {
        fn bytes_len(&self) -> usize {
            self.slice(0..0).len() + self.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
        }
    }
}
