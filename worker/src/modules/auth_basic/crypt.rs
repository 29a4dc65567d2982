//! The kinds of password hashes, and comparing a password with one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use sha1::{Digest as _, Sha1};

use super::{des, md5, sha};

/// How a stored hash was made. The names are those of its prefixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `{PLAIN}password`: no hash at all.
    Plain,
    /// `{SHA}`: base64 of SHA-1.
    Sha,
    /// `{SSHA}`: base64 of salted SHA-1 and the salt.
    Ssha,
    /// `$apr1$`: Apache's variant of MD5-crypt.
    Apr1,
    /// `$1$`: MD5-crypt.
    Md5,
    /// `$5$`: SHA-256-crypt.
    Sha256,
    /// `$6$`: SHA-512-crypt.
    Sha512,
    /// `$2a$`, `$2b$`, `$2x$`, `$2y$`: bcrypt.
    Bcrypt,
    /// Two characters of salt and eleven of hash: the first crypt of Unix.
    Des,
}

/// libcrypt takes no longer passwords.
const PASSWORD_BYTES_MAX: usize = 512;

const PREFIXES: [(&[u8], Scheme); 12] = [
    (b"{PLAIN}", Scheme::Plain),
    (b"{SHA}", Scheme::Sha),
    (b"{SSHA}", Scheme::Ssha),
    (b"$apr1$", Scheme::Apr1),
    (b"$1$", Scheme::Md5),
    (b"$5$", Scheme::Sha256),
    (b"$6$", Scheme::Sha512),
    (b"$2a$", Scheme::Bcrypt),
    (b"$2b$", Scheme::Bcrypt),
    (b"$2x$", Scheme::Bcrypt),
    (b"$2y$", Scheme::Bcrypt),
    (b"", Scheme::Des),
];

impl Scheme {
    /// The kind of `stored`; `None`: nobody here can compute it.
    pub fn of(stored: &[u8]) -> Option<Self> {
        let (_, scheme) = PREFIXES.iter().find(|(prefix, _)| stored.starts_with(prefix))?;
        (*scheme != Scheme::Des || des::salt(stored).is_some()).then_some(*scheme)
    }

    /// Whether computing it takes long enough to be felt by other requests.
    pub fn is_expensive(self) -> bool {
        !matches!(self, Scheme::Plain | Scheme::Sha | Scheme::Ssha)
    }

    /// Whether `stored` was made from `password`.
    ///
    /// # Errors
    /// The parameters of the hash cannot be used.
    pub fn verify(self, stored: &[u8], password: &[u8]) -> Result<bool, String> {
        // C strings end at their first NUL
        let password = password.split(|b| *b == 0).next().unwrap_or_default();
        if self.is_expensive() && password.len() > PASSWORD_BYTES_MAX {
            return Ok(false);
        }
        let computed = match self {
            Scheme::Plain => [b"{PLAIN}", password].concat(),
            Scheme::Sha => encode(b"{SHA}", &Sha1::digest(password)),
            Scheme::Ssha => ssha(stored, password),
            Scheme::Apr1 => md5::crypt(b"$apr1$", stored, password),
            Scheme::Md5 => md5::crypt(b"$1$", stored, password),
            Scheme::Sha256 | Scheme::Sha512 => sha::crypt(stored, password).ok_or("invalid parameters")?,
            Scheme::Bcrypt => return bcrypt(stored, password),
            Scheme::Des => des::crypt(stored, password).ok_or("invalid salt")?,
        };
        Ok(same(&computed, stored))
    }
}

fn bcrypt(stored: &[u8], password: &[u8]) -> Result<bool, String> {
    let stored = std::str::from_utf8(stored).map_err(|error| error.to_string())?;
    ::bcrypt::verify(password, stored).map_err(|error| error.to_string())
}

/// Compares in a time that does not tell where a difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

fn encode(prefix: &[u8], digest: &[u8]) -> Vec<u8> {
    [prefix, STANDARD.encode(digest).as_bytes()].concat()
}

/// As nginx: a hash that is too short or not base64 is taken to have no salt.
fn ssha(stored: &[u8], password: &[u8]) -> Vec<u8> {
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let engine = GeneralPurpose::new(&base64::alphabet::STANDARD, lenient);
    let decoded = engine.decode(&stored[b"{SSHA}".len()..]).unwrap_or_default();
    let salt = decoded.get(SHA1_BYTES..).unwrap_or_default();
    let mut digest = Sha1::new();
    digest.update(password);
    digest.update(salt);
    encode(b"{SSHA}", &[&digest.finalize()[..], salt].concat())
}

const SHA1_BYTES: usize = 20;

/// The alphabet of crypt's own base 64.
const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Appends the low `count * 6` bits of `value`, lowest first.
pub fn push_base64(out: &mut Vec<u8>, mut value: u32, count: usize) {
    for _ in 0..count {
        out.push(ALPHABET[(value & 63) as usize]);
        value >>= 6;
    }
}

/// The value of a character of that alphabet.
pub fn base64_value(byte: u8) -> Option<u8> {
    ALPHABET.iter().position(|b| *b == byte).and_then(|at| u8::try_from(at).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scheme_knows_its_own() {
        for (stored, password) in [
            ("{PLAIN}password", "password"),
            ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "password"),
            ("{SSHA}yI6cZwQadOA1e+/f+T+H3eCQQhRzYWx0", "password"),
            ("$apr1$salt$Xxd1irWT9ycqoYxGFn4cb.", "password"),
            ("$1$salt$qJH7.N4xYta3aEG/dfqo/0", "password"),
            ("$5$saltstring$OH4IDuTlsuTYPdED1gsuiRMyTAwNlRWyA6Xr3I4/dQ5", "password"),
            ("$5$rounds=1000$roundstoolow$C7LgBKoW9Cpd8uupMmg0Kv0Lud0icu6mTwa7mcvsVSC", "password"),
            (
                "$6$saltstring$adDbXsJjcDlq2662QPgd.tkSOVmnG9Tt3oXl4HR60SusC3AGjirnDenVZp3DGwLwqy6iYKCzannhaX9DR72nN1",
                "password",
            ),
            (
                "$6$rounds=1234$toolongsaltstrin$39fzf0aRYCFOqrpdWctYac4qvz.i4pPjglX07F3JyhmtLoZJjVYRKo6C/fxVIeVgD73IMbyABY5kalM8Tdd4C.",
                "p",
            ),
            ("$2y$04$abcdefghijklmnopqrstuughE8Ev8uGFaUgY2cNEySvxngrb/Jzdm", "password"),
            ("sa3tHJ3/KuYvI", "password"),
            ("./7H4fGCYxIHQ", "x"),
            ("Zzopu.mKRwhY.", "longer password"),
        ] {
            let scheme = Scheme::of(stored.as_bytes()).unwrap();
            let verify = |password: &str| scheme.verify(stored.as_bytes(), password.as_bytes());
            assert_eq!(verify(password), Ok(true), "{stored}");
            assert_eq!(verify("passwore"), Ok(false), "{stored}");
        }
    }

    #[test]
    fn broken_hashes_match_nothing() {
        for stored in
            ["$1$", "$apr1$", "{SSHA}_____wQadOA1e+/f+T+H3eCQQhRzYWx0", "{SSHA}Zm9vCg==", "{SHA}Zm9vCg=="]
        {
            let scheme = Scheme::of(stored.as_bytes()).unwrap();
            assert_eq!(scheme.verify(stored.as_bytes(), b"1"), Ok(false), "{stored}");
        }
        for stored in ["", "x", "$y$j9T$salt$hash", "*LOCKED"] {
            assert_eq!(Scheme::of(stored.as_bytes()), None, "{stored}");
        }
    }
}
