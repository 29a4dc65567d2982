//! The directives `*_ssl_*` of modules that pass requests on: one table, made once per module.

/// Makes the table of a module's TLS directives: `upstream_tls_directives!(DIRECTIVES, "proxy", SLOT)`.
#[macro_export]
macro_rules! upstream_tls_directives {
    ($table:ident, $prefix:literal, $slot:path) => {
        #[doc = concat!("`", $prefix, "_ssl_*`.")]
        pub(super) static $table: &[::conf::Directive<$crate::build::Builder>] = {
            use ::conf::{Arity, Contexts, Directive, Shape};
            use $crate::build::Builder;
            use $crate::upstream::secure_arguments as arguments;

            const fn directive(
                name: &'static str,
                arity: Arity,
                default: &'static str,
                doc: &'static str,
                apply: fn(&mut Builder, &::conf::Node) -> ::conf::Result<()>,
            ) -> Directive<Builder> {
                let contexts = Contexts::HTTP_SERVER_LOCATION;
                Directive { name, contexts, arity, shape: Shape::Simple, default, doc, apply }
            }

            &[
                directive(
                    concat!($prefix, "_ssl_session_reuse"),
                    Arity::Flag,
                    "on",
                    "Sessions with servers are resumed.",
                    |cx, node| {
                        let flag = node.flag()?;
                        cx.conf(&$slot).values.set.session_reuse.set(flag)
                    },
                ),
                directive(
                    concat!($prefix, "_ssl_protocols"),
                    Arity::AtLeast(1),
                    "TLSv1.2 TLSv1.3",
                    "TLS versions. Versions before 1.2 are left out with a warning.",
                    |cx, node| {
                        let flags = arguments::protocol_flags(cx, node)?;
                        cx.conf(&$slot).values.set.protocols.set(flags)
                    },
                ),
                directive(
                    concat!($prefix, "_ssl_ciphers"),
                    Arity::Exactly(1),
                    "DEFAULT",
                    "Cipher suites of TLS 1.2 as an OpenSSL cipher string.",
                    |cx, node| {
                        let ciphers = arguments::ciphers(node)?;
                        cx.conf(&$slot).values.set.ciphers.set(ciphers)
                    },
                ),
                directive(
                    concat!($prefix, "_ssl_name"),
                    Arity::Exactly(1),
                    "host of the address",
                    "The name servers must prove and are sent.",
                    |cx, node| {
                        let name = $crate::script::Template::parse(cx, node, node.first())?;
                        cx.conf(&$slot).values.set.name.set(Some(::std::rc::Rc::new(name)))
                    },
                ),
                directive(
                    concat!($prefix, "_ssl_server_name"),
                    Arity::Flag,
                    "off",
                    "The name is sent in handshakes (SNI).",
                    |cx, node| {
                        let flag = node.flag()?;
                        cx.conf(&$slot).values.set.server_name.set(flag)
                    },
                ),
                directive(
                    concat!($prefix, "_ssl_verify"),
                    Arity::Flag,
                    "off",
                    "Certificates of servers are verified.",
                    |cx, node| {
                        let flag = node.flag()?;
                        cx.conf(&$slot).values.set.verify.set(flag)
                    },
                ),
                directive(
                    concat!($prefix, "_ssl_verify_depth"),
                    Arity::Exactly(1),
                    "1",
                    "How long chains of servers' certificates may be.",
                    |cx, node| {
                        let depth = usize::try_from(node.number()?).unwrap_or(usize::MAX);
                        cx.conf(&$slot).values.set.verify_depth.set(depth)
                    },
                ),
                directive(
                    concat!($prefix, "_ssl_trusted_certificate"),
                    Arity::Exactly(1),
                    "",
                    "File of authorities for servers' certificates.",
                    |cx, node| {
                        let path = arguments::path(cx, node);
                        cx.conf(&$slot).values.set.trusted_certificate.set(path)
                    },
                ),
                directive(
                    concat!($prefix, "_ssl_crl"),
                    Arity::Exactly(1),
                    "",
                    "File of revocation lists for servers' certificates.",
                    |cx, node| {
                        let path = arguments::path(cx, node);
                        cx.conf(&$slot).values.set.crl.set(path)
                    },
                ),
                directive(
                    concat!($prefix, "_ssl_certificate"),
                    Arity::Exactly(1),
                    "",
                    "The certificate we prove ourselves with: a file, `data:` with its text, or variables.",
                    |cx, node| {
                        let source = $crate::modules::ssl::Source::parse(cx, node)?;
                        cx.conf(&$slot).values.set.certificate.set(Some(source))
                    },
                ),
                directive(
                    concat!($prefix, "_ssl_certificate_key"),
                    Arity::Exactly(1),
                    "",
                    "The key of that certificate, in the same forms.",
                    |cx, node| {
                        let source = $crate::modules::ssl::Source::parse(cx, node)?;
                        cx.conf(&$slot).values.set.certificate_key.set(Some(source))
                    },
                ),
                directive(
                    concat!($prefix, "_ssl_certificate_cache"),
                    Arity::AtLeast(1),
                    "off",
                    "Keeps certificates whose names come out of variables.",
                    |cx, node| {
                        let cache = arguments::identity_cache(node)?;
                        cx.conf(&$slot).values.set.certificate_cache.set(cache)
                    },
                ),
                directive(
                    concat!($prefix, "_ssl_password_file"),
                    Arity::Exactly(1),
                    "",
                    "File with passwords of keys, one a line.",
                    |cx, node| {
                        let passwords = arguments::passwords(cx, node)?;
                        cx.conf(&$slot).values.set.passwords.set(passwords)
                    },
                ),
                directive(
                    concat!($prefix, "_ssl_conf_command"),
                    Arity::Exactly(2),
                    "",
                    "A command of OpenSSL's configuration: `Ciphersuites`, `MinProtocol`, `MaxProtocol`.",
                    |cx, node| arguments::conf_command(&mut cx.conf(&$slot).values.set, node),
                ),
            ]
        };
    };
}
