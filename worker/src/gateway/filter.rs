//! Plugins on the way of the response, and after it.

use std::rc::Rc;

use super::chain;
use super::context::GatewayContext;
use crate::fault::Fault;
use crate::filter::{Chain, Filter, Interest};
use crate::phase::{Flow, Handler, Step};
use crate::plugin::Phases;
use crate::request::Request;

/// Runs `header_filter` and `body_filter`.
pub(super) struct PluginFilter;

impl Filter for PluginFilter {
    fn header<'r>(&'r self, req: &'r mut Request) -> Step<'r, Result<Interest, Fault>> {
        Step::Ready(header(req))
    }

    fn body<'r>(&'r self, req: &'r mut Request, chain: &'r mut Chain) -> Step<'r, Result<(), Fault>> {
        Step::Ready(body(req, chain))
    }
}

fn header(req: &mut Request) -> Result<Interest, Fault> {
    let Some(context) = req.context.get_mut::<GatewayContext>() else { return Ok(Interest::None) };
    context.body_filters.clear();
    if req.out.from_upstream && req.out.status >= 500 {
        // APISIX's: tells the upstream's errors from the gateway's own
        let status = req.out.status.to_string();
        req.out.headers.set(b"X-APISIX-Upstream-Status", status.as_bytes());
    }
    let (mut wanted, mut result) = (Vec::new(), Ok(()));
    chain::for_each(req, Phases::HEADER_FILTER.or(Phases::BODY_FILTER), |req, plugin| {
        if result.is_err() {
            return;
        }
        match plugin.instance.header_filter(req) {
            Ok(Interest::None) => {}
            Ok(_) => wanted.push(Rc::clone(plugin)),
            Err(fault) => result = Err(fault),
        }
    });
    result?;
    let interest = if wanted.is_empty() { Interest::None } else { Interest::Memory };
    if let Some(context) = req.context.get_mut::<GatewayContext>() {
        context.body_filters = wanted;
    }
    Ok(interest)
}

fn body(req: &mut Request, chain: &mut Chain) -> Result<(), Fault> {
    let Some(context) = req.context.get_mut::<GatewayContext>() else { return Ok(()) };
    let filters = std::mem::take(&mut context.body_filters);
    let result = filters.iter().try_for_each(|plugin| plugin.instance.body_filter(req, chain));
    if let Some(context) = req.context.get_mut::<GatewayContext>() {
        context.body_filters = filters;
    }
    result
}

/// Runs `log`.
pub(super) struct PluginLog;

impl Handler for PluginLog {
    fn handle<'r>(&'r self, req: &'r mut Request) -> Step<'r> {
        chain::for_each(req, Phases::LOG, |req, plugin| plugin.instance.log(req));
        Step::Ready(Flow::Next)
    }
}
