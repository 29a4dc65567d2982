//! `basic-auth`: consumers log in with name and password.

use base64::Engine as _;
use http1::Known;
use schemas::PluginSpec;
use serde::Deserialize;
use serde_json::Value;
use subtle::ConstantTimeEq as _;
use worker::gateway::{Binding, attach_consumer, find_consumer};
use worker::phase::Step;
use worker::plugin::{Phases, Plugin, Prepare, Verdict};
use worker::request::Request;

use crate::auth;

/// See the module's documentation.
pub(crate) struct BasicAuth(Conf);

#[derive(Deserialize)]
pub(crate) struct Conf {
    hide_credentials: bool,
    realm: String,
    anonymous_consumer: Option<String>,
}

impl Plugin for BasicAuth {
    const SPEC: &'static PluginSpec = &PluginSpec {
        auth: true,
        identity: "username",
        consumer_schema: include_str!("../../schemas/plugins/basic-auth.consumer.json"),
        ..PluginSpec::new("basic-auth", 2520, 0.1, include_str!("../../schemas/plugins/basic-auth.json"))
    };
    const PHASES: Phases = Phases::REWRITE;
    type Conf = Conf;

    fn prepare(conf: Conf, _: &Prepare<'_>) -> Result<Self, String> {
        Ok(Self(conf))
    }

    fn rewrite<'r>(&'r self, req: &'r mut Request) -> Step<'r, Verdict> {
        let found = identify(req);
        if self.0.hide_credentials {
            req.headers.remove_known(Known::Authorization);
        }
        Step::Ready(match found {
            Ok(binding) => {
                attach_consumer(req, &binding);
                Verdict::Next
            }
            Err(message) => {
                let challenge = format!("Basic realm=\"{}\"", self.0.realm);
                auth::refuse(req, self.0.anonymous_consumer.as_deref(), &challenge, message)
            }
        })
    }
}

fn identify(req: &Request) -> Result<std::rc::Rc<Binding>, &'static str> {
    const INVALID: &str = "Invalid authorization in request";
    const WRONG: &str = "Invalid user authorization";
    let field = req.headers.known(Known::Authorization).ok_or("Missing authorization in request")?;
    let (scheme, rest) = field.split_at_checked(5).ok_or(INVALID)?;
    if !scheme.eq_ignore_ascii_case(b"basic") || rest.first() != Some(&b' ') {
        return Err(INVALID);
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(rest.trim_ascii()).map_err(|_| INVALID)?;
    let text = String::from_utf8(decoded).map_err(|_| INVALID)?;
    let (name, password) = text.split_once(':').ok_or(INVALID)?;
    let binding = find_consumer(req, "basic-auth", name).ok_or(WRONG)?;
    let wanted = binding.conf.get("password").and_then(Value::as_str).ok_or(WRONG)?;
    if !bool::from(wanted.as_bytes().ct_eq(password.as_bytes())) {
        return Err(WRONG);
    }
    Ok(binding)
}
