//! Settings that are templates: evaluated for a request when they are needed.

use std::rc::Rc;

use super::Request;
use crate::modules::http::{self, LocationConf};
use crate::script::Template;

impl Request {
    /// `limit_rate`; what cannot be read is no limit.
    pub(crate) fn eval_limit_rate(&mut self) -> u64 {
        self.eval_size(|conf| &conf.limit_rate)
    }

    /// `limit_rate_after`.
    pub(crate) fn eval_limit_rate_after(&mut self) -> u64 {
        self.eval_size(|conf| &conf.limit_rate_after)
    }

    fn eval_size(&mut self, of: impl Fn(&LocationConf) -> &Rc<Template>) -> u64 {
        let template = of(self.http());
        if template.is_empty() {
            return 0;
        }
        let template = Rc::clone(template);
        let parse = |text: &[u8]| {
            let text = std::str::from_utf8(text).ok()?;
            conf::value::size::parse_offset(text)
        };
        match template.as_literal() {
            Some(text) => parse(text).unwrap_or(0),
            None => parse(&template.eval(self)).unwrap_or(0),
        }
    }

    /// The host for redirects: the server's name if `server_name_in_redirect` says so, else what the client asked for,
    /// else our address.
    pub(crate) fn redirect_host(&self) -> Vec<u8> {
        let conf = self.location.confs.get(&http::LOCATION);
        let name = self.server_conf().display_name();
        if conf.server_name_in_redirect && !name.is_empty() {
            return name.as_bytes().to_vec();
        }
        if !self.host.is_empty() {
            return self.host.clone();
        }
        match self.conn.local() {
            net::Addr::V4(addr) => addr.ip().to_string().into_bytes(),
            net::Addr::V6(addr) => format!("[{}]", addr.ip()).into_bytes(),
            net::Addr::Unix(_) => name.as_bytes().to_vec(),
        }
    }

    /// Whether trailer fields will follow the body.
    pub(crate) fn out_expects_trailers(&self) -> bool {
        self.out.expects_trailers
    }
}
