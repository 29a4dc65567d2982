//! PEM files: sections in the order they stand, and what they are called.

use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};

use crate::{Error, Result};

/// All certificates of a file, `TRUSTED CERTIFICATE` sections included: their trailing trust settings are cut off.
pub(crate) fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let text = plain_labels(text);
    let found: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|_| Error::Pem("bad PEM data"))?;
    if found.is_empty() {
        return Err(Error::Pem("no start line: Expecting: TRUSTED CERTIFICATE"));
    }
    Ok(found.into_iter().map(cut).collect())
}

/// All revocation lists of a file.
pub(crate) fn revocation_lists(text: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>> {
    let found: std::result::Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(text).collect();
    let found = found.map_err(|_| Error::Pem("bad PEM data"))?;
    if found.is_empty() {
        return Err(Error::Pem("no start line: Expecting: X509 CRL"));
    }
    Ok(found)
}

/// The first private key of a file.
pub(crate) fn private_key(text: &[u8]) -> Result<Section> {
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text) {
        match section {
            Ok((
                kind @ (SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey | SectionKind::PrivateKey),
                der,
            )) => {
                return Ok(Section { kind, der });
            }
            Ok(_) => {}
            Err(_) => return Err(Error::Pem("bad PEM data")),
        }
    }
    Err(Error::Pem("no start line: Expecting: ANY PRIVATE KEY"))
}

/// One section.
pub(crate) struct Section {
    pub(crate) kind: SectionKind,
    pub(crate) der: Vec<u8>,
}

/// The content of the section called `label`.
pub(crate) fn labelled(text: &[u8], label: &str) -> Option<Vec<u8>> {
    let wanted = format!("-----BEGIN {label}-----");
    let start = find(text, wanted.as_bytes())?;
    let renamed = [b"-----BEGIN CERTIFICATE-----", &text[start + wanted.len()..]].concat();
    let end = format!("-----END {label}-----");
    let at = find(&renamed, end.as_bytes())?;
    let renamed = [&renamed[..at], b"-----END CERTIFICATE-----\n"].concat();
    CertificateDer::from_pem_slice(&renamed).ok().map(|der| der.as_ref().to_vec())
}

fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).position(|window| window == word)
}

/// `TRUSTED CERTIFICATE` and `X509 CERTIFICATE` as the plain kind.
fn plain_labels(text: &[u8]) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(text) else { return text.to_vec() };
    text.replace(" TRUSTED CERTIFICATE-----", " CERTIFICATE-----")
        .replace(" X509 CERTIFICATE-----", " CERTIFICATE-----")
        .into_bytes()
}

/// Cuts off what follows the certificate itself.
fn cut(der: CertificateDer<'static>) -> CertificateDer<'static> {
    match x509_parser::parse_x509_certificate(&der) {
        Ok((rest, _)) if !rest.is_empty() => {
            let len = der.len() - rest.len();
            CertificateDer::from(der[..len].to_vec())
        }
        _ => der,
    }
}
