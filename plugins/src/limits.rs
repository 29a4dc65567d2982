//! `limit-req` and `limit-conn`: how fast, and how many at once, counted by all workers together.

use std::time::Duration;

use schemas::PluginSpec;
use serde::Deserialize;
use serde_json::json;
use worker::gateway::Limits;
use worker::phase::Step;
use worker::plugin::{Answer, Phases, Plugin, Prepare, Verdict};
use worker::request::Request;

use crate::limit_key::LimitKey;

/// `limit-req`: a leaky bucket per key. A request above the rate waits until it would have leaked down, or is refused.
pub(crate) struct LimitReq {
    conf: ReqConf,
    key: LimitKey,
}

#[derive(Deserialize)]
pub(crate) struct ReqConf {
    rate: f64,
    burst: f64,
    key: String,
    key_type: String,
    policy: String,
    rejected_code: u16,
    rejected_msg: Option<String>,
    nodelay: bool,
    allow_degradation: bool,
}

impl Plugin for LimitReq {
    const SPEC: &'static PluginSpec = &PluginSpec {
        check: crate::check::<Self>,
        ..PluginSpec::new("limit-req", 1001, 0.1, include_str!("../../schemas/plugins/limit-req.json"))
    };
    const PHASES: Phases = Phases::ACCESS;
    type Conf = ReqConf;

    fn prepare(conf: ReqConf, cx: &Prepare<'_>) -> Result<Self, String> {
        only_local(&conf.policy)?;
        let key = LimitKey::new(cx, &conf.key_type, &conf.key, None);
        Ok(Self { conf, key })
    }

    fn access<'r>(&'r self, req: &'r mut Request) -> Step<'r, Verdict> {
        let key = self.key.of(req);
        let (rate, burst) = ((self.conf.rate * 1000.0) as u64, (self.conf.burst * 1000.0) as u64);
        match Limits::of(req).and_then(|limits| limits.leak(&key, rate, burst)) {
            Ok(Some(wait)) if wait > 0 && !self.conf.nodelay => Step::wait(pause(req, wait)),
            Ok(Some(_)) => Step::Ready(Verdict::Next),
            Ok(None) => Step::Ready(refuse(self.conf.rejected_code, self.conf.rejected_msg.as_deref())),
            Err(error) => Step::Ready(failed(req, &error, self.conf.allow_degradation)),
        }
    }
}

/// `limit-conn`: so many requests at once. A request above `conn` and within `burst` waits.
pub(crate) struct LimitConn {
    conf: ConnConf,
    key: LimitKey,
    conn: u32,
    burst: u32,
}

#[derive(Deserialize)]
pub(crate) struct ConnConf {
    conn: Option<serde_json::Value>,
    burst: Option<serde_json::Value>,
    default_conn_delay: f64,
    key: Option<String>,
    key_type: String,
    policy: String,
    rejected_code: u16,
    rejected_msg: Option<String>,
    allow_degradation: bool,
    rules: Option<serde_json::Value>,
}

impl Plugin for LimitConn {
    const SPEC: &'static PluginSpec = &PluginSpec {
        check: crate::check::<Self>,
        ..PluginSpec::new("limit-conn", 1003, 0.1, include_str!("../../schemas/plugins/limit-conn.json"))
    };
    const PHASES: Phases = Phases::ACCESS;
    type Conf = ConnConf;

    fn prepare(conf: ConnConf, cx: &Prepare<'_>) -> Result<Self, String> {
        only_local(&conf.policy)?;
        if conf.rules.is_some() {
            return Err("\"rules\" is not supported yet".into());
        }
        let number = |value: &Option<serde_json::Value>, name: &str| {
            let number =
                value.as_ref().and_then(serde_json::Value::as_u64).and_then(|n| u32::try_from(n).ok());
            number.ok_or_else(|| format!("\"{name}\" with variables is not supported yet"))
        };
        let (conn, burst) = (number(&conf.conn, "conn")?, number(&conf.burst, "burst")?);
        let key = LimitKey::new(cx, &conf.key_type, conf.key.as_deref().unwrap_or("remote_addr"), None);
        Ok(Self { conf, key, conn, burst })
    }

    fn access<'r>(&'r self, req: &'r mut Request) -> Step<'r, Verdict> {
        let key = self.key.of(req);
        let max = self.conn.saturating_add(self.burst);
        match Limits::of(req).and_then(|limits| limits.hold(&key, max)) {
            Ok(Some((held, running))) => {
                // counted off when the request has ended
                req.context.keep_until_end(Box::new(held));
                let over = running.saturating_sub(1) / u64::from(self.conn.max(1));
                let wait = (over as f64 * self.conf.default_conn_delay * 1000.0) as u64;
                if wait > 0 { Step::wait(pause(req, wait)) } else { Step::Ready(Verdict::Next) }
            }
            Ok(None) => Step::Ready(refuse(self.conf.rejected_code, self.conf.rejected_msg.as_deref())),
            Err(error) => Step::Ready(failed(req, &error, self.conf.allow_degradation)),
        }
    }
}

fn only_local(policy: &str) -> Result<(), String> {
    if policy == "local" { Ok(()) } else { Err(format!("policy \"{policy}\" is not supported yet")) }
}

async fn pause(req: &mut Request, ms: u64) -> Verdict {
    match req.pause(Duration::from_millis(ms)).await {
        Ok(()) => Verdict::Next,
        Err(fault) => Verdict::Flow(req.fail(&fault)),
    }
}

fn refuse(code: u16, message: Option<&str>) -> Verdict {
    match message {
        Some(text) => Answer::json(code, &json!({ "error_msg": text })).into(),
        None => Answer::status(code).into(),
    }
}

fn failed(req: &Request, error: &str, go_on: bool) -> Verdict {
    req.log_error(format_args!("failed to limit: {error}"));
    if go_on { Verdict::Next } else { Answer::status(500).into() }
}
