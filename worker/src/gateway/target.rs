//! An upstream resource as a group of the upstream machinery.
//!
//! Nodes of one priority are one [`Group`]; lower priorities are asked when the higher have no usable node left. Nodes
//! named by host are looked up when they are needed and again when the answer is old; what was found last goes on being
//! used when a lookup fails. The numbers of nodes (turns, running requests) are the worker's own.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::time::Duration;

use net::Addr;
use schemas::resource::{HashOn, Node, PassHost, Upstream as Resource};

use super::context::GatewayContext;
use crate::balance::{ConsistentHash, Group, LeastConn, Memory, Method, RoundRobin, Seed, Server};
use crate::log::Level;
use crate::phase::Step;
use crate::request::Request;
use crate::upstream::{Balancer, Keepalive, NoPeer, Outcome, Picked, Tried, Upstream, resolver};

/// How long addresses found by the system's resolver are used, and how long after a failure the next lookup waits.
const LOOKUP_FRESH: Duration = Duration::from_secs(30);
/// How long after a failed lookup the next one is made.
const LOOKUP_RETRY: Duration = Duration::from_secs(1);
/// Age in ms after which a kept connection is closed.
const KEEPALIVE_TIME_MS: u64 = 3_600_000;
/// Bits of [`Picked::token`] above those of [`Group`].
const TIER_SHIFT: u32 = 8;

/// See the module's documentation.
pub(super) struct Target {
    pub(super) resource: Resource,
    name: Rc<str>,
    /// The group, and until when it is good (ms of the monotonic clock); `None` until names are looked up.
    group: RefCell<Option<(Rc<Upstream>, u64)>>,
    has_names: bool,
}

impl Target {
    /// Makes an upstream resource ready.
    pub(super) fn new(name: &str, resource: Resource) -> Result<Self, String> {
        method(&resource).map(drop)?;
        let has_names = resource.nodes.iter().any(|node| node.host.parse::<IpAddr>().is_err());
        let target = Self { resource, name: name.into(), group: RefCell::new(None), has_names };
        if !has_names {
            let nodes: Vec<_> = target
                .resource
                .nodes
                .iter()
                .filter_map(|node| Some((node, vec![node.host.parse().ok()?])))
                .collect();
            *target.group.borrow_mut() = Some((target.make(&nodes), u64::MAX));
        }
        Ok(target)
    }

    /// The group, when nothing must be waited for.
    pub(super) fn ready(&self) -> Option<Rc<Upstream>> {
        let group = self.group.borrow();
        let (upstream, until) = group.as_ref()?;
        (*until > net::now().0).then(|| Rc::clone(upstream))
    }

    /// Looks names up and makes the group. `None`: no node has an address, and none ever had.
    pub(super) async fn look_up(&self, req: &Request) -> Option<Rc<Upstream>> {
        if !self.has_names {
            return self.ready();
        }
        let mut nodes = Vec::with_capacity(self.resource.nodes.len());
        let mut failed = false;
        for node in &self.resource.nodes {
            match addresses(req, &node.host).await {
                Ok(ips) => nodes.push((node, ips)),
                Err(error) => {
                    failed = true;
                    req.log(Level::Error, format_args!("{} could not be resolved {error}", node.host));
                }
            }
        }
        let now = net::now().0;
        let wait = if failed { LOOKUP_RETRY } else { LOOKUP_FRESH };
        let until = now + wait.as_millis() as u64;
        let mut group = self.group.borrow_mut();
        if let Some((known, good_until)) = group.as_mut()
            && (nodes.is_empty() || failed)
        {
            // what was found before is better than less
            *good_until = until;
            return Some(Rc::clone(known));
        }
        if nodes.is_empty() {
            return None;
        }
        let made = self.make(&nodes);
        // the same addresses keep their connections
        let made = match group.take() {
            Some((known, _)) if same_peers(&known, &made) => known,
            _ => made,
        };
        *group = Some((Rc::clone(&made), until));
        Some(made)
    }

    fn make(&self, nodes: &[(&Node, Vec<IpAddr>)]) -> Rc<Upstream> {
        let mut priorities: Vec<i64> = nodes.iter().map(|(node, _)| node.priority).collect();
        priorities.sort_unstable_by_key(|priority| std::cmp::Reverse(*priority));
        priorities.dedup();
        let mut tiers = Vec::new();
        let mut addresses = Vec::new();
        for priority in priorities {
            let servers: Vec<Server> = nodes
                .iter()
                .filter(|(node, _)| node.priority == priority && node.weight > 0)
                .map(|(node, ips)| self.server(node, ips))
                .collect();
            addresses.extend(servers.iter().flat_map(|server| server.addrs.iter().map(ToString::to_string)));
            if !servers.is_empty() {
                let method = method(&self.resource).unwrap_or_else(|_| Box::new(RoundRobin));
                tiers.push(Group::new(Rc::clone(&self.name), servers, method, Seed::None, None));
            }
        }
        let nodes = NodeBalancer {
            tiers,
            hash: Hash::of(&self.resource),
            node_host: (self.resource.pass_host == PassHost::Node).then(|| self.resource.scheme.port()),
        };
        let pool = self.resource.keepalive_pool.unwrap_or_default();
        let keepalive = Keepalive {
            max: pool.size,
            local: false,
            requests: pool.requests,
            time: KEEPALIVE_TIME_MS,
            timeout: (pool.idle_timeout * 1000.0) as u64,
        };
        Rc::new(Upstream::new(&self.name, Rc::new(nodes), Some(keepalive)))
    }

    fn server(&self, node: &Node, ips: &[IpAddr]) -> Server {
        let port = node.port.unwrap_or_else(|| self.resource.scheme.port());
        let host = if node.host.contains(':') { format!("[{}]", node.host) } else { node.host.to_string() };
        let addrs = ips.iter().map(|ip| Addr::from(SocketAddr::new(*ip, port))).collect();
        let mut server = Server::new(&format!("{host}:{port}"), addrs);
        server.weight = node.weight;
        // only health checks take a node out
        server.max_fails = 0;
        server
    }
}

/// Whether two groups have the same addresses.
fn same_peers(a: &Upstream, b: &Upstream) -> bool {
    a.balancer.tries() == b.balancer.tries() && a.balancer.names() == b.balancer.names()
}

fn method(resource: &Resource) -> Result<Box<dyn Method>, String> {
    Ok(match resource.method.as_deref().unwrap_or("roundrobin") {
        "roundrobin" => Box::new(RoundRobin),
        "chash" => Box::new(ConsistentHash),
        "least_conn" => Box::new(LeastConn),
        other => return Err(format!("balancer \"{other}\" is not supported")),
    })
}

async fn addresses(req: &Request, host: &str) -> Result<Vec<IpAddr>, String> {
    if let Ok(ip) = host.parse() {
        return Ok(vec![ip]);
    }
    if let Some(resolver) = resolver(req) {
        return resolver.resolve(host).await.map_err(|error| error.to_string());
    }
    // no `resolver` directive: as the system does it, away from the event loop
    let name = format!("{host}:0");
    let looked_up = net::blocking(move || name.to_socket_addrs().map(Vec::from_iter)).await;
    match looked_up {
        Ok(found) if !found.is_empty() => {
            let mut ips: Vec<IpAddr> = found.into_iter().map(|addr| addr.ip()).collect();
            ips.dedup();
            Ok(ips)
        }
        Ok(_) => Err("(no address)".into()),
        Err(error) => Err(format!("({error})")),
    }
}

/// What `chash` hashes.
enum Hash {
    None,
    Variable(Box<[u8]>),
    Header(Box<[u8]>),
    Consumer,
    /// `$a$b`: texts and variables in turn.
    Combination(Vec<Part>),
}

enum Part {
    Text(Box<[u8]>),
    Variable(Box<[u8]>),
}

impl Hash {
    fn of(resource: &Resource) -> Self {
        if resource.method.as_deref() != Some("chash") {
            return Hash::None;
        }
        let key = resource.key.as_deref().unwrap_or("remote_addr");
        match resource.hash_on {
            HashOn::Vars => Hash::Variable(key.as_bytes().into()),
            HashOn::Header => Hash::Header(key.as_bytes().into()),
            HashOn::Cookie => {
                let name = key.strip_prefix("cookie_").unwrap_or(key);
                Hash::Variable(format!("cookie_{name}").into_bytes().into())
            }
            HashOn::Consumer => Hash::Consumer,
            HashOn::VarsCombinations => Hash::Combination(combination(key)),
        }
    }

    /// The key of a request; the client's address where it has no other, as APISIX does.
    fn key(&self, req: &mut Request) -> Vec<u8> {
        let mut key = Vec::new();
        match self {
            Hash::None => return key,
            Hash::Variable(name) => {
                req.append_variable_by_name(name, &mut key);
            }
            Hash::Header(name) => key.extend_from_slice(req.headers.get(name).unwrap_or_default()),
            Hash::Consumer => {
                let consumer = req.context.get::<GatewayContext>().and_then(GatewayContext::consumer);
                key.extend_from_slice(consumer.map_or("", |consumer| consumer.name()).as_bytes());
            }
            Hash::Combination(parts) => {
                for part in parts {
                    match part {
                        Part::Text(text) => key.extend_from_slice(text),
                        Part::Variable(name) => {
                            req.append_variable_by_name(name, &mut key);
                        }
                    }
                }
            }
        }
        if key.is_empty() {
            key.extend_from_slice(req.client.text.as_bytes());
        }
        key
    }
}

fn combination(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut pieces = text.split('$');
    if let Some(first) = pieces.next().filter(|first| !first.is_empty()) {
        parts.push(Part::Text(first.as_bytes().into()));
    }
    for piece in pieces {
        let end = piece.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(piece.len());
        let (name, rest) = piece.split_at(end);
        parts.push(Part::Variable(name.as_bytes().into()));
        if !rest.is_empty() {
            parts.push(Part::Text(rest.as_bytes().into()));
        }
    }
    parts
}

/// Chooses among nodes: the highest priority that has a usable one.
struct NodeBalancer {
    tiers: Vec<Group>,
    hash: Hash,
    /// `pass_host = node`: the port that is left out of the `Host` field.
    node_host: Option<u16>,
}

/// What one request remembers between choices.
#[derive(Default)]
struct Progress {
    tier: usize,
    memory: Memory,
}

impl Balancer for NodeBalancer {
    fn pick<'r>(&'r self, req: &'r mut Request, tried: &'r mut Tried) -> Step<'r, Result<Picked, NoPeer>> {
        Step::Ready(self.choose(req, tried).ok_or(NoPeer::NoneLive))
    }

    fn done(&self, _: Option<&mut Request>, picked: Picked, outcome: Outcome) {
        if let Some(group) = self.tiers.get(picked.token.get() >> TIER_SHIFT) {
            group.finish(&picked, outcome);
        }
    }

    fn tries(&self) -> usize {
        self.tiers.iter().map(Group::tries).sum()
    }

    fn header(&self, req: &mut Request, picked: &Picked) {
        if let Some(group) = self.tiers.get(picked.token.get() >> TIER_SHIFT) {
            group.header(req, picked);
        }
    }

    fn names(&self) -> Vec<Rc<str>> {
        let members = |group: &Group| {
            group.current().members().map(|member| Rc::clone(&member.peer.name)).collect::<Vec<_>>()
        };
        self.tiers.iter().flat_map(members).collect()
    }
}

impl NodeBalancer {
    fn choose(&self, req: &mut Request, tried: &mut Tried) -> Option<Picked> {
        let remembered = tried.state.take().and_then(|state| state.downcast::<Progress>().ok());
        let mut progress = match remembered {
            Some(progress) => *progress,
            None => Progress {
                memory: Memory { key: self.hash.key(req), ..Memory::default() },
                ..Progress::default()
            },
        };
        let picked = loop {
            let group = self.tiers.get(progress.tier)?;
            // a group of one is chosen again and again: here every node gets one try
            match group.choose(&tried.peers, None, &mut progress.memory).filter(|p| !tried.contains(&p.peer))
            {
                Some(picked) => break picked,
                None => {
                    progress.tier += 1;
                    let key = std::mem::take(&mut progress.memory.key);
                    progress.memory = Memory { key, ..Memory::default() };
                }
            }
        };
        picked.token.set(picked.token.get() | progress.tier << TIER_SHIFT);
        if self.tiers.len() > 1 || !matches!(self.hash, Hash::None) {
            tried.state = Some(Box::new(progress));
        }
        if let Some(port) = self.node_host {
            let server = &*picked.peer.server;
            let default = format!(":{port}");
            let host = server.strip_suffix(&*default).unwrap_or(server).as_bytes().to_vec();
            super::head::replace_host(req, &host);
        }
        if let Some(context) = req.context.get_mut::<GatewayContext>() {
            context.picked = Some(Rc::clone(&picked.peer));
        }
        Some(picked)
    }
}
