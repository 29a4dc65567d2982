//! The filter: pages are read piece by piece, and what they include is sent in its place.
//!
//! Included responses are asked for as soon as their commands are read, [`AHEAD_MAX`] of them at a time, and sent in the order
//! of the page. `wait="yes"` makes everything behind an include wait for its end.

use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;

use super::SsiConf;
use super::commands::{Effect, Include, Interpreter};
use super::parser::{Event, Parser};
use super::shared::page;
use crate::body::Progress;
use crate::fault::Fault;
use crate::filter::{Chain, Filter, Interest};
use crate::phase::Step;
use crate::request::{Request, Running, SubrequestOptions};

/// Included responses that are under way at the same time.
const AHEAD_MAX: usize = 8;

/// Expands pages of one location.
pub(super) struct SsiFilter {
    pub(super) conf: Rc<SsiConf>,
}

/// A page under way.
struct State {
    parser: Parser,
    interpreter: Interpreter,
    queue: VecDeque<Part>,
    /// Includes in the queue.
    ahead: usize,
}

/// What is sent next.
enum Part {
    Text(Bytes),
    Include(Running),
}

impl Filter for SsiFilter {
    fn header<'r>(&'r self, req: &'r mut Request) -> Step<'r, Result<Interest, Fault>> {
        if req.out.content_length == Some(0) || !self.conf.types.contains(&req.out) {
            return Step::Ready(Ok(Interest::None));
        }
        if req.is_main() {
            req.out.clear_length();
            req.out.clear_ranges();
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
        let state = State {
            parser: Parser::new(self.conf.value_length),
            interpreter: Interpreter::new(page(req), self.conf.silent_errors),
            queue: VecDeque::new(),
            ahead: 0,
        };
        req.context.set(Some(Box::new(state)));
        Step::Ready(Ok(Interest::Memory))
    }

    fn body<'r>(&'r self, req: &'r mut Request, chain: &'r mut Chain) -> Step<'r, Result<(), Fault>> {
        // taken out while it works: commands look at the request and change it
        let state = req.context.get_mut::<Option<Box<State>>>().and_then(Option::take);
        let Some(state) = state else { return Step::Ready(Ok(())) };
        Step::wait(self.expand(req, chain, state))
    }
}

impl SsiFilter {
    async fn expand(&self, req: &mut Request, chain: &mut Chain, mut state: Box<State>) -> Result<(), Fault> {
        let mut events = Vec::new();
        for piece in chain.take_memory() {
            state.parser.feed(piece, &mut events);
        }
        if chain.last {
            state.parser.end(&mut events);
        }
        for event in events {
            state.event(req, event).await?;
        }
        state.send_includes(req).await?;
        for part in state.queue.drain(..) {
            if let Part::Text(text) = part {
                chain.push(text);
            }
        }
        if !chain.last
            && let Some(place) = req.context.get_mut::<Option<Box<State>>>()
        {
            *place = Some(state);
        }
        Ok(())
    }
}

impl State {
    async fn event(&mut self, req: &mut Request, event: Event) -> Result<(), Fault> {
        let outcome = match event {
            Event::Text(text) => self.interpreter.text(text),
            Event::Command { name, params } => self.interpreter.command(req, &name, params),
            Event::Broken(text) => Err(text),
        };
        let outcome = match outcome {
            Ok(Effect::Include(include)) => self.include(req, include).await?,
            Ok(Effect::Text(text)) => {
                self.queue.push_back(Part::Text(text));
                Ok(())
            }
            Ok(Effect::Nothing) => Ok(()),
            Err(text) => Err(text),
        };
        if let Err(text) = outcome
            && let Some(shown) = self.interpreter.error(req, &text)
        {
            self.queue.push_back(Part::Text(shown));
        }
        Ok(())
    }

    /// Starts an include. The inner result is what is wrong with the command; the outer one ends the response.
    async fn include(&mut self, req: &mut Request, include: Include) -> Result<Result<(), String>, Fault> {
        let Include { uri, args, wait, set, stub } = include;
        let options = SubrequestOptions {
            args,
            with_body: req.body.progress == Progress::Kept,
            ..SubrequestOptions::default()
        };
        if let Some(name) = set {
            self.send_includes(req).await?;
            return self.include_into(req, uri, options, &name).await;
        }
        let running = match req.start_subrequest(uri, options, stub) {
            Ok(running) => running,
            Err(fault) => return Ok(Err(fault.to_string())),
        };
        self.queue.push_back(Part::Include(running));
        self.ahead += 1;
        if wait || self.ahead >= AHEAD_MAX {
            self.send_includes(req).await?;
        }
        Ok(Ok(()))
    }

    /// The response becomes the value of a variable, unless it failed.
    async fn include_into(
        &mut self,
        req: &mut Request,
        uri: Vec<u8>,
        options: SubrequestOptions,
        name: &[u8],
    ) -> Result<Result<(), String>, Fault> {
        let mut sub = match req.subrequest(uri, options).await {
            Ok(sub) => sub,
            Err(fault) => return Ok(Err(fault.to_string())),
        };
        if sub.io.is_aborted() {
            req.withdraw();
            return Err(Fault::internal("subrequest was broken off"));
        }
        let failed = sub.out.status >= 300;
        let value = if failed { Bytes::new() } else { sub.captured() };
        let mut page = self.interpreter.page.borrow_mut();
        if failed && page.variable(name).is_some() {
            return Ok(Ok(()));
        }
        Ok(page.assign(name, value).map_err(|_| "SSI variables take too much memory".to_owned()))
    }

    /// Sends the queue up to and with its last include.
    async fn send_includes(&mut self, req: &mut Request) -> Result<(), Fault> {
        while self.ahead > 0 {
            match self.queue.pop_front() {
                Some(Part::Text(text)) => req.pass_on(Chain::more(text)).await?,
                Some(Part::Include(running)) => {
                    self.ahead -= 1;
                    while let Some(piece) = req.next_piece(&running).await? {
                        req.pass_on_foreign(piece).await?;
                    }
                    let sub = running.end().await?;
                    // what it assigned others see
                    req.values.clone_from(&sub.values);
                }
                None => self.ahead = 0,
            }
        }
        Ok(())
    }
}
