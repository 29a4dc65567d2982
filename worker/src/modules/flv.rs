//! `ngx_http_flv_module`: Flash Video files from any byte on, with the header players expect (`?start=`).

use std::rc::Rc;

use ::conf::{Arity, Contexts, Directive, Result, Shape};
use bytes::Bytes;
use http1::Method;

use crate::build::{Builder, Conf, LevelKind, MergeCx, Slot};
use crate::files::{self, Opened};
use crate::filter::{Chain, Chunk, FilePart};
use crate::module::{Attach, Module};
use crate::phase::{Flow, Handler, Step};
use crate::request::Request;
use crate::settings;

/// The module.
pub const MODULE: Flv = Flv;

static CONF: Slot<FlvConf> = Slot::new();

/// See the module's documentation.
pub struct Flv;

/// Signature, version, audio and video, length of this header, and the size of the tag before the first.
static HEADER: &[u8] = b"FLV\x01\x05\0\0\0\x09\0\0\0\0";

static DIRECTIVES: &[Directive<Builder>] = &[Directive {
    name: "flv",
    contexts: Contexts::LOCATION,
    arity: Arity::Exactly(0),
    shape: Shape::Simple,
    default: "",
    doc: "Serves files from the byte on that the argument `start` says, behind a header of their format.",
    apply: |cx, _| {
        cx.conf(&CONF).set.enabled.replace(true);
        Ok(())
    },
}];

settings! {
    /// Settings of a location.
    pub struct FlvConf, FlvSettings {
        /// `flv` stands in this very block.
        enabled: bool = false,
    }
}

impl Conf for FlvConf {
    fn merge(&mut self, outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        // a content handler belongs to its own block
        self.set.enabled.init(false);
        self.merge_settings(outer);
        Ok(())
    }

    fn is_inherited_whole(&self, _inner: &LevelKind) -> bool {
        !self.enabled
    }
}

impl Module for Flv {
    fn name(&self) -> &'static str {
        "ngx_http_flv_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&CONF);
    }

    fn attach(&self, cx: &mut Attach<'_>) -> Result<()> {
        if cx.confs.get(&CONF).enabled {
            cx.content(Rc::new(Flv));
        }
        Ok(())
    }
}

impl Handler for Flv {
    fn handle<'r>(&'r self, req: &'r mut Request) -> Step<'r> {
        if !matches!(req.method, Method::Get | Method::Head) {
            return Step::Ready(Flow::Status(405));
        }
        if req.uri.ends_with(b"/") {
            return Step::Ready(Flow::Status(404));
        }
        Step::wait(serve(req))
    }
}

async fn serve(req: &mut Request) -> Flow {
    let path = req.map_uri_to_path();
    let open = match req.open_file(&path).await {
        Ok(Opened::File(open)) if open.info.is_regular() => open,
        Ok(_) => return Flow::Status(404),
        Err(failure) => return req.refuse_file(&path, &failure),
    };
    let start = start_of(req.arg(b"start"), open.info.size);
    if start == 0 {
        return files::send_file(req, open, None).await;
    }
    files::set_head(req, &open.info);
    let len = open.info.size - start;
    req.out.content_length = Some(HEADER.len() as u64 + len);
    if let Err(fault) = req.discard_body().await {
        return req.fail(&fault);
    }
    let mut chain = Chain::last(Bytes::from_static(HEADER));
    chain.chunks.push(Chunk::File(FilePart { file: open.file, offset: start, len }));
    match req.respond(chain).await {
        Ok(()) => Flow::Finish,
        Err(fault) => req.fail(&fault),
    }
}

/// The byte to begin at; 0 where the argument is none or lies behind the end.
fn start_of(arg: Option<&[u8]>, size: u64) -> u64 {
    let text = arg.and_then(|arg| std::str::from_utf8(arg).ok()).unwrap_or_default();
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|start| digits && *start < size).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_inside_the_file() {
        for (arg, expected) in [
            (None, 0),
            (Some("0"), 0),
            (Some("9"), 9),
            (Some("10"), 0),
            (Some("-1"), 0),
            (Some("+1"), 0),
            (Some("99999999999999999999"), 0),
            (Some(""), 0),
        ] {
            assert_eq!(start_of(arg.map(str::as_bytes), 10), expected, "{arg:?}");
        }
        assert_eq!(HEADER.len(), 13);
    }
}
