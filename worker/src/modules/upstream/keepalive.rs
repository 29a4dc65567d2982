//! Settings of the connections a group keeps.

use conf::value::number;
use conf::{Arity, Contexts, Directive, Node, Result, Shape};

use super::{CONF, UpstreamConf};
use crate::build::Builder;
use crate::upstream::Keepalive;

pub(super) static DIRECTIVES: &[Directive<Builder>] = &[
    Directive {
        name: "keepalive",
        contexts: Contexts::UPSTREAM,
        arity: Arity::Range(1, 2),
        shape: Shape::Simple,
        default: "32 local",
        doc: "Idle connections each worker keeps; with `local`, a location uses only those it has made. 0: none.",
        apply: keepalive,
    },
    Directive {
        name: "keepalive_requests",
        contexts: Contexts::UPSTREAM,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "1000",
        doc: "Requests after which a connection is closed.",
        apply: |cx, node| cx.conf(&CONF).keepalive_requests.set(node.number()?),
    },
    Directive {
        name: "keepalive_time",
        contexts: Contexts::UPSTREAM,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "1h",
        doc: "Age after which a connection is closed once its response is complete.",
        apply: |cx, node| cx.conf(&CONF).keepalive_time.set(node.time_ms()?),
    },
    Directive {
        name: "keepalive_timeout",
        contexts: Contexts::UPSTREAM,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "60s",
        doc: "How long a connection may be idle.",
        apply: |cx, node| cx.conf(&CONF).keepalive_timeout.set(node.time_ms()?),
    },
];

fn keepalive(cx: &mut Builder, node: &Node) -> Result<()> {
    let conf = cx.conf(&CONF);
    conf.keepalive.check_unset()?;
    let Some(max) = number::parse(node.first()).and_then(|max| usize::try_from(max).ok()) else {
        return Err(node.error(format!("invalid value \"{}\" in \"keepalive\" directive", node.first())));
    };
    match node.arg(1) {
        None => conf.keepalive.set((max, false)),
        Some("local") => conf.keepalive.set((max, true)),
        Some(_) => Err(node.invalid_parameter(1)),
    }
}

/// What the group keeps; `None`: nothing.
pub(super) fn settings(conf: &UpstreamConf) -> Option<Keepalive> {
    let default = Keepalive::default();
    let (max, local) = conf.keepalive.as_ref().copied().unwrap_or((default.max, default.local));
    let or = |setting: &conf::Setting<u64>, default| setting.as_ref().copied().unwrap_or(default);
    (max > 0).then(|| Keepalive {
        max,
        local,
        requests: or(&conf.keepalive_requests, default.requests),
        time: or(&conf.keepalive_time, default.time),
        timeout: or(&conf.keepalive_timeout, default.timeout),
    })
}
