//! The settings of the Lua module.

use std::rc::Rc;

use worker::build::{Conf, MergeCx, Slot};
use worker::settings;

use crate::code::Code;

/// Key of [`HttpConf`].
pub static HTTP: Slot<HttpConf> = Slot::new();
/// Key of [`LuaConf`].
pub static LOCATION: Slot<LuaConf> = Slot::new();
/// Key of [`OwnConf`].
pub static OWN: Slot<OwnConf> = Slot::new();

settings! {
    /// Settings of the http level.
    pub struct HttpConf, HttpSettings {
        /// `lua_package_path`.
        package_path: Option<Rc<[u8]>> = None,
        /// `lua_package_cpath`.
        package_cpath: Option<Rc<[u8]>> = None,
        /// `init_by_lua`.
        init: Option<Rc<Code>> = None,
        /// `init_worker_by_lua`.
        init_worker: Option<Rc<Code>> = None,
        /// `exit_worker_by_lua`.
        exit_worker: Option<Rc<Code>> = None,
        /// `lua_max_pending_timers`.
        pending_timers_max: u64 = 1024,
        /// `lua_max_running_timers`.
        running_timers_max: u64 = 256,
        /// `lua_memory_limit`, bytes of one VM.
        memory_limit: usize = 1 << 30,
        /// `lua_time_limit`, milliseconds of computing without giving control back.
        time_limit: u64 = 10_000,
    }
}

settings! {
    /// Settings of a location.
    pub struct LuaConf, LuaSettings {
        /// `lua_code_cache`.
        code_cache: bool = true,
        /// `lua_need_request_body`.
        need_request_body: bool = false,
        /// `lua_use_default_type`.
        use_default_type: bool = true,
        /// `lua_http10_buffering`.
        http10_buffering: bool = true,
        /// `lua_check_client_abort`.
        check_client_abort: bool = false,
        /// `lua_transform_underscores_in_response_headers`.
        transform_underscores: bool = true,
        /// `lua_socket_log_errors`.
        socket_log_errors: bool = true,
        /// `lua_socket_connect_timeout`, ms.
        socket_connect_timeout: u64 = 60_000,
        /// `lua_socket_send_timeout`, ms.
        socket_send_timeout: u64 = 60_000,
        /// `lua_socket_read_timeout`, ms.
        socket_read_timeout: u64 = 60_000,
        /// `lua_socket_keepalive_timeout`, ms.
        socket_keepalive_timeout: u64 = 60_000,
        /// `lua_socket_pool_size`.
        socket_pool_size: u64 = 30,
        /// `lua_socket_buffer_size`, bytes.
        socket_buffer_size: usize = 4096,
        /// `server_rewrite_by_lua`.
        server_rewrite: Option<Rc<Code>> = None,
        /// `rewrite_by_lua`.
        rewrite: Option<Rc<Code>> = None,
        /// `access_by_lua`.
        access: Option<Rc<Code>> = None,
        /// `precontent_by_lua`.
        precontent: Option<Rc<Code>> = None,
        /// `header_filter_by_lua`.
        header_filter: Option<Rc<Code>> = None,
        /// `body_filter_by_lua`.
        body_filter: Option<Rc<Code>> = None,
        /// `log_by_lua`.
        log: Option<Rc<Code>> = None,
    }
}

/// What belongs to one location alone.
#[derive(Default)]
pub struct OwnConf {
    /// `content_by_lua`.
    pub content: Option<Rc<Code>>,
}

impl Conf for HttpConf {
    fn merge(&mut self, outer: &Self, _cx: &mut MergeCx<'_>) -> ::conf::Result<()> {
        self.merge_settings(outer);
        Ok(())
    }
}

impl Conf for LuaConf {
    fn merge(&mut self, outer: &Self, _cx: &mut MergeCx<'_>) -> ::conf::Result<()> {
        self.merge_settings(outer);
        Ok(())
    }
}

impl Conf for OwnConf {
    fn merge(&mut self, outer: &Self, cx: &mut MergeCx<'_>) -> ::conf::Result<()> {
        // the nameless blocks inside a location have its handler
        if self.content.is_none()
            && matches!(cx.kind, worker::build::LevelKind::If | worker::build::LevelKind::LimitExcept)
        {
            self.content.clone_from(&outer.content);
        }
        Ok(())
    }

    fn is_inherited_whole(&self, inner: &worker::build::LevelKind) -> bool {
        self.content.is_none()
            || matches!(inner, worker::build::LevelKind::If | worker::build::LevelKind::LimitExcept)
    }
}
