//! `echo_before_body` and `echo_after_body`: text around the body of a response, whoever makes it.

use std::rc::Rc;

use super::program::Line;
use crate::fault::Fault;
use crate::filter::{Chain, Chunk, Filter, Interest};
use crate::phase::Step;
use crate::request::Request;

/// The filter of a location.
pub(super) struct Around {
    pub(super) before: Vec<Rc<Line>>,
    pub(super) after: Vec<Rc<Line>>,
}

/// The text before the body was sent.
struct Begun;

impl Filter for Around {
    fn header<'r>(&'r self, req: &'r mut Request) -> Step<'r, Result<Interest, Fault>> {
        req.context.take::<Begun>();
        if crate::pages::has_no_body(req.out.status) {
            return Step::Ready(Ok(Interest::None));
        }
        req.out.clear_length();
        req.out.clear_ranges();
        Step::Ready(Ok(Interest::Body))
    }

    fn body<'r>(&'r self, req: &'r mut Request, chain: &'r mut Chain) -> Step<'r, Result<(), Fault>> {
        if req.context.get::<Begun>().is_none() {
            req.context.set(Begun);
            for (i, line) in self.before.iter().enumerate() {
                chain.chunks.insert(i, text(line, req));
            }
        }
        if chain.last {
            for line in &self.after {
                chain.chunks.push(text(line, req));
            }
        }
        chain.chunks.retain(|chunk| !chunk.is_empty());
        Step::Ready(Ok(()))
    }
}

fn text(line: &Line, req: &mut Request) -> Chunk {
    let mut text = Vec::new();
    line.append(req, &mut text);
    Chunk::Memory(text.into())
}
