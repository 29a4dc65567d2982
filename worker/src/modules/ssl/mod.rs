//! `ngx_http_ssl_module`: TLS for clients.
//!
//! What a server block says is compiled when the configuration is read ([`compile`]); sessions and ticket keys live in memory that
//! all workers share ([`shared`]). The handshake itself is the connection's business; this module says with what it is made.
//!
//! TLS 1.0 and 1.1, suites without forward secrecy, and engines do not exist here. Old versions are left out with a warning, as long
//! as one remains; what cannot be done at all is refused by name.

mod cache;
mod compile;
mod directives;
mod shared;
mod source;
mod stapling;
mod variables;

use std::ops::Deref;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use conf::{Directive, Result};

pub use cache::IdentityCache;
pub(crate) use cache::{load as load_identity, read as read_identity};
pub use compile::{Compiled, verify};
pub use directives::{identity_cache, passwords, protocol_flags};
pub use shared::{SessionCache, TICKET_ZONE_BYTES, TICKET_ZONE_NAME};
pub use source::Source;

use crate::build::{Builder, Conf, LevelKind, MergeCx, Slot};
use crate::connection::HandshakeHook;
use crate::module::{Attach, Module};
use crate::settings;
use crate::variables::Variable;

/// The module.
pub const MODULE: Ssl = Ssl;

/// Settings of servers.
pub static CONF: Slot<SslConf> = Slot::new();

/// See the module's documentation.
pub struct Ssl;

/// `ssl_verify_client`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verify {
    /// No certificate is asked for.
    #[default]
    Off,
    /// One is demanded.
    On,
    /// One that is sent must be good.
    Optional,
    /// One that is sent must be good, except that nobody needs to know its issuer.
    OptionalNoCa,
}

settings! {
    /// TLS settings of a server.
    pub struct SslValues, SslSettings {
        /// `ssl_protocols`: whether TLS 1.2 and TLS 1.3 are wanted.
        protocols: (bool, bool) = (true, true),
        /// `ssl_prefer_server_ciphers`.
        prefer_server_ciphers: bool = false,
        /// `ssl_certificate`.
        certificates: Rc<[Source]> = Rc::from([]),
        /// `ssl_certificate_key`.
        keys: Rc<[Source]> = Rc::from([]),
        /// `ssl_certificate_cache`: certificates whose names come out of variables.
        certificate_cache: Option<Rc<IdentityCache>> = None,
        /// `ssl_password_file`.
        passwords: Rc<[Vec<u8>]> = Rc::from([]),
        /// `ssl_ciphers`.
        ciphers: tls::Ciphers = tls::Ciphers::default(),
        /// `ssl_ecdh_curve`.
        curves: tls::Curves = tls::Curves::default(),
        /// `ssl_conf_command Ciphersuites`.
        suites: Option<Rc<str>> = None,
        /// `ssl_buffer_size`: plaintext bytes of a record.
        buffer_size: usize = 16 * 1024,
        /// `ssl_verify_client`.
        verify_client: Verify = Verify::Off,
        /// `ssl_verify_depth`.
        verify_depth: usize = 1,
        /// `ssl_client_certificate`: authorities whose names clients are sent.
        client_certificate: Option<PathBuf> = None,
        /// `ssl_trusted_certificate`: authorities whose names they are not sent.
        trusted_certificate: Option<PathBuf> = None,
        /// `ssl_crl`.
        crl: Option<PathBuf> = None,
        /// `ssl_stapling`.
        stapling: bool = false,
        /// `ssl_stapling_verify`.
        stapling_verify: bool = false,
        /// `ssl_stapling_responder`.
        stapling_responder: Option<Rc<str>> = None,
        /// `ssl_stapling_file`.
        stapling_file: Option<PathBuf> = None,
        /// `ssl_session_cache`.
        session_cache: SessionCache = SessionCache::None,
        /// `ssl_session_tickets`.
        session_tickets: bool = true,
        /// `ssl_session_ticket_key`.
        ticket_keys: Option<Arc<shared::FileKeys>> = None,
        /// `ssl_session_timeout`, seconds.
        session_timeout: u64 = 300,
        /// `ssl_reject_handshake`.
        reject_handshake: bool = false,
        /// `ssl_early_data`: only `off` is accepted.
        early_data: bool = false,
        /// Runs when the ClientHello is complete (`ssl_client_hello_by_lua`).
        client_hello_hook: Option<Rc<dyn HandshakeHook>> = None,
        /// Runs before a certificate is chosen (`ssl_certificate_by_lua`).
        certificate_hook: Option<Rc<dyn HandshakeHook>> = None,
    }
}

/// A server's settings, and what became of them.
#[derive(Default)]
pub struct SslConf {
    /// The settings.
    pub values: SslValues,
    compiled: Option<Rc<Compiled>>,
}

impl Deref for SslConf {
    type Target = SslValues;

    fn deref(&self) -> &SslValues {
        &self.values
    }
}

impl SslConf {
    /// What handshakes are made with; `None`: the server has no certificate.
    pub fn compiled(&self) -> Option<&Rc<Compiled>> {
        self.compiled.as_ref()
    }

    /// What runs during handshakes, in order.
    pub fn hooks(&self) -> impl Iterator<Item = &Rc<dyn HandshakeHook>> {
        self.values.client_hello_hook.iter().chain(&self.values.certificate_hook)
    }
}

impl Conf for SslConf {
    fn merge(&mut self, outer: &Self, cx: &mut MergeCx<'_>) -> Result<()> {
        self.values.merge_settings(&outer.values);
        if matches!(cx.kind, LevelKind::Server) {
            self.compiled = Compiled::new(&self.values, cx.builder)?.map(Rc::new);
        } else {
            self.compiled.clone_from(&outer.compiled);
        }
        Ok(())
    }

    fn is_inherited_whole(&self, inner: &LevelKind) -> bool {
        // every server has its own: it is compiled there
        !matches!(inner, LevelKind::Server)
    }
}

impl Module for Ssl {
    fn name(&self) -> &'static str {
        "ngx_http_ssl_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        directives::DIRECTIVES
    }

    fn variables(&self) -> &'static [Variable] {
        variables::VARIABLES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&CONF);
    }

    fn attach(&self, _cx: &mut Attach<'_>) -> Result<()> {
        Ok(())
    }

    fn start(&self, worker: &Rc<crate::worker::Worker>) {
        for server in &worker.config.servers {
            if let Some(compiled) = server.confs.get(&CONF).compiled() {
                compiled.attach_memory();
                for inquiry in compiled.take_inquiries() {
                    net::spawn(inquiry.run(Rc::clone(compiled)));
                }
            }
        }
    }
}
