//! `$ssl_*`: the connection, the session, and the client's certificate.

use tls::Certificate;

use super::shared;
use crate::connection::TlsFacts;
use crate::request::Request;
use crate::variables::Variable;

fn found(out: &mut Vec<u8>, value: impl AsRef<[u8]>) -> bool {
    out.extend_from_slice(value.as_ref());
    true
}

/// A variable out of the session; without TLS, or when it is empty, there is none.
fn session(req: &Request, out: &mut Vec<u8>, get: impl FnOnce(&tls::Session) -> String) -> bool {
    let Some(secure) = req.conn.stream.secure() else { return false };
    let value = secure.with_session(get);
    !value.is_empty() && found(out, value)
}

fn facts(req: &Request, out: &mut Vec<u8>, get: impl FnOnce(&TlsFacts) -> Option<String>) -> bool {
    let Some(value) = req.conn.tls.as_deref().and_then(get) else { return false };
    !value.is_empty() && found(out, value)
}

fn certificate(req: &Request, out: &mut Vec<u8>, get: impl FnOnce(&Certificate<'_>) -> String) -> bool {
    facts(req, out, |tls| Certificate::read(tls.certificates.first()?).map(|read| get(&read)))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // writing to a string does not fail
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(super) static VARIABLES: &[Variable] = &[
    Variable::new("ssl_protocol", "TLS version.", |req, _, out| {
        session(req, out, |session| session.version().into())
    }),
    Variable::new("ssl_cipher", "Cipher suite, by OpenSSL's name.", |req, _, out| {
        session(req, out, |session| session.cipher().into())
    }),
    Variable::new("ssl_ciphers", "Cipher suites the client offered.", |req, _, out| {
        facts(req, out, |tls| Some(tls.offer.ciphers()))
    }),
    Variable::new("ssl_curve", "Group of the key exchange.", |req, _, out| {
        session(req, out, tls::Session::curve)
    }),
    Variable::new("ssl_curves", "Groups the client offered.", |req, _, out| {
        facts(req, out, |tls| Some(tls.offer.curves()))
    }),
    Variable::new("ssl_sigalgs", "Signature schemes the client offered, by number.", |req, _, out| {
        facts(req, out, |tls| Some(tls.offer.signature_schemes()))
    }),
    Variable::new(
        "ssl_session_id",
        "Identifies the session, where one is kept or resumed.",
        |req, _, out| session(req, out, |session| session.id().map(|id| hex(id)).unwrap_or_default()),
    ),
    Variable::new("ssl_session_reused", "r if the session was resumed, else a dot.", |req, _, out| {
        session(req, out, |session| if session.is_resumed() { "r" } else { "." }.into())
    }),
    Variable::new("ssl_early_data", "1 for a request in early data: there are none.", |_, _, _| false),
    Variable::new("ssl_server_name", "The name the client asked for (SNI).", |req, _, out| {
        facts(req, out, |tls| tls.server_name.as_deref().map(str::to_owned))
    }),
    Variable::new("ssl_alpn_protocol", "The protocol chosen by ALPN.", |req, _, out| {
        session(req, out, |session| {
            session.protocol().map(|name| String::from_utf8_lossy(name).into_owned()).unwrap_or_default()
        })
    }),
    Variable::new(
        "ssl_client_cert",
        "The client's certificate, its lines but the first indented: for header fields.",
        |req, _, out| {
            certificate(req, out, |read| {
                let pem = read.pem();
                pem.trim_end().replace('\n', "\n\t")
            })
        },
    ),
    Variable::new("ssl_client_raw_cert", "The client's certificate as it is.", |req, _, out| {
        certificate(req, out, |read| read.pem())
    }),
    Variable::new("ssl_client_escaped_cert", "The client's certificate, urlencoded.", |req, _, out| {
        certificate(req, out, |read| {
            let mut escaped = Vec::new();
            http1::escape_uri(&mut escaped, read.pem().as_bytes(), http1::Escape::UriComponent);
            String::from_utf8_lossy(&escaped).into_owned()
        })
    }),
    Variable::new("ssl_client_s_dn", "Subject of the client's certificate (RFC 2253).", |req, _, out| {
        certificate(req, out, |read| read.subject())
    }),
    Variable::new("ssl_client_i_dn", "Issuer of the client's certificate (RFC 2253).", |req, _, out| {
        certificate(req, out, |read| read.issuer())
    }),
    Variable::new(
        "ssl_client_s_dn_legacy",
        "Subject of the client's certificate, with slashes.",
        |req, _, out| certificate(req, out, |read| read.subject_legacy()),
    ),
    Variable::new(
        "ssl_client_i_dn_legacy",
        "Issuer of the client's certificate, with slashes.",
        |req, _, out| certificate(req, out, |read| read.issuer_legacy()),
    ),
    Variable::new("ssl_client_serial", "Serial number of the client's certificate.", |req, _, out| {
        certificate(req, out, |read| read.serial())
    }),
    Variable::new("ssl_client_fingerprint", "SHA-1 of the client's certificate.", |req, _, out| {
        certificate(req, out, |read| read.fingerprint())
    }),
    Variable::new("ssl_client_verify", "SUCCESS, NONE, or FAILED:reason.", |req, _, out| {
        facts(req, out, |tls| {
            Some(match tls.failure {
                _ if tls.certificates.is_empty() => "NONE".into(),
                Some(failure) => format!("FAILED:{}", failure.text),
                None => "SUCCESS".into(),
            })
        })
    }),
    Variable::new(
        "ssl_client_v_start",
        "When the client's certificate begins to be valid.",
        |req, _, out| certificate(req, out, |read| read.valid_from()),
    ),
    Variable::new("ssl_client_v_end", "When the client's certificate ends to be valid.", |req, _, out| {
        certificate(req, out, |read| read.valid_to())
    }),
    Variable::new(
        "ssl_client_v_remain",
        "Days until the client's certificate ends to be valid.",
        |req, _, out| {
            let now = i64::try_from(shared::now_s()).unwrap_or(i64::MAX);
            certificate(req, out, |read| read.days_left(now).to_string())
        },
    ),
];
