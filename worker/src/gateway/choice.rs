//! Upstreams that plugins choose in place of the route's.

use std::rc::Rc;

use serde_json::Value;

use super::context::GatewayContext;
use super::target::Target;
use crate::request::Request;

/// An upstream that stands in a plugin's configuration.
#[derive(Clone)]
pub struct OwnUpstream(Rc<Target>);

impl OwnUpstream {
    /// Compiles an upstream as the resource describes it.
    pub fn new(name: &str, value: &Value) -> Result<Self, String> {
        let resource = serde_json::from_value(value.clone()).map_err(|error| error.to_string())?;
        Target::new(name, resource).map(|target| Self(Rc::new(target)))
    }

    /// The request goes there.
    pub fn choose(&self, req: &mut Request) {
        req.context.entry::<GatewayContext>().target = Some(Rc::clone(&self.0));
    }
}

/// The request goes to the upstream resource `id`; `false`: there is none.
pub fn choose_upstream(req: &mut Request, id: &str) -> bool {
    let found = req.worker.gateway.upstream(id);
    let is_there = found.is_some();
    if is_there {
        req.context.entry::<GatewayContext>().target = found;
    }
    is_there
}
