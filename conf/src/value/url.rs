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

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    struct Table;

    impl Hosts for Table {
        fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
            match name {
                "two" => Ok(vec!["10.0.0.1".parse().unwrap(), "::5".parse().unwrap()]),
                "any" => Ok(vec!["0.0.0.0".parse().unwrap()]),
                _ => Err(io::ErrorKind::NotFound.into()),
            }
        }
    }

    const LISTEN: Options = Options { default_port: 80, listen: true, uri_part: false, no_resolve: false };
    const UPSTREAM: Options = Options { default_port: 80, listen: false, uri_part: false, no_resolve: false };
    const PROXY: Options = Options { default_port: 80, listen: false, uri_part: true, no_resolve: true };

    /// `HOST|PORT|URI|ADDRESSES`, then `*` for all interfaces and `-` for no port.
    fn show(text: &str, options: Options) -> Result<String, &'static str> {
        let url = parse_with(text, options, &Table).map_err(|error| error.0)?;
        let addresses: Vec<_> = url.addresses.iter().map(Address::to_string).collect();
        let marks = [(url.wildcard, "*"), (url.no_port, "-")];
        let marks: String = marks.iter().filter(|(on, _)| *on).map(|(_, mark)| *mark).collect();
        Ok(format!("{}|{}|{}|{}{marks}", url.host, url.port, url.uri, addresses.join(" ")))
    }

    #[test]
    fn listening() {
        let cases = [
            ("80", Ok("|80||0.0.0.0:80*")),
            ("*:80", Ok("*|80||0.0.0.0:80*")),
            ("*", Ok("*|80||0.0.0.0:80*-")),
            ("127.0.0.1", Ok("127.0.0.1|80||127.0.0.1:80-")),
            ("127.0.0.1:8080", Ok("127.0.0.1|8080||127.0.0.1:8080")),
            ("0.0.0.0:1", Ok("0.0.0.0|1||0.0.0.0:1*")),
            ("[::]:80", Ok("[::]|80||[::]:80*")),
            ("[::1]", Ok("[::1]|80||[::1]:80-")),
            ("8000-8002", Ok("|8000||0.0.0.0:8000 0.0.0.0:8001 0.0.0.0:8002*")),
            ("127.0.0.1:81-82", Ok("127.0.0.1|81||127.0.0.1:81 127.0.0.1:82")),
            ("[::1]:65534-65535", Ok("[::1]|65534||[::1]:65534 [::1]:65535")),
            ("two:1-2", Ok("two|1||10.0.0.1:1 10.0.0.1:2 [::5]:1 [::5]:2")),
            ("any", Ok("any|80||0.0.0.0:80*-")),
            ("unix:/a/b", Ok("/a/b|0||unix:/a/b")),
            ("UNIX:/a:b", Ok("/a:b|0||unix:/a:b")),
            ("0", Err("invalid port")),
            ("65536", Err("invalid port")),
            ("1-65536", Err("invalid port")),
            ("0-5", Err("invalid port")),
            ("5-4", Err("invalid port range")),
            ("127.0.0.1:5-4", Err("invalid port range")),
            ("127.0.0.1:", Err("invalid port")),
            ("127.0.0.1:x", Err("invalid port")),
            ("127.0.0.1:1-", Err("invalid port")),
            (":80", Err("no host")),
            ("", Err("no host")),
            ("127.0.0.1:80/x", Err("invalid host")),
            ("host?x", Err("invalid host")),
            ("[::1]:80/", Err("invalid host")),
            ("[::1", Err("invalid host")),
            ("[::1]x", Err("invalid host")),
            ("[]:80", Err("no host")),
            ("[x]:80", Err("invalid IPv6 address")),
            ("unix:", Err("no path in the unix domain socket")),
            ("a-b", Err("host not found")),
            ("80-b", Err("host not found")),
            ("nowhere:80", Err("host not found")),
        ];
        for (text, expected) in cases {
            assert_eq!(show(text, LISTEN), expected.map(str::to_owned), "{text:?}");
        }
    }

    #[test]
    fn upstream_servers() {
        let cases = [
            ("two", Ok("two|80||10.0.0.1:80 [::5]:80-")),
            ("two:8080", Ok("two|8080||10.0.0.1:8080 [::5]:8080")),
            ("80", Err("host not found")),
            ("*:80", Err("host not found")),
            ("127.0.0.1:80-81", Err("invalid port")),
            ("127.0.0.1/x", Err("invalid host")),
        ];
        for (text, expected) in cases {
            assert_eq!(show(text, UPSTREAM), expected.map(str::to_owned), "{text:?}");
        }
    }

    #[test]
    fn proxied() {
        let cases = [
            ("host", Ok("host|80||-")),
            ("host:81/a?b", Ok("host|81|/a?b|")),
            ("host/a:b", Ok("host|80|/a:b|-")),
            ("host?a/b", Ok("host|80|?a/b|-")),
            ("127.0.0.1/", Ok("127.0.0.1|80|/|127.0.0.1:80-")),
            ("[::1]:81/x", Ok("[::1]|81|/x|[::1]:81")),
            ("unix:/s:/uri", Ok("/s|0|/uri|unix:/s")),
            ("unix:/s", Ok("/s|0||unix:/s")),
            ("unix::/uri", Err("no path in the unix domain socket")),
            ("/uri", Err("no host")),
            ("host:0/", Err("invalid port")),
        ];
        for (text, expected) in cases {
            assert_eq!(show(text, PROXY), expected.map(str::to_owned), "{text:?}");
        }
    }

    #[test]
    fn unix_paths_are_limited() {
        let fits = format!("unix:/{}", "s".repeat(UNIX_PATH_BYTES_MAX - 1));
        assert!(show(&fits, LISTEN).is_ok());
        assert_eq!(show(&(fits + "s"), LISTEN), Err("too long path in the unix domain socket"));
    }
}
