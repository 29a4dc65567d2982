//! Integers with a prefix (RFC 7541 section 5.1).

use super::Error;

/// Largest integer that is read: far above any index or length that can be right.
const MAX: usize = 1 << 24;

/// Reads an integer whose first octet is at `at` and has a prefix of `bits` bits; moves `at` behind it.
pub(super) fn read(input: &[u8], at: &mut usize, bits: u32) -> Result<usize, Error> {
    let full = (1usize << bits) - 1;
    let first = usize::from(*input.get(*at).ok_or(Error::Truncated)?) & full;
    *at += 1;
    if first < full {
        return Ok(first);
    }
    let mut value = full;
    let mut shift = 0;
    loop {
        let octet = *input.get(*at).ok_or(Error::Truncated)?;
        *at += 1;
        value += usize::from(octet & 0x7f) << shift;
        if value > MAX {
            return Err(Error::Integer);
        }
        if octet & 0x80 == 0 {
            return Ok(value);
        }
        shift += 7;
        // leading zeros beyond what any value needs
        if shift > 28 {
            return Err(Error::Integer);
        }
    }
}

/// Appends `value` with a prefix of `bits` bits; the bits above the prefix are `high`.
pub(super) fn write(out: &mut Vec<u8>, high: u8, bits: u32, value: usize) {
    let full = (1usize << bits) - 1;
    if value < full {
        out.push(high | value as u8);
        return;
    }
    out.push(high | full as u8);
    let mut rest = value - full;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_of_the_rfc() {
        let mut out = Vec::new();
        write(&mut out, 0, 5, 10);
        write(&mut out, 0, 5, 1337);
        assert_eq!(out, [10, 31, 154, 10]);
        let mut at = 0;
        assert_eq!(read(&out, &mut at, 5), Ok(10));
        assert_eq!(read(&out, &mut at, 5), Ok(1337));
        assert_eq!(read(&out, &mut at, 5), Err(Error::Truncated));
    }

    #[test]
    fn endless_integers_are_refused() {
        let zeros = [0xff, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80];
        assert_eq!(read(&zeros, &mut 0, 7), Err(Error::Integer));
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0xff], &mut 0, 7), Err(Error::Integer));
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read(value in 0usize..MAX, bits in 4u32..8) {
            let mut out = Vec::new();
            write(&mut out, 0, bits, value);
            let mut at = 0;
            proptest::prop_assert_eq!(read(&out, &mut at, bits), Ok(value));
            proptest::prop_assert_eq!(at, out.len());
        }
    }
}
