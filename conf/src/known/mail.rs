//! Directives of nginx's mail modules.

use super::{MS, Module};
use crate::directive::Contexts;

pub(super) static MODULES: &[Module] = &[
    Module { name: "ngx_mail_module", directives: &[(Contexts::MAIN, &["mail"])] },
    Module {
        name: "ngx_mail_core_module",
        directives: &[
            (Contexts::MAIL, &["server"]),
            (Contexts::MAIL_SERVER, &["listen", "protocol"]),
            (MS, &["timeout", "server_name", "error_log", "resolver", "resolver_timeout", "max_errors"]),
        ],
    },
    Module {
        name: "ngx_mail_auth_http_module",
        directives: &[(
            MS,
            &["auth_http", "auth_http_timeout", "auth_http_header", "auth_http_pass_client_cert"],
        )],
    },
    Module {
        name: "ngx_mail_imap_module",
        directives: &[(MS, &["imap_client_buffer", "imap_capabilities", "imap_auth"])],
    },
    Module { name: "ngx_mail_pop3_module", directives: &[(MS, &["pop3_capabilities", "pop3_auth"])] },
    Module {
        name: "ngx_mail_proxy_module",
        directives: &[(
            MS,
            &[
                "proxy",
                "proxy_buffer",
                "proxy_timeout",
                "proxy_pass_error_message",
                "xclient",
                "proxy_smtp_auth",
                "proxy_protocol",
            ],
        )],
    },
    Module { name: "ngx_mail_realip_module", directives: &[(MS, &["set_real_ip_from"])] },
    Module {
        name: "ngx_mail_smtp_module",
        directives: &[(MS, &["smtp_client_buffer", "smtp_greeting_delay", "smtp_capabilities", "smtp_auth"])],
    },
    Module {
        name: "ngx_mail_ssl_module",
        directives: &[(
            MS,
            &[
                "starttls",
                "ssl_certificate",
                "ssl_certificate_key",
                "ssl_password_file",
                "ssl_certificate_compression",
                "ssl_dhparam",
                "ssl_ecdh_curve",
                "ssl_protocols",
                "ssl_ciphers",
                "ssl_prefer_server_ciphers",
                "ssl_session_cache",
                "ssl_session_tickets",
                "ssl_session_ticket_key",
                "ssl_session_timeout",
                "ssl_verify_client",
                "ssl_verify_depth",
                "ssl_client_certificate",
                "ssl_trusted_certificate",
                "ssl_crl",
                "ssl_conf_command",
            ],
        )],
    },
];
