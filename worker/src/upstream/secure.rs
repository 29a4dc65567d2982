//! TLS towards upstream servers: what `proxy_ssl_*` and its siblings say, and the handshake.
//!
//! A server's certificate is verified when the handshake is done and before anything is sent. Bytes that are not TLS end the try:
//! whatever stands between us and the server cannot answer in its place.

use std::cell::OnceCell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use conf::{Error, Result};
use net::{Addr, Buf, Stream};
use tls::{Certificate, ClientContext, ClientSettings, Purpose, TrustStore};

use super::Conditions;
use super::retry::Failure;
use crate::build::{Conf, MergeCx};
use crate::modules::ssl::{IdentityCache, Source, load_identity, read_identity};
use crate::request::Request;
use crate::script::Template;
use crate::settings;
use crate::transport::secure::handshake;
use crate::transport::{Secure, Transport};

settings! {
    /// `*_ssl_*` of a location.
    pub struct TlsConf, TlsConfSettings {
        /// `*_ssl_session_reuse`.
        session_reuse: bool = true,
        /// `*_ssl_protocols`: whether TLS 1.2 and TLS 1.3 are spoken.
        protocols: (bool, bool) = (true, true),
        /// `*_ssl_ciphers`.
        ciphers: tls::Ciphers = tls::Ciphers::default(),
        /// `*_ssl_conf_command Ciphersuites`.
        suites: Option<Rc<str>> = None,
        /// `*_ssl_name`: whose certificate is expected; `None`: the host of the address.
        name: Option<Rc<Template>> = None,
        /// `*_ssl_server_name`: the name is sent (SNI).
        server_name: bool = false,
        /// `*_ssl_verify`.
        verify: bool = false,
        /// `*_ssl_verify_depth`.
        verify_depth: usize = 1,
        /// `*_ssl_trusted_certificate`.
        trusted_certificate: Option<PathBuf> = None,
        /// `*_ssl_crl`.
        crl: Option<PathBuf> = None,
        /// `*_ssl_certificate`.
        certificate: Option<Source> = None,
        /// `*_ssl_certificate_key`.
        certificate_key: Option<Source> = None,
        /// `*_ssl_certificate_cache`.
        certificate_cache: Option<Rc<IdentityCache>> = None,
        /// `*_ssl_password_file`.
        passwords: Rc<[Vec<u8>]> = Rc::from([]),
    }
}

/// The same with what was made of it.
#[derive(Default)]
pub struct UpstreamTls {
    /// The settings.
    pub values: TlsConf,
    client: OnceCell<Rc<TlsClient>>,
}

impl Conf for UpstreamTls {
    fn merge(&mut self, outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        self.values.merge_settings(&outer.values);
        Ok(())
    }
}

impl UpstreamTls {
    /// What connections are made with; compiled on first use.
    ///
    /// # Errors
    /// A file cannot be read or used, or settings contradict each other.
    pub fn client(&self) -> Result<Rc<TlsClient>> {
        if let Some(client) = self.client.get() {
            return Ok(Rc::clone(client));
        }
        let client = Rc::new(TlsClient::new(&self.values)?);
        Ok(Rc::clone(self.client.get_or_init(|| client)))
    }
}

/// Makes TLS connections for one location.
pub struct TlsClient {
    settings: ClientSettings,
    context: ClientContext,
    /// A certificate whose name comes out of variables.
    dynamic: Option<(Source, Source)>,
    cache: Option<Rc<IdentityCache>>,
    passwords: Rc<[Vec<u8>]>,
    name: Option<Rc<Template>>,
    server_name: bool,
    trust: Option<TrustStore>,
}

/// Whom a connection is for: part of what must be the same for a kept connection to be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TlsKey(u64);

/// What is being done, for log lines.
pub(super) const DOING: &str = "SSL handshaking to upstream";

impl TlsClient {
    fn new(values: &TlsConf) -> Result<Self> {
        let mut ciphers = values.ciphers.clone();
        if let Some(suites) = &values.suites {
            ciphers.set_tls13(suites).map_err(|error| Error::new(error.to_string()))?;
        }
        let mut settings = ClientSettings {
            tls12: values.protocols.0,
            tls13: values.protocols.1,
            ciphers,
            session_reuse: values.session_reuse,
            ..ClientSettings::default()
        };
        let mut dynamic = None;
        if let Some(certificate) = values.certificate.as_ref().filter(|source| !source.text.is_empty()) {
            let Some(key) = &values.certificate_key else {
                let text = format!(
                    "no \"proxy_ssl_certificate_key\" is defined for certificate \"{}\"",
                    certificate.text
                );
                return Err(Error::at(&certificate.span, text));
            };
            if certificate.is_variable() || key.is_variable() {
                dynamic = Some((certificate.clone(), key.clone()));
            } else {
                let read =
                    read_identity(&certificate.text, &key.text, &values.passwords, certificate.conf_prefix());
                settings.identity = Some(read.map_err(|text| Error::at(&certificate.span, text))?);
            }
        }
        let context = ClientContext::new(&settings).map_err(|error| Error::new(error.to_string()))?;
        Ok(Self {
            settings,
            context,
            dynamic,
            cache: values.certificate_cache.clone(),
            passwords: Rc::clone(&values.passwords),
            name: values.name.clone(),
            server_name: values.server_name,
            trust: trust(values)?,
        })
    }

    /// The name the server is expected to have, where the address has `host`.
    pub(super) fn name(&self, req: &mut Request, host: &str) -> String {
        let text = match &self.name {
            Some(template) => String::from_utf8_lossy(&template.eval(req)).into_owned(),
            None => host.to_owned(),
        };
        without_port(&text).to_owned()
    }

    pub(super) fn key(&self, name: &str) -> TlsKey {
        let mut hash = DefaultHasher::new();
        std::ptr::from_ref(self).addr().hash(&mut hash);
        name.hash(&mut hash);
        TlsKey(hash.finish())
    }

    /// Whether connections depend on more of a request than its name.
    pub(super) fn is_dynamic(&self) -> bool {
        self.dynamic.is_some()
    }

    /// Makes a TLS connection of a fresh socket.
    pub(super) async fn secure(
        &self,
        req: &mut Request,
        name: &str,
        stream: Stream,
        peer: &Addr,
        timeout_ms: u64,
    ) -> std::result::Result<Transport, Failure> {
        let context = match &self.dynamic {
            None => self.context.clone(),
            Some(pair) => self.context_for(req, pair).await?,
        };
        let sni = self.server_name.then_some(name).filter(|name| name.parse::<std::net::IpAddr>().is_err());
        let mut session = context.connect(sni, peer.ip()).map_err(|error| failed(&error))?;
        let mut input = Buf::new();
        let until = net::now().0.saturating_add(timeout_ms);
        if let Err(error) = handshake(&stream, &mut session, &mut input, until).await {
            return Err(failure(&error));
        }
        if let Some(trust) = &self.trust {
            verify(trust, &session.peer_certificates(), name)?;
        }
        Ok(Transport::Secure(Rc::new(Secure::new(stream, session, input, true))))
    }

    async fn context_for(
        &self,
        req: &mut Request,
        (certificate, key): &(Source, Source),
    ) -> std::result::Result<ClientContext, Failure> {
        let names = (certificate.eval(req), key.eval(req));
        if names.0.is_empty() {
            return Ok(self.context.clone());
        }
        let prefix = certificate.conf_prefix();
        let identity = load_identity(self.cache.as_deref(), names, &self.passwords, prefix)
            .await
            .map_err(|text| Failure::new(Conditions::ERROR, format!("{text} while {DOING}")))?;
        let settings = ClientSettings { identity: Some(identity), ..self.settings.clone() };
        ClientContext::new(&settings).map_err(|error| failed(&error))
    }
}

/// `host` of `host:port`, and the address in brackets.
fn without_port(text: &str) -> &str {
    if let Some(inner) = text.strip_prefix('[') {
        return inner.split(']').next().unwrap_or(inner);
    }
    match text.split_once(':') {
        Some((host, rest)) if !rest.contains(':') => host,
        _ => text,
    }
}

fn trust(values: &TlsConf) -> Result<Option<TrustStore>> {
    if !values.verify {
        return Ok(None);
    }
    let Some(path) = &values.trusted_certificate else {
        return Err(Error::new("no proxy_ssl_trusted_certificate for proxy_ssl_verify"));
    };
    let read = |path: &PathBuf| {
        std::fs::read(path).map_err(|error| Error::system("open()", &path.display().to_string(), &error))
    };
    let unusable = |path: &PathBuf, error: tls::Error| {
        Error::new(format!("cannot load \"{}\": {error}", path.display()))
    };
    let mut store = TrustStore::new(values.verify_depth);
    store.add_pem(&read(path)?).map_err(|error| unusable(path, error))?;
    if let Some(crl) = &values.crl {
        store.set_crl_pem(&read(crl)?).map_err(|error| unusable(crl, error))?;
    }
    Ok(Some(store))
}

fn verify(trust: &TrustStore, chain: &[Vec<u8>], name: &str) -> std::result::Result<(), Failure> {
    if let Some(why) = crate::modules::ssl::verify(trust, chain, Purpose::Server) {
        let text =
            format!("upstream SSL certificate verify error: ({}:{}) while {DOING}", why.code, why.text);
        return Err(Failure::new(Conditions::ERROR, text));
    }
    let leaf = chain.first().and_then(|der| Certificate::read(der));
    if leaf.is_some_and(|leaf| leaf.is_for(name)) {
        return Ok(());
    }
    let text = format!("upstream SSL certificate does not match \"{name}\" while {DOING}");
    Err(Failure::new(Conditions::ERROR, text))
}

fn failed(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Conditions::ERROR, format!("SSL_do_handshake() failed (SSL: {error}) while {DOING}"))
}

fn failure(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::TimedOut => Failure::io(error, "SSL_do_handshake", DOING),
        io::ErrorKind::UnexpectedEof => {
            Failure::new(Conditions::ERROR, format!("peer closed connection in SSL handshake while {DOING}"))
        }
        io::ErrorKind::Other => failed(error),
        _ => {
            let text = conf::error::errno(error);
            let text = format!("peer closed connection in SSL handshake ({text}) while {DOING}");
            Failure::new(Conditions::ERROR, text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_their_port() {
        for (text, name) in [
            ("a.b:443", "a.b"),
            ("a.b", "a.b"),
            ("[::1]:443", "::1"),
            ("[::1]", "::1"),
            ("::1", "::1"),
            ("", ""),
        ] {
            assert_eq!(without_port(text), name);
        }
    }
}
