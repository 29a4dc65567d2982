//! Subrequests of `echo_location` and its likes.
//!
//! One that is waited for gives its text at once. Asynchronous ones run as tasks of their own, all at the same time; their
//! output stands at its place in the response, so what follows is kept until they are complete.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use http1::{Known, Method, Unescape};

use super::program::{Body, Call};
use super::run::{Stop, failed};
use super::variables;
use crate::fault::Fault;
use crate::io::Io;
use crate::log::Level;
use crate::phase::{self, Flow};
use crate::request::{Capture, Origin, Request, SubrequestOptions};
use crate::worker::ConnectionGuard;

/// Most bytes of a subrequest's response.
const RESPONSE_MAX: usize = 16 << 20;
/// Most bytes of a file that is a subrequest's body.
const BODY_MAX: u64 = 16 << 20;

/// A part of the response that may not be there yet.
pub(super) enum Pending {
    /// Text.
    Text(Bytes),
    /// What a task will give.
    Task(Rc<Task>),
}

/// A subrequest that runs by itself.
#[derive(Default)]
pub(super) struct Task {
    result: RefCell<Option<Bytes>>,
    done: net::Notify,
}

impl Pending {
    pub(super) fn is_complete(&self) -> bool {
        match self {
            Pending::Text(_) => true,
            Pending::Task(task) => task.result.borrow().is_some(),
        }
    }

    /// The text, waited for.
    pub(super) async fn complete(self) -> Bytes {
        match self {
            Pending::Text(text) => text,
            Pending::Task(task) => loop {
                let result = task.result.borrow_mut().take();
                match result {
                    Some(text) => return text,
                    None => task.done.notified().await,
                }
            },
        }
    }
}

/// Makes a subrequest and runs it, or lets it run.
pub(super) async fn start(req: &mut Request, call: &Call) -> Result<Pending, Stop> {
    let mut sub = make(req, call).await?;
    if call.wait {
        Box::pin(phase::run_subrequest(&mut sub)).await;
        return Ok(Pending::Text(sub.captured()));
    }
    // the client's connection is the main request's to watch
    sub.origin = Origin::Background;
    let task = Rc::new(Task::default());
    let (result, guard) = (Rc::clone(&task), ConnectionGuard::new(&req.worker));
    net::spawn(async move {
        phase::run_subrequest(&mut sub).await;
        result.result.replace(Some(sub.captured()));
        result.done.notify_all();
        drop(guard);
    });
    Ok(Pending::Task(task))
}

async fn make(req: &mut Request, call: &Call) -> Result<Box<Request>, Stop> {
    let method = match &call.method {
        None => Method::Get,
        Some(name) => {
            let name = name.eval(req);
            match Method::from_bytes(&name) {
                Method::Other => {
                    let name = name.escape_ascii();
                    return Err(failed(req, format_args!("echo_subrequest: invalid method \"{name}\"")));
                }
                method => method,
            }
        }
    };
    let uri = call.uri.eval(req);
    let (uri, own_args) = target(req, call.directive, uri)?;
    let args = call.args.eval(req);
    let args = if args.is_empty() { own_args } else { args };
    let body = match &call.body {
        Body::None => None,
        Body::Text(text) => Some(text.eval(req).into()),
        Body::File { name, prefix } => {
            use std::os::unix::ffi::OsStrExt;
            let name = name.eval(req);
            let path = prefix.join(std::ffi::OsStr::from_bytes(&name));
            Some(read_file(req, &path).await?)
        }
    };
    if req.subrequests_left == 0 {
        return Err(Fault::internal("subrequests cycle while processing the request").into());
    }
    let options = SubrequestOptions { args, method: Some(method), ..SubrequestOptions::default() };
    let capture = Capture { max: RESPONSE_MAX, ..Capture::default() };
    if req.is_main() {
        variables::keep_client_head(req);
    }
    let mut sub = req.fork(uri, options, Io::Memory(capture));
    sub.origin = Origin::Subrequest;
    // unlike subrequests of other modules these have variables of their own
    sub.values.clear();
    if let Some(body) = body {
        sub.headers.set_known(Known::ContentLength, body.len().to_string().as_bytes());
        sub.body.replace(body);
    }
    Ok(sub)
}

/// Decodes the URI of a subrequest or redirect and splits its arguments off; refuses one that leads upwards.
pub(super) fn target(req: &Request, directive: &str, text: Vec<u8>) -> Result<(Vec<u8>, Vec<u8>), Stop> {
    let (path, args) = match memchr::memchr(b'?', &text) {
        Some(at) => (&text[..at], text[at + 1..].to_vec()),
        None => (&text[..], Vec::new()),
    };
    let mut uri = Vec::with_capacity(path.len());
    http1::unescape_uri(&mut uri, path, Unescape::All);
    let leads_up =
        uri.is_empty() || uri.contains(&0) || uri.split(|byte| *byte == b'/').any(|part| part == b"..");
    if leads_up {
        let text = text.escape_ascii();
        req.log(Level::Warn, format_args!("{directive} sees unsafe uri: \"{text}\""));
        return Err(Stop::Flow(Flow::Status(500)));
    }
    Ok((uri, args))
}

/// Reads a file that is a body.
async fn read_file(req: &mut Request, path: &std::path::Path) -> Result<Bytes, Stop> {
    let read = async {
        let file = net::open(path, &net::OpenOptions { read: true, ..Default::default() }).await?;
        let len = file.metadata()?.len();
        Ok::<_, std::io::Error>((file, len))
    };
    match read.await {
        Ok((file, len)) if len <= BODY_MAX => {
            let mut body = bytes::BytesMut::new();
            while (body.len() as u64) < len {
                let want = usize::try_from(len).unwrap_or(usize::MAX) - body.len();
                body.extend_from_slice(&crate::output::read_file(&file, body.len() as u64, want).await?);
            }
            Ok(body.freeze())
        }
        Ok(_) => Err(failed(req, format_args!("file \"{}\" is too large for a body", path.display()))),
        Err(error) => {
            let error = conf::error::errno(&error);
            Err(failed(req, format_args!("open() \"{}\" failed ({error})", path.display())))
        }
    }
}
