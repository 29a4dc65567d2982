//! Cosockets: `ngx.socket.*` and `ngx.req.socket`.
//!
//! A socket is a Lua table with our [`tcp::Tcp`] (or [`udp::Udp`]) in its first place and the methods in its metatable, as
//! libraries expect. Reading and writing are independent: one thread may wait in each.

pub mod options;
pub mod pool;
pub mod req;
pub mod tcp;
pub mod tcp_api;
pub mod udp;
pub mod until;

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use net::Addr;
use worker::request::Request;
use worker::upstream::Resolve;

use crate::runtime;

/// Where a name is looked up, or why it cannot be.
pub(crate) struct Names(Option<Rc<dyn Resolve>>);

impl Names {
    /// The resolver of the request's location, or of the http level.
    pub(crate) fn of(req: Option<&Request>) -> Self {
        let of_http = || {
            let worker = runtime::worker()?;
            let conf = worker.config.http.as_ref()?.get(&worker::modules::resolver::CONF);
            Some(Rc::clone(conf.located.as_ref()?) as Rc<dyn Resolve>)
        };
        Self(req.and_then(worker::upstream::resolver).or_else(of_http))
    }

    /// The address of `host`, which may be one already.
    ///
    /// # Errors
    /// The text the socket functions return.
    pub(crate) async fn address(&self, host: &str, port: u16) -> Result<Addr, String> {
        if let Some(ip) = conf_ip(host) {
            return Ok(SocketAddr::new(ip, port).into());
        }
        let Some(resolver) = &self.0 else {
            return Err(format!("no resolver defined to resolve \"{host}\""));
        };
        match resolver.resolve(host).await {
            Ok(ips) => match ips.first() {
                Some(ip) => Ok(SocketAddr::new(*ip, port).into()),
                None => Err(format!("{host} could not be resolved (3: Host not found)")),
            },
            Err(error) => Err(format!("{host} could not be resolved {error}")),
        }
    }
}

fn conf_ip(host: &str) -> Option<std::net::IpAddr> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse().ok()
}

/// A limit in milliseconds as the runtime takes it; 0 is none.
pub(crate) fn limit(ms: u64) -> net::Timeout {
    if ms == 0 { Duration::from_secs(u64::from(u32::MAX)).into() } else { Duration::from_millis(ms).into() }
}

/// The text for an I/O error, as cosockets return it.
pub(crate) fn error_text(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::TimedOut if error.raw_os_error().is_none() => "timeout".into(),
        ErrorKind::BrokenPipe => "closed".into(),
        _ => {
            let text = crate::text::errno_text(error);
            let mut chars = text.chars();
            chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
        }
    }
}
