//! Directives of njs.

use super::{HSL, Module, SS};
use crate::directive::Contexts;

pub(super) static MODULES: &[Module] = &[
    Module {
        name: "ngx_http_js_core_module",
        directives: &[(Contexts::MAIN, &["js_load_http_native_module"])],
    },
    Module {
        name: "ngx_http_js_module",
        directives: &[
            (
                HSL,
                &[
                    "js_engine",
                    "js_context_reuse",
                    "js_context_reuse_max_size",
                    "js_import",
                    "js_preload_object",
                    "js_path",
                    "js_set",
                    "js_var",
                    "js_fetch_buffer_size",
                    "js_fetch_max_response_buffer_size",
                    "js_fetch_timeout",
                    "js_fetch_ciphers",
                    "js_fetch_protocols",
                    "js_fetch_verify",
                    "js_fetch_verify_depth",
                    "js_fetch_trusted_certificate",
                    "js_fetch_keepalive",
                    "js_fetch_keepalive_requests",
                    "js_fetch_keepalive_time",
                    "js_fetch_keepalive_timeout",
                    "js_fetch_proxy",
                ],
            ),
            (Contexts::LOCATION, &["js_periodic"]),
            (
                Contexts::LOCATION.or(Contexts::LOCATION_IF).or(Contexts::LIMIT_EXCEPT),
                &["js_access", "js_content", "js_header_filter", "js_body_filter"],
            ),
            (Contexts::HTTP, &["js_shared_dict_zone"]),
        ],
    },
    Module {
        name: "ngx_stream_js_core_module",
        directives: &[(Contexts::MAIN, &["js_load_stream_native_module"])],
    },
    Module {
        name: "ngx_stream_js_module",
        directives: &[
            (
                SS,
                &[
                    "js_engine",
                    "js_context_reuse",
                    "js_context_reuse_max_size",
                    "js_import",
                    "js_preload_object",
                    "js_path",
                    "js_set",
                    "js_var",
                    "js_access",
                    "js_preread",
                    "js_filter",
                    "js_fetch_buffer_size",
                    "js_fetch_max_response_buffer_size",
                    "js_fetch_timeout",
                    "js_fetch_keepalive",
                    "js_fetch_keepalive_requests",
                    "js_fetch_keepalive_time",
                    "js_fetch_keepalive_timeout",
                    "js_fetch_ciphers",
                    "js_fetch_protocols",
                    "js_fetch_verify",
                    "js_fetch_verify_depth",
                    "js_fetch_trusted_certificate",
                    "js_fetch_proxy",
                ],
            ),
            (Contexts::STREAM_SERVER, &["js_periodic"]),
            (Contexts::STREAM, &["js_shared_dict_zone"]),
        ],
    },
];
