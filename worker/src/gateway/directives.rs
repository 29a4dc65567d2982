//! `gateway { … }` and `gateway_pass`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;

use conf::{Arity, Contexts, Directive, Node, Result, Shape};

use super::context::GatewayContext;
use super::filter::{PluginFilter, PluginLog};
use super::limits::Limits;
use super::pass::GatewayPass;
use crate::build::{Builder, Conf, LevelKind, MergeCx, Slot};
use crate::filter::Position;
use crate::module::{Attach, Module};
use crate::modules::proxy;
use crate::phase::{Phase, order};
use crate::request::Request;
use crate::variables::Variable;

/// The module.
pub const MODULE: Gateway = Gateway;

/// What `gateway { … }` says; at the http level.
pub static CONF: Slot<GatewayConf> = Slot::new();
/// `gateway_pass` of a location.
static PASS: Slot<PassConf> = Slot::new();

/// See the module's documentation.
pub struct Gateway;

/// Where the gateway's configuration is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Store {
    /// In a file of our own.
    Embedded(PathBuf),
    /// In a file that people write, `apisix.yaml`.
    Yaml(PathBuf),
}

/// The Admin API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where its keys stand; made on first start.
    pub key_file: PathBuf,
}

/// What `gateway { … }` says.
#[derive(Clone, Default)]
pub struct GatewayConf {
    /// There is such a block.
    pub present: bool,
    /// `store`.
    pub store: Option<Store>,
    /// `admin`.
    pub admin: Option<Admin>,
    /// Memory of plugins that limit.
    pub limits: Option<Rc<Limits>>,
}

impl Conf for GatewayConf {
    fn merge(&mut self, outer: &Self, cx: &mut MergeCx<'_>) -> Result<()> {
        if !matches!(cx.kind, LevelKind::Http) {
            *self = outer.clone();
        }
        if self.present && self.store.is_none() {
            self.store = Some(Store::Embedded(cx.builder.paths.full("data/gateway.redb")));
        }
        Ok(())
    }
}

/// Whether a location has `gateway_pass`.
#[derive(Default)]
struct PassConf(bool);

impl Conf for PassConf {
    fn merge(&mut self, _: &Self, _: &mut MergeCx<'_>) -> Result<()> {
        Ok(())
    }

    fn is_inherited_whole(&self, _: &LevelKind) -> bool {
        !self.0
    }
}

static DIRECTIVES: &[Directive<Builder>] = &[
    Directive {
        name: "gateway",
        contexts: Contexts::HTTP,
        arity: Arity::Exactly(0),
        shape: Shape::Block,
        default: "",
        doc: "Routes, services, upstreams, consumers and plugins that change at run time, in Apache APISIX's data model.",
        apply: |cx, node| {
            if std::mem::replace(&mut cx.conf(&CONF).present, true) {
                return Err(node.predicate("is duplicate"));
            }
            let limits = Limits::declare(cx, node)?;
            cx.conf(&CONF).limits = Some(limits);
            cx.block_in_place(node, Contexts::GATEWAY)
        },
    },
    Directive {
        name: "store",
        contexts: Contexts::GATEWAY,
        arity: Arity::AtLeast(1),
        shape: Shape::Simple,
        default: "embedded data/gateway.redb",
        doc: "Where the gateway's resources are kept: `embedded FILE`, or `yaml FILE`, which is read again when it changes.",
        apply: store,
    },
    Directive {
        name: "admin",
        contexts: Contexts::GATEWAY,
        arity: Arity::Range(1, 2),
        shape: Shape::Simple,
        default: "",
        doc: "Where the Admin API listens, and `key_file=` with its keys, which are made on the first start.",
        apply: admin,
    },
    Directive {
        name: "gateway_pass",
        contexts: Contexts::LOCATION.or(Contexts::LOCATION_IF),
        arity: Arity::Exactly(0),
        shape: Shape::Simple,
        default: "",
        doc: "Passes requests on by the gateway's routes.",
        apply: |cx, node| {
            if std::mem::replace(&mut cx.conf(&PASS).0, true) {
                return Err(node.predicate("is duplicate"));
            }
            Ok(())
        },
    },
];

fn store(cx: &mut Builder, node: &Node) -> Result<()> {
    if cx.conf(&CONF).store.is_some() {
        return Err(node.predicate("is duplicate"));
    }
    let store = match node.first() {
        "embedded" => {
            if node.len() > 2 {
                return Err(node.invalid_parameter(2));
            }
            Store::Embedded(cx.paths.full(node.arg(1).unwrap_or("data/gateway.redb")))
        }
        "yaml" => {
            if node.len() != 2 {
                return Err(node.error("\"store yaml\" needs the name of a file"));
            }
            Store::Yaml(cx.paths.full(node.arg(1).unwrap_or_default()))
        }
        other @ "etcd" => {
            let text = format!("store \"{other}\" is not supported yet (uresty_gateway_module)");
            return Err(conf::Error::unsupported(&node.span, text));
        }
        _ => return Err(node.invalid_value(0)),
    };
    cx.conf(&CONF).store = Some(store);
    Ok(())
}

fn admin(cx: &mut Builder, node: &Node) -> Result<()> {
    if cx.conf(&CONF).admin.is_some() {
        return Err(node.predicate("is duplicate"));
    }
    let listen = node.first().parse();
    let listen: SocketAddr =
        listen.map_err(|_| node.error(format!("invalid address \"{}\"", node.first())))?;
    let mut key_file = cx.paths.full("data/admin.key");
    if let Some(option) = node.arg(1) {
        let Some(path) = option.strip_prefix("key_file=").filter(|path| !path.is_empty()) else {
            return Err(node.invalid_parameter(1));
        };
        key_file = cx.paths.full(path);
    }
    cx.conf(&CONF).admin = Some(Admin { listen, key_file });
    Ok(())
}

impl Module for Gateway {
    fn name(&self) -> &'static str {
        "uresty_gateway_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }

    fn variables(&self) -> &'static [Variable] {
        VARIABLES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&CONF);
        cx.register(&PASS);
    }

    fn attach(&self, cx: &mut Attach<'_>) -> Result<()> {
        if !cx.is_location() || !cx.confs.get(&PASS).0 {
            return Ok(());
        }
        if !cx.confs.get(&CONF).present {
            return Err(conf::Error::new("\"gateway_pass\" without a \"gateway\" block"));
        }
        let conf = cx.confs.share(&proxy::CONF);
        cx.content(Rc::new(GatewayPass::new(conf)));
        cx.filter(Position::Guest, Rc::new(PluginFilter));
        cx.handler(Phase::Log, order::LUA, Rc::new(PluginLog));
        Ok(())
    }
}

/// A variable that is a text of the request's gateway context.
fn of_context(req: &Request, out: &mut Vec<u8>, text: impl Fn(&GatewayContext) -> Option<&str>) -> bool {
    match req.context.get::<GatewayContext>().and_then(text) {
        Some(text) => {
            out.extend_from_slice(text.as_bytes());
            true
        }
        None => false,
    }
}

static VARIABLES: &[Variable] = &[
    Variable::new("route_id", "The id of the route.", |req, _, out| {
        of_context(req, out, GatewayContext::route_id)
    }),
    Variable::new("route_name", "The name of the route.", |req, _, out| {
        of_context(req, out, GatewayContext::route_name)
    }),
    Variable::new("service_id", "The id of the route's service.", |req, _, out| {
        of_context(req, out, GatewayContext::service_id)
    }),
    Variable::new("service_name", "The name of the route's service.", |req, _, out| {
        of_context(req, out, GatewayContext::service_name)
    }),
    Variable::new("consumer_name", "The consumer's name.", |req, _, out| {
        of_context(req, out, |context| Some(context.consumer()?.name()))
    }),
    Variable::new("consumer_group_id", "The id of the consumer's group.", |req, _, out| {
        of_context(req, out, |context| context.consumer()?.group_id())
    }),
    Variable::new("balancer_ip", "The address of the node chosen last.", |req, _, out| {
        let picked = req.context.get::<GatewayContext>().and_then(GatewayContext::picked);
        let ip = picked.and_then(|peer| peer.addr.ip());
        ip.inspect(|ip| out.extend_from_slice(ip.to_string().as_bytes())).is_some()
    }),
    Variable::new("balancer_port", "The port of the node chosen last.", |req, _, out| {
        let picked = req.context.get::<GatewayContext>().and_then(GatewayContext::picked);
        picked.inspect(|peer| http1::push_decimal(out, u64::from(peer.addr.port()))).is_some()
    }),
];
