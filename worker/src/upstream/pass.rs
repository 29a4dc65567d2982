//! Passing a request on: server after server until one answers, then its response to the client.
//!
//! ```text
//!   choose ──► connect (or kept connection) ──► send, read head ──► relay body ──► connection kept or closed
//!     ▲                                             │
//!     └───────────── another try is allowed ────────┘
//! ```
//!
//! Beside all of it somebody watches the client: when it hangs up, everything here is dropped.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use http1::ResponseHead;

use super::exchange::{Answer, NoAnswer, exchange};
use super::link::{Choice, Link};
use super::relay::{Incoming, relay};
use super::retry::{Failure, Tries, may_refresh};
use super::{Blame, Conditions, IgnoredHeaders, NoPeer, Order, Tried, respond, tunnel};
use crate::cache;
use crate::fault::{Fault, Side};
use crate::filter::Chain;
use crate::log::Level;
use crate::phase::Flow;
use crate::request::{Origin, Request};

const CONNECTING: &str = "connecting to upstream";

/// Passes `req` on as `order` says. Its head must stand in `req.upstream.request`.
pub async fn pass(req: &mut Request, order: &Order<'_>) -> Flow {
    order.doing.set(CONNECTING);
    // who waits for a subrequest's response watches the client, and drops the subrequest
    let piped = matches!(req.io, crate::io::Io::Pipe(_));
    let settings = order.settings;
    let kept = settings.store.is_some() || req.upstream.cache.as_ref().is_some_and(|using| using.cacheable);
    let behind = req.origin == Origin::Background || req.post_action;
    let unwatched = settings.ignore_client_abort || behind || piped || kept;
    let flow = if unwatched {
        server_by_server(req, order).await
    } else {
        let hung_up = pin!(req.hung_up());
        // pinned here and passed by reference: an argument would be part of the future a second time
        let flow = {
            let work = pin!(server_by_server(req, order));
            unless_hung_up(work, hung_up, order).await
        };
        match flow {
            Some(flow) => flow,
            None => client_gone(req, order),
        }
    };
    req.upstream.end();
    if let Flow::Status(status @ (502 | 504)) = flow {
        cache::remember_error(req, order, status);
    }
    req.upstream.cache = None;
    flow
}

/// Runs `work` unless the client hangs up first.
async fn unless_hung_up<F: Future>(
    mut work: Pin<&mut F>,
    mut watch: Pin<&mut impl Future<Output = ()>>,
    order: &Order<'_>,
) -> Option<F::Output> {
    poll_fn(|cx| {
        if let Poll::Ready(output) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        if order.watching.get() && watch.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        Poll::Pending
    })
    .await
}

/// The client is gone: there is nobody to answer.
fn client_gone(req: &mut Request, order: &Order<'_>) -> Flow {
    req.log(
        Level::Info,
        format_args!(
            "client prematurely closed connection, so upstream connection is closed too while {}",
            order.doing.get()
        ),
    );
    if req.out.sent { Flow::Close } else { Flow::Status(499) }
}

/// Tries servers until one answers or no further try is allowed.
async fn server_by_server(req: &mut Request, order: &Order<'_>) -> Flow {
    let mut tries = Tries::new(order);
    let mut tried = Tried::default();
    let mut new_group = !req.upstream.tries.is_empty();
    loop {
        let choice = match choose(req, order, &mut tried, new_group).await {
            Ok(choice) => choice,
            Err(flow) => {
                let instead = Box::pin(cache::failed_instead(req, order, Conditions::NO_LIVE)).await;
                return instead.unwrap_or(flow);
            }
        };
        match try_server(req, order, choice, &tries, new_group).await {
            Ok(flow) => return flow,
            Err(failure) => {
                if !failure.text.is_empty() {
                    req.log_error(format_args!("{}", failure.text));
                }
                let more = tries.failed(req, order, failure.condition);
                set_status(req, failure.condition.status());
                req.upstream.end();
                if !more {
                    if let Some(flow) = Box::pin(cache::failed_instead(req, order, failure.condition)).await {
                        return flow;
                    }
                    return Flow::Status(failure.condition.status());
                }
            }
        }
        new_group = false;
    }
}

fn set_status(req: &mut Request, status: u16) {
    if let Some(current) = req.upstream.tries.last_mut() {
        current.status = Some(status);
    }
}

async fn choose(
    req: &mut Request,
    order: &Order<'_>,
    tried: &mut Tried,
    new_group: bool,
) -> Result<Choice, Flow> {
    order.doing.set(CONNECTING);
    match order.upstream.balancer.pick(req, tried).resolve().await {
        Ok(picked) => {
            tried.peers.push(Rc::clone(&picked.peer));
            Ok(Choice::new(Rc::clone(&order.upstream), picked))
        }
        Err(NoPeer::NoneLive) => {
            begin(req, order, Rc::clone(&order.upstream.name), new_group);
            req.log_error(format_args!("no live upstreams while {CONNECTING}"));
            set_status(req, 502);
            Err(Flow::Status(Conditions::NO_LIVE.status()))
        }
        Err(NoPeer::Failed(fault)) => Err(req.fail(&fault)),
    }
}

/// A try begins: in the variables and in log lines.
fn begin(req: &mut Request, order: &Order<'_>, addr: Rc<str>, new_group: bool) {
    let upstream = &mut req.upstream;
    upstream.url.clear();
    upstream.url.push_str(order.scheme);
    upstream.url.push_str(&addr);
    upstream.url.push_str(&String::from_utf8_lossy(&upstream.request[order.target.clone()]));
    upstream.begin(addr, new_group);
}

/// Makes one try with the chosen server; twice where a kept connection was dead.
async fn try_server(
    req: &mut Request,
    order: &Order<'_>,
    choice: Choice,
    tries: &Tries,
    mut new_group: bool,
) -> Result<Flow, Failure> {
    let mut kept = Link::kept(req, order, &choice);
    loop {
        begin(req, order, Rc::clone(&choice.picked().peer.name), new_group);
        let link = match kept.take() {
            Some(link) => link,
            None => match Box::pin(Link::connect(req, order, &choice)).await {
                Ok(link) => link,
                Err(failure) => {
                    choice.done(req, Blame::Failed);
                    return Err(failure);
                }
            },
        };
        req.upstream.connected(&link.stream);
        let mut head = req.upstream.head.take().unwrap_or_default();
        let answer = exchange(req, order, &link, &mut head).await;
        let (status, keep_alive) = (head.status, head.keep_alive() || order.protocol.is_some());
        req.upstream.head = Some(head);
        match answer {
            Ok(Answer { buf, decoder, complete }) => {
                req.upstream.answered(status);
                let keepable = complete && keep_alive;
                let incoming = Incoming { link, choice, decoder, buf, keepable, saver: None, deaf: false };
                return answered(req, order, tries, incoming).await;
            }
            Err(NoAnswer::Over(fault)) => return Ok(over(req, &fault)),
            Err(NoAnswer::Failed(failure)) if failure.stale && may_refresh(req, order) => {
                req.log_error(format_args!("{}", failure.text));
                set_status(req, failure.condition.status());
                req.upstream.end();
                new_group = false;
            }
            Err(NoAnswer::Failed(failure)) => {
                choice.done(req, if failure.stale { Blame::Unknown } else { Blame::Failed });
                return Err(failure);
            }
        }
    }
}

/// The request ends through no fault of the server.
fn over(req: &mut Request, fault: &Fault) -> Flow {
    req.upstream.end();
    req.fail(fault)
}

/// A head was read: another server, a page of ours, or the client.
async fn answered(
    req: &mut Request,
    order: &Order<'_>,
    tries: &Tries,
    mut incoming: Incoming,
) -> Result<Flow, Failure> {
    let head = req.upstream.head.take().unwrap_or_default();
    incoming.choice.header_ms = req.upstream.tries.last().and_then(|current| current.header_ms);
    cache::note_head(req, order, &head);
    let condition = Conditions::of_status(head.status);
    if let Some(condition) = condition
        && tries.may_skip(req, order, condition)
    {
        req.upstream.head = Some(head);
        let next = matches!(condition, Conditions::HTTP_403 | Conditions::HTTP_404);
        incoming.choice.done(req, if next { Blame::Next } else { Blame::Failed });
        return Err(Failure::new(condition, ""));
    }
    if order.settings.cache.is_some()
        && let Some(flow) = Box::pin(cache::answered_instead(req, order, head.status, condition)).await
    {
        set_aside(req, incoming);
        return Ok(flow);
    }
    let diverted = respond::divert(req, order, &head);
    if let Some(Flow::Status(status)) = diverted {
        cache::remember_error(req, order, status);
    }
    if diverted.is_none() {
        respond::fill(req, order, &head);
    }
    let buffering = buffering(order, &head);
    req.upstream.head = Some(head);
    if let Some(flow) = diverted {
        set_aside(req, incoming);
        return Ok(flow);
    }
    order.upstream.balancer.header(req, incoming.choice.picked());
    Ok(match deliver(req, order, buffering, incoming).await {
        Ok(()) => Flow::Finish,
        Err(fault) => cut(req, &fault),
    })
}

/// The response is not passed on: its connection can be kept only if it has no body.
fn set_aside(req: &mut Request, incoming: Incoming) {
    let Incoming { link, choice, mut decoder, buf, keepable, .. } = incoming;
    super::relay::log_messages(req, &decoder.messages());
    req.upstream.end();
    if keepable
        && decoder.is_end()
        && decoder.is_reusable()
        && buf.is_empty()
        && link.is_keepable()
        && !req.worker.is_draining()
    {
        link.keep(&choice, buf);
    }
    choice.done(req, Blame::None);
}

/// Passes a response on whose head is filled in.
async fn deliver(
    req: &mut Request,
    order: &Order<'_>,
    buffering: bool,
    mut incoming: Incoming,
) -> Result<(), Fault> {
    if req.out.status == 101 {
        req.keepalive = false;
        req.send_header().await?;
        let Incoming { link, choice, buf, .. } = incoming;
        let result = Box::pin(tunnel::tunnel(req, order, &link, buf)).await;
        choice.done(req, Blame::None);
        return result;
    }
    if let Err(fault) = req.send_header().await {
        set_aside(req, incoming);
        return Err(fault);
    }
    if buffering && (order.settings.cache.is_some() || order.settings.store.is_some()) {
        incoming.saver = Box::pin(cache::saver(req, order)).await;
    }
    if let Some(using) = &mut req.upstream.cache {
        using.give_up();
    }
    if req.header_only {
        if incoming.saver.is_none() {
            set_aside(req, incoming);
            return req.output(Chain::end()).await;
        }
        // the head was all the client wanted; the body is for the file
        incoming.deaf = true;
    }
    relay(req, order, buffering, incoming).await
}

/// `proxy_buffering`, unless `X-Accel-Buffering` says otherwise.
fn buffering(order: &Order<'_>, head: &ResponseHead) -> bool {
    if order.settings.ignore.contains(IgnoredHeaders::X_ACCEL_BUFFERING) {
        return order.settings.buffering;
    }
    match head.headers.get(b"X-Accel-Buffering") {
        Some(value) if value.eq_ignore_ascii_case(b"no") => false,
        Some(value) if value.eq_ignore_ascii_case(b"yes") => true,
        _ => order.settings.buffering,
    }
}

/// Part of the response is out: the client sees that the rest is missing.
fn cut(req: &mut Request, fault: &Fault) -> Flow {
    req.upstream.end();
    let level = if fault.side == Side::Client { Level::Info } else { Level::Error };
    req.log(level, format_args!("{fault}"));
    if req.out.sent {
        req.keepalive = false;
        return Flow::Close;
    }
    Flow::Status(if fault.status == 0 { 502 } else { fault.status })
}
