//! `ngx_http_stub_status_module`: counts of connections and requests, over all workers.

use std::fmt::Write as _;
use std::rc::Rc;

use ::conf::{Arity, Contexts, Directive, Result, Shape};
use http1::Method;
use shm::counter::Status;

use crate::build::{Builder, Conf, LevelKind, MergeCx, Slot};
use crate::module::{Attach, Module};
use crate::phase::{Flow, Handler, Response, Step};
use crate::request::Request;
use crate::settings;
use crate::variables::Variable;

/// The module.
pub const MODULE: StubStatus = StubStatus;

static CONF: Slot<StubStatusConf> = Slot::new();

/// See the module's documentation.
pub struct StubStatus;

static DIRECTIVES: &[Directive<Builder>] = &[Directive {
    name: "stub_status",
    contexts: Contexts::SERVER.or(Contexts::LOCATION),
    arity: Arity::Any,
    shape: Shape::Simple,
    default: "",
    doc: "Answers with counts of connections and requests.",
    apply: |cx, _| {
        cx.conf(&CONF).set.on.replace(true);
        Ok(())
    },
}];

macro_rules! gauge {
    ($name:literal, $status:expr, $doc:literal) => {
        Variable::new($name, $doc, |req, _, out| {
            let count = req.worker.counters.sum($status);
            out.extend_from_slice(http1::encode::decimal(count, &mut [0; 20]));
            true
        })
    };
}

static VARIABLES: &[Variable] = &[
    gauge!("connections_active", Status::Active, "Open client connections."),
    gauge!("connections_reading", Status::Reading, "Connections whose request head is being read."),
    gauge!("connections_writing", Status::Writing, "Connections that are being answered."),
    gauge!("connections_waiting", Status::Waiting, "Idle connections."),
];

settings! {
    /// Where the counts are shown.
    pub struct StubStatusConf, StubStatusSettings {
        /// `stub_status`.
        on: bool = false,
    }
}

impl Conf for StubStatusConf {
    fn merge(&mut self, outer: &Self, cx: &mut MergeCx<'_>) -> Result<()> {
        if !matches!(cx.kind, LevelKind::If | LevelKind::LimitExcept) {
            self.set.on.init(false);
        }
        self.merge_settings(outer);
        Ok(())
    }
}

impl Module for StubStatus {
    fn name(&self) -> &'static str {
        "ngx_http_stub_status_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }

    fn variables(&self) -> &'static [Variable] {
        VARIABLES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&CONF);
    }

    fn attach(&self, cx: &mut Attach<'_>) -> Result<()> {
        if cx.confs.get(&CONF).on {
            cx.content(Rc::new(Show));
        }
        Ok(())
    }
}

struct Show;

impl Handler for Show {
    fn handle<'r>(&'r self, req: &'r mut Request) -> Step<'r> {
        if !matches!(req.method, Method::Get | Method::Head) {
            return Step::Ready(Flow::Status(405));
        }
        let sum = |status| req.worker.counters.sum(status);
        let mut page = String::with_capacity(128);
        // writing to a string does not fail
        let _ = write!(
            page,
            "Active connections: {} \nserver accepts handled requests\n {} {} {} \n\
             Reading: {} Writing: {} Waiting: {} \n",
            sum(Status::Active),
            sum(Status::Accepts),
            sum(Status::Handled),
            sum(Status::Requests),
            sum(Status::Reading),
            sum(Status::Writing),
            sum(Status::Waiting),
        );
        let content_type = Some("text/plain".into());
        Step::Ready(Flow::Respond(Response { status: 200, body: page.into(), content_type }))
    }
}
