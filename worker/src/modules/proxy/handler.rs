//! What `proxy_pass` does with a request.

use std::borrow::Cow;
use std::cell::Cell;
use std::rc::Rc;

use conf::Result;
use http1::{Escape, Framing};

use super::cache::Caches;
use super::conf::{ProxyConf, Redirects};
use super::cookie::CookieRules;
use super::head::{HeadParts, HeadPlan};
use super::redirect;
use super::rule::{self, Rule};
use super::target::{self, Pass, Scheme, Target, To};
use super::variables::ProxyContext;
use crate::body::Progress;
use crate::build::Builder;
use crate::cache;
use crate::fault::Fault;
use crate::phase::{Flow, Handler, Step};
use crate::request::{Origin, Request};
use crate::script::Template;
use crate::upstream::{self, Order, Rewrite, Settings, TlsClient, Upload, Upstream, UpstreamTls};

/// The content handler of a location with `proxy_pass`.
pub(super) struct ProxyHandler {
    settings: Settings,
    plan: HeadPlan,
    to: Where,
    /// What of a path the URI part replaces.
    location: Box<[u8]>,
    set_body: Option<Rc<Template>>,
    pass_body: bool,
    buffer_body: bool,
    rewrites: Rewrites,
    /// Makes TLS connections, where there may be any.
    tls: Option<Rc<TlsClient>>,
}

enum Where {
    /// Known from the configuration.
    Fixed { scheme: Scheme, upstream: Rc<Upstream>, host: Rc<[u8]>, uri: Box<[u8]> },
    /// Made from variables.
    Template(Rc<Pass>),
}

/// Why a request is not passed on.
enum Stop {
    Fault(Fault),
    /// It was answered, or is to be answered otherwise.
    Flow(Flow),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl ProxyHandler {
    pub(super) fn new(
        cx: &mut Builder,
        conf: &ProxyConf,
        (caches, tls): (&Caches, &UpstreamTls),
        pass: &Rc<Pass>,
    ) -> Result<Self> {
        let may_be_secure = match &pass.to {
            To::Fixed(scheme, _) => scheme.secure,
            To::Template(_) => true,
        };
        let tls = if may_be_secure { Some(tls.client()?) } else { None };
        let to = match &pass.to {
            To::Fixed(scheme, url) => {
                let upstream = cx.upstreams.for_url(&pass.span, url)?;
                let (host, _) = target::host_and_port(*scheme, url);
                Where::Fixed { scheme: *scheme, upstream, host, uri: url.uri.as_bytes().into() }
            }
            To::Template(_) => Where::Template(Rc::clone(pass)),
        };
        Ok(Self {
            settings: conf.compile_with(caches)?,
            plan: HeadPlan::new(conf),
            to,
            location: pass.location.clone(),
            set_body: conf.set_body.clone(),
            pass_body: conf.pass_request_body,
            buffer_body: conf.request_buffering,
            rewrites: Rewrites::new(conf, pass),
            tls,
        })
    }

    async fn pass(&self, req: &mut Request) -> Flow {
        match self.order(req).await {
            Ok(order) => upstream::pass(req, &order).await,
            Err(Stop::Fault(fault)) => req.fail(&fault),
            Err(Stop::Flow(flow)) => flow,
        }
    }

    /// Reads the body if it is to be read before, asks the cache, and builds the request head.
    async fn order(&self, req: &mut Request) -> std::result::Result<Order<'_>, Stop> {
        let upload = self.upload(req);
        if !matches!(upload, Upload::Streamed { .. }) {
            if req.body.is_absent() && !req.body.started() && !req.body.expect_continue {
                req.body.progress = Progress::Kept;
            } else {
                Box::pin(req.read_body()).await?;
            }
        }
        let target;
        let (scheme, upstream, host, target_uri) = match &self.to {
            Where::Fixed { scheme, upstream, host, uri } => {
                (*scheme, Rc::clone(upstream), &**host, self.target(req, uri))
            }
            Where::Template(pass) => {
                let To::Template(template) = &pass.to else { unreachable!("made for templates only") };
                target = Box::pin(target::evaluate(req, template)).await?;
                let Target { scheme, upstream, host, port, uri } = &target;
                req.context.set(ProxyContext { host: Rc::clone(host), port: Rc::clone(port) });
                let uri = if uri.is_empty() { self.target(req, b"") } else { Cow::Owned(uri.clone()) };
                (*scheme, Rc::clone(upstream), &**host, uri)
            }
        };
        let target_uri = target_uri.into_owned();
        let mut order = Order {
            settings: &self.settings,
            upstream,
            tls: self.tls.clone().filter(|_| scheme.secure),
            rewrite: &self.rewrites,
            upload,
            protocol: None,
            idempotent: false,
            head_only: false,
            upgrade: false,
            scheme: scheme.prefix,
            target: 0..0,
            watching: Cell::new(true),
            doing: Cell::new(""),
        };
        req.upstream.cache_status = None;
        if let Some(plan) = &self.settings.cache {
            let default_key = [scheme.prefix.as_bytes(), host, &target_uri].concat();
            match Box::pin(cache::lookup(req, plan, default_key)).await? {
                cache::Found::Pass => {}
                cache::Found::Serve => return Err(Stop::Flow(Box::pin(cache::serve(req, &order)).await)),
                cache::Found::Answer(flow) => return Err(Stop::Flow(flow)),
            }
        }
        self.build(req, &mut order, host, &target_uri)?;
        Ok(order)
    }

    fn build(
        &self,
        req: &mut Request,
        order: &mut Order<'_>,
        host: &[u8],
        target: &[u8],
    ) -> std::result::Result<(), Fault> {
        let body = self.set_body.as_ref().map(|template| template.eval(req));
        let length = match (&body, order.upload) {
            (Some(body), _) => Some(body.len() as u64),
            (None, Upload::Kept) => Some(req.body.len()),
            (None, Upload::Streamed { .. }) => req.body.declared,
            // a client that says "0" means it
            (None, Upload::None) => {
                (req.body.is_absent() && req.headers.contains_known(http1::Known::ContentLength)).then_some(0)
            }
        };
        let cached = req.upstream.cache.as_ref().is_some_and(|using| using.cacheable);
        let as_get = cached && self.settings.cache.as_ref().is_some_and(|plan| plan.convert_head);
        let mut head = std::mem::take(&mut req.upstream.request);
        let parts = HeadParts { host, target, upload: order.upload, length, cached, as_get };
        let built = self.plan.build(req, &parts, &mut head);
        if let Some(body) = body {
            head.extend_from_slice(&body);
        }
        req.upstream.request = head;
        let built = built?;
        order.idempotent = built.idempotent;
        order.head_only = built.head_only;
        // a subrequest has no connection that could become a tunnel
        order.upgrade = built.upgrade && req.is_main() && req.headers.contains_known(http1::Known::Upgrade);
        order.target = built.target;
        Ok(())
    }

    /// How the body goes along.
    fn upload(&self, req: &Request) -> Upload {
        if self.set_body.is_some() || !self.pass_body || req.body.is_absent() {
            return Upload::None;
        }
        let chunked = req.body.framing == Framing::Chunked;
        let streamed = !self.buffer_body
            && req.origin == Origin::Client
            && req.body.progress == Progress::Unread
            && !req.body.discarded
            && (!chunked || self.plan.is_http11())
            && !req.body_is_here();
        if streamed { Upload::Streamed { chunked } } else { Upload::Kept }
    }

    /// The target of the request line: what the client sent, or what `uri` and the rest of the path make.
    fn target<'r>(&self, req: &'r Request, uri: &[u8]) -> Cow<'r, [u8]> {
        if uri.is_empty() && req.unparsed_valid {
            return Cow::Borrowed(req.head.request_uri());
        }
        let replaced =
            if req.valid_location && !uri.is_empty() { self.location.len().min(req.uri.len()) } else { 0 };
        let mut out = Vec::with_capacity(uri.len() + req.uri.len() + req.args.len() + 16);
        if req.valid_location {
            out.extend_from_slice(uri);
        }
        http1::escape_uri(&mut out, &req.uri[replaced..], Escape::Uri);
        if !req.args.is_empty() {
            out.push(b'?');
            out.extend_from_slice(&req.args);
        }
        Cow::Owned(out)
    }
}

impl Handler for ProxyHandler {
    fn handle<'r>(&'r self, req: &'r mut Request) -> Step<'r> {
        Step::wait(self.pass(req))
    }
}

/// `proxy_redirect` and `proxy_cookie_*` of a location.
struct Rewrites {
    redirects: Rc<[Rule]>,
    cookies: CookieRules,
}

impl Rewrites {
    fn new(conf: &ProxyConf, pass: &Pass) -> Self {
        let redirects = match &conf.redirects {
            Redirects::Off => Rc::from([]),
            Redirects::Rules(rules) => Rc::clone(rules),
            Redirects::Default => redirect::default_rule(pass).into_iter().collect(),
        };
        let cookies = CookieRules {
            domains: Rc::clone(&conf.cookie_domains),
            paths: Rc::clone(&conf.cookie_paths),
            flags: Rc::clone(&conf.cookie_flags),
        };
        Self { redirects, cookies }
    }
}

impl Rewrite for Rewrites {
    fn rewrites_location(&self) -> bool {
        !self.redirects.is_empty()
    }

    fn rewrites_cookies(&self) -> bool {
        !self.cookies.is_empty()
    }

    fn location(&self, req: &mut Request, value: &[u8], prefix: usize) -> Option<Vec<u8>> {
        rule::first(&self.redirects, req, value, prefix)
    }

    fn cookie(&self, req: &mut Request, value: &[u8]) -> Option<Vec<u8>> {
        self.cookies.rewrite(req, value)
    }
}
