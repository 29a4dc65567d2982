//! A connection to a chosen server, from the pool or new, and giving it back.

use std::rc::Rc;

use net::{Buf, ConnectOptions};

use super::pool::{Idle, Pool};
use super::retry::Failure;
use super::secure::TlsKey;
use super::{Blame, Order, Outcome, Picked, Upstream};
use crate::request::Request;
use crate::transport::Transport;

/// A chosen server while a request is talking to it. The balancer hears the end of it in any case.
pub(super) struct Choice {
    upstream: Rc<Upstream>,
    picked: Option<Picked>,
    start: net::Tick,
    pub(super) header_ms: Option<u64>,
}

impl Choice {
    pub(super) fn new(upstream: Rc<Upstream>, picked: Picked) -> Self {
        Self { upstream, picked: Some(picked), start: net::now(), header_ms: None }
    }

    pub(super) fn picked(&self) -> &Picked {
        self.picked.as_ref().expect("given back by `done` only, which consumes the choice")
    }

    /// Tells the balancer how it went.
    pub(super) fn done(mut self, req: &mut Request, blame: Blame) {
        self.give_back(Some(req), blame);
    }

    fn give_back(&mut self, req: Option<&mut Request>, blame: Blame) {
        if let Some(picked) = self.picked.take() {
            let response_ms = net::now().since(self.start).as_millis() as u64;
            let outcome = Outcome { blame, header_ms: self.header_ms, response_ms };
            self.upstream.balancer.done(req, picked, outcome);
        }
    }
}

impl Drop for Choice {
    fn drop(&mut self) {
        self.give_back(None, Blame::Unknown);
    }
}

/// A connection in use.
pub(super) struct Link {
    pub(super) stream: Transport,
    /// It served requests before, and its next receive is under way.
    pub(super) reused: bool,
    requests: u64,
    born: u64,
    tag: usize,
    /// See [`Idle::tls`]; `None` inside: it is made for one request only.
    tls: Option<TlsKey>,
    keepable: bool,
    upstream: Rc<Upstream>,
}

impl Link {
    /// A kept connection to the chosen server, if there is one.
    pub(super) fn kept(req: &mut Request, order: &Order<'_>, choice: &Choice) -> Option<Self> {
        let pool = &order.upstream.pool;
        if pool.settings().is_none() || pool.is_empty() {
            return None;
        }
        let tls = match &order.tls {
            Some(tls) if tls.is_dynamic() => return None,
            Some(tls) => Some(tls.key(&tls.name(req, &order.upstream.name))),
            None => None,
        };
        let idle = pool.take(&choice.picked().peer.addr, order.tag(), tls, net::now().0)?;
        Some(Self {
            stream: idle.stream,
            reused: true,
            requests: idle.requests + 1,
            born: idle.born,
            tag: idle.tag,
            tls,
            keepable: true,
            upstream: Rc::clone(&order.upstream),
        })
    }

    /// A new connection.
    pub(super) async fn connect(
        req: &mut Request,
        order: &Order<'_>,
        choice: &Choice,
    ) -> Result<Self, Failure> {
        let options = options(req, order);
        let addr = &choice.picked().peer.addr;
        let stream = net::connect(addr, &options).await.map_err(|error| {
            let call = if options.bind.is_some() && is_bind_error(&error) { "bind" } else { "connect" };
            Failure::io(&error, call, "connecting to upstream")
        })?;
        let (stream, tls) = match &order.tls {
            None => (Transport::Plain(stream), None),
            Some(tls) => {
                let name = tls.name(req, &order.upstream.name);
                let timeout = order.settings.connect_timeout;
                order.doing.set(super::secure::DOING);
                let secure = Box::pin(tls.secure(req, &name, stream, addr, timeout)).await?;
                (secure, Some(tls.key(&name)))
            }
        };
        Ok(Self {
            stream,
            reused: false,
            requests: 1,
            born: net::now().0,
            tag: order.tag(),
            tls,
            keepable: !order.tls.as_ref().is_some_and(|tls| tls.is_dynamic()),
            upstream: Rc::clone(&order.upstream),
        })
    }

    /// Keeps the connection for other requests; `buf` becomes the room of its next receive.
    pub(super) fn keep(self, choice: &Choice, buf: Buf) {
        let entry = Idle {
            addr: choice.picked().peer.addr.clone(),
            tag: self.tag,
            tls: self.tls,
            requests: self.requests,
            born: self.born,
            since: net::now().0,
            stream: self.stream,
        };
        Pool::put(&self.upstream, entry, buf);
    }

    /// Whether the connection is kept after its response at all.
    pub(super) fn is_keepable(&self) -> bool {
        self.keepable && self.upstream.pool.settings().is_some()
    }
}

fn is_bind_error(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::AddrNotAvailable
            | std::io::ErrorKind::AddrInUse
            | std::io::ErrorKind::InvalidInput
    )
}

/// Socket options with the local address of this request.
fn options(req: &mut Request, order: &Order<'_>) -> ConnectOptions {
    let mut options = order.settings.socket.clone();
    let Some(bind) = &order.settings.bind else { return options };
    options.transparent = bind.transparent;
    options.bind = bind.addr.clone();
    if options.bind.is_none() {
        let text = bind.text.eval(req);
        if text.is_empty() {
            return options;
        }
        let parsed = std::str::from_utf8(&text).ok().and_then(conf::value::addr::parse_ip_port);
        if parsed.is_none() {
            req.log_error(format_args!("invalid local address \"{}\"", text.escape_ascii()));
        }
        options.bind = parsed.map(net::Addr::from);
    }
    options
}
