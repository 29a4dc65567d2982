//! A server's settings made into what handshakes use.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use conf::{Error, Result};
use sha2::{Digest, Sha256};
use tls::{
    ClientAuth, Failure, Hello, Identity, Purpose, ServerContext, ServerSettings, TicketKeys, TrustStore,
};

use super::shared::{self, Memory, Store, TICKET_ZONE_NAME};
use super::stapling::Inquiry;
use super::{IdentityCache, Source, SslValues, Verify, cache};
use crate::build::Builder;
use crate::config::Server;
use crate::connection::Greeting;

/// What handshakes of one server are made with.
pub struct Compiled {
    /// By whether HTTP/2 is offered.
    contexts: RefCell<[ServerContext; 2]>,
    /// Certificates as they are stapled now.
    identities: RefCell<Vec<Identity>>,
    /// What responders are to be asked, until the worker starts to.
    inquiries: RefCell<Vec<Inquiry>>,
    /// Certificates that are known only when a client asks.
    dynamic: Option<Dynamic>,
    trust: TrustStore,
    memory: Memory,
}

/// Certificates whose names come out of variables.
struct Dynamic {
    pairs: Vec<(Source, Source)>,
    passwords: Rc<[Vec<u8>]>,
    cache: Option<Rc<IdentityCache>>,
}

/// Protocols for ALPN, in our order.
const HTTP2: &[u8] = b"h2";
const HTTP1: [&[u8]; 3] = [b"http/1.1", b"http/1.0", b"http/0.9"];

impl Compiled {
    /// Compiles `values`; `None`: there is no certificate to shake hands with.
    ///
    /// # Errors
    /// A file cannot be read or used, or settings contradict each other.
    pub(super) fn new(values: &SslValues, builder: &mut Builder) -> Result<Option<Self>> {
        let hooked = values.client_hello_hook.is_some() || values.certificate_hook.is_some();
        if values.certificates.is_empty() && !hooked {
            return Ok(None);
        }
        if values.keys.len() < values.certificates.len() {
            let last = values.certificates.last().expect("there are more than keys");
            let text = format!("no \"ssl_certificate_key\" is defined for certificate \"{}\"", last.text);
            return Err(Error::at(&last.span, text));
        }
        let pairs: Vec<(Source, Source)> =
            values.certificates.iter().cloned().zip(values.keys.iter().cloned()).collect();
        let variable = pairs.iter().any(|(certificate, key)| certificate.is_variable() || key.is_variable());
        let identities = if variable { Vec::new() } else { identities(values, &pairs)? };
        let dynamic = variable.then(|| Dynamic {
            pairs,
            passwords: Rc::clone(&values.passwords),
            cache: values.certificate_cache.clone(),
        });
        let (trust, client_auth) = trust(values)?;
        let Store { sessions, shared } = shared::store(&values.session_cache);
        let tickets: Option<Arc<dyn TicketKeys>> = match &values.ticket_keys {
            _ if !values.session_tickets => None,
            Some(keys) => Some(Arc::clone(keys) as Arc<dyn TicketKeys>),
            None => Some(shared::keys()),
        };
        let mut ciphers = values.ciphers.clone();
        if let Some(suites) = &values.suites {
            ciphers.set_tls13(suites).map_err(|error| Error::new(format!("ssl_conf_command: {error}")))?;
        }
        let context = digest(values, &identities)?;
        let settings = |http2: bool| ServerSettings {
            tls12: values.protocols.0,
            tls13: values.protocols.1,
            ciphers: ciphers.clone(),
            curves: values.curves.clone(),
            prefer_server_ciphers: values.prefer_server_ciphers,
            identities: identities.clone(),
            protocols: http2.then_some(HTTP2).into_iter().chain(HTTP1).map(<[u8]>::to_vec).collect(),
            client_auth: client_auth.clone(),
            tickets: tickets.clone(),
            sessions: sessions.clone(),
            context,
            session_timeout_s: u32::try_from(values.session_timeout).unwrap_or(u32::MAX),
            record_bytes_max: values.buffer_size,
            now: shared::now_s,
        };
        let build =
            |http2| ServerContext::new(&settings(http2)).map_err(|error| Error::new(error.to_string()));
        let memory = Memory {
            sessions: shared,
            keys: builder.zones.find(TICKET_ZONE_NAME),
            timeout_s: values.session_timeout,
        };
        let contexts = RefCell::new([build(false)?, build(true)?]);
        let inquiries = RefCell::new(inquiries(values, &identities, &trust, builder));
        Ok(Some(Self { contexts, identities: RefCell::new(identities), inquiries, dynamic, trust, memory }))
    }

    /// With what handshakes are made where HTTP/2 is or is not spoken.
    pub fn context(&self, http2: bool) -> ServerContext {
        self.contexts.borrow()[usize::from(http2)].clone()
    }

    /// Staples an OCSP response to the certificate `index` from now on.
    pub(super) fn staple(&self, index: usize, response: Vec<u8>) {
        let mut identities = self.identities.borrow_mut();
        let Some(identity) = identities.get_mut(index) else { return };
        *identity = identity.with_ocsp(response);
        for context in self.contexts.borrow_mut().iter_mut() {
            *context = context.with_identities(identities.clone());
        }
    }

    /// What responders are to be asked; once.
    pub(super) fn take_inquiries(&self) -> Vec<Inquiry> {
        self.inquiries.take()
    }

    /// With what the handshake of `hello` is made: certificates behind variables are loaded.
    pub(crate) async fn for_hello(
        &self,
        greeting: &Greeting<'_>,
        server: &Rc<Server>,
        hello: &Hello,
    ) -> std::result::Result<ServerContext, String> {
        let context = self.context(greeting.listening.http2);
        let Some(dynamic) = &self.dynamic else { return Ok(context) };
        let mut req = greeting.request(server, hello).ok_or("no request for variables")?;
        let mut identities = Vec::with_capacity(dynamic.pairs.len());
        for (certificate, key) in &dynamic.pairs {
            let names = (certificate.eval(&mut req), key.eval(&mut req));
            let prefix = certificate.conf_prefix();
            let loaded = cache::load(dynamic.cache.as_deref(), names, &dynamic.passwords, prefix).await;
            match loaded {
                Ok(identity) => identities.push(identity),
                Err(text) => {
                    greeting.worker.recycle(req);
                    return Err(text);
                }
            }
        }
        greeting.worker.recycle(req);
        Ok(context.with_identities(identities))
    }

    /// Whom client certificates must come from.
    pub fn trust(&self) -> &TrustStore {
        &self.trust
    }

    /// Takes the memory shared by all workers.
    pub(super) fn attach_memory(&self) {
        self.memory.attach();
    }
}

/// What is wrong with a chain of certificates now; `None`: nothing, or there is none.
pub fn verify(trust: &TrustStore, chain: &[Vec<u8>], purpose: Purpose) -> Option<Failure> {
    if chain.is_empty() {
        return None;
    }
    let now = i64::try_from(shared::now_s()).unwrap_or(i64::MAX);
    trust.verify(chain, purpose, now).err()
}

fn identities(values: &SslValues, pairs: &[(Source, Source)]) -> Result<Vec<Identity>> {
    let staple = match &values.stapling_file {
        Some(path) if values.stapling => Some(read(path)?),
        _ => None,
    };
    let mut identities = Vec::with_capacity(pairs.len());
    for (certificate, key) in pairs {
        let loaded = cache::read(&certificate.text, &key.text, &values.passwords, certificate.conf_prefix());
        let mut identity = loaded.map_err(|text| Error::at(&certificate.span, text))?;
        if let Some(staple) = &staple {
            identity = identity.with_ocsp(staple.clone());
        }
        identities.push(identity);
    }
    Ok(identities)
}

/// What responders are to be asked. A certificate that cannot be asked about is worth a warning, as in nginx.
fn inquiries(
    values: &SslValues,
    identities: &[Identity],
    trust: &TrustStore,
    builder: &mut Builder,
) -> Vec<Inquiry> {
    if !values.stapling || values.stapling_file.is_some() {
        return Vec::new();
    }
    let mut inquiries = Vec::with_capacity(identities.len());
    for (index, (identity, source)) in identities.iter().zip(values.certificates.iter()).enumerate() {
        let responder = values.stapling_responder.as_deref();
        match Inquiry::new(index, identity, &source.text, responder, trust, values.stapling_verify) {
            Ok(inquiry) => inquiries.push(inquiry),
            Err(text) => builder.warn(Error::warning(&source.span, text)),
        }
    }
    inquiries
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| Error::system("open()", &path.display().to_string(), &error))
}

/// Whom client certificates must come from, and how clients are asked for them.
fn trust(values: &SslValues) -> Result<(TrustStore, Option<ClientAuth>)> {
    let load = |store: &mut TrustStore, path: &PathBuf| {
        let text = read(path)?;
        store.add_pem(&text).map_err(|error| unusable(path, &error))?;
        Ok::<_, Error>(text)
    };
    let mut store = TrustStore::new(values.verify_depth);
    let mut auth = (values.verify_client != Verify::Off).then(ClientAuth::default);
    let needs = matches!(values.verify_client, Verify::On | Verify::Optional);
    if needs && values.client_certificate.is_none() && values.trusted_certificate.is_none() {
        return Err(Error::new("no ssl_client_certificate or ssl_trusted_certificate for ssl_verify_client"));
    }
    if let Some(path) = &values.client_certificate {
        let text = load(&mut store, path)?;
        if let Some(auth) = &mut auth {
            auth.subjects = TrustStore::subjects(&text).map_err(|error| unusable(path, &error))?;
        }
    }
    if let Some(path) = &values.trusted_certificate {
        load(&mut store, path)?;
    }
    if let Some(path) = &values.crl {
        store.set_crl_pem(&read(path)?).map_err(|error| unusable(path, &error))?;
    }
    Ok((store, auth))
}

fn unusable(path: &Path, error: &tls::Error) -> Error {
    Error::new(format!("cannot load \"{}\": {error}", path.display()))
}

/// What sessions are bound to: the certificates, and everything said about those of clients. A session made under one such set is
/// not resumed under another.
fn digest(values: &SslValues, identities: &[Identity]) -> Result<[u8; 32]> {
    let mut hash = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    add(&[values.verify_client as u8]);
    add(&(values.verify_depth as u64).to_be_bytes());
    for path in [&values.client_certificate, &values.trusted_certificate, &values.crl] {
        match path {
            Some(path) => add(&read(path)?),
            None => add(b""),
        }
    }
    for identity in identities {
        add(identity.leaf());
    }
    for source in values.certificates.iter().filter(|source| source.is_variable()) {
        add(source.text.as_bytes());
    }
    Ok(hash.finalize().into())
}
