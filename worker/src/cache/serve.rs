//! Serving from the cache, at once or in place of what a server said.

use std::rc::Rc;

use bytes::Bytes;
use http1::{Known, Progress, ResponseHead, ResponseOptions, ResponseParser};

use super::file::{self, Entry, Times};
use super::lookup::Behind;
use super::{Freshness, Plan, Status};
use crate::clock::unix_seconds;
use crate::fault::{Fault, Kind};
use crate::filter::{Chain, Chunk, FilePart};
use crate::log::Level;
use crate::phase::Flow;
use crate::request::Request;
use crate::upstream::{Conditions, Order, fill_head, redirected};

/// Serves the old entry of `req.upstream.cache`.
pub(crate) async fn serve(req: &mut Request, order: &Order<'_>) -> Flow {
    let Some(using) = &mut req.upstream.cache else { return Flow::Status(500) };
    let Some(entry) = using.old.take() else { return Flow::Status(500) };
    using.serving = true;
    // who wants a newer one may fetch it
    using.fetching = None;
    let behind = using.behind.take();
    let Some(head) = parse(&entry) else {
        req.log(Level::Crit, format_args!("cache file \"{}\" contains invalid header", entry.path.display()));
        return Flow::Status(500);
    };
    let flow = redirected(req, order, &head);
    if flow.is_none() {
        fill_head(req, order, &head);
    }
    req.upstream.head = Some(head);
    let flow = match flow {
        Some(flow) => flow,
        None => match send(req, entry, behind).await {
            Ok(()) => Flow::Finish,
            Err(fault) => fail(req, &fault),
        },
    };
    req.upstream.cache = None;
    flow
}

fn fail(req: &mut Request, fault: &Fault) -> Flow {
    if req.out.sent && fault.kind != Kind::Answer {
        req.keepalive = false;
    }
    req.fail(fault)
}

fn parse(entry: &Entry) -> Option<Box<ResponseHead>> {
    let mut head = Box::<ResponseHead>::default();
    let options = ResponseOptions { head: true, ..ResponseOptions::default() };
    match ResponseParser::new().parse(&entry.head.head, &options, &mut head) {
        Ok(Progress::Done { .. }) => Some(head),
        _ => None,
    }
}

async fn send(req: &mut Request, entry: Entry, behind: Option<Rc<Behind>>) -> Result<(), Fault> {
    req.send_header().await?;
    // a connection that is about to end may as well end when what is fetched behind its back is there, as in nginx; a
    // client that can tell the end of the response does not notice
    let has_end = req.out.content_length.is_some() || req.out.chunked;
    let behind = behind.filter(|_| req.is_main() && !req.keepalive && has_end);
    let mut chain = if req.header_only { Chain::end() } else { body(entry) };
    chain.flush = behind.is_some();
    req.output(chain).await?;
    if let Some(behind) = behind {
        behind.over().await;
    }
    Ok(())
}

/// All of the body.
fn body(entry: Entry) -> Chain {
    let len = entry.len - entry.body_at;
    let mut chain = match entry.body {
        Some(bytes) => Chain::more(bytes),
        None if len == 0 => Chain::more(Bytes::new()),
        None => {
            let mut chain = Chain::default();
            chain.chunks.push(Chunk::File(FilePart { file: entry.file, offset: entry.body_at, len }));
            chain
        }
    };
    chain.last = true;
    chain
}

/// Notes what the head of a response says of its lifetime.
pub(crate) fn note_head(req: &mut Request, order: &Order<'_>, head: &ResponseHead) {
    if let Some(using) = &mut req.upstream.cache {
        using.fresh = Freshness::of(head, order.settings.ignore, unix_seconds());
        using.cacheable &= !using.fresh.forbidden;
    }
}

/// Serves what has grown old in place of a response: an error (`condition`), or 304 to our own question.
pub(crate) async fn answered_instead(
    req: &mut Request,
    order: &Order<'_>,
    status: u16,
    condition: Option<Conditions>,
) -> Option<Flow> {
    let plan = order.settings.cache.as_ref()?;
    if req.upstream.cache_status != Some(Status::Expired) {
        return None;
    }
    if condition.is_some_and(|condition| plan.use_stale.contains(condition)) {
        req.upstream.cache_status = Some(Status::Stale);
        return Some(serve(req, order).await);
    }
    if status == 304 && plan.revalidate {
        req.upstream.cache_status = Some(Status::Revalidated);
        if let Err(fault) = renew(req, order, plan).await {
            req.log_error(format_args!("{fault}"));
        }
        return Some(serve(req, order).await);
    }
    None
}

/// The server says that the old entry is still good: its times begin anew.
async fn renew(req: &mut Request, order: &Order<'_>, plan: &Plan) -> Result<(), Fault> {
    let Some(using) = &mut req.upstream.cache else { return Ok(()) };
    let Some(entry) = &mut using.old else { return Ok(()) };
    let now = unix_seconds();
    let mut fresh = using.fresh.clone();
    let Some(head) = parse(entry) else { return Ok(()) };
    if fresh.until == 0 {
        fresh = Freshness::of(&head, order.settings.ignore, now);
    }
    if fresh.until == 0 {
        match plan.valid_for(head.status) {
            0 => return Ok(()),
            seconds => fresh.until = now.saturating_add(i64::try_from(seconds).unwrap_or(i64::MAX)),
        }
    }
    let times = Times { until: fresh.until, updating: fresh.updating, error: fresh.error, date: now };
    entry.head.times = times;
    file::renew(entry, times).await
}

/// Serves what has grown old when no server answers, where that is allowed.
pub(crate) async fn failed_instead(
    req: &mut Request,
    order: &Order<'_>,
    condition: Conditions,
) -> Option<Flow> {
    let plan = order.settings.cache.as_ref()?;
    if req.upstream.cache_status != Some(Status::Expired) {
        return None;
    }
    // nobody to ask is an error like others
    let condition = if condition == Conditions::NO_LIVE { Conditions::ERROR } else { condition };
    let stale_error = req.upstream.cache.as_ref().is_some_and(|using| using.stale_error);
    if !plan.use_stale.contains(condition) && !stale_error {
        return None;
    }
    req.upstream.cache_status = Some(Status::Stale);
    Some(serve(req, order).await)
}

/// Remembers that there is an error in place of a response, as long as `proxy_cache_valid` says.
pub(crate) fn remember_error(req: &mut Request, order: &Order<'_>, status: u16) {
    let (Some(plan), Some(using)) = (&order.settings.cache, &req.upstream.cache) else { return };
    if !using.cacheable {
        return;
    }
    let (now, seconds) = (unix_seconds(), plan.valid_for(status));
    let until = match using.fresh.until {
        0 if seconds == 0 => return,
        0 => now.saturating_add(i64::try_from(seconds).unwrap_or(i64::MAX)),
        until => until,
    };
    if let Err(fault) = using.cache.with(|index| index.failed(&using.key, status, until)) {
        req.log_error(format_args!("{fault}"));
    }
}

/// Whether the upstream head offers ranges.
pub(crate) fn offers_ranges(head: &ResponseHead) -> bool {
    head.headers.contains_known(Known::AcceptRanges)
}
