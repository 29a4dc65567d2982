//! The directives of the Lua module.

use std::rc::Rc;

use ::conf::{Arity, Contexts, Directive, Node, Result, Setting, Shape};
use worker::build::Builder;
use worker::modules::upstream;

use crate::balancer::LuaBalancer;
use crate::code::Code;
use crate::conf::{HTTP, HttpSettings, LOCATION, LuaSettings, OWN};

use crate::set;

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

fn balancer(cx: &mut Builder, node: &Node) -> Result<()> {
    let code = Code::new(cx, node, 0)?;
    upstream::set_guest(cx, node, Box::new(|servers| Rc::new(LuaBalancer { code, servers })))
}

pub(crate) static DIRECTIVES: &[Directive<Builder>] = &[
    code(
        "balancer_by_lua_block",
        Contexts::UPSTREAM,
        Shape::RawBlock,
        "Chooses the server with Lua code.",
        balancer,
    ),
    code(
        "balancer_by_lua_file",
        Contexts::UPSTREAM,
        Shape::Simple,
        "Chooses the server with the Lua code of a file.",
        balancer,
    ),
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
    code(
        "header_filter_by_lua_block",
        HSL_LIF,
        Shape::RawBlock,
        "Runs Lua code when the response head is sent.",
        |cx, node| set(cx, node, |set| &mut set.header_filter),
    ),
    code(
        "header_filter_by_lua_file",
        HSL_LIF,
        Shape::Simple,
        "Runs the Lua code of a file when the response head is sent.",
        |cx, node| set(cx, node, |set| &mut set.header_filter),
    ),
    code(
        "header_filter_by_lua",
        HSL_LIF,
        Shape::Simple,
        "Runs Lua code when the response head is sent.",
        |cx, node| set(cx, node, |set| &mut set.header_filter),
    ),
    code(
        "body_filter_by_lua_block",
        HSL_LIF,
        Shape::RawBlock,
        "Runs Lua code for each piece of the response body.",
        |cx, node| set(cx, node, |set| &mut set.body_filter),
    ),
    code(
        "body_filter_by_lua_file",
        HSL_LIF,
        Shape::Simple,
        "Runs the Lua code of a file for each piece of the response body.",
        |cx, node| set(cx, node, |set| &mut set.body_filter),
    ),
    code(
        "body_filter_by_lua",
        HSL_LIF,
        Shape::Simple,
        "Runs Lua code for each piece of the response body.",
        |cx, node| set(cx, node, |set| &mut set.body_filter),
    ),
    code(
        "log_by_lua_block",
        HSL_LIF,
        Shape::RawBlock,
        "Runs Lua code when the response is complete.",
        |cx, node| set(cx, node, |set| &mut set.log),
    ),
    code(
        "log_by_lua_file",
        HSL_LIF,
        Shape::Simple,
        "Runs the Lua code of a file when the response is complete.",
        |cx, node| set(cx, node, |set| &mut set.log),
    ),
    code("log_by_lua", HSL_LIF, Shape::Simple, "Runs Lua code when the response is complete.", |cx, node| {
        set(cx, node, |set| &mut set.log)
    }),
    Directive {
        name: "set_by_lua_block",
        contexts: Contexts::SERVER.or(Contexts::LOCATION).or(Contexts::SERVER_IF).or(Contexts::LOCATION_IF),
        arity: Arity::Exactly(1),
        shape: Shape::RawBlock,
        default: "",
        doc: "Assigns a variable what Lua code returns.",
        apply: set::apply,
    },
    Directive {
        name: "set_by_lua_file",
        contexts: Contexts::SERVER.or(Contexts::LOCATION).or(Contexts::SERVER_IF).or(Contexts::LOCATION_IF),
        arity: Arity::AtLeast(2),
        shape: Shape::Simple,
        default: "",
        doc: "Assigns a variable what Lua code returns.",
        apply: set::apply,
    },
    Directive {
        name: "set_by_lua",
        contexts: Contexts::SERVER.or(Contexts::LOCATION).or(Contexts::SERVER_IF).or(Contexts::LOCATION_IF),
        arity: Arity::AtLeast(2),
        shape: Shape::Simple,
        default: "",
        doc: "Assigns a variable what Lua code returns.",
        apply: set::apply,
    },
    simple(
        "lua_need_request_body",
        HSL_LIF,
        Arity::Flag,
        "off",
        "Reads the request body before Lua code runs.",
        |cx, node| cx.conf(&LOCATION).set.need_request_body.set(node.flag()?),
    ),
    simple(
        "lua_use_default_type",
        HSL_LIF,
        Arity::Flag,
        "on",
        "Whether responses of Lua code without a type have the default one.",
        |cx, node| cx.conf(&LOCATION).set.use_default_type.set(node.flag()?),
    ),
    simple(
        "lua_http10_buffering",
        HSL_LIF,
        Arity::Flag,
        "on",
        "Keeps responses to HTTP/1.0 clients until their length is known.",
        |cx, node| cx.conf(&LOCATION).set.http10_buffering.set(node.flag()?),
    ),
    simple(
        "lua_check_client_abort",
        HSL_LIF,
        Arity::Flag,
        "off",
        "Watches for clients that close their connections.",
        |cx, node| cx.conf(&LOCATION).set.check_client_abort.set(node.flag()?),
    ),
    simple(
        "lua_transform_underscores_in_response_headers",
        HSL_LIF,
        Arity::Flag,
        "on",
        "Whether underscores in names of response fields stand for dashes.",
        |cx, node| cx.conf(&LOCATION).set.transform_underscores.set(node.flag()?),
    ),
    simple(
        "lua_socket_log_errors",
        HSL_LIF,
        Arity::Flag,
        "on",
        "Whether failures of cosockets are logged.",
        |cx, node| cx.conf(&LOCATION).set.socket_log_errors.set(node.flag()?),
    ),
    simple(
        "lua_socket_connect_timeout",
        HSL_LIF,
        Arity::Exactly(1),
        "60s",
        "How long cosockets try to connect.",
        |cx, node| cx.conf(&LOCATION).set.socket_connect_timeout.set(node.time_ms()?),
    ),
    simple(
        "lua_socket_send_timeout",
        HSL_LIF,
        Arity::Exactly(1),
        "60s",
        "How long cosockets wait between two writes.",
        |cx, node| cx.conf(&LOCATION).set.socket_send_timeout.set(node.time_ms()?),
    ),
    simple(
        "lua_socket_read_timeout",
        HSL_LIF,
        Arity::Exactly(1),
        "60s",
        "How long cosockets wait between two reads.",
        |cx, node| cx.conf(&LOCATION).set.socket_read_timeout.set(node.time_ms()?),
    ),
    simple(
        "lua_socket_keepalive_timeout",
        HSL_LIF,
        Arity::Exactly(1),
        "60s",
        "How long idle connections are kept.",
        |cx, node| cx.conf(&LOCATION).set.socket_keepalive_timeout.set(node.time_ms()?),
    ),
    simple(
        "lua_socket_pool_size",
        HSL_LIF,
        Arity::Exactly(1),
        "30",
        "Connections of one pool that are kept.",
        |cx, node| cx.conf(&LOCATION).set.socket_pool_size.set(node.number()?),
    ),
    simple(
        "lua_socket_buffer_size",
        HSL_LIF,
        Arity::Exactly(1),
        "4k",
        "Bytes that cosockets read at once.",
        |cx, node| cx.conf(&LOCATION).set.socket_buffer_size.set(node.size()?),
    ),
    simple(
        "lua_max_pending_timers",
        Contexts::HTTP,
        Arity::Exactly(1),
        "1024",
        "Timers that may wait.",
        |cx, node| cx.conf(&HTTP).set.pending_timers_max.set(node.number()?),
    ),
    simple(
        "lua_max_running_timers",
        Contexts::HTTP,
        Arity::Exactly(1),
        "256",
        "Timers whose functions may run at a time.",
        |cx, node| cx.conf(&HTTP).set.running_timers_max.set(node.number()?),
    ),
    simple(
        "lua_memory_limit",
        Contexts::HTTP,
        Arity::Exactly(1),
        "1024m",
        "Bytes that the Lua code of one worker may use.",
        |cx, node| cx.conf(&HTTP).set.memory_limit.set(node.size()?),
    ),
    simple(
        "lua_time_limit",
        Contexts::HTTP,
        Arity::Exactly(1),
        "10s",
        "How long Lua code may compute without giving control back.",
        |cx, node| cx.conf(&HTTP).set.time_limit.set(node.time_ms()?),
    ),
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
    simple(
        "lua_shared_dict",
        Contexts::HTTP,
        Arity::Exactly(2),
        "",
        "Declares a dictionary that all workers share: ngx.shared.NAME.",
        crate::api::shared::declare,
    ),
    simple(
        "lua_regex_cache_max_entries",
        Contexts::HTTP,
        Arity::Exactly(1),
        "1024",
        "How many compiled patterns of ngx.re a worker keeps (option o).",
        crate::api::re::cache_max_entries,
    ),
    simple(
        "lua_regex_match_limit",
        Contexts::HTTP,
        Arity::Exactly(1),
        "0",
        "How much a match of ngx.re may try; 0: PCRE2's own limit of ten million.",
        crate::api::re::match_limit,
    ),
];
