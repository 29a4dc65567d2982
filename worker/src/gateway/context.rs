//! What the gateway remembers about a request.

use std::rc::Rc;

use schemas::expr::Vars;

use super::auth::Binding;
use super::plan::Plan;
use super::plugins::{Attached, PluginSet};
use super::router::RouteEntry;
use super::target::Target;
use crate::request::Request;

/// See the module's documentation. Plugins read and change it through methods.
#[derive(Default)]
pub struct GatewayContext {
    pub(super) route: Option<Rc<RouteEntry>>,
    pub(super) plan: Option<Rc<Plan>>,
    /// Plugins of global rules.
    pub(super) global: PluginSet,
    /// Plugins of the route, and of the consumer once it is known.
    pub(super) plugins: PluginSet,
    pub(super) consumer: Option<Rc<Binding>>,
    /// The upstream some plugin chose in place of the route's.
    pub(super) target: Option<Rc<Target>>,
    /// Target of the request line some plugin chose: path and arguments, escaped.
    pub(super) upstream_uri: Option<Vec<u8>>,
    /// `Host` some plugin chose.
    pub(super) upstream_host: Option<Vec<u8>>,
    /// Method some plugin chose.
    pub(super) upstream_method: Option<Box<str>>,
    /// The server chosen last.
    pub(super) picked: Option<Rc<crate::upstream::Peer>>,
    /// Plugins that want the body of the response.
    pub(super) body_filters: Vec<Rc<Attached>>,
}

impl GatewayContext {
    /// The route's id.
    pub fn route_id(&self) -> Option<&str> {
        self.route.as_ref().map(|route| &*route.id)
    }

    /// The route's name.
    pub fn route_name(&self) -> Option<&str> {
        self.route.as_ref()?.route.name.as_deref()
    }

    /// The id of the route's service.
    pub fn service_id(&self) -> Option<&str> {
        self.route.as_ref()?.route.service_id.as_deref()
    }

    /// The name of the route's service.
    pub fn service_name(&self) -> Option<&str> {
        self.plan.as_ref()?.service_name.as_deref()
    }

    /// The consumer, once one is known.
    pub fn consumer(&self) -> Option<&Rc<Binding>> {
        self.consumer.as_ref()
    }

    /// Sends the request to `target` (path and arguments, escaped) instead of what the client asked for.
    pub fn set_upstream_uri(&mut self, target: Vec<u8>) {
        self.upstream_uri = Some(target);
    }

    /// The target chosen so far, if a plugin chose one.
    pub fn upstream_uri(&self) -> Option<&[u8]> {
        self.upstream_uri.as_deref()
    }

    /// Sends this `Host`.
    pub fn set_upstream_host(&mut self, host: Vec<u8>) {
        self.upstream_host = Some(host);
    }

    /// Sends this method.
    pub fn set_upstream_method(&mut self, method: &str) {
        self.upstream_method = Some(method.into());
    }

    /// The server chosen last.
    pub fn picked(&self) -> Option<&crate::upstream::Peer> {
        self.picked.as_deref()
    }
}

/// A request's variables, for conditions.
pub struct RequestVars<'r>(pub &'r mut Request);

impl Vars for RequestVars<'_> {
    fn append(&mut self, name: &str, out: &mut Vec<u8>) -> bool {
        self.0.append_variable_by_name(name.as_bytes(), out) == Some(true)
    }
}
