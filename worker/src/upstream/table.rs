//! Upstream groups by name.

use std::net::IpAddr;
use std::rc::Rc;

use conf::value::addr::Address;
use conf::value::url::{self, Url};
use conf::{Error, Result, Span};
use net::Addr;

use super::Balancer;
use super::pool::{Keepalive, Pool};
use crate::balance::Group;

/// A group of servers.
pub struct Upstream {
    /// The name: of the `upstream` block, or the host of the address.
    pub name: Rc<str>,
    /// Chooses among its servers.
    pub balancer: Rc<dyn Balancer>,
    /// Idle connections.
    pub pool: Pool,
}

impl Upstream {
    /// A group that keeps connections as `keepalive` says; `None`: it closes each after its response.
    pub fn new(name: &str, balancer: Rc<dyn Balancer>, keepalive: Option<Keepalive>) -> Self {
        Self { name: name.into(), balancer, pool: Pool::new(keepalive) }
    }

    /// A group of these addresses, in turns.
    pub fn of_addresses(host: &str, server: &str, addresses: &[Address]) -> Self {
        let group = Group::of_addresses(host.into(), server, addresses.iter().map(net_addr).collect());
        Self::new(host, Rc::new(group), None)
    }

    /// A group made for one request: the addresses a name resolved to.
    pub fn of_ips(host: &str, port: u16, ips: &[IpAddr]) -> Self {
        let addresses: Vec<_> = ips.iter().map(|ip| Address::Inet((*ip, port).into())).collect();
        Self::of_addresses(host, host, &addresses)
    }
}

fn net_addr(address: &Address) -> Addr {
    match address {
        Address::Inet(addr) => Addr::from(*addr),
        Address::Unix(path) => Addr::unix(path),
    }
}

/// All groups of a configuration.
#[derive(Default, Clone)]
pub struct UpstreamTable {
    entries: Vec<Entry>,
}

#[derive(Clone)]
struct Entry {
    upstream: Rc<Upstream>,
    /// Made by an `upstream` block.
    explicit: bool,
    /// 0 for `upstream` blocks and unix sockets.
    port: u16,
    span: Span,
}

impl UpstreamTable {
    /// Registers an `upstream` block when its directives have been read.
    pub fn add(&mut self, span: &Span, upstream: Rc<Upstream>) -> Result<()> {
        if self.explicit(&upstream.name).is_some() {
            return Err(Error::at(span, format!("duplicate upstream \"{}\"", upstream.name)));
        }
        self.entries.push(Entry { upstream, explicit: true, port: 0, span: span.clone() });
        Ok(())
    }

    /// The `upstream` block called `name`, in any case.
    pub fn explicit(&self, name: &str) -> Option<&Rc<Upstream>> {
        let found = |entry: &&Entry| entry.explicit && entry.upstream.name.eq_ignore_ascii_case(name);
        self.entries.iter().find(found).map(|entry| &entry.upstream)
    }

    /// The group for what a directive at `span` passes requests to: an `upstream` block, or one made of the addresses of
    /// the host. Called when all blocks are registered.
    pub fn for_url(&mut self, span: &Span, url: &Url) -> Result<Rc<Upstream>> {
        if let Some(found) = self.entries.iter().find(|entry| entry.explicit && entry.names(&url.host)) {
            if !url.no_port && url.port != 0 {
                let text =
                    format!("upstream \"{}\" may not have port {} in {}", url.host, url.port, found.span);
                return Err(Error::at(span, text));
            }
            return Ok(Rc::clone(&found.upstream));
        }
        if let Some(entry) =
            self.entries.iter().find(|entry| entry.port == url.port && entry.names(&url.host))
        {
            return Ok(Rc::clone(&entry.upstream));
        }
        let server =
            if url.port == 0 { format!("unix:{}", url.host) } else { format!("{}:{}", url.host, url.port) };
        let addresses = if url.addresses.is_empty() { resolve(span, url)? } else { url.addresses.clone() };
        let upstream = Rc::new(Upstream::of_addresses(&url.host, &server, &addresses));
        let entry =
            Entry { upstream: Rc::clone(&upstream), explicit: false, port: url.port, span: span.clone() };
        self.entries.push(entry);
        Ok(upstream)
    }

    /// The group a name from variables stands for: `host` matches, and the port is the group's (any when no port was
    /// given and the group is an `upstream` block).
    pub fn find(&self, host: &str, port: u16, no_port: bool) -> Option<&Rc<Upstream>> {
        let fits = |entry: &&Entry| ((entry.port == 0 && no_port) || entry.port == port) && entry.names(host);
        self.entries.iter().find(fits).map(|entry| &entry.upstream)
    }

    /// All groups with the span of the block or directive that made them.
    pub fn iter(&self) -> impl Iterator<Item = (&Rc<Upstream>, &Span)> {
        self.entries.iter().map(|entry| (&entry.upstream, &entry.span))
    }
}

impl Entry {
    fn names(&self, host: &str) -> bool {
        self.upstream.name.eq_ignore_ascii_case(host)
    }
}

fn resolve(span: &Span, url: &Url) -> Result<Vec<Address>> {
    let text = format!("{}:{}", url.host, url.port);
    let options = url::Options { default_port: url.port, ..url::Options::default() };
    match url::parse(&text, options) {
        Ok(found) => Ok(found.addresses),
        Err(error) => Err(Error::at(span, format!("{error} in upstream \"{}\"", url.host))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        let options =
            url::Options { default_port: 80, uri_part: true, no_resolve: true, ..url::Options::default() };
        url::parse(text, options).unwrap()
    }

    #[test]
    fn blocks_come_before_hosts() {
        let span = Span::new("nginx.conf", 7);
        let mut table = UpstreamTable::default();
        let block = Rc::new(Upstream::of_addresses("Backend", "x", &url("127.0.0.1:81").addresses));
        table.add(&span, Rc::clone(&block)).unwrap();
        assert!(table.add(&span, Rc::clone(&block)).is_err());
        assert!(Rc::ptr_eq(&table.for_url(&span, &url("backend")).unwrap(), &block));
        let error = table.for_url(&span, &url("backend:8080")).err().unwrap().to_string();
        assert!(error.contains("upstream \"backend\" may not have port 8080 in nginx.conf:7"), "{error}");
        let implicit = table.for_url(&span, &url("127.0.0.1:8080")).unwrap();
        assert!(Rc::ptr_eq(&table.for_url(&span, &url("127.0.0.1:8080")).unwrap(), &implicit));
        assert!(Rc::ptr_eq(table.find("127.0.0.1", 8080, false).unwrap(), &implicit));
        assert!(table.find("127.0.0.1", 80, true).is_none());
        assert!(Rc::ptr_eq(table.find("backend", 80, true).unwrap(), &block));
        assert!(table.find("backend", 80, false).is_none());
    }
}
