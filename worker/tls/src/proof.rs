//! Signatures: of certificates by their issuers, of revocation lists, and of handshakes by their peers.
//!
//! The outer shape of what is signed is read here in its few fixed steps, because certificates of old versions, which a web
//! browser's rules refuse, are common inside companies and accepted by OpenSSL.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::{DigitallySignedStruct, PeerMisbehaved, SignatureScheme};

/// Tag of a SEQUENCE.
const SEQUENCE: u8 = 0x30;
/// Tag of a BIT STRING.
const BIT_STRING: u8 = 0x03;

/// One element: its content and itself whole.
struct Element<'a> {
    content: &'a [u8],
    whole: &'a [u8],
}

/// Takes the element with `tag` from the front of `input`.
fn element<'a>(input: &mut &'a [u8], tag: u8) -> Option<Element<'a>> {
    let (&first, rest) = input.split_first()?;
    let (&short, rest) = rest.split_first()?;
    let (len, header) = if short < 0x80 {
        (usize::from(short), 2)
    } else {
        let count = usize::from(short & 0x7f);
        if count == 0 || count > 4 {
            return None;
        }
        let bytes = rest.get(..count)?;
        (bytes.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)), 2 + count)
    };
    let whole = input.get(..header.checked_add(len)?)?;
    *input = &input[whole.len()..];
    (first == tag).then(|| Element { content: &whole[header..], whole })
}

/// The content of the element with `tag` at the front of `input`, which is taken off.
pub(crate) fn content<'a>(input: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    Some(element(input, tag)?.content)
}

/// Takes the element at the front of `input` off, whatever it is.
pub(crate) fn any_element(input: &mut &[u8]) -> Option<()> {
    let tag = *input.first()?;
    element(input, tag).map(drop)
}

/// The bytes of a BIT STRING that has whole bytes.
fn bits<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    match element(input, BIT_STRING)?.content.split_first()? {
        (0, bytes) => Some(bytes),
        _ => None,
    }
}

/// A public key: algorithm and key bits.
fn public_key(mut spki: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut inner = element(&mut spki, SEQUENCE)?.content;
    let algorithm = element(&mut inner, SEQUENCE)?.content;
    Some((algorithm, bits(&mut inner)?))
}

fn algorithms() -> &'static WebPkiSupportedAlgorithms {
    &crate::PROVIDER.signature_verification_algorithms
}

/// Whether `signed`, a certificate or revocation list, was signed with the key `spki`.
pub(crate) fn is_signed_by(mut signed: &[u8], spki: &[u8]) -> bool {
    let check = || {
        let mut inner = element(&mut signed, SEQUENCE)?.content;
        let message = element(&mut inner, SEQUENCE)?.whole;
        let algorithm = element(&mut inner, SEQUENCE)?.content;
        let signature = bits(&mut inner)?;
        let (key_algorithm, key) = public_key(spki)?;
        let mut fitting = algorithms().all.iter().filter(|known| {
            known.signature_alg_id().as_ref() == algorithm
                && known.public_key_alg_id().as_ref() == key_algorithm
        });
        Some(fitting.any(|known| known.verify_signature(key, message, signature).is_ok()))
    };
    let mut check = check;
    check().unwrap_or(false)
}

/// Checks that the peer holds the key of `certificate`.
pub(crate) fn of_handshake(
    message: &[u8],
    certificate: &[u8],
    signed: &DigitallySignedStruct,
    tls13: bool,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    if tls13 && !is_tls13_scheme(signed.scheme) {
        return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    }
    let bad = || rustls::Error::InvalidCertificate(rustls::CertificateError::BadSignature);
    let encoding = || rustls::Error::InvalidCertificate(rustls::CertificateError::BadEncoding);
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|_| encoding())?;
    let (key_algorithm, key) = public_key(parsed.public_key().raw).ok_or_else(encoding)?;
    let (_, known) = algorithms()
        .mapping
        .iter()
        .find(|(scheme, _)| *scheme == signed.scheme)
        .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
    // TLS 1.3 binds a scheme to one curve
    let known = if tls13 { &known[..1] } else { known };
    let fits = known.iter().filter(|known| known.public_key_alg_id().as_ref() == key_algorithm);
    for algorithm in fits {
        if algorithm.verify_signature(key, message, signed.signature()).is_ok() {
            return Ok(HandshakeSignatureValid::assertion());
        }
    }
    Err(bad())
}

/// Schemes TLS 1.3 allows in handshakes: no PKCS#1 padding, no SHA-1.
fn is_tls13_scheme(scheme: SignatureScheme) -> bool {
    algorithms().mapping.iter().any(|(known, _)| *known == scheme)
        && !matches!(
            scheme,
            SignatureScheme::RSA_PKCS1_SHA256
                | SignatureScheme::RSA_PKCS1_SHA384
                | SignatureScheme::RSA_PKCS1_SHA512
                | SignatureScheme::RSA_PKCS1_SHA1
                | SignatureScheme::ECDSA_SHA1_Legacy
        )
}
