//! TLS towards other servers.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};

use crate::{Ciphers, Curves, Identity, Result, Session, proof};

/// Everything a client offers.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// TLS 1.2 is spoken.
    pub tls12: bool,
    /// TLS 1.3 is spoken.
    pub tls13: bool,
    /// Suites in order.
    pub ciphers: Ciphers,
    /// Groups in order.
    pub curves: Curves,
    /// What we prove ourselves with, if asked.
    pub identity: Option<Identity>,
    /// Sessions are resumed.
    pub session_reuse: bool,
    /// Protocols for ALPN.
    pub protocols: Vec<Vec<u8>>,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            tls12: true,
            tls13: true,
            ciphers: Ciphers::default(),
            curves: Curves::default(),
            identity: None,
            session_reuse: true,
            protocols: Vec::new(),
        }
    }
}

/// The compiled settings, with the sessions to be resumed. Cheap to clone.
///
/// Servers' certificates are not verified during the handshake but after it, with [`Session::peer_certificates`] and a
/// [`TrustStore`](crate::TrustStore): nothing but the handshake is sent before that, and whoever connects says what a failure means.
#[derive(Clone)]
pub struct ClientContext(Arc<ClientConfig>);

impl fmt::Debug for ClientContext {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("ClientContext")
    }
}

/// Sessions kept per context.
const SESSIONS_MAX: usize = 256;

impl ClientContext {
    /// Compiles settings.
    ///
    /// # Errors
    /// They leave nothing to speak.
    pub fn new(settings: &ClientSettings) -> Result<Self> {
        let mut provider = rustls::crypto::CryptoProvider::clone(&crate::PROVIDER);
        provider.cipher_suites = settings.ciphers.suites();
        provider.kx_groups = settings.curves.groups();
        let mut versions: Vec<&'static rustls::SupportedProtocolVersion> = Vec::new();
        if settings.tls13 {
            versions.push(&rustls::version::TLS13);
        }
        if settings.tls12 {
            versions.push(&rustls::version::TLS12);
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&versions)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Later));
        let mut config = match &settings.identity {
            Some(identity) => {
                builder.with_client_cert_resolver(Arc::new(Own(Arc::clone(identity.certified()))))
            }
            None => builder.with_no_client_auth(),
        };
        config.resumption = if settings.session_reuse {
            Resumption::in_memory_sessions(SESSIONS_MAX)
        } else {
            Resumption::disabled()
        };
        config.alpn_protocols = settings.protocols.clone();
        Ok(Self(Arc::new(config)))
    }

    /// Begins a connection: `name` is sent as SNI if it is a host name; `peer` tells sessions of servers without a name apart.
    ///
    /// # Errors
    /// The settings contradict each other.
    pub fn connect(&self, name: Option<&str>, peer: Option<IpAddr>) -> Result<Session> {
        let dns = name.and_then(|name| rustls::pki_types::DnsName::try_from(name.to_owned()).ok());
        let server = match dns {
            Some(name) => ServerName::DnsName(name),
            None => ServerName::from(peer.unwrap_or(IpAddr::from([0, 0, 0, 0]))),
        };
        Ok(Session::client(ClientConnection::new(Arc::clone(&self.0), server)?))
    }
}

/// The one certificate we have.
#[derive(Debug)]
struct Own(Arc<CertifiedKey>);

impl ResolvesClientCert for Own {
    fn resolve(&self, _hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.key.choose_scheme(schemes).map(|_| Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Checks that the server holds its certificate's key; the certificate itself is verified after the handshake.
#[derive(Debug)]
struct Later;

impl ServerCertVerifier for Later {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        proof::of_handshake(message, cert, signed, false)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        proof::of_handshake(message, cert, signed, true)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        crate::PROVIDER.signature_verification_algorithms.supported_schemes()
    }
}
