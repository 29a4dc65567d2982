//! Addresses as directives give them: `listen`, `server` of an upstream, `resolver`, the host of a
//! `proxy_pass`.
//!
//! One reader for all, with switches, as in nginx: `127.0.0.1:80`, `*:80`, `80`, `8000-8010`, `[::1]:80`,
//! `localhost`, `unix:/path`, and with a URI behind: `host:80/uri`, `unix:/path:/uri`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::addr::{self, Address, Hosts, SystemHosts, UNIX_PATH_BYTES_MAX};
use super::number;

/// How to read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The port when none is given.
    pub default_port: u16,
    /// Listening addresses: a bare port, `*` and port ranges are allowed.
    pub listen: bool,
    /// A URI may follow the address.
    pub uri_part: bool,
    /// Host names are left unresolved.
    pub no_resolve: bool,
}

/// What is wrong, in nginx's words (`host not found`, `invalid port`); the directive adds ` in "TEXT"…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UrlError(pub &'static str);

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for UrlError {}

/// An address and what stood around it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Url {
    /// The host as written, IPv6 in brackets; the path of a unix socket; "" for a bare port.
    pub host: String,
    /// The port, or the default port.
    pub port: u16,
    /// Last port of a range.
    pub last_port: Option<u16>,
    /// The port as written, "" when there was none.
    pub port_text: String,
    /// What followed the address.
    pub uri: String,
    /// There was no port.
    pub no_port: bool,
    /// The address is that of all interfaces.
    pub wildcard: bool,
    /// The addresses, one for each port of a range and each address of a host; none for a host name that was
    /// not to be resolved.
    pub addresses: Vec<Address>,
}

/// Reads `text`, resolving host names with the system's resolver.
///
/// # Errors
/// See [`UrlError`].
pub fn parse(text: &str, options: Options) -> Result<Url, UrlError> {
    parse_with(text, options, &SystemHosts)
}

/// Like [`parse`], with another resolver.
///
/// # Errors
/// See [`UrlError`].
pub fn parse_with(text: &str, options: Options, hosts: &dyn Hosts) -> Result<Url, UrlError> {
    match text.get(..5) {
        Some(scheme) if scheme.eq_ignore_ascii_case("unix:") => unix(&text[5..], options),
        _ if text.starts_with('[') => inet6(text, options),
        _ => inet(text, options, hosts),
    }
}

fn unix(rest: &str, options: Options) -> Result<Url, UrlError> {
    let (path, uri) = match rest.split_once(':') {
        Some((path, uri)) if options.uri_part => (path, uri),
        _ => (rest, ""),
    };
    if path.is_empty() {
        return Err(UrlError("no path in the unix domain socket"));
    }
    if path.len() > UNIX_PATH_BYTES_MAX {
        return Err(UrlError("too long path in the unix domain socket"));
    }
    Ok(Url {
        host: path.to_owned(),
        uri: uri.to_owned(),
        addresses: vec![Address::Unix(PathBuf::from(path))],
        ..Url::default()
    })
}

fn inet6(text: &str, options: Options) -> Result<Url, UrlError> {
    let invalid = Err(UrlError("invalid host"));
    let Some((host, after)) = text[1..].split_once(']') else { return invalid };
    let (port, uri) = match after.find('/') {
        Some(_) if options.listen || !options.uri_part => return invalid,
        Some(at) => after.split_at(at),
        None => (after, ""),
    };
    let mut url = Url { uri: uri.to_owned(), host: format!("[{host}]"), ..Url::default() };
    if port.is_empty() {
        url.no_port = true;
        url.port = options.default_port;
    } else {
        let Some(port) = port.strip_prefix(':') else { return invalid };
        url.set_port(port, options)?;
    }
    if host.is_empty() {
        return Err(UrlError("no host"));
    }
    let ip = addr::parse_ipv6(host).ok_or(UrlError("invalid IPv6 address"))?;
    url.add(IpAddr::V6(ip));
    Ok(url)
}

fn inet(text: &str, options: Options, hosts: &dyn Hosts) -> Result<Url, UrlError> {
    let (before, uri) = match text.find(['/', '?']) {
        Some(_) if options.listen || !options.uri_part => return Err(UrlError("invalid host")),
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let mut url = Url { uri: uri.to_owned(), ..Url::default() };
    let host = match before.split_once(':') {
        Some((host, port)) => {
            url.set_port(port, options)?;
            host
        }
        None => {
            if options.listen && url.set_bare_port(before)? {
                url.add(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
                return Ok(url);
            }
            url.no_port = true;
            url.port = options.default_port;
            before
        }
    };
    if host.is_empty() {
        return Err(UrlError("no host"));
    }
    url.host = host.to_owned();
    if options.listen && host == "*" {
        url.add(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    } else if let Some(ip) = addr::parse_ipv4(host) {
        url.add(IpAddr::V4(ip));
    } else if !options.no_resolve {
        let addresses = hosts.resolve(host).map_err(|_| UrlError("host not found"))?;
        addresses.into_iter().for_each(|ip| url.add(ip));
        if url.addresses.is_empty() {
            return Err(UrlError("host not found"));
        }
        url.wildcard = url.addresses[0].is_wildcard();
    }
    Ok(url)
}

impl Url {
    /// Reads the text after the colon.
    fn set_port(&mut self, text: &str, options: Options) -> Result<(), UrlError> {
        let invalid = UrlError("invalid port");
        let first = match text.split_once('-') {
            Some((first, last)) if options.listen => {
                self.last_port = Some(addr::parse_port(last).ok_or(invalid)?);
                first
            }
            _ => text,
        };
        self.port = addr::parse_port(first).ok_or(invalid)?;
        self.check_range()?;
        self.port_text = text.to_owned();
        Ok(())
    }

    /// Reads text that may be a port or a range without a host; false when it is a host.
    fn set_bare_port(&mut self, text: &str) -> Result<bool, UrlError> {
        let (first, last) = match text.split_once('-') {
            Some((first, last)) => (first, Some(last)),
            None => (text, None),
        };
        let numeric = |text: &str| number::parse(text).is_some();
        if !numeric(first) || !last.is_none_or(numeric) {
            return Ok(false);
        }
        let invalid = UrlError("invalid port");
        if let Some(last) = last {
            self.last_port = Some(addr::parse_port(last).ok_or(invalid)?);
        }
        self.port = addr::parse_port(first).ok_or(invalid)?;
        self.check_range()?;
        self.port_text = text.to_owned();
        Ok(true)
    }

    fn check_range(&self) -> Result<(), UrlError> {
        match self.last_port {
            Some(last) if self.port > last => Err(UrlError("invalid port range")),
            _ => Ok(()),
        }
    }

    /// Adds an address once for each port.
    fn add(&mut self, ip: IpAddr) {
        self.wildcard |= ip.is_unspecified();
        for port in self.port..=self.last_port.unwrap_or(self.port) {
            self.addresses.push(Address::Inet(SocketAddr::new(ip, port)));
        }
    }
}
