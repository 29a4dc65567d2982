//! What `proxy_*` directives say, per location.

use std::rc::Rc;

use conf::{Error, Result};
use http1::Version;

use super::cache::{Caches, Named, Stored};
use super::cookie::CookieFlags;
use super::head::SetHeader;
use super::rule::Rule;
use super::target::Pass;
use crate::build::{Conf, LevelKind, MergeCx};
use crate::cache::{Plan, Store, Valid, Which};
use crate::predicates::Predicates;
use crate::script::Template;
use crate::settings;
use crate::temp::TempPath;
use crate::upstream::{Bind, Conditions, IgnoredHeaders, NameSet, Settings};

/// Page size: nginx's default for buffers.
const PAGE_BYTES: usize = 4096;
/// nginx's default for the largest temporary file.
const TEMP_FILE_BYTES: u64 = 1024 * 1024 * 1024;

/// `proxy_redirect`, as far as it is known before `proxy_pass` is.
#[derive(Debug, Clone)]
pub enum Redirects {
    /// Not said: the default rule, made from `proxy_pass`.
    Default,
    /// `off`.
    Off,
    /// These, in order.
    Rules(Rc<[Rule]>),
}

settings! {
    /// Settings of a location.
    pub struct ProxyConf, ProxySettings {
        /// `proxy_pass`.
        pass: Option<Rc<Pass>> = None,
        /// `proxy_connect_timeout` in ms.
        connect_timeout: u64 = 60_000,
        /// `proxy_send_timeout` in ms.
        send_timeout: u64 = 60_000,
        /// `proxy_read_timeout` in ms.
        read_timeout: u64 = 60_000,
        /// `proxy_send_lowat` in bytes: has an effect on other systems than Linux only.
        send_lowat: usize = 0,
        /// `proxy_buffer_size` in bytes.
        buffer_size: usize = PAGE_BYTES,
        /// `proxy_buffers`: number and size.
        buffers: (usize, usize) = (8, PAGE_BYTES),
        /// `proxy_busy_buffers_size` in bytes; `None`: twice a buffer.
        busy_buffers_size: Option<usize> = None,
        /// `proxy_temp_file_write_size` in bytes; `None`: twice a buffer.
        temp_file_write_size: Option<usize> = None,
        /// `proxy_max_temp_file_size` in bytes.
        max_temp_file_size: u64 = TEMP_FILE_BYTES,
        /// `proxy_temp_path`.
        temp_path: Rc<TempPath> = Rc::new(TempPath { dir: "proxy_temp".into(), levels: vec![1, 2] }),
        /// `proxy_buffering`.
        buffering: bool = true,
        /// `proxy_request_buffering`.
        request_buffering: bool = true,
        /// `proxy_ignore_client_abort`.
        ignore_client_abort: bool = false,
        /// `proxy_intercept_errors`.
        intercept_errors: bool = false,
        /// `proxy_force_ranges`.
        force_ranges: bool = false,
        /// `proxy_pass_trailers`.
        pass_trailers: bool = false,
        /// `proxy_pass_request_headers`.
        pass_request_headers: bool = true,
        /// `proxy_pass_request_body`.
        pass_request_body: bool = true,
        /// `proxy_socket_keepalive`.
        socket_keepalive: bool = false,
        /// `proxy_socket_rcvbuf` in bytes; 0: the system's.
        socket_rcvbuf: usize = 0,
        /// `proxy_socket_sndbuf` in bytes; 0: the system's.
        socket_sndbuf: usize = 0,
        /// `proxy_next_upstream`.
        next_upstream: Conditions = Conditions::ERROR.or(Conditions::TIMEOUT),
        /// `proxy_next_upstream_tries`.
        next_upstream_tries: u64 = 0,
        /// `proxy_next_upstream_timeout` in ms.
        next_upstream_timeout: u64 = 0,
        /// `proxy_ignore_headers`.
        ignore_headers: IgnoredHeaders = IgnoredHeaders::default(),
        /// `proxy_limit_rate` in bytes per second.
        limit_rate: Rc<Template> = Rc::new(Template::literal(*b"0")),
        /// `proxy_bind`.
        bind: Option<Bind> = None,
        /// `proxy_method`.
        method: Option<Rc<Template>> = None,
        /// `proxy_http_version`.
        http_version: Version = Version::HTTP_11,
        /// `proxy_set_header`.
        set_headers: Rc<[SetHeader]> = Rc::from([]),
        /// `proxy_set_body`.
        set_body: Option<Rc<Template>> = None,
        /// `proxy_hide_header`.
        hide_headers: Rc<[Box<[u8]>]> = Rc::from([]),
        /// `proxy_pass_header`.
        pass_headers: Rc<[Box<[u8]>]> = Rc::from([]),
        /// `proxy_redirect`.
        redirects: Redirects = Redirects::Default,
        /// `proxy_cookie_domain`.
        cookie_domains: Rc<[Rule]> = Rc::from([]),
        /// `proxy_cookie_path`.
        cookie_paths: Rc<[Rule]> = Rc::from([]),
        /// `proxy_cookie_flags`.
        cookie_flags: Rc<[CookieFlags]> = Rc::from([]),
        /// `proxy_store`.
        store: Stored = Stored::Off,
        /// `proxy_store_access`.
        store_access: u32 = 0o600,
        /// `proxy_cache`.
        cache: Named = Named::Off,
        /// `proxy_cache_key`; `None`: where requests are passed to.
        cache_key: Option<Rc<Template>> = None,
        /// `proxy_cache_bypass`.
        cache_bypass: Predicates = Predicates::default(),
        /// `proxy_no_cache`.
        no_cache: Predicates = Predicates::default(),
        /// `proxy_cache_valid`.
        cache_valid: Rc<[Valid]> = Rc::from([]),
        /// `proxy_cache_min_uses`.
        cache_min_uses: u64 = 1,
        /// `proxy_cache_max_range_offset` in bytes; `None`: no limit.
        cache_max_range_offset: Option<u64> = None,
        /// `proxy_cache_use_stale`.
        cache_use_stale: Conditions = Conditions::OFF,
        /// `proxy_cache_methods` has POST.
        cache_post: bool = false,
        /// `proxy_cache_lock`.
        cache_lock: bool = false,
        /// `proxy_cache_lock_timeout` in ms.
        cache_lock_timeout: u64 = 5_000,
        /// `proxy_cache_lock_age` in ms.
        cache_lock_age: u64 = 5_000,
        /// `proxy_cache_revalidate`.
        cache_revalidate: bool = false,
        /// `proxy_cache_convert_head`.
        cache_convert_head: bool = true,
        /// `proxy_cache_background_update`.
        cache_background_update: bool = false,
        /// `proxy_headers_hash_max_size`: hash tables size themselves.
        headers_hash_max_size: u64 = 512,
        /// `proxy_headers_hash_bucket_size`: hash tables size themselves.
        headers_hash_bucket_size: u64 = 64,
    }
}

/// Response fields that are not passed on unless `proxy_pass_header` says so.
const HIDDEN: [&[u8]; 8] = [
    b"Date",
    b"Server",
    b"X-Pad",
    b"X-Accel-Expires",
    b"X-Accel-Redirect",
    b"X-Accel-Limit-Rate",
    b"X-Accel-Buffering",
    b"X-Accel-Charset",
];

impl Conf for ProxyConf {
    fn merge(&mut self, outer: &Self, cx: &mut MergeCx<'_>) -> Result<()> {
        if !matches!(cx.kind, LevelKind::If | LevelKind::LimitExcept) {
            self.set.pass.init(None);
        }
        if !self.set.temp_path.is_set() && !outer.set.temp_path.is_set() {
            let dir = cx.builder.paths.full("proxy_temp");
            cx.builder.temp_paths.push(dir.clone());
            self.set.temp_path.set(Rc::new(TempPath { dir, levels: vec![1, 2] }))?;
        }
        self.merge_settings(outer);
        self.check_buffers()
    }

    /// `proxy_pass` holds for its own location only.
    fn is_inherited_whole(&self, inner: &LevelKind) -> bool {
        self.pass.is_none() || matches!(inner, LevelKind::If | LevelKind::LimitExcept)
    }
}

impl ProxyConf {
    /// The relations nginx demands between the sizes of buffers and files.
    fn check_buffers(&self) -> Result<()> {
        let (number, each) = self.buffers;
        let size = self.buffer_size.max(each);
        let busy = self.busy_buffers_size.unwrap_or(2 * size);
        if number < 2 {
            return Err(Error::new("there must be at least 2 \"proxy_buffers\""));
        }
        let largest = "the maximum of the value of \"proxy_buffer_size\" and one of the \"proxy_buffers\"";
        if busy < size {
            return Err(Error::new(format!(
                "\"proxy_busy_buffers_size\" must be equal to or greater than {largest}"
            )));
        }
        if busy > (number - 1) * each {
            return Err(Error::new(
                "\"proxy_busy_buffers_size\" must be less than the size of all \"proxy_buffers\" minus one buffer",
            ));
        }
        if self.temp_file_write_size.is_some_and(|write| write < size) {
            return Err(Error::new(format!(
                "\"proxy_temp_file_write_size\" must be equal to or greater than {largest}"
            )));
        }
        if self.max_temp_file_size != 0 && self.max_temp_file_size < size as u64 {
            return Err(Error::new(format!(
                "\"proxy_max_temp_file_size\" must be equal to zero to disable temporary files usage or must be \
                 equal to or greater than {largest}"
            )));
        }
        Ok(())
    }

    /// `proxy_cache` and what belongs to it.
    fn cache_plan(&self, caches: &Caches) -> Result<Option<Plan>> {
        let which = match &self.cache {
            Named::Off => return Ok(None),
            Named::Name(name) => {
                let unknown = || Error::new(format!("\"proxy_cache\" zone \"{name}\" is unknown"));
                let found = caches.0.iter().find(|cache| cache.name() == &**name);
                Which::Fixed(Rc::clone(found.ok_or_else(unknown)?))
            }
            Named::Template(template) => Which::Named(Rc::clone(template), Rc::clone(&caches.0)),
        };
        let off = self.cache_use_stale.contains(Conditions::OFF);
        Ok(Some(Plan {
            which,
            key: self.cache_key.clone(),
            post: self.cache_post,
            bypass: self.cache_bypass.clone(),
            no_cache: self.no_cache.clone(),
            valid: Rc::clone(&self.cache_valid),
            min_uses: self.cache_min_uses,
            range_offset_max: self.cache_max_range_offset,
            use_stale: if off { Conditions::default() } else { self.cache_use_stale },
            lock: self.cache_lock,
            lock_timeout: self.cache_lock_timeout,
            lock_age: self.cache_lock_age,
            revalidate: self.cache_revalidate,
            convert_head: self.cache_convert_head,
            background_update: self.cache_background_update,
        }))
    }

    fn store_plan(&self) -> Option<Store> {
        let path = match &self.store {
            Stored::Off => return None,
            Stored::Root => None,
            Stored::Path(template) => Some(Rc::clone(template)),
        };
        Some(Store { path, access: self.store_access })
    }

    /// The settings as the upstream part of the engine wants them.
    pub(crate) fn compile(&self) -> Settings {
        let mut hidden = NameSet::new(HIDDEN);
        self.hide_headers.iter().for_each(|name| hidden.insert(name));
        self.pass_headers.iter().for_each(|name| hidden.remove(name));
        let next_upstream =
            if self.next_upstream.contains(Conditions::OFF) { Conditions::OFF } else { self.next_upstream };
        let (number, each) = self.buffers;
        Settings {
            connect_timeout: self.connect_timeout,
            send_timeout: self.send_timeout,
            read_timeout: self.read_timeout,
            buffer_size: self.buffer_size,
            memory_max: number * each,
            file_max: self.max_temp_file_size,
            temp_path: Rc::clone(&self.temp_path),
            buffering: self.buffering,
            ignore_client_abort: self.ignore_client_abort,
            intercept_errors: self.intercept_errors,
            intercept_404: false,
            force_ranges: self.force_ranges,
            pass_trailers: self.pass_trailers,
            next_upstream,
            tries_max: usize::try_from(self.next_upstream_tries).unwrap_or(usize::MAX),
            tries_timeout: self.next_upstream_timeout,
            ignore: self.ignore_headers,
            hidden,
            cache: None,
            store: None,
            limit_rate: Rc::clone(&self.limit_rate),
            bind: self.bind.clone(),
            socket: net::ConnectOptions {
                so_keepalive: self.socket_keepalive,
                nodelay: true,
                sndbuf: (self.socket_sndbuf > 0).then_some(self.socket_sndbuf),
                rcvbuf: (self.socket_rcvbuf > 0).then_some(self.socket_rcvbuf),
                timeout: Some(std::time::Duration::from_millis(self.connect_timeout)),
                ..net::ConnectOptions::default()
            },
        }
    }

    /// The same with what becomes of responses besides.
    pub(super) fn compile_with(&self, caches: &Caches) -> Result<Settings> {
        Ok(Settings { cache: self.cache_plan(caches)?, store: self.store_plan(), ..self.compile() })
    }
}
