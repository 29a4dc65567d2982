//! The directives of `ngx_http_ssl_module`.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use conf::value::{size, time};
use conf::{Arity, Contexts, Directive, Error, Node, Result, Setting, Shape};

use super::shared::FileKeys;
use super::{CONF, IdentityCache, SessionCache, Source, SslSettings, Verify};
use crate::build::Builder;
use crate::zone::ZoneKind;

const HTTP_SERVER: Contexts = Contexts::HTTP.or(Contexts::SERVER);

/// A directive with simple arguments in `http` and `server`.
const fn directive(
    name: &'static str,
    arity: Arity,
    default: &'static str,
    doc: &'static str,
    apply: fn(&mut Builder, &Node) -> Result<()>,
) -> Directive<Builder> {
    Directive { name, contexts: HTTP_SERVER, arity, shape: Shape::Simple, default, doc, apply }
}

const ONE: Arity = Arity::Exactly(1);

pub(super) static DIRECTIVES: &[Directive<Builder>] = &[
    directive(
        "ssl_certificate",
        ONE,
        "",
        "File with a certificate and its chain, `data:` with their text, or variables; once per kind of key.",
        |cx, node| add(cx, node, |set| &mut set.certificates),
    ),
    directive(
        "ssl_certificate_key",
        ONE,
        "",
        "The key of the certificate, in the same forms.",
        |cx, node| add(cx, node, |set| &mut set.keys),
    ),
    directive(
        "ssl_certificate_cache",
        Arity::AtLeast(1),
        "off",
        "Keeps certificates whose names come out of variables.",
        certificate_cache,
    ),
    directive("ssl_password_file", ONE, "", "File with passwords of keys, one a line.", password_file),
    directive(
        "ssl_protocols",
        Arity::AtLeast(1),
        "TLSv1.2 TLSv1.3",
        "TLS versions. Versions before 1.2 are left out with a warning.",
        protocols,
    ),
    directive(
        "ssl_ciphers",
        ONE,
        "HIGH:!aNULL:!MD5",
        "Cipher suites of TLS 1.2 as an OpenSSL cipher string; those without forward secrecy do not exist.",
        |cx, node| {
            let ciphers = tls::Ciphers::parse(node.first()).map_err(|error| {
                node.error(format!("SSL_CTX_set_cipher_list(\"{}\") failed ({error})", node.first()))
            })?;
            set(cx).ciphers.set(ciphers)
        },
    ),
    directive(
        "ssl_prefer_server_ciphers",
        Arity::Flag,
        "off",
        "Whose order of ciphers counts.",
        |cx, node| {
            let flag = node.flag()?;
            set(cx).prefer_server_ciphers.set(flag)
        },
    ),
    directive(
        "ssl_ecdh_curve",
        ONE,
        "auto",
        "Groups for key exchange; `auto` begins with X25519MLKEM768.",
        |cx, node| {
            let curves = tls::Curves::parse(node.first()).map_err(|error| {
                node.error(format!("SSL_CTX_set1_curves_list(\"{}\") failed ({error})", node.first()))
            })?;
            set(cx).curves.set(curves)
        },
    ),
    directive(
        "ssl_buffer_size",
        ONE,
        "16k",
        "The most bytes of a record: small ones arrive earlier, large ones cost less.",
        |cx, node| {
            let size = node.size()?;
            set(cx).buffer_size.set(size)
        },
    ),
    directive(
        "ssl_verify_client",
        ONE,
        "off",
        "Whether clients are asked for a certificate, and what happens without a good one.",
        |cx, node| {
            let verify = node.choice(&[
                ("off", Verify::Off),
                ("on", Verify::On),
                ("optional", Verify::Optional),
                ("optional_no_ca", Verify::OptionalNoCa),
            ])?;
            set(cx).verify_client.set(verify)
        },
    ),
    directive("ssl_verify_depth", ONE, "1", "How long chains of client certificates may be.", |cx, node| {
        let depth = usize::try_from(node.number()?).unwrap_or(usize::MAX);
        set(cx).verify_depth.set(depth)
    }),
    directive(
        "ssl_client_certificate",
        ONE,
        "",
        "File of authorities for client certificates; their names are sent to clients.",
        |cx, node| path(cx, node, |set| &mut set.client_certificate),
    ),
    directive(
        "ssl_trusted_certificate",
        ONE,
        "",
        "File of authorities for client certificates; their names are not sent.",
        |cx, node| path(cx, node, |set| &mut set.trusted_certificate),
    ),
    directive("ssl_crl", ONE, "", "File of revocation lists for client certificates.", |cx, node| {
        path(cx, node, |set| &mut set.crl)
    }),
    directive(
        "ssl_session_cache",
        Arity::Range(1, 2),
        "none",
        "Where sessions are kept: `off`, `none`, `builtin[:size]`, `shared:name:size`.",
        session_cache,
    ),
    directive(
        "ssl_session_tickets",
        Arity::Flag,
        "on",
        "Sessions are given to clients as tickets.",
        |cx, node| {
            let flag = node.flag()?;
            set(cx).session_tickets.set(flag)
        },
    ),
    directive(
        "ssl_session_ticket_key",
        ONE,
        "",
        "File with a key for tickets, 48 or 80 bytes; of several the first one seals and all open. Without one, keys are made \
         and changed after `ssl_session_timeout`, and all workers share them.",
        ticket_key,
    ),
    directive("ssl_session_timeout", ONE, "5m", "How long a session may be resumed.", |cx, node| {
        let seconds = node.time_sec()?;
        set(cx).session_timeout.set(seconds)
    }),
    directive(
        "ssl_stapling",
        Arity::Flag,
        "off",
        "OCSP responses are sent along with certificates; responders are asked for them.",
        |cx, node| {
            let flag = node.flag()?;
            set(cx).stapling.set(flag)
        },
    ),
    directive(
        "ssl_stapling_responder",
        ONE,
        "",
        "The responder to ask instead of the one the certificate names.",
        |cx, node| {
            if !node.first().starts_with("http://") {
                return Err(node.error(format!("invalid URL prefix in OCSP responder \"{}\"", node.first())));
            }
            set(cx).stapling_responder.set(Some(node.first().into()))
        },
    ),
    directive(
        "ssl_stapling_file",
        ONE,
        "",
        "File with an OCSP response, DER, to staple instead.",
        |cx, node| path(cx, node, |set| &mut set.stapling_file),
    ),
    directive(
        "ssl_stapling_verify",
        Arity::Flag,
        "off",
        "Responses must be signed by the certificate's issuer, by whom it appointed, or by a trusted certificate.",
        |cx, node| {
            let flag = node.flag()?;
            set(cx).stapling_verify.set(flag)
        },
    ),
    directive(
        "ssl_reject_handshake",
        Arity::Flag,
        "off",
        "Handshakes for this server are refused with `unrecognized_name`.",
        |cx, node| {
            let flag = node.flag()?;
            set(cx).reject_handshake.set(flag)
        },
    ),
    directive(
        "ssl_early_data",
        Arity::Flag,
        "off",
        "Requests in TLS 1.3's early data can be replayed by anybody; only `off` is accepted.",
        |cx, node| {
            if node.flag()? {
                let text = "\"ssl_early_data on\" is not supported: early data can be replayed";
                return Err(Error::unsupported(&node.span, text));
            }
            set(cx).early_data.set(false)
        },
    ),
    directive(
        "ssl_conf_command",
        Arity::Exactly(2),
        "",
        "A command of OpenSSL's configuration. `Ciphersuites` and `Options` that are the case anyway are understood.",
        conf_command,
    ),
    directive(
        "ssl_dhparam",
        ONE,
        "",
        "Parameters for DHE suites, which do not exist here: read over with a warning.",
        |cx, node| {
            cx.warn(node.warning("\"ssl_dhparam\" ignored, there are no DHE cipher suites"));
            Ok(())
        },
    ),
];

fn set(cx: &mut Builder) -> &mut SslSettings {
    &mut cx.conf(&CONF).values.set
}

fn add(
    cx: &mut Builder,
    node: &Node,
    field: impl Fn(&mut SslSettings) -> &mut Setting<Rc<[Source]>>,
) -> Result<()> {
    let source = Source::parse(cx, node)?;
    let list = field(set(cx)).or_insert_with(|| Rc::from([]));
    *list = list.iter().cloned().chain([source]).collect();
    Ok(())
}

fn path(
    cx: &mut Builder,
    node: &Node,
    field: impl Fn(&mut SslSettings) -> &mut Setting<Option<PathBuf>>,
) -> Result<()> {
    let path = cx.paths.conf(node.first());
    // an empty name takes back what a level above said
    let path = (!node.first().is_empty()).then_some(path);
    field(set(cx)).set(path)
}

/// Versions by name: whether TLS 1.2 and TLS 1.3 are among them. Older ones are left out with a warning.
///
/// # Errors
/// A name is unknown, or none of the two is named.
pub fn protocol_flags(cx: &mut Builder, node: &Node) -> Result<(bool, bool)> {
    let (mut tls12, mut tls13) = (false, false);
    let directive = node.name.text();
    for (i, name) in node.str_args().enumerate() {
        match name {
            "TLSv1.2" => tls12 = true,
            "TLSv1.3" => tls13 = true,
            "SSLv2" | "SSLv3" | "TLSv1" | "TLSv1.1" => {
                let text = format!("\"{name}\" is not supported and left out of \"{directive}\"");
                cx.warn(node.warning(text));
            }
            _ => return Err(node.invalid_value(i)),
        }
    }
    if !tls12 && !tls13 {
        let text = format!("\"{directive}\" names no version that is supported: TLSv1.2, TLSv1.3");
        return Err(node.error(text));
    }
    Ok((tls12, tls13))
}

fn protocols(cx: &mut Builder, node: &Node) -> Result<()> {
    let flags = protocol_flags(cx, node)?;
    set(cx).protocols.set(flags)
}

/// The passwords in a file, one a line.
///
/// # Errors
/// It cannot be read.
pub fn passwords(cx: &Builder, node: &Node) -> Result<Rc<[Vec<u8>]>> {
    let path = cx.paths.conf(node.first());
    let text = std::fs::read(&path).map_err(|error| {
        Error::system("open()", &path.display().to_string(), &error).with_span(&node.span)
    })?;
    let line = |line: &[u8]| line.strip_suffix(b"\r").unwrap_or(line).to_vec();
    Ok(text.split(|byte| *byte == b'\n').map(line).filter(|line| !line.is_empty()).collect())
}

fn password_file(cx: &mut Builder, node: &Node) -> Result<()> {
    let passwords = passwords(cx, node)?;
    set(cx).passwords.set(passwords)
}

/// The argument of `ssl_certificate_cache` and its like.
///
/// # Errors
/// A parameter is wrong or missing.
pub fn identity_cache(node: &Node) -> Result<Option<Rc<IdentityCache>>> {
    let (mut max, mut inactive_s, mut valid_s) = (None, 10, 60);
    for (i, text) in node.str_args().enumerate() {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        match name {
            "off" if node.len() == 1 => return Ok(None),
            "max" => {
                max =
                    Some(value.parse().ok().filter(|max| *max > 0).ok_or_else(|| node.invalid_parameter(i))?)
            }
            "inactive" => inactive_s = time::parse_sec(value).ok_or_else(|| node.invalid_parameter(i))?,
            "valid" => valid_s = time::parse_sec(value).ok_or_else(|| node.invalid_parameter(i))?,
            _ => return Err(node.invalid_parameter(i)),
        }
    }
    let text = format!("\"{}\" must have the \"max\" parameter", node.name.text());
    let max = max.ok_or_else(|| node.error(text))?;
    Ok(Some(Rc::new(IdentityCache::new(max, inactive_s * 1000, valid_s * 1000))))
}

fn certificate_cache(cx: &mut Builder, node: &Node) -> Result<()> {
    let cache = identity_cache(node)?;
    set(cx).certificate_cache.set(cache)
}

/// Sessions of `builtin` without a size: OpenSSL's default.
const BUILTIN_SESSIONS: usize = 20 * 1024;
/// nginx's least size of a zone.
const ZONE_BYTES_MIN: usize = 8 * 4096;

fn session_cache(cx: &mut Builder, node: &Node) -> Result<()> {
    let mut cache = None;
    for (i, text) in node.str_args().enumerate() {
        let invalid = || node.error(format!("invalid session cache \"{text}\""));
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        match kind {
            "off" if i == 0 => cache = Some(SessionCache::Off),
            "none" if i == 0 => cache = Some(SessionCache::None),
            "builtin" => {
                let size = match rest {
                    "" => BUILTIN_SESSIONS,
                    rest => rest.parse().ok().filter(|size| *size > 0).ok_or_else(invalid)?,
                };
                // beside a shared one it would be asked first; the shared one does for both
                cache.get_or_insert(SessionCache::Builtin(size));
            }
            "shared" => {
                let (name, size) = rest.split_once(':').ok_or_else(invalid)?;
                let size = size::parse_size(size).ok_or_else(invalid)?;
                if name.is_empty() {
                    return Err(invalid());
                }
                if size < ZONE_BYTES_MIN {
                    return Err(node.error(format!("session cache \"{text}\" is too small")));
                }
                cache = Some(SessionCache::Shared(cx.zone(node, name, Some(size), ZoneKind::TlsSessions)?));
            }
            _ => return Err(invalid()),
        }
    }
    let cache = cache.ok_or_else(|| node.error("invalid session cache"))?;
    set(cx).session_cache.set(cache)
}

fn ticket_key(cx: &mut Builder, node: &Node) -> Result<()> {
    let path = cx.paths.conf(node.first());
    let bytes = std::fs::read(&path).map_err(|error| {
        Error::system("open()", &path.display().to_string(), &error).with_span(&node.span)
    })?;
    let key = tls::Key::from_file(&bytes)
        .ok_or_else(|| node.error(format!("\"{}\" must be 48 or 80 bytes", path.display())))?;
    let keys = set(cx).ticket_keys.or_insert_with(|| None);
    let mut all = keys.as_ref().map(|keys| keys.0.clone()).unwrap_or_default();
    all.push(key);
    *keys = Some(Arc::new(FileKeys(all)));
    Ok(())
}

/// `Options` that hold already, and those whose opposite is asked for harmlessly.
const OPTIONS: [&str; 9] = [
    "-SessionTicket",
    "SessionTicket",
    "Compression",
    "-Compression",
    "NoRenegotiation",
    "-ServerPreference",
    "ServerPreference",
    "PrioritizeChaCha",
    "NoResumptionOnRenegotiation",
];

fn conf_command(cx: &mut Builder, node: &Node) -> Result<()> {
    let (name, value) = (node.first(), node.second());
    let refuse = || {
        let text = format!("ssl_conf_command \"{name}\" \"{value}\" is not supported");
        Err(Error::unsupported(&node.span, text))
    };
    let set = set(cx);
    match name {
        "Ciphersuites" => {
            tls::Ciphers::default().set_tls13(value).map_err(|error| {
                node.error(format!("SSL_CONF_cmd(\"{name}\", \"{value}\") failed ({error})"))
            })?;
            set.suites.replace(Some(value.into()));
        }
        "Options" => {
            for option in value.split(',') {
                match option {
                    "-SessionTicket" => drop(set.session_tickets.replace(false)),
                    "SessionTicket" => drop(set.session_tickets.replace(true)),
                    "ServerPreference" => drop(set.prefer_server_ciphers.replace(true)),
                    "-ServerPreference" => drop(set.prefer_server_ciphers.replace(false)),
                    known if OPTIONS.contains(&known) => {}
                    _ => return refuse(),
                }
            }
        }
        "MinProtocol" | "MaxProtocol" => {
            let (mut tls12, mut tls13) = set.protocols.as_ref().copied().unwrap_or((true, true));
            match (name, value) {
                ("MinProtocol", "TLSv1.3") => tls12 = false,
                ("MaxProtocol", "TLSv1.2") => tls13 = false,
                ("MinProtocol", "None" | "TLSv1" | "TLSv1.1" | "TLSv1.2")
                | ("MaxProtocol", "None" | "TLSv1.3") => {}
                _ => return refuse(),
            }
            if !tls12 && !tls13 {
                return refuse();
            }
            set.protocols.replace((tls12, tls13));
        }
        "Curves" | "Groups" => {
            let curves = tls::Curves::parse(value).map_err(|error| {
                node.error(format!("SSL_CONF_cmd(\"{name}\", \"{value}\") failed ({error})"))
            })?;
            set.curves.replace(curves);
        }
        _ => return refuse(),
    }
    Ok(())
}
