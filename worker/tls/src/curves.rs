//! Groups for key exchange by OpenSSL's names.

use rustls::NamedGroup;
use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::kx_group;

use crate::{Error, Result};

/// Groups in order of preference.
#[derive(Debug, Clone)]
pub struct Curves(Vec<&'static dyn SupportedKxGroup>);

impl Default for Curves {
    /// The hybrid with ML-KEM first: recorded traffic stays secret when quantum computers come.
    fn default() -> Self {
        Self(vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1])
    }
}

impl Curves {
    /// Reads `ssl_ecdh_curve`: `auto`, or names joined by `:`.
    ///
    /// # Errors
    /// A group is unknown or not supported.
    pub fn parse(text: &str) -> Result<Self> {
        if text.eq_ignore_ascii_case("auto") {
            return Ok(Self::default());
        }
        let find = |name: &str| group(name).ok_or_else(|| Error::Curve(name.into()));
        let found: Result<Vec<_>> = text.split(':').map(find).collect();
        Ok(Self(found?))
    }

    pub(crate) fn groups(&self) -> Vec<&'static dyn SupportedKxGroup> {
        self.0.clone()
    }
}

fn group(name: &str) -> Option<&'static dyn SupportedKxGroup> {
    Some(match name.to_ascii_lowercase().as_str() {
        "x25519mlkem768" => kx_group::X25519MLKEM768,
        "secp256r1mlkem768" => kx_group::SECP256R1MLKEM768,
        "mlkem768" => kx_group::MLKEM768,
        "mlkem1024" => kx_group::MLKEM1024,
        "x25519" => kx_group::X25519,
        "prime256v1" | "secp256r1" | "p-256" => kx_group::SECP256R1,
        "secp384r1" | "p-384" => kx_group::SECP384R1,
        _ => return None,
    })
}

/// A group as `$ssl_curve` prints it: OpenSSL's short name, or its number.
pub fn openssl_name(group: NamedGroup) -> std::borrow::Cow<'static, str> {
    let name = match u16::from(group) {
        23 => "prime256v1",
        24 => "secp384r1",
        25 => "secp521r1",
        29 => "X25519",
        30 => "X448",
        256 => "ffdhe2048",
        257 => "ffdhe3072",
        258 => "ffdhe4096",
        259 => "ffdhe6144",
        260 => "ffdhe8192",
        0x200 => "MLKEM512",
        0x201 => "MLKEM768",
        0x202 => "MLKEM1024",
        0x11eb => "SecP256r1MLKEM768",
        0x11ec => "X25519MLKEM768",
        0x11ed => "SecP384r1MLKEM1024",
        other => return format!("0x{other:04x}").into(),
    };
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_openssls() {
        assert_eq!(Curves::parse("auto").unwrap().0[0].name(), NamedGroup::X25519MLKEM768);
        assert_eq!(Curves::parse("secp384r1:X25519").unwrap().0.len(), 2);
        assert!(Curves::parse("secp521r1").is_err());
        assert_eq!(openssl_name(NamedGroup::from(0x1234)), "0x1234");
    }
}
