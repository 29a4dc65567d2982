//! `traffic-split`: part of the requests to other upstreams, by conditions and weights.

use std::cell::RefCell;

use schemas::PluginSpec;
use schemas::expr::Expr;
use serde::Deserialize;
use serde_json::Value;
use worker::gateway::{OwnUpstream, RequestVars, choose_upstream};
use worker::phase::Step;
use worker::plugin::{Answer, Phases, Plugin, Prepare, Verdict};
use worker::request::Request;

/// See the module's documentation.
pub(crate) struct TrafficSplit(Vec<Rule>);

struct Rule {
    /// Any of them; none: always.
    matches: Option<Vec<Expr>>,
    choices: Vec<(Choice, i64)>,
    /// Smooth weighted turns: the current weights.
    turns: RefCell<Vec<i64>>,
}

enum Choice {
    ById(String),
    Own(OwnUpstream),
    /// The route's own.
    Route,
}

#[derive(Deserialize)]
pub(crate) struct Conf {
    #[serde(default)]
    rules: Vec<RuleConf>,
}

#[derive(Deserialize)]
struct RuleConf {
    #[serde(rename = "match")]
    matches: Option<Vec<MatchConf>>,
    #[serde(default)]
    weighted_upstreams: Vec<Weighted>,
}

#[derive(Deserialize)]
struct MatchConf {
    #[serde(default)]
    vars: Value,
}

#[derive(Deserialize)]
struct Weighted {
    upstream_id: Option<Value>,
    upstream: Option<Value>,
    weight: i64,
}

impl Plugin for TrafficSplit {
    const SPEC: &'static PluginSpec = &PluginSpec {
        check: crate::check::<Self>,
        ..PluginSpec::new("traffic-split", 966, 0.1, include_str!("../../schemas/plugins/traffic-split.json"))
    };
    const PHASES: Phases = Phases::ACCESS;
    type Conf = Conf;

    fn prepare(conf: Conf, cx: &Prepare<'_>) -> Result<Self, String> {
        conf.rules.iter().map(|rule| Rule::new(rule, cx)).collect::<Result<_, _>>().map(Self)
    }

    fn access<'r>(&'r self, req: &'r mut Request) -> Step<'r, Verdict> {
        let Some(rule) = self.0.iter().find(|rule| rule.applies(req)) else {
            return Step::Ready(Verdict::Next);
        };
        match rule.next() {
            None | Some(Choice::Route) => {}
            Some(Choice::Own(upstream)) => upstream.choose(req),
            Some(Choice::ById(id)) => {
                if !choose_upstream(req, id) {
                    let text = format!("failed to fetch upstream info by upstream id: {id}");
                    return Step::Ready(Answer::text(500, text).into());
                }
            }
        }
        Step::Ready(Verdict::Next)
    }
}

impl Rule {
    fn new(conf: &RuleConf, cx: &Prepare<'_>) -> Result<Self, String> {
        let matches = match &conf.matches {
            None => None,
            Some(list) => {
                let wrong = |error| format!("failed to validate the 'vars' expression: {error}");
                let parse = |one: &MatchConf| match &one.vars {
                    Value::Null => Err(wrong("missing argument rule".to_owned())),
                    vars => Expr::parse(vars).map_err(wrong),
                };
                Some(list.iter().map(parse).collect::<Result<Vec<_>, _>>()?)
            }
        };
        let choice = |one: &Weighted| {
            let choice = match (&one.upstream_id, &one.upstream) {
                (Some(Value::String(id)), _) => Choice::ById(id.clone()),
                (Some(id), _) => Choice::ById(id.to_string()),
                (None, Some(upstream)) => Choice::Own(OwnUpstream::new(cx.parent, upstream)?),
                (None, None) => Choice::Route,
            };
            Ok((choice, one.weight))
        };
        let choices = conf.weighted_upstreams.iter().map(choice).collect::<Result<Vec<_>, String>>()?;
        Ok(Self { matches, turns: RefCell::new(vec![0; choices.len()]), choices })
    }

    fn applies(&self, req: &mut Request) -> bool {
        match &self.matches {
            None => true,
            Some(list) => list.iter().any(|expr| expr.eval(&mut RequestVars(req))),
        }
    }

    /// The next in turn.
    fn next(&self) -> Option<&Choice> {
        let mut turns = self.turns.borrow_mut();
        let total: i64 = self.choices.iter().map(|(_, weight)| weight).sum();
        for (turn, (_, weight)) in turns.iter_mut().zip(&self.choices) {
            *turn += weight;
        }
        let usable = (0..self.choices.len()).filter(|at| self.choices[*at].1 > 0);
        let at = usable.max_by_key(|at| (turns[*at], std::cmp::Reverse(*at)))?;
        turns[at] -= total;
        Some(&self.choices[at].0)
    }
}
