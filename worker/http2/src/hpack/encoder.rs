//! Encoding header blocks.
//!
//! Strings go out as they are: Huffman coding would cost more time here than the bytes it saves cost the network. What
//! repeats on a connection ([`Encoder::repeated`]) goes into the dynamic table and is one octet from then on.

use super::{TABLE_SIZE_DEFAULT, huffman, integer, static_table, table::Table};

/// The encoding side of a connection.
#[derive(Debug)]
pub struct Encoder {
    table: Table,
    /// A table size update is due before the next field: the smallest size since the last block.
    resized: Option<usize>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

/// Largest table we keep for encoding, whatever the peer allows: it holds few fields.
const TABLE_SIZE_MAX: usize = TABLE_SIZE_DEFAULT;
/// Entries that are searched for a repeated field.
const SEARCH_MAX: usize = 32;
/// Values longer than this are Huffman-coded when that makes them shorter.
const PLAIN_BYTES_MAX: usize = 256;

impl Encoder {
    /// An encoder at the start of a connection.
    pub fn new() -> Self {
        Self { table: Table::new(TABLE_SIZE_DEFAULT), resized: None }
    }

    /// The peer's SETTINGS_HEADER_TABLE_SIZE changed.
    pub fn resize(&mut self, size_max: usize) {
        let size = size_max.min(TABLE_SIZE_MAX);
        if size != self.table.size_max() || self.resized.is_some() {
            self.resized = Some(self.resized.map_or(size, |smallest| smallest.min(size)));
            self.table.resize(size);
        }
    }

    /// Begins a block: writes table size updates that are due.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        if let Some(smallest) = self.resized.take() {
            if smallest < self.table.size_max() {
                integer::write(out, 0x20, 5, smallest);
            }
            integer::write(out, 0x20, 5, self.table.size_max());
        }
    }

    /// `:status`.
    pub fn status(&mut self, out: &mut Vec<u8>, status: u16) {
        let index = match status {
            200 => 8,
            204 => 9,
            206 => 10,
            304 => 11,
            400 => 12,
            404 => 13,
            500 => 14,
            _ => {
                let digits = [
                    b'0' + (status / 100 % 10) as u8,
                    b'0' + (status / 10 % 10) as u8,
                    b'0' + (status % 10) as u8,
                ];
                out.push(0x08);
                out.push(3);
                out.extend_from_slice(&digits);
                return;
            }
        };
        out.push(0x80 | index);
    }

    /// A field that changes from message to message. `name` is in lower case.
    pub fn field(&mut self, out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
        Self::literal(out, 0x00, 4, name, value);
    }

    /// A field that must never be put into a table on its way (RFC 7541 section 7.1.3).
    pub fn sensitive(&mut self, out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
        Self::literal(out, 0x10, 4, name, value);
    }

    /// A field whose value is likely to come again on this connection. `name` is in lower case.
    pub fn repeated(&mut self, out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
        for index in 0..self.table.len().min(SEARCH_MAX) {
            if self.table.get(index) == Some((name, value)) {
                integer::write(out, 0x80, 7, static_table::LEN + 1 + index);
                return;
            }
        }
        // an entry that takes a large part of the table pushes out what is used more
        if name.len() + value.len() > self.table.size_max() / 8 {
            return Self::literal(out, 0x00, 4, name, value);
        }
        Self::literal(out, 0x40, 6, name, value);
        self.table.insert(name, value);
    }

    /// `:method`, `:scheme`, `:authority`, `:path` of a request.
    pub fn request(
        &mut self,
        out: &mut Vec<u8>,
        method: &[u8],
        scheme: &[u8],
        authority: &[u8],
        path: &[u8],
    ) {
        match method {
            b"GET" => out.push(0x82),
            b"POST" => out.push(0x83),
            _ => Self::indexed_name(out, 0x00, 4, 2, method),
        }
        match scheme {
            b"http" => out.push(0x86),
            b"https" => out.push(0x87),
            _ => Self::indexed_name(out, 0x00, 4, 6, scheme),
        }
        match path {
            b"/" => out.push(0x84),
            _ => Self::indexed_name(out, 0x00, 4, 4, path),
        }
        if !authority.is_empty() {
            self.repeated(out, b":authority", authority);
        }
    }

    fn literal(out: &mut Vec<u8>, high: u8, bits: u32, name: &[u8], value: &[u8]) {
        debug_assert!(!name.iter().any(u8::is_ascii_uppercase), "names are in lower case");
        let index = if name == b":authority" { Some(1) } else { static_table::name_index(name) };
        match index {
            Some(index) => Self::indexed_name(out, high, bits, index, value),
            None => {
                out.push(high);
                string(out, name);
                string(out, value);
            }
        }
    }

    fn indexed_name(out: &mut Vec<u8>, high: u8, bits: u32, index: usize, value: &[u8]) {
        integer::write(out, high, bits, index);
        string(out, value);
    }
}

fn string(out: &mut Vec<u8>, text: &[u8]) {
    if text.len() > PLAIN_BYTES_MAX {
        let coded = huffman::encoded_len(text);
        if coded < text.len() {
            integer::write(out, 0x80, 7, coded);
            return huffman::encode(text, out);
        }
    }
    integer::write(out, 0, 7, text.len());
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::super::{Decoder, Fields};
    use super::*;

    #[test]
    fn repeated_fields_become_one_octet() {
        let mut encoder = Encoder::new();
        let mut decoder = Decoder::new(TABLE_SIZE_DEFAULT);
        let mut lens = Vec::new();
        for _ in 0..2 {
            let (mut block, mut fields) = (Vec::new(), Fields::new());
            encoder.begin(&mut block);
            encoder.status(&mut block, 200);
            encoder.repeated(&mut block, b"server", b"uresty");
            encoder.repeated(&mut block, b"date", b"Mon, 01 Jan 2026 00:00:00 GMT");
            decoder.decode(&block, &mut fields, 4096).unwrap();
            assert_eq!(fields.get(b":status"), Some(&b"200"[..]));
            assert_eq!(fields.get(b"date"), Some(&b"Mon, 01 Jan 2026 00:00:00 GMT"[..]));
            lens.push(block.len());
        }
        assert_eq!(lens[1], 3);
    }

    #[test]
    fn a_smaller_table_is_announced() {
        let mut encoder = Encoder::new();
        let mut block = Vec::new();
        encoder.repeated(&mut block, b"server", b"uresty");
        encoder.resize(0);
        encoder.resize(100);
        block.clear();
        encoder.begin(&mut block);
        assert_eq!(block, [0x20, 0x3f, 69], "down to 0, then up to 100");
        encoder.repeated(&mut block, b"server", b"uresty");
        let mut decoder = Decoder::new(TABLE_SIZE_DEFAULT);
        decoder.decode(&block, &mut Fields::new(), 4096).unwrap();
    }

    proptest::proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            fields in proptest::collection::vec(("[a-z][a-z0-9-]{0,20}", proptest::collection::vec(0u8.., 0..400), 0..3), 0..20),
            sizes in proptest::collection::vec(0usize..5000, 0..3),
        ) {
            let mut encoder = Encoder::new();
            let mut decoder = Decoder::new(TABLE_SIZE_DEFAULT);
            for round in 0..3 {
                if let Some(size) = sizes.get(round) {
                    encoder.resize(*size);
                }
                let (mut block, mut back) = (Vec::new(), Fields::new());
                encoder.begin(&mut block);
                for (name, value, kind) in &fields {
                    match kind {
                        0 => encoder.field(&mut block, name.as_bytes(), value),
                        1 => encoder.repeated(&mut block, name.as_bytes(), value),
                        _ => encoder.sensitive(&mut block, name.as_bytes(), value),
                    }
                }
                decoder.decode(&block, &mut back, usize::MAX).unwrap();
                let expected: Vec<_> = fields.iter().map(|(name, value, _)| (name.as_bytes(), &value[..])).collect();
                proptest::prop_assert_eq!(back.iter().collect::<Vec<_>>(), expected);
            }
        }
    }
}
