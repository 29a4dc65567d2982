//! `ngx_http_proxy_module`: passes requests to HTTP servers.
//!
//! What is said once per location is compiled when the configuration is read: where to ([`target`]), the request head
//! ([`head`]), how responses are changed ([`redirect`], [`cookie`]). The work of a request is [`crate::upstream`]'s.

mod arguments;
mod cache;
mod conf;
mod cookie;
mod directives;
mod handler;
mod head;
mod redirect;
mod rule;
pub(crate) mod ssl;
mod target;
mod variables;

use std::rc::Rc;

use ::conf::{Directive, Result};

pub use self::conf::{ProxyConf, ProxySettings};
pub(super) use self::target::find as find_upstream;

use crate::build::{Builder, Slot};
use crate::module::{Attach, Module};
use crate::variables::Variable;
use crate::worker::Worker;

/// The module.
pub const MODULE: Proxy = Proxy;

/// Key of [`ProxyConf`].
pub static CONF: Slot<ProxyConf> = Slot::new();

/// See the module's documentation.
pub struct Proxy;

impl Module for Proxy {
    fn name(&self) -> &'static str {
        "ngx_http_proxy_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        directives::DIRECTIVES
    }

    fn variables(&self) -> &'static [Variable] {
        variables::VARIABLES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&CONF);
        cx.register(&cache::CACHES);
    }

    fn attach(&self, cx: &mut Attach<'_>) -> Result<()> {
        if cx.is_location() {
            let conf = cx.confs.share(&CONF);
            if let Some(pass) = &conf.pass {
                let caches = cx.confs.share(&cache::CACHES);
                let tls = cx.confs.share(&ssl::CONF);
                let handler = handler::ProxyHandler::new(cx.builder, &conf, (&caches, &tls), pass)?;
                cx.content(Rc::new(handler));
            }
        }
        Ok(())
    }

    /// Looks after the caches' directories.
    fn start(&self, worker: &Rc<Worker>) {
        let Some(http) = &worker.config.http else { return };
        http.get(&cache::CACHES).0.iter().for_each(|cache| crate::cache::start(worker, cache));
    }
}
