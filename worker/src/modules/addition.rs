//! `ngx_http_addition_filter_module`: the responses of other locations before and after a response.
//!
//! The added pieces are subrequests; they pass the filters of their own locations and then only those of the response as a
//! whole (`gzip`), and nothing of them is kept in memory longer than it takes to send it.

use std::rc::Rc;

use ::conf::{Arity, Contexts, Directive, Result, Shape};

use crate::body::Progress;
use crate::build::{Builder, Conf, MergeCx, Slot};
use crate::fault::Fault;
use crate::filter::{Chain, Filter, Interest, Position};
use crate::module::{Attach, Module};
use crate::modules::http::TypeSet;
use crate::phase::Step;
use crate::request::{Request, SubrequestOptions};
use crate::settings;

/// The module.
pub const MODULE: Addition = Addition;

static CONF: Slot<AdditionConf> = Slot::new();

/// See the module's documentation.
pub struct Addition;

const HSL: Contexts = Contexts::HTTP_SERVER_LOCATION;

static DIRECTIVES: &[Directive<Builder>] = &[
    Directive {
        name: "add_before_body",
        contexts: HSL,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "",
        doc: "URI whose response comes before each response; the empty text: none.",
        apply: |cx, node| cx.conf(&CONF).set.before.set(node.bytes(0).into()),
    },
    Directive {
        name: "add_after_body",
        contexts: HSL,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "",
        doc: "URI whose response comes behind each response; the empty text: none.",
        apply: |cx, node| cx.conf(&CONF).set.after.set(node.bytes(0).into()),
    },
    Directive {
        name: "addition_types",
        contexts: HSL,
        arity: Arity::AtLeast(1),
        shape: Shape::Simple,
        default: "text/html",
        doc: "Media types of responses to which something is added, besides text/html; `*`: all.",
        apply: |cx, node| {
            cx.extend_types(node, |cx| &mut cx.conf(&CONF).set.types);
            Ok(())
        },
    },
];

settings! {
    /// What is added in a location.
    pub struct AdditionConf, AdditionSettings {
        /// `add_before_body`; empty: nothing.
        before: Rc<[u8]> = Rc::from([]),
        /// `add_after_body`; empty: nothing.
        after: Rc<[u8]> = Rc::from([]),
        /// `addition_types`.
        types: TypeSet = TypeSet::html(),
    }
}

impl Conf for AdditionConf {
    fn merge(&mut self, outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        self.merge_settings(outer);
        Ok(())
    }
}

impl Module for Addition {
    fn name(&self) -> &'static str {
        "ngx_http_addition_filter_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&CONF);
    }

    fn attach(&self, cx: &mut Attach<'_>) -> Result<()> {
        let conf = cx.confs.share(&CONF);
        if !conf.before.is_empty() || !conf.after.is_empty() {
            cx.filter(Position::Addition, Rc::new(AdditionFilter { conf }));
        }
        Ok(())
    }
}

struct AdditionFilter {
    conf: Rc<AdditionConf>,
}

/// What is still to be added to a response.
#[derive(Default)]
struct Pending {
    before: bool,
    after: bool,
}

impl Filter for AdditionFilter {
    fn header<'r>(&'r self, req: &'r mut Request) -> Step<'r, std::result::Result<Interest, Fault>> {
        if req.out.status != 200 || !req.is_main() || !self.conf.types.contains(&req.out) {
            return Step::Ready(Ok(Interest::None));
        }
        req.out.clear_length();
        req.out.clear_ranges();
        req.out.weaken_etag();
        if req.header_only {
            return Step::Ready(Ok(Interest::None));
        }
        let pending = Pending { before: !self.conf.before.is_empty(), after: !self.conf.after.is_empty() };
        req.context.set(pending);
        Step::Ready(Ok(Interest::Body))
    }

    fn body<'r>(
        &'r self,
        req: &'r mut Request,
        chain: &'r mut Chain,
    ) -> Step<'r, std::result::Result<(), Fault>> {
        let pending = req.context.entry::<Pending>();
        let before = std::mem::take(&mut pending.before);
        let after = chain.last && std::mem::take(&mut pending.after);
        if !before && !after {
            return Step::Ready(Ok(()));
        }
        Step::wait(self.add(req, chain, before, after))
    }
}

impl AdditionFilter {
    async fn add(
        &self,
        req: &mut Request,
        chain: &mut Chain,
        before: bool,
        after: bool,
    ) -> std::result::Result<(), Fault> {
        if before {
            include(req, &self.conf.before).await?;
        }
        if after {
            let mut own = std::mem::take(chain);
            own.last = false;
            req.pass_on(own).await?;
            include(req, &self.conf.after).await?;
            chain.last = true;
        }
        Ok(())
    }
}

/// Sends the response of a location, whatever its status.
async fn include(req: &mut Request, uri: &[u8]) -> std::result::Result<(), Fault> {
    let options =
        SubrequestOptions { with_body: req.body.progress == Progress::Kept, ..SubrequestOptions::default() };
    let running = req.start_subrequest(uri.to_vec(), options, None)?;
    while let Some(piece) = req.next_piece(&running).await? {
        req.pass_on_foreign(piece).await?;
    }
    running.end().await?;
    Ok(())
}
