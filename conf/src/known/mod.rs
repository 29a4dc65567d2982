//! Every directive of nginx, njs and OpenResty by module, with the places it may stand in.
//!
//! A directive that is in here and not in the [`crate::Registry`] is reported as "not supported yet" with its
//! module's name, and never as unknown. The tables follow nginx 1.31 on Linux with all optional modules.

mod core;
mod http;
mod mail;
mod njs;
mod openresty;
mod stream;

use std::collections::HashMap;
use std::sync::OnceLock;

use crate::directive::Contexts;

const HS: Contexts = Contexts::HTTP.or(Contexts::SERVER);
const SL: Contexts = Contexts::SERVER.or(Contexts::LOCATION);
const HSL: Contexts = Contexts::HTTP_SERVER_LOCATION;
const HSL_LIF: Contexts = HSL.or(Contexts::LOCATION_IF);
const HSL_IFS: Contexts = HSL_LIF.or(Contexts::SERVER_IF);
const HSL_LMT: Contexts = HSL.or(Contexts::LIMIT_EXCEPT);
const SS: Contexts = Contexts::STREAM.or(Contexts::STREAM_SERVER);
const MS: Contexts = Contexts::MAIL.or(Contexts::MAIL_SERVER);

/// One module's directives, grouped by where they may stand.
struct Module {
    name: &'static str,
    directives: &'static [(Contexts, &'static [&'static str])],
}

/// One directive of somebody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The name as written.
    pub name: &'static str,
    /// The module (`ngx_http_proxy_module`).
    pub module: &'static str,
    /// Where it may stand.
    pub contexts: Contexts,
}

/// All of them, module by module.
pub fn all() -> impl Iterator<Item = Known> {
    let tables =
        [core::MODULES, http::MODULES, stream::MODULES, mail::MODULES, openresty::MODULES, njs::MODULES];
    tables.into_iter().flatten().flat_map(|module| {
        module.directives.iter().flat_map(move |&(contexts, names)| {
            names.iter().map(move |&name| Known { name, module: module.name, contexts })
        })
    })
}

/// The directives called `name`; several modules may have one.
pub fn find(name: &str) -> impl Iterator<Item = Known> {
    static BY_NAME: OnceLock<HashMap<&'static str, Vec<Known>>> = OnceLock::new();
    let by_name = BY_NAME.get_or_init(|| {
        let mut by_name: HashMap<_, Vec<Known>> = HashMap::new();
        all().for_each(|known| by_name.entry(known.name).or_default().push(known));
        by_name
    });
    by_name.get(name).into_iter().flatten().copied()
}

/// Whether `name` is a directive whose block is Lua text.
pub fn is_raw(name: &str) -> bool {
    name.ends_with("_by_lua_block") && find(name).next().is_some()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_place_has_two_directives_of_one_name_and_module() {
        let mut seen = HashSet::new();
        for known in all() {
            assert!(seen.insert((known.module, known.name)), "{} twice in {}", known.name, known.module);
            assert_ne!(known.contexts, Contexts::NONE, "{}", known.name);
        }
        assert!(seen.len() > 1000);
    }

    #[test]
    fn samples() {
        let cases = [
            ("worker_processes", Contexts::MAIN, "ngx_core_module"),
            ("worker_connections", Contexts::EVENTS, "ngx_event_core_module"),
            ("proxy_pass", Contexts::LOCATION, "ngx_http_proxy_module"),
            ("proxy_pass", Contexts::STREAM_SERVER, "ngx_stream_proxy_module"),
            ("return", Contexts::SERVER_IF, "ngx_http_rewrite_module"),
            ("allow", Contexts::LIMIT_EXCEPT, "ngx_http_access_module"),
            ("http2", Contexts::SERVER, "ngx_http_v2_module"),
            ("http3", Contexts::SERVER, "ngx_http_v3_module"),
            ("quic_bpf", Contexts::MAIN, "ngx_quic_bpf_module"),
            ("smtp_auth", Contexts::MAIL, "ngx_mail_smtp_module"),
            ("content_by_lua_block", Contexts::LOCATION, "ngx_http_lua_module"),
            ("preread_by_lua_block", Contexts::STREAM_SERVER, "ngx_stream_lua_module"),
            ("more_set_headers", Contexts::LOCATION_IF, "ngx_http_headers_more_filter_module"),
            ("set_unescape_uri", Contexts::LOCATION, "ngx_http_set_misc_module"),
            ("memc_pass", Contexts::LOCATION, "ngx_http_memc_module"),
            ("srcache_fetch", Contexts::LOCATION, "ngx_http_srcache_filter_module"),
            ("echo", Contexts::LOCATION, "ngx_http_echo_module"),
        ];
        for (name, context, module) in cases {
            let here: Vec<_> = find(name).filter(|known| known.contexts.intersects(context)).collect();
            assert_eq!(here.len(), 1, "{name}");
            assert_eq!(here[0].module, module);
        }
        assert_eq!(find("no_such_directive").count(), 0);
    }

    #[test]
    fn lua_blocks() {
        let names: Vec<_> = all().map(|known| known.name).filter(|name| is_raw(name)).collect();
        assert!(names.contains(&"init_by_lua_block") && names.contains(&"set_by_lua_block"));
        assert!(!is_raw("content_by_lua") && !is_raw("content_by_lua_file") && !is_raw("my_by_lua_block"));
    }
}
