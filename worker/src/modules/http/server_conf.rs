//! Core settings of a server.

use std::rc::Rc;

use conf::Result;
use http1::RequestOptions;

use super::listen::ListenDirective;
use crate::build::{Conf, LevelKind, MergeCx};
use crate::locate::ServerName;
use crate::predicates::Predicates;
use crate::settings;

settings! {
    /// Core settings of a server.
    pub struct ServerConf, ServerSettings {
        /// `client_header_timeout` in ms.
        client_header_timeout: u64 = 60_000,
        /// `client_header_buffer_size` in bytes.
        client_header_buffer_size: usize = 1024,
        /// `large_client_header_buffers`: number and size.
        large_client_header_buffers: (usize, usize) = (4, 8192),
        /// `connection_pool_size`: memory is not managed in pools.
        connection_pool_size: usize = 512,
        /// `request_pool_size`: memory is not managed in pools.
        request_pool_size: usize = 4096,
        /// `ignore_invalid_headers`.
        ignore_invalid_headers: bool = true,
        /// `underscores_in_headers`.
        underscores_in_headers: bool = false,
        /// `merge_slashes`.
        merge_slashes: bool = true,
        /// `max_headers`.
        max_headers: u64 = 1000,
        /// `client_body_early_read`.
        client_body_early_read: Predicates = Predicates::default(),
        /// `allow_connect`-like switch of the tunnel module; CONNECT is refused otherwise.
        allow_connect: bool = false,
        /// What `listen` directives said.
        listens: Rc<[ListenDirective]> = Rc::from([]),
        /// What `server_name` said, as written.
        server_names: Rc<[(Box<str>, ServerName)]> = Rc::from([]),
        /// How request heads are read.
        request_options: RequestOptions = RequestOptions::default(),
        /// Where the block stands.
        defined_at: Rc<str> = Rc::from(""),
    }
}

impl Conf for ServerConf {
    fn merge(&mut self, outer: &Self, cx: &mut MergeCx<'_>) -> Result<()> {
        if matches!(cx.kind, LevelKind::Server) && !self.set.listens.is_set() {
            self.set.listens.set(Rc::from([ListenDirective::default_for(cx.builder)]))?;
        }
        self.merge_settings(outer);
        let bytes = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
        self.request_options = RequestOptions {
            underscores_in_headers: self.underscores_in_headers,
            ignore_invalid_headers: self.ignore_invalid_headers,
            merge_slashes: self.merge_slashes,
            max_headers: bytes(self.max_headers as usize),
            header_buffer_size: bytes(self.client_header_buffer_size),
            large_buffers: bytes(self.large_client_header_buffers.0),
            large_buffer_size: bytes(self.large_client_header_buffers.1),
            allow_connect: self.allow_connect,
            reject_fragment: false,
            stop_at_host: false,
        };
        Ok(())
    }
}

impl ServerConf {
    /// `$server_name` and the name in log lines: the first name as written.
    pub fn display_name(&self) -> &str {
        self.server_names.first().map_or("", |(text, _)| text)
    }
}
