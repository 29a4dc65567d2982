//! What `fastcgi_pass` and its like do with a request.

use std::cell::Cell;
use std::rc::Rc;

use conf::Result;
use http1::Framing;

use super::target::Where;
use super::{PassConf, Target};
use crate::body::Progress;
use crate::build::Builder;
use crate::fault::Fault;
use crate::phase::{Flow, Handler, Step};
use crate::request::{Origin, Request};
use crate::upstream::{self, Order, Protocol, Rewrite, Settings, Upload};

/// How a module speaks to its servers.
pub(in crate::modules) trait Codec {
    /// What log lines call it: `fastcgi://`.
    fn scheme(&self) -> &'static str;

    /// Takes the scheme off a target.
    fn strip(&self) -> fn(&str) -> std::result::Result<&str, String> {
        |text| Ok(text)
    }

    /// Whether bodies of unknown length may be passed on as they come.
    fn streams_unknown_lengths(&self) -> bool {
        false
    }

    /// Refuses a request before anything is done with it.
    fn check(&self, _req: &mut Request) -> Option<Flow> {
        None
    }

    /// Encodes all of a request but its body into `out`.
    ///
    /// # Errors
    /// The request cannot be expressed.
    fn encode(
        &self,
        req: &mut Request,
        body: Encoded,
        out: &mut Vec<u8>,
    ) -> std::result::Result<Box<dyn Protocol>, Fault>;
}

/// The body that will follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::modules) struct Encoded {
    /// Its length, if it is known.
    pub(in crate::modules) length: Option<u64>,
}

/// The content handler of a location with a `*_pass`.
pub(in crate::modules) struct PassHandler<C> {
    settings: Settings,
    to: Where,
    codec: C,
    pass_body: bool,
    buffer_body: bool,
}

/// Response fields stay as they are.
struct Nothing;

impl Rewrite for Nothing {}

impl<C: Codec> PassHandler<C> {
    pub(super) fn new(
        cx: &mut Builder,
        conf: &PassConf,
        settings: Settings,
        target: &Rc<Target>,
        codec: C,
    ) -> Result<Self> {
        Ok(Self {
            settings,
            to: target.resolve(cx)?,
            codec,
            pass_body: conf.pass_request_body,
            buffer_body: conf.request_buffering,
        })
    }

    async fn pass(&self, req: &mut Request) -> Flow {
        if let Some(flow) = self.codec.check(req) {
            return flow;
        }
        match self.order(req).await {
            Ok(order) => upstream::pass(req, &order).await,
            Err(fault) => req.fail(&fault),
        }
    }

    async fn order(&self, req: &mut Request) -> std::result::Result<Order<'_>, Fault> {
        let upload = self.upload(req);
        if !matches!(upload, Upload::Streamed { .. }) {
            req.read_body().await?;
        }
        let upstream = self.to.find(req, self.codec.strip()).await?;
        let length = match upload {
            Upload::None => Some(0),
            Upload::Kept => Some(req.body.len()),
            Upload::Streamed { .. } => req.body.declared,
        };
        let mut head = std::mem::take(&mut req.upstream.request);
        head.clear();
        let encoded = self.codec.encode(req, Encoded { length }, &mut head);
        req.upstream.request = head;
        let protocol = encoded?;
        Ok(Order {
            settings: &self.settings,
            upstream,
            tls: None,
            rewrite: &Nothing,
            upload,
            protocol: Some(protocol),
            idempotent: req.method.is_idempotent(),
            head_only: req.method == http1::Method::Head,
            upgrade: false,
            scheme: self.codec.scheme(),
            target: 0..0,
            watching: Cell::new(true),
            doing: Cell::new(""),
        })
    }

    /// How the body goes along.
    fn upload(&self, req: &Request) -> Upload {
        if !self.pass_body || req.body.is_absent() {
            return Upload::None;
        }
        let chunked = req.body.framing == Framing::Chunked;
        let streamed = !self.buffer_body
            && req.origin == Origin::Client
            && req.body.progress == Progress::Unread
            && (!chunked || self.codec.streams_unknown_lengths())
            && !req.body_is_here();
        if streamed { Upload::Streamed { chunked: false } } else { Upload::Kept }
    }
}

impl<C: Codec> Handler for PassHandler<C> {
    fn handle<'r>(&'r self, req: &'r mut Request) -> Step<'r> {
        Step::wait(self.pass(req))
    }
}
