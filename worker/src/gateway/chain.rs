//! Running plugins, one after the other, until one answers.

use std::rc::Rc;

use super::context::{GatewayContext, RequestVars};
use super::plugins::{Attached, PluginSet};
use crate::log::Level;
use crate::phase::{Flow, Response, Step};
use crate::plugin::{Answer, Phases, Verdict};
use crate::request::Request;

/// Runs one phase of `set`, without the plugins named in `except`. `Some`: a plugin has decided.
pub(super) async fn run(
    req: &mut Request,
    set: &PluginSet,
    phase: Phases,
    except: Option<&PluginSet>,
) -> Option<Flow> {
    if !set.phases.contains(phase) {
        return None;
    }
    for plugin in set.list.iter() {
        if !plugin.phases.contains(phase) || !applies(req, plugin) {
            continue;
        }
        if except.is_some_and(|except| except.list.iter().any(|other| Rc::ptr_eq(other, plugin))) {
            continue;
        }
        match ask(plugin, phase, req).resolve().await {
            Verdict::Next => {}
            Verdict::Flow(flow) => return Some(flow),
            Verdict::Answer(answer) => return Some(answered(req, plugin, answer)),
        }
    }
    None
}

fn ask<'r>(plugin: &'r Attached, phase: Phases, req: &'r mut Request) -> Step<'r, Verdict> {
    match phase {
        Phases::REWRITE => plugin.instance.rewrite(req),
        Phases::ACCESS => plugin.instance.access(req),
        _ => plugin.instance.before_proxy(req),
    }
}

/// `_meta.filter`.
fn applies(req: &mut Request, plugin: &Attached) -> bool {
    plugin.filter.as_ref().is_none_or(|filter| filter.eval(&mut RequestVars(req)))
}

fn answered(req: &mut Request, plugin: &Attached, mut answer: Answer) -> Flow {
    if answer.status >= 400 {
        req.log(Level::Warn, format_args!("{} exits with http status code {}", plugin.name, answer.status));
        if let Some((body, json)) = &plugin.error_response {
            answer.body = Some(body.clone());
            answer.content_type = json.then_some("application/json");
        }
    }
    flow_of(answer)
}

/// What the engine makes of an answer.
pub(super) fn flow_of(answer: Answer) -> Flow {
    match answer.body {
        // the built-in page of its status, if it has one
        None if answer.status >= 300 => Flow::Status(answer.status),
        None => {
            Flow::Respond(Response { status: answer.status, body: bytes::Bytes::new(), content_type: None })
        }
        Some(body) => {
            let content_type = answer.content_type.unwrap_or("text/plain; charset=utf-8");
            let content_type = Some(bytes::Bytes::from_static(content_type.as_bytes()));
            Flow::Respond(Response { status: answer.status, body, content_type })
        }
    }
}

/// Calls `each` for the plugins of the request that run in `phase`: global ones first.
pub(super) fn for_each(req: &mut Request, phase: Phases, mut each: impl FnMut(&mut Request, &Rc<Attached>)) {
    let Some(context) = req.context.get::<GatewayContext>() else { return };
    let sets = [context.global.clone(), context.plugins.clone()];
    for set in sets.iter().filter(|set| set.phases.contains(phase)) {
        for plugin in set.list.iter().filter(|plugin| plugin.phases.contains(phase)) {
            if applies(req, plugin) {
                each(req, plugin);
            }
        }
    }
}
