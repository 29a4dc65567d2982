//! OCSP: asking a certificate's authority whether it is still good, and understanding the answer (RFC 6960).
//!
//! Only what stapling needs: one certificate per question, SHA-1 as its name for the issuer (what every responder understands), an
//! answer signed by the issuer or by somebody the issuer appointed.

use x509_parser::prelude::{FromDer, X509Certificate};

use crate::{TrustStore, proof};

/// A question about one certificate.
#[derive(Debug, Clone)]
pub struct Question {
    /// The request to be sent, DER.
    pub request: Vec<u8>,
    /// What names the certificate in request and answer, without the algorithm in front.
    id: Vec<u8>,
    issuer: Vec<u8>,
}

/// A good answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// When it must be asked again at the latest, seconds since 1970.
    pub next_update_s: Option<i64>,
}

/// Longest answer that is looked at, bytes.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How far clocks may differ, seconds.
const SKEW_S: i64 = 300;

const SEQUENCE: u8 = 0x30;
const OCTET_STRING: u8 = 0x04;
const INTEGER: u8 = 0x02;
const ENUMERATED: u8 = 0x0a;
const OBJECT_ID: u8 = 0x06;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0]`, constructed.
const CONTEXT_0: u8 = 0xa0;
/// SHA-1 as an algorithm, with its empty parameters.
const SHA1: [u8; 11] = [SEQUENCE, 9, OBJECT_ID, 5, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00];
/// id-pkix-ocsp-basic.
const BASIC: [u8; 9] = [0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];

impl Question {
    /// A question about `leaf`, which `issuer` signed; `None`: one of them cannot be read, or it did not.
    pub fn new(leaf: &[u8], issuer: &[u8]) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(leaf).ok()?;
        let (_, authority) = X509Certificate::from_der(issuer).ok()?;
        if !proof::is_signed_by(leaf, authority.public_key().raw) {
            return None;
        }
        let mut id = wrap(OCTET_STRING, &sha1(parsed.issuer().as_raw()));
        id.extend(wrap(OCTET_STRING, &sha1(&authority.public_key().subject_public_key.data)));
        id.extend(wrap(INTEGER, parsed.raw_serial()));
        let named = wrap(SEQUENCE, &[&SHA1, &*id].concat());
        // OCSPRequest { tbsRequest { requestList { Request { reqCert } } } }
        let request = (0..4).fold(named, |inner, _| wrap(SEQUENCE, &inner));
        Some(Self { request, id, issuer: issuer.to_vec() })
    }

    /// Looks at the answer at `now_s` seconds since 1970. With `verify` the issuer must have signed it, somebody it appointed, or
    /// somebody who is trusted anyway; without, that is left to those it is passed on to.
    ///
    /// # Errors
    /// Why it is of no use.
    pub fn check(
        &self,
        answer: &[u8],
        now_s: i64,
        verify: Option<&TrustStore>,
    ) -> Result<Answer, &'static str> {
        let basic = basic_response(answer)?;
        let trusted = |store: &TrustStore| store.any_anchor(|der| is_signed_by(basic, der));
        if verify.is_some_and(|store| !self.is_signed(basic) && !trusted(store)) {
            return Err("OCSP response is not signed by the issuer");
        }
        let mut single = self.single(basic).ok_or("certificate status not found in the OCSP response")?;
        // certID was read; what follows is its status
        match single.first() {
            Some(0x80) => {}
            Some(0xa1) => return Err("certificate status \"revoked\" in the OCSP response"),
            _ => return Err("certificate status \"unknown\" in the OCSP response"),
        }
        let malformed = "OCSP response is malformed";
        proof::any_element(&mut single).ok_or(malformed)?;
        let this = proof::content(&mut single, GENERALIZED_TIME).and_then(time).ok_or(malformed)?;
        if this > now_s + SKEW_S {
            return Err("OCSP response is not yet valid");
        }
        let mut next = proof::content(&mut single, CONTEXT_0).unwrap_or_default();
        let next_update_s = proof::content(&mut next, GENERALIZED_TIME).and_then(time);
        if next_update_s.is_some_and(|next| next < now_s - SKEW_S) {
            return Err("OCSP response has expired");
        }
        Ok(Answer { next_update_s })
    }

    /// Whether the issuer signed, or somebody it appointed for that.
    fn is_signed(&self, basic: &[u8]) -> bool {
        if is_signed_by(basic, &self.issuer) {
            return true;
        }
        let Ok((_, issuer)) = X509Certificate::from_der(&self.issuer) else { return false };
        let appointed = || {
            let mut whole = basic;
            let mut inner = proof::content(&mut whole, SEQUENCE)?;
            for _ in 0..3 {
                proof::any_element(&mut inner)?;
            }
            let mut wrapped = proof::content(&mut inner, CONTEXT_0)?;
            let certificates = proof::content(&mut wrapped, SEQUENCE)?;
            let (_, responder) = X509Certificate::from_der(certificates).ok()?;
            let may =
                responder.extended_key_usage().ok().flatten().is_some_and(|usage| usage.value.ocsp_signing);
            let der = responder.as_raw();
            (may && proof::is_signed_by(der, issuer.public_key().raw)
                && proof::is_signed_by(basic, responder.public_key().raw))
            .then_some(())
        };
        appointed().is_some()
    }

    /// What is said about our certificate, from its status on.
    fn single<'a>(&self, basic: &'a [u8]) -> Option<&'a [u8]> {
        let mut whole = basic;
        let mut inner = proof::content(&mut whole, SEQUENCE)?;
        let mut data = proof::content(&mut inner, SEQUENCE)?;
        if data.first() == Some(&CONTEXT_0) {
            // a version
            proof::any_element(&mut data)?;
        }
        // who answers, and when
        proof::any_element(&mut data)?;
        proof::any_element(&mut data)?;
        let mut singles = proof::content(&mut data, SEQUENCE)?;
        while !singles.is_empty() {
            let mut single = proof::content(&mut singles, SEQUENCE)?;
            let mut id = proof::content(&mut single, SEQUENCE)?;
            proof::any_element(&mut id)?;
            if id == self.id {
                return Some(single);
            }
        }
        None
    }
}

/// Whether the holder of a certificate, DER, signed.
fn is_signed_by(basic: &[u8], certificate: &[u8]) -> bool {
    X509Certificate::from_der(certificate)
        .is_ok_and(|(_, signer)| proof::is_signed_by(basic, signer.public_key().raw))
}

/// The BasicOCSPResponse in an answer.
fn basic_response(answer: &[u8]) -> Result<&[u8], &'static str> {
    let malformed = "OCSP response is malformed";
    let mut input = answer;
    let mut response = proof::content(&mut input, SEQUENCE).ok_or(malformed)?;
    if proof::content(&mut response, ENUMERATED).ok_or(malformed)? != [0] {
        return Err("OCSP response is not successful");
    }
    let mut bytes = proof::content(&mut response, CONTEXT_0).ok_or(malformed)?;
    let mut typed = proof::content(&mut bytes, SEQUENCE).ok_or(malformed)?;
    if proof::content(&mut typed, OBJECT_ID).ok_or(malformed)? != BASIC {
        return Err("OCSP response is of an unknown type");
    }
    proof::content(&mut typed, OCTET_STRING).ok_or(malformed)
}

fn sha1(bytes: &[u8]) -> Vec<u8> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref().to_vec()
}

/// An element with `tag` around `content`.
fn wrap(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match content.len() {
        len @ 0..0x80 => out.push(len as u8),
        len @ 0x80..0x100 => out.extend([0x81, len as u8]),
        len => out.extend([0x82, (len >> 8) as u8, len as u8]),
    }
    out.extend_from_slice(content);
    out
}

/// `YYYYMMDDHHMMSSZ` as seconds since 1970.
fn time(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let text = text.split('.').next()?;
    let part = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    if text.len() != 14 {
        return None;
    }
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, part(12, 14)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // days since 1970 in the calendar whose years begin in March
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let of_era = shifted - era * 400;
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(time(b"19700101000000Z"), Some(0));
        assert_eq!(time(b"20261125233000Z"), Some(1_795_649_400));
        assert_eq!(time(b"20240229120000.5Z"), Some(1_709_208_000));
        for bad in [&b"20261325233000Z"[..], b"20261125233000", b"", b"2026112523300Z", b"\xff"] {
            assert_eq!(time(bad), None);
        }
    }

    #[test]
    fn any_answer_is_survived() {
        let key = rcgen::KeyPair::generate().unwrap();
        let made = rcgen::CertificateParams::new(vec!["a".to_owned()]).unwrap().self_signed(&key).unwrap();
        let question = Question::new(made.der(), made.der()).unwrap();
        assert!(question.check(&question.request, 0, None).is_err());
        for len in 0..question.request.len() {
            assert!(question.check(&question.request[..len], 0, None).is_err());
        }
        assert!(question.check(&wrap(SEQUENCE, &wrap(ENUMERATED, &[3])), 0, None).is_err());
    }
}
