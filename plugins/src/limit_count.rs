//! `limit-count`: so many requests in a window of time, counted by all workers together.
//!
//! A fixed window begins with its first request. A sliding one counts what the window before had left, by the share of it
//! that still lies within.

use schemas::PluginSpec;
use serde::Deserialize;
use serde_json::Value;
use worker::gateway::Limits;
use worker::phase::Step;
use worker::plugin::{Answer, Phases, Plugin, Prepare, Verdict};
use worker::request::Request;

use crate::headers;
use crate::limit_key::LimitKey;
use crate::template::Template;

/// See the module's documentation.
pub(crate) struct LimitCount {
    conf: Conf,
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
pub(crate) struct Conf {
    count: Option<Value>,
    time_window: Option<Value>,
    window_type: String,
    #[serde(default)]
    rules: Vec<RuleConf>,
    group: Option<String>,
    key: String,
    key_type: String,
    rejected_code: u16,
    rejected_msg: Option<String>,
    policy: String,
    allow_degradation: bool,
    show_limit_quota_header: bool,
}

#[derive(Deserialize)]
struct RuleConf {
    count: Value,
    time_window: Value,
    key: String,
    header_prefix: Option<String>,
}

struct Rule {
    count: Number,
    window: Number,
    key: LimitKey,
    /// `rules[].key` must have a value for the rule to apply.
    only_if: Option<Template>,
    prefix: Option<String>,
}

/// A number, or a text with variables that becomes one.
enum Number {
    Fixed(f64),
    Text(Template),
}

impl Number {
    fn new(value: &Value) -> Self {
        match value {
            Value::Number(number) => Number::Fixed(number.as_f64().unwrap_or_default()),
            Value::String(text) => Number::Text(Template::new(text)),
            _ => Number::Fixed(0.0),
        }
    }

    fn of(&self, req: &mut Request) -> Result<f64, String> {
        let number = match self {
            Number::Fixed(number) => *number,
            Number::Text(template) => {
                let (text, _) = template.eval(req, &[]);
                let text = String::from_utf8_lossy(&text).into_owned();
                text.parse().map_err(|_| "resolved value is not a number".to_owned())?
            }
        };
        let fine = number > 0.0 && number.fract() == 0.0 && number < 9_007_199_254_740_992.0;
        if fine {
            Ok(number)
        } else {
            Err(format!("resolved value must be a positive integer, got: {number}"))
        }
    }
}

impl Plugin for LimitCount {
    const SPEC: &'static PluginSpec = &PluginSpec {
        metadata_schema: include_str!("../../schemas/plugins/limit-count.metadata.json"),
        check: crate::check::<Self>,
        ..PluginSpec::new("limit-count", 1002, 0.5, include_str!("../../schemas/plugins/limit-count.json"))
    };
    const PHASES: Phases = Phases::ACCESS;
    type Conf = Conf;

    fn prepare(conf: Conf, cx: &Prepare<'_>) -> Result<Self, String> {
        if conf.policy != "local" {
            return Err(format!("policy \"{}\" is not supported yet", conf.policy));
        }
        if !conf.rules.is_empty() && (conf.count.is_some() || conf.time_window.is_some()) {
            return Err("count/time_window and rules cannot be specified at the same time".into());
        }
        if conf.group.is_some() && !conf.rules.is_empty() {
            return Err("group and rules cannot be specified at the same time".into());
        }
        let mut rules = Vec::new();
        if let (Some(count), Some(window)) = (&conf.count, &conf.time_window) {
            rules.push(Rule {
                count: Number::new(count),
                window: Number::new(window),
                key: LimitKey::new(cx, &conf.key_type, &conf.key, conf.group.as_deref()),
                only_if: None,
                prefix: None,
            });
        }
        for (at, rule) in conf.rules.iter().enumerate() {
            if conf.rules[..at].iter().any(|other| other.key == rule.key) {
                return Err(format!("duplicate key '{}' in rules", rule.key));
            }
            rules.push(Rule {
                count: Number::new(&rule.count),
                window: Number::new(&rule.time_window),
                key: LimitKey::new(cx, "var_combination", &rule.key, None),
                only_if: Some(Template::new(&rule.key)),
                prefix: Some(rule.header_prefix.clone().unwrap_or_else(|| (at + 1).to_string())),
            });
        }
        Ok(Self { conf, rules })
    }

    fn access<'r>(&'r self, req: &'r mut Request) -> Step<'r, Verdict> {
        for rule in &self.rules {
            if rule.only_if.as_ref().is_some_and(|key| key.eval(req, &[]).1 == 0) {
                continue;
            }
            match self.limit(req, rule) {
                Ok(None) => {}
                Ok(Some(verdict)) => return Step::Ready(verdict),
                Err(error) => {
                    req.log_error(format_args!("failed to limit count: {error}"));
                    if !self.conf.allow_degradation {
                        let body = serde_json::json!({ "error_msg": "failed to limit count" });
                        return Step::Ready(Answer::json(500, &body).into());
                    }
                }
            }
        }
        Step::Ready(Verdict::Next)
    }
}

impl LimitCount {
    /// Counts one request by `rule`; `Some`: it is refused.
    fn limit(&self, req: &mut Request, rule: &Rule) -> Result<Option<Verdict>, String> {
        let (limit, window) = (rule.count.of(req)?, rule.window.of(req)?);
        let limits = Limits::of(req)?;
        let key = rule.key.of(req);
        let window_ms = (window * 1000.0) as u64;
        let (remaining, reset_ms) = match self.conf.window_type.as_str() {
            "sliding" => sliding(&limits, &key, limit, window_ms)?,
            _ => {
                let counted = limits.count(&key, limit, window_ms, 1.0)?;
                (counted.remaining, counted.reset_ms)
            }
        };
        if self.conf.show_limit_quota_header {
            let reset = (reset_ms as f64 / 10.0).floor() / 100.0;
            let metadata = req.worker.gateway.metadata("limit-count");
            for (field, name, value) in [
                ("limit_header", "X-RateLimit-Limit", limit),
                ("remaining_header", "X-RateLimit-Remaining", remaining.max(0.0)),
                ("reset_header", "X-RateLimit-Reset", reset),
            ] {
                let own = metadata.as_ref().and_then(|metadata| metadata.get(field)?.as_str());
                let mut name = own.unwrap_or(name).to_owned();
                if let Some(prefix) = &rule.prefix {
                    name = name.replacen("RateLimit-", &format!("{prefix}-RateLimit-"), 1);
                }
                headers::set_response(req, name.as_bytes(), schemas::lua_number(value).as_bytes());
            }
        }
        if remaining >= 0.0 {
            return Ok(None);
        }
        let code = self.conf.rejected_code;
        Ok(Some(match &self.conf.rejected_msg {
            Some(text) => Answer::json(code, &serde_json::json!({ "error_msg": text })).into(),
            None => Answer::status(code).into(),
        }))
    }
}

/// Counts in a window that slides; what remains, and until when.
fn sliding(limits: &Limits, key: &[u8], limit: f64, window_ms: u64) -> Result<(f64, u64), String> {
    let now = worker::gateway::now_ms();
    let number = now / window_ms.max(1);
    let name = |number: u64| [key, format!(":{number}").as_bytes()].concat();
    let before =
        limits.peek(&name(number.wrapping_sub(1)))?.map_or(0.0, |left| (limit - left).clamp(0.0, limit));
    let into = (now % window_ms.max(1)) as f64 / window_ms as f64;
    let weighted = before * (1.0 - into);
    let current = limits.peek(&name(number))?.map_or(0.0, |left| limit - left);
    let reset = window_ms - now % window_ms.max(1);
    if weighted + current + 1.0 > limit {
        return Ok((-1.0, reset));
    }
    let counted = limits.count(&name(number), limit, 2 * window_ms, 1.0)?;
    Ok(((counted.remaining - weighted).floor(), reset))
}
