//! `ip-restriction`: clients by address.

use schemas::{Networks, PluginSpec};
use serde::Deserialize;
use worker::phase::Step;
use worker::plugin::{Answer, Phases, Plugin, Prepare, Verdict};
use worker::request::Request;

/// See the module's documentation.
pub(crate) struct IpRestriction {
    conf: Conf,
    allowed: Option<Networks>,
    denied: Option<Networks>,
}

#[derive(Deserialize)]
pub(crate) struct Conf {
    message: String,
    response_code: u16,
    whitelist: Option<Vec<String>>,
    blacklist: Option<Vec<String>>,
}

impl Plugin for IpRestriction {
    const SPEC: &'static PluginSpec = &PluginSpec {
        check: crate::check::<Self>,
        ..PluginSpec::new(
            "ip-restriction",
            3000,
            0.1,
            include_str!("../../schemas/plugins/ip-restriction.json"),
        )
    };
    const PHASES: Phases = Phases::ACCESS;
    type Conf = Conf;

    fn prepare(conf: Conf, _: &Prepare<'_>) -> Result<Self, String> {
        let read = |list: &Option<Vec<String>>| {
            let networks = list.as_ref().map(|list| Networks::parse(list.iter().map(String::as_str)));
            networks.transpose().map_err(|bad| format!("invalid ip address: {bad}"))
        };
        let (allowed, denied) = (read(&conf.whitelist)?, read(&conf.blacklist)?);
        Ok(Self { conf, allowed, denied })
    }

    fn access<'r>(&'r self, req: &'r mut Request) -> Step<'r, Verdict> {
        // a client without an address is on no list
        let within = |networks: &Networks| req.client.addr.ip().is_some_and(|ip| networks.contains(ip));
        let refused = self.denied.as_ref().is_some_and(within)
            || self.allowed.as_ref().is_some_and(|list| !within(list));
        Step::Ready(match refused {
            true => Answer::message(self.conf.response_code, &self.conf.message).into(),
            false => Verdict::Next,
        })
    }
}
