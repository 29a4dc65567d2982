//! What `-v` and `-V` print.
//!
//! Test-suites and packaging scripts read `-V` to learn what a binary can do: `--with-http_X_module` means an optional
//! module is there, `--without-http_X_module` that a default one is not. So the line is made from the modules this
//! binary has and never claims one it lacks. Optional modules that are missing are not mentioned at all: those who read
//! the line look for bare names like `slice` as well.

use std::fmt::Write as _;

/// What there is to say about this binary.
pub struct Build<'a> {
    /// The nginx release whose behaviour is followed.
    pub nginx: &'a str,
    /// Names of the modules.
    pub modules: &'a [&'a str],
    /// Whether responses of upstream servers can be cached.
    pub cache: bool,
}

/// The compiler's version.
pub const RUST: &str = env!("URESTY_RUST_VERSION");

impl Build<'_> {
    /// What it is: `nginx/1.31.5 (uresty 0.1.0)`. Those who read it take the first number for the version.
    pub fn name(&self) -> String {
        format!("nginx/{} (uresty {})", self.nginx, env!("CARGO_PKG_VERSION"))
    }

    /// The text of `-v`.
    pub fn version(&self) -> String {
        format!("nginx version: {}\n", self.name())
    }

    /// The text of `-V`.
    pub fn configure(&self) -> String {
        let mut text = self.version();
        let _ = writeln!(text, "built with Rust {RUST}");
        if self.has("ngx_http_ssl_module") {
            text.push_str("built with OpenSSL 3.0.0 names and texts; TLS is rustls with aws-lc-rs\n");
            text.push_str("TLS SNI support enabled\n");
        }
        let _ = writeln!(text, "configure arguments: {}", self.arguments().join(" "));
        text
    }

    fn arguments(&self) -> Vec<&'static str> {
        let mut arguments = vec!["--with-compat", "--with-threads", "--with-pcre", "--with-pcre-jit"];
        if self.has("ngx_http_ssl_module") {
            arguments.push("--with-openssl=rustls");
        }
        arguments.extend(OPTIONAL.iter().filter(|(module, _)| self.has(module)).map(|(_, flag)| *flag));
        let relevant = |module: &str| match module {
            _ if module.starts_with("ngx_stream_") => self.has("ngx_stream_module"),
            _ if module.starts_with("ngx_mail_") => self.has("ngx_mail_module"),
            _ => true,
        };
        let missing = DEFAULT.iter().filter(|(module, _)| relevant(module) && !self.has(module));
        arguments.extend(missing.map(|(_, flag)| *flag));
        if !self.cache {
            arguments.push("--without-http-cache");
        }
        arguments
    }

    /// Whether `module` is there. nginx calls some modules `…_filter_module` and says `…_module` in their flags.
    fn has(&self, module: &str) -> bool {
        let plain = |name: &str| name.replace("_filter_module", "_module");
        self.modules.iter().any(|name| plain(name) == plain(module))
    }
}

/// nginx's modules that are built only when asked for, with their configure flag.
const OPTIONAL: [(&str, &str); 28] = [
    ("ngx_http_ssl_module", "--with-http_ssl_module"),
    ("ngx_http_v2_module", "--with-http_v2_module"),
    ("ngx_http_v3_module", "--with-http_v3_module"),
    ("ngx_http_realip_module", "--with-http_realip_module"),
    ("ngx_http_addition_filter_module", "--with-http_addition_module"),
    ("ngx_http_xslt_filter_module", "--with-http_xslt_module"),
    ("ngx_http_image_filter_module", "--with-http_image_filter_module"),
    ("ngx_http_geoip_module", "--with-http_geoip_module"),
    ("ngx_http_sub_filter_module", "--with-http_sub_module"),
    ("ngx_http_dav_module", "--with-http_dav_module"),
    ("ngx_http_flv_module", "--with-http_flv_module"),
    ("ngx_http_mp4_module", "--with-http_mp4_module"),
    ("ngx_http_gunzip_filter_module", "--with-http_gunzip_module"),
    ("ngx_http_gzip_static_module", "--with-http_gzip_static_module"),
    ("ngx_http_auth_request_module", "--with-http_auth_request_module"),
    ("ngx_http_random_index_module", "--with-http_random_index_module"),
    ("ngx_http_secure_link_module", "--with-http_secure_link_module"),
    ("ngx_http_degradation_module", "--with-http_degradation_module"),
    ("ngx_http_slice_filter_module", "--with-http_slice_module"),
    ("ngx_http_stub_status_module", "--with-http_stub_status_module"),
    ("ngx_http_perl_module", "--with-http_perl_module"),
    ("ngx_mail_module", "--with-mail"),
    ("ngx_mail_ssl_module", "--with-mail_ssl_module"),
    ("ngx_stream_module", "--with-stream"),
    ("ngx_stream_ssl_module", "--with-stream_ssl_module"),
    ("ngx_stream_realip_module", "--with-stream_realip_module"),
    ("ngx_stream_geoip_module", "--with-stream_geoip_module"),
    ("ngx_stream_ssl_preread_module", "--with-stream_ssl_preread_module"),
];

/// nginx's modules that are built unless asked not to, with their configure flag.
const DEFAULT: [(&str, &str); 48] = [
    ("ngx_http_charset_filter_module", "--without-http_charset_module"),
    ("ngx_http_gzip_filter_module", "--without-http_gzip_module"),
    ("ngx_http_ssi_filter_module", "--without-http_ssi_module"),
    ("ngx_http_userid_filter_module", "--without-http_userid_module"),
    ("ngx_http_access_module", "--without-http_access_module"),
    ("ngx_http_auth_basic_module", "--without-http_auth_basic_module"),
    ("ngx_http_mirror_module", "--without-http_mirror_module"),
    ("ngx_http_autoindex_module", "--without-http_autoindex_module"),
    ("ngx_http_geo_module", "--without-http_geo_module"),
    ("ngx_http_map_module", "--without-http_map_module"),
    ("ngx_http_split_clients_module", "--without-http_split_clients_module"),
    ("ngx_http_referer_module", "--without-http_referer_module"),
    ("ngx_http_rewrite_module", "--without-http_rewrite_module"),
    ("ngx_http_proxy_module", "--without-http_proxy_module"),
    ("ngx_http_fastcgi_module", "--without-http_fastcgi_module"),
    ("ngx_http_uwsgi_module", "--without-http_uwsgi_module"),
    ("ngx_http_scgi_module", "--without-http_scgi_module"),
    ("ngx_http_grpc_module", "--without-http_grpc_module"),
    ("ngx_http_tunnel_module", "--without-http_tunnel_module"),
    ("ngx_http_memcached_module", "--without-http_memcached_module"),
    ("ngx_http_limit_conn_module", "--without-http_limit_conn_module"),
    ("ngx_http_limit_req_module", "--without-http_limit_req_module"),
    ("ngx_http_empty_gif_module", "--without-http_empty_gif_module"),
    ("ngx_http_browser_module", "--without-http_browser_module"),
    ("ngx_http_upstream_hash_module", "--without-http_upstream_hash_module"),
    ("ngx_http_upstream_ip_hash_module", "--without-http_upstream_ip_hash_module"),
    ("ngx_http_upstream_least_conn_module", "--without-http_upstream_least_conn_module"),
    ("ngx_http_upstream_least_time_module", "--without-http_upstream_least_time_module"),
    ("ngx_http_upstream_random_module", "--without-http_upstream_random_module"),
    ("ngx_http_upstream_keepalive_module", "--without-http_upstream_keepalive_module"),
    ("ngx_http_upstream_zone_module", "--without-http_upstream_zone_module"),
    ("ngx_http_upstream_sticky_module", "--without-http_upstream_sticky_module"),
    ("ngx_mail_pop3_module", "--without-mail_pop3_module"),
    ("ngx_mail_imap_module", "--without-mail_imap_module"),
    ("ngx_mail_smtp_module", "--without-mail_smtp_module"),
    ("ngx_stream_limit_conn_module", "--without-stream_limit_conn_module"),
    ("ngx_stream_access_module", "--without-stream_access_module"),
    ("ngx_stream_geo_module", "--without-stream_geo_module"),
    ("ngx_stream_map_module", "--without-stream_map_module"),
    ("ngx_stream_split_clients_module", "--without-stream_split_clients_module"),
    ("ngx_stream_return_module", "--without-stream_return_module"),
    ("ngx_stream_pass_module", "--without-stream_pass_module"),
    ("ngx_stream_set_module", "--without-stream_set_module"),
    ("ngx_stream_upstream_hash_module", "--without-stream_upstream_hash_module"),
    ("ngx_stream_upstream_least_conn_module", "--without-stream_upstream_least_conn_module"),
    ("ngx_stream_upstream_least_time_module", "--without-stream_upstream_least_time_module"),
    ("ngx_stream_upstream_random_module", "--without-stream_upstream_random_module"),
    ("ngx_stream_upstream_zone_module", "--without-stream_upstream_zone_module"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_what_is_there_and_what_is_missing() {
        let modules = [
            "ngx_core_module",
            "ngx_http_proxy_module",
            "ngx_http_sub_module",
            "ngx_http_gzip_filter_module",
        ];
        let build = Build { nginx: "1.31.5", modules: &modules, cache: false };
        let text = build.configure();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], format!("nginx version: nginx/1.31.5 (uresty {})", env!("CARGO_PKG_VERSION")));
        assert!(lines[1].starts_with("built with Rust 1."), "{}", lines[1]);
        assert!(lines[2].starts_with("configure arguments: --with"), "{}", lines[2]);
        assert_eq!(lines.len(), 3);
        for present in ["--with-http_sub_module", "--without-http_fastcgi_module", "--without-http-cache"] {
            assert!(text.contains(present), "{present}");
        }
        for absent in [
            "TLS",
            "OpenSSL",
            "slice",
            "realip",
            "http_proxy",
            "http_gzip_",
            "-stream",
            "mail",
            "--with-http_v2",
        ] {
            assert!(!text.contains(absent), "{absent}");
        }
    }

    #[test]
    fn parts_of_an_absent_whole_are_not_mentioned() {
        let modules = ["ngx_http_ssl_module", "ngx_stream_module", "ngx_stream_map_module"];
        let text = Build { nginx: "1.31.5", modules: &modules, cache: true }.configure();
        assert!(text.contains("TLS SNI support enabled\n"));
        assert!(text.contains("--with-stream ") && text.contains("--without-stream_return_module"));
        assert!(!text.contains("--without-stream_map_module") && !text.contains("mail"));
        assert!(!text.contains("http-cache"));
    }
}
