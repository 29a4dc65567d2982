//! Digests and message authentication codes.

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::Sha256;

use super::Call;
use super::encode::push_hex;

type Made = Result<(), String>;

/// `set_md5`.
pub(super) fn md5(call: &mut Call<'_>) -> Made {
    push_hex(call.out, &Md5::digest(&call.args[0]));
    Ok(())
}

/// `set_sha1`.
pub(super) fn sha1(call: &mut Call<'_>) -> Made {
    push_hex(call.out, &Sha1::digest(&call.args[0]));
    Ok(())
}

/// `set_hmac_sha1`.
pub(super) fn hmac_sha1(call: &mut Call<'_>) -> Made {
    let mut mac = Hmac::<Sha1>::new_from_slice(call.arg(0)).map_err(|error| error.to_string())?;
    mac.update(call.arg(1));
    call.out.extend_from_slice(&mac.finalize().into_bytes());
    Ok(())
}

/// `set_hmac_sha256`.
pub(super) fn hmac_sha256(call: &mut Call<'_>) -> Made {
    let mut mac = Hmac::<Sha256>::new_from_slice(call.arg(0)).map_err(|error| error.to_string())?;
    mac.update(call.arg(1));
    call.out.extend_from_slice(&mac.finalize().into_bytes());
    Ok(())
}
