//! SHA-256-crypt (`$5$`) and SHA-512-crypt (`$6$`): Drepper's specification.

use sha_crypt::{Params, sha256_crypt, sha512_crypt};

use super::crypt::push_base64;

const SALT_BYTES_MAX: usize = 16;
const ROUNDS_DEFAULT: u32 = 5000;
const ROUNDS: std::ops::RangeInclusive<u32> = 1000..=999_999_999;

/// Hashes `password` with what stands in `stored`; `None`: its parameters make no sense.
pub fn crypt(stored: &[u8], password: &[u8]) -> Option<Vec<u8>> {
    let long = stored.starts_with(b"$6$");
    let mut out = stored.get(..3)?.to_vec();
    let mut parts = stored[3..].split(|b| *b == b'$');
    let mut salt = parts.next()?;
    let mut rounds = ROUNDS_DEFAULT;
    if let Some(text) = salt.strip_prefix(b"rounds=") {
        let wanted: u64 = std::str::from_utf8(text).ok()?.parse().ok()?;
        rounds = u32::try_from(wanted).unwrap_or(u32::MAX).clamp(*ROUNDS.start(), *ROUNDS.end());
        out.extend_from_slice(format!("rounds={rounds}$").as_bytes());
        salt = parts.next()?;
    }
    let salt = &salt[..salt.len().min(SALT_BYTES_MAX)];
    out.extend_from_slice(salt);
    out.push(b'$');
    let params = Params::new(rounds).ok()?;
    if long {
        print512(&mut out, &sha512_crypt(password, salt, params));
    } else {
        print256(&mut out, &sha256_crypt(password, salt, params));
    }
    Some(out)
}

/// Bytes are printed in threes whose members lie a third of the digest apart, each group beginning one third further.
fn print256(out: &mut Vec<u8>, sum: &[u8; 32]) {
    let (mut a, mut b, mut c) = (0, 10, 20);
    for _ in 0..10 {
        push_base64(out, u32::from_be_bytes([0, sum[a], sum[b], sum[c]]), 4);
        (a, b, c) = (c + 1, a + 1, b + 1);
    }
    push_base64(out, u32::from_be_bytes([0, 0, sum[31], sum[30]]), 3);
}

fn print512(out: &mut Vec<u8>, sum: &[u8; 64]) {
    let (mut a, mut b, mut c) = (0, 21, 42);
    for _ in 0..21 {
        push_base64(out, u32::from_be_bytes([0, sum[a], sum[b], sum[c]]), 4);
        (a, b, c) = (b + 1, c + 1, a + 1);
    }
    push_base64(out, sum[63].into(), 2);
}
