//! Core settings of a location.

use std::path::PathBuf;
use std::rc::Rc;

use conf::Result;

use super::error_page::ErrorPage;
use super::root::Root;
use super::tokens::ServerTokens;
use super::types::Types;
use crate::access::Satisfy;
use crate::build::{Conf, LevelKind, MergeCx};
use crate::log::{ErrorLog, Level, Target};
use crate::predicates::Predicates;
use crate::request::Request;
use crate::script::Template;
use crate::settings;
use crate::temp::TempPath;

/// `client_body_in_file_only`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InFileOnly {
    /// Only bodies too large for memory.
    Off,
    /// Always, and the file stays.
    On,
    /// Always, and the file is removed when the request ends.
    Clean,
}

/// `lingering_close`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LingeringClose {
    /// Close at once.
    Off,
    /// Wait when the client may still be sending.
    On,
    /// Always wait.
    Always,
}

/// `if_modified_since`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfModifiedSince {
    /// The header is ignored.
    Off,
    /// The times must be equal.
    Exact,
    /// Not modified if the response is no newer.
    Before,
}

settings! {
    /// Core settings of a location.
    pub struct LocationConf, LocationSettings {
        /// `client_max_body_size` in bytes; 0: no limit.
        client_max_body_size: u64 = 1024 * 1024,
        /// `client_body_buffer_size` in bytes.
        client_body_buffer_size: usize = 16 * 1024,
        /// `client_body_timeout` in ms.
        client_body_timeout: u64 = 60_000,
        /// `client_body_min_rate` in bytes per second; 0: no limit.
        client_body_min_rate: u64 = 100,
        /// `client_body_temp_path`.
        client_body_temp_path: Rc<TempPath> = Rc::new(TempPath { dir: PathBuf::from("client_body_temp"), levels: Vec::new() }),
        /// `client_body_in_file_only`.
        client_body_in_file_only: InFileOnly = InFileOnly::Off,
        /// `client_body_in_single_buffer`: bodies in memory are in one piece anyway.
        client_body_in_single_buffer: bool = false,
        /// `keepalive_timeout` in ms; 0: no keep-alive.
        keepalive_timeout: u64 = 75_000,
        /// Seconds for the `Keep-Alive` field.
        keepalive_header: Option<u64> = None,
        /// `keepalive_requests`.
        keepalive_requests: u64 = 1000,
        /// `keepalive_time` in ms.
        keepalive_time: u64 = 3_600_000,
        /// `keepalive_min_timeout` in ms.
        keepalive_min_timeout: u64 = 0,
        /// `keepalive_disable`: (`msie6`, `safari`).
        keepalive_disable: (bool, bool) = (true, false),
        /// `send_timeout` in ms.
        send_timeout: u64 = 60_000,
        /// `send_lowat` in bytes.
        send_lowat: usize = 0,
        /// `lingering_close`.
        lingering_close: LingeringClose = LingeringClose::On,
        /// `lingering_time` in ms.
        lingering_time: u64 = 30_000,
        /// `lingering_timeout` in ms.
        lingering_timeout: u64 = 5_000,
        /// `reset_timedout_connection`.
        reset_timedout_connection: bool = false,
        /// `postpone_output` in bytes.
        postpone_output: usize = 1460,
        /// `limit_rate` in bytes per second; empty: no limit.
        limit_rate: Rc<Template> = Rc::default(),
        /// `limit_rate_after` in bytes; empty: at once.
        limit_rate_after: Rc<Template> = Rc::default(),
        /// `root` or `alias`.
        root: Rc<Root> = Rc::new(Root::Root(Template::literal(*b"html"))),
        /// `types`.
        types: Rc<Types> = Rc::new(Types::builtin()),
        /// `default_type`.
        default_type: Rc<[u8]> = Rc::from(*b"text/plain"),
        /// `early_hints`.
        early_hints: Predicates = Predicates::default(),
        /// `post_action`: a URI or the name of a location.
        post_action: Option<Rc<[u8]>> = None,
        /// `directio_alignment`: files are read through the page cache.
        directio_alignment: u64 = 512,
        /// `satisfy`.
        satisfy: Satisfy = Satisfy::All,
        /// `internal`.
        internal: bool = false,
        /// `error_page`.
        error_pages: Rc<[ErrorPage]> = Rc::from([]),
        /// `recursive_error_pages`.
        recursive_error_pages: bool = false,
        /// `server_tokens`.
        server_tokens: ServerTokens = ServerTokens::on(),
        /// `absolute_redirect`.
        absolute_redirect: bool = true,
        /// `server_name_in_redirect`.
        server_name_in_redirect: bool = false,
        /// `port_in_redirect`.
        port_in_redirect: bool = true,
        /// `msie_padding`.
        msie_padding: bool = true,
        /// `msie_refresh`.
        msie_refresh: bool = false,
        /// `chunked_transfer_encoding`.
        chunked_transfer_encoding: bool = true,
        /// `etag`.
        etag: bool = true,
        /// `if_modified_since`.
        if_modified_since: IfModifiedSince = IfModifiedSince::Exact,
        /// `max_ranges`.
        max_ranges: usize = usize::MAX,
        /// `log_not_found`.
        log_not_found: bool = true,
        /// `log_subrequest`.
        log_subrequest: bool = false,
        /// `tcp_nodelay`.
        tcp_nodelay: bool = true,
        /// `tcp_nopush`: responses are sent in few large pieces anyway.
        tcp_nopush: bool = false,
        /// `sendfile`: files are read through the page cache in large pieces either way.
        sendfile: bool = false,
        /// `sendfile_max_chunk` in bytes.
        sendfile_max_chunk: usize = 2 * 1024 * 1024,
        /// `directio` threshold; `None`: off.
        directio: Option<u64> = None,
        /// `output_buffers`: number and size.
        output_buffers: (usize, usize) = (2, 32768),
        /// `read_ahead`.
        read_ahead: usize = 0,
        /// `aio` other than off.
        aio: bool = false,
        /// `aio_write`.
        aio_write: bool = false,
        /// `subrequest_output_buffer_size` in bytes.
        subrequest_output_buffer_size: usize = 4096,
        /// `auth_delay` in ms.
        auth_delay: u64 = 0,
        /// `uninitialized_variable_warn`.
        uninitialized_variable_warn: bool = true,
        /// `error_log` targets; empty: the process's.
        error_log_targets: Rc<[(Target, Level)]> = Rc::from([]),
        /// The log in force.
        error_log: ErrorLog = ErrorLog::new(Vec::new()),
        /// The prefix relative roots are joined to, with its final slash.
        prefix: Rc<[u8]> = Rc::from([]),
        /// Whether `location /dir/` redirects `/dir` to itself, because it proxies.
        auto_redirect: bool = false,
        /// Methods a `limit_except` block lets through.
        except_methods: Rc<[http1::Method]> = Rc::from([]),
    }
}

impl Conf for LocationConf {
    fn merge(&mut self, outer: &Self, cx: &mut MergeCx<'_>) -> Result<()> {
        let own_types = self.set.types.as_ref().is_some();
        // what belongs to this block alone is not inherited by blocks inside, except by `if` and `limit_except`
        let transparent = matches!(cx.kind, LevelKind::If | LevelKind::LimitExcept);
        if !transparent {
            self.set.auto_redirect.init(false);
            self.set.except_methods.init(Rc::from([]));
        }
        if !self.set.prefix.is_set() && !outer.set.prefix.is_set() {
            let mut prefix = cx.builder.paths.prefix.as_os_str().as_encoded_bytes().to_vec();
            if !prefix.ends_with(b"/") {
                prefix.push(b'/');
            }
            self.set.prefix.set(prefix.into())?;
        }
        if !self.set.client_body_temp_path.is_set() && !outer.set.client_body_temp_path.is_set() {
            let dir = cx.builder.paths.full("client_body_temp");
            cx.builder.temp_paths.push(dir.clone());
            self.set.client_body_temp_path.set(Rc::new(TempPath { dir, levels: Vec::new() }))?;
        }
        self.merge_settings(outer);
        if own_types {
            self.types.seal();
        }
        if self.set.error_log_targets.get().is_empty() {
            self.error_log = cx.builder.process_log();
        } else {
            self.error_log = ErrorLog::new(self.error_log_targets.to_vec());
        }
        Ok(())
    }

    fn is_inherited_whole(&self, inner: &LevelKind) -> bool {
        let own_only = self.auto_redirect || !self.except_methods.is_empty();
        !own_only || matches!(inner, LevelKind::If | LevelKind::LimitExcept)
    }
}

impl LocationConf {
    /// Whether a connection may be kept after a response of this location.
    pub fn keepalive_allowed(&self, req: &Request) -> bool {
        if self.keepalive_timeout == 0 || req.conn.requests.get() >= self.keepalive_requests {
            return false;
        }
        if req.start.since(req.conn.accepted).as_millis() as u64 > self.keepalive_time {
            return false;
        }
        let (msie6, safari) = self.keepalive_disable;
        if !msie6 && !safari {
            return true;
        }
        let Some(agent) = req.header(http1::Known::UserAgent) else { return true };
        let has = |text: &[u8]| memchr::memmem::find(agent, text).is_some();
        if msie6
            && req.method == http1::Method::Post
            && (has(b"MSIE 6.") || has(b"MSIE 5.") || has(b"MSIE 4."))
        {
            return has(b"SV1");
        }
        !(safari && has(b"Safari/") && has(b"Mac OS X") && !has(b"Chrome/"))
    }
}
