//! The directives of the Lua module.

use std::rc::Rc;

use ::conf::{Arity, Contexts, Directive, Node, Result, Setting, Shape};
use worker::build::Builder;

use crate::code::Code;
use crate::conf::{HTTP, HttpSettings, LOCATION, LuaSettings, OWN};

const HSL: Contexts = Contexts::HTTP_SERVER_LOCATION;
const HSL_LIF: Contexts = HSL.or(Contexts::LOCATION_IF);
const LOCATIONS: Contexts = Contexts::LOCATION.or(Contexts::LOCATION_IF);
const SERVERS: Contexts = Contexts::HTTP.or(Contexts::SERVER);

/// A directive that holds Lua code, in one of its forms.
const fn code(
    name: &'static str,
    contexts: Contexts,
    shape: Shape,
    doc: &'static str,
    apply: fn(&mut Builder, &Node) -> Result<()>,
) -> Directive<Builder> {
    let arity = match shape {
        Shape::RawBlock => Arity::Exactly(0),
        _ => Arity::Exactly(1),
    };
    Directive { name, contexts, arity, shape, default: "", doc, apply }
}

const fn simple(
    name: &'static str,
    contexts: Contexts,
    arity: Arity,
    default: &'static str,
    doc: &'static str,
    apply: fn(&mut Builder, &Node) -> Result<()>,
) -> Directive<Builder> {
    Directive { name, contexts, arity, shape: Shape::Simple, default, doc, apply }
}

fn set(
    cx: &mut Builder,
    node: &Node,
    field: fn(&mut LuaSettings) -> &mut Setting<Option<Rc<Code>>>,
) -> Result<()> {
    let code = Code::new(cx, node, 0)?;
    field(&mut cx.conf(&LOCATION).set).set(Some(code))
}

fn set_http(
    cx: &mut Builder,
    node: &Node,
    field: fn(&mut HttpSettings) -> &mut Setting<Option<Rc<Code>>>,
) -> Result<()> {
    let code = Code::new(cx, node, 0)?;
    field(&mut cx.conf(&HTTP).set).set(Some(code))
}

fn content(cx: &mut Builder, node: &Node) -> Result<()> {
    let code = Code::new(cx, node, 0)?;
    let own = cx.conf(&OWN);
    if own.content.is_some() {
        return Err(node.predicate("is duplicate"));
    }
    own.content = Some(code);
    Ok(())
}

type PathField = fn(&mut HttpSettings) -> &mut Setting<Option<Rc<[u8]>>>;

fn path(cx: &mut Builder, node: &Node, field: PathField) -> Result<()> {
    field(&mut cx.conf(&HTTP).set).set(Some(node.bytes(0).into()))
}

pub(crate) static DIRECTIVES: &[Directive<Builder>] = &[
    code(
        "init_by_lua_block",
        Contexts::HTTP,
        Shape::RawBlock,
        "Runs Lua code when a worker process starts, before it serves.",
        |cx, node| set_http(cx, node, |set| &mut set.init),
    ),
    code(
        "init_by_lua_file",
        Contexts::HTTP,
        Shape::Simple,
        "Runs the Lua code of a file when a worker process starts, before it serves.",
        |cx, node| set_http(cx, node, |set| &mut set.init),
    ),
    code(
        "init_by_lua",
        Contexts::HTTP,
        Shape::Simple,
        "Runs Lua code when a worker process starts, before it serves.",
        |cx, node| set_http(cx, node, |set| &mut set.init),
    ),
    code(
        "init_worker_by_lua_block",
        Contexts::HTTP,
        Shape::RawBlock,
        "Runs Lua code in each worker process.",
        |cx, node| set_http(cx, node, |set| &mut set.init_worker),
    ),
    code(
        "init_worker_by_lua_file",
        Contexts::HTTP,
        Shape::Simple,
        "Runs the Lua code of a file in each worker process.",
        |cx, node| set_http(cx, node, |set| &mut set.init_worker),
    ),
    code(
        "init_worker_by_lua",
        Contexts::HTTP,
        Shape::Simple,
        "Runs Lua code in each worker process.",
        |cx, node| set_http(cx, node, |set| &mut set.init_worker),
    ),
    code(
        "exit_worker_by_lua_block",
        Contexts::HTTP,
        Shape::RawBlock,
        "Runs Lua code when a worker process ends.",
        |cx, node| set_http(cx, node, |set| &mut set.exit_worker),
    ),
    code(
        "exit_worker_by_lua_file",
        Contexts::HTTP,
        Shape::Simple,
        "Runs the Lua code of a file when a worker process ends.",
        |cx, node| set_http(cx, node, |set| &mut set.exit_worker),
    ),
    code(
        "server_rewrite_by_lua_block",
        SERVERS,
        Shape::RawBlock,
        "Runs Lua code in the rewrite phase of the server.",
        |cx, node| set(cx, node, |set| &mut set.server_rewrite),
    ),
    code(
        "server_rewrite_by_lua_file",
        SERVERS,
        Shape::Simple,
        "Runs the Lua code of a file in the rewrite phase of the server.",
        |cx, node| set(cx, node, |set| &mut set.server_rewrite),
    ),
    code(
        "rewrite_by_lua_block",
        HSL_LIF,
        Shape::RawBlock,
        "Runs Lua code at the end of the rewrite phase.",
        |cx, node| set(cx, node, |set| &mut set.rewrite),
    ),
    code(
        "rewrite_by_lua_file",
        HSL_LIF,
        Shape::Simple,
        "Runs the Lua code of a file at the end of the rewrite phase.",
        |cx, node| set(cx, node, |set| &mut set.rewrite),
    ),
    code(
        "rewrite_by_lua",
        HSL_LIF,
        Shape::Simple,
        "Runs Lua code at the end of the rewrite phase.",
        |cx, node| set(cx, node, |set| &mut set.rewrite),
    ),
    code(
        "access_by_lua_block",
        HSL_LIF,
        Shape::RawBlock,
        "Runs Lua code at the end of the access phase.",
        |cx, node| set(cx, node, |set| &mut set.access),
    ),
    code(
        "access_by_lua_file",
        HSL_LIF,
        Shape::Simple,
        "Runs the Lua code of a file at the end of the access phase.",
        |cx, node| set(cx, node, |set| &mut set.access),
    ),
    code(
        "access_by_lua",
        HSL_LIF,
        Shape::Simple,
        "Runs Lua code at the end of the access phase.",
        |cx, node| set(cx, node, |set| &mut set.access),
    ),
    code(
        "precontent_by_lua_block",
        HSL_LIF,
        Shape::RawBlock,
        "Runs Lua code at the end of the precontent phase.",
        |cx, node| set(cx, node, |set| &mut set.precontent),
    ),
    code(
        "precontent_by_lua_file",
        HSL_LIF,
        Shape::Simple,
        "Runs the Lua code of a file at the end of the precontent phase.",
        |cx, node| set(cx, node, |set| &mut set.precontent),
    ),
    code("content_by_lua_block", LOCATIONS, Shape::RawBlock, "Answers requests with Lua code.", content),
    code(
        "content_by_lua_file",
        LOCATIONS,
        Shape::Simple,
        "Answers requests with the Lua code of a file.",
        content,
    ),
    code("content_by_lua", LOCATIONS, Shape::Simple, "Answers requests with Lua code.", content),
    simple(
        "lua_package_path",
        Contexts::HTTP,
        Arity::Exactly(1),
        "",
        "Where Lua modules are looked for; ;; stands for the default.",
        |cx, node| path(cx, node, |set| &mut set.package_path),
    ),
    simple(
        "lua_package_cpath",
        Contexts::HTTP,
        Arity::Exactly(1),
        "",
        "Where modules written in C are looked for; ;; stands for the default.",
        |cx, node| path(cx, node, |set| &mut set.package_cpath),
    ),
    simple(
        "lua_code_cache",
        HSL_LIF,
        Arity::Flag,
        "on",
        "Whether Lua code is loaded once; off loads everything anew for each request.",
        |cx, node| cx.conf(&LOCATION).set.code_cache.set(node.flag()?),
    ),
];
