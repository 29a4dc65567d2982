//! OpenSSL's cipher strings, and what of them there is.
//!
//! Six suites of TLS 1.2 and three of TLS 1.3 exist: with forward secrecy and authenticated encryption. A string that names
//! others as well is fine as long as it names one of these; nothing is made up where it names none.

use rustls::crypto::aws_lc_rs::cipher_suite as suite;
use rustls::{CipherSuite, SupportedCipherSuite};

use crate::{Error, Result};

/// The suites a cipher string allows, in its order.
#[derive(Debug, Clone)]
pub struct Ciphers {
    /// TLS 1.2.
    tls12: Vec<SupportedCipherSuite>,
    /// TLS 1.3: cipher strings do not speak of them, `ssl_conf_command Ciphersuites` does.
    tls13: Vec<SupportedCipherSuite>,
}

/// A suite with its OpenSSL name and what group keywords it belongs to.
struct Known {
    name: &'static str,
    suite: SupportedCipherSuite,
    keywords: &'static [&'static str],
}

const AES128: &[&str] = &["AES128", "AESGCM", "AES", "AES128-GCM-SHA256", "SHA256"];
const AES256: &[&str] = &["AES256", "AESGCM", "AES", "AES256-GCM-SHA384", "SHA384"];
const CHACHA: &[&str] = &["CHACHA20", "CHACHA20-POLY1305"];

static TLS12: [Known; 6] = [
    Known {
        name: "ECDHE-ECDSA-AES256-GCM-SHA384",
        suite: suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        keywords: AES256,
    },
    Known {
        name: "ECDHE-RSA-AES256-GCM-SHA384",
        suite: suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        keywords: AES256,
    },
    Known {
        name: "ECDHE-ECDSA-CHACHA20-POLY1305",
        suite: suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        keywords: CHACHA,
    },
    Known {
        name: "ECDHE-RSA-CHACHA20-POLY1305",
        suite: suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        keywords: CHACHA,
    },
    Known {
        name: "ECDHE-ECDSA-AES128-GCM-SHA256",
        suite: suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        keywords: AES128,
    },
    Known {
        name: "ECDHE-RSA-AES128-GCM-SHA256",
        suite: suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        keywords: AES128,
    },
];

static TLS13: [(&str, SupportedCipherSuite); 3] = [
    ("TLS_AES_256_GCM_SHA384", suite::TLS13_AES_256_GCM_SHA384),
    ("TLS_CHACHA20_POLY1305_SHA256", suite::TLS13_CHACHA20_POLY1305_SHA256),
    ("TLS_AES_128_GCM_SHA256", suite::TLS13_AES_128_GCM_SHA256),
];

impl Default for Ciphers {
    fn default() -> Self {
        Self {
            tls12: TLS12.iter().map(|known| known.suite).collect(),
            tls13: TLS13.iter().map(|(_, suite)| *suite).collect(),
        }
    }
}

impl Ciphers {
    /// Reads a cipher string as `openssl ciphers` does: names and keywords joined by `:`, with `!`, `-` and `+` before them.
    ///
    /// # Errors
    /// No suite that is supported is left.
    pub fn parse(text: &str) -> Result<Self> {
        let mut chosen: Vec<&Known> = Vec::new();
        let mut banned: Vec<&str> = Vec::new();
        for word in text.split([':', ',', ' ']).filter(|word| !word.is_empty()) {
            if word.starts_with('@') {
                // @STRENGTH sorts, @SECLEVEL limits: what there is is strong and all of one strength or better
                continue;
            }
            let (action, word) = match word.as_bytes()[0] {
                mark @ (b'!' | b'-' | b'+') => (mark, &word[1..]),
                _ => (b' ', word),
            };
            let matches = TLS12.iter().filter(|known| known.matches_all(word));
            match action {
                b'!' => {
                    let names: Vec<&str> = matches.map(|known| known.name).collect();
                    chosen.retain(|known| !names.contains(&known.name));
                    banned.extend(names);
                }
                b'-' => {
                    let names: Vec<&str> = matches.map(|known| known.name).collect();
                    chosen.retain(|known| !names.contains(&known.name));
                }
                b'+' => {
                    let moved: Vec<&Known> =
                        matches.filter(|known| chosen.iter().any(|other| other.name == known.name)).collect();
                    chosen.retain(|known| !moved.iter().any(|other| other.name == known.name));
                    chosen.extend(moved);
                }
                _ => {
                    for known in matches {
                        let there = chosen.iter().any(|other| other.name == known.name);
                        if !there && !banned.contains(&known.name) {
                            chosen.push(known);
                        }
                    }
                }
            }
        }
        if chosen.is_empty() {
            return Err(Error::NoCipher);
        }
        Ok(Self { tls12: chosen.iter().map(|known| known.suite).collect(), ..Self::default() })
    }

    /// Replaces the suites of TLS 1.3 (`Ciphersuites`, names joined by `:`).
    ///
    /// # Errors
    /// A name is unknown, or none is left.
    pub fn set_tls13(&mut self, text: &str) -> Result<()> {
        let find = |name: &str| TLS13.iter().find(|(known, _)| *known == name).map(|(_, suite)| *suite);
        let found: Option<Vec<_>> = text.split(':').filter(|name| !name.is_empty()).map(find).collect();
        self.tls13 = found.filter(|found| !found.is_empty()).ok_or(Error::NoCipher)?;
        Ok(())
    }

    /// All suites, those of TLS 1.3 first.
    pub(crate) fn suites(&self) -> Vec<SupportedCipherSuite> {
        self.tls13.iter().chain(&self.tls12).copied().collect()
    }
}

impl Known {
    /// Whether the suite has all the properties joined by `+`.
    fn matches_all(&self, words: &str) -> bool {
        words.split('+').all(|word| self.matches(word))
    }

    fn matches(&self, word: &str) -> bool {
        let ecdsa = self.name.starts_with("ECDHE-ECDSA");
        match word {
            "ALL"
            | "DEFAULT"
            | "COMPLEMENTOFDEFAULT"
            | "HIGH"
            | "TLSv1.2"
            | "kECDHE"
            | "kEECDH"
            | "ECDHE"
            | "EECDH"
            | "ECDH"
            | "FIPS" => word != "COMPLEMENTOFDEFAULT",
            "aECDSA" | "ECDSA" => ecdsa,
            "aRSA" | "RSA" => !ecdsa && word == "aRSA",
            _ => {
                self.name == word
                    || standard_name(self.suite.suite()) == Some(word)
                    || self.keywords.contains(&word)
            }
        }
    }
}

/// OpenSSL's name of a suite; `None`: one that nobody should use.
pub fn openssl_name(suite: CipherSuite) -> Option<&'static str> {
    let tls12 = TLS12.iter().find(|known| known.suite.suite() == suite).map(|known| known.name);
    tls12
        .or_else(|| TLS13.iter().find(|(_, known)| known.suite() == suite).map(|(name, _)| *name))
        .or_else(|| OTHERS.iter().find(|(code, _)| *code == u16::from(suite)).map(|(_, name)| *name))
}

fn standard_name(suite: CipherSuite) -> Option<&'static str> {
    suite.as_str()
}

/// Suites that clients still offer, for `$ssl_ciphers`.
static OTHERS: [(u16, &str); 28] = [
    (0x000a, "DES-CBC3-SHA"),
    (0x002f, "AES128-SHA"),
    (0x0033, "DHE-RSA-AES128-SHA"),
    (0x0035, "AES256-SHA"),
    (0x0039, "DHE-RSA-AES256-SHA"),
    (0x003c, "AES128-SHA256"),
    (0x003d, "AES256-SHA256"),
    (0x0067, "DHE-RSA-AES128-SHA256"),
    (0x006b, "DHE-RSA-AES256-SHA256"),
    (0x009c, "AES128-GCM-SHA256"),
    (0x009d, "AES256-GCM-SHA384"),
    (0x009e, "DHE-RSA-AES128-GCM-SHA256"),
    (0x009f, "DHE-RSA-AES256-GCM-SHA384"),
    (0x00ff, "TLS_EMPTY_RENEGOTIATION_INFO_SCSV"),
    (0xc009, "ECDHE-ECDSA-AES128-SHA"),
    (0xc00a, "ECDHE-ECDSA-AES256-SHA"),
    (0xc013, "ECDHE-RSA-AES128-SHA"),
    (0xc014, "ECDHE-RSA-AES256-SHA"),
    (0xc023, "ECDHE-ECDSA-AES128-SHA256"),
    (0xc024, "ECDHE-ECDSA-AES256-SHA384"),
    (0xc027, "ECDHE-RSA-AES128-SHA256"),
    (0xc028, "ECDHE-RSA-AES256-SHA384"),
    (0xccaa, "DHE-RSA-CHACHA20-POLY1305"),
    (0xc09c, "AES128-CCM"),
    (0xc09d, "AES256-CCM"),
    (0xc0ac, "ECDHE-ECDSA-AES128-CCM"),
    (0xc0ad, "ECDHE-ECDSA-AES256-CCM"),
    (0x1304, "TLS_AES_128_CCM_SHA256"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<&'static str> {
        let ciphers = Ciphers::parse(text).unwrap();
        ciphers.tls12.iter().filter_map(|suite| openssl_name(suite.suite())).collect()
    }

    #[test]
    fn strings_are_read_as_openssl_does() {
        assert_eq!(names("HIGH:!aNULL:!MD5").len(), 6);
        assert_eq!(names("ECDHE-RSA-AES128-GCM-SHA256"), ["ECDHE-RSA-AES128-GCM-SHA256"]);
        assert_eq!(names("AES128+aECDSA:AES256-SHA"), ["ECDHE-ECDSA-AES128-GCM-SHA256"]);
        assert_eq!(names("ALL:!AES:-aRSA"), ["ECDHE-ECDSA-CHACHA20-POLY1305"]);
        assert_eq!(
            names("AES128:CHACHA20:+AES128:!ECDSA"),
            ["ECDHE-RSA-CHACHA20-POLY1305", "ECDHE-RSA-AES128-GCM-SHA256"]
        );
        assert!(Ciphers::parse("AES256-SHA:DES-CBC3-SHA").is_err());
        assert!(Ciphers::parse("aRSA:!ALL").is_err());
    }

    #[test]
    fn tls13_suites_have_their_own_list() {
        let mut ciphers = Ciphers::default();
        ciphers.set_tls13("TLS_AES_128_GCM_SHA256").unwrap();
        assert_eq!(ciphers.suites()[0].suite(), CipherSuite::TLS13_AES_128_GCM_SHA256);
        assert!(ciphers.set_tls13("TLS_NO_SUCH").is_err());
    }
}
