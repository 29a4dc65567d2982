//! `ngx_http_auth_request_module`: another location, or the service behind it, says whether a request may pass.
//!
//! A subrequest without a body is made; a 2xx response grants access, 401 and 403 deny it, and anything else is a fault of the
//! service. `auth_request_set` takes variables out of the subrequest.

use std::rc::Rc;

use ::conf::{Arity, Contexts, Directive, Error, Node, Result, Shape};

use crate::build::{Builder, Conf, MergeCx, Slot};
use crate::module::{Attach, Module};
use crate::phase::{Flow, Handler, Phase, Step, order};
use crate::request::{Request, SubrequestOptions};
use crate::script::Template;
use crate::variables::{Source, VarId};

/// The module.
pub const MODULE: AuthRequest = AuthRequest;

static CONF: Slot<AuthRequestConf> = Slot::new();

/// See the module's documentation.
pub struct AuthRequest;

static DIRECTIVES: &[Directive<Builder>] = &[
    Directive {
        name: "auth_request",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "off",
        doc: "Grants access by the status of a subrequest to this URI.",
        apply: |cx, node| {
            let conf = cx.conf(&CONF);
            if conf.uri.is_some() {
                return Err(Error::predicate("is duplicate"));
            }
            let uri = if node.first() == "off" { &[][..] } else { node.bytes(0) };
            conf.uri = Some(uri.into());
            Ok(())
        },
    },
    Directive {
        name: "auth_request_set",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(2),
        shape: Shape::Simple,
        default: "",
        doc: "Sets a variable when the subrequest is complete; the value may use the variables of the subrequest, as \
              `$upstream_http_*`.",
        apply: set,
    },
];

/// Whom to ask, and what to keep of the answer.
#[derive(Default)]
pub struct AuthRequestConf {
    /// Empty: `off`.
    uri: Option<Rc<[u8]>>,
    collecting: Vec<(VarId, Template)>,
    assignments: Rc<[(VarId, Template)]>,
}

impl Conf for AuthRequestConf {
    fn merge(&mut self, outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        if self.uri.is_none() {
            self.uri.clone_from(&outer.uri);
        }
        self.assignments = if self.collecting.is_empty() {
            Rc::clone(&outer.assignments)
        } else {
            std::mem::take(&mut self.collecting).into()
        };
        Ok(())
    }
}

fn set(cx: &mut Builder, node: &Node) -> Result<()> {
    let Some(name) = node.first().strip_prefix('$') else {
        return Err(node.error(format!("invalid variable name \"{}\"", node.first())));
    };
    let id = cx.variables.declare(node, name, Source::Stored, true)?;
    let value = Template::parse(cx, node, node.second())?;
    cx.conf(&CONF).collecting.push((id, value));
    Ok(())
}

impl Module for AuthRequest {
    fn name(&self) -> &'static str {
        "ngx_http_auth_request_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&CONF);
    }

    fn attach(&self, cx: &mut Attach<'_>) -> Result<()> {
        let conf = cx.confs.get(&CONF);
        if let Some(uri) = conf.uri.as_ref().filter(|uri| !uri.is_empty()) {
            let ask = Ask { uri: Rc::clone(uri), assignments: Rc::clone(&conf.assignments) };
            cx.handler(Phase::Access, order::AUTH_REQUEST, Rc::new(ask));
        }
        Ok(())
    }
}

struct Ask {
    uri: Rc<[u8]>,
    assignments: Rc<[(VarId, Template)]>,
}

impl Handler for Ask {
    fn handle<'r>(&'r self, req: &'r mut Request) -> Step<'r> {
        Step::wait(self.ask(req))
    }
}

impl Ask {
    async fn ask(&self, req: &mut Request) -> Flow {
        let options = SubrequestOptions { header_only: true, ..SubrequestOptions::default() };
        let mut sub = match req.subrequest(self.uri.to_vec(), options).await {
            Ok(sub) => sub,
            Err(fault) => return req.fail(&fault),
        };
        self.assign(req, &mut sub);
        match sub.out.status {
            401 => {
                for (name, value) in sub.out.headers.iter() {
                    if name.eq_ignore_ascii_case(b"WWW-Authenticate") {
                        req.out.headers.push(name, value);
                    }
                }
                Flow::Status(401)
            }
            403 => Flow::Status(403),
            200..300 => Flow::Done,
            status => {
                req.log_error(format_args!("auth request unexpected status: {status}"));
                Flow::Status(500)
            }
        }
    }

    /// Templates see the subrequest; the values they share with it are lent for that long.
    fn assign(&self, req: &mut Request, sub: &mut Request) {
        for (id, template) in self.assignments.iter() {
            std::mem::swap(&mut req.values, &mut sub.values);
            let value = template.eval(sub);
            std::mem::swap(&mut req.values, &mut sub.values);
            req.set_variable(*id, Some(&value));
        }
    }
}
