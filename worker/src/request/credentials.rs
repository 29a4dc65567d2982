//! Who the client says it is.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http1::Known;

use super::Request;

/// Padding may be missing, and stray bits at the end are ignored: nginx's decoder is as lenient.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

impl Request {
    /// User name and password of an `Authorization: Basic` field (RFC 7617); `None` without one that can be read.
    pub fn basic_credentials(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let value = self.header(Known::Authorization)?;
        let (scheme, encoded) = value.split_at_checked(b"Basic ".len())?;
        if !scheme.eq_ignore_ascii_case(b"Basic ") {
            return None;
        }
        let mut user = LENIENT.decode(encoded.trim_ascii()).ok()?;
        let colon = memchr::memchr(b':', &user)?;
        let password = user.split_off(colon + 1);
        user.pop();
        Some((user, password))
    }
}
