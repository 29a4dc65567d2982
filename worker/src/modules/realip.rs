//! `ngx_http_realip_module`: the client's address as a trusted proxy reports it, in a header field or by PROXY protocol.
//!
//! The address is replaced before anything else looks at it, and once more before the limits of a location that has settings
//! of its own; the first replacement of a request stays.

use std::rc::Rc;

use ::conf::value::addr::{Hosts as _, SystemHosts};
use ::conf::value::cidr::Cidr;
use ::conf::{Arity, Contexts, Directive, Node, Result, Shape};

use crate::build::{Builder, Conf, MergeCx, Slot};
use crate::connection::ClientAddr;
use crate::module::{Attach, Module};
use crate::phase::{Flow, Handler, Phase, Step, order};
use crate::request::{Request, forwarded_address, trusts};
use crate::settings;
use crate::variables::Variable;

/// The module.
pub const MODULE: RealIp = RealIp;

static CONF: Slot<RealIpConf> = Slot::new();

/// See the module's documentation.
pub struct RealIp;

static DIRECTIVES: &[Directive<Builder>] = &[
    Directive {
        name: "set_real_ip_from",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "",
        doc: "A proxy that is trusted to tell the client's address: address, network, host name or `unix:`.",
        apply: set_real_ip_from,
    },
    Directive {
        name: "real_ip_header",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "X-Real-IP",
        doc: "Where the address stands: `X-Real-IP`, `X-Forwarded-For`, another field, or `proxy_protocol`.",
        apply: |cx, node| cx.conf(&CONF).set.header.set(ReportedBy::parse(node.first())),
    },
    Directive {
        name: "real_ip_recursive",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "off",
        doc: "Takes the last address that is not a trusted proxy instead of the last one.",
        apply: |cx, node| cx.conf(&CONF).set.recursive.set(node.flag()?),
    },
];

static VARIABLES: &[Variable] = &[
    Variable::new("realip_remote_addr", "Address of the peer, whatever was made of it.", |req, _, out| {
        out.extend_from_slice(req.conn.client.text.as_bytes());
        true
    }),
    Variable::new(
        "realip_remote_port",
        "Port of the peer, whatever was made of its address.",
        |req, _, out| {
            let port = req.conn.client.addr.port();
            if port > 0 {
                out.extend_from_slice(port.to_string().as_bytes());
            }
            true
        },
    ),
];

/// `real_ip_header`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportedBy {
    /// All fields of this name, which hold lists.
    ForwardedFor,
    /// The first field of this name.
    Field(Rc<[u8]>),
    /// The connection itself.
    ProxyProtocol,
}

impl ReportedBy {
    fn parse(text: &str) -> Self {
        match text {
            "X-Forwarded-For" => Self::ForwardedFor,
            "proxy_protocol" => Self::ProxyProtocol,
            field => Self::Field(field.as_bytes().into()),
        }
    }
}

settings! {
    /// Whom to trust, and where to look.
    pub struct RealIpConf, RealIpSettings {
        /// `set_real_ip_from`.
        from: Rc<[Cidr]> = Rc::from([]),
        /// `real_ip_header`.
        header: ReportedBy = ReportedBy::Field(Rc::from(*b"X-Real-IP")),
        /// `real_ip_recursive`.
        recursive: bool = false,
    }
}

impl Conf for RealIpConf {
    fn merge(&mut self, outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        self.merge_settings(outer);
        Ok(())
    }
}

fn set_real_ip_from(cx: &mut Builder, node: &Node) -> Result<()> {
    let text = node.first();
    let added = match Cidr::parse(text) {
        Some(parsed) => {
            if parsed.low_bits {
                cx.warn(node.warning(format!("low address bits of {text} are meaningless")));
            }
            vec![parsed.cidr]
        }
        None => resolve(text)
            .ok_or_else(|| node.error(format!("host not found in set_real_ip_from \"{text}\"")))?,
    };
    let from = cx.conf(&CONF).set.from.or_insert_with(|| Rc::from([]));
    *from = from.iter().copied().chain(added).collect();
    Ok(())
}

/// The addresses of a host, each a network of its own.
fn resolve(host: &str) -> Option<Vec<Cidr>> {
    let found = SystemHosts.resolve(host).ok()?;
    let networks: Option<Vec<Cidr>> =
        found.into_iter().map(|ip| Cidr::parse(&ip.to_string()).map(|parsed| parsed.cidr)).collect();
    networks.filter(|networks| !networks.is_empty())
}

impl Module for RealIp {
    fn name(&self) -> &'static str {
        "ngx_http_realip_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }

    fn variables(&self) -> &'static [Variable] {
        VARIABLES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&CONF);
    }

    fn attach(&self, cx: &mut Attach<'_>) -> Result<()> {
        let conf = cx.confs.share(&CONF);
        if conf.from.is_empty() {
            return Ok(());
        }
        let replace = Rc::new(Replace { conf });
        if !cx.is_location() {
            cx.handler(Phase::PostRead, order::REALIP, Rc::clone(&replace) as Rc<dyn Handler>);
        }
        cx.handler(Phase::Preaccess, order::REALIP_AGAIN, replace);
        Ok(())
    }
}

struct Replace {
    conf: Rc<RealIpConf>,
}

impl Handler for Replace {
    fn handle<'r>(&'r self, req: &'r mut Request) -> Step<'r> {
        // already replaced: by the server, or before an internal redirect
        if Rc::ptr_eq(&req.client, &req.conn.client)
            && let Some(addr) = self.find(req)
        {
            req.client = Rc::new(ClientAddr::new(addr));
        }
        Step::Ready(Flow::Next)
    }
}

impl Replace {
    fn find(&self, req: &Request) -> Option<net::Addr> {
        let conf = &*self.conf;
        let peer = &req.conn.client.addr;
        let follow = |values: &[&[u8]]| forwarded_address(peer, values, &conf.from, conf.recursive);
        match &conf.header {
            ReportedBy::ProxyProtocol => {
                let proxied = req.conn.proxied.as_ref()?;
                let ip = proxied.source.ip()?;
                let addr = std::net::SocketAddr::new(ip, proxied.source.port);
                trusts(&conf.from, peer).then(|| addr.into())
            }
            ReportedBy::ForwardedFor => {
                let values: Vec<&[u8]> = req.headers.get_all(b"X-Forwarded-For").collect();
                follow(&values)
            }
            ReportedBy::Field(name) => follow(&[req.headers.get(name)?]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_source() {
        for (text, expected) in [
            ("X-Forwarded-For", ReportedBy::ForwardedFor),
            ("proxy_protocol", ReportedBy::ProxyProtocol),
            ("X-Real-IP", ReportedBy::Field(Rc::from(*b"X-Real-IP"))),
            ("cf-connecting-ip", ReportedBy::Field(Rc::from(*b"cf-connecting-ip"))),
        ] {
            assert_eq!(ReportedBy::parse(text), expected);
        }
    }

    #[test]
    fn hosts_become_single_addresses() {
        let networks = resolve("localhost").unwrap();
        assert!(networks.iter().any(|network| network.contains([127, 0, 0, 1].into())
            || network.contains(std::net::Ipv6Addr::LOCALHOST.into())));
        assert!(!networks.iter().any(|network| network.contains([127, 0, 0, 2].into())));
    }
}
