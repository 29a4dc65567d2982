//! The body of a response on its way from the server to the client.
//!
//! A body that came with its head is passed on in one piece with it. Otherwise two parts run side by side in one task:
//! one receives and fills a [`Spool`], the other sends what is in it. While the client keeps up they take turns, so that
//! each receive finds much data and each send carries much; when a send does not end at once, the server is read on into
//! memory and then into a file (`proxy_buffering on`). Without buffering they take turns always.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http1::Headers;
use net::{Buf, Timeout};

use super::decode::{Rest, strip};
use super::link::{Choice, Link};
use super::protocol::Decoder;
use super::spool::Spool;
use super::{Blame, Order};
use crate::cache::Saver;
use crate::fault::{Fault, Kind, Side};
use crate::filter::Chain;
use crate::log::Level;
use crate::request::Request;
use crate::transport::Transport;

pub(super) const READING: &str = "reading upstream";

/// Buffer for the rest of a body, by how much is known to come: smallest and largest, and for unknown lengths.
const ROOM_MIN: usize = 4 * 1024;
const ROOM_MAX: usize = 256 * 1024;
const ROOM_UNKNOWN: usize = 64 * 1024;

/// A response whose head was passed on.
pub(super) struct Incoming {
    pub(super) link: Link,
    pub(super) choice: Choice,
    pub(super) decoder: Decoder,
    /// What came behind the head.
    pub(super) buf: Buf,
    /// The connection may be kept when the body ends where it should.
    pub(super) keepable: bool,
    /// Writes the body to a file.
    pub(super) saver: Option<Saver>,
    /// Nobody but the saver wants the body.
    pub(super) deaf: bool,
}

/// What is left of a response when its last byte was received.
struct Ended {
    trailers: Option<Headers>,
    /// What was wrong with it although it is complete.
    complaint: Option<&'static str>,
    /// What the server said besides.
    messages: Vec<String>,
    choice: Choice,
}

/// Passes the body on. An error says that it was cut, and why.
pub(super) async fn relay(
    req: &mut Request,
    order: &Order<'_>,
    buffering: bool,
    mut incoming: Incoming,
) -> Result<(), Fault> {
    order.doing.set(READING);
    let rest = match strip(&mut incoming.buf, &mut incoming.decoder) {
        Ok(rest) => rest,
        Err(error) => return Err(invalid(req, &mut incoming, &error)),
    };
    set_length(req, incoming.buf.len() as u64);
    if rest.end {
        return whole(req, order, incoming, &rest).await;
    }
    if incoming.deaf {
        req.output(Chain { flush: true, ..Chain::end() }).await?;
    }
    if let Some(error) = rest.broken {
        if !incoming.deaf {
            let mut chain = Chain::more(std::mem::take(&mut incoming.buf).freeze());
            chain.flush = true;
            req.output(chain).await?;
        }
        return Err(invalid(req, &mut incoming, &error));
    }
    // boxed: most responses end above, and their futures are to stay small
    if buffering {
        Box::pin(buffered(req, order, incoming)).await
    } else {
        Box::pin(unbuffered(req, order, incoming)).await
    }
}

/// Notes how much of the body was received.
fn set_length(req: &mut Request, bytes: u64) {
    if let Some(current) = req.upstream.tries.last_mut() {
        current.response_length = bytes;
    }
}

/// The whole body is here: it leaves with the head.
async fn whole(
    req: &mut Request,
    order: &Order<'_>,
    mut incoming: Incoming,
    rest: &Rest,
) -> Result<(), Fault> {
    if rest.extra > 0 {
        log_extra(req, &incoming.decoder);
    }
    log_messages(req, &incoming.decoder.messages());
    take_trailers(req, order, incoming.decoder.trailers());
    let buf = std::mem::take(&mut incoming.buf);
    if incoming.saver.is_some() {
        Box::pin(async {
            Saver::add(&mut incoming.saver, Bytes::copy_from_slice(&buf)).await;
            Saver::complete(incoming.saver.take()).await;
        })
        .await;
    }
    let keep = incoming.keepable && rest.extra == 0 && incoming.decoder.is_reusable();
    if incoming.deaf {
        finish(req, incoming, keep, buf);
        return req.output(Chain::end()).await;
    }
    if req.output_copied(&buf, true) {
        finish(req, incoming, keep, buf);
        return Ok(());
    }
    finish(req, incoming, keep, Buf::new());
    req.output(Chain::last(buf.freeze())).await
}

/// The response is complete: the connection is kept or closed, and the balancer hears of it.
fn finish(req: &mut Request, incoming: Incoming, keep: bool, buf: Buf) {
    let Incoming { link, choice, .. } = incoming;
    req.upstream.end();
    release(link, &choice, keep && !req.worker.is_draining(), buf);
    choice.done(req, Blame::None);
}

fn release(link: Link, choice: &Choice, keep: bool, buf: Buf) {
    if keep && link.is_keepable() {
        let buf = if buf.capacity() > 0 && buf.capacity() <= ROOM_UNKNOWN {
            buf
        } else {
            Buf::with_capacity(ROOM_MIN)
        };
        link.keep(choice, buf);
    }
}

fn log_extra(req: &Request, decoder: &Decoder) {
    req.log(Level::Warn, format_args!("{} while {READING}", decoder.complaint()));
}

/// Logs what the server said besides its response.
pub(super) fn log_messages(req: &Request, messages: &[String]) {
    messages.iter().for_each(|message| req.log_error(format_args!("{message} while {READING}")));
}

/// Trailer fields go to the client with `proxy_pass_trailers`, and into `$upstream_trailer_*`.
fn take_trailers(req: &mut Request, order: &Order<'_>, trailers: Option<&Headers>) {
    let Some(trailers) = trailers.filter(|trailers| !trailers.is_empty()) else { return };
    if !order.settings.pass_trailers {
        return;
    }
    req.upstream.trailers.copy_from(trailers);
    let hidden = &order.settings.hidden;
    req.out.trailers.append_where(trailers, |known, name, _| !hidden.contains(known, name));
}

/// The body breaks its framing.
fn invalid(req: &mut Request, incoming: &mut Incoming, error: &str) -> Fault {
    incoming.keepable = false;
    req.upstream.end();
    bad_framing(error)
}

fn bad_framing(error: &str) -> Fault {
    Fault::new(Side::Upstream, Kind::Protocol, 502, format!("{error} while {READING}"))
}

/// The server is gone or too slow.
fn broken(error: &io::Error) -> Fault {
    if error.kind() == io::ErrorKind::TimedOut && error.raw_os_error().is_none() {
        let text = format!("upstream timed out (110: Connection timed out) while {READING}");
        return Fault::new(Side::Upstream, Kind::Timeout, 504, text);
    }
    let text = format!("recv() failed ({}) while {READING}", conf::error::errno(error));
    Fault::new(Side::Upstream, Kind::Closed, 502, text)
}

fn closed_early() -> Fault {
    let text = format!("upstream prematurely closed connection while {READING}");
    Fault::new(Side::Upstream, Kind::Closed, 502, text)
}

/// Room for the next receive.
fn room(decoder: &Decoder) -> Buf {
    let wanted = match decoder.left() {
        Some(left) => usize::try_from(left).unwrap_or(ROOM_MAX).clamp(ROOM_MIN, ROOM_MAX),
        None => ROOM_UNKNOWN,
    };
    Buf::with_capacity(wanted)
}

/// Receives one piece of the body into `buf`, without its framing.
async fn receive(
    stream: &Transport,
    decoder: &mut Decoder,
    buf: Buf,
    timeout: Timeout,
) -> Result<(Buf, Rest, usize), Fault> {
    let (result, mut buf) = stream.recv(buf, timeout).await;
    match result {
        Ok(0) => match decoder.close() {
            Ok(()) => Ok((Buf::new(), Rest { end: true, extra: 0, broken: None }, 0)),
            Err(_) => Err(closed_early()),
        },
        Ok(count) => match strip(&mut buf, decoder) {
            Ok(rest) => Ok((buf, rest, count)),
            Err(error) => Err(bad_framing(&error)),
        },
        Err(error) => Err(broken(&error)),
    }
}

/// Receives and sends in turns, sending each piece at once.
async fn unbuffered(req: &mut Request, order: &Order<'_>, incoming: Incoming) -> Result<(), Fault> {
    let Incoming { link, choice, mut decoder, buf, keepable, .. } = incoming;
    req.limit_rate = Some(0);
    let timeout = Timeout::ms(order.settings.read_timeout);
    let mut length = buf.len() as u64;
    let mut chain = Chain::more(buf.freeze());
    loop {
        chain.flush = true;
        req.output(chain).await?;
        let room = room(&decoder);
        let (buf, rest, _) = match receive(&link.stream, &mut decoder, room, timeout).await {
            Ok(received) => received,
            Err(fault) => {
                req.upstream.end();
                return Err(fault);
            }
        };
        length += buf.len() as u64;
        set_length(req, length);
        chain = Chain::more(buf.freeze());
        if let Some(error) = rest.broken {
            chain.flush = true;
            req.output(chain).await?;
            req.upstream.end();
            return Err(bad_framing(&error));
        }
        if rest.end {
            if rest.extra > 0 {
                log_extra(req, &decoder);
            }
            log_messages(req, &decoder.messages());
            take_trailers(req, order, decoder.trailers());
            req.upstream.end();
            let keep = keepable && rest.extra == 0 && decoder.is_reusable() && !req.worker.is_draining();
            release(link, &choice, keep, Buf::new());
            choice.done(req, Blame::None);
            chain.last = true;
            chain.flush = false;
            return req.output(chain).await;
        }
    }
}

/// Receives as fast as the server delivers while the client takes what it can.
async fn buffered(req: &mut Request, order: &Order<'_>, incoming: Incoming) -> Result<(), Fault> {
    let settings = order.settings;
    let rate = limit_rate(req, order);
    let spool = Spool::new(settings.memory_max, settings.file_max, &settings.temp_path);
    let ended: RefCell<Option<Ended>> = RefCell::new(None);
    let spilled = Cell::new(false);
    let length = Cell::new(incoming.buf.len() as u64);
    let draining = req.worker.is_draining();
    let saved = incoming.saver.is_some();
    let mut deaf = incoming.deaf.then_some(Ok(()));
    let start = (net::now().0, req.upstream.received());
    let filling = async {
        let pace = Pace { rate, start_ms: start.0, received: incoming.buf.len() as u64 };
        let into = Filling { spool: &spool, spilled: &spilled, length: &length };
        let result = fill(into, pace, incoming, settings.read_timeout, draining).await;
        match result {
            Ok(end) => {
                *ended.borrow_mut() = Some(end);
                spool.close(true);
                Ok(())
            }
            Err(fault) => {
                spool.close(false);
                Err(fault)
            }
        }
    };
    let sending = async {
        while let Some(chain) = spool.next().await {
            if spilled.take() {
                req.log(
                    Level::Warn,
                    format_args!("an upstream response is buffered to a temporary file while {READING}"),
                );
            }
            set_length(req, length.get());
            let last = chain.last;
            if last && let Some(end) = ended.borrow_mut().take() {
                take_trailers(req, order, end.trailers.as_ref());
                if let Some(complaint) = end.complaint {
                    req.log(Level::Warn, format_args!("{complaint} while {READING}"));
                }
                log_messages(req, &end.messages);
                req.upstream.end();
                end.choice.done(req, Blame::None);
            }
            if deaf.is_none()
                && let Err(fault) = req.output(chain).await
            {
                // a client that is gone does not keep others from what is being saved
                match saved {
                    true => deaf = Some(Err(fault)),
                    false => return Err(fault),
                }
            }
            if last {
                break;
            }
        }
        deaf.unwrap_or(Ok(()))
    };
    let (filled, sent) = side_by_side(&spool, pin!(filling), pin!(sending)).await;
    req.upstream.end();
    filled.and(sent)
}

/// Runs both parts until sending ends. Filling that fails lets what is there still be sent.
async fn side_by_side<A, B>(
    spool: &Spool,
    mut filling: Pin<&mut A>,
    mut sending: Pin<&mut B>,
) -> (Result<(), Fault>, Result<(), Fault>)
where
    A: Future<Output = Result<(), Fault>>,
    B: Future<Output = Result<(), Fault>>,
{
    let mut filled = None;
    poll_fn(|cx| {
        loop {
            let before = spool.changes();
            if filled.is_none()
                && let Poll::Ready(result) = filling.as_mut().poll(cx)
            {
                filled = Some(result);
            }
            if let Poll::Ready(sent) = sending.as_mut().poll(cx) {
                return Poll::Ready((filled.take().unwrap_or(Ok(())), sent));
            }
            if spool.changes() == before {
                return Poll::Pending;
            }
        }
    })
    .await
}

/// `proxy_limit_rate`.
struct Pace {
    /// Bytes per second; 0: no limit.
    rate: u64,
    start_ms: u64,
    received: u64,
}

impl Pace {
    /// Waits until more may be received.
    async fn wait(&self) {
        if self.rate == 0 {
            return;
        }
        let seconds = net::now().0.saturating_sub(self.start_ms) / 1000 + 1;
        let allowed = self.rate.saturating_mul(seconds);
        if self.received >= allowed {
            let over = (self.received - allowed) * 1000 / self.rate;
            net::sleep(Duration::from_millis(over + 1)).await;
        }
    }

    /// Counts `bytes` and waits as long as they take at the rate.
    async fn count(&mut self, bytes: u64) {
        self.received += bytes;
        if let Some(ms) = (bytes * 1000).checked_div(self.rate) {
            net::sleep(Duration::from_millis(ms)).await;
        }
    }
}

fn limit_rate(req: &mut Request, order: &Order<'_>) -> u64 {
    let parse = |text: &[u8]| std::str::from_utf8(text).ok().and_then(conf::value::size::parse_offset);
    match order.settings.limit_rate.as_literal() {
        Some(b"0") => 0,
        Some(text) => parse(text).unwrap_or(0),
        None => parse(&order.settings.limit_rate.eval(req)).unwrap_or(0),
    }
}

/// Where received bytes go.
#[derive(Clone, Copy)]
struct Filling<'a> {
    spool: &'a Spool,
    /// A temporary file was begun.
    spilled: &'a Cell<bool>,
    /// Bytes of the body so far.
    length: &'a Cell<u64>,
}

impl Filling<'_> {
    async fn push(self, bytes: Bytes) -> Result<(), Fault> {
        if self.spool.push(bytes).await? {
            self.spilled.set(true);
        }
        Ok(())
    }
}

/// Receives the body into the spool.
async fn fill(
    into: Filling<'_>,
    mut pace: Pace,
    incoming: Incoming,
    read_timeout: u64,
    draining: bool,
) -> Result<Ended, Fault> {
    let Incoming { link, choice, mut decoder, buf, keepable, mut saver, .. } = incoming;
    let timeout = Timeout::ms(read_timeout);
    let spool = into.spool;
    let first = buf.freeze();
    if saver.is_some() {
        Box::pin(Saver::add(&mut saver, first.clone())).await;
    }
    into.push(first).await?;
    loop {
        patience(spool).await;
        spool.until(Spool::has_room).await;
        pace.wait().await;
        let room = if pace.rate > 0 { Buf::with_capacity(ROOM_MIN) } else { room(&decoder) };
        let (buf, rest, count) = receive(&link.stream, &mut decoder, room, timeout).await?;
        into.length.set(into.length.get() + buf.len() as u64);
        let piece = buf.freeze();
        if saver.is_some() {
            Box::pin(Saver::add(&mut saver, piece.clone())).await;
        }
        into.push(piece).await?;
        if let Some(error) = rest.broken {
            return Err(bad_framing(&error));
        }
        if rest.end {
            if saver.is_some() {
                Box::pin(Saver::complete(saver)).await;
            }
            let trailers = decoder.trailers().filter(|trailers| !trailers.is_empty()).cloned();
            let keep = keepable && rest.extra == 0 && decoder.is_reusable() && !draining && count > 0;
            release(link, &choice, keep, Buf::new());
            let complaint = (rest.extra > 0).then(|| decoder.complaint());
            return Ok(Ended { trailers, complaint, messages: decoder.messages(), choice });
        }
        pace.count(count as u64).await;
    }
}

/// Lets the client take what is there, unless that takes longer than a turn of the loop.
async fn patience(spool: &Spool) {
    if spool.is_idle() {
        return;
    }
    let mut turn = pin!(async {
        for _ in 0..TURNS_OF_PATIENCE {
            net::yield_turn().await;
        }
    });
    poll_fn(|cx| {
        if spool.is_idle() {
            return Poll::Ready(());
        }
        turn.as_mut().poll(cx)
    })
    .await;
}

/// Turns of the loop a send may take before the server is read on beside it: one to start, one to end.
const TURNS_OF_PATIENCE: u32 = 2;
