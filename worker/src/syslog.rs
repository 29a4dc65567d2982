//! Logging to a syslog server over UDP or a unix datagram socket: `syslog:server=host[:port],facility=…,severity=…,tag=…,nohostname`.

use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::rc::Rc;

use chrono::Local;
use conf::{Node, Result};

use crate::log::Level;

/// A syslog destination. Sending never blocks and never fails the service: a datagram that cannot go is dropped.
pub struct Syslog {
    server: Server,
    facility: u8,
    severity: Option<u8>,
    tag: Box<str>,
    hostname: bool,
    /// Made when it is first needed, and again after an error.
    socket: RefCell<Option<Socket>>,
}

enum Server {
    Udp(SocketAddr),
    Unix(PathBuf),
}

enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "intern", "lpr", "news", "uucp", "clock", "authpriv", "ftp",
    "ntp", "audit", "alert", "cron", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
];
const SEVERITIES: [&str; 8] = ["emerg", "alert", "crit", "error", "warn", "notice", "info", "debug"];
const PORT_DEFAULT: u16 = 514;
const TAG_BYTES_MAX: usize = 32;

impl Syslog {
    /// Reads the options behind `syslog:`.
    pub fn parse(node: &Node, options: &str) -> Result<Self> {
        let mut server = None;
        let mut this = Self {
            server: Server::Unix(PathBuf::new()),
            facility: 23,
            severity: None,
            tag: "nginx".into(),
            hostname: true,
            socket: RefCell::new(None),
        };
        for option in options.split(',') {
            match option.split_once('=') {
                Some(("server", value)) if server.is_none() => server = Some(parse_server(node, value)?),
                Some(("server", _)) => return Err(node.error("duplicate syslog \"server\"")),
                Some(("facility", value)) => {
                    let at = FACILITIES.iter().position(|name| *name == value);
                    let unknown = || node.error(format!("unknown syslog facility \"{value}\""));
                    this.facility = at.ok_or_else(unknown)? as u8;
                }
                Some(("severity", value)) => {
                    let at = SEVERITIES.iter().position(|name| *name == value);
                    let unknown = || node.error(format!("unknown syslog severity \"{value}\""));
                    this.severity = Some(at.ok_or_else(unknown)? as u8);
                }
                Some(("tag", value)) => this.tag = parse_tag(node, value)?,
                None if option == "nohostname" => this.hostname = false,
                _ => return Err(node.error(format!("unknown syslog parameter \"{option}\""))),
            }
        }
        this.server = server.ok_or_else(|| node.error("no syslog server specified"))?;
        Ok(this)
    }

    /// Sends one line of the error log, whose level is the severity.
    pub fn send(&self, level: Level, line: &[u8]) {
        // a log server that is away cannot be complained about to itself
        let _ = self.send_at((level as u8).saturating_sub(1).min(7), line);
    }

    /// Sends one line of an access log, at `info` unless configured otherwise.
    ///
    /// # Errors
    /// The line could not be sent, and is lost.
    pub fn send_access(&self, line: &[u8]) -> io::Result<()> {
        self.send_at(self.severity.unwrap_or(6), line)
    }

    fn send_at(&self, severity: u8, message: &[u8]) -> io::Result<()> {
        let priority = u32::from(self.facility) * 8 + u32::from(severity);
        let stamp = Local::now().format("%b %e %H:%M:%S");
        let mut packet = if self.hostname {
            format!("<{priority}>{stamp} {} {}: ", hostname(), self.tag).into_bytes()
        } else {
            format!("<{priority}>{stamp} {}: ", self.tag).into_bytes()
        };
        packet.extend_from_slice(message);
        let mut socket = self.socket.borrow_mut();
        let open = match &*socket {
            Some(open) => open,
            None => socket.insert(self.connect()?),
        };
        let sent = match open {
            Socket::Udp(socket) => socket.send(&packet),
            Socket::Unix(socket) => socket.send(&packet),
        };
        if sent.is_err() {
            // a unix server that was started again has a new socket under the old name
            *socket = None;
        }
        sent.map(drop)
    }

    fn connect(&self) -> io::Result<Socket> {
        Ok(match &self.server {
            Server::Udp(addr) => {
                let any: SocketAddr =
                    if addr.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
                let socket = UdpSocket::bind(any)?;
                socket.connect(addr)?;
                socket.set_nonblocking(true)?;
                Socket::Udp(socket)
            }
            Server::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                socket.set_nonblocking(true)?;
                Socket::Unix(socket)
            }
        })
    }
}

fn parse_server(node: &Node, value: &str) -> Result<Server> {
    if let Some(path) = value.strip_prefix("unix:") {
        return Ok(Server::Unix(path.into()));
    }
    let addr = value.to_socket_addrs().ok().or_else(|| (value, PORT_DEFAULT).to_socket_addrs().ok());
    let addr = addr.and_then(|mut addrs| addrs.next());
    addr.map(Server::Udp).ok_or_else(|| node.error(format!("host not found in syslog server \"{value}\"")))
}

fn parse_tag(node: &Node, value: &str) -> Result<Box<str>> {
    if value.is_empty() {
        return Err(node.error("empty syslog tag"));
    }
    if value.len() > TAG_BYTES_MAX {
        return Err(node.error("syslog tag length exceeds 32"));
    }
    if !value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Err(node.error("syslog \"tag\" only allows alphanumeric characters and underscore"));
    }
    Ok(value.into())
}

/// The machine's name in lower case, as nginx sends it.
fn hostname() -> Rc<str> {
    thread_local! {
        static NAME: Rc<str> = nix::unistd::gethostname()
            .ok()
            .and_then(|name| name.into_string().ok())
            .unwrap_or_default()
            .to_ascii_lowercase()
            .into();
    }
    NAME.with(Rc::clone)
}
