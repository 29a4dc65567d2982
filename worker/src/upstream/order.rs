//! What is to be passed on for one request, and where.

use std::cell::Cell;
use std::rc::Rc;

use super::secure::TlsClient;
use super::{Protocol, Settings, Upstream};
use crate::request::Request;

/// One request to pass on. Its head stands in `req.upstream.request`, ready to be sent.
pub struct Order<'c> {
    /// How.
    pub settings: &'c Settings,
    /// Where to.
    pub upstream: Rc<Upstream>,
    /// Connections are TLS, made by this.
    pub tls: Option<Rc<TlsClient>>,
    /// What the module changes in responses.
    pub rewrite: &'c dyn Rewrite,
    /// The body that goes along.
    pub upload: Upload,
    /// The protocol of the server; `None`: HTTP/1.
    pub protocol: Option<Box<dyn Protocol>>,
    /// Whether sending the request twice does what sending it once does.
    pub idempotent: bool,
    /// The request is a HEAD: its response has no body.
    pub head_only: bool,
    /// The request asks for an upgrade that may be granted.
    pub upgrade: bool,
    /// `http://` or its like, for log lines.
    pub scheme: &'static str,
    /// The target as sent, for log lines: a range of `req.upstream.request`.
    pub target: std::ops::Range<usize>,
    /// Whether somebody may look at the client's connection for a hang-up: nobody else receives from it.
    pub watching: Cell<bool>,
    /// What is being done, in nginx's words, for log lines.
    pub doing: Cell<&'static str>,
}

impl Order<'_> {
    /// Whose connections may be shared (`keepalive N local`): the settings' address stands for the location.
    pub(super) fn tag(&self) -> usize {
        std::ptr::from_ref(self.settings).addr()
    }
}

/// The body of a request on its way upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upload {
    /// There is none, or it is part of the head already (`proxy_set_body`).
    None,
    /// It was read before: memory or file.
    Kept,
    /// It is sent as it comes from the client.
    Streamed {
        /// In chunks; otherwise a length was announced.
        chunked: bool,
    },
}

/// What a module changes in response heads.
pub trait Rewrite {
    /// Whether [`Rewrite::location`] has anything to do.
    fn rewrites_location(&self) -> bool {
        false
    }

    /// Whether [`Rewrite::cookie`] has anything to do.
    fn rewrites_cookies(&self) -> bool {
        false
    }

    /// The value that replaces that of `Location`, or of `Refresh` from byte `prefix` on; `None`: no rule applies.
    fn location(&self, _req: &mut Request, _value: &[u8], _prefix: usize) -> Option<Vec<u8>> {
        None
    }

    /// The value that replaces that of `Set-Cookie`; `None`: no rule applies.
    fn cookie(&self, _req: &mut Request, _value: &[u8]) -> Option<Vec<u8>> {
        None
    }
}
