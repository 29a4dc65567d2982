//! `ngx_http_geo_module`: a variable whose value depends on an address.
//!
//! However a `geo` block is written, as networks or as ranges, it ends as one sorted table of ranges that do not overlap,
//! and a lookup is a binary search.

mod networks;
mod ranges;
mod table;

use std::net::IpAddr;
use std::rc::Rc;

use conf::value::addr::parse_ip;
use conf::value::cidr::Cidr;
use conf::{Arity, Contexts, Directive, Node, Result, Shape};
use http1::Known;
use net::Addr;

use super::map::variable_name;
use crate::build::Builder;
use crate::module::Module;
use crate::request::{Request, forwarded_address};
use crate::variables::{Compute, Source, VarId};
use networks::Networks;
use ranges::Ranges;
use table::{Table, Values};

/// The module.
pub const MODULE: Geo = Geo;

/// See the module's documentation.
pub struct Geo;

impl Module for Geo {
    fn name(&self) -> &'static str {
        "ngx_http_geo_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }
}

static DIRECTIVES: &[Directive<Builder>] = &[Directive {
    name: "geo",
    contexts: Contexts::HTTP,
    arity: Arity::Range(1, 2),
    shape: Shape::Block,
    default: "",
    doc: "A variable whose value depends on the client's or another address.",
    apply: geo,
}];

/// A compiled `geo`.
struct GeoMap {
    /// The variable that holds the address; `None`: the client's.
    source: Option<VarId>,
    proxies: Vec<Cidr>,
    recursive: bool,
    table: Table,
}

/// A block while it is read.
#[derive(Default)]
struct Draft {
    values: Values,
    proxies: Vec<Cidr>,
    recursive: bool,
    volatile: bool,
    networks: Networks,
    /// `ranges` was given.
    ranges: Option<Ranges>,
}

fn geo(cx: &mut Builder, node: &Node) -> Result<()> {
    let mut name = variable_name(node, 0)?;
    let mut source = None;
    if node.len() == 2 {
        source = Some(cx.variables.use_name(name, &node.span));
        name = variable_name(node, 1)?;
    }
    let mut draft = Draft::default();
    for entry in node.entries() {
        draft.add(cx, entry?.node)?;
    }
    let Draft { values, proxies, recursive, volatile, networks, ranges } = draft;
    let table = match ranges {
        Some(ranges) => ranges.finish(values),
        None => networks.finish(values),
    };
    let map = Rc::new(GeoMap { source, proxies, recursive, table });
    cx.variables.declare(node, name, Source::Computed(map), !volatile)?;
    Ok(())
}

impl Draft {
    fn add(&mut self, cx: &mut Builder, node: &Node) -> Result<()> {
        match (node.name.bytes(), node.len()) {
            (b"ranges", 0) => {
                if !self.networks.is_empty() {
                    let text = "the \"ranges\" directive must be the first directive inside \"geo\" block";
                    return Err(node.error(text));
                }
                self.ranges.get_or_insert_default();
                Ok(())
            }
            (b"proxy_recursive", 0) => {
                self.recursive = true;
                Ok(())
            }
            (b"volatile", 0) => {
                self.volatile = true;
                Ok(())
            }
            (b"proxy", 1) => {
                let network = networks::parse(cx, node, node.first())?;
                self.proxies.push(network);
                Ok(())
            }
            (_, 1) => match &mut self.ranges {
                Some(ranges) => ranges.add(cx, &mut self.values, node),
                None => self.networks.add(cx, &mut self.values, node),
            },
            _ => Err(node.error("invalid number of the geo parameters")),
        }
    }
}

impl Compute for GeoMap {
    fn compute(&self, req: &mut Request, out: &mut Vec<u8>) -> bool {
        let ip = self.address(req);
        out.extend_from_slice(self.table.find(ip));
        true
    }
}

impl GeoMap {
    /// The address to look up; `None`: there is none, or it is no IP address.
    fn address(&self, req: &mut Request) -> Option<IpAddr> {
        let addr = match self.source {
            None => req.client.addr.clone(),
            Some(id) => {
                let text = req.variable(id)?;
                let ip = parse_ip(std::str::from_utf8(&text).ok()?)?;
                Addr::from(std::net::SocketAddr::new(ip, 0))
            }
        };
        if self.proxies.is_empty() {
            return addr.ip();
        }
        let values: Vec<&[u8]> = req.headers.known_all(Known::XForwardedFor).collect();
        let forwarded = forwarded_address(&addr, &values, &self.proxies, self.recursive);
        forwarded.unwrap_or(addr).ip()
    }
}
