//! `cors`: which pages of other origins may use this one.

use pcre2::bytes::Regex;
use schemas::{PluginSpec, Role};
use serde::Deserialize;
use worker::fault::Fault;
use worker::filter::Interest;
use worker::phase::Step;
use worker::plugin::{Answer, Phases, Plugin, Prepare, Verdict};
use worker::request::Request;

use crate::{headers, pattern};

/// See the module's documentation.
pub(crate) struct Cors {
    conf: Conf,
    origins: Vec<Regex>,
    timing: Vec<Regex>,
}

#[derive(Deserialize)]
pub(crate) struct Conf {
    allow_origins: String,
    allow_methods: String,
    allow_headers: String,
    expose_headers: Option<String>,
    max_age: i64,
    allow_credential: bool,
    allow_origins_by_regex: Option<Vec<String>>,
    allow_origins_by_metadata: Option<Vec<String>>,
    timing_allow_origins: Option<String>,
    timing_allow_origins_by_regex: Option<Vec<String>>,
}

/// The `Origin` of the request as the client sent it.
struct Origin(Option<Vec<u8>>);

impl Plugin for Cors {
    const SPEC: &'static PluginSpec = &PluginSpec {
        metadata_schema: include_str!("../../schemas/plugins/cors.metadata.json"),
        check: |conf, role| match role {
            Role::Metadata => Ok(()),
            role => crate::check::<Cors>(conf, role),
        },
        ..PluginSpec::new("cors", 4000, 0.1, include_str!("../../schemas/plugins/cors.json"))
    };
    const PHASES: Phases = Phases::REWRITE.or(Phases::HEADER_FILTER);
    type Conf = Conf;

    fn prepare(conf: Conf, _: &Prepare<'_>) -> Result<Self, String> {
        let any = |text: Option<&str>| text == Some("*");
        if conf.allow_credential
            && (any(Some(&conf.allow_origins))
                || any(Some(&conf.allow_methods))
                || any(Some(&conf.allow_headers))
                || any(conf.expose_headers.as_deref())
                || any(conf.timing_allow_origins.as_deref()))
        {
            return Err("you can not set '*' for other option when 'allow_credential' is true".into());
        }
        let origins = pattern::compile_all(conf.allow_origins_by_regex.as_deref().unwrap_or_default())?;
        let timing = pattern::compile_all(conf.timing_allow_origins_by_regex.as_deref().unwrap_or_default())?;
        Ok(Self { conf, origins, timing })
    }

    fn rewrite<'r>(&'r self, req: &'r mut Request) -> Step<'r, Verdict> {
        let origin = req.headers.get(b"Origin").map(<[u8]>::to_vec);
        req.context.set(Origin(origin));
        Step::Ready(match req.method {
            http1::Method::Options => Answer::status(200).into(),
            _ => Verdict::Next,
        })
    }

    fn header_filter(&self, req: &mut Request) -> Result<Interest, Fault> {
        let origin = req.context.get::<Origin>().and_then(|origin| origin.0.clone());
        let allowed = self.allowed(req, origin.as_deref());
        if self.conf.allow_origins != "*" || self.conf.allow_origins_by_regex.is_some() {
            headers::add_response(req, b"Vary", b"Origin");
        }
        if let Some(allowed) = allowed {
            self.fields(req, &allowed);
        }
        let timing = match (&self.conf.timing_allow_origins, self.timing.is_empty()) {
            (_, false) => origin.clone().filter(|origin| pattern::any(&self.timing, origin)),
            (Some(list), true) => of_list(list, origin.as_deref()),
            (None, true) => None,
        };
        if let Some(timing) = timing.filter(|timing| timing == b"*" || Some(timing) == origin.as_ref()) {
            headers::set_response(req, b"Timing-Allow-Origin", &timing);
        }
        Ok(Interest::None)
    }
}

impl Cors {
    /// What `Access-Control-Allow-Origin` says; `None`: nothing.
    fn allowed(&self, req: &Request, origin: Option<&[u8]>) -> Option<Vec<u8>> {
        let conf = &self.conf;
        let own = || match &conf.allow_origins_by_regex {
            Some(_) => origin.filter(|origin| pattern::any(&self.origins, origin)).map(<[u8]>::to_vec),
            None => of_list(&conf.allow_origins, origin),
        };
        let Some(names) = &conf.allow_origins_by_metadata else { return own() };
        let metadata = req.worker.gateway.metadata("cors");
        let lists = metadata.as_ref().and_then(|metadata| metadata.get("allow_origins")?.as_object());
        let mut named = names.iter().filter_map(|name| lists?.get(name)?.as_str());
        if named.any(|list| {
            of_list(list, origin).is_some_and(|found| found == b"*" || Some(&found[..]) == origin)
        }) {
            return origin.map(<[u8]>::to_vec);
        }
        if conf.allow_origins == "*" { None } else { own() }
    }

    fn fields(&self, req: &mut Request, allowed: &[u8]) {
        let conf = &self.conf;
        let methods = match conf.allow_methods.as_str() {
            "**" => "GET,POST,PUT,DELETE,PATCH,HEAD,OPTIONS,CONNECT,TRACE",
            methods => methods,
        };
        headers::set_response(req, b"Access-Control-Allow-Origin", allowed);
        headers::set_response(req, b"Access-Control-Allow-Methods", methods.as_bytes());
        headers::set_response(req, b"Access-Control-Max-Age", conf.max_age.to_string().as_bytes());
        if let Some(expose) = &conf.expose_headers {
            headers::set_response(req, b"Access-Control-Expose-Headers", expose.as_bytes());
        }
        let allow = match conf.allow_headers.as_str() {
            "**" => req.headers.get(b"Access-Control-Request-Headers").unwrap_or_default().to_vec(),
            list => list.as_bytes().to_vec(),
        };
        headers::set_response(req, b"Access-Control-Allow-Headers", &allow);
        if conf.allow_credential {
            headers::set_response(req, b"Access-Control-Allow-Credentials", b"true");
        }
    }
}

/// What a list of origins says to `origin`.
fn of_list(list: &str, origin: Option<&[u8]>) -> Option<Vec<u8>> {
    match list {
        "**" => Some(origin.unwrap_or(b"*").to_vec()),
        list if list.contains(',') => {
            let origin = origin?;
            list.split(',').any(|entry| entry.as_bytes() == origin).then(|| origin.to_vec())
        }
        one => Some(one.as_bytes().to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_origins() {
        let say = |list: &str, origin: Option<&str>| {
            of_list(list, origin.map(str::as_bytes)).map(|said| String::from_utf8(said).unwrap())
        };
        assert_eq!(say("*", Some("http://a")).as_deref(), Some("*"));
        assert_eq!(say("**", Some("http://a")).as_deref(), Some("http://a"));
        assert_eq!(say("http://a,http://b", Some("http://b")).as_deref(), Some("http://b"));
        assert_eq!(say("http://a,http://b", Some("http://c")), None);
        assert_eq!(say("http://a", Some("http://c")).as_deref(), Some("http://a"));
        let _: serde_json::Value =
            serde_json::from_str(include_str!("../../schemas/plugins/cors.json")).unwrap();
    }
}
