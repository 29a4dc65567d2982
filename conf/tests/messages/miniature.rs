//! A server of a few directives.

use std::ops::ControlFlow;
use std::rc::Rc;

use conf::value::addr::Address;
use conf::{Arity, Contexts, Cursor, Directive, Error, Kind, Node, Registry, Result, Setting, Shape};

/// What one block has set.
#[derive(Default)]
pub struct Values {
    root: Setting<String>,
    sendfile: Setting<bool>,
    timeout: Setting<u64>,
    body_size: Setting<u64>,
    buffer_size: Setting<usize>,
    buffers: Setting<(usize, usize)>,
    connections: Setting<u64>,
    satisfy: Setting<u8>,
    requests: Setting<u64>,
}

/// The configuration being built.
pub struct Miniature {
    registry: Rc<Registry<Miniature>>,
    context: Contexts,
    values: Values,
    /// Everything that is not fatal.
    pub collected: Vec<Error>,
}

impl Miniature {
    pub fn new() -> Miniature {
        Miniature {
            registry: Rc::new(registry()),
            context: Contexts::MAIN,
            values: Values::default(),
            collected: Vec::new(),
        }
    }

    fn inside(&mut self, context: Contexts, node: &Node) -> Result<()> {
        let registry = Rc::clone(&self.registry);
        let outer = (self.context, std::mem::take(&mut self.values));
        self.context = context;
        let result = conf::apply(&registry, node.children(), self);
        (self.context, self.values) = outer;
        result
    }
}

impl Cursor for Miniature {
    fn context(&self) -> Contexts {
        self.context
    }

    fn report(&mut self, error: Error) -> ControlFlow<Error> {
        match error.kind() {
            Kind::Fatal => ControlFlow::Break(error),
            Kind::Unsupported | Kind::Warning => {
                self.collected.push(error);
                ControlFlow::Continue(())
            }
        }
    }
}

pub fn registry() -> Registry<Miniature> {
    let mut registry = Registry::new();
    registry.add("ngx_events_module", EVENTS);
    registry.add("ngx_http_core_module", HTTP);
    registry.add("ngx_http_lua_module", LUA);
    registry
}

const HSL: Contexts = Contexts::HTTP_SERVER_LOCATION;

static EVENTS: &[Directive<Miniature>] = &[
    Directive {
        name: "events",
        contexts: Contexts::MAIN,
        arity: Arity::Exactly(0),
        shape: Shape::Block,
        default: "",
        doc: "Connections.",
        apply: |cx, node| cx.inside(Contexts::EVENTS, node),
    },
    Directive {
        name: "worker_connections",
        contexts: Contexts::EVENTS,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "512",
        doc: "How many.",
        apply: |cx, node| {
            cx.values.connections.check_unset()?;
            let count = conf::value::number::parse(node.first());
            let error = || node.error(format!("invalid number \"{}\"", node.first()));
            cx.values.connections.set(count.ok_or_else(error)?)
        },
    },
];

static HTTP: &[Directive<Miniature>] = &[
    Directive {
        name: "http",
        contexts: Contexts::MAIN,
        arity: Arity::Exactly(0),
        shape: Shape::Block,
        default: "",
        doc: "The web.",
        apply: |cx, node| cx.inside(Contexts::HTTP, node),
    },
    Directive {
        name: "server",
        contexts: Contexts::HTTP,
        arity: Arity::Exactly(0),
        shape: Shape::Block,
        default: "",
        doc: "A site.",
        apply: |cx, node| cx.inside(Contexts::SERVER, node),
    },
    Directive {
        name: "location",
        contexts: Contexts::SERVER.or(Contexts::LOCATION),
        arity: Arity::Range(1, 2),
        shape: Shape::Block,
        default: "",
        doc: "A part of a site.",
        apply: |cx, node| cx.inside(Contexts::LOCATION, node),
    },
    Directive {
        name: "listen",
        contexts: Contexts::SERVER,
        arity: Arity::AtLeast(1),
        shape: Shape::Simple,
        default: "*:80",
        doc: "Where.",
        apply: |_, node| listen(node),
    },
    Directive {
        name: "root",
        contexts: HSL.or(Contexts::LOCATION_IF),
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "html",
        doc: "Files.",
        apply: |cx, node| cx.values.root.set(node.first().to_owned()),
    },
    Directive {
        name: "sendfile",
        contexts: HSL.or(Contexts::LOCATION_IF),
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "off",
        doc: "How.",
        apply: |cx, node| cx.values.sendfile.set(node.flag()?),
    },
    Directive {
        name: "send_timeout",
        contexts: HSL,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "60s",
        doc: "When.",
        apply: |cx, node| cx.values.timeout.set(node.time_ms()?),
    },
    Directive {
        name: "client_max_body_size",
        contexts: HSL,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "1m",
        doc: "How much.",
        apply: |cx, node| cx.values.body_size.set(node.offset()?),
    },
    Directive {
        name: "client_body_buffer_size",
        contexts: HSL,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "16k",
        doc: "How much at once.",
        apply: |cx, node| cx.values.buffer_size.set(node.size()?),
    },
    Directive {
        name: "output_buffers",
        contexts: HSL,
        arity: Arity::Exactly(2),
        shape: Shape::Simple,
        default: "2 32k",
        doc: "How many.",
        apply: |cx, node| cx.values.buffers.set(node.buffers()?),
    },
    Directive {
        name: "keepalive_requests",
        contexts: HSL,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "1000",
        doc: "How often.",
        apply: |cx, node| {
            cx.values.requests.check_unset()?;
            cx.values.requests.set(node.number()?)
        },
    },
    Directive {
        name: "satisfy",
        contexts: HSL,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "all",
        doc: "Whom.",
        apply: |cx, node| cx.values.satisfy.set(node.choice(&[("all", 0), ("any", 1)])?),
    },
    Directive {
        name: "map",
        contexts: Contexts::HTTP,
        arity: Arity::Exactly(2),
        shape: Shape::Block,
        default: "",
        doc: "One from another.",
        apply: |_, node| map(node),
    },
];

static LUA: &[Directive<Miniature>] = &[Directive {
    name: "content_by_lua_block",
    contexts: Contexts::LOCATION,
    arity: Arity::Exactly(0),
    shape: Shape::RawBlock,
    default: "",
    doc: "A program.",
    apply: |_, node| match node.raw() {
        Some(_) => Ok(()),
        None => Err(node.error("no runnable Lua code")),
    },
}];

fn listen(node: &Node) -> Result<()> {
    use conf::value::url;
    let options = url::Options { default_port: 80, listen: true, ..url::Options::default() };
    let url = url::parse(node.first(), options).map_err(|error| {
        node.error(format!("{error} in \"{}\" of the \"listen\" directive", node.first()))
    })?;
    assert!(url.addresses.iter().all(|address| matches!(address, Address::Inet(_))));
    match node.arg(1) {
        None | Some("default_server") => Ok(()),
        Some(_) => Err(node.invalid_parameter(1)),
    }
}

fn map(node: &Node) -> Result<()> {
    for entry in node.entries() {
        let entry = entry?;
        if entry.len() != 2 {
            return Err(entry.node.error("invalid number of the map parameters"));
        }
    }
    Ok(())
}
