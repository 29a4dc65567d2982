//! `ngx_http_random_index_module`: a URI that ends in a slash becomes a file of its directory, chosen anew each time.

use std::rc::Rc;

use conf::{Arity, Contexts, Directive, Result, Shape};
use http1::Method;

use crate::build::{Builder, Conf, MergeCx, Slot};
use crate::log::Level;
use crate::module::{Attach, Module};
use crate::phase::{Flow, Handler, Jump, Phase, Step, order};
use crate::request::Request;
use crate::settings;

/// The module.
pub const MODULE: RandomIndex = RandomIndex;

/// Where the module's settings stand.
pub static CONF: Slot<RandomIndexConf> = Slot::new();

/// See the module's documentation.
pub struct RandomIndex;

settings! {
    /// Settings of a location.
    pub struct RandomIndexConf, RandomIndexSettings {
        /// `random_index`.
        enabled: bool = false,
    }
}

impl Conf for RandomIndexConf {
    fn merge(&mut self, outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        self.merge_settings(outer);
        Ok(())
    }
}

static DIRECTIVES: &[Directive<Builder>] = &[Directive {
    name: "random_index",
    contexts: Contexts::LOCATION,
    arity: Arity::Flag,
    shape: Shape::Simple,
    default: "off",
    doc: "Serves a random file of the directory a URI names.",
    apply: |cx, node| cx.conf(&CONF).set.enabled.set(node.flag()?),
}];

impl Module for RandomIndex {
    fn name(&self) -> &'static str {
        "ngx_http_random_index_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&CONF);
    }

    fn attach(&self, cx: &mut Attach<'_>) -> Result<()> {
        if cx.confs.get(&CONF).enabled {
            cx.handler(Phase::Content, order::RANDOM_INDEX, Rc::new(RandomIndex));
        }
        Ok(())
    }
}

impl Handler for RandomIndex {
    fn handle<'r>(&'r self, req: &'r mut Request) -> Step<'r> {
        if req.uri.last() != Some(&b'/') || !matches!(req.method, Method::Get | Method::Head | Method::Post) {
            return Step::Ready(Flow::Next);
        }
        Step::wait(choose(req))
    }
}

async fn choose(req: &mut Request) -> Flow {
    let mut path = req.map_uri_to_path();
    if path.len() > 1 && path.ends_with(b"/") {
        path.pop();
    }
    let mut entries = match req.list_directory(&path).await {
        Ok(Some(entries)) => entries,
        Ok(None) => return Flow::Status(500),
        Err(failure) => {
            let flow = failure.flow();
            let level = if matches!(flow, Flow::Status(500)) { Level::Crit } else { Level::Error };
            req.log_file(level, &path, &failure);
            return flow;
        }
    };
    entries.retain(|entry| entry.info.is_regular());
    if entries.is_empty() {
        return Flow::Next;
    }
    let chosen = &entries[rand::random_range(0..entries.len())];
    let uri = [&req.uri[..], &chosen.name].concat();
    Flow::Jump(Jump::Uri { uri, args: None })
}
