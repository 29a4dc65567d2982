//! What a server block says about TLS, compiled.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, StoresServerSessions};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};

use crate::tickets::Tickets;
use crate::{Ciphers, Curves, Identity, Result, TicketKeys, proof};

/// Everything a server offers and demands.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// TLS 1.2 is spoken.
    pub tls12: bool,
    /// TLS 1.3 is spoken.
    pub tls13: bool,
    /// Suites in order.
    pub ciphers: Ciphers,
    /// Groups in order.
    pub curves: Curves,
    /// Our order of suites counts, not the client's.
    pub prefer_server_ciphers: bool,
    /// Certificates; the first one the client can use is taken.
    pub identities: Vec<Identity>,
    /// Protocols for ALPN, in order; empty: the extension is ignored.
    pub protocols: Vec<Vec<u8>>,
    /// Whether clients are asked for a certificate.
    pub client_auth: Option<ClientAuth>,
    /// Where ticket keys are; `None`: no tickets.
    pub tickets: Option<Arc<dyn TicketKeys>>,
    /// Where sessions are kept; `None`: nowhere.
    pub sessions: Option<Arc<dyn StoresServerSessions>>,
    /// What sessions are bound to: they are resumed only where this is the same.
    pub context: [u8; 32],
    /// How long a session may be resumed, seconds.
    pub session_timeout_s: u32,
    /// The most plaintext bytes of a record (`ssl_buffer_size`).
    pub record_bytes_max: usize,
    /// Seconds since 1970, for the age of sessions.
    pub now: fn() -> u64,
}

/// How clients are asked for a certificate. What they send is verified afterwards with a [`TrustStore`](crate::TrustStore), since
/// the answer to a bad one is a page and not an alert.
#[derive(Debug, Clone, Default)]
pub struct ClientAuth {
    /// Names of the authorities whose certificates are wanted, DER.
    pub subjects: Vec<Vec<u8>>,
}

/// The compiled settings. Cheap to clone.
#[derive(Clone)]
pub struct ServerContext {
    config: Arc<ServerConfig>,
    tls13: bool,
}

impl fmt::Debug for ServerContext {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("ServerContext")
    }
}

impl ServerContext {
    /// Compiles settings.
    ///
    /// # Errors
    /// They leave nothing to speak: no version, or no suite.
    pub fn new(settings: &ServerSettings) -> Result<Self> {
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
        let verifier: Arc<dyn ClientCertVerifier> = match &settings.client_auth {
            Some(auth) => Arc::new(Ask::new(auth)),
            None => Arc::new(rustls::server::NoClientAuth),
        };
        let resolver = Choice { identities: settings.identities.clone(), tls13: settings.tls13 };
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&versions)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(resolver));
        config.ignore_client_order = settings.prefer_server_ciphers;
        config.alpn_protocols = settings.protocols.clone();
        config.max_fragment_size = Some(fragment_size(settings.record_bytes_max));
        config.session_storage = match &settings.sessions {
            Some(store) => Arc::new(Bound {
                store: Arc::clone(store),
                context: settings.context,
                lifetime_s: settings.session_timeout_s.into(),
                now: settings.now,
            }),
            None => Arc::new(NoServerSessionStorage {}),
        };
        if let Some(keys) = &settings.tickets {
            config.ticketer = Arc::new(Noted(Tickets {
                keys: Arc::clone(keys),
                context: settings.context,
                lifetime_s: settings.session_timeout_s,
                now: settings.now,
            }));
        }
        Ok(Self { config: Arc::new(config), tls13: settings.tls13 })
    }

    /// The same with other certificates: those found for one connection.
    pub fn with_identities(&self, identities: Vec<Identity>) -> Self {
        let mut config = ServerConfig::clone(&self.config);
        config.cert_resolver = Arc::new(Choice { identities, tls13: self.tls13 });
        Self { config: Arc::new(config), tls13: self.tls13 }
    }

    /// The same with other protocols for ALPN.
    pub fn with_protocols(&self, protocols: Vec<Vec<u8>>) -> Self {
        let mut config = ServerConfig::clone(&self.config);
        config.alpn_protocols = protocols;
        Self { config: Arc::new(config), tls13: self.tls13 }
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

/// rustls counts the record's head in and wants at least 32 bytes of it; a record holds at most 16 KB.
fn fragment_size(plain: usize) -> usize {
    const HEAD: usize = 5;
    plain.clamp(512, 16 * 1024) + HEAD
}

/// The certificates of a server.
#[derive(Debug)]
struct Choice {
    identities: Vec<Identity>,
    tls13: bool,
}

impl Choice {
    /// Whether a suite of the client fits the key: in TLS 1.2 suites name the kind of key.
    fn fits(&self, identity: &Identity, hello: &ClientHello<'_>) -> bool {
        let ecdsa = identity.key().algorithm() != rustls::SignatureAlgorithm::RSA;
        hello.cipher_suites().iter().any(|suite| {
            let name = suite.as_str().unwrap_or_default();
            if name.starts_with("TLS13_") {
                self.tls13
            } else {
                name.starts_with(if ecdsa { "TLS_ECDHE_ECDSA_" } else { "TLS_ECDHE_RSA_" })
            }
        })
    }
}

impl ResolvesServerCert for Choice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let [only] = &*self.identities {
            return Some(Arc::clone(only.certified()));
        }
        let usable: Vec<&Identity> = self.identities.iter().filter(|one| self.fits(one, &hello)).collect();
        // the client's preference among kinds of signatures decides between RSA and ECDSA
        let by_scheme = hello
            .signature_schemes()
            .iter()
            .find_map(|scheme| usable.iter().find(|one| one.key().choose_scheme(&[*scheme]).is_some()));
        by_scheme.map(|one| Arc::clone(one.certified()))
    }
}

/// Asks for a certificate and takes what comes, if the client has its key.
#[derive(Debug)]
struct Ask {
    subjects: Vec<DistinguishedName>,
}

impl Ask {
    fn new(auth: &ClientAuth) -> Self {
        let subject = |der: &Vec<u8>| DistinguishedName::from(der.clone());
        Self { subjects: auth.subjects.iter().map(subject).collect() }
    }
}

impl ClientCertVerifier for Ask {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.subjects
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> std::result::Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
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

thread_local! {
    /// Identifies the session that was resumed or made by the bytes processed last on this thread: rustls tells nobody.
    static SESSION_ID: Cell<Option<[u8; 32]>> = const { Cell::new(None) };
}

/// Takes the note of which session the handshake that was just processed uses.
pub(crate) fn take_session_id() -> Option<[u8; 32]> {
    SESSION_ID.take()
}

fn note(bytes: &[u8]) {
    let id = match <[u8; 32]>::try_from(bytes) {
        Ok(id) => id,
        Err(_) => {
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
            digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
        }
    };
    SESSION_ID.set(Some(id));
}

/// Tickets that note which one was used.
#[derive(Debug)]
struct Noted(Tickets);

impl rustls::server::ProducesTickets for Noted {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.0.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.0.encrypt(plain)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let plain = self.0.decrypt(ticket)?;
        note(ticket);
        Some(plain)
    }
}

/// A store whose sessions are bound to a context and an age.
#[derive(Debug)]
struct Bound {
    store: Arc<dyn StoresServerSessions>,
    context: [u8; 32],
    lifetime_s: u64,
    now: fn() -> u64,
}

/// Bytes in front of a kept session: its context and when it was made.
const BOUND_LEN: usize = 32 + 8;

impl Bound {
    fn open(&self, key: &[u8], kept: Vec<u8>) -> Option<Vec<u8>> {
        let (head, session) = kept.split_at_checked(BOUND_LEN)?;
        let (context, stamp) = head.split_at(32);
        let made = u64::from_be_bytes(stamp.try_into().ok()?);
        let age = (self.now)().checked_sub(made)?;
        let good = context == self.context && age <= self.lifetime_s;
        good.then(|| {
            note(key);
            session.to_vec()
        })
    }
}

impl StoresServerSessions for Bound {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        note(&key);
        let mut kept = Vec::with_capacity(BOUND_LEN + value.len());
        kept.extend_from_slice(&self.context);
        kept.extend_from_slice(&(self.now)().to_be_bytes());
        kept.extend_from_slice(&value);
        self.store.put(key, kept)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.open(key, self.store.get(key)?)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.open(key, self.store.take(key)?)
    }

    fn can_cache(&self) -> bool {
        self.store.can_cache()
    }
}

/// Sessions in this process' own memory, `count` of them at most.
pub fn memory_sessions(count: usize) -> Arc<dyn StoresServerSessions> {
    rustls::server::ServerSessionMemoryCache::new(count)
}
