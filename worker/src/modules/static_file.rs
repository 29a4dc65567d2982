//! `ngx_http_static_module`: the file a URI names, as it is.
//!
//! Last in the content phase: it answers everything that does not end in a slash. It has no directives of its own and
//! runs in every location that has no content handler.

use std::rc::Rc;

use conf::Result;
use http1::{Escape, Method, escape_uri};

use crate::files::{self, Opened};
use crate::log::Level;
use crate::module::{Attach, Module};
use crate::phase::{Flow, Handler, Phase, Step, order};
use crate::request::Request;

/// The module.
pub const MODULE: StaticFile = StaticFile;

/// See the module's documentation.
pub struct StaticFile;

impl Module for StaticFile {
    fn name(&self) -> &'static str {
        "ngx_http_static_module"
    }

    fn attach(&self, cx: &mut Attach<'_>) -> Result<()> {
        cx.handler(Phase::Content, order::STATIC, Rc::new(StaticFile));
        Ok(())
    }
}

impl Handler for StaticFile {
    fn handle<'r>(&'r self, req: &'r mut Request) -> Step<'r> {
        if !matches!(req.method, Method::Get | Method::Head | Method::Post) {
            return Step::Ready(Flow::Status(405));
        }
        if req.uri.last() == Some(&b'/') {
            return Step::Ready(Flow::Next);
        }
        Step::wait(serve(req))
    }
}

async fn serve(req: &mut Request) -> Flow {
    let path = req.map_uri_to_path();
    let opened = match req.open_file(&path).await {
        Ok(opened) => opened,
        Err(failure) => return req.refuse_file(&path, &failure),
    };
    let open = match opened {
        Opened::Directory(_) => {
            req.out.location = Some(directory_url(req));
            return Flow::Status(301);
        }
        Opened::File(open) => open,
    };
    if !open.info.is_regular() {
        req.log(Level::Crit, format_args!("\"{}\" is not a regular file", path.escape_ascii()));
        return Flow::Status(404);
    }
    if req.method == Method::Post {
        return Flow::Status(405);
    }
    files::send_file(req, open, None).await
}

/// The URI with the slash a directory's name ends in, and its arguments.
fn directory_url(req: &Request) -> Vec<u8> {
    let mut url = Vec::with_capacity(req.uri.len() + req.args.len() + 2);
    escape_uri(&mut url, &req.uri, Escape::Uri);
    url.push(b'/');
    if !req.args.is_empty() {
        url.push(b'?');
        url.extend_from_slice(&req.args);
    }
    url
}
