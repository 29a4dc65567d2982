//! `proxy-rewrite`: another path, host, method and other fields for the upstream.

use pcre2::bytes::Regex;
use schemas::PluginSpec;
use serde::Deserialize;
use serde_json::Value;
use worker::gateway::GatewayContext;
use worker::phase::Step;
use worker::plugin::{Phases, Plugin, Prepare, Verdict};
use worker::request::Request;

use crate::template::{QUESTION, Template};
use crate::{headers, pattern};

/// See the module's documentation.
pub(crate) struct ProxyRewrite {
    uri: Option<Template>,
    regex_uri: Vec<(Regex, Template)>,
    host: Option<String>,
    method: Option<String>,
    add: Fields,
    set: Fields,
    remove: Vec<Vec<u8>>,
}

type Fields = Vec<(Vec<u8>, Vec<Template>)>;

#[derive(Deserialize)]
pub(crate) struct Conf {
    uri: Option<String>,
    method: Option<String>,
    #[serde(default)]
    regex_uri: Vec<String>,
    host: Option<String>,
    headers: Option<Value>,
    #[serde(rename = "use_real_request_uri_unsafe", default)]
    raw_uri: bool,
}

impl Plugin for ProxyRewrite {
    const SPEC: &'static PluginSpec = &PluginSpec {
        check: crate::check::<Self>,
        ..PluginSpec::new(
            "proxy-rewrite",
            1008,
            0.1,
            include_str!("../../schemas/plugins/proxy-rewrite.json"),
        )
    };
    const PHASES: Phases = Phases::REWRITE;
    type Conf = Conf;

    fn prepare(conf: Conf, _: &Prepare<'_>) -> Result<Self, String> {
        if conf.raw_uri {
            return Err(
                "use_real_request_uri_unsafe is not supported: a path is passed on as it was judged".into()
            );
        }
        if !conf.regex_uri.len().is_multiple_of(2) {
            return Err("The length of regex_uri should be an even number".into());
        }
        let pairs = conf.regex_uri.chunks(2).map(|pair| {
            let wrong = |error| format!("invalid regex_uri({}, {}): {error}", pair[0], pair[1]);
            Ok((pattern::compile(&pair[0], false).map_err(wrong)?, Template::new(&pair[1])))
        });
        let regex_uri = pairs.collect::<Result<_, String>>()?;
        let (mut add, mut set, mut remove) = (Vec::new(), Vec::new(), Vec::new());
        if let Some(fields) = &conf.headers {
            let is = |name: &str| fields.get(name).is_some_and(|value| value.is_object() || value.is_array());
            if is("add") || is("set") || is("remove") {
                add = headers::templates_of(fields.get("add"));
                set = headers::templates_of(fields.get("set"));
                let names = fields.get("remove").and_then(Value::as_array).into_iter().flatten();
                remove = names.filter_map(Value::as_str).map(|name| name.as_bytes().to_vec()).collect();
            } else {
                set = headers::templates_of(Some(fields));
            }
            headers::check_names(add.iter().chain(&set).map(|(name, _)| &name[..]))?;
        }
        let uri = conf.uri.as_deref().map(Template::new);
        Ok(Self { uri, regex_uri, host: conf.host, method: conf.method, add, set, remove })
    }

    fn rewrite<'r>(&'r self, req: &'r mut Request) -> Step<'r, Verdict> {
        let captures = self.uri(req);
        if let Some(host) = &self.host {
            req.context.entry::<GatewayContext>().set_upstream_host(host.as_bytes().to_vec());
        }
        self.fields(req, &captures);
        if let Some(method) = &self.method {
            req.context.entry::<GatewayContext>().set_upstream_method(method);
        }
        Step::Ready(Verdict::Next)
    }
}

impl ProxyRewrite {
    /// Chooses the target; the groups of the pattern that matched.
    fn uri(&self, req: &mut Request) -> Vec<Vec<u8>> {
        let mut groups = Vec::new();
        let (path, query) = match &self.uri {
            Some(uri) => {
                let (mut path, query) = split_query(&uri.eval_path(req));
                path.iter_mut().filter(|byte| **byte == QUESTION).for_each(|byte| *byte = b'?');
                (path, query)
            }
            None => {
                let found = self
                    .regex_uri
                    .iter()
                    .find_map(|(regex, template)| Some((regex.captures(&req.uri).ok()??, template)));
                let Some((captures, template)) = found else { return groups };
                groups = (0..captures.len())
                    .map(|n| captures.get(n).map_or(Vec::new(), |group| group.as_bytes().to_vec()))
                    .collect();
                let Some(whole) = captures.get(0) else { return groups };
                let replaced =
                    [&req.uri[..whole.start()], &template.of_captures(&captures), &req.uri[whole.end()..]]
                        .concat();
                // a question mark the client sent escaped is part of the path
                if req.uri.contains(&b'?') { (replaced, None) } else { split_query(&replaced) }
            }
        };
        let mut target = Vec::new();
        http1::escape_uri(&mut target, &path, http1::Escape::Uri);
        let had_query = query.is_some();
        if let Some(query) = query {
            target.push(b'?');
            target.extend(query);
        }
        if !req.args.is_empty() {
            target.push(if had_query { b'&' } else { b'?' });
            target.extend_from_slice(&req.args);
        }
        if target.first() != Some(&b'/') {
            target.insert(0, b'/');
        }
        req.context.entry::<GatewayContext>().set_upstream_uri(target);
        groups
    }

    fn fields(&self, req: &mut Request, captures: &[Vec<u8>]) {
        for (name, values) in &self.add {
            for value in values {
                let (value, _) = value.eval(req, captures);
                headers::add_request(req, name, &value);
            }
        }
        for (name, values) in &self.set {
            for (at, value) in values.iter().enumerate() {
                let (value, _) = value.eval(req, captures);
                if at == 0 {
                    headers::set_request(req, name, &value);
                } else {
                    headers::add_request(req, name, &value);
                }
            }
        }
        for name in &self.remove {
            headers::set_request(req, name, b"");
        }
    }
}

fn split_query(text: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
    match text.iter().position(|byte| *byte == b'?') {
        Some(at) => (text[..at].to_vec(), Some(text[at + 1..].to_vec())),
        None => (text.to_vec(), None),
    }
}
