//! Revocation lists.

use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use crate::chain::Failure;
use crate::{Error, Result, pem, proof};

/// Revocation lists by issuer.
#[derive(Debug, Clone, Default)]
pub(crate) struct RevocationLists(Vec<Vec<u8>>);

impl RevocationLists {
    /// Reads all lists of a PEM text.
    pub(crate) fn from_pem(text: &[u8]) -> Result<Self> {
        let lists: Vec<Vec<u8>> =
            pem::revocation_lists(text)?.into_iter().map(|list| list.as_ref().to_vec()).collect();
        for list in &lists {
            CertificateRevocationList::from_der(list)
                .map_err(|error| Error::Certificate(error.to_string()))?;
        }
        Ok(Self(lists))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks one certificate against the list of its issuer.
    pub(crate) fn check(
        &self,
        certificate: &X509Certificate<'_>,
        issuer: &X509Certificate<'_>,
        now_s: i64,
    ) -> std::result::Result<(), Failure> {
        let parsed =
            self.0.iter().filter_map(|der| Some((der, CertificateRevocationList::from_der(der).ok()?.1)));
        let mut of_issuer =
            parsed.filter(|(_, list)| list.issuer().as_raw() == certificate.issuer().as_raw());
        let mut failure = Failure::NO_CRL;
        // among several lists of one issuer a good one decides
        let found = of_issuer.find(|(der, list)| match Self::usable(der, list, issuer, now_s) {
            Ok(()) => true,
            Err(why) => {
                failure = why;
                false
            }
        });
        let Some((_, list)) = found else { return Err(failure) };
        let revoked =
            list.iter_revoked_certificates().any(|entry| entry.raw_serial() == certificate.raw_serial());
        if revoked { Err(Failure::REVOKED) } else { Ok(()) }
    }

    fn usable(
        der: &[u8],
        list: &CertificateRevocationList<'_>,
        issuer: &X509Certificate<'_>,
        now_s: i64,
    ) -> std::result::Result<(), Failure> {
        if !proof::is_signed_by(der, issuer.public_key().raw) {
            return Err(Failure::CRL_SIGNATURE);
        }
        if list.extensions().iter().any(|extension| extension.critical) {
            // an indirect or partial list: it does not say what we would read from it
            return Err(Failure::CRL_EXTENSION);
        }
        if list.last_update().timestamp() > now_s {
            return Err(Failure::CRL_NOT_YET_VALID);
        }
        if list.next_update().is_some_and(|next| next.timestamp() < now_s) {
            return Err(Failure::CRL_EXPIRED);
        }
        Ok(())
    }
}
