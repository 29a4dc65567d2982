//! `response-rewrite`: another status, other fields, another body for the client.

use base64::Engine as _;
use bytes::{Bytes, BytesMut};
use http1::Known;
use pcre2::bytes::Regex;
use schemas::PluginSpec;
use schemas::expr::Expr;
use serde::Deserialize;
use serde_json::Value;
use worker::fault::Fault;
use worker::filter::{Chain, Interest};
use worker::gateway::RequestVars;
use worker::log::Level;
use worker::plugin::{Phases, Plugin, Prepare};
use worker::request::Request;

use crate::template::Template;
use crate::{headers, pattern};

/// See the module's documentation.
pub(crate) struct ResponseRewrite {
    status: Option<u16>,
    vars: Option<Expr>,
    add: Vec<(Vec<u8>, Template)>,
    set: Vec<(Vec<u8>, Vec<Template>)>,
    remove: Vec<Vec<u8>>,
    body: Option<Bytes>,
    filters: Vec<Filter>,
    body_max: usize,
}

struct Filter {
    regex: Regex,
    replace: Template,
    global: bool,
}

#[derive(Deserialize)]
pub(crate) struct Conf {
    max_resp_body_size: usize,
    headers: Option<Value>,
    body: Option<String>,
    body_base64: bool,
    status_code: Option<u16>,
    vars: Option<Value>,
    #[serde(default)]
    filters: Vec<FilterConf>,
}

#[derive(Deserialize)]
struct FilterConf {
    regex: String,
    scope: String,
    replace: String,
    options: String,
}

/// The body so far, while it is held.
#[derive(Default)]
struct Held(BytesMut);

impl Plugin for ResponseRewrite {
    const SPEC: &'static PluginSpec = &PluginSpec {
        check: crate::check::<Self>,
        ..PluginSpec::new(
            "response-rewrite",
            899,
            0.1,
            include_str!("../../schemas/plugins/response-rewrite.json"),
        )
    };
    const PHASES: Phases = Phases::HEADER_FILTER;
    type Conf = Conf;

    fn prepare(conf: Conf, _: &Prepare<'_>) -> Result<Self, String> {
        let body = match (&conf.body, conf.body_base64) {
            (Some(text), true) => {
                let decoded = base64::engine::general_purpose::STANDARD.decode(text);
                let decoded = decoded.ok().filter(|decoded| !decoded.is_empty());
                Some(Bytes::from(decoded.ok_or("invalid base64 content")?))
            }
            (None, true) => return Err("invalid base64 content".into()),
            (Some(text), false) => Some(Bytes::from(text.clone())),
            (None, false) => None,
        };
        let wrong = |error| format!("failed to validate the 'vars' expression: {error}");
        let vars = conf.vars.as_ref().map(Expr::parse).transpose().map_err(wrong)?;
        let filter = |filter: &FilterConf| {
            let wrong = |error| format!("regex \"{}\" validation failed: {error}", filter.regex);
            Ok(Filter {
                regex: pattern::compile(&filter.regex, filter.options.contains('i')).map_err(wrong)?,
                replace: Template::new(&filter.replace),
                global: filter.scope == "global",
            })
        };
        let filters = conf.filters.iter().map(filter).collect::<Result<_, String>>()?;
        let mut this = Self {
            status: conf.status_code,
            vars,
            add: Vec::new(),
            set: Vec::new(),
            remove: Vec::new(),
            body,
            filters,
            body_max: conf.max_resp_body_size,
        };
        if let Some(fields) = &conf.headers {
            this.read_fields(fields)?;
        }
        Ok(this)
    }

    fn header_filter(&self, req: &mut Request) -> Result<Interest, Fault> {
        if self.vars.as_ref().is_some_and(|vars| !vars.eval(&mut RequestVars(req))) {
            return Ok(Interest::None);
        }
        if let Some(status) = self.status {
            req.out.status = status;
            req.out.status_text = None;
            req.err_status = 0;
        }
        let mut interest = Interest::None;
        if self.body.is_some() {
            headers::body_changes(req);
            interest = Interest::Memory;
        } else if !self.filters.is_empty() {
            if req.out.headers.contains(b"Content-Encoding") {
                req.log(Level::Error, format_args!("filters may not work as expected: the body is encoded"));
            } else {
                headers::body_changes(req);
                interest = Interest::Memory;
            }
        }
        self.fields(req);
        if interest != Interest::None {
            req.context.set(Held::default());
        }
        Ok(interest)
    }

    fn body_filter(&self, req: &mut Request, chain: &mut Chain) -> Result<(), Fault> {
        if let Some(body) = &self.body {
            let first = req.context.take::<Held>().is_some();
            chain.chunks.clear();
            if first {
                chain.push(body.clone());
            }
            return Ok(());
        }
        let Some(Held(mut held)) = req.context.take::<Held>() else { return Ok(()) };
        for bytes in chain.take_memory() {
            let room = self.body_max.saturating_sub(held.len());
            held.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        if !chain.last {
            req.context.set(Held(held));
            return Ok(());
        }
        let mut body = held.to_vec();
        for filter in &self.filters {
            body = filter.apply(&body);
        }
        chain.push(body.into());
        Ok(())
    }
}

impl ResponseRewrite {
    fn read_fields(&mut self, fields: &Value) -> Result<(), String> {
        let is = |name: &str| fields.get(name).is_some_and(|value| value.is_object() || value.is_array());
        if !(is("add") || is("set") || is("remove")) {
            self.set = headers::templates_of(Some(fields));
            return headers::check_names(self.set.iter().map(|(name, _)| &name[..]));
        }
        let list = |name: &str| {
            let items = fields.get(name).and_then(Value::as_array).into_iter().flatten();
            items.filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
        };
        for line in list("add") {
            let (name, value) = line.split_once(':').ok_or("invalid header to add")?;
            self.add.push((name.trim().as_bytes().to_vec(), Template::new(value.trim())));
        }
        self.set = headers::templates_of(fields.get("set"));
        self.remove = list("remove").into_iter().map(String::into_bytes).collect();
        let added = self.add.iter().map(|(name, _)| &name[..]);
        headers::check_names(added.chain(self.set.iter().map(|(name, _)| &name[..])))
    }

    fn fields(&self, req: &mut Request) {
        for (name, value) in &self.add {
            let (value, _) = value.eval(req, &[]);
            headers::add_response(req, name, &value);
        }
        for (name, values) in &self.set {
            for value in values {
                let (value, _) = value.eval(req, &[]);
                headers::set_response(req, name, &value);
            }
        }
        for name in &self.remove {
            headers::remove_response(req, name);
        }
        if self.remove.iter().any(|name| Known::from_name(name) == Some(Known::Server)) {
            req.out.server = Some(Vec::new());
        }
    }
}

impl Filter {
    fn apply(&self, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(body.len());
        let mut at = 0;
        for captures in self.regex.captures_iter(body) {
            let Ok(captures) = captures else { break };
            let Some(whole) = captures.get(0) else { break };
            out.extend_from_slice(&body[at..whole.start()]);
            out.extend_from_slice(&self.replace.of_captures(&captures));
            at = whole.end();
            if !self.global {
                break;
            }
        }
        out.extend_from_slice(&body[at..]);
        out
    }
}
