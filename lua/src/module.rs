//! The module: what Lua attaches to a location.

use std::rc::Rc;

use ::conf::{Directive, Result};
use worker::build::Builder;
use worker::filter::Position;
use worker::module::{Attach, Module};
use worker::phase::{Phase, order};
use worker::worker::Worker;

use crate::code::Code;
use crate::conf::{HTTP, LOCATION, OWN};
use crate::filter::{LuaFilter, LuaLog};
use crate::handler::LuaHandler;
use crate::phase::Phases;
use crate::{directives, runtime};

/// The module.
pub const MODULE: Lua = Lua;

/// See the crate's documentation.
pub struct Lua;

impl Module for Lua {
    fn name(&self) -> &'static str {
        "ngx_http_lua_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        directives::DIRECTIVES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&HTTP);
        cx.register(&LOCATION);
        cx.register(&OWN);
        cx.register(&crate::api::shared::CONF);
        cx.register(&crate::api::re::CONF);
    }

    fn attach(&self, cx: &mut Attach<'_>) -> Result<()> {
        let conf = cx.confs.share(&LOCATION);
        let mut attach = |code: &Option<Rc<Code>>, place: Phase, phase: Phases| {
            if let Some(code) = code {
                cx.handler(place, order::LUA, Rc::new(LuaHandler { code: Rc::clone(code), phase }));
            }
        };
        attach(&conf.server_rewrite, Phase::ServerRewrite, Phases::SERVER_REWRITE);
        attach(&conf.rewrite, Phase::Rewrite, Phases::REWRITE);
        attach(&conf.access, Phase::Access, Phases::ACCESS);
        attach(&conf.precontent, Phase::Precontent, Phases::PRECONTENT);
        if let Some(code) = &conf.log {
            cx.handler(Phase::Log, order::LUA, Rc::new(LuaLog { code: Rc::clone(code) }));
        }
        if conf.header_filter.is_some() || conf.body_filter.is_some() {
            let (header, body) = (conf.header_filter.clone(), conf.body_filter.clone());
            cx.filter(Position::Guest, Rc::new(LuaFilter { header, body }));
        }
        let own = cx.confs.get(&OWN);
        if let Some(code) = &own.content {
            cx.content(Rc::new(LuaHandler { code: Rc::clone(code), phase: Phases::CONTENT }));
        }
        Ok(())
    }

    fn prepare(&self, worker: &Rc<Worker>) -> std::result::Result<(), String> {
        runtime::prepare(worker)
    }

    fn start(&self, worker: &Rc<Worker>) {
        runtime::start(worker);
    }

    fn stop(&self, worker: &Rc<Worker>) {
        runtime::stop(worker);
    }
}
