//! How arguments of `*_ssl_*` are read.

use std::path::PathBuf;

use conf::{Error, Node, Result};

use crate::build::Builder;
pub use crate::modules::ssl::{identity_cache, passwords, protocol_flags};
use crate::upstream::TlsConfSettings;

/// A cipher string.
///
/// # Errors
/// It leaves no suite.
pub fn ciphers(node: &Node) -> Result<tls::Ciphers> {
    let text = node.first();
    tls::Ciphers::parse(text)
        .map_err(|error| node.error(format!("SSL_CTX_set_cipher_list(\"{text}\") failed ({error})")))
}

/// A file; an empty name takes back what a level above said.
pub fn path(cx: &Builder, node: &Node) -> Option<PathBuf> {
    (!node.first().is_empty()).then(|| cx.paths.conf(node.first()))
}

/// `Name value` of OpenSSL's configuration, as far as there is something behind it.
///
/// # Errors
/// There is nothing behind it.
pub fn conf_command(set: &mut TlsConfSettings, node: &Node) -> Result<()> {
    let (name, value) = (node.first(), node.second());
    match (name, value) {
        ("Ciphersuites", _) => {
            tls::Ciphers::default().set_tls13(value).map_err(|error| {
                node.error(format!("SSL_CONF_cmd(\"{name}\", \"{value}\") failed ({error})"))
            })?;
            set.suites.replace(Some(value.into()));
        }
        ("MinProtocol", "TLSv1.3") => drop(set.protocols.replace((false, true))),
        ("MaxProtocol", "TLSv1.2") => drop(set.protocols.replace((true, false))),
        ("MinProtocol", "None" | "TLSv1" | "TLSv1.1" | "TLSv1.2") | ("MaxProtocol", "None" | "TLSv1.3") => {}
        _ => {
            let text = format!("{} \"{name}\" \"{value}\" is not supported", node.name.text());
            return Err(Error::unsupported(&node.span, text));
        }
    }
    Ok(())
}
