//! `ngx_http_limit_conn_module`: how many requests of a key may be in progress, in memory shared by all workers.
//!
//! A connection counts from its request's head to its response's end; HTTP/2 streams count one by one. Each request is counted
//! once, by the first location that has limits.

use std::rc::Rc;

use ::conf::value::number;
use ::conf::{Arity, Contexts, Directive, Node, Result, Shape};
use shm::LimitConn;
use shm::limit::conn::{Held, KEY_MAX};

use crate::build::{Builder, Conf, MergeCx, Slot};
use crate::log::{self, Level, Text};
use crate::module::{Attach, Module};
use crate::modules::limit_zone::{self, LimitZone};
use crate::phase::{Flow, Handler, Phase, Step, order};
use crate::request::{HoldsPlace, Request};
use crate::settings;
use crate::variables::Variable;
use crate::worker::Worker;
use crate::zone::{ZoneKind, ZoneRef};

/// The module.
pub const MODULE: LimitConnections = LimitConnections;

static CONF: Slot<LimitConnConf> = Slot::new();
static ZONES: Slot<limit_zone::Zones<LimitConn, ()>> = Slot::new();

/// See the module's documentation.
pub struct LimitConnections;

static DIRECTIVES: &[Directive<Builder>] = &[
    Directive {
        name: "limit_conn_zone",
        contexts: Contexts::HTTP,
        arity: Arity::Exactly(2),
        shape: Shape::Simple,
        default: "",
        doc: "Shared memory for counts of connections: what they are kept for, name and size.",
        apply: |cx, node| {
            let zone = limit_zone::declare(cx, node, ZoneKind::LimitConn, |_| None)?;
            limit_zone::bind(cx, node, &ZONES, zone, ())
        },
    },
    Directive {
        name: "limit_conn",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(2),
        shape: Shape::Simple,
        default: "",
        doc: "Limits how many connections of a key may be busy at the same time.",
        apply: limit,
    },
    Directive {
        name: "limit_conn_log_level",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "error",
        doc: "Level at which refusals are logged.",
        apply: |cx, node| cx.conf(&CONF).set.level.set(node.choice(&limit_zone::LEVELS)?),
    },
    Directive {
        name: "limit_conn_status",
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
        name: "limit_conn_dry_run",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "off",
        doc: "Counts and logs, but does not refuse.",
        apply: |cx, node| cx.conf(&CONF).set.dry_run.set(node.flag()?),
    },
];

static VARIABLES: &[Variable] =
    &[Variable::new("limit_conn_status", "What `limit_conn` did with the request.", |req, _, out| {
        let Some(status) = req.context.lasting::<Status>() else { return false };
        out.extend_from_slice(match status {
            Status::Passed => b"PASSED",
            Status::Rejected => b"REJECTED",
            Status::RejectedDryRun => b"REJECTED_DRY_RUN",
        });
        true
    })];

/// One `limit_conn`.
#[derive(Clone)]
pub struct Limit {
    zone: ZoneRef,
    max: u32,
}

settings! {
    /// The limits of one level; a level with limits of its own inherits none.
    pub struct LimitConnConf, LimitConnSettings {
        /// `limit_conn`.
        limits: Rc<[Limit]> = Rc::from([]),
        /// `limit_conn_log_level`.
        level: Level = Level::Error,
        /// `limit_conn_status`.
        status: u16 = 503,
        /// `limit_conn_dry_run`.
        dry_run: bool = false,
    }
}

impl Conf for LimitConnConf {
    fn merge(&mut self, outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        self.merge_settings(outer);
        Ok(())
    }
}

/// nginx counts in sixteen bits.
const CONNECTIONS_MAX: u64 = 65535;

/// `limit_conn zone number`.
fn limit(cx: &mut Builder, node: &Node) -> Result<()> {
    let zone = cx.zone(node, node.first(), None, ZoneKind::LimitConn)?;
    let limits = cx.conf(&CONF).set.limits.or_insert_with(|| Rc::from([]));
    if limits.iter().any(|limit| limit.zone.name == zone.name) {
        return Err(node.predicate("is duplicate"));
    }
    let text = node.second();
    let max = number::parse(text)
        .filter(|max| *max > 0)
        .ok_or_else(|| node.error(format!("invalid number of connections \"{text}\"")))?;
    if max > CONNECTIONS_MAX {
        return Err(node.error("connection limit must be less 65536"));
    }
    let limit = Limit { zone, max: u32::try_from(max).expect("checked above") };
    *limits = limits.iter().cloned().chain([limit]).collect();
    Ok(())
}

impl Module for LimitConnections {
    fn name(&self) -> &'static str {
        "ngx_http_limit_conn_module"
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
        let mut counts = Vec::with_capacity(conf.limits.len());
        for limit in conf.limits.iter() {
            counts.push(Counts { zone: zones.find(&limit.zone.name)?, max: limit.max });
        }
        cx.handler(Phase::Preaccess, order::LIMIT_CONN, Rc::new(Check { conf, counts }));
        Ok(())
    }

    /// What a worker that was killed had counted is taken off by the one that takes its place.
    fn start(&self, worker: &Rc<Worker>) {
        let Some(http) = &worker.config.http else { return };
        for zone in http.get(&ZONES).iter() {
            if let Err(error) = zone.memory(LimitConn::open).and_then(LimitConn::retire_dead) {
                log::process(Level::Alert, format_args!("limit_conn_zone \"{}\": {error}", zone.name()));
            }
        }
    }
}

/// One limit, ready to run.
struct Counts {
    zone: Rc<LimitZone<LimitConn, ()>>,
    max: u32,
}

impl Counts {
    fn acquire(&self, key: &[u8]) -> shm::Result<Option<Held>> {
        self.zone.memory(LimitConn::open)?.acquire(key, self.max)
    }
}

struct Check {
    conf: Rc<LimitConnConf>,
    counts: Vec<Counts>,
}

impl Handler for Check {
    fn handle<'r>(&'r self, req: &'r mut Request) -> Step<'r> {
        if req.context.lasting::<Status>().is_some() {
            return Step::Ready(Flow::Next);
        }
        // dropped on a refusal: a request is counted everywhere or nowhere
        let mut held: Vec<Held> = Vec::with_capacity(self.counts.len());
        for counts in &self.counts {
            let key = counts.zone.key.template.eval(req);
            if key.is_empty() {
                continue;
            }
            if key.len() > KEY_MAX {
                req.log_error(format_args!(
                    "the value of the \"{}\" key is more than {KEY_MAX} bytes: \"{}\"",
                    counts.zone.key.text,
                    Text(&key)
                ));
                continue;
            }
            match counts.acquire(&key) {
                Ok(Some(one)) => held.push(one),
                Ok(None) => {
                    let dry = if self.conf.dry_run { ", dry run," } else { "" };
                    let name = counts.zone.name();
                    req.log(self.conf.level, format_args!("limiting connections{dry} by zone \"{name}\""));
                    return Step::Ready(self.reject(req));
                }
                Err(error) => {
                    req.log(Level::Alert, format_args!("limit_conn: {error}"));
                    return Step::Ready(self.reject(req));
                }
            }
        }
        if !held.is_empty() {
            req.context.keep_lasting(Status::Passed);
            req.context.keep_lasting(HoldsPlace);
            req.context.keep_until_end(Box::new(held));
        }
        Step::Ready(Flow::Next)
    }
}

impl Check {
    fn reject(&self, req: &mut Request) -> Flow {
        if self.conf.dry_run {
            req.context.keep_lasting(Status::RejectedDryRun);
            return Flow::Next;
        }
        req.context.keep_lasting(Status::Rejected);
        Flow::Status(self.conf.status)
    }
}

/// What happened to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Passed,
    Rejected,
    RejectedDryRun,
}
