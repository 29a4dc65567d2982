//! `ssl_*` directives that configurations carry in their `http` block whether or not a server uses TLS.
//!
//! No server can listen with TLS yet (`listen … ssl` is refused by name), so these only have to be read, checked and kept:
//! a configuration whose servers are all plain, like the one Debian installs, works with them.

use conf::{Arity, Contexts, Directive, Node, Result, Shape};

use crate::build::{Builder, Conf, MergeCx, Slot};
use crate::module::Module;
use crate::settings;

/// The module.
pub const MODULE: Ssl = Ssl;

/// Settings of servers.
pub static CONF: Slot<SslConf> = Slot::new();

/// See the module's documentation.
pub struct Ssl;

settings! {
    /// TLS settings of a server.
    pub struct SslConf, SslSettings {
        /// `ssl_protocols`: whether TLS 1.2 and TLS 1.3 are wanted.
        protocols: (bool, bool) = (true, true),
        /// `ssl_prefer_server_ciphers`.
        prefer_server_ciphers: bool = false,
    }
}

impl Conf for SslConf {
    fn merge(&mut self, outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        self.merge_settings(outer);
        Ok(())
    }
}

const HTTP_SERVER: Contexts = Contexts::HTTP.or(Contexts::SERVER);

static DIRECTIVES: &[Directive<Builder>] = &[
    Directive {
        name: "ssl_protocols",
        contexts: HTTP_SERVER,
        arity: Arity::AtLeast(1),
        shape: Shape::Simple,
        default: "TLSv1.2 TLSv1.3",
        doc: "TLS versions. Versions before 1.2 are left out with a warning.",
        apply: protocols,
    },
    Directive {
        name: "ssl_prefer_server_ciphers",
        contexts: HTTP_SERVER,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "off",
        doc: "Whose order of ciphers counts.",
        apply: |cx, node| cx.conf(&CONF).set.prefer_server_ciphers.set(node.flag()?),
    },
];

impl Module for Ssl {
    fn name(&self) -> &'static str {
        "ngx_http_ssl_directives"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&CONF);
    }
}

fn protocols(cx: &mut Builder, node: &Node) -> Result<()> {
    let (mut tls12, mut tls13) = (false, false);
    for (i, name) in node.str_args().enumerate() {
        match name {
            "TLSv1.2" => tls12 = true,
            "TLSv1.3" => tls13 = true,
            "SSLv2" | "SSLv3" | "TLSv1" | "TLSv1.1" => {
                cx.warn(
                    node.warning(format!("\"{name}\" is not supported and left out of \"ssl_protocols\"")),
                );
            }
            _ => return Err(node.invalid_value(i)),
        }
    }
    if !tls12 && !tls13 {
        return Err(node.error("\"ssl_protocols\" names no version that is supported: TLSv1.2, TLSv1.3"));
    }
    cx.conf(&CONF).set.protocols.set((tls12, tls13))
}
