//! `fault-injection`, `mocking`, `echo`: answers that no upstream gave.

use std::time::Duration;

use bytes::Bytes;
use rand::Rng as _;
use schemas::PluginSpec;
use schemas::expr::Expr;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use worker::fault::Fault;
use worker::filter::{Chain, Interest};
use worker::gateway::RequestVars;
use worker::phase::Step;
use worker::plugin::{Answer, Phases, Plugin, Prepare, Verdict};
use worker::request::Request;

use crate::headers;
use crate::template::Template;

type Fields = Vec<(Vec<u8>, Vec<Template>)>;

/// `fault-injection`: aborts and delays.
pub(crate) struct FaultInjection {
    abort: Option<Abort>,
    delay: Option<(DelayConf, Option<Vec<Expr>>)>,
}

struct Abort {
    conf: AbortConf,
    body: Option<Template>,
    fields: Fields,
    vars: Option<Vec<Expr>>,
}

#[derive(Deserialize)]
pub(crate) struct FaultConf {
    abort: Option<AbortConf>,
    delay: Option<DelayConf>,
}

#[derive(Deserialize)]
struct AbortConf {
    http_status: u16,
    body: Option<String>,
    headers: Option<Value>,
    percentage: Option<u32>,
    vars: Option<Vec<Value>>,
}

#[derive(Deserialize)]
struct DelayConf {
    duration: f64,
    percentage: Option<u32>,
    vars: Option<Vec<Value>>,
}

impl Plugin for FaultInjection {
    const SPEC: &'static PluginSpec = &PluginSpec {
        check: crate::check::<Self>,
        ..PluginSpec::new(
            "fault-injection",
            11000,
            0.1,
            include_str!("../../schemas/plugins/fault-injection.json"),
        )
    };
    const PHASES: Phases = Phases::REWRITE;
    type Conf = FaultConf;

    fn prepare(conf: FaultConf, _: &Prepare<'_>) -> Result<Self, String> {
        let abort = match conf.abort {
            None => None,
            Some(abort) => {
                let (vars, fields) =
                    (exprs(abort.vars.as_deref())?, headers::templates_of(abort.headers.as_ref()));
                let body = abort.body.as_deref().map(Template::new);
                Some(Abort { conf: abort, body, fields, vars })
            }
        };
        let delay = match conf.delay {
            None => None,
            Some(delay) => {
                let vars = exprs(delay.vars.as_deref())?;
                Some((delay, vars))
            }
        };
        Ok(Self { abort, delay })
    }

    fn rewrite<'r>(&'r self, req: &'r mut Request) -> Step<'r, Verdict> {
        let delay =
            self.delay.as_ref().filter(|(conf, vars)| hits(conf.percentage) && holds(req, vars.as_deref()));
        match delay {
            Some((conf, _)) => {
                let wait = Duration::from_secs_f64(conf.duration.clamp(0.0, 86_400.0));
                Step::wait(async move {
                    match req.pause(wait).await {
                        Ok(()) => self.abort(req),
                        Err(fault) => Verdict::Flow(req.fail(&fault)),
                    }
                })
            }
            None => Step::Ready(self.abort(req)),
        }
    }
}

impl FaultInjection {
    fn abort(&self, req: &mut Request) -> Verdict {
        let Some(Abort { conf, body, fields, vars }) = &self.abort else { return Verdict::Next };
        if !hits(conf.percentage) || !holds(req, vars.as_deref()) {
            return Verdict::Next;
        }
        for (name, values) in fields {
            for value in values {
                let (value, _) = value.eval(req, &[]);
                headers::set_response(req, name, &value);
            }
        }
        match body {
            Some(body) => Answer::text(conf.http_status, body.eval(req, &[]).0).into(),
            None => Answer::status(conf.http_status).into(),
        }
    }
}

/// Any of the lists must hold; each is a list of conditions that must all hold.
fn exprs(vars: Option<&[Value]>) -> Result<Option<Vec<Expr>>, String> {
    let parse =
        |one: &Value| Expr::parse(one).map_err(|error| format!("failed to create vars expression: {error}"));
    vars.map(|vars| vars.iter().map(parse).collect()).transpose()
}

fn holds(req: &mut Request, exprs: Option<&[Expr]>) -> bool {
    exprs.is_none_or(|exprs| exprs.iter().any(|expr| expr.eval(&mut RequestVars(req))))
}

fn hits(percentage: Option<u32>) -> bool {
    percentage.is_none_or(|percentage| rand::rng().random_range(1..=100) <= percentage)
}

/// `mocking`: an answer from an example or made up after a schema.
pub(crate) struct Mocking {
    conf: MockConf,
    example: Option<Template>,
    fields: Fields,
}

#[derive(Deserialize)]
pub(crate) struct MockConf {
    delay: f64,
    response_status: u16,
    content_type: String,
    response_example: Option<String>,
    response_schema: Option<Value>,
    with_mock_header: bool,
    response_headers: Option<Value>,
}

/// Media types that can be made up.
const MOCKED: [&str; 4] = ["application/xml", "application/json", "text/plain", "text/html"];
/// How deep made-up values nest.
const MOCK_DEPTH_MAX: u32 = 16;

impl Plugin for Mocking {
    const SPEC: &'static PluginSpec = &PluginSpec {
        check: crate::check::<Self>,
        ..PluginSpec::new("mocking", 10900, 0.1, include_str!("../../schemas/plugins/mocking.json"))
    };
    const PHASES: Phases = Phases::ACCESS;
    type Conf = MockConf;

    fn prepare(conf: MockConf, _: &Prepare<'_>) -> Result<Self, String> {
        let kind = conf.content_type.split(';').next().unwrap_or_default().trim();
        if !MOCKED.contains(&kind) && kind != "text/xml" {
            return Err("unsupported content type!".into());
        }
        if conf.response_example.is_none() && kind.ends_with("xml") {
            return Err("\"response_schema\" for XML is not supported yet".into());
        }
        let example = conf.response_example.as_deref().map(Template::new);
        let fields = headers::templates_of(conf.response_headers.as_ref());
        Ok(Self { conf, example, fields })
    }

    fn access<'r>(&'r self, req: &'r mut Request) -> Step<'r, Verdict> {
        if self.conf.delay <= 0.0 {
            return Step::Ready(self.answer(req));
        }
        let wait = Duration::from_secs_f64(self.conf.delay.clamp(0.0, 86_400.0));
        Step::wait(async move {
            match req.pause(wait).await {
                Ok(()) => self.answer(req),
                Err(fault) => Verdict::Flow(req.fail(&fault)),
            }
        })
    }

    fn header_filter(&self, _: &mut Request) -> Result<Interest, Fault> {
        Ok(Interest::None)
    }
}

impl Mocking {
    fn answer(&self, req: &mut Request) -> Verdict {
        let body = match (&self.example, &self.conf.response_schema) {
            (Some(example), _) => example.eval(req, &[]).0,
            (None, Some(schema)) => made_up(schema, MOCK_DEPTH_MAX).to_string().into_bytes(),
            (None, None) => Vec::new(),
        };
        if self.conf.with_mock_header {
            headers::set_response(req, b"x-mock-by", b"Uresty");
        }
        for (name, values) in &self.fields {
            for value in values {
                let (value, _) = value.eval(req, &[]);
                headers::add_response(req, name, &value);
            }
        }
        let content_type = Some(Bytes::from(self.conf.content_type.clone()));
        let response =
            worker::phase::Response { status: self.conf.response_status, body: body.into(), content_type };
        Verdict::Flow(worker::phase::Flow::Respond(response))
    }
}

/// A value that fits a schema.
fn made_up(schema: &Value, left: u32) -> Value {
    let Some(left) = left.checked_sub(1) else { return Value::Null };
    let mut random = rand::rng();
    let example = schema.get("example");
    match schema.get("type").and_then(Value::as_str).unwrap_or("object") {
        "array" => {
            let count = random.random_range(1..=3);
            schema
                .get("items")
                .map_or(Value::Null, |items| (0..count).map(|_| made_up(items, left)).collect())
        }
        "string" => example.filter(|example| example.is_string()).cloned().unwrap_or_else(|| {
            let len = random.random_range(1..=10);
            (0..len).map(|_| char::from(random.random_range(b'a'..=b'z'))).collect::<String>().into()
        }),
        "number" => example.cloned().unwrap_or_else(|| json!(random.random::<f64>() * 10_000.0)),
        "integer" => example.cloned().unwrap_or_else(|| json!(random.random_range(1..=10_000))),
        "boolean" => example.cloned().unwrap_or_else(|| json!(random.random::<bool>())),
        _ => {
            let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
            let made = properties.map(|(name, schema)| (name.clone(), made_up(schema, left)));
            Value::Object(made.collect::<Map<_, _>>())
        }
    }
}

/// `echo`: texts around or in place of the body.
pub(crate) struct Echo {
    before: Option<Bytes>,
    body: Option<Bytes>,
    after: Option<Bytes>,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
}

#[derive(Deserialize)]
pub(crate) struct EchoConf {
    before_body: Option<String>,
    body: Option<String>,
    after_body: Option<String>,
    #[serde(default)]
    headers: Map<String, Value>,
}

/// The beginning of the body went by.
struct Begun;

impl Plugin for Echo {
    const SPEC: &'static PluginSpec =
        &PluginSpec::new("echo", 412, 0.1, include_str!("../../schemas/plugins/echo.json"));
    const PHASES: Phases = Phases::HEADER_FILTER;
    type Conf = EchoConf;

    fn prepare(conf: EchoConf, _: &Prepare<'_>) -> Result<Self, String> {
        let text = |value: &Value| match value {
            Value::String(text) => text.clone().into_bytes(),
            other => other.to_string().into_bytes(),
        };
        let fields = conf.headers.iter().map(|(name, value)| (name.clone().into_bytes(), text(value)));
        Ok(Self {
            before: conf.before_body.map(Bytes::from),
            body: conf.body.map(Bytes::from),
            after: conf.after_body.map(Bytes::from),
            fields: fields.collect(),
        })
    }

    fn header_filter(&self, req: &mut Request) -> Result<Interest, Fault> {
        headers::body_changes(req);
        for (name, value) in &self.fields {
            headers::set_response(req, name, value);
        }
        Ok(Interest::Memory)
    }

    fn body_filter(&self, req: &mut Request, chain: &mut Chain) -> Result<(), Fault> {
        let first = req.context.get::<Begun>().is_none();
        if first {
            req.context.set(Begun);
        }
        let mut pieces: Vec<Bytes> = chain.take_memory().collect();
        if let Some(body) = &self.body {
            pieces = if first { vec![body.clone()] } else { Vec::new() };
        }
        if first && let Some(before) = &self.before {
            pieces.insert(0, before.clone());
        }
        if chain.last
            && let Some(after) = &self.after
        {
            pieces.push(after.clone());
        }
        pieces.into_iter().for_each(|piece| chain.push(piece));
        Ok(())
    }
}
