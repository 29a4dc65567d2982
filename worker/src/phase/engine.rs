//! The way of a request through its phases.
//!
//! ```text
//!  PostRead ─ ServerRewrite ─ [find location] ─ Rewrite ─┬─ Preaccess ─ Access ─ Precontent ─ Content ─ (finalize) ─ Log
//!                                   ▲                    │ uri changed, at most 10 times
//!                                   └────────────────────┘
//! ```
//!
//! A [`Jump`] from anywhere re-enters at ServerRewrite's successor (find location); `@name` re-enters at Rewrite.

use std::rc::Rc;
use std::time::Duration;

use super::finalize::{Finalized, finalize};
use super::{Flow, Jump, Phase, Step};
use crate::access::Satisfy;
use crate::config::Location;
use crate::locate;
use crate::log::Level;
use crate::modules::http;
use crate::request::Request;

/// Internal redirects and rewrites one request may go through (nginx's limit).
pub const URI_CHANGES_MAX: u32 = 10;

/// Serves `req` from its first phase to its last. On return the response is complete (or the connection is marked to
/// close) and the log phase has run.
pub async fn run(req: &mut Request) {
    if !req.server_conf().client_body_early_read.is_empty()
        && let Err(flow) = read_body_early(req).await
    {
        return run_refused(req, flow).await;
    }
    let mut at = Entry::Start;
    loop {
        let flow = phases(req, at).await;
        match finalize(req, flow).await {
            Finalized::Done => break,
            Finalized::Again(entry) => at = entry,
        }
    }
    if req.http().post_action.is_some() {
        post_action(req).await;
    }
    log(req).await;
}

/// `client_body_early_read`.
async fn read_body_early(req: &mut Request) -> Result<(), Flow> {
    let server = Rc::clone(&req.server);
    let conf: &http::ServerConf = server.confs.get(&http::SERVER);
    if !conf.client_body_early_read.hold(req) {
        return Ok(());
    }
    check_declared_length(req)?;
    req.read_body().await.map_err(|fault| req.fail(&fault))
}

/// `post_action`: sends a request whose response is complete on to another location. What is answered there reaches nobody;
/// the log phase comes after it.
async fn post_action(req: &mut Request) {
    // each costs one of the request's redirects
    while let Some(target) = req.http().post_action.clone()
        && req.uri_changes_left > 0
    {
        req.begin_post_action().await;
        let is_uri = target.first() == Some(&b'/');
        let to = if is_uri {
            Jump::Uri { uri: target.to_vec(), args: Some(Vec::new()) }
        } else {
            Jump::Named(target.as_ref().into())
        };
        let mut next = jump(req, to).map_err(|_| ());
        while let Ok(entry) = next {
            let flow = Box::pin(phases(req, entry)).await;
            next = match Box::pin(finalize(req, flow)).await {
                Finalized::Done => Err(()),
                Finalized::Again(entry) => Ok(entry),
            };
        }
    }
    req.out.sent = true;
}

/// Answers a request whose head was refused: straight to the error page.
pub(crate) async fn run_refused(req: &mut Request, flow: Flow) {
    let mut flow = flow;
    loop {
        match finalize(req, flow).await {
            Finalized::Done => break,
            Finalized::Again(entry) => flow = phases(req, entry).await,
        }
    }
    log(req).await;
}

/// Serves a subrequest: no connection-level phases, and the log phase only with `log_subrequest`.
pub async fn run_subrequest(req: &mut Request) {
    let mut at = Entry::Locate;
    loop {
        let flow = phases(req, at).await;
        match finalize(req, flow).await {
            Finalized::Done => break,
            Finalized::Again(entry) => at = entry,
        }
    }
    if req.http().log_subrequest {
        log(req).await;
    }
}

/// Serves a subrequest that asks the location of its parent once more: the content handler alone.
pub async fn run_clone(req: &mut Request) {
    let mut flow = content(req).await;
    loop {
        match finalize(req, flow).await {
            Finalized::Done => break,
            Finalized::Again(entry) => flow = phases(req, entry).await,
        }
    }
}

/// Where a request enters the phases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A new request.
    Start,
    /// An internal redirect to a URI, or a subrequest.
    Locate,
    /// A named location, already chosen.
    Rewrite,
}

/// Makes the jump a handler or an error page asked for.
pub(crate) fn jump(req: &mut Request, jump: Jump) -> Result<Entry, Flow> {
    if req.uri_changes_left == 0 {
        req.log_error(format_args!(
            "rewrite or internal redirection cycle while {}",
            match &jump {
                Jump::Uri { .. } => "internally redirecting to the URI",
                Jump::Named(_) => "redirect to named location",
            }
        ));
        return Err(Flow::Status(500));
    }
    req.uri_changes_left -= 1;
    req.begin_internal();
    match jump {
        Jump::Uri { uri, args } => {
            req.set_uri(uri);
            req.valid_location = true;
            if let Some(args) = args {
                req.args = args;
            }
            req.location = Rc::clone(&req.server.root);
            Ok(Entry::Locate)
        }
        Jump::Named(name) => {
            if req.uri.is_empty() {
                req.log_error(format_args!(
                    "empty URI in redirect to named location \"{}\"",
                    name.escape_ascii()
                ));
                return Err(Flow::Status(500));
            }
            let Some(location) = req.server.root.tree.named(&name) else {
                req.log_error(format_args!("could not find named location \"{}\"", name.escape_ascii()));
                return Err(Flow::Status(500));
            };
            let location = Rc::clone(location);
            enter(req, location);
            Ok(Entry::Rewrite)
        }
    }
}

/// Runs the phases up to and including the content handler.
async fn phases(req: &mut Request, entry: Entry) -> Flow {
    if entry == Entry::Start && req.location.handlers.has(Phase::PostRead) {
        let flow = run_phase(req, Phase::PostRead).await;
        if !matches!(flow, Flow::Next | Flow::Done) {
            return flow;
        }
    }
    if entry != Entry::Rewrite && req.location.handlers.has(Phase::ServerRewrite) {
        let flow = run_phase(req, Phase::ServerRewrite).await;
        if !matches!(flow, Flow::Next | Flow::Done) {
            return flow;
        }
    }
    req.uri_changed = false;
    if entry != Entry::Rewrite
        && let Err(flow) = find_location(req)
    {
        return flow;
    }
    while req.location.handlers.has(Phase::Rewrite) {
        let flow = run_phase(req, Phase::Rewrite).await;
        if !matches!(flow, Flow::Next | Flow::Done) {
            return flow;
        }
        if !req.uri_changed {
            break;
        }
        if req.uri_changes_left == 0 {
            req.log_error(format_args!(
                "rewrite or internal redirection cycle while processing \"{}\"",
                req.uri.escape_ascii()
            ));
            return Flow::Status(500);
        }
        req.uri_changes_left -= 1;
        req.uri_changed = false;
        req.location = Rc::clone(&req.server.root);
        if let Err(flow) = find_location(req) {
            return flow;
        }
    }
    for phase in [Phase::Preaccess, Phase::Access, Phase::Precontent] {
        if !req.location.handlers.has(phase) {
            continue;
        }
        let flow = if phase == Phase::Access { access(req).await } else { run_phase(req, phase).await };
        if !matches!(flow, Flow::Next | Flow::Done) {
            return flow;
        }
    }
    content(req).await
}

/// Runs the handlers of one phase until one decides. `Next` at the end means nobody did.
async fn run_phase(req: &mut Request, phase: Phase) -> Flow {
    let mut after = None;
    loop {
        let location = Rc::clone(&req.location);
        let Some((order, handler)) = location.handlers.next(phase, after) else { return Flow::Next };
        let flow = match handler.handle(req) {
            Step::Ready(flow) => flow,
            Step::Wait(future) => future.await,
        };
        match flow {
            Flow::Next => after = Some(order),
            flow => return flow,
        }
    }
}

/// The access phase under `satisfy all|any`.
async fn access(req: &mut Request) -> Flow {
    if !req.is_main() {
        return Flow::Next;
    }
    if !req.location.handlers.has(Phase::Access) {
        return Flow::Next;
    }
    let satisfy = req.http().satisfy;
    let mut denied: Option<u16> = None;
    let mut after = None;
    loop {
        let location = Rc::clone(&req.location);
        let Some((order, handler)) = location.handlers.next(Phase::Access, after) else { break };
        after = Some(order);
        match (handler.handle(req).resolve().await, satisfy) {
            (Flow::Next, _) => {}
            (Flow::Done, Satisfy::All) => {}
            (Flow::Done, Satisfy::Any) => {
                req.out.headers.remove(b"WWW-Authenticate");
                req.out.headers.remove(b"Proxy-Authenticate");
                return Flow::Done;
            }
            // 401 is remembered over 403: the client may still log in
            (Flow::Status(status @ (401 | 403 | 407)), Satisfy::Any) => {
                if !matches!(denied, Some(401 | 407)) {
                    denied = Some(status);
                }
            }
            (Flow::Status(status @ (401 | 407)), _) => return unauthorized(req, status).await,
            (flow, _) => return flow,
        }
    }
    match denied {
        None => Flow::Next,
        Some(403) => {
            req.log_error(format_args!("access forbidden by rule"));
            Flow::Status(403)
        }
        Some(status) => unauthorized(req, status).await,
    }
}

/// Answers a request without a valid login, after `auth_delay`: guessing passwords should take time.
async fn unauthorized(req: &mut Request, status: u16) -> Flow {
    let delay = req.http().auth_delay;
    if delay > 0 {
        req.log(Level::Info, format_args!("delaying unauthorized request"));
        if let Err(fault) = req.pause(Duration::from_millis(delay)).await {
            return req.fail(&fault);
        }
    }
    Flow::Status(status)
}

/// The content handler of the location, or the handlers of the content phase.
async fn content(req: &mut Request) -> Flow {
    let location = Rc::clone(&req.location);
    if let Some(handler) = &location.content {
        return match handler.handle(req) {
            Step::Ready(flow) => flow,
            Step::Wait(future) => future.await,
        };
    }
    match run_phase(req, Phase::Content).await {
        Flow::Next if req.uri.last() == Some(&b'/') => {
            let path = req.map_uri_to_path();
            req.log_error(format_args!("directory index of \"{}\" is forbidden", path.escape_ascii()));
            Flow::Status(403)
        }
        Flow::Next => Flow::Status(404),
        flow => flow,
    }
}

/// Chooses the location for `req.uri` and checks what belongs to that choice.
fn find_location(req: &mut Request) -> Result<(), Flow> {
    match locate::find(req) {
        locate::Found::Location(location) => enter(req, location),
        locate::Found::Server => {}
        locate::Found::AddSlash(name) => {
            let mut target = Vec::with_capacity(name.len() + req.args.len() + 1);
            http1::escape_uri(&mut target, &name, http1::Escape::Uri);
            if !req.args.is_empty() {
                target.push(b'?');
                target.extend_from_slice(&req.args);
            }
            req.out.location = Some(target);
            return Err(Flow::Status(301));
        }
        locate::Found::Failed => return Err(Flow::Status(500)),
    }
    if req.is_internal_only_location() && !req.internal {
        return Err(Flow::Status(404));
    }
    check_declared_length(req)
}

/// `client_max_body_size`, as far as the head tells.
fn check_declared_length(req: &mut Request) -> Result<(), Flow> {
    let limit = req.http().client_max_body_size;
    if !req.internal && !req.body.discarded && limit > 0 && req.body.declared.is_some_and(|len| len > limit) {
        req.log_error(format_args!(
            "client intended to send too large body: {} bytes",
            req.body.declared.unwrap_or_default()
        ));
        req.body.expect_tested = true;
        return Err(Flow::Status(413));
    }
    Ok(())
}

/// Puts the request into `location`, and into its `limit_except` block where the method asks for it.
fn enter(req: &mut Request, location: Rc<Location>) {
    let limited = location.limit_except.as_ref().filter(|inner| inner.limits_method(req));
    req.location = match limited {
        Some(inner) => Rc::clone(inner),
        None => location,
    };
    req.apply_location();
}

/// The log phase: every handler runs, whatever they answer.
async fn log(req: &mut Request) {
    req.send_before_log().await;
    let location = Rc::clone(&req.location);
    let mut after = None;
    while let Some((order, handler)) = location.handlers.next(Phase::Log, after) {
        after = Some(order);
        if let Step::Wait(future) = handler.handle(req) {
            future.await;
        }
    }
}
