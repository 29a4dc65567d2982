//! Verifying a peer's certificates as OpenSSL does.
//!
//! The rules of RFC 5280 with OpenSSL's customs, and its texts for what fails: `$ssl_client_verify` shows them. Certificates of
//! version 1, leaves that claim to be authorities, and self-signed certificates that are trusted by name are everyday inside
//! companies; a browser's rules (webpki's) refuse them, and what worked before must go on working. What does not change: every
//! signature up to a trusted root is checked with rustls' algorithms, whose lower limits (RSA with 2048 bits, no SHA-1) hold.
//!
//! Only chains that contain name constraints are additionally put before webpki, which knows how to apply them.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, UnixTime};
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, X509Certificate, X509Version};

use crate::crl::RevocationLists;
use crate::{Error, Result, pem, proof};

/// What is trusted: authorities, revocation lists, and how long a chain may be.
#[derive(Debug, Clone)]
pub struct TrustStore {
    /// By subject.
    anchors: Arc<HashMap<Vec<u8>, Vec<Vec<u8>>>>,
    lists: Arc<RevocationLists>,
    depth: usize,
}

/// What the certificate is to be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A client proves itself to us.
    Client,
    /// A server does.
    Server,
}

/// Why a chain is not accepted: OpenSSL's number and text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// `X509_V_ERR_…`.
    pub code: u16,
    /// Its text.
    pub text: &'static str,
}

/// The most signature checks one chain may cost: the peer chooses what it sends.
const CHECKS_MAX: usize = 64;

impl TrustStore {
    /// Trusts nothing; chains may have `depth` certificates between the leaf and the trusted one.
    pub fn new(depth: usize) -> Self {
        Self { anchors: Arc::default(), lists: Arc::default(), depth }
    }

    /// Trusts all certificates of a PEM text as well.
    ///
    /// # Errors
    /// There is none, or one cannot be read.
    pub fn add_pem(&mut self, text: &[u8]) -> Result<()> {
        let anchors = Arc::make_mut(&mut self.anchors);
        for der in pem::certificates(text)? {
            let (_, parsed) =
                X509Certificate::from_der(&der).map_err(|error| Error::Certificate(error.to_string()))?;
            let named = anchors.entry(parsed.subject().as_raw().to_vec()).or_default();
            if !named.iter().any(|known| *known == der.as_ref()) {
                named.push(der.as_ref().to_vec());
            }
        }
        Ok(())
    }

    /// Demands that no certificate of a chain stands on the lists in a PEM text.
    ///
    /// # Errors
    /// There is none, or one cannot be read.
    pub fn set_crl_pem(&mut self, text: &[u8]) -> Result<()> {
        self.lists = Arc::new(RevocationLists::from_pem(text)?);
        Ok(())
    }

    /// The subjects of the authorities in a PEM text, DER, each once: what a client is asked for.
    ///
    /// # Errors
    /// There is none, or one cannot be read.
    pub fn subjects(text: &[u8]) -> Result<Vec<Vec<u8>>> {
        let mut subjects: Vec<Vec<u8>> = Vec::new();
        for der in pem::certificates(text)? {
            let (_, parsed) =
                X509Certificate::from_der(&der).map_err(|error| Error::Certificate(error.to_string()))?;
            let subject = parsed.subject().as_raw().to_vec();
            if !subjects.contains(&subject) {
                subjects.push(subject);
            }
        }
        Ok(subjects)
    }

    /// Verifies the chain that begins with its leaf, as the peer sent it, at `now_s` seconds since 1970.
    ///
    /// # Errors
    /// It does not lead to what is trusted, or not as it should.
    pub fn verify<C: AsRef<[u8]>>(
        &self,
        chain: &[C],
        purpose: Purpose,
        now_s: i64,
    ) -> std::result::Result<(), Failure> {
        let mut sent = Vec::with_capacity(chain.len());
        for der in chain {
            sent.push(Link::parse(der.as_ref()).ok_or(Failure::UNREADABLE)?);
        }
        let path = self.path(sent)?;
        for (at, link) in path.iter().enumerate() {
            link.check(at, purpose)?;
        }
        for link in path.iter().rev() {
            let validity = link.parsed.validity();
            if validity.not_before.timestamp() > now_s {
                return Err(Failure::NOT_YET_VALID);
            }
            if validity.not_after.timestamp() < now_s {
                return Err(Failure::EXPIRED);
            }
        }
        if !self.lists.is_empty() {
            // as with OpenSSL the failure nearest to the root is told
            let mut verdict = Ok(());
            for (at, link) in path.iter().enumerate() {
                let issuer = path.get(at + 1).unwrap_or(link);
                if let Err(why) = self.lists.check(&link.parsed, &issuer.parsed, now_s) {
                    verdict = Err(why);
                }
            }
            verdict?;
        }
        self.check_names(&path, purpose, now_s)
    }

    /// Finds the way from the leaf to a trusted root.
    fn path<'a>(&'a self, mut sent: Vec<Link<'a>>) -> std::result::Result<Vec<Link<'a>>, Failure> {
        if sent.is_empty() {
            return Err(Failure::UNREADABLE);
        }
        let mut path = vec![sent.remove(0)];
        let mut checks = 0;
        loop {
            let last = path.last().expect("begins with the leaf");
            if last.is_self_issued() {
                if self.holds(last.der) {
                    break;
                }
                // another certificate of the same name and key may be the trusted one
                if let Some(anchor) = self.issuer_of(last, &mut checks)? {
                    path.pop();
                    path.push(anchor);
                    break;
                }
                return Err(if path.len() == 1 { Failure::SELF_SIGNED_LEAF } else { Failure::SELF_SIGNED });
            }
            if path.len() > self.depth + 1 {
                return Err(Failure::TOO_LONG);
            }
            if let Some(anchor) = self.issuer_of(last, &mut checks)? {
                path.push(anchor);
                continue;
            }
            let mut bad_signature = false;
            let mut found = None;
            for (at, link) in sent.iter().enumerate() {
                if link.parsed.subject().as_raw() == last.parsed.issuer().as_raw() {
                    count(&mut checks)?;
                    if proof::is_signed_by(last.der, link.parsed.public_key().raw) {
                        found = Some(at);
                        break;
                    }
                    bad_signature = true;
                }
            }
            match found {
                Some(at) => path.push(sent.remove(at)),
                None if bad_signature => return Err(Failure::BAD_SIGNATURE),
                None if path.len() == 1 => return Err(Failure::NO_LEAF_ISSUER),
                None => return Err(Failure::NO_ISSUER),
            }
        }
        Ok(path)
    }

    /// The trusted certificate that signed `certificate`, DER.
    pub fn find_issuer(&self, certificate: &[u8]) -> Option<Vec<u8>> {
        let link = Link::parse(certificate)?;
        let found = self.issuer_of(&link, &mut 0).ok().flatten()?;
        Some(found.der.to_vec())
    }

    /// Whether `fits` one of the trusted certificates, DER.
    pub(crate) fn any_anchor(&self, fits: impl Fn(&[u8]) -> bool) -> bool {
        self.anchors.values().flatten().any(|der| fits(der))
    }

    fn holds(&self, der: &[u8]) -> bool {
        self.anchors.values().flatten().any(|anchor| anchor == der)
    }

    /// The trusted certificate that signed `link`.
    fn issuer_of<'a>(
        &'a self,
        link: &Link<'_>,
        checks: &mut usize,
    ) -> std::result::Result<Option<Link<'a>>, Failure> {
        let Some(named) = self.anchors.get(link.parsed.issuer().as_raw()) else { return Ok(None) };
        for anchor in named.iter().filter_map(|der| Link::parse(der)) {
            count(checks)?;
            if proof::is_signed_by(link.der, anchor.parsed.public_key().raw) {
                return Ok(Some(anchor));
            }
        }
        Ok(None)
    }

    /// Where an authority may sign for certain names only, webpki says whether it stayed within them.
    fn check_names(
        &self,
        path: &[Link<'_>],
        purpose: Purpose,
        now_s: i64,
    ) -> std::result::Result<(), Failure> {
        let constrained = |link: &Link<'_>| !matches!(link.parsed.name_constraints(), Ok(None));
        if !path.iter().any(constrained) {
            return Ok(());
        }
        let ders: Vec<CertificateDer<'_>> = path.iter().map(|link| CertificateDer::from(link.der)).collect();
        let check = || {
            let leaf = webpki::EndEntityCert::try_from(&ders[0]).ok()?;
            let root = webpki::anchor_from_trusted_cert(ders.last()?).ok()?;
            let usage = match purpose {
                Purpose::Client => webpki::KeyUsage::client_auth(),
                Purpose::Server => webpki::KeyUsage::server_auth(),
            };
            let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(u64::try_from(now_s).ok()?));
            let algorithms = crate::PROVIDER.signature_verification_algorithms.all;
            leaf.verify_for_usage(algorithms, &[root], &ders[1..], now, usage, None, None).ok().map(drop)
        };
        check().ok_or(Failure::NAMES)
    }
}

fn count(checks: &mut usize) -> std::result::Result<(), Failure> {
    *checks += 1;
    if *checks > CHECKS_MAX { Err(Failure::TOO_LONG) } else { Ok(()) }
}

/// One certificate of a chain.
struct Link<'a> {
    der: &'a [u8],
    parsed: X509Certificate<'a>,
}

impl<'a> Link<'a> {
    fn parse(der: &'a [u8]) -> Option<Self> {
        let (rest, parsed) = X509Certificate::from_der(der).ok()?;
        rest.is_empty().then_some(Self { der, parsed })
    }

    fn is_self_issued(&self) -> bool {
        self.parsed.subject().as_raw() == self.parsed.issuer().as_raw()
    }

    /// What the certificate may be used for, at its place in the chain (0: the leaf).
    fn check(&self, at: usize, purpose: Purpose) -> std::result::Result<(), Failure> {
        for extension in self.parsed.extensions() {
            let known = matches!(
                extension.parsed_extension(),
                ParsedExtension::BasicConstraints(_)
                    | ParsedExtension::KeyUsage(_)
                    | ParsedExtension::ExtendedKeyUsage(_)
                    | ParsedExtension::SubjectAlternativeName(_)
                    | ParsedExtension::NameConstraints(_)
                    | ParsedExtension::CertificatePolicies(_)
                    | ParsedExtension::PolicyConstraints(_)
                    | ParsedExtension::InhibitAnyPolicy(_)
                    | ParsedExtension::PolicyMappings(_)
            );
            if matches!(extension.parsed_extension(), ParsedExtension::ParseError { .. }) {
                return Err(Failure::UNREADABLE);
            }
            if extension.critical && !known {
                return Err(Failure::CRITICAL);
            }
        }
        if let Ok(Some(usage)) = self.parsed.extended_key_usage() {
            let named = match purpose {
                Purpose::Client => usage.value.client_auth,
                Purpose::Server => usage.value.server_auth,
            };
            if !named && !usage.value.any {
                return Err(Failure::PURPOSE);
            }
        }
        if at == 0 { Ok(()) } else { self.check_authority(at) }
    }

    fn check_authority(&self, at: usize) -> std::result::Result<(), Failure> {
        let usage = self.parsed.key_usage().map_err(|_| Failure::UNREADABLE)?;
        if usage.as_ref().is_some_and(|usage| !usage.value.key_cert_sign()) {
            return Err(Failure::NO_CERT_SIGN);
        }
        match self.parsed.basic_constraints().map_err(|_| Failure::UNREADABLE)? {
            Some(basic) if !basic.value.ca => Err(Failure::NOT_AN_AUTHORITY),
            Some(basic) => {
                let below = at - 1;
                let limit = basic.value.path_len_constraint;
                if limit.is_some_and(|limit| below > limit as usize) {
                    Err(Failure::PATH_LENGTH)
                } else {
                    Ok(())
                }
            }
            // as OpenSSL: a self-signed one of version 1, or one whose key usage says so
            None if self.parsed.version() == X509Version::V1 && self.is_self_issued() => Ok(()),
            None if usage.is_some() => Ok(()),
            None => Err(Failure::NOT_AN_AUTHORITY),
        }
    }
}

/// OpenSSL's numbers and texts.
impl Failure {
    pub(crate) const NO_ISSUER: Self = Self::new(20, "unable to get local issuer certificate");
    pub(crate) const NO_CRL: Self = Self::new(3, "unable to get certificate CRL");
    pub(crate) const BAD_SIGNATURE: Self = Self::new(7, "certificate signature failure");
    pub(crate) const CRL_SIGNATURE: Self = Self::new(8, "CRL signature failure");
    pub(crate) const NOT_YET_VALID: Self = Self::new(9, "certificate is not yet valid");
    pub(crate) const EXPIRED: Self = Self::new(10, "certificate has expired");
    pub(crate) const CRL_NOT_YET_VALID: Self = Self::new(11, "CRL is not yet valid");
    pub(crate) const CRL_EXPIRED: Self = Self::new(12, "CRL has expired");
    pub(crate) const SELF_SIGNED_LEAF: Self = Self::new(18, "self-signed certificate");
    pub(crate) const SELF_SIGNED: Self = Self::new(19, "self-signed certificate in certificate chain");
    pub(crate) const NO_LEAF_ISSUER: Self = Self::new(21, "unable to verify the first certificate");
    pub(crate) const TOO_LONG: Self = Self::new(22, "certificate chain too long");
    pub(crate) const REVOKED: Self = Self::new(23, "certificate revoked");
    pub(crate) const PATH_LENGTH: Self = Self::new(25, "path length constraint exceeded");
    pub(crate) const PURPOSE: Self = Self::new(26, "unsuitable certificate purpose");
    pub(crate) const NO_CERT_SIGN: Self = Self::new(32, "key usage does not include certificate signing");
    pub(crate) const CRITICAL: Self = Self::new(34, "unhandled critical extension");
    pub(crate) const CRL_EXTENSION: Self = Self::new(36, "unhandled critical CRL extension");
    pub(crate) const UNREADABLE: Self = Self::new(41, "invalid or inconsistent certificate extension");
    pub(crate) const NAMES: Self = Self::new(47, "permitted subtree violation");
    pub(crate) const NOT_AN_AUTHORITY: Self = Self::new(79, "invalid CA certificate");

    const fn new(code: u16, text: &'static str) -> Self {
        Self { code, text }
    }

    /// Whether the only thing wrong is that the issuer is not known: what `ssl_verify_client optional_no_ca` lets pass.
    pub fn is_unknown_issuer(self) -> bool {
        matches!(self.code, 18..=21 | 27)
    }
}

#[cfg(test)]
mod tests;
