//! Huffman coding of strings (RFC 7541 section 5.2).
//!
//! Decoding walks the code tree four bits at a time through a table made at compile time: a state is an inner node of the
//! tree, an entry says where four more bits lead and which byte they complete (the shortest code has five bits, so at most
//! one).

use super::Error;
use super::huffman_table::CODES;

/// Inner nodes of the tree.
const STATES: usize = 256;
/// Mark of an entry that leads into EOS, which must not occur.
const FAIL: u8 = 4;
/// Mark of an entry that completes a byte.
const SYMBOL: u8 = 1;
/// Mark of an entry after which the string may end: the bits since the last byte are the most significant bits of EOS.
const MAY_END: u8 = 2;

#[derive(Clone, Copy)]
struct Entry {
    next: u8,
    flags: u8,
    symbol: u8,
}

static TABLE: [[Entry; 16]; STATES] = build();

/// Children of inner nodes: below `STATES` an inner node, from `LEAF` on a symbol.
const LEAF: u16 = 0x1000;

const fn tree() -> [[u16; 2]; STATES] {
    let mut nodes = [[u16::MAX; 2]; STATES];
    let mut used = 1;
    let mut symbol = 0;
    while symbol < CODES.len() {
        let (code, len) = CODES[symbol];
        let mut node = 0;
        let mut bit = len;
        while bit > 1 {
            bit -= 1;
            let side = ((code >> bit) & 1) as usize;
            if nodes[node][side] == u16::MAX {
                nodes[node][side] = used;
                used += 1;
            }
            node = nodes[node][side] as usize;
        }
        nodes[node][(code & 1) as usize] = LEAF + symbol as u16;
        symbol += 1;
    }
    nodes
}

const fn build() -> [[Entry; 16]; STATES] {
    let nodes = tree();
    let may_end = endings(&nodes);
    let mut table = [[Entry { next: 0, flags: 0, symbol: 0 }; 16]; STATES];
    let mut state = 0;
    while state < STATES {
        let mut nibble = 0;
        while nibble < 16 {
            table[state][nibble] = step(&nodes, &may_end, state, nibble);
            nibble += 1;
        }
        state += 1;
    }
    table
}

/// States in which a string may end: up to seven bits of ones since the last byte.
const fn endings(nodes: &[[u16; 2]; STATES]) -> [bool; STATES] {
    let mut may_end = [false; STATES];
    may_end[0] = true;
    let mut node = 0;
    let mut bits = 0;
    while bits < 7 {
        node = nodes[node][1] as usize;
        may_end[node] = true;
        bits += 1;
    }
    may_end
}

const fn step(nodes: &[[u16; 2]; STATES], may_end: &[bool; STATES], state: usize, nibble: usize) -> Entry {
    let mut entry = Entry { next: 0, flags: 0, symbol: 0 };
    let mut node = state;
    let mut bit = 4;
    while bit > 0 {
        bit -= 1;
        let child = nodes[node][(nibble >> bit) & 1];
        if child < LEAF {
            node = child as usize;
            continue;
        }
        let symbol = child - LEAF;
        if symbol == 256 {
            entry.flags = FAIL;
            return entry;
        }
        entry.symbol = symbol as u8;
        entry.flags |= SYMBOL;
        node = 0;
    }
    entry.next = node as u8;
    if may_end[node] {
        entry.flags |= MAY_END;
    }
    entry
}

/// Appends the decoded `input` to `out`.
pub(super) fn decode(input: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let mut state = 0u8;
    let mut may_end = true;
    for &byte in input {
        for nibble in [byte >> 4, byte & 15] {
            let entry = TABLE[state as usize][nibble as usize];
            if entry.flags & FAIL != 0 {
                return Err(Error::Huffman);
            }
            if entry.flags & SYMBOL != 0 {
                out.push(entry.symbol);
            }
            state = entry.next;
            may_end = entry.flags & MAY_END != 0;
        }
    }
    if may_end { Ok(()) } else { Err(Error::Huffman) }
}

/// Length of `input` once encoded, bytes.
pub(super) fn encoded_len(input: &[u8]) -> usize {
    let bits: usize = input.iter().map(|&byte| usize::from(CODES[byte as usize].1)).sum();
    bits.div_ceil(8)
}

/// Appends the encoded `input` to `out`.
pub(super) fn encode(input: &[u8], out: &mut Vec<u8>) {
    let mut pending = 0u64;
    let mut bits = 0u32;
    for &byte in input {
        let (code, len) = CODES[byte as usize];
        pending = pending << len | u64::from(code);
        bits += u32::from(len);
        while bits >= 8 {
            bits -= 8;
            out.push((pending >> bits) as u8);
        }
    }
    if bits > 0 {
        let ones = (1u64 << (8 - bits)) - 1;
        out.push((pending << (8 - bits) | ones) as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_of_the_rfc() {
        let mut out = Vec::new();
        encode(b"www.example.com", &mut out);
        assert_eq!(out, [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff]);
        assert_eq!(out.len(), encoded_len(b"www.example.com"));
        let mut back = Vec::new();
        decode(&out, &mut back).unwrap();
        assert_eq!(back, b"www.example.com");
    }

    #[test]
    fn padding_is_checked() {
        let decode = |input: &[u8]| decode(input, &mut Vec::new());
        assert_eq!(decode(&[0xff]), Err(Error::Huffman), "eight bits of padding");
        assert_eq!(decode(&[0xff, 0xff, 0xff, 0xff]), Err(Error::Huffman), "EOS");
        assert_eq!(decode(&[0x00]), Err(Error::Huffman), "padding of zeros");
        assert_eq!(decode(&[0x07]), Ok(()), "'0' with three ones");
    }

    proptest::proptest! {
        #[test]
        fn what_is_encoded_is_decoded(input: Vec<u8>) {
            let (mut coded, mut back) = (Vec::new(), Vec::new());
            encode(&input, &mut coded);
            proptest::prop_assert_eq!(coded.len(), encoded_len(&input));
            decode(&coded, &mut back).unwrap();
            proptest::prop_assert_eq!(back, input);
        }
    }
}
