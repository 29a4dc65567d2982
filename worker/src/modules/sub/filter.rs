//! The filter: which responses are changed, and what matches are replaced with.

use std::rc::Rc;

use bytes::Bytes;

use super::SubConf;
use super::conf::Pair;
use super::matcher::Matcher;
use super::stream::{Piece, Replacer};
use crate::fault::Fault;
use crate::filter::{Chain, Filter, Interest};
use crate::phase::Step;
use crate::request::Request;

/// Replaces strings in responses of one location.
pub(super) struct SubFilter {
    pub(super) conf: Rc<SubConf>,
}

/// A response being changed.
struct State {
    replacer: Replacer,
    /// By pattern: what replaces it, once it was needed.
    values: Box<[Option<Bytes>]>,
    /// By pattern: which `sub_filter` it comes from.
    origins: Box<[usize]>,
}

impl SubFilter {
    /// The patterns of this request; `None`: all of them are empty.
    fn start(&self, req: &mut Request) -> Option<State> {
        let (matcher, origins) = match &self.conf.matcher {
            Some(matcher) => (Rc::clone(matcher), (0..matcher.len()).collect()),
            None => {
                let evaluated = self.conf.pairs.iter().enumerate().map(|(origin, pair)| {
                    let mut pattern = pair.pattern.eval(req);
                    pattern.make_ascii_lowercase();
                    (origin, pattern)
                });
                let (origins, patterns): (Vec<usize>, Vec<Box<[u8]>>) = evaluated
                    .filter(|(_, pattern)| !pattern.is_empty())
                    .map(|(origin, pattern)| (origin, pattern.into_boxed_slice()))
                    .unzip();
                if patterns.is_empty() {
                    return None;
                }
                (Rc::new(Matcher::new(patterns)), origins.into_boxed_slice())
            }
        };
        let values = vec![None; matcher.len()].into();
        Some(State { replacer: Replacer::new(matcher, self.conf.once), values, origins })
    }
}

impl Filter for SubFilter {
    fn header<'r>(&'r self, req: &'r mut Request) -> Step<'r, Result<Interest, Fault>> {
        if req.out.content_length == Some(0) || !self.conf.types.contains(&req.out) {
            return Step::Ready(Ok(Interest::None));
        }
        let Some(state) = self.start(req) else { return Step::Ready(Ok(Interest::None)) };
        if req.is_main() {
            req.out.clear_length();
            if self.conf.last_modified {
                req.out.weaken_etag();
            } else {
                req.out.clear_last_modified();
                req.out.headers.remove_known(http1::Known::Etag);
            }
        }
        if req.header_only {
            return Step::Ready(Ok(Interest::None));
        }
        req.context.set(Some(state));
        Step::Ready(Ok(Interest::Memory))
    }

    fn body<'r>(&'r self, req: &'r mut Request, chain: &'r mut Chain) -> Step<'r, Result<(), Fault>> {
        // taken out while it works: replacements are evaluated with the request
        let Some(mut state) = req.context.get_mut::<Option<State>>().and_then(Option::take) else {
            return Step::Ready(Ok(()));
        };
        let State { replacer, values, origins } = &mut state;
        let (input, last) = (chain.take_memory(), chain.last);
        let mut out = |piece| match piece {
            Piece::Text(text) => chain.push(text),
            Piece::Replacement(index) => {
                let pair: &Pair = &self.conf.pairs[origins[index]];
                chain.push(values[index].get_or_insert_with(|| pair.value.eval(req).into()).clone());
            }
        };
        input.for_each(|text| replacer.feed(text, &mut out));
        if last {
            replacer.end(&mut out);
        } else if let Some(place) = req.context.get_mut::<Option<State>>() {
            *place = Some(state);
        }
        Step::Ready(Ok(()))
    }
}
