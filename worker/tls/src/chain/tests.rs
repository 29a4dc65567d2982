//! Chains that must be accepted or refused, made on the spot.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use super::*;

struct Made {
    der: Vec<u8>,
    pem: String,
    key: KeyPair,
    params: CertificateParams,
}

fn params(name: &str, ca: bool) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = if ca { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::NoCa };
    params
}

fn made(params: CertificateParams, issuer: Option<&Made>) -> Made {
    let key = KeyPair::generate().unwrap();
    let certificate = match issuer {
        Some(issuer) => params.signed_by(&key, &Issuer::from_params(&issuer.params, &issuer.key)).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    Made { der: certificate.der().to_vec(), pem: certificate.pem(), key, params }
}

fn trusting(made: &Made, depth: usize) -> TrustStore {
    let mut store = TrustStore::new(depth);
    store.add_pem(made.pem.as_bytes()).unwrap();
    store
}

const NOW: i64 = 1_700_000_000;

fn check(store: &TrustStore, chain: &[&Made]) -> std::result::Result<(), Failure> {
    let ders: Vec<&[u8]> = chain.iter().map(|made| &*made.der).collect();
    store.verify(&ders, Purpose::Client, NOW)
}

#[test]
fn a_leaf_an_intermediate_and_their_depth() {
    let root = made(params("root", true), None);
    let middle = made(params("middle", true), Some(&root));
    let leaf = made(params("leaf", false), Some(&middle));
    assert_eq!(check(&trusting(&root, 1), &[&leaf, &middle]), Ok(()));
    assert_eq!(check(&trusting(&root, 0), &[&leaf, &middle]), Err(Failure::TOO_LONG));
    assert_eq!(check(&trusting(&root, 1), &[&leaf]), Err(Failure::NO_LEAF_ISSUER));
    assert_eq!(check(&trusting(&root, 1), &[&leaf, &middle, &root]), Ok(()));
    let other = made(params("other", true), None);
    assert_eq!(check(&trusting(&other, 3), &[&leaf, &middle]), Err(Failure::NO_ISSUER));
    assert_eq!(check(&trusting(&other, 3), &[&leaf, &middle, &root]), Err(Failure::SELF_SIGNED));
}

#[test]
fn a_name_without_the_signature_is_nothing() {
    let root = made(params("root", true), None);
    let impostor = made(params("root", true), None);
    let leaf = made(params("leaf", false), Some(&impostor));
    assert_eq!(check(&trusting(&root, 3), &[&leaf]), Err(Failure::NO_LEAF_ISSUER));
    assert_eq!(check(&trusting(&root, 3), &[&leaf, &impostor]), Err(Failure::SELF_SIGNED));
    let middle = made(params("middle", true), Some(&root));
    let twin = made(params("middle", true), Some(&root));
    let below = made(params("below", false), Some(&twin));
    assert_eq!(check(&trusting(&root, 3), &[&below, &middle]), Err(Failure::BAD_SIGNATURE));
}

#[test]
fn what_is_no_authority_signs_nothing() {
    let root = made(params("root", true), None);
    let leaf = made(params("leaf", false), Some(&root));
    let below = made(params("below", false), Some(&leaf));
    assert_eq!(check(&trusting(&root, 3), &[&below, &leaf]), Err(Failure::NOT_AN_AUTHORITY));
    let mut signer = params("signer", true);
    signer.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let signer = made(signer, Some(&root));
    let below = made(params("below", false), Some(&signer));
    assert_eq!(check(&trusting(&root, 3), &[&below, &signer]), Err(Failure::NO_CERT_SIGN));
    let mut short = params("short", true);
    short.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let short = made(short, Some(&root));
    let middle = made(params("middle", true), Some(&short));
    let below = made(params("below", false), Some(&middle));
    assert_eq!(check(&trusting(&root, 3), &[&below, &middle, &short]), Err(Failure::PATH_LENGTH));
}

#[test]
fn time_and_purpose() {
    let root = made(params("root", true), None);
    let mut old = params("old", false);
    old.not_after = rcgen::date_time_ymd(2020, 1, 1);
    assert_eq!(check(&trusting(&root, 1), &[&made(old, Some(&root))]), Err(Failure::EXPIRED));
    let mut new = params("new", false);
    new.not_before = rcgen::date_time_ymd(2999, 1, 1);
    assert_eq!(check(&trusting(&root, 1), &[&made(new, Some(&root))]), Err(Failure::NOT_YET_VALID));
    let mut server = params("server", false);
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let server = made(server, Some(&root));
    assert_eq!(check(&trusting(&root, 1), &[&server]), Err(Failure::PURPOSE));
    assert_eq!(trusting(&root, 1).verify(&[&server.der], Purpose::Server, NOW), Ok(()));
}

#[test]
fn a_self_signed_leaf_is_trusted_by_itself() {
    let own = made(params("own", true), None);
    assert_eq!(check(&trusting(&own, 1), &[&own]), Ok(()));
    let other = made(params("own", true), None);
    assert_eq!(check(&trusting(&own, 1), &[&other]), Err(Failure::SELF_SIGNED_LEAF));
}

#[test]
fn name_constraints_hold() {
    let mut constrained = params("root", true);
    constrained.name_constraints = Some(rcgen::NameConstraints {
        permitted_subtrees: vec![rcgen::GeneralSubtree::DnsName("example.com".into())],
        excluded_subtrees: vec![],
    });
    let root = made(constrained, None);
    let leaf = |host: &str| {
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, host);
        made(params, Some(&root))
    };
    assert_eq!(check(&trusting(&root, 1), &[&leaf("a.example.com")]), Ok(()));
    assert_eq!(check(&trusting(&root, 1), &[&leaf("a.example.org")]), Err(Failure::NAMES));
}

#[test]
fn any_bytes_are_survived() {
    let root = made(params("root", true), None);
    let leaf = made(params("leaf", false), Some(&root));
    let store = trusting(&root, 1);
    for at in 0..leaf.der.len() {
        let mut bent = leaf.der.clone();
        bent[at] ^= 0x55;
        assert!(store.verify(&[&bent], Purpose::Client, NOW).is_err(), "byte {at}");
        assert!(store.verify(&[&leaf.der[..at]], Purpose::Client, NOW).is_err());
    }
    assert!(store.verify::<&[u8]>(&[], Purpose::Client, NOW).is_err());
}
