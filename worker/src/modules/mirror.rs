//! `ngx_http_mirror_module`: sends a copy of a request elsewhere and forgets the response.
//!
//! The copy is a background subrequest: it shares the body that was read and nothing else, and nobody waits for it.

use std::rc::Rc;

use ::conf::{Arity, Contexts, Directive, Node, Result, Shape};

use crate::build::{Builder, Conf, MergeCx, Slot};
use crate::io::Io;
use crate::module::{Attach, Module};
use crate::phase::{self, Flow, Handler, Phase, Step, order};
use crate::request::{Origin, Request, SubrequestOptions};
use crate::settings;
use crate::worker::ConnectionGuard;

/// The module.
pub const MODULE: Mirror = Mirror;

static CONF: Slot<MirrorConf> = Slot::new();

/// See the module's documentation.
pub struct Mirror;

static DIRECTIVES: &[Directive<Builder>] = &[
    Directive {
        name: "mirror",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "off",
        doc: "Sends a copy of each request to this URI, whose response is ignored; may be given several times.",
        apply: mirror,
    },
    Directive {
        name: "mirror_request_body",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "on",
        doc: "Whether copies carry the body, which is then read before anything else is done with it.",
        apply: |cx, node| cx.conf(&CONF).set.request_body.set(node.flag()?),
    },
];

settings! {
    /// Where copies go.
    pub struct MirrorConf, MirrorSettings {
        /// `mirror`; `None`: `off`.
        targets: Option<Rc<[Rc<[u8]>]>> = None,
        /// `mirror_request_body`.
        request_body: bool = true,
    }
}

impl Conf for MirrorConf {
    fn merge(&mut self, outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        self.merge_settings(outer);
        Ok(())
    }
}

fn mirror(cx: &mut Builder, node: &Node) -> Result<()> {
    let targets = &mut cx.conf(&CONF).set.targets;
    if node.first() == "off" {
        return targets.set(None);
    }
    match targets.or_insert_with(|| Some(Rc::from([]))) {
        None => Err(node.predicate("is duplicate")),
        Some(list) => {
            *list = list.iter().cloned().chain([node.bytes(0).into()]).collect();
            Ok(())
        }
    }
}

impl Module for Mirror {
    fn name(&self) -> &'static str {
        "ngx_http_mirror_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&CONF);
    }

    fn attach(&self, cx: &mut Attach<'_>) -> Result<()> {
        let conf = cx.confs.get(&CONF);
        if let Some(targets) = &conf.targets {
            let copy = Copy { targets: Rc::clone(targets), with_body: conf.request_body };
            cx.handler(Phase::Precontent, order::MIRROR, Rc::new(copy));
        }
        Ok(())
    }
}

struct Copy {
    targets: Rc<[Rc<[u8]>]>,
    with_body: bool,
}

/// Marks a request whose copies were sent: an internal redirect sends no more of them from the same location.
struct Sent;

impl Handler for Copy {
    fn handle<'r>(&'r self, req: &'r mut Request) -> Step<'r> {
        if !req.is_main() || req.context.get::<Sent>().is_some() {
            return Step::Ready(Flow::Next);
        }
        if self.with_body && !req.body.is_absent() {
            return Step::wait(self.after_body(req));
        }
        self.send(req);
        Step::Ready(Flow::Next)
    }
}

impl Copy {
    async fn after_body(&self, req: &mut Request) -> Flow {
        if let Err(fault) = req.read_body().await {
            return req.fail(&fault);
        }
        self.send(req);
        Flow::Next
    }

    fn send(&self, req: &mut Request) {
        req.context.set(Sent);
        for uri in self.targets.iter() {
            let options = SubrequestOptions {
                args: req.args.clone(),
                method: Some(req.method),
                header_only: true,
                with_body: self.with_body,
                body_max: 0,
            };
            let mut sub = req.fork(uri.to_vec(), options, Io::None);
            sub.origin = Origin::Background;
            // a worker that is told to quit lets copies arrive
            let guard = ConnectionGuard::new(&req.worker);
            net::spawn(async move {
                phase::run_subrequest(&mut sub).await;
                drop(guard);
            });
        }
    }
}
