//! `ua-restriction`, `referer-restriction`, `uri-blocker`: requests by what they say of themselves.

use http1::Known;
use pcre2::bytes::Regex;
use schemas::PluginSpec;
use serde::Deserialize;
use worker::phase::Step;
use worker::plugin::{Answer, Phases, Plugin, Prepare, Verdict};
use worker::request::Request;

use crate::pattern;

/// `ua-restriction`.
pub(crate) struct UaRestriction {
    bypass_missing: bool,
    message: String,
    allow: Option<Vec<Regex>>,
    deny: Vec<Regex>,
}

#[derive(Deserialize)]
pub(crate) struct UaConf {
    bypass_missing: bool,
    allowlist: Option<Vec<String>>,
    denylist: Option<Vec<String>>,
    message: String,
}

impl Plugin for UaRestriction {
    const SPEC: &'static PluginSpec = &PluginSpec {
        check: crate::check::<Self>,
        ..PluginSpec::new(
            "ua-restriction",
            2999,
            0.1,
            include_str!("../../schemas/plugins/ua-restriction.json"),
        )
    };
    const PHASES: Phases = Phases::ACCESS;
    type Conf = UaConf;

    fn prepare(conf: UaConf, _: &Prepare<'_>) -> Result<Self, String> {
        let allow = conf.allowlist.as_deref().map(pattern::compile_all).transpose()?;
        let deny = pattern::compile_all(conf.denylist.as_deref().unwrap_or_default())?;
        Ok(Self { bypass_missing: conf.bypass_missing, message: conf.message, allow, deny })
    }

    fn access<'r>(&'r self, req: &'r mut Request) -> Step<'r, Verdict> {
        let mut agents = req.headers.known_all(Known::UserAgent).map(<[u8]>::trim_ascii).peekable();
        let passes = if agents.peek().is_none() {
            self.bypass_missing
        } else {
            match &self.allow {
                Some(allow) => agents.any(|agent| pattern::any(allow, agent)),
                None => !agents.any(|agent| pattern::any(&self.deny, agent)),
            }
        };
        Step::Ready(if passes { Verdict::Next } else { Answer::message(403, &self.message).into() })
    }
}

/// `referer-restriction`.
pub(crate) struct RefererRestriction(RefererConf);

#[derive(Deserialize)]
pub(crate) struct RefererConf {
    bypass_missing: bool,
    whitelist: Option<Vec<String>>,
    blacklist: Option<Vec<String>>,
    message: String,
}

impl Plugin for RefererRestriction {
    const SPEC: &'static PluginSpec = &PluginSpec::new(
        "referer-restriction",
        2990,
        0.1,
        include_str!("../../schemas/plugins/referer-restriction.json"),
    );
    const PHASES: Phases = Phases::ACCESS;
    type Conf = RefererConf;

    fn prepare(conf: RefererConf, _: &Prepare<'_>) -> Result<Self, String> {
        Ok(Self(conf))
    }

    fn access<'r>(&'r self, req: &'r mut Request) -> Step<'r, Verdict> {
        let conf = &self.0;
        let refused = match req.headers.known(Known::Referer).and_then(host_of) {
            None => !conf.bypass_missing,
            Some(host) => match (&conf.whitelist, &conf.blacklist) {
                (Some(allowed), _) => !is_listed(allowed, &host),
                (None, Some(denied)) => is_listed(denied, &host),
                (None, None) => false,
            },
        };
        Step::Ready(if refused { Answer::message(403, &conf.message).into() } else { Verdict::Next })
    }
}

/// The host of `http://host:port/…`.
fn host_of(url: &[u8]) -> Option<String> {
    let url = std::str::from_utf8(url).ok()?;
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"))?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?.split(':').next()?;
    (!host.is_empty()).then(|| host.to_ascii_lowercase())
}

fn is_listed(list: &[String], host: &str) -> bool {
    list.iter().any(|entry| match entry.strip_prefix('*') {
        Some(suffix) => host.ends_with(suffix),
        None => entry == host,
    })
}

/// `uri-blocker`.
pub(crate) struct UriBlocker {
    rules: Vec<Regex>,
    code: u16,
    message: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct BlockerConf {
    block_rules: Vec<String>,
    rejected_code: u16,
    rejected_msg: Option<String>,
    case_insensitive: bool,
}

impl Plugin for UriBlocker {
    const SPEC: &'static PluginSpec = &PluginSpec {
        check: crate::check::<Self>,
        ..PluginSpec::new("uri-blocker", 2900, 0.1, include_str!("../../schemas/plugins/uri-blocker.json"))
    };
    const PHASES: Phases = Phases::REWRITE;
    type Conf = BlockerConf;

    fn prepare(conf: BlockerConf, _: &Prepare<'_>) -> Result<Self, String> {
        let rules = conf.block_rules.iter().map(|rule| pattern::compile(rule, conf.case_insensitive));
        let rules = rules.collect::<Result<_, _>>()?;
        Ok(Self { rules, code: conf.rejected_code, message: conf.rejected_msg })
    }

    fn rewrite<'r>(&'r self, req: &'r mut Request) -> Step<'r, Verdict> {
        // the path as it is judged everywhere else: decoded, without dot segments
        let mut target = req.uri.clone();
        if !req.args.is_empty() {
            target.push(b'?');
            target.extend_from_slice(&req.args);
        }
        if !pattern::any(&self.rules, &target) {
            return Step::Ready(Verdict::Next);
        }
        Step::Ready(match &self.message {
            Some(text) => Answer::json(self.code, &serde_json::json!({ "error_msg": text })).into(),
            None => Answer::status(self.code).into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_referers() {
        for (url, host) in [
            ("http://a.com/x", Some("a.com")),
            ("https://A.com:80", Some("a.com")),
            ("https://good.com@evil.com/", Some("evil.com")),
            ("a.com", None),
            ("http://", None),
        ] {
            assert_eq!(host_of(url.as_bytes()).as_deref(), host, "{url}");
        }
        assert!(is_listed(&["*.a.com".into()], "x.a.com") && !is_listed(&["*.a.com".into()], "a.com"));
    }
}
