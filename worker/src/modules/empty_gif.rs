//! `ngx_http_empty_gif_module`: a transparent image of one pixel.

use std::rc::Rc;

use bytes::Bytes;
use conf::{Arity, Contexts, Directive, Result, Shape};
use http1::Method;

use crate::build::{Builder, Conf, LevelKind, MergeCx, Slot};
use crate::module::{Attach, Module};
use crate::phase::{Flow, Handler, Response, Step};
use crate::request::Request;
use crate::settings;

/// The module.
pub const MODULE: EmptyGif = EmptyGif;

/// Where the module's settings stand.
pub static CONF: Slot<EmptyGifConf> = Slot::new();

/// See the module's documentation.
pub struct EmptyGif;

settings! {
    /// Settings of a location.
    pub struct EmptyGifConf, EmptyGifSettings {
        /// `empty_gif` stands in this very block.
        enabled: bool = false,
    }
}

impl Conf for EmptyGifConf {
    fn merge(&mut self, outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        // a content handler belongs to its own block, not even an `if` inside takes it over
        self.set.enabled.init(false);
        self.merge_settings(outer);
        Ok(())
    }

    fn is_inherited_whole(&self, _inner: &LevelKind) -> bool {
        !self.enabled
    }
}

static DIRECTIVES: &[Directive<Builder>] = &[Directive {
    name: "empty_gif",
    contexts: Contexts::LOCATION,
    arity: Arity::Exactly(0),
    shape: Shape::Simple,
    default: "",
    doc: "Answers with a transparent GIF image of one pixel.",
    apply: |cx, _| {
        cx.conf(&CONF).set.enabled.replace(true);
        Ok(())
    },
}];

impl Module for EmptyGif {
    fn name(&self) -> &'static str {
        "ngx_http_empty_gif_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&CONF);
    }

    fn attach(&self, cx: &mut Attach<'_>) -> Result<()> {
        if cx.confs.get(&CONF).enabled {
            cx.content(Rc::new(EmptyGif));
        }
        Ok(())
    }
}

/// Browsers may keep the image for good: nginx dates it back to 1970.
const LAST_MODIFIED: i64 = 23_349_600;

impl Handler for EmptyGif {
    fn handle<'r>(&'r self, req: &'r mut Request) -> Step<'r> {
        if !matches!(req.method, Method::Get | Method::Head) {
            return Step::Ready(Flow::Status(405));
        }
        req.out.last_modified = Some(LAST_MODIFIED);
        let body = Bytes::from_static(IMAGE);
        let content_type = Some(Bytes::from_static(b"image/gif"));
        Step::Ready(Flow::Respond(Response { status: 200, body, content_type }))
    }
}

/// The image: GIF89a, 1×1, a palette of black and white of which the used entry is transparent.
static IMAGE: &[u8] = &[
    b'G', b'I', b'F', b'8', b'9', b'a', // signature and version
    1, 0, 1, 0, 0x80, 1, 0, // width, height, palette of two, background, aspect
    0, 0, 0, 0xff, 0xff, 0xff, // the palette
    0x21, 0xf9, 4, 1, 0, 0, 1, 0, // graphic control: entry 1 is transparent
    0x2c, 0, 0, 0, 0, 1, 0, 1, 0, 0, // one image at the origin
    2, 2, 0x4c, 1, 0,    // its one pixel, compressed
    0x3b, // the end
];

#[cfg(test)]
mod tests {
    #[test]
    fn the_image_has_the_size_of_nginx_s() {
        assert_eq!(super::IMAGE.len(), 43);
    }
}
