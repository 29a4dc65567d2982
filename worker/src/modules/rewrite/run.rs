//! Running a program of rewrite instructions.

use std::rc::Rc;

use http1::{Unescape, unescape_uri};

use super::condition::{FileTest, Outcome};
use super::program::{Code, Program, Replacement, RewriteCode};
use crate::config::Location;
use crate::log::Level;
use crate::phase::{Flow, Handler, Response, Step};
use crate::regex::{CannotRun, Regex};
use crate::request::Request;
use crate::script::Template;

/// The handler of a server's or location's program.
pub(super) struct Rewriter {
    program: Rc<Program>,
}

impl Rewriter {
    pub(super) fn new(program: Rc<Program>) -> Self {
        Self { program }
    }
}

impl Handler for Rewriter {
    fn handle<'r>(&'r self, req: &'r mut Request) -> Step<'r> {
        let mut machine = Machine {
            program: &self.program,
            home: Rc::clone(&req.location),
            at: 0,
            escape: req.is_uri_escaped(),
        };
        match machine.run(req, None) {
            Run::End(flow) => Step::Ready(flow),
            Run::Lookup(path, test) => Step::wait(machine.run_with_files(req, path, test)),
        }
    }
}

/// The state of a run.
struct Machine<'p> {
    program: &'p Program,
    /// The location the program belongs to.
    home: Rc<Location>,
    /// The next instruction.
    at: usize,
    /// Captures in values are escaped: until the first replacement, if the client's URI was escaped itself. That is
    /// what nginx's script engine does.
    escape: bool,
}

/// Why a run stopped.
enum Run {
    /// It is complete.
    End(Flow),
    /// It goes on with the answer about a file.
    Lookup(Vec<u8>, FileTest),
}

impl Machine<'_> {
    /// Runs to the end, waiting for files where conditions ask for them.
    async fn run_with_files(mut self, req: &mut Request, path: Vec<u8>, test: FileTest) -> Flow {
        let (mut path, mut test) = (path, test);
        loop {
            let holds = look_up(req, &path, test).await;
            match self.run(req, Some(holds)) {
                Run::End(flow) => return flow,
                Run::Lookup(next_path, next_test) => (path, test) = (next_path, next_test),
            }
        }
    }

    /// Runs until the end or the next question about a file; `answer` is the answer to the last one.
    fn run(&mut self, req: &mut Request, mut answer: Option<bool>) -> Run {
        let program = self.program;
        while let Some(code) = program.codes.get(self.at) {
            let flow = match code {
                Code::Set { variable, value } => {
                    let mut text = Vec::new();
                    value.append_with(req, &mut text, self.escape);
                    req.set_variable(*variable, Some(&text));
                    None
                }
                Code::Compute { variable, args, call } => {
                    let mut values = Vec::with_capacity(args.len());
                    for arg in args {
                        let mut value = Vec::new();
                        arg.append_with(req, &mut value, self.escape);
                        values.push(value);
                    }
                    let mut text = Vec::new();
                    match call.compute(req, &values, &mut text) {
                        Ok(()) => {
                            req.set_variable(*variable, Some(&text));
                            None
                        }
                        Err(flow) => Some(flow),
                    }
                }
                Code::Guest(instruction) => instruction.run(req),
                Code::Rewrite(code) => self.rewrite(req, code),
                Code::Return { status, text } => Some(respond(req, *status, text)),
                Code::Break => {
                    if req.uri_changed {
                        req.location_valid = false;
                        req.uri_changed = false;
                    }
                    Some(Flow::Next)
                }
                Code::If { condition, block, behind } => {
                    let outcome = match answer.take() {
                        Some(answer) => Outcome::Known(answer),
                        None => condition.eval(req, self.escape, program.log),
                    };
                    match outcome {
                        Outcome::Known(true) => {
                            self.enter(req, *block);
                            None
                        }
                        Outcome::Known(false) => {
                            self.at = *behind;
                            continue;
                        }
                        Outcome::Lookup(path, test) => return Run::Lookup(path, test),
                        Outcome::Failed => Some(Flow::Status(500)),
                    }
                }
            };
            if let Some(flow) = flow {
                return Run::End(flow);
            }
            self.at += 1;
        }
        Run::End(Flow::Next)
    }

    /// Moves the request into the level of an `if`.
    fn enter(&self, req: &mut Request, block: Option<usize>) {
        let Some(block) = block.and_then(|block| self.home.ifs.get(block)) else { return };
        req.location = Rc::clone(block);
        req.apply_location();
    }

    fn rewrite(&mut self, req: &mut Request, code: &RewriteCode) -> Option<Flow> {
        let uri = std::mem::take(&mut req.uri);
        let matched = matches(req, &code.regex, &uri, self.program.log);
        req.uri = uri;
        match matched {
            Err(CannotRun) => return Some(Flow::Status(500)),
            Ok(false) => return None,
            Ok(true) => {}
        }
        req.internal = true;
        req.unparsed_valid = false;
        let flow = match &code.replacement {
            Replacement::Uri { path, args, stays } => {
                if *stays {
                    req.location_valid = false;
                }
                req.uri_changed = !stays;
                self.replace_uri(req, path, args.as_ref(), code.keeps_args)
            }
            Replacement::Redirect { target, has_args, status } => {
                req.uri_changed = true;
                self.redirect(req, target, *has_args, code.keeps_args);
                Some(Flow::Status(*status))
            }
        };
        self.escape = false;
        flow.or(code.is_last.then_some(Flow::Next))
    }

    fn replace_uri(
        &self,
        req: &mut Request,
        path: &Template,
        args: Option<&Template>,
        keeps_args: bool,
    ) -> Option<Flow> {
        let mut uri = Vec::with_capacity(req.uri.len() + 16);
        path.append(req, &mut uri);
        match args {
            Some(args) => {
                let mut text = Vec::new();
                args.append_with(req, &mut text, req.is_uri_escaped());
                if keeps_args && !req.args.is_empty() {
                    text.push(b'&');
                    text.extend_from_slice(&req.args);
                }
                req.args = text;
            }
            None if !keeps_args => req.args.clear(),
            None => {}
        }
        if self.program.log {
            let (uri, args) = (uri.escape_ascii(), req.args.escape_ascii());
            req.log(Level::Notice, format_args!("rewritten data: \"{uri}\", args: \"{args}\""));
        }
        req.set_uri(uri);
        if req.uri.is_empty() {
            req.log_error(format_args!("the rewritten URI has a zero length"));
            return Some(Flow::Status(500));
        }
        None
    }

    fn redirect(&self, req: &mut Request, target: &Template, has_args: bool, keeps_args: bool) {
        let mut text = Vec::new();
        target.append_with(req, &mut text, req.is_uri_escaped());
        let mut location = Vec::with_capacity(text.len() + req.args.len() + 1);
        let read = unescape_uri(&mut location, &text, Unescape::Redirect);
        location.extend_from_slice(&text[read..]);
        if keeps_args && !req.args.is_empty() {
            location.push(if has_args { b'&' } else { b'?' });
            location.extend_from_slice(&req.args);
        }
        if self.program.log {
            let location = location.escape_ascii();
            req.log(Level::Notice, format_args!("rewritten redirect: \"{location}\""));
        }
        req.out.location = Some(location);
    }
}

/// Matches `subject` and keeps the captures; a pattern that does not match leaves none.
pub(super) fn matches(
    req: &mut Request,
    regex: &Regex,
    subject: &[u8],
    log: bool,
) -> Result<bool, CannotRun> {
    let matched = regex.exec(req, subject)?;
    if !matched {
        req.captures.clear();
    }
    if log {
        let verb = if matched { "matches" } else { "does not match" };
        let (pattern, subject) = (regex.pattern(), subject.escape_ascii());
        req.log(Level::Notice, format_args!("\"{pattern}\" {verb} \"{subject}\""));
    }
    Ok(matched)
}

/// `return`: a redirect or an error goes the way of all statuses, a text is the response.
fn respond(req: &mut Request, status: u16, text: &Template) -> Flow {
    if matches!(status, 301..=303 | 307 | 308) {
        req.out.location = Some(text.eval(req));
        return Flow::Status(status);
    }
    if status >= 400 && text.is_empty() {
        return Flow::Status(status);
    }
    let body = match text.shared_literal() {
        Some(text) => text,
        None => text.eval(req).into(),
    };
    Flow::Respond(Response { status, body, content_type: None })
}

/// Looks a file up for a condition. What cannot be looked up is not there.
async fn look_up(req: &mut Request, path: &[u8], test: FileTest) -> bool {
    match req.stat_file(path).await {
        Ok(found) => test.answer(Some(&found)),
        Err(failure) => {
            if !failure.is_not_found() {
                req.log_file(Level::Crit, path, &failure);
            }
            test.answer(None)
        }
    }
}
