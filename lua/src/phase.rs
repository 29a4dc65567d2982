//! The contexts in which Lua code runs, and sets of them.

/// A set of contexts: those an API function may be used in, or the one that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Phases(u32);

impl Phases {
    /// `init_by_lua*`.
    pub const INIT: Self = Self(1);
    /// `init_worker_by_lua*`.
    pub const INIT_WORKER: Self = Self(1 << 1);
    /// `exit_worker_by_lua*`.
    pub const EXIT_WORKER: Self = Self(1 << 2);
    /// `set_by_lua*`.
    pub const SET: Self = Self(1 << 3);
    /// `server_rewrite_by_lua*`.
    pub const SERVER_REWRITE: Self = Self(1 << 4);
    /// `rewrite_by_lua*`.
    pub const REWRITE: Self = Self(1 << 5);
    /// `access_by_lua*`.
    pub const ACCESS: Self = Self(1 << 6);
    /// `precontent_by_lua*`.
    pub const PRECONTENT: Self = Self(1 << 7);
    /// `content_by_lua*`.
    pub const CONTENT: Self = Self(1 << 8);
    /// `header_filter_by_lua*`.
    pub const HEADER_FILTER: Self = Self(1 << 9);
    /// `body_filter_by_lua*`.
    pub const BODY_FILTER: Self = Self(1 << 10);
    /// `log_by_lua*`.
    pub const LOG: Self = Self(1 << 11);
    /// Timers.
    pub const TIMER: Self = Self(1 << 12);
    /// `balancer_by_lua*`.
    pub const BALANCER: Self = Self(1 << 13);
    /// `ssl_certificate_by_lua*`.
    pub const SSL_CERT: Self = Self(1 << 14);
    /// `ssl_session_fetch_by_lua*`.
    pub const SSL_SESSION_FETCH: Self = Self(1 << 15);
    /// `ssl_session_store_by_lua*`.
    pub const SSL_SESSION_STORE: Self = Self(1 << 16);
    /// `ssl_client_hello_by_lua*`.
    pub const SSL_CLIENT_HELLO: Self = Self(1 << 17);
    /// A function of `ngx.run_worker_thread`.
    pub const WORKER_THREAD: Self = Self(1 << 18);

    /// Everywhere.
    pub const ANY: Self = Self(u32::MAX);
    /// Where a response can be made: OpenResty's rewrite, access, precontent and content.
    pub const RESPONSE: Self =
        Self::SERVER_REWRITE.or(Self::REWRITE).or(Self::ACCESS).or(Self::PRECONTENT).or(Self::CONTENT);
    /// Wherever there is a request.
    pub const REQUEST: Self = Self::RESPONSE
        .or(Self::SET)
        .or(Self::HEADER_FILTER)
        .or(Self::BODY_FILTER)
        .or(Self::LOG)
        .or(Self::BALANCER);
    /// Where code may wait in OpenResty.
    pub const WAITING: Self = Self::RESPONSE
        .or(Self::TIMER)
        .or(Self::SSL_CERT)
        .or(Self::SSL_SESSION_FETCH)
        .or(Self::SSL_CLIENT_HELLO);
    /// Where code may wait here: filters and the log phase too.
    pub const PATIENT: Self = Self::WAITING.or(Self::HEADER_FILTER).or(Self::BODY_FILTER).or(Self::LOG);

    /// Both sets.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set without `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether the sets have a context in common.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// OpenResty's name of this one context, as in error messages.
    pub fn title(self) -> &'static str {
        NAMES.iter().find(|(phase, _, _)| *phase == self).map_or("(unknown)", |(_, title, _)| title)
    }

    /// What `ngx.get_phase` calls this one context.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(phase, _, _)| *phase == self).map_or("unknown", |(_, _, name)| name)
    }

    /// The titles of the contexts of this set.
    pub fn titles(self) -> impl Iterator<Item = &'static str> {
        NAMES.iter().filter(move |(phase, _, _)| self.intersects(*phase)).map(|(_, title, _)| *title)
    }
}

/// Context, title in messages, name for `ngx.get_phase`.
const NAMES: &[(Phases, &str, &str)] = &[
    (Phases::INIT, "init_by_lua*", "init"),
    (Phases::INIT_WORKER, "init_worker_by_lua*", "init_worker"),
    (Phases::EXIT_WORKER, "exit_worker_by_lua*", "exit_worker"),
    (Phases::SET, "set_by_lua*", "set"),
    (Phases::SERVER_REWRITE, "server_rewrite_by_lua*", "server_rewrite"),
    (Phases::REWRITE, "rewrite_by_lua*", "rewrite"),
    (Phases::ACCESS, "access_by_lua*", "access"),
    (Phases::PRECONTENT, "precontent_by_lua*", "precontent"),
    (Phases::CONTENT, "content_by_lua*", "content"),
    (Phases::HEADER_FILTER, "header_filter_by_lua*", "header_filter"),
    (Phases::BODY_FILTER, "body_filter_by_lua*", "body_filter"),
    (Phases::LOG, "log_by_lua*", "log"),
    (Phases::TIMER, "ngx.timer", "timer"),
    (Phases::BALANCER, "balancer_by_lua*", "balancer"),
    (Phases::SSL_CERT, "ssl_certificate_by_lua*", "ssl_cert"),
    (Phases::SSL_SESSION_FETCH, "ssl_session_fetch_by_lua*", "ssl_session_fetch"),
    (Phases::SSL_SESSION_STORE, "ssl_session_store_by_lua*", "ssl_session_store"),
    (Phases::SSL_CLIENT_HELLO, "ssl_client_hello_by_lua*", "ssl_client_hello"),
    (Phases::WORKER_THREAD, "ngx.run_worker_thread", "worker_thread"),
];
