//! A route ready to be matched.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::rc::Rc;

use http1::Method;
use schemas::Networks;
use schemas::expr::Expr;
use schemas::resource::Route;

use super::super::context::RequestVars;
use super::super::plan::Plan;
use super::super::plugins::PluginSet;
use super::super::target::Target;
use crate::request::Request;

/// A route with what it is matched by, compiled.
pub(in super::super) struct RouteEntry {
    pub(in super::super) id: Box<str>,
    /// The revision that created it.
    created: u64,
    pub(in super::super) route: Route,
    /// Its own plugins.
    pub(in super::super) plugins: PluginSet,
    /// Its own upstream.
    pub(in super::super) target: Option<Rc<Target>>,
    /// What requests of this route do, as last merged.
    pub(in super::super) plan: RefCell<Option<Rc<Plan>>>,
    /// A bit per method; 0: any.
    methods: u32,
    addresses: Networks,
    vars: Option<Expr>,
}

/// The bit of methods that have no number: `PURGE`, the only one a route may name.
const PURGE: u32 = 1 << 31;

fn bit(name: &str) -> u32 {
    match Method::from_bytes(name.as_bytes()) {
        Method::Other => PURGE,
        known => 1 << known as u32,
    }
}

impl RouteEntry {
    /// Compiles a route.
    pub(in super::super) fn new(
        id: &str,
        created: u64,
        route: Route,
        plugins: PluginSet,
        target: Option<Rc<Target>>,
    ) -> Result<Self, String> {
        let methods = route.methods.iter().map(|name| bit(name)).fold(0, |all, one| all | one);
        let addresses =
            Networks::parse(route.addresses()).map_err(|bad| format!("invalid ip address: {bad}"))?;
        let vars = route
            .vars
            .as_ref()
            .map(Expr::parse)
            .transpose()
            .map_err(|error| format!("failed to validate the 'vars' expression: {error}"))?;
        Ok(Self {
            id: id.into(),
            created,
            route,
            plugins,
            target,
            plan: RefCell::new(None),
            methods,
            addresses,
            vars,
        })
    }

    /// Routes of one path are tried in this order.
    pub(super) fn rank(&self) -> (Reverse<i64>, u64) {
        (Reverse(self.route.priority), self.created)
    }

    /// Whether the request is one of this route's, host and path being right.
    pub(in super::super) fn fits(&self, req: &mut Request) -> bool {
        if self.methods != 0 {
            let bit = match req.method {
                Method::Other if req.method_name() == b"PURGE" => PURGE,
                Method::Other => 0,
                known => 1 << known as u32,
            };
            if self.methods & bit == 0 {
                return false;
            }
        }
        if !self.addresses.is_empty()
            && !req.client.addr.ip().is_some_and(|address| self.addresses.contains(address))
        {
            return false;
        }
        match &self.vars {
            Some(vars) => vars.eval(&mut RequestVars(req)),
            None => true,
        }
    }
}
