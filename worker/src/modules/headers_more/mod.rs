//! `ngx_http_headers_more_filter_module` of OpenResty's bundle: sets and clears any field of requests and responses.
//!
//! Response fields are changed before those of `add_header` are added; request fields at the end of the rewrite phase, after
//! the instructions of the rewrite module. The directives of an outer level come before those of an inner one.

mod input;
mod output;
mod parse;

use std::rc::Rc;

use conf::{Arity, Contexts, Directive, Node, Result, Shape};

use crate::build::{Builder, Conf, MergeCx, Slot};
use crate::filter::{Filter, Interest, Position};
use crate::module::{Attach, Module};
use crate::phase::{Flow, Handler, Phase, Step, order};
use crate::request::Request;
use parse::{Change, Kind};

/// The module.
pub const MODULE: HeadersMore = HeadersMore;

static CONF: Slot<HeadersMoreConf> = Slot::new();

/// See the module's documentation.
pub struct HeadersMore;

/// What one level changes, in the order of the text.
#[derive(Default)]
pub struct HeadersMoreConf {
    output: Vec<Rc<Change>>,
    input: Vec<Rc<Change>>,
}

impl Conf for HeadersMoreConf {
    fn merge(&mut self, outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        let behind = |own: &mut Vec<_>, around: &[Rc<Change>]| {
            own.splice(0..0, around.iter().cloned());
        };
        behind(&mut self.output, &outer.output);
        behind(&mut self.input, &outer.input);
        Ok(())
    }
}

const HSL_IF: Contexts = Contexts::HTTP_SERVER_LOCATION.or(Contexts::LOCATION_IF);

static DIRECTIVES: &[Directive<Builder>] = &[
    Directive {
        name: "more_set_headers",
        contexts: HSL_IF,
        arity: Arity::AtLeast(1),
        shape: Shape::Simple,
        default: "",
        doc: "Sets fields of responses, whatever their status; -s: of these statuses, -t: of these types, -a: adds.",
        apply: |cx, node| add(cx, node, Kind::SetOutput),
    },
    Directive {
        name: "more_clear_headers",
        contexts: HSL_IF,
        arity: Arity::AtLeast(1),
        shape: Shape::Simple,
        default: "",
        doc: "Removes fields of responses; a name may end with *. Options as of more_set_headers.",
        apply: |cx, node| add(cx, node, Kind::ClearOutput),
    },
    Directive {
        name: "more_set_input_headers",
        contexts: HSL_IF,
        arity: Arity::AtLeast(1),
        shape: Shape::Simple,
        default: "",
        doc: "Sets fields of requests at the end of the rewrite phase; -t: of these types, -r: only those that are there.",
        apply: |cx, node| add(cx, node, Kind::SetInput),
    },
    Directive {
        name: "more_clear_input_headers",
        contexts: HSL_IF,
        arity: Arity::AtLeast(1),
        shape: Shape::Simple,
        default: "",
        doc: "Removes fields of requests; a name may end with *. Option -t as of more_set_input_headers.",
        apply: |cx, node| add(cx, node, Kind::ClearInput),
    },
];

fn add(cx: &mut Builder, node: &Node, kind: Kind) -> Result<()> {
    let change = Rc::new(Change::parse(cx, node, kind)?);
    let conf = cx.conf(&CONF);
    match kind {
        Kind::SetOutput | Kind::ClearOutput => conf.output.push(change),
        Kind::SetInput | Kind::ClearInput => conf.input.push(change),
    }
    Ok(())
}

impl Module for HeadersMore {
    fn name(&self) -> &'static str {
        "ngx_http_headers_more_filter_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&CONF);
    }

    fn attach(&self, cx: &mut Attach<'_>) -> Result<()> {
        let conf = cx.confs.get(&CONF);
        if !conf.output.is_empty() {
            let changes = conf.output.as_slice().into();
            cx.filter(Position::Guest, Rc::new(Output(changes)));
        }
        if !conf.input.is_empty() {
            let changes = conf.input.as_slice().into();
            cx.handler(Phase::Rewrite, order::HEADERS_MORE, Rc::new(Input(changes)));
        }
        Ok(())
    }
}

struct Output(Rc<[Rc<Change>]>);

impl Filter for Output {
    fn header<'r>(
        &'r self,
        req: &'r mut Request,
    ) -> Step<'r, std::result::Result<Interest, crate::fault::Fault>> {
        for change in self.0.iter() {
            output::apply(change, req);
        }
        Step::Ready(Ok(Interest::None))
    }
}

struct Input(Rc<[Rc<Change>]>);

impl Handler for Input {
    fn handle<'r>(&'r self, req: &'r mut Request) -> Step<'r> {
        for change in self.0.iter() {
            input::apply(change, req);
        }
        Step::Ready(Flow::Next)
    }
}
