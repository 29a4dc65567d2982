//! `resolver` and `resolver_timeout`, in locations and in `upstream` blocks.

use std::rc::Rc;
use std::time::Duration;

use conf::value::addr::Address;
use conf::value::{time, url};
use conf::{Arity, Contexts, Directive, Node, Result, Setting, Shape};
use net::Addr;

use crate::build::{Builder, Conf, MergeCx, Slot};
use crate::module::Module;
use crate::resolver::{Located, Resolver};

/// The module.
pub const MODULE: ResolverDirectives = ResolverDirectives;

/// The resolver of each level.
pub static CONF: Slot<ResolverConf> = Slot::new();

/// Port of name servers.
const PORT: u16 = 53;
/// Default of `resolver_timeout`, ms.
const TIMEOUT_MS: u64 = 30_000;

/// See the module's documentation.
pub struct ResolverDirectives;

impl Module for ResolverDirectives {
    fn name(&self) -> &'static str {
        "ngx_http_core_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&CONF);
    }
}

static DIRECTIVES: &[Directive<Builder>] = &[
    Directive {
        name: "resolver",
        contexts: Contexts::HTTP_SERVER_LOCATION.or(Contexts::UPSTREAM),
        arity: Arity::AtLeast(1),
        shape: Shape::Simple,
        default: "",
        doc: "Name servers for names that are resolved while serving.",
        apply: resolver,
    },
    Directive {
        name: "resolver_timeout",
        contexts: Contexts::HTTP_SERVER_LOCATION.or(Contexts::UPSTREAM),
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "30s",
        doc: "How long a name may take to resolve.",
        apply: |cx, node| cx.conf(&CONF).timeout.set(node.time_ms()?),
    },
];

/// The resolver of a level.
#[derive(Default)]
pub struct ResolverConf {
    /// `resolver`.
    pub resolver: Setting<Rc<Resolver>>,
    /// `resolver_timeout`, ms.
    pub timeout: Setting<u64>,
    /// Both, after merging; `None`: no `resolver`.
    pub located: Option<Rc<Located>>,
}

impl Conf for ResolverConf {
    fn merge(&mut self, outer: &Self, _: &mut MergeCx<'_>) -> Result<()> {
        self.resolver.inherit(&outer.resolver);
        self.timeout.merge(&outer.timeout, TIMEOUT_MS);
        let limit = Duration::from_millis(*self.timeout.get());
        self.located =
            self.resolver.as_ref().map(|resolver| Rc::new(Located::new(Rc::clone(resolver), limit)));
        Ok(())
    }
}

/// `resolver address… [valid=time] [ipv4=on|off] [ipv6=on|off]`.
fn resolver(cx: &mut Builder, node: &Node) -> Result<()> {
    cx.conf(&CONF).resolver.check_unset()?;
    let (mut servers, mut valid) = (Vec::new(), None);
    let (mut ipv4, mut ipv6) = (true, true);
    for text in node.str_args() {
        let invalid = || node.error(format!("invalid parameter: {text}"));
        let switch = |value| match value {
            "on" => Ok(true),
            "off" => Ok(false),
            _ => Err(invalid()),
        };
        match text.split_once('=') {
            Some(("valid", value)) => valid = Some(time::parse_sec(value).ok_or_else(invalid)?),
            Some(("ipv4", value)) => ipv4 = switch(value)?,
            Some(("ipv6", value)) => ipv6 = switch(value)?,
            _ => {
                let options = url::Options { default_port: PORT, ..url::Options::default() };
                let url = url::parse(text, options)
                    .map_err(|error| node.error(format!("{error} in resolver \"{text}\"")))?;
                servers.extend(url.addresses.iter().filter_map(Address::inet).map(Addr::from));
            }
        }
    }
    if !ipv4 && !ipv6 {
        return Err(node.error("\"ipv4\" and \"ipv6\" cannot both be \"off\""));
    }
    if servers.is_empty() {
        return Err(node.error("no name servers defined"));
    }
    // as in nginx, "valid=0" is the same as none
    cx.conf(&CONF).resolver.set(Resolver::new(servers, valid.filter(|valid| *valid > 0), ipv4, ipv6))
}
