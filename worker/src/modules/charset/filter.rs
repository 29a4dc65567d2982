//! The filter: which charset a response has, which one it is to have, and its body.

use std::rc::Rc;

use super::map::{Maps, Table};
use super::recode::Recoder;
use super::{CharsetConf, Name, no_map};
use crate::fault::Fault;
use crate::filter::{Chain, Filter, Interest};
use crate::phase::Step;
use crate::request::Request;

/// Names and converts the charset of responses of one location.
pub(super) struct CharsetFilter {
    pub(super) conf: Rc<CharsetConf>,
    pub(super) maps: Rc<Maps>,
}

/// The charset of the client's response, for what subrequests add to it.
#[derive(Clone)]
struct MainCharset(Rc<[u8]>);

impl CharsetFilter {
    /// The charset the response is to have; `None`: whatever it has.
    fn wanted(&self, req: &mut Request) -> Option<Vec<u8>> {
        if !req.is_main() {
            return req.context.lasting::<MainCharset>().map(|charset| charset.0.to_vec());
        }
        if req.out.content_type.is_empty() {
            return None;
        }
        if let Some(name) = req.out.override_charset.as_ref().filter(|name| !name.is_empty()) {
            if self.maps.knows(name) {
                return Some(name.to_vec());
            }
            req.log_error(format_args!("unknown charset \"{}\" to override", name.escape_ascii()));
            return None;
        }
        let is_named = !req.out.charset.is_empty();
        let applies = if is_named { self.conf.overrides } else { self.conf.types.contains(&req.out) };
        if !applies {
            return None;
        }
        evaluate(&self.conf.charset, req)
    }

    /// The table to convert with. Sets the charset of the head.
    fn decide(&self, req: &mut Request) -> Option<Rc<Table>> {
        let wanted = self.wanted(req)?;
        let source = match &req.out.charset[..] {
            [] => evaluate(&self.conf.source, req),
            named => Some(named.to_vec()),
        };
        let Some(source) = source.filter(|source| !source.eq_ignore_ascii_case(&wanted)) else {
            set_charset(req, &wanted);
            return None;
        };
        if self.maps.knows(&source)
            && self.maps.knows(&wanted)
            && req.out.headers.known(http1::Known::ContentEncoding).is_some_and(|coding| !coding.is_empty())
        {
            return None;
        }
        let Some(table) = self.maps.find(&source, &wanted) else {
            req.log_error(format_args!("{}", no_map(&source, &wanted)));
            return None;
        };
        set_charset(req, &wanted);
        Some(Rc::clone(table))
    }
}

fn evaluate(name: &Name, req: &mut Request) -> Option<Vec<u8>> {
    match name {
        Name::Off => None,
        Name::Fixed(name) => Some(name.to_vec()),
        Name::Variable(template) => Some(template.eval(req)).filter(|name| !name.is_empty()),
    }
}

fn set_charset(req: &mut Request, charset: &[u8]) {
    if !req.is_main() {
        return;
    }
    req.out.content_type.truncate(req.out.content_type_len);
    req.out.charset.clear();
    // browsers of old used the charset of a redirect for the page behind it
    if !matches!(req.out.status, 301 | 302) {
        req.out.charset.extend_from_slice(charset);
    }
}

impl Filter for CharsetFilter {
    fn header<'r>(&'r self, req: &'r mut Request) -> Step<'r, Result<Interest, Fault>> {
        let table = self.decide(req);
        if req.is_main() && !req.out.charset.is_empty() {
            req.context.keep_lasting(MainCharset(req.out.charset.as_slice().into()));
        }
        let Some(table) = table else { return Step::Ready(Ok(Interest::None)) };
        if !matches!(*table, Table::Bytes(_)) && req.is_main() {
            req.out.clear_length();
            req.out.clear_ranges();
        }
        if req.header_only {
            return Step::Ready(Ok(Interest::None));
        }
        req.context.set(Recoder::new(table));
        Step::Ready(Ok(Interest::Memory))
    }

    fn body<'r>(&'r self, req: &'r mut Request, chain: &'r mut Chain) -> Step<'r, Result<(), Fault>> {
        let Some(recoder) = req.context.get_mut::<Recoder>() else { return Step::Ready(Ok(())) };
        for piece in chain.take_memory() {
            chain.push(recoder.recode(piece));
        }
        if chain.last
            && let Some(rest) = recoder.end()
        {
            chain.push(rest);
        }
        Step::Ready(Ok(()))
    }
}
