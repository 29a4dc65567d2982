//! `key-auth`: consumers show an API key in a header field or an argument.

use schemas::PluginSpec;
use serde::Deserialize;
use worker::gateway::{attach_consumer, find_consumer};
use worker::phase::Step;
use worker::plugin::{Phases, Plugin, Prepare, Verdict};
use worker::request::Request;

use crate::{args, auth};

/// See the module's documentation.
pub(crate) struct KeyAuth(Conf);

#[derive(Deserialize)]
pub(crate) struct Conf {
    header: String,
    query: String,
    realm: String,
    hide_credentials: bool,
    anonymous_consumer: Option<String>,
}

impl Plugin for KeyAuth {
    const SPEC: &'static PluginSpec = &PluginSpec {
        auth: true,
        identity: "key",
        consumer_schema: include_str!("../../schemas/plugins/key-auth.consumer.json"),
        ..PluginSpec::new("key-auth", 2500, 0.1, include_str!("../../schemas/plugins/key-auth.json"))
    };
    const PHASES: Phases = Phases::REWRITE;
    type Conf = Conf;

    fn prepare(conf: Conf, _: &Prepare<'_>) -> Result<Self, String> {
        Ok(Self(conf))
    }

    fn rewrite<'r>(&'r self, req: &'r mut Request) -> Step<'r, Verdict> {
        Step::Ready(self.identify(req))
    }
}

impl KeyAuth {
    fn identify(&self, req: &mut Request) -> Verdict {
        let conf = &self.0;
        let of_header = req.headers.get(conf.header.as_bytes()).map(<[u8]>::to_vec);
        let key = of_header.or_else(|| args::get(&req.args, &conf.query));
        let known =
            key.as_ref().and_then(|key| find_consumer(req, "key-auth", std::str::from_utf8(key).ok()?));
        if conf.hide_credentials {
            // also those that are wrong: nobody behind us needs them
            req.headers.remove(conf.header.as_bytes());
            if args::get(&req.args, &conf.query).is_some() {
                req.args = args::without(&req.args, &conf.query);
                req.unparsed_valid = false;
            }
        }
        match known {
            Some(binding) => {
                attach_consumer(req, &binding);
                Verdict::Next
            }
            None => {
                let challenge = format!("apikey realm=\"{}\"", conf.realm);
                let message =
                    if key.is_some() { "Invalid API key in request" } else { "Missing API key in request" };
                auth::refuse(req, conf.anonymous_consumer.as_deref(), &challenge, message)
            }
        }
    }
}
