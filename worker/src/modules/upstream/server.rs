//! `server address parameters…` in an `upstream` block.

use conf::value::addr::Address;
use conf::value::{number, time, url};
use conf::{Node, Result};
use net::Addr;
use shm::peers::{DOWN, DRAINING};

use super::CONF;
use crate::balance::{Dynamic, Server};
use crate::build::Builder;

/// Longest `route=`, bytes.
const ROUTE_MAX: usize = shm::sticky::SID_MAX;

/// What does not belong to the [`Server`] itself.
#[derive(Default)]
struct Resolving {
    resolve: bool,
    service: Option<Box<str>>,
}

pub(super) fn apply(cx: &mut Builder, node: &Node) -> Result<()> {
    let name = node.first();
    let no_backup = cx.conf(&CONF).no_backup;
    let mut server = Server::new(name, Vec::new());
    let mut resolving = Resolving::default();
    for at in 1..node.len() {
        parameter(node, at, no_backup, &mut server, &mut resolving)?;
    }
    address(node, name, &mut server, resolving)?;
    cx.conf(&CONF).servers.push(server);
    Ok(())
}

fn parameter(
    node: &Node,
    at: usize,
    no_backup: bool,
    server: &mut Server,
    resolving: &mut Resolving,
) -> Result<()> {
    let text = node.arg(at).unwrap_or_default();
    let invalid = || node.invalid_parameter(at);
    let count = |value: &str| number::parse(value).and_then(|n| u32::try_from(n).ok()).ok_or_else(invalid);
    match text.split_once('=') {
        Some(("weight", value)) => {
            server.weight = count(value).and_then(|n| if n == 0 { Err(invalid()) } else { Ok(n) })?;
        }
        Some(("max_conns", value)) => server.max_conns = count(value)?,
        Some(("max_fails", value)) => server.max_fails = count(value)?,
        Some(("fail_timeout", value)) => server.fail_timeout = time::parse_sec(value).ok_or_else(invalid)?,
        Some(("route", value)) => server.route = Some(route(node, value)?),
        Some(("service", "")) => return Err(node.error("service is empty")),
        Some(("service", value)) => resolving.service = Some(value.into()),
        None if text == "backup" && no_backup => {
            return Err(node.error(format!("balancing method does not support parameter \"{text}\"")));
        }
        None if text == "backup" => server.backup = true,
        None if text == "down" => server.down = DOWN,
        None if text == "drain" => server.down = DRAINING,
        None if text == "resolve" => resolving.resolve = true,
        _ => return Err(invalid()),
    }
    Ok(())
}

fn route(node: &Node, value: &str) -> Result<std::rc::Rc<[u8]>> {
    if value.is_empty() {
        return Err(node.error("route is empty"));
    }
    if value.len() > ROUTE_MAX {
        return Err(node.error(format!("route is longer than {ROUTE_MAX}")));
    }
    Ok(value.as_bytes().into())
}

/// Reads the address, and looks the host up unless that is done while serving.
fn address(node: &Node, name: &str, server: &mut Server, resolving: Resolving) -> Result<()> {
    let Resolving { resolve, service } = resolving;
    if service.is_some() && !resolve {
        return Err(node.error(format!("service upstream \"{name}\" requires \"resolve\" parameter")));
    }
    let options = url::Options { default_port: 80, no_resolve: resolve, ..url::Options::default() };
    let url =
        url::parse(name, options).map_err(|error| node.error(format!("{error} in upstream \"{name}\"")))?;
    if service.is_some() && !url.no_port {
        return Err(node.error(format!("service upstream \"{name}\" may not have port")));
    }
    if service.is_some() && !url.addresses.is_empty() {
        return Err(node.error(format!("service upstream \"{name}\" requires domain name")));
    }
    if url.addresses.is_empty() {
        let port = if service.is_some() { 0 } else { url.port };
        server.dynamic = Some(Dynamic { host: url.host.to_ascii_lowercase().into(), port, service });
    } else {
        server.addrs = url.addresses.iter().map(net_addr).collect();
    }
    Ok(())
}

fn net_addr(address: &Address) -> Addr {
    match address {
        Address::Inet(addr) => Addr::from(*addr),
        Address::Unix(path) => Addr::unix(path),
    }
}
