//! Where `fastcgi_pass` and its like lead.

use std::rc::Rc;

use conf::value::url::{self, Url};
use conf::{Error, Node, Result, Span};

use super::PassSettings;
use crate::build::{Builder, LevelKind};
use crate::fault::Fault;
use crate::modules::http::LOCATION;
use crate::modules::proxy;
use crate::request::Request;
use crate::script::Template;
use crate::upstream::Upstream;

/// The argument of a `*_pass`.
#[derive(Debug)]
pub struct Target {
    span: Span,
    to: To,
}

#[derive(Debug)]
enum To {
    Fixed(Url),
    Template(Template),
}

/// Where the requests of a location go.
pub(super) enum Where {
    Fixed(Rc<Upstream>),
    /// Made from variables.
    Variable(Rc<Target>),
}

fn options() -> url::Options {
    url::Options { no_resolve: true, ..url::Options::default() }
}

/// `*_pass address`. `strip` takes a scheme off the address, or refuses it.
pub(in crate::modules) fn apply(
    cx: &mut Builder,
    node: &Node,
    set: fn(&mut Builder) -> &mut PassSettings,
    strip: fn(&str) -> std::result::Result<&str, String>,
) -> Result<()> {
    set(cx).target.check_unset()?;
    if let LevelKind::Location(spec) = cx.kind()
        && spec.name.ends_with(b"/")
    {
        cx.conf(&LOCATION).set.auto_redirect.replace(true);
    }
    let text = node.first();
    let to = if text.contains('$') {
        strip(text).map_err(|text| Error::unsupported(&node.span, text))?;
        To::Template(Template::parse(cx, node, text)?)
    } else {
        let rest = strip(text).map_err(|text| Error::unsupported(&node.span, text))?;
        let parsed = url::parse(rest, options());
        To::Fixed(parsed.map_err(|error| node.error(format!("{error} in upstream \"{rest}\"")))?)
    };
    set(cx).target.set(Some(Rc::new(Target { span: node.span.clone(), to })))
}

impl Target {
    /// Finds the servers, if the address is known already.
    pub(super) fn resolve(self: &Rc<Self>, cx: &mut Builder) -> Result<Where> {
        let To::Fixed(url) = &self.to else { return Ok(Where::Variable(Rc::clone(self))) };
        if lacks_port(url) && cx.upstreams.find(&url.host, 0, true).is_none() {
            return Err(Error::at(&self.span, format!("no port in upstream \"{}\"", url.host)));
        }
        Ok(Where::Fixed(cx.upstreams.for_url(&self.span, url)?))
    }
}

fn lacks_port(url: &Url) -> bool {
    url.no_port && !url.host.starts_with('/')
}

impl Where {
    /// The servers of one request.
    pub(super) async fn find(
        &self,
        req: &mut Request,
        strip: fn(&str) -> std::result::Result<&str, String>,
    ) -> std::result::Result<Rc<Upstream>, Fault> {
        let target = match self {
            Self::Fixed(upstream) => return Ok(Rc::clone(upstream)),
            Self::Variable(target) => target,
        };
        let To::Template(template) = &target.to else { unreachable!("fixed targets are resolved") };
        let text = String::from_utf8_lossy(&template.eval(req)).into_owned();
        let rest = strip(&text).map_err(Fault::internal)?;
        let url = url::parse(rest, options())
            .map_err(|error| Fault::internal(format!("{error} in upstream \"{rest}\"")))?;
        if lacks_port(&url) && req.config.upstream_table.find(&url.host, 0, true).is_none() {
            return Err(Fault::internal(format!("no port in upstream \"{}\"", url.host)));
        }
        proxy::find_upstream(req, &url).await
    }
}
