//! `ngx_http_access_module`: `allow` and `deny` by client address.
//!
//! The first rule that fits decides; without one the other checks of the access phase do.

use std::rc::Rc;

use ::conf::value::cidr::Cidr;
use ::conf::{Arity, Contexts, Directive, Node, Result, Shape};

use crate::access::Satisfy;
use crate::build::{Builder, Conf, MergeCx, Slot};
use crate::module::{Attach, Module};
use crate::phase::{Flow, Handler, Phase, Step, order};
use crate::request::Request;

/// The module.
pub const MODULE: Access = Access;

static CONF: Slot<AccessConf> = Slot::new();

/// See the module's documentation.
pub struct Access;

const PLACES: Contexts = Contexts::HTTP_SERVER_LOCATION.or(Contexts::LIMIT_EXCEPT);

static DIRECTIVES: &[Directive<Builder>] = &[
    Directive {
        name: "allow",
        contexts: PLACES,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "",
        doc: "Allows an address, a network, `unix:` or `all`.",
        apply: |cx, node| rule(cx, node, false),
    },
    Directive {
        name: "deny",
        contexts: PLACES,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "",
        doc: "Denies an address, a network, `unix:` or `all`.",
        apply: |cx, node| rule(cx, node, true),
    },
];

/// The rules of one level; a level with rules of its own inherits none.
#[derive(Default)]
pub struct AccessConf {
    collecting: Vec<Rule>,
    rules: Rc<[Rule]>,
}

#[derive(Debug, Clone, Copy)]
struct Rule {
    /// `None`: everybody.
    who: Option<Cidr>,
    deny: bool,
}

impl Conf for AccessConf {
    fn merge(&mut self, outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        self.rules = if self.collecting.is_empty() {
            Rc::clone(&outer.rules)
        } else {
            std::mem::take(&mut self.collecting).into()
        };
        Ok(())
    }
}

fn rule(cx: &mut Builder, node: &Node, deny: bool) -> Result<()> {
    let text = node.first();
    let who = if text == "all" {
        None
    } else {
        let parsed = Cidr::parse(text).ok_or_else(|| node.invalid_parameter(0))?;
        if parsed.low_bits {
            cx.warn(node.warning(format!("low address bits of {text} are meaningless")));
        }
        Some(parsed.cidr)
    };
    cx.conf(&CONF).collecting.push(Rule { who, deny });
    Ok(())
}

impl Module for Access {
    fn name(&self) -> &'static str {
        "ngx_http_access_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&CONF);
    }

    fn attach(&self, cx: &mut Attach<'_>) -> Result<()> {
        let rules = Rc::clone(&cx.confs.get(&CONF).rules);
        if !rules.is_empty() {
            cx.handler(Phase::Access, order::ACCESS, Rc::new(Check { rules }));
        }
        Ok(())
    }
}

struct Check {
    rules: Rc<[Rule]>,
}

impl Check {
    /// Whether `client` is denied; `None`: no rule fits.
    fn denies(&self, client: &net::Addr) -> Option<bool> {
        let fits = |who: &Cidr| match client.ip() {
            Some(ip) => who.contains(ip),
            None => *who == Cidr::Unix,
        };
        self.rules.iter().find(|rule| rule.who.as_ref().is_none_or(fits)).map(|rule| rule.deny)
    }
}

impl Handler for Check {
    fn handle<'r>(&'r self, req: &'r mut Request) -> Step<'r> {
        Step::Ready(match self.denies(&req.client.addr) {
            None => Flow::Next,
            Some(false) => Flow::Done,
            Some(true) => {
                // under `satisfy any` the engine says it, once nobody else has granted access
                if req.http().satisfy == Satisfy::All {
                    req.log_error(format_args!("access forbidden by rule"));
                }
                Flow::Status(403)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn the_first_rule_that_fits_decides() {
        let rule = |text: &str, deny| Rule { who: Cidr::parse(text).map(|parsed| parsed.cidr), deny };
        let rules = [
            rule("10.1.0.0/16", true),
            rule("10.0.0.0/8", false),
            rule("2001:db8::/32", false),
            rule("unix:", false),
            rule("192.0.2.1", true),
        ];
        let check = |rules: &[Rule], client: &str| {
            let addr = match client {
                "unix:" => net::Addr::unix(""),
                text => text.parse::<SocketAddr>().unwrap().into(),
            };
            Check { rules: rules.into() }.denies(&addr)
        };
        for (client, expected) in [
            ("10.1.2.3:1", Some(true)),
            ("10.2.2.3:1", Some(false)),
            ("[::ffff:10.1.2.3]:1", Some(true)),
            ("[2001:db8::1]:1", Some(false)),
            ("[2001:db9::1]:1", None),
            ("unix:", Some(false)),
            ("192.0.2.2:1", None),
        ] {
            assert_eq!(check(&rules, client), expected, "{client}");
        }
        let all = [rules[4], Rule { who: None, deny: true }];
        assert_eq!(check(&all, "unix:"), Some(true));
    }
}
