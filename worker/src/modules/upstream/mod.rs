//! `ngx_http_upstream_module` and its companions: `upstream` blocks.
//!
//! The walk collects what a block says in an [`UpstreamConf`]; when the whole configuration has been read, each becomes
//! a [`Group`](crate::balance::Group) in the builder's table of upstreams ([`assemble`]); when a worker starts, groups with a zone move
//! their numbers there, and names are resolved from then on.

mod assemble;
mod dynamic;
mod keepalive;
mod methods;
mod server;
mod sticky;
mod zone;

use std::rc::Rc;

use conf::{Arity, Contexts, Directive, Node, Result, Setting, Shape};

use crate::balance::{Method, Seed, Server, Sticky};
use crate::build::{Builder, Conf, LevelKind, MergeCx, Slot};
use crate::module::Module;
use crate::upstream::Balancer;
use crate::worker::Worker;
use crate::zone::ZoneRef;

/// The module.
pub const MODULE: Upstream = Upstream;
/// `hash`.
pub const HASH: Part = Part { name: "ngx_http_upstream_hash_module", directives: methods::HASH };
/// `ip_hash`.
pub const IP_HASH: Part = Part { name: "ngx_http_upstream_ip_hash_module", directives: methods::IP_HASH };
/// `least_conn`.
pub const LEAST_CONN: Part =
    Part { name: "ngx_http_upstream_least_conn_module", directives: methods::LEAST_CONN };
/// `least_time`.
pub const LEAST_TIME: Part =
    Part { name: "ngx_http_upstream_least_time_module", directives: methods::LEAST_TIME };
/// `random`.
pub const RANDOM: Part = Part { name: "ngx_http_upstream_random_module", directives: methods::RANDOM };
/// `keepalive`.
pub const KEEPALIVE: Part =
    Part { name: "ngx_http_upstream_keepalive_module", directives: keepalive::DIRECTIVES };
/// `sticky`.
pub const STICKY: Part = Part { name: "ngx_http_upstream_sticky_module", directives: sticky::DIRECTIVES };
/// `zone`.
pub const ZONE: Part = Part { name: "ngx_http_upstream_zone_module", directives: zone::DIRECTIVES };

/// What the directives of one `upstream` block say.
static CONF: Slot<UpstreamConf> = Slot::new();
/// The groups of the `http` block.
static GROUPS: Slot<assemble::Groups> = Slot::new();

/// See the module's documentation.
pub struct Upstream;

/// A companion module, which has directives in `upstream` blocks and nothing else.
pub struct Part {
    name: &'static str,
    directives: &'static [Directive<Builder>],
}

impl Module for Part {
    fn name(&self) -> &'static str {
        self.name
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        self.directives
    }
}

impl Module for Upstream {
    fn name(&self) -> &'static str {
        "ngx_http_upstream_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }

    fn variables(&self) -> &'static [crate::variables::Variable] {
        crate::upstream::VARIABLES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&CONF);
        cx.register(&GROUPS);
    }

    fn declare(&self, cx: &mut Builder) -> Result<()> {
        assemble::declare(cx)
    }

    fn start(&self, worker: &Rc<Worker>) {
        if let Some(http) = &worker.config.http {
            http.get(&GROUPS).start(worker);
        }
    }
}

static DIRECTIVES: &[Directive<Builder>] = &[
    Directive {
        name: "upstream",
        contexts: Contexts::HTTP,
        arity: Arity::Exactly(1),
        shape: Shape::Block,
        default: "",
        doc: "A group of servers, for `proxy_pass` and its like.",
        apply: upstream,
    },
    Directive {
        name: "server",
        contexts: Contexts::UPSTREAM,
        arity: Arity::AtLeast(1),
        shape: Shape::Simple,
        default: "",
        doc: "A server of the group: address and parameters.",
        apply: server::apply,
    },
];

/// What one `upstream` block says.
#[derive(Default)]
struct UpstreamConf {
    servers: Vec<Server>,
    method: Option<(Box<dyn Method>, Seed)>,
    /// The method has no use for backups.
    no_backup: bool,
    least_time: Setting<()>,
    sticky: Option<Sticky>,
    /// A method came after `sticky`: as in nginx, it replaces it.
    sticky_replaced: bool,
    keepalive: Setting<(usize, bool)>,
    keepalive_requests: Setting<u64>,
    keepalive_time: Setting<u64>,
    keepalive_timeout: Setting<u64>,
    zone: Option<ZoneRef>,
    /// What chooses in place of the method, or before it.
    guest: Option<Guest>,
}

/// Makes the balancer of another module (`balancer_by_lua`), given the one of the block's servers.
pub type Guest = Box<dyn FnOnce(Rc<dyn Balancer>) -> Rc<dyn Balancer>>;

/// Lets `guest` choose the servers of the current `upstream` block.
pub fn set_guest(cx: &mut Builder, node: &Node, guest: Guest) -> Result<()> {
    let conf = cx.conf(&CONF);
    if conf.guest.is_some() {
        return Err(node.predicate("is duplicate"));
    }
    conf.guest = Some(guest);
    Ok(())
}

impl Conf for UpstreamConf {
    fn merge(&mut self, _: &Self, _: &mut MergeCx<'_>) -> Result<()> {
        Ok(())
    }
}

/// `upstream name { … }`.
fn upstream(cx: &mut Builder, node: &Node) -> Result<()> {
    let name = node.first();
    let siblings = &cx.levels().last().expect("inside http").children;
    let taken = siblings
        .iter()
        .any(|level| matches!(&level.kind, LevelKind::Upstream(other) if other.eq_ignore_ascii_case(name)));
    if taken {
        return Err(node.error(format!("duplicate upstream \"{name}\"")));
    }
    let at = cx.block(node, LevelKind::Upstream(name.into()), Contexts::UPSTREAM)?;
    if cx.level_mut().children[at].conf(&CONF).servers.is_empty() {
        return Err(node.end_error("no servers are inside upstream"));
    }
    Ok(())
}
