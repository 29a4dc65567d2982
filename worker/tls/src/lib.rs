//! TLS without sockets and without a clock of its own: bytes in, plaintext out.
//!
//! The only crate that names rustls (with aws-lc-rs below it), so that a new generation of it is one crate's work. What nginx's
//! users write is translated here: OpenSSL's names of ciphers and curves, PEM files, ticket key files; what rustls does not have
//! (TLS before 1.2, ciphers without forward secrecy, engines) is an error that says so.
//!
//! [`hello`] reads a ClientHello before anything is decided, [`server`] holds what a server block says, [`client`] what is said of
//! connections to others, [`session`] is a connection, [`chain`] verifies the peer's certificates the way OpenSSL does.
#![forbid(unsafe_code)]

pub mod chain;
pub mod ciphers;
pub mod client;
mod crl;
pub mod curves;
mod error;
pub mod facts;
pub mod fuzz;
pub mod hello;
pub mod identity;
pub mod ocsp;
mod pem;
mod proof;
pub mod server;
pub mod session;
pub mod tickets;

pub use chain::{Failure, Purpose, TrustStore};
pub use ciphers::Ciphers;
pub use client::{ClientContext, ClientSettings};
pub use curves::Curves;
pub use error::{Error, Result};
pub use facts::Certificate;
pub use hello::{Hello, HelloReader, Offer, Refusal};
pub use identity::Identity;
pub use rustls::server::StoresServerSessions as SessionStore;
pub use server::{ClientAuth, ServerContext, ServerSettings};
pub use session::{Progress, Session};
pub use tickets::{Key, TicketKeys};

use std::sync::{Arc, LazyLock};

/// The cryptography everything here uses.
static PROVIDER: LazyLock<Arc<rustls::crypto::CryptoProvider>> =
    LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));

/// Fills `out` from the system's generator.
///
/// # Errors
/// The generator failed.
pub fn random(out: &mut [u8]) -> Result<()> {
    aws_lc_rs::rand::fill(out).map_err(|_| Error::Random)
}
