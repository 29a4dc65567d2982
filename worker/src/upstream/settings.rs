//! How requests are passed to upstream servers: what `proxy_*` (and its siblings of other protocols) say.

use std::rc::Rc;

use super::NameSet;
use crate::script::Template;
use crate::temp::TempPath;

/// Settings of one location.
pub struct Settings {
    /// `*_connect_timeout` in ms.
    pub connect_timeout: u64,
    /// `*_send_timeout` in ms: between two writes.
    pub send_timeout: u64,
    /// `*_read_timeout` in ms: for the whole head, then between two reads.
    pub read_timeout: u64,
    /// `*_buffer_size`: limit of a response head in bytes, and room for it.
    pub buffer_size: usize,
    /// `*_buffers`: response bytes kept in memory for a slow client.
    pub memory_max: usize,
    /// `*_max_temp_file_size` in bytes; 0: no temporary file.
    pub file_max: u64,
    /// `*_temp_path`.
    pub temp_path: Rc<TempPath>,
    /// `*_buffering`.
    pub buffering: bool,
    /// `*_ignore_client_abort`.
    pub ignore_client_abort: bool,
    /// `*_intercept_errors`.
    pub intercept_errors: bool,
    /// Whether a response of 404 is always answered with a page of ours.
    pub intercept_404: bool,
    /// `*_force_ranges`.
    pub force_ranges: bool,
    /// `*_pass_trailers`.
    pub pass_trailers: bool,
    /// `*_next_upstream`.
    pub next_upstream: Conditions,
    /// `*_next_upstream_tries`; 0: as many as there are servers.
    pub tries_max: usize,
    /// `*_next_upstream_timeout` in ms; 0: none.
    pub tries_timeout: u64,
    /// `*_ignore_headers`.
    pub ignore: IgnoredHeaders,
    /// Response fields that are not passed on: the defaults, `*_hide_header`, less `*_pass_header`.
    pub hidden: NameSet,
    /// `*_cache`; `None`: responses are not cached.
    pub cache: Option<crate::cache::Plan>,
    /// `*_store`; `None`: `off`.
    pub store: Option<crate::cache::Store>,
    /// `*_limit_rate` in bytes per second.
    pub limit_rate: Rc<Template>,
    /// `*_bind`.
    pub bind: Option<Bind>,
    /// `*_socket_keepalive`, `*_socket_rcvbuf`, `*_socket_sndbuf`.
    pub socket: net::ConnectOptions,
}

/// Local address of upstream connections.
#[derive(Debug, Clone)]
pub struct Bind {
    /// The address, when it is a text without variables.
    pub addr: Option<net::Addr>,
    /// Its text.
    pub text: Rc<Template>,
    /// The address may be a foreign one.
    pub transparent: bool,
}

/// Reasons to try another server: nginx's `NGX_HTTP_UPSTREAM_FT_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Conditions(pub u32);

#[allow(missing_docs)] // each is the parameter of its name
impl Conditions {
    pub const ERROR: Self = Self(1);
    pub const TIMEOUT: Self = Self(1 << 1);
    pub const INVALID_HEADER: Self = Self(1 << 2);
    pub const HTTP_500: Self = Self(1 << 3);
    pub const HTTP_502: Self = Self(1 << 4);
    pub const HTTP_503: Self = Self(1 << 5);
    pub const HTTP_504: Self = Self(1 << 6);
    pub const HTTP_403: Self = Self(1 << 7);
    pub const HTTP_404: Self = Self(1 << 8);
    pub const HTTP_429: Self = Self(1 << 9);
    pub const NON_IDEMPOTENT: Self = Self(1 << 10);
    pub const UPDATING: Self = Self(1 << 11);
    pub const OFF: Self = Self(1 << 12);
    /// No server was left: never a reason to go on.
    pub const NO_LIVE: Self = Self(1 << 13);

    /// Parameters of `*_next_upstream`.
    pub const NAMES: &'static [(&'static str, Self)] = &[
        ("error", Self::ERROR),
        ("timeout", Self::TIMEOUT),
        ("invalid_header", Self::INVALID_HEADER),
        ("non_idempotent", Self::NON_IDEMPOTENT),
        ("http_500", Self::HTTP_500),
        ("http_502", Self::HTTP_502),
        ("http_503", Self::HTTP_503),
        ("http_504", Self::HTTP_504),
        ("http_403", Self::HTTP_403),
        ("http_404", Self::HTTP_404),
        ("http_429", Self::HTTP_429),
        ("updating", Self::UPDATING),
        ("off", Self::OFF),
    ];
}

impl Conditions {
    /// Both.
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` are in here.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The condition a response status is, if it is one.
    pub const fn of_status(status: u16) -> Option<Self> {
        Some(match status {
            500 => Self::HTTP_500,
            502 => Self::HTTP_502,
            503 => Self::HTTP_503,
            504 => Self::HTTP_504,
            403 => Self::HTTP_403,
            404 => Self::HTTP_404,
            429 => Self::HTTP_429,
            _ => return None,
        })
    }

    /// The status to answer with when this was the last try.
    pub const fn status(self) -> u16 {
        match self {
            Self::TIMEOUT | Self::HTTP_504 => 504,
            Self::HTTP_500 => 500,
            Self::HTTP_503 => 503,
            Self::HTTP_403 => 403,
            Self::HTTP_404 => 404,
            Self::HTTP_429 => 429,
            _ => 502,
        }
    }
}

/// Response fields that have no effect here: `*_ignore_headers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IgnoredHeaders(pub u32);

#[allow(missing_docs)] // each is the field of its name
impl IgnoredHeaders {
    pub const X_ACCEL_REDIRECT: Self = Self(1);
    pub const X_ACCEL_EXPIRES: Self = Self(1 << 1);
    pub const X_ACCEL_LIMIT_RATE: Self = Self(1 << 2);
    pub const X_ACCEL_BUFFERING: Self = Self(1 << 3);
    pub const X_ACCEL_CHARSET: Self = Self(1 << 4);
    pub const EXPIRES: Self = Self(1 << 5);
    pub const CACHE_CONTROL: Self = Self(1 << 6);
    pub const SET_COOKIE: Self = Self(1 << 7);
    pub const VARY: Self = Self(1 << 8);

    /// Parameters of `*_ignore_headers`.
    pub const NAMES: &'static [(&'static str, Self)] = &[
        ("X-Accel-Redirect", Self::X_ACCEL_REDIRECT),
        ("X-Accel-Expires", Self::X_ACCEL_EXPIRES),
        ("X-Accel-Limit-Rate", Self::X_ACCEL_LIMIT_RATE),
        ("X-Accel-Buffering", Self::X_ACCEL_BUFFERING),
        ("X-Accel-Charset", Self::X_ACCEL_CHARSET),
        ("Expires", Self::EXPIRES),
        ("Cache-Control", Self::CACHE_CONTROL),
        ("Set-Cookie", Self::SET_COOKIE),
        ("Vary", Self::VARY),
    ];

    /// Whether `other` is ignored.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}
