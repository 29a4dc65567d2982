//! Directives that choose the load balancing method.

use conf::{Arity, Contexts, Directive, Node, Result, Shape};

use super::CONF;
use crate::balance::{ConsistentHash, Hash, IpHash, LeastConn, LeastTime, Measure, Method, Random, Seed};
use crate::build::Builder;
use crate::script::Template;

pub(super) static HASH: &[Directive<Builder>] = &[Directive {
    name: "hash",
    contexts: Contexts::UPSTREAM,
    arity: Arity::Range(1, 2),
    shape: Shape::Simple,
    default: "",
    doc: "Chooses servers by the hash of a key; with `consistent`, few keys move when the servers change (ketama).",
    apply: hash,
}];

pub(super) static IP_HASH: &[Directive<Builder>] = &[Directive {
    name: "ip_hash",
    contexts: Contexts::UPSTREAM,
    arity: Arity::Exactly(0),
    shape: Shape::Simple,
    default: "",
    doc: "Chooses servers by the client's address.",
    apply: |cx, node| {
        choose(cx, node, Box::new(IpHash), Seed::Client, true);
        Ok(())
    },
}];

pub(super) static LEAST_CONN: &[Directive<Builder>] = &[Directive {
    name: "least_conn",
    contexts: Contexts::UPSTREAM,
    arity: Arity::Exactly(0),
    shape: Shape::Simple,
    default: "",
    doc: "Chooses the server with the fewest connections.",
    apply: |cx, node| {
        choose(cx, node, Box::new(LeastConn), Seed::None, false);
        Ok(())
    },
}];

pub(super) static LEAST_TIME: &[Directive<Builder>] = &[Directive {
    name: "least_time",
    contexts: Contexts::UPSTREAM,
    arity: Arity::Range(1, 2),
    shape: Shape::Simple,
    default: "",
    doc: "Chooses the server expected to answer first, by its average times (`header`, `last_byte`) and connections; with `inflight`, requests under way count too.",
    apply: least_time,
}];

pub(super) static RANDOM: &[Directive<Builder>] = &[Directive {
    name: "random",
    contexts: Contexts::UPSTREAM,
    arity: Arity::Range(0, 2),
    shape: Shape::Simple,
    default: "",
    doc: "Chooses servers by chance; with `two`, the one of two with fewer connections.",
    apply: random,
}];

/// Makes `method` the block's; the last one counts.
fn choose(cx: &mut Builder, node: &Node, method: Box<dyn Method>, seed: Seed, no_backup: bool) {
    let conf = cx.conf(&CONF);
    let redefined = conf.method.is_some() || conf.sticky.is_some();
    conf.method = Some((method, seed));
    conf.no_backup = no_backup;
    conf.sticky_replaced = conf.sticky.is_some();
    if redefined {
        cx.warn(node.warning("load balancing method redefined"));
    }
}

fn hash(cx: &mut Builder, node: &Node) -> Result<()> {
    let key = Seed::Key(Template::parse(cx, node, node.first())?);
    let method: Box<dyn Method> = match node.arg(1) {
        None => Box::new(Hash),
        Some("consistent") => Box::new(ConsistentHash),
        Some(_) => return Err(node.invalid_parameter(1)),
    };
    choose(cx, node, method, key, true);
    Ok(())
}

fn least_time(cx: &mut Builder, node: &Node) -> Result<()> {
    let inflight = match node.arg(1) {
        None => false,
        Some("inflight") => true,
        Some(_) => return Err(node.invalid_parameter(1)),
    };
    cx.conf(&CONF).least_time.set(())?;
    let measure = node.choice(&[("header", Measure::Header), ("last_byte", Measure::LastByte)])?;
    choose(cx, node, Box::new(LeastTime { measure, inflight }), Seed::None, false);
    Ok(())
}

fn random(cx: &mut Builder, node: &Node) -> Result<()> {
    let two = match (node.arg(0), node.arg(1)) {
        (None, _) => false,
        (Some("two"), None | Some("least_conn")) => true,
        (Some("two"), Some(_)) => return Err(node.invalid_parameter(1)),
        (Some(_), _) => return Err(node.invalid_parameter(0)),
    };
    choose(cx, node, Box::new(Random { two }), Seed::None, true);
    Ok(())
}
