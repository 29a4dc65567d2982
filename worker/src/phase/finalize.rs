//! From a handler's decision to a response: error pages, built-in pages, redirects, small bodies.

use std::rc::Rc;

use bytes::Bytes;
use http1::{Known, Method};

use super::engine::{Entry, jump};
use super::{Flow, Jump, Response};
use crate::fault::Kind;
use crate::filter::Chain;
use crate::modules::http::{self, ErrorPage, ErrorPageTarget};
use crate::pages;
use crate::request::Request;

/// What is left to do.
pub(crate) enum Finalized {
    /// The response is complete, or the connection will be closed.
    Done,
    /// Another URI must be served.
    Again(Entry),
}

/// Carries out `flow`.
pub(crate) async fn finalize(req: &mut Request, flow: Flow) -> Finalized {
    match flow {
        Flow::Finish => Finalized::Done,
        Flow::Complete => match complete(req).await {
            Flow::Status(status) => special(req, status).await,
            _ => Finalized::Done,
        },
        Flow::Next | Flow::Done => special(req, 200).await,
        Flow::Close => {
            req.abort();
            Finalized::Done
        }
        Flow::Jump(target) => match jump(req, target) {
            Ok(entry) => Finalized::Again(entry),
            Err(_) => special(req, 500).await,
        },
        Flow::Respond(response) => match send_response(req, response).await {
            Flow::Status(status) => special(req, status).await,
            _ => Finalized::Done,
        },
        Flow::Status(status) => special(req, status).await,
    }
}

/// Answers with a status of its own: an error page if one is configured, else the built-in one.
async fn special(req: &mut Request, status: u16) -> Finalized {
    if status == pages::CLOSE || req.out.sent {
        req.abort();
        if req.out.status == 0 {
            req.out.status = status;
        }
        return Finalized::Done;
    }
    if status == 408 || status == 499 {
        // nobody reads the answer: logged, not sent
        req.out.status = status;
        req.abort();
        return Finalized::Done;
    }
    if let crate::io::Io::Pipe(pipe) = &mut req.io
        && let Some(stub) = pipe.take_stub()
    {
        return send_stub(req, stub).await;
    }
    req.err_status = status;
    if matches!(status, 400 | 413 | 414 | 494..=497 | 500 | 501) {
        req.keepalive = false;
    }
    if matches!(status, 400 | 495..=497) {
        req.lingering = false;
    }
    req.out.content_type.clear();
    req.out.content_length = None;
    if let Some(entry) = error_page(req, status).await {
        return entry;
    }
    built_in(req, status).await
}

/// Sends what the parent of a subrequest wants to see in place of an error.
async fn send_stub(req: &mut Request, stub: Bytes) -> Finalized {
    req.out.status = 200;
    req.out.set_content_type(b"text/html");
    req.out.content_length = Some(stub.len() as u64);
    send(req, stub).await;
    Finalized::Done
}

/// Looks for an `error_page` and goes there.
async fn error_page(req: &mut Request, status: u16) -> Option<Finalized> {
    let location = Rc::clone(&req.location);
    let conf = location.confs.get(&http::LOCATION);
    if req.error_page || req.uri_changes_left == 0 {
        return None;
    }
    let page = conf.error_pages.iter().find(|page| page.statuses.contains(&status))?;
    if !conf.recursive_error_pages {
        req.error_page = true;
    }
    req.body.expect_tested = true;
    if let Some(overwrite) = page.answer {
        req.err_status = overwrite;
    }
    match target(req, page) {
        Some(to) => {
            if req.method != Method::Head && matches!(to, Jump::Uri { .. }) {
                req.method = Method::Get;
            }
            match jump(req, to) {
                Ok(entry) => Some(Finalized::Again(entry)),
                Err(_) => {
                    req.err_status = 500;
                    Some(built_in(req, 500).await)
                }
            }
        }
        None => {
            // an absolute URL: redirect the client there
            if !matches!(req.err_status, 301..=303 | 307 | 308) {
                req.err_status = 302;
            }
            let ErrorPageTarget::Template(template) = &page.target else { return None };
            let url = template.eval(req);
            req.out.location = Some(url);
            let status = req.err_status;
            Some(built_in(req, status).await)
        }
    }
}

/// Where an error page leads inside this server; `None` for an absolute URL.
fn target(req: &mut Request, page: &ErrorPage) -> Option<Jump> {
    match &page.target {
        ErrorPageTarget::Named(name) => Some(Jump::Named(name.clone())),
        ErrorPageTarget::Template(template) => {
            let text = template.eval(req);
            if !text.starts_with(b"/") {
                return (text.first() == Some(&b'@')).then(|| Jump::Named(text.into()));
            }
            let (uri, args) = match memchr::memchr(b'?', &text) {
                Some(at) if !page.keeps_question_mark => (text[..at].to_vec(), text[at + 1..].to_vec()),
                _ => (text, Vec::new()),
            };
            Some(Jump::Uri { uri, args: Some(args) })
        }
    }
}

/// Sends the built-in page of `status` (the status line shows `err_status`).
async fn built_in(req: &mut Request, status: u16) -> Finalized {
    req.body.expect_tested = true;
    if let Err(fault) = req.discard_body().await {
        req.keepalive = false;
        req.log(crate::log::Level::Info, format_args!("{fault}"));
    }
    if matches!(status, 301 | 302) && req.http().msie_refresh && is_msie(req) {
        return send_refresh(req).await;
    }
    let shown = match req.err_status {
        // nginx's internal codes are a 400 to the client
        494..=498 => 400,
        status => status,
    };
    req.err_status = 0;
    req.out.status = shown;
    let body = if pages::has_no_body(shown) { None } else { pages::body(req, status) };
    req.out.clear_ranges();
    req.out.clear_last_modified();
    req.out.headers.remove(b"ETag");
    let body = match body {
        None => {
            req.header_only = true;
            req.out.content_length = if shown == 204 { None } else { Some(0) };
            Bytes::new()
        }
        Some(body) => {
            req.out.set_content_type(b"text/html");
            req.out.content_length = Some(body.len() as u64);
            body
        }
    };
    match send(req, body).await {
        Flow::Status(status) => Box::pin(special(req, status)).await,
        _ => Finalized::Done,
    }
}

/// `msie_refresh`: a page that leads on in place of a redirect.
async fn send_refresh(req: &mut Request) -> Finalized {
    let target = req.out.location.take().unwrap_or_default();
    let mut page = b"<html><head><meta http-equiv=\"Refresh\" content=\"0; URL=".to_vec();
    http1::escape_uri(&mut page, &target, http1::Escape::Refresh);
    page.extend_from_slice(b"\"></head><body></body></html>\r\n");
    req.err_status = 0;
    req.out.status = 200;
    req.out.clear_ranges();
    req.out.clear_last_modified();
    req.out.headers.remove(b"ETag");
    req.out.set_content_type(b"text/html");
    req.out.content_length = Some(page.len() as u64);
    send(req, page.into()).await;
    Finalized::Done
}

/// Sends a complete small response. The result is a status to answer with instead when a filter wants that.
pub async fn send_response(req: &mut Request, response: Response) -> Flow {
    if let Err(fault) = req.discard_body().await {
        req.keepalive = false;
        req.log(crate::log::Level::Info, format_args!("{fault}"));
        if fault.kind == Kind::Protocol {
            return Flow::Status(fault.status);
        }
    }
    let Response { status, body, content_type } = response;
    req.out.status = status;
    if matches!(status, 301..=303 | 307 | 308) {
        if !body.is_empty() {
            req.out.location = Some(body.to_vec());
        }
        return Flow::Status(status);
    }
    match content_type {
        Some(content_type) => req.out.set_content_type(&content_type),
        None => req.set_content_type_by_extension(),
    }
    req.out.content_length = Some(body.len() as u64);
    send(req, body).await
}

/// Sends what a handler left of its response.
async fn complete(req: &mut Request) -> Flow {
    if let Err(fault) = req.discard_body().await {
        req.keepalive = false;
        req.log(crate::log::Level::Info, format_args!("{fault}"));
    }
    match req.send_outgoing(true).await {
        Ok(()) => Flow::Finish,
        Err(fault) if fault.kind == Kind::Answer => Flow::Status(fault.status),
        Err(fault) => {
            req.log(crate::log::Level::Info, format_args!("{fault}"));
            req.io.abort();
            Flow::Finish
        }
    }
}

/// Sends head and body. A failure ends the connection; a status is what a filter wants to answer with instead.
async fn send(req: &mut Request, body: Bytes) -> Flow {
    let sent = match req.send_header().await {
        Ok(()) if req.header_only || req.method == Method::Head => req.output(Chain::end()).await,
        Ok(()) if req.output_copied(&body, true) => Ok(()),
        Ok(()) => req.output(Chain::last(body)).await,
        Err(fault) if fault.kind == Kind::Answer => return Flow::Status(fault.status),
        Err(fault) => Err(fault),
    };
    if let Err(fault) = sent {
        req.log(crate::log::Level::Info, format_args!("{fault}"));
        req.abort();
    }
    Flow::Finish
}

/// Whether the client is an old Internet Explorer, for which short error pages are padded.
pub(crate) fn is_msie(req: &Request) -> bool {
    req.header(Known::UserAgent).is_some_and(|agent| {
        memchr::memmem::find(agent, b"MSIE ").is_some() && memchr::memmem::find(agent, b"Opera").is_none()
    })
}
