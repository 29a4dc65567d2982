//! A certificate chain with its private key: what one end of a connection proves itself with.

use std::sync::Arc;

use rustls::pki_types::pem::SectionKind;
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};
use rustls::sign::{CertifiedKey, SigningKey};

use crate::{Error, Result, pem};

/// A certificate chain and the key of its first certificate. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Identity(Arc<CertifiedKey>);

impl Identity {
    /// Reads a chain and a key from the texts of PEM files. Encrypted keys are tried with all `passwords`.
    ///
    /// # Errors
    /// Either cannot be read or used, or they do not belong together.
    pub fn from_pem(chain: &[u8], key: &[u8], passwords: &[Vec<u8>]) -> Result<Self> {
        let chain = pem::certificates(chain)?;
        Self::new(chain, private_key(key, passwords)?)
    }

    fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Self> {
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key)
            .map_err(|error| Error::Key(error.to_string()))?;
        let (_, leaf) = x509_parser::parse_x509_certificate(&chain[0])
            .map_err(|error| Error::Certificate(error.to_string()))?;
        if key.public_key().is_some_and(|public| public.as_ref() != leaf.public_key().raw) {
            return Err(Error::Mismatch);
        }
        Ok(Self(Arc::new(CertifiedKey::new(chain, key))))
    }

    /// The same with an OCSP response to be stapled.
    pub fn with_ocsp(&self, response: Vec<u8>) -> Self {
        let mut key = CertifiedKey::clone(&self.0);
        key.ocsp = Some(response);
        Self(Arc::new(key))
    }

    /// The first certificate, DER.
    pub fn leaf(&self) -> &[u8] {
        &self.0.cert[0]
    }

    /// The whole chain, DER.
    pub fn chain(&self) -> impl Iterator<Item = &[u8]> {
        self.0.cert.iter().map(AsRef::as_ref)
    }

    pub(crate) fn key(&self) -> &Arc<dyn SigningKey> {
        &self.0.key
    }

    pub(crate) fn certified(&self) -> &Arc<CertifiedKey> {
        &self.0
    }
}

/// Reads the first key of a PEM text.
fn private_key(text: &[u8], passwords: &[Vec<u8>]) -> Result<PrivateKeyDer<'static>> {
    if let Some(encrypted) = pem::labelled(text, "ENCRYPTED PRIVATE KEY") {
        return decrypt(&encrypted, passwords);
    }
    let legacy = text.windows(10).any(|window| window == b"DEK-Info: ");
    if legacy {
        return Err(Error::Key(
            "the key is encrypted in OpenSSL's own traditional format, which is not supported; convert it to PKCS#8 with \
             \"openssl pkcs8 -topk8\""
                .into(),
        ));
    }
    let section = pem::private_key(text)?;
    Ok(match section.kind {
        SectionKind::RsaPrivateKey => PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(section.der)),
        SectionKind::EcPrivateKey => PrivateKeyDer::Sec1(PrivateSec1KeyDer::from(section.der)),
        _ => PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(section.der)),
    })
}

/// Decrypts a PKCS#8 key with the first password that fits.
fn decrypt(der: &[u8], passwords: &[Vec<u8>]) -> Result<PrivateKeyDer<'static>> {
    let info =
        pkcs8::EncryptedPrivateKeyInfoRef::try_from(der).map_err(|error| Error::Key(error.to_string()))?;
    if passwords.is_empty() {
        return Err(Error::Key("it is encrypted and there is no \"ssl_password_file\"".into()));
    }
    for password in passwords {
        if let Ok(plain) = info.decrypt(password) {
            return Ok(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(plain.as_bytes().to_vec())));
        }
    }
    Err(Error::Key("no password decrypts it (bad decrypt)".into()))
}
