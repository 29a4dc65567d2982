//! `redirect`: to another URI, or to https.

use pcre2::bytes::Regex;
use schemas::PluginSpec;
use serde::Deserialize;
use worker::phase::Step;
use worker::plugin::{Answer, Phases, Plugin, Prepare, Verdict};
use worker::request::Request;

use crate::template::Template;
use crate::{headers, pattern};

/// See the module's documentation.
pub(crate) struct Redirect {
    conf: Conf,
    uri: Option<Template>,
    regex: Option<(Regex, Template)>,
    https: Template,
}

#[derive(Deserialize)]
pub(crate) struct Conf {
    ret_code: u16,
    uri: Option<String>,
    regex_uri: Option<[String; 2]>,
    #[serde(default)]
    http_to_https: bool,
    encode_uri: bool,
    append_query_string: bool,
}

impl Plugin for Redirect {
    const SPEC: &'static PluginSpec = &PluginSpec {
        check: crate::check::<Self>,
        ..PluginSpec::new("redirect", 900, 0.1, include_str!("../../schemas/plugins/redirect.json"))
    };
    const PHASES: Phases = Phases::REWRITE;
    type Conf = Conf;

    fn prepare(conf: Conf, _: &Prepare<'_>) -> Result<Self, String> {
        if conf.http_to_https && conf.append_query_string {
            return Err("only one of `http_to_https` and `append_query_string` can be configured.".into());
        }
        let regex = match &conf.regex_uri {
            None => None,
            Some([from, to]) => {
                let wrong = |error| format!("invalid regex_uri ({from}, {to}), err:{error}");
                Some((pattern::compile(from, false).map_err(wrong)?, Template::new(to)))
            }
        };
        let uri = conf.uri.as_deref().map(Template::new);
        Ok(Self { conf, uri, regex, https: Template::new("https://$host") })
    }

    fn rewrite<'r>(&'r self, req: &'r mut Request) -> Step<'r, Verdict> {
        Step::Ready(self.redirect(req))
    }
}

impl Redirect {
    fn redirect(&self, req: &mut Request) -> Verdict {
        let mut code = self.conf.ret_code;
        let mut target = if self.conf.http_to_https && scheme(req) != b"https" {
            let safe = matches!(req.method, http1::Method::Get | http1::Method::Head);
            code = if safe { 301 } else { 308 };
            let mut target = self.https.eval(req, &[]).0;
            http1::escape_uri(&mut target, &req.uri, http1::Escape::Uri);
            if !req.args.is_empty() {
                target.push(b'?');
                target.extend_from_slice(&req.args);
            }
            target
        } else if let Some(uri) = &self.uri {
            uri.eval(req, &[]).0
        } else if let Some((regex, template)) = &self.regex {
            let Ok(Some(captures)) = regex.captures(&req.uri) else { return Verdict::Next };
            let Some(whole) = captures.get(0) else { return Verdict::Next };
            [&req.uri[..whole.start()], &template.of_captures(&captures), &req.uri[whole.end()..]].concat()
        } else {
            return Verdict::Next;
        };
        let query = target.iter().position(|byte| *byte == b'?');
        if self.conf.encode_uri {
            let end = query.unwrap_or(target.len());
            let mut escaped = Vec::new();
            http1::escape_uri(&mut escaped, &target[..end], http1::Escape::Uri);
            escaped.extend_from_slice(&target[end..]);
            target = escaped;
        }
        if self.conf.append_query_string && !req.args.is_empty() {
            target.push(if query.is_some() { b'&' } else { b'?' });
            target.extend_from_slice(&req.args);
        }
        headers::set_response(req, b"Location", &target);
        Answer::status(code).into()
    }
}

/// What the client used: the connection's scheme. A field of the client's does not say so.
fn scheme(req: &mut Request) -> Vec<u8> {
    let mut scheme = Vec::new();
    req.append_variable_by_name(b"scheme", &mut scheme);
    scheme
}
