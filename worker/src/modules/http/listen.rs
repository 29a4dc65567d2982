//! `listen`: addresses, their options, and which servers stand behind each.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use conf::value::addr::Address;
use conf::value::{size, time, url};
use conf::{Error, Node, Result};
use http1::RequestOptions;

use super::{SERVER, ServerConf};
use crate::build::{Builder, Conf, MergeCx};
use crate::config::{Config, Server};
use crate::connection::{Listening, ServerSet};
use crate::listener::{Keepalive, ListenAddr, ListenSpec};
use crate::locate::NameTable;
use crate::modules::ssl::{self, TICKET_ZONE_BYTES, TICKET_ZONE_NAME};
use crate::modules::v2;
use crate::settings;
use crate::zone::ZoneKind;

settings! {
    /// Settings of the `http` block as a whole.
    pub struct HttpConf, HttpSettings {
        /// `server_names_hash_bucket_size`: names are kept in hash tables that size themselves.
        server_names_hash_bucket_size: usize = 64,
        /// `server_names_hash_max_size`: see above.
        server_names_hash_max_size: usize = 512,
        /// `types_hash_bucket_size`: see above.
        types_hash_bucket_size: usize = 64,
        /// `types_hash_max_size`: see above.
        types_hash_max_size: usize = 1024,
        /// `variables_hash_bucket_size`: see above.
        variables_hash_bucket_size: usize = 64,
        /// `variables_hash_max_size`: see above.
        variables_hash_max_size: usize = 1024,
    }
}

impl Conf for HttpConf {
    fn merge(&mut self, outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        self.merge_settings(outer);
        Ok(())
    }
}

/// One `listen` directive.
#[derive(Debug, Clone)]
pub struct ListenDirective {
    /// Address and socket options.
    pub spec: ListenSpec,
    /// Socket options were given: only one server may do so for an address.
    pub has_options: bool,
    /// `default_server`.
    pub default_server: bool,
    /// `proxy_protocol`.
    pub proxy_protocol: bool,
    /// `http2`, the deprecated form of `http2 on`.
    pub http2: bool,
    /// `ssl`.
    pub secure: bool,
    /// A socket of its own was asked for although a wildcard address has the port.
    pub bind: bool,
}

impl ListenDirective {
    /// What a server without `listen` does: port 80, or 8000 when not started as root.
    pub(super) fn default_for(_cx: &Builder) -> Self {
        let port = if nix::unistd::geteuid().is_root() { 80 } else { 8000 };
        Self::at(ListenAddr::Tcp(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)))
    }

    fn at(addr: ListenAddr) -> Self {
        Self {
            spec: ListenSpec::new(addr),
            has_options: false,
            default_server: false,
            proxy_protocol: false,
            http2: false,
            secure: false,
            bind: false,
        }
    }
}

/// `listen address [options]`.
pub(super) fn apply(cx: &mut Builder, node: &Node) -> Result<()> {
    let mut directives: Vec<ListenDirective> =
        addresses(node)?.into_iter().map(ListenDirective::at).collect();
    for option in node.str_args().skip(1) {
        for directive in &mut directives {
            parse_option(node, option, directive)?;
        }
    }
    if directives.iter().any(|directive| directive.http2) {
        let text = "the \"listen ... http2\" directive is deprecated, use the \"http2\" directive instead";
        cx.warn(node.warning(text));
    }
    if directives.iter().any(|directive| directive.secure) {
        // where the keys of tickets are that all workers share
        cx.zone(node, TICKET_ZONE_NAME, Some(TICKET_ZONE_BYTES), ZoneKind::TlsSessions)?;
    }
    let conf = cx.server_conf(&SERVER);
    let listens = conf.set.listens.or_insert_with(|| Rc::from([]));
    for directive in &directives {
        if listens.iter().any(|other| other.spec.addr == directive.spec.addr) {
            return Err(node.error(format!("a duplicate listen {}", node.first())));
        }
    }
    *listens = listens.iter().cloned().chain(directives).collect();
    Ok(())
}

fn addresses(node: &Node) -> Result<Vec<ListenAddr>> {
    let text = node.first();
    let options = url::Options { default_port: 80, listen: true, ..url::Options::default() };
    let found = url::parse(text, options)
        .map_err(|error| node.error(format!("{error} in \"{text}\" of the \"listen\" directive")))?;
    let addr = |address: Address| match address {
        Address::Inet(addr) => ListenAddr::Tcp(addr),
        Address::Unix(path) => ListenAddr::Unix(path),
    };
    Ok(found.addresses.into_iter().map(addr).collect())
}

fn parse_option(node: &Node, option: &str, listen: &mut ListenDirective) -> Result<()> {
    let (name, value) = option.split_once('=').unwrap_or((option, ""));
    let spec = &mut listen.spec;
    let invalid = |what: &str| node.error(format!("invalid {what} \"{option}\""));
    let mut socket_option = true;
    match name {
        "default_server" | "default" => {
            listen.default_server = true;
            socket_option = false;
        }
        "proxy_protocol" => {
            listen.proxy_protocol = true;
            socket_option = false;
        }
        "http2" => {
            listen.http2 = true;
            socket_option = false;
        }
        "ssl" => {
            listen.secure = true;
            socket_option = false;
        }
        "bind" => listen.bind = true,
        "backlog" => {
            spec.backlog = value.parse().ok().filter(|n| *n > 0).ok_or_else(|| invalid("backlog"))?
        }
        "rcvbuf" => spec.rcvbuf = Some(size::parse_size(value).ok_or_else(|| invalid("rcvbuf"))?),
        "sndbuf" => spec.sndbuf = Some(size::parse_size(value).ok_or_else(|| invalid("sndbuf"))?),
        "fastopen" => spec.fastopen = Some(value.parse().map_err(|_| invalid("fastopen"))?),
        "deferred" => spec.deferred = true,
        "reuseport" => spec.reuseport = true,
        "ipv6only" => match value {
            "on" => spec.ipv6only = true,
            "off" => spec.ipv6only = false,
            _ => return Err(invalid("ipv6only flags")),
        },
        "so_keepalive" => {
            spec.keepalive = Some(keepalive(value).ok_or_else(|| invalid("so_keepalive value:"))?)
        }
        "quic" | "setfib" | "accept_filter" | "multipath" => {
            let module = match name {
                "quic" => "ngx_http_v3_module",
                _ => "ngx_http_core_module",
            };
            return Err(Error::unsupported(
                &node.span,
                format!(
                    "the \"{name}\" parameter of the \"listen\" directive is not supported yet ({module})"
                ),
            ));
        }
        _ => return Err(node.error(format!("invalid parameter \"{option}\""))),
    }
    if socket_option {
        listen.has_options = true;
        listen.bind = true;
    }
    Ok(())
}

fn keepalive(value: &str) -> Option<Keepalive> {
    match value {
        "on" => return Some(Keepalive::default()),
        "off" => return Some(Keepalive { off: true, ..Keepalive::default() }),
        _ => {}
    }
    let mut parts = value.split(':');
    let mut seconds = || -> Option<Option<Duration>> {
        match parts.next()? {
            "" => Some(None),
            text => Some(Some(Duration::from_secs(time::parse_sec(text)?))),
        }
    };
    let (idle, interval) = (seconds()?, seconds()?);
    let count = match parts.next()? {
        "" => None,
        text => Some(text.parse().ok()?),
    };
    let nothing = idle.is_none() && interval.is_none() && count.is_none();
    (parts.next().is_none() && !nothing).then_some(Keepalive { off: false, idle, interval, count })
}

/// All listening addresses of a configuration with the servers behind them.
///
/// An address whose port a wildcard address has too needs no socket of its own (unless options ask for one): it becomes
/// part of the wildcard's [`Listening`] and is told apart by the connection's local address, as in nginx.
pub fn listening(config: &Config) -> Result<Vec<Rc<Listening>>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for server in &config.servers {
        let conf: &ServerConf = server.confs.get(&SERVER);
        for listen in conf.listens.iter() {
            group_of(&mut groups, listen, server)?.servers.push(server);
        }
    }
    groups.iter().try_for_each(Group::check_certificates)?;
    let wildcard = |addr: &ListenAddr| matches!(addr, ListenAddr::Tcp(addr) if addr.ip().is_unspecified());
    let covered = |group: &Group<'_>, all: &[Group<'_>]| {
        let ListenAddr::Tcp(addr) = &group.listen.spec.addr else { return None };
        if group.listen.bind || addr.ip().is_unspecified() {
            return None;
        }
        all.iter().position(|other| {
            wildcard(&other.listen.spec.addr)
                && matches!(&other.listen.spec.addr, ListenAddr::Tcp(w) if w.port() == addr.port() && w.is_ipv4() == addr.is_ipv4())
        })
    };
    let owners: Vec<Option<usize>> = groups.iter().map(|group| covered(group, &groups)).collect();
    let mut specific: Vec<Vec<(IpAddr, Rc<Listening>)>> = groups.iter().map(|_| Vec::new()).collect();
    for (group, owner) in groups.iter().zip(&owners) {
        if let (Some(owner), ListenAddr::Tcp(addr)) = (owner, &group.listen.spec.addr) {
            specific[*owner].push((addr.ip(), Rc::new(group.listening(Vec::new()))));
        }
    }
    let listening = groups.iter().zip(owners).zip(specific);
    Ok(listening
        .filter(|((_, owner), _)| owner.is_none())
        .map(|((group, _), inner)| Rc::new(group.listening(inner)))
        .collect())
}

struct Group<'a> {
    listen: ListenDirective,
    default: Option<&'a Rc<Server>>,
    servers: Vec<&'a Rc<Server>>,
}

fn group_of<'a, 'g>(
    groups: &'g mut Vec<Group<'a>>,
    listen: &ListenDirective,
    server: &'a Rc<Server>,
) -> Result<&'g mut Group<'a>> {
    let addr = &listen.spec.addr;
    let at = groups.iter().position(|group| group.listen.spec.addr == *addr);
    let Some(at) = at else {
        let default = listen.default_server.then_some(server);
        groups.push(Group { listen: listen.clone(), default, servers: Vec::new() });
        return Ok(groups.last_mut().expect("pushed above"));
    };
    let group = &mut groups[at];
    if listen.has_options {
        if group.listen.has_options {
            return Err(Error::at(&server.span, format!("duplicate listen options for {addr}")));
        }
        group.listen.spec = listen.spec.clone();
        group.listen.has_options = true;
    }
    group.listen.bind |= listen.bind;
    group.listen.proxy_protocol |= listen.proxy_protocol;
    group.listen.http2 |= listen.http2;
    group.listen.secure |= listen.secure;
    if listen.default_server {
        if group.default.is_some() {
            return Err(Error::at(&server.span, format!("a duplicate default server for {addr}")));
        }
        group.default = Some(server);
    }
    Ok(group)
}

impl Group<'_> {
    /// Who listens with TLS needs a certificate: the default server, or, if that refuses all handshakes, every other one.
    fn check_certificates(&self) -> Result<()> {
        if !self.listen.secure {
            return Ok(());
        }
        let default = self.default.unwrap_or(self.servers[0]);
        let confs = |server: &Rc<Server>| {
            let conf = server.confs.get(&ssl::CONF);
            (conf.compiled().is_some(), conf.reject_handshake)
        };
        let missing = match confs(default) {
            (true, _) => None,
            (false, false) => Some(default),
            (false, true) => self.servers.iter().copied().find(|server| confs(server) == (false, false)),
        };
        match missing {
            None => Ok(()),
            Some(server) => Err(Error::at(
                &server.span,
                "no \"ssl_certificate\" is defined for the \"listen ... ssl\" directive",
            )),
        }
    }

    fn listening(&self, specific: Vec<(IpAddr, Rc<Listening>)>) -> Listening {
        let default = self.default.unwrap_or(self.servers[0]);
        let mut names = NameTable::default();
        let address = self.listen.spec.addr.to_string();
        // a lone server without patterns needs no names: every host leads to it
        let single = self.servers.len() == 1;
        for server in &self.servers {
            let conf: &ServerConf = server.confs.get(&SERVER);
            for (_, name) in conf.server_names.iter() {
                let pattern = matches!(name, crate::locate::ServerName::Regex(_));
                if single && !pattern {
                    continue;
                }
                if let Err(warning) = names.add(name, server, &address) {
                    crate::log::process(crate::log::Level::Warn, format_args!("{warning}"));
                }
            }
            if !single && conf.server_names.is_empty() {
                // a server without a name answers requests without one
                let _ = names.add(&crate::locate::ServerName::Exact(Box::default()), server, &address);
            }
        }
        let options = |server: &Server| server.confs.get(&SERVER).request_options.clone();
        let first = options(default);
        let differ = self.servers.iter().any(|server| options(server) != first);
        Listening {
            fixed: match &self.listen.spec.addr {
                ListenAddr::Tcp(addr) if !addr.ip().is_unspecified() => Some((*addr).into()),
                ListenAddr::Unix(path) => Some(net::Addr::unix(path)),
                ListenAddr::Tcp(_) => None,
            },
            spec: self.listen.spec.clone(),
            until_host: differ.then_some(RequestOptions { stop_at_host: true, ..first }),
            servers: ServerSet { default: Rc::clone(default), names },
            proxy_protocol: self.listen.proxy_protocol,
            secure: self.listen.secure,
            http2: self.listen.http2 || default.confs.get(&v2::SERVER).on,
            specific,
        }
    }
}
