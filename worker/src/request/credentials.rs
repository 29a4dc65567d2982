//! User name and password of Basic authentication (RFC 7617), as `$remote_user` and `auth_basic` see them.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http1::Method;

use super::Request;

/// nginx takes what is left over after the last whole byte for nothing.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

impl Request {
    /// Name and password the client sent; `None`: none, or nothing that can be understood.
    pub fn basic_credentials(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let name: &[u8] =
            if self.method == Method::Connect { b"Proxy-Authorization" } else { b"Authorization" };
        parse(self.headers.get(name)?)
    }
}

fn parse(value: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (scheme, encoded) = value.split_at_checked(b"Basic ".len())?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let start = encoded.iter().position(|b| *b != b' ')?;
    let mut user = LENIENT.decode(&encoded[start..]).ok()?;
    let colon = memchr::memchr(b':', &user).filter(|at| *at > 0)?;
    let password = user.split_off(colon + 1);
    user.truncate(colon);
    Some((user, password))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_and_what_is_not_a_login() {
        let login = |user: &str, password: &str| Some((user.into(), password.into()));
        for (value, expected) in [
            ("Basic dXNlcjpwYXNz", login("user", "pass")),
            ("bAsIc   dXNlcjpwYTpzcw==", login("user", "pa:ss")),
            ("Basic dXNlcjpwYTpzcw", login("user", "pa:ss")),
            ("Basic dXNlcjo=", login("user", "")),
            ("Basic OnBhc3M=", None),
            ("Basic dXNlcg==", None),
            ("Basic", None),
            ("Basic   ", None),
            ("Basic !!!!", None),
            ("Bearer dXNlcjpwYXNz", None),
        ] {
            assert_eq!(parse(value.as_bytes()), expected, "{value}");
        }
    }
}
