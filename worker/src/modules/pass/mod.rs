//! What modules that pass requests to servers in other protocols than HTTP have in common: FastCGI, SCGI, uwsgi, memcached.
//!
//! A module has its own directives and a [`Codec`]: how a request is encoded, and which [`Protocol`](crate::upstream::Protocol) reads the
//! response. Settings ([`PassConf`]), targets ([`target`]), parameters ([`params`]) and the handler ([`handler`]) are shared; the
//! way to a server and back is [`crate::upstream`]'s.

pub(super) mod arguments;
pub(super) mod cgi;
mod directives;
pub(super) mod handler;
pub(super) mod params;
pub(super) mod target;

use std::rc::Rc;

use conf::{Error, Result};

pub(super) use self::directives::pass_directive;
pub(super) use self::handler::{Codec, Encoded};
pub(super) use self::target::Target;

use crate::build::{LevelKind, MergeCx};
use crate::module::Attach;
use crate::script::Template;
use crate::settings;
use crate::temp::TempPath;
use crate::upstream::{Bind, Conditions, IgnoredHeaders, NameSet, Settings};

/// Page size: nginx's default for buffers.
const PAGE_BYTES: usize = 4096;
/// nginx's default for the largest temporary file.
const TEMP_FILE_BYTES: u64 = 1024 * 1024 * 1024;

settings! {
    /// Common settings of a location; `*` stands for the module's prefix.
    pub struct PassConf, PassSettings {
        /// `*_pass`.
        target: Option<Rc<Target>> = None,
        /// `*_connect_timeout` in ms.
        connect_timeout: u64 = 60_000,
        /// `*_send_timeout` in ms.
        send_timeout: u64 = 60_000,
        /// `*_read_timeout` in ms.
        read_timeout: u64 = 60_000,
        /// `*_send_lowat` in bytes: has an effect on other systems than Linux only.
        send_lowat: usize = 0,
        /// `*_buffer_size` in bytes.
        buffer_size: usize = PAGE_BYTES,
        /// `*_buffers`: number and size.
        buffers: (usize, usize) = (8, PAGE_BYTES),
        /// `*_busy_buffers_size` in bytes; `None`: twice a buffer.
        busy_buffers_size: Option<usize> = None,
        /// `*_temp_file_write_size` in bytes; `None`: twice a buffer.
        temp_file_write_size: Option<usize> = None,
        /// `*_max_temp_file_size` in bytes.
        max_temp_file_size: u64 = TEMP_FILE_BYTES,
        /// `*_temp_path`.
        temp_path: Rc<TempPath> = Rc::new(TempPath { dir: "pass_temp".into(), levels: vec![1, 2] }),
        /// `*_buffering`.
        buffering: bool = true,
        /// `*_request_buffering`.
        request_buffering: bool = true,
        /// `*_ignore_client_abort`.
        ignore_client_abort: bool = false,
        /// `*_intercept_errors`.
        intercept_errors: bool = false,
        /// `*_force_ranges`.
        force_ranges: bool = false,
        /// `*_pass_request_headers`.
        pass_request_headers: bool = true,
        /// `*_pass_request_body`.
        pass_request_body: bool = true,
        /// `*_socket_keepalive`.
        socket_keepalive: bool = false,
        /// `*_socket_rcvbuf` in bytes; 0: the system's.
        socket_rcvbuf: usize = 0,
        /// `*_socket_sndbuf` in bytes; 0: the system's.
        socket_sndbuf: usize = 0,
        /// `*_next_upstream`.
        next_upstream: Conditions = Conditions::ERROR.or(Conditions::TIMEOUT),
        /// `*_next_upstream_tries`.
        next_upstream_tries: u64 = 0,
        /// `*_next_upstream_timeout` in ms.
        next_upstream_timeout: u64 = 0,
        /// `*_ignore_headers`.
        ignore_headers: IgnoredHeaders = IgnoredHeaders::default(),
        /// `*_limit_rate` in bytes per second.
        limit_rate: Rc<Template> = Rc::new(Template::literal(*b"0")),
        /// `*_bind`.
        bind: Option<Bind> = None,
        /// `*_hide_header`.
        hide_headers: Rc<[Box<[u8]>]> = Rc::from([]),
        /// `*_pass_header`.
        pass_headers: Rc<[Box<[u8]>]> = Rc::from([]),
        /// Not a setting: `*_pass` stands at this very level.
        target_own: bool = false,
    }
}

/// Response fields of gateways that are not passed on unless `*_pass_header` says so.
const HIDDEN: [&[u8]; 6] = [
    b"Status",
    b"X-Accel-Expires",
    b"X-Accel-Redirect",
    b"X-Accel-Limit-Rate",
    b"X-Accel-Buffering",
    b"X-Accel-Charset",
];

impl PassConf {
    /// Inherits what is unset. `prefix` is the module's: `fastcgi`.
    pub(super) fn inherit(&mut self, outer: &Self, cx: &mut MergeCx<'_>, prefix: &str) -> Result<()> {
        self.target_own = self.set.target.is_set();
        if !matches!(cx.kind, LevelKind::If | LevelKind::LimitExcept) {
            self.set.target.init(None);
        }
        if !self.set.temp_path.is_set() && !outer.set.temp_path.is_set() {
            let dir = cx.builder.paths.full(&format!("{prefix}_temp"));
            cx.builder.temp_paths.push(dir.clone());
            self.set.temp_path.set(Rc::new(TempPath { dir, levels: vec![1, 2] }))?;
        }
        self.merge_settings(outer);
        self.check_buffers(prefix)
    }

    /// The relations nginx demands between the sizes of buffers and files.
    fn check_buffers(&self, prefix: &str) -> Result<()> {
        let (number, each) = self.buffers;
        let size = self.buffer_size.max(each);
        let busy = self.busy_buffers_size.unwrap_or(2 * size);
        let wrong = |text: String| Err(Error::new(text));
        if number < 2 {
            return wrong(format!("there must be at least 2 \"{prefix}_buffers\""));
        }
        let largest = format!(
            "the maximum of the value of \"{prefix}_buffer_size\" and one of the \"{prefix}_buffers\""
        );
        if busy < size {
            return wrong(format!(
                "\"{prefix}_busy_buffers_size\" must be equal to or greater than {largest}"
            ));
        }
        if busy > (number - 1) * each {
            return wrong(format!(
                "\"{prefix}_busy_buffers_size\" must be less than the size of all \"{prefix}_buffers\" minus one buffer"
            ));
        }
        if self.temp_file_write_size.is_some_and(|write| write < size) {
            return wrong(format!(
                "\"{prefix}_temp_file_write_size\" must be equal to or greater than {largest}"
            ));
        }
        if self.max_temp_file_size != 0 && self.max_temp_file_size < size as u64 {
            return wrong(format!(
                "\"{prefix}_max_temp_file_size\" must be equal to zero to disable temporary files usage or must be equal to \
                 or greater than {largest}"
            ));
        }
        Ok(())
    }

    /// The settings as the upstream part of the engine wants them.
    pub(super) fn compile(&self) -> Settings {
        let mut hidden = NameSet::new(HIDDEN);
        self.hide_headers.iter().for_each(|name| hidden.insert(name));
        self.pass_headers.iter().for_each(|name| hidden.remove(name));
        let off = self.next_upstream.contains(Conditions::OFF);
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
            pass_trailers: false,
            next_upstream: if off { Conditions::OFF } else { self.next_upstream },
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

    /// Makes the handler of a location where `*_pass` stands, or of an `if` in such a location that has no other. `is_own`: the
    /// level has settings of its own.
    pub(super) fn attach(
        &self,
        cx: &mut Attach<'_>,
        is_own: bool,
        settings: Settings,
        codec: impl Codec + 'static,
    ) -> Result<()> {
        let Some(target) = self.target.as_ref().filter(|_| cx.is_location()) else { return Ok(()) };
        let inherited =
            matches!(cx.kind, LevelKind::If | LevelKind::LimitExcept) && !(is_own && self.target_own);
        if inherited && cx.content.is_some() {
            return Ok(());
        }
        let handler = handler::PassHandler::new(cx.builder, self, settings, target, codec)?;
        cx.content(Rc::new(handler));
        Ok(())
    }
}
