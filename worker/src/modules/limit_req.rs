//! `ngx_http_limit_req_module`: a leaky bucket per key, in memory shared by all workers.
//!
//! A request passes all buckets of its location or none. One that finds a bucket above its `delay` waits until it would have
//! leaked down; one that would lift it above its `burst` is refused. Each request is limited once, by the first location
//! that has limits.

use std::rc::Rc;
use std::time::Duration;

use ::conf::value::number;
use ::conf::{Arity, Contexts, Directive, Node, Result, Shape};
use shm::LimitReq;
use shm::limit::req::{Limit as ZoneLimit, Outcome, limit_all};

use crate::build::{Builder, Conf, MergeCx, Slot};
use crate::log::{Level, Text};
use crate::module::{Attach, Module};
use crate::modules::limit_zone::{self, LimitZone};
use crate::phase::{Flow, Handler, Phase, Step, order};
use crate::request::Request;
use crate::settings;
use crate::variables::Variable;
use crate::zone::{ZoneKind, ZoneRef};

/// The module.
pub const MODULE: LimitRequests = LimitRequests;

static CONF: Slot<LimitReqConf> = Slot::new();
static ZONES: Slot<limit_zone::Zones<LimitReq, Rate>> = Slot::new();

/// See the module's documentation.
pub struct LimitRequests;

static DIRECTIVES: &[Directive<Builder>] = &[
    Directive {
        name: "limit_req_zone",
        contexts: Contexts::HTTP,
        arity: Arity::Exactly(3),
        shape: Shape::Simple,
        default: "",
        doc: "Shared memory for buckets: what they are kept for, name and size, and how fast they leak.",
        apply: zone,
    },
    Directive {
        name: "limit_req",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Range(1, 3),
        shape: Shape::Simple,
        default: "",
        doc: "Limits the rate of requests by a zone; requests above the rate wait, and beyond `burst` are refused.",
        apply: limit,
    },
    Directive {
        name: "limit_req_log_level",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "error",
        doc: "Level at which refusals are logged; delays are logged one level below.",
        apply: |cx, node| cx.conf(&CONF).set.level.set(node.choice(&limit_zone::LEVELS)?),
    },
    Directive {
        name: "limit_req_status",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "503",
        doc: "Status of refused requests.",
        apply: |cx, node| {
            cx.conf(&CONF).set.status.check_unset()?;
            let status = limit_zone::status(node)?;
            cx.conf(&CONF).set.status.set(status)
        },
    },
    Directive {
        name: "limit_req_dry_run",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "off",
        doc: "Counts and logs, but neither delays nor refuses.",
        apply: |cx, node| cx.conf(&CONF).set.dry_run.set(node.flag()?),
    },
];

static VARIABLES: &[Variable] =
    &[Variable::new("limit_req_status", "What `limit_req` did with the request.", |req, _, out| {
        let Some(status) = req.context.lasting::<Status>() else { return false };
        out.extend_from_slice(status.name().as_bytes());
        true
    })];

/// How fast the buckets of a zone leak, in thousandths of a request per second.
#[derive(Debug, Clone, Copy)]
pub struct Rate(u64);

/// One `limit_req`.
#[derive(Clone)]
pub struct Limit {
    zone: ZoneRef,
    burst: u64,
    delay: u64,
}

settings! {
    /// The limits of one level; a level with limits of its own inherits none.
    pub struct LimitReqConf, LimitReqSettings {
        /// `limit_req`.
        limits: Rc<[Limit]> = Rc::from([]),
        /// `limit_req_log_level`.
        level: Level = Level::Error,
        /// `limit_req_status`.
        status: u16 = 503,
        /// `limit_req_dry_run`.
        dry_run: bool = false,
    }
}

impl Conf for LimitReqConf {
    fn merge(&mut self, outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        self.merge_settings(outer);
        Ok(())
    }
}

/// `limit_req_zone key zone=name:size rate=rate`.
fn zone(cx: &mut Builder, node: &Node) -> Result<()> {
    let mut rate = 1000;
    let zone = limit_zone::declare(cx, node, ZoneKind::LimitReq, |option| {
        let parsed = option.strip_prefix("rate=").map(parse_rate)?;
        Some(match parsed {
            Some(parsed) => {
                rate = parsed;
                Ok(())
            }
            None => Err(node.error(format!("invalid rate \"{option}\""))),
        })
    })?;
    limit_zone::bind(cx, node, &ZONES, zone, Rate(rate))
}

/// `10r/s` or `30r/m`, in thousandths per second.
fn parse_rate(text: &str) -> Option<u64> {
    let (count, scale) = match (text.strip_suffix("r/s"), text.strip_suffix("r/m")) {
        (Some(count), _) => (count, 1),
        (_, Some(count)) => (count, 60),
        _ => (text, 1),
    };
    let count = number::parse(count).filter(|count| *count > 0)?;
    Some(count.checked_mul(1000)? / scale)
}

/// `limit_req zone=name [burst=n] [nodelay | delay=n]`.
fn limit(cx: &mut Builder, node: &Node) -> Result<()> {
    let (mut name, mut burst, mut delay) = (None, 0, 0);
    for (i, text) in node.str_args().enumerate() {
        let count = |value: &str| number::parse(value).filter(|n| (1..=COUNT_MAX).contains(n));
        match text.split_once('=') {
            Some(("zone", value)) => name = Some(value),
            Some(("burst", value)) => {
                let invalid = || node.error(format!("invalid burst value \"{text}\""));
                burst = count(value).ok_or_else(invalid)?;
            }
            Some(("delay", value)) => {
                let invalid = || node.error(format!("invalid delay value \"{text}\""));
                delay = count(value).ok_or_else(invalid)?;
            }
            None if text == "nodelay" => delay = COUNT_MAX,
            _ => return Err(node.invalid_parameter(i)),
        }
    }
    let Some(name) = name else { return Err(limit_zone::no_zone(node)) };
    let zone = cx.zone(node, name, None, ZoneKind::LimitReq)?;
    let limits = cx.conf(&CONF).set.limits.or_insert_with(|| Rc::from([]));
    if limits.iter().any(|limit| limit.zone.name == zone.name) {
        return Err(node.predicate("is duplicate"));
    }
    let limit = Limit { zone, burst: burst * 1000, delay: delay * 1000 };
    *limits = limits.iter().cloned().chain([limit]).collect();
    Ok(())
}

/// Requests in a burst, at most: counted in thousandths they still fit.
const COUNT_MAX: u64 = u32::MAX as u64;

impl Module for LimitRequests {
    fn name(&self) -> &'static str {
        "ngx_http_limit_req_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }

    fn variables(&self) -> &'static [Variable] {
        VARIABLES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&ZONES);
        cx.register(&CONF);
    }

    fn attach(&self, cx: &mut Attach<'_>) -> Result<()> {
        let conf = cx.confs.share(&CONF);
        if conf.limits.is_empty() {
            return Ok(());
        }
        let zones = cx.confs.get(&ZONES);
        let mut buckets = Vec::with_capacity(conf.limits.len());
        for limit in conf.limits.iter() {
            let zone = zones.find(&limit.zone.name)?;
            buckets.push(Buckets { zone, burst: limit.burst, delay: limit.delay });
        }
        cx.handler(Phase::Preaccess, order::LIMIT_REQ, Rc::new(Check { conf, buckets }));
        Ok(())
    }
}

/// One limit, ready to run.
struct Buckets {
    zone: Rc<LimitZone<LimitReq, Rate>>,
    burst: u64,
    delay: u64,
}

struct Check {
    conf: Rc<LimitReqConf>,
    buckets: Vec<Buckets>,
}

impl Handler for Check {
    fn handle<'r>(&'r self, req: &'r mut Request) -> Step<'r> {
        if req.context.lasting::<Status>().is_some() {
            return Step::Ready(Flow::Next);
        }
        let dry = if self.conf.dry_run { ", dry run" } else { "" };
        match self.ask(req) {
            Ok(Outcome::Declined) => {}
            Ok(Outcome::Passed) => req.context.keep_lasting(Status::Passed),
            Ok(Outcome::Rejected { excess, limit }) => {
                let (whole, rest) = (excess / 1000, excess % 1000);
                let name = self.buckets[limit].zone.name();
                req.log(
                    self.conf.level,
                    format_args!("limiting requests{dry}, excess: {whole}.{rest:03} by zone \"{name}\""),
                );
                return Step::Ready(self.reject(req));
            }
            Ok(Outcome::Delayed { ms, excess, limit }) => {
                let (whole, rest) = (excess / 1000, excess % 1000);
                let name = self.buckets[limit].zone.name();
                req.log(
                    limit_zone::below(self.conf.level),
                    format_args!("delaying request{dry}, excess: {whole}.{rest:03}, by zone \"{name}\""),
                );
                if self.conf.dry_run {
                    req.context.keep_lasting(Status::DelayedDryRun);
                } else {
                    req.context.keep_lasting(Status::Delayed);
                    return Step::wait(delay(req, Duration::from_millis(ms)));
                }
            }
            Err(error) => {
                req.log(Level::Alert, format_args!("limit_req: {error}"));
                return Step::Ready(self.reject(req));
            }
        }
        Step::Ready(Flow::Next)
    }
}

impl Check {
    fn ask(&self, req: &mut Request) -> shm::Result<Outcome> {
        let mut keys = Vec::new();
        let mut ends = Vec::with_capacity(self.buckets.len());
        for buckets in &self.buckets {
            let start = keys.len();
            buckets.zone.key.template.append(req, &mut keys);
            if keys.len() - start > shm::limit::req::KEY_MAX {
                req.log_error(format_args!(
                    "the value of the \"{}\" key is more than {} bytes: \"{}\"",
                    buckets.zone.key.text,
                    shm::limit::req::KEY_MAX,
                    Text(&keys[start..])
                ));
            }
            ends.push((start, keys.len()));
        }
        let mut limits = Vec::with_capacity(self.buckets.len());
        for (buckets, (start, end)) in self.buckets.iter().zip(ends) {
            limits.push(ZoneLimit {
                zone: buckets.zone.memory(LimitReq::open)?,
                key: &keys[start..end],
                rate: buckets.zone.with.0,
                burst: buckets.burst,
                delay: buckets.delay,
            });
        }
        // the clock all workers share, which never goes back
        limit_all(&limits, net::now().0)
    }

    fn reject(&self, req: &mut Request) -> Flow {
        if self.conf.dry_run {
            req.context.keep_lasting(Status::RejectedDryRun);
            return Flow::Next;
        }
        req.context.keep_lasting(Status::Rejected);
        Flow::Status(self.conf.status)
    }
}

async fn delay(req: &mut Request, duration: Duration) -> Flow {
    match req.pause(duration).await {
        Ok(()) => Flow::Next,
        Err(fault) => req.fail(&fault),
    }
}

/// What happened to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Passed,
    Delayed,
    Rejected,
    DelayedDryRun,
    RejectedDryRun,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Status::Passed => "PASSED",
            Status::Delayed => "DELAYED",
            Status::Rejected => "REJECTED",
            Status::DelayedDryRun => "DELAYED_DRY_RUN",
            Status::RejectedDryRun => "REJECTED_DRY_RUN",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_per_second_and_minute() {
        for (text, expected) in [
            ("1r/s", Some(1000)),
            ("30r/m", Some(500)),
            ("5", Some(5000)),
            ("0r/s", None),
            ("r/s", None),
            ("1r/h", None),
            ("-1r/s", None),
        ] {
            assert_eq!(parse_rate(text), expected, "{text}");
        }
    }
}
