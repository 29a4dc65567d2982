//! `proxy_ssl_*`: a part of `ngx_http_proxy_module` with a table of its own, since other modules that pass requests on have the same.

use ::conf::Directive;

use crate::build::{Builder, Slot};
use crate::module::Module;
use crate::upstream::UpstreamTls;
use crate::upstream_tls_directives;

/// The module.
pub const MODULE: ProxySsl = ProxySsl;

/// What is said of TLS towards servers, per location.
pub static CONF: Slot<UpstreamTls> = Slot::new();

/// See the module's documentation.
pub struct ProxySsl;

upstream_tls_directives!(DIRECTIVES, "proxy", CONF);

impl Module for ProxySsl {
    fn name(&self) -> &'static str {
        "ngx_http_proxy_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&CONF);
    }
}
