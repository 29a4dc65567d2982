//! What `gateway_pass` does with a request.
//!
//! ```text
//!   match ─► global rules: rewrite ─► plugins: rewrite (consumer found? merge, rewrite the new ones)
//!         ─► global rules: access ─► plugins: access ─► upstream, node ─► before_proxy ─► pass on
//! ```
//!
//! Each step may answer. Without a route global rules run all the same, then it is a 404.

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;
use http1::{Framing, Known};

use super::auth::IDENTITY_FIELDS;
use super::chain;
use super::context::GatewayContext;
use super::head::{self, Parts};
use super::plan::{Leads, Plan};
use super::plugins::PluginSet;
use super::router::RouteEntry;
use super::settings;
use super::target::Target;
use crate::body::Progress;
use crate::fault::Fault;
use crate::log::Level;
use crate::modules::proxy::ProxyConf;
use crate::phase::{Flow, Handler, Response, Step};
use crate::plugin::Phases;
use crate::request::{Origin, Request};
use crate::upstream::{self, NameSet, Order, Rewrite, Settings, Upload, Upstream};

/// The content handler.
pub(super) struct GatewayPass {
    conf: Rc<ProxyConf>,
    replaced: NameSet,
}

/// Responses of upstreams are passed on as they are.
struct AsIs;

impl Rewrite for AsIs {}

const NOT_FOUND: &[u8] = b"{\"error_msg\":\"404 Route Not Found\"}\n";

impl Handler for GatewayPass {
    fn handle<'r>(&'r self, req: &'r mut Request) -> Step<'r> {
        Step::wait(self.pass(req))
    }
}

impl GatewayPass {
    pub(super) fn new(conf: Rc<ProxyConf>) -> Self {
        Self { conf, replaced: head::replaced() }
    }

    async fn pass(&self, req: &mut Request) -> Flow {
        let worker = Rc::clone(&req.worker);
        let live = &worker.gateway;
        let Some(route) = live.find(req) else { return no_route(req, live.global()).await };
        let plan = match live.plan(&route) {
            Ok(plan) => plan,
            Err(status) => {
                req.log_error(format_args!("route [{}] refers to a resource that is not there", route.id));
                return Flow::Status(status);
            }
        };
        begin(req, &route, &plan, live.global());
        if let Some(flow) = run_plugins(req, &plan).await {
            return flow;
        }
        let target = match target(req, &plan) {
            Ok(target) => target,
            Err(status) => return Flow::Status(status),
        };
        self.proxy(req, &plan, &target).await
    }

    /// Passes the request to `target`.
    async fn proxy(&self, req: &mut Request, plan: &Rc<Plan>, target: &Rc<Target>) -> Flow {
        let upstream = match target.ready() {
            Some(upstream) => upstream,
            None => match target.look_up(req).await {
                Some(upstream) => upstream,
                None => return Flow::Status(503),
            },
        };
        if upstream.balancer.tries() == 0 {
            req.log_error(format_args!("no valid upstream node"));
            return Flow::Status(503);
        }
        let (global, own) = sets(req);
        for set in [&global, &own] {
            if let Some(flow) = chain::run(req, set, Phases::BEFORE_PROXY, None).await {
                return flow;
            }
        }
        let settings = settings::of(plan, target, &self.conf);
        match self.order(req, plan, target, upstream, &settings).await {
            Ok(order) => upstream::pass(req, &order).await,
            Err(fault) => req.fail(&fault),
        }
    }

    /// Reads the body if it is to be read before, and builds the request head.
    async fn order<'s>(
        &self,
        req: &mut Request,
        plan: &Plan,
        target: &Target,
        upstream: Rc<Upstream>,
        settings: &'s Settings,
    ) -> Result<Order<'s>, Fault> {
        let upload = self.upload(req);
        if !matches!(upload, Upload::Streamed { .. }) {
            req.read_body().await?;
        }
        let length = match upload {
            Upload::Kept => Some(req.body.len()),
            Upload::Streamed { .. } => req.body.declared,
            Upload::None => {
                (req.body.is_absent() && req.headers.contains_known(Known::ContentLength)).then_some(0)
            }
        };
        let context = req.context.entry::<GatewayContext>();
        let method = context.upstream_method.clone();
        let uri = context.upstream_uri.clone();
        let own_host = context.upstream_host.clone();
        let uri = uri.unwrap_or_else(|| head::client_target(req));
        let host = own_host.unwrap_or_else(|| host(req, target));
        let parts = Parts {
            method: method.as_deref(),
            target: &uri,
            host: &host,
            upload,
            length,
            websocket: plan.websocket,
            replaced: &self.replaced,
        };
        let mut head = std::mem::take(&mut req.upstream.request);
        let built = head::build(req, &parts, &mut head);
        req.upstream.request = head;
        let built = built?;
        Ok(Order {
            settings,
            upstream,
            tls: None,
            rewrite: &AsIs,
            upload,
            protocol: None,
            idempotent: built.idempotent,
            head_only: built.head_only,
            upgrade: built.upgrade,
            scheme: "http://",
            target: built.target,
            watching: Cell::new(true),
            doing: Cell::new(""),
        })
    }

    /// How the body goes along.
    fn upload(&self, req: &Request) -> Upload {
        if req.body.is_absent() {
            return Upload::None;
        }
        let streamed = !self.conf.request_buffering
            && req.origin == Origin::Client
            && req.body.progress == Progress::Unread
            && !req.body_is_here();
        if streamed {
            Upload::Streamed { chunked: req.body.framing == Framing::Chunked }
        } else {
            Upload::Kept
        }
    }
}

/// The `Host` that is sent. That of the node is put in when the node is chosen.
fn host(req: &Request, target: &Target) -> Vec<u8> {
    match &target.resource.upstream_host {
        Some(host) if target.resource.pass_host == schemas::resource::PassHost::Rewrite => {
            host.as_bytes().to_vec()
        }
        _ => match req.headers.known(Known::Host) {
            Some(host) => host.to_vec(),
            None => req.host.clone(),
        },
    }
}

fn begin(req: &mut Request, route: &Rc<RouteEntry>, plan: &Rc<Plan>, global: PluginSet) {
    if plan.authenticates || global.list.iter().any(|plugin| plugin.auth) {
        // only we say who the consumer is
        IDENTITY_FIELDS.iter().for_each(|name| {
            req.headers.remove(name);
        });
    }
    req.context.set(GatewayContext {
        route: Some(Rc::clone(route)),
        plan: Some(Rc::clone(plan)),
        global,
        plugins: plan.plugins.clone(),
        ..GatewayContext::default()
    });
}

/// Global plugins and those of route and consumer.
fn sets(req: &mut Request) -> (PluginSet, PluginSet) {
    let context = req.context.entry::<GatewayContext>();
    (context.global.clone(), context.plugins.clone())
}

async fn run_plugins(req: &mut Request, plan: &Plan) -> Option<Flow> {
    let (global, own) = sets(req);
    if global.is_empty() && own.is_empty() {
        return None;
    }
    if let Some(flow) = chain::run(req, &global, Phases::REWRITE, None).await {
        return Some(flow);
    }
    if let Some(flow) = chain::run(req, &own, Phases::REWRITE, None).await {
        return Some(flow);
    }
    match merge_consumer(req, plan) {
        Err(status) => return Some(Flow::Status(status)),
        Ok(false) => {}
        Ok(true) => {
            let (_, merged) = sets(req);
            if let Some(flow) = chain::run(req, &merged, Phases::REWRITE, Some(&own)).await {
                return Some(flow);
            }
        }
    }
    let (global, own) = sets(req);
    if let Some(flow) = chain::run(req, &global, Phases::ACCESS, None).await {
        return Some(flow);
    }
    chain::run(req, &own, Phases::ACCESS, None).await
}

/// The plugins of consumer and group come before those of the route. Whether there are any.
fn merge_consumer(req: &mut Request, plan: &Plan) -> Result<bool, u16> {
    let worker = Rc::clone(&req.worker);
    let context = req.context.entry::<GatewayContext>();
    let Some(consumer) = context.consumer.clone() else { return Ok(false) };
    let group = match consumer.group_id() {
        None => None,
        Some(id) => Some(worker.gateway.consumer_group(id).ok_or_else(|| {
            req.log(Level::Error, format_args!("failed to fetch consumer group config by id: {id}"));
            503u16
        })?),
    };
    if consumer.plugins.is_empty() && group.as_ref().is_none_or(PluginSet::is_empty) {
        return Ok(false);
    }
    let merged = PluginSet::merge(
        [Some(&consumer.plugins), group.as_ref(), Some(&plan.plugins)].into_iter().flatten(),
    );
    req.context.entry::<GatewayContext>().plugins = merged;
    Ok(true)
}

/// The upstream of a request.
fn target(req: &mut Request, plan: &Plan) -> Result<Rc<Target>, u16> {
    let chosen = req.context.entry::<GatewayContext>().target.clone();
    if let Some(target) = chosen {
        return Ok(target);
    }
    match &plan.leads {
        Leads::Here(target) => Ok(Rc::clone(target)),
        Leads::ById(id) => req.worker.gateway.upstream(id).ok_or_else(|| {
            req.log_error(format_args!("failed to find upstream by id: {id}"));
            502
        }),
        Leads::Nowhere => {
            req.log_error(format_args!("missing upstream configuration in Route or Service"));
            Err(503)
        }
    }
}

async fn no_route(req: &mut Request, global: PluginSet) -> Flow {
    if !global.is_empty() {
        req.context.set(GatewayContext { global: global.clone(), ..GatewayContext::default() });
        for phase in [Phases::REWRITE, Phases::ACCESS] {
            if let Some(flow) = chain::run(req, &global, phase, None).await {
                return flow;
            }
        }
    }
    let content_type = Some(Bytes::from_static(b"application/json"));
    Flow::Respond(Response { status: 404, body: Bytes::from_static(NOT_FOUND), content_type })
}
