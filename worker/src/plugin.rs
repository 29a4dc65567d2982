//! Gateway plugins: what one is, and the table of those this process has.
//!
//! A plugin is a type that is made from its configuration ([`Plugin::prepare`]) once per change, and asked in the phases
//! it names ([`Plugin::PHASES`]) once per request. What it decides is a [`Verdict`]. A phase that needs no waiting
//! allocates nothing. Plugins see the request and their own configuration, not each other.

use std::rc::Rc;
use std::sync::OnceLock;

use bytes::Bytes;
use schemas::PluginSpec;
use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::fault::Fault;
use crate::filter::{Chain, Interest};
use crate::phase::Step;
use crate::request::Request;

/// A set of phases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Phases(u8);

#[allow(missing_docs)] // each is the phase of its name
impl Phases {
    pub const REWRITE: Self = Self(1);
    pub const ACCESS: Self = Self(1 << 1);
    pub const BEFORE_PROXY: Self = Self(1 << 2);
    pub const HEADER_FILTER: Self = Self(1 << 3);
    pub const BODY_FILTER: Self = Self(1 << 4);
    pub const LOG: Self = Self(1 << 5);
}

impl Phases {
    /// None.
    pub const NONE: Self = Self(0);

    /// Both.
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether one of `other` is in here.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// What a plugin decides.
#[derive(Debug)]
pub enum Verdict {
    /// Go on.
    Next,
    /// Answer with this.
    Answer(Answer),
    /// The plugin has ended the request in another way.
    Flow(crate::phase::Flow),
}

/// An answer of a plugin.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body; `None`: there is none.
    pub body: Option<Bytes>,
    /// Its type; `None`: the location's default.
    pub content_type: Option<&'static str>,
}

impl Answer {
    /// A status without a body.
    pub fn status(status: u16) -> Self {
        Self { status, body: None, content_type: None }
    }

    /// A text as it is.
    pub fn text(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, body: Some(body.into()), content_type: None }
    }

    /// A JSON value, with the newline APISIX ends it with.
    pub fn json(status: u16, value: &Value) -> Self {
        Self { status, body: Some(format!("{value}\n").into()), content_type: Some("application/json") }
    }

    /// `{"message": …}`.
    pub fn message(status: u16, message: &str) -> Self {
        Self::json(status, &serde_json::json!({ "message": message }))
    }
}

impl From<Answer> for Verdict {
    fn from(answer: Answer) -> Self {
        Verdict::Answer(answer)
    }
}

/// Where a configuration stands.
#[derive(Debug, Clone, Copy)]
pub struct Prepare<'a> {
    /// The key of the resource it is part of: `/apisix/routes/1`.
    pub parent: &'a str,
    /// The configuration as JSON.
    pub conf: &'a Value,
}

/// A plugin, written.
pub trait Plugin: Sized + 'static {
    /// Name, order, schemas.
    const SPEC: &'static PluginSpec;
    /// The phases it runs in.
    const PHASES: Phases;
    /// Its configuration, as its schema lets it through with defaults filled in.
    type Conf: DeserializeOwned;

    /// Compiles a configuration.
    fn prepare(conf: Self::Conf, cx: &Prepare<'_>) -> Result<Self, String>;

    /// First phase; consumers are identified here.
    fn rewrite<'r>(&'r self, _req: &'r mut Request) -> Step<'r, Verdict> {
        Step::Ready(Verdict::Next)
    }

    /// Second phase; the consumer is known.
    fn access<'r>(&'r self, _req: &'r mut Request) -> Step<'r, Verdict> {
        Step::Ready(Verdict::Next)
    }

    /// The upstream is chosen.
    fn before_proxy<'r>(&'r self, _req: &'r mut Request) -> Step<'r, Verdict> {
        Step::Ready(Verdict::Next)
    }

    /// The response head is about to be sent. What the plugin wants of the body is returned.
    fn header_filter(&self, _req: &mut Request) -> Result<Interest, Fault> {
        Ok(Interest::None)
    }

    /// A piece of the response body.
    fn body_filter(&self, _req: &mut Request, _chain: &mut Chain) -> Result<(), Fault> {
        Ok(())
    }

    /// The request is over.
    fn log(&self, _req: &mut Request) {}
}

/// A prepared plugin, whatever its type.
pub trait Instance {
    /// The phases it runs in.
    fn phases(&self) -> Phases;
    /// See [`Plugin::rewrite`].
    fn rewrite<'r>(&'r self, req: &'r mut Request) -> Step<'r, Verdict>;
    /// See [`Plugin::access`].
    fn access<'r>(&'r self, req: &'r mut Request) -> Step<'r, Verdict>;
    /// See [`Plugin::before_proxy`].
    fn before_proxy<'r>(&'r self, req: &'r mut Request) -> Step<'r, Verdict>;
    /// See [`Plugin::header_filter`].
    fn header_filter(&self, req: &mut Request) -> Result<Interest, Fault>;
    /// See [`Plugin::body_filter`].
    fn body_filter(&self, req: &mut Request, chain: &mut Chain) -> Result<(), Fault>;
    /// See [`Plugin::log`].
    fn log(&self, req: &mut Request);
}

impl<P: Plugin> Instance for P {
    fn phases(&self) -> Phases {
        P::PHASES
    }

    fn rewrite<'r>(&'r self, req: &'r mut Request) -> Step<'r, Verdict> {
        Plugin::rewrite(self, req)
    }

    fn access<'r>(&'r self, req: &'r mut Request) -> Step<'r, Verdict> {
        Plugin::access(self, req)
    }

    fn before_proxy<'r>(&'r self, req: &'r mut Request) -> Step<'r, Verdict> {
        Plugin::before_proxy(self, req)
    }

    fn header_filter(&self, req: &mut Request) -> Result<Interest, Fault> {
        Plugin::header_filter(self, req)
    }

    fn body_filter(&self, req: &mut Request, chain: &mut Chain) -> Result<(), Fault> {
        Plugin::body_filter(self, req, chain)
    }

    fn log(&self, req: &mut Request) {
        Plugin::log(self, req);
    }
}

/// A line of the table of plugins.
pub struct PluginEntry {
    /// Name, order, schemas.
    pub spec: &'static PluginSpec,
    /// Makes one from a configuration.
    pub make: fn(&Prepare<'_>) -> Result<Rc<dyn Instance>, String>,
}

impl PluginEntry {
    /// The line of `P`.
    pub const fn of<P: Plugin>() -> Self {
        Self {
            spec: P::SPEC,
            make: |cx| {
                let conf = P::Conf::deserialize(cx.conf).map_err(|error| error.to_string())?;
                Ok(Rc::new(P::prepare(conf, cx)?))
            },
        }
    }
}

static TABLE: OnceLock<&'static [PluginEntry]> = OnceLock::new();

/// Makes `plugins` those of this process; called once, before anything is served.
pub fn install(plugins: &'static [PluginEntry]) {
    // a second call would be the same list: there is one in the program
    let _ = TABLE.set(plugins);
}

/// The plugin called `name`.
pub fn find(name: &str) -> Option<&'static PluginEntry> {
    TABLE.get().copied().unwrap_or_default().iter().find(|entry| entry.spec.name == name)
}
