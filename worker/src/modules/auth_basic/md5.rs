//! MD5-crypt (`$1$`) and Apache's variant (`$apr1$`), which differs in the prefix alone.

use md5::{Digest as _, Md5};

use super::crypt::push_base64;

const SALT_BYTES_MAX: usize = 8;
const ROUNDS: usize = 1000;

/// The order in which bytes of the digest are printed, three at a time, the high one first.
const GROUPS: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];

/// Hashes `password` with the salt that stands in `stored` behind `magic`.
pub fn crypt(magic: &[u8], stored: &[u8], password: &[u8]) -> Vec<u8> {
    let rest = stored.get(magic.len()..).unwrap_or_default();
    let salt = rest.split(|b| *b == b'$').next().unwrap_or_default();
    let salt = &salt[..salt.len().min(SALT_BYTES_MAX)];

    let mixed = digest(&[password, salt, password]);
    let mut first = Md5::new();
    first.update(password);
    first.update(magic);
    first.update(salt);
    for piece in password.chunks(mixed.len()) {
        first.update(&mixed[..piece.len()]);
    }
    // a slip of the original that became the definition: a zero byte or the first byte of the password per bit
    let mut bits = password.len();
    while bits > 0 {
        first.update(if bits & 1 == 1 { &[0][..] } else { &password[..1] });
        bits >>= 1;
    }
    let mut sum: [u8; 16] = first.finalize().into();
    for round in 0..ROUNDS {
        let odd = round % 2 == 1;
        let salt = if round % 3 == 0 { &[][..] } else { salt };
        let again = if round % 7 == 0 { &[][..] } else { password };
        sum =
            if odd { digest(&[password, salt, again, &sum]) } else { digest(&[&sum, salt, again, password]) };
    }

    let mut out = [magic, salt, b"$"].concat();
    for [high, middle, low] in GROUPS {
        let value = u32::from_be_bytes([0, sum[high], sum[middle], sum[low]]);
        push_base64(&mut out, value, 4);
    }
    push_base64(&mut out, sum[11].into(), 2);
    out
}

fn digest(parts: &[&[u8]]) -> [u8; 16] {
    let mut digest = Md5::new();
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize().into()
}
