//! `consumer-restriction`: who may, once it is known who it is.

use schemas::PluginSpec;
use serde::Deserialize;
use worker::gateway::GatewayContext;
use worker::phase::Step;
use worker::plugin::{Answer, Phases, Plugin, Prepare, Verdict};
use worker::request::Request;

/// See the module's documentation.
pub(crate) struct ConsumerRestriction(Conf);

#[derive(Deserialize)]
pub(crate) struct Conf {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    blacklist: Vec<String>,
    #[serde(default)]
    whitelist: Vec<String>,
    #[serde(default)]
    allowed_by_methods: Vec<ByMethod>,
    rejected_code: u16,
    rejected_msg: Option<String>,
}

#[derive(Deserialize)]
struct ByMethod {
    user: Option<String>,
    #[serde(default)]
    methods: Vec<String>,
}

impl Plugin for ConsumerRestriction {
    const SPEC: &'static PluginSpec = &PluginSpec::new(
        "consumer-restriction",
        2400,
        0.1,
        include_str!("../../schemas/plugins/consumer-restriction.json"),
    );
    const PHASES: Phases = Phases::ACCESS;
    type Conf = Conf;

    fn prepare(conf: Conf, _: &Prepare<'_>) -> Result<Self, String> {
        Ok(Self(conf))
    }

    fn access<'r>(&'r self, req: &'r mut Request) -> Step<'r, Verdict> {
        Step::Ready(self.judge(req))
    }
}

impl ConsumerRestriction {
    fn judge(&self, req: &Request) -> Verdict {
        let conf = &self.0;
        let value = req.context.get::<GatewayContext>().and_then(|context| match conf.kind.as_str() {
            "route_id" => context.route_id(),
            "service_id" => context.service_id(),
            "consumer_group_id" => context.consumer()?.group_id(),
            _ => Some(context.consumer()?.name()),
        });
        let Some(value) = value else {
            let text = format!("The request is rejected, please check the {} for this request", conf.kind);
            return Answer::message(401, &text).into();
        };
        let listed = |list: &[String]| list.iter().any(|entry| entry == value);
        let allowed = listed(&conf.whitelist);
        let by_method = || {
            let rule = conf.allowed_by_methods.iter().find(|rule| rule.user.as_deref() == Some(value));
            rule.is_none_or(|rule| rule.methods.iter().any(|method| method.as_bytes() == req.method_name()))
        };
        let refused =
            listed(&conf.blacklist) || (!conf.whitelist.is_empty() && !allowed) || (!allowed && !by_method());
        if !refused {
            return Verdict::Next;
        }
        let text = match &conf.rejected_msg {
            Some(text) => text.clone(),
            None => format!("The {} is forbidden.", conf.kind),
        };
        Answer::message(conf.rejected_code, &text).into()
    }
}
