//! Running the commands of a location.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::program::{Command, Program};
use super::subrequest::{self, Pending};
use super::variables::{It, Timer};
use crate::fault::Fault;
use crate::filter::Chain;
use crate::log::Level;
use crate::phase::{Flow, Handler, Jump, Step};
use crate::request::Request;
use crate::script::Template;

/// `echo_duplicate` sends pieces of about this size.
const PIECE_BYTES: usize = 16 * 1024;
/// Longest `echo_sleep`, seconds.
const SLEEP_MAX: f64 = 86_400.0;

/// The content handler of a location.
pub(super) struct Runner {
    pub(super) program: Rc<Program>,
    /// `echo_status`.
    pub(super) status: u16,
}

impl Handler for Runner {
    fn handle<'r>(&'r self, req: &'r mut Request) -> Step<'r> {
        Step::wait(self.run(req))
    }
}

/// What ends a run early.
pub(super) enum Stop {
    /// A fault of the connection or of a filter.
    Fault(Fault),
    /// An answer instead of what was to come.
    Flow(Flow),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Logs what is wrong with a command's arguments and gives the answer.
pub(super) fn failed(req: &Request, message: std::fmt::Arguments<'_>) -> Stop {
    req.log_error(message);
    Stop::Flow(Flow::Status(500))
}

/// The state of a run.
struct Run<'p> {
    runner: &'p Runner,
    /// Output that waits for a subrequest to complete.
    pending: Vec<Pending>,
    /// The pieces of the loop that are left, last first.
    pieces: Vec<Vec<u8>>,
}

impl Runner {
    async fn run(&self, req: &mut Request) -> Flow {
        if !self.program.reads_body
            && let Err(fault) = req.discard_body().await
        {
            return req.fail(&fault);
        }
        let mut run = Run { runner: self, pending: Vec::new(), pieces: Vec::new() };
        match run.all(req).await {
            Ok(()) => Flow::Finish,
            Err(Stop::Fault(fault)) => req.fail(&fault),
            Err(Stop::Flow(_)) if req.out.sent => Flow::Close,
            Err(Stop::Flow(flow)) => flow,
        }
    }
}

impl Run<'_> {
    async fn all(&mut self, req: &mut Request) -> Result<(), Stop> {
        let commands = &self.runner.program.commands;
        let mut at = 0;
        while let Some(command) = commands.get(at) {
            at = match command {
                Command::Foreach { delimiter, text, behind } => {
                    let (delimiter, text) = (delimiter.eval(req), text.eval(req));
                    self.pieces = split(&text, &delimiter);
                    self.pieces.reverse();
                    if self.next_piece(req) { at + 1 } else { *behind }
                }
                Command::End { begin } => {
                    if self.next_piece(req) {
                        *begin
                    } else {
                        at + 1
                    }
                }
                command => {
                    self.one(req, command).await?;
                    at + 1
                }
            };
        }
        self.begin(req).await?;
        self.drain(req).await?;
        Ok(req.output(Chain::end()).await?)
    }

    /// Makes the next piece of the loop `$echo_it`.
    fn next_piece(&mut self, req: &mut Request) -> bool {
        match self.pieces.pop() {
            Some(piece) => {
                req.context.set(It(piece));
                true
            }
            None => {
                req.context.take::<It>();
                false
            }
        }
    }

    async fn one(&mut self, req: &mut Request, command: &Command) -> Result<(), Stop> {
        match command {
            Command::Echo(line) => {
                // the text is made before there is a status
                let mut text = Vec::new();
                line.append(req, &mut text);
                self.begin(req).await?;
                self.send(req, text.into()).await
            }
            Command::Duplicate { count, text } => self.duplicate(req, count, text).await,
            Command::Flush => {
                self.begin(req).await?;
                self.drain(req).await?;
                Ok(req.output(Chain::flush()).await?)
            }
            Command::Sleep(seconds) => {
                let text = seconds.eval(req);
                let seconds = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
                let Some(seconds) = seconds.filter(|seconds| (0.0..=SLEEP_MAX).contains(seconds)) else {
                    let text = text.escape_ascii();
                    return Err(failed(req, format_args!("invalid sleep duration \"{text}\"")));
                };
                Ok(req.pause(Duration::from_secs_f64(seconds)).await?)
            }
            Command::ResetTimer => {
                req.context.set(Timer(net::now()));
                Ok(())
            }
            Command::ReadBody => Ok(req.read_body().await?),
            Command::RequestBody => self.request_body(req).await,
            Command::Call(call) => {
                self.begin(req).await?;
                if call.wait && !self.pending.is_empty() {
                    // those that are on their way begin first
                    net::yield_turn().await;
                }
                match subrequest::start(req, call).await? {
                    Pending::Text(text) => self.send(req, text).await?,
                    pending => self.pending.push(pending),
                }
                Ok(())
            }
            Command::Exec { target, args } => exec(req, target, args),
            Command::Foreach { .. } | Command::End { .. } => Ok(()),
        }
    }

    /// Sends the head, if it was not sent.
    async fn begin(&mut self, req: &mut Request) -> Result<(), Stop> {
        if req.out.sent {
            return Ok(());
        }
        req.out.status = self.runner.status;
        req.set_content_type_by_extension();
        req.out.content_length = None;
        Ok(req.send_header().await?)
    }

    /// Sends a piece of the body, or keeps it while a subrequest that comes before it is not complete.
    async fn send(&mut self, req: &mut Request, text: Bytes) -> Result<(), Stop> {
        if req.header_only || text.is_empty() {
            return Ok(());
        }
        if self.pending.iter().all(Pending::is_complete) {
            self.drain(req).await?;
        }
        if self.pending.is_empty() {
            return Ok(req.output(Chain::more(text)).await?);
        }
        self.pending.push(Pending::Text(text));
        Ok(())
    }

    /// Waits for the subrequests and sends all that is kept.
    async fn drain(&mut self, req: &mut Request) -> Result<(), Stop> {
        for pending in std::mem::take(&mut self.pending) {
            let text = pending.complete().await;
            if !req.header_only && !text.is_empty() {
                req.output(Chain::more(text)).await?;
            }
        }
        Ok(())
    }

    async fn duplicate(&mut self, req: &mut Request, count: &Template, text: &Template) -> Result<(), Stop> {
        let count = count.eval(req);
        let digits: Vec<u8> = count.iter().copied().filter(|byte| *byte != b'_').collect();
        let number = std::str::from_utf8(&digits).ok().and_then(|text| text.parse::<usize>().ok());
        let Some(number) = number else {
            let count = count.escape_ascii();
            return Err(failed(req, format_args!("invalid size specified: \"{count}\"")));
        };
        let text = text.eval(req);
        self.begin(req).await?;
        if text.is_empty() || number == 0 || req.header_only {
            return Ok(());
        }
        // what is kept behind a subrequest must not grow with the number
        self.drain(req).await?;
        let at_once = (PIECE_BYTES / text.len()).clamp(1, number);
        let piece = Bytes::from(text.repeat(at_once));
        for _ in 0..number / at_once {
            self.send(req, piece.clone()).await?;
        }
        self.send(req, piece.slice(..number % at_once * text.len())).await
    }

    /// Sends the kept body, be it in memory or in a file; nothing if it was not read.
    async fn request_body(&mut self, req: &mut Request) -> Result<(), Stop> {
        self.begin(req).await?;
        if req.header_only || req.body.progress != crate::body::Progress::Kept {
            return Ok(());
        }
        self.drain(req).await?;
        for chunk in req.body_chunks() {
            let chain = Chain { chunks: [chunk].into_iter().collect(), ..Chain::default() };
            req.output(chain).await?;
        }
        Ok(())
    }
}

/// `echo_exec`: a named location, or a URI with arguments behind a question mark or apart.
fn exec(req: &mut Request, target: &Template, args: &Template) -> Result<(), Stop> {
    let (target, args) = (target.eval(req), args.eval(req));
    if target.first() == Some(&b'@') {
        let (name, ignored) = match memchr::memchr(b'?', &target) {
            Some(at) => (&target[..at], &target[at + 1..]),
            None => (&target[..], &args[..]),
        };
        if !ignored.is_empty() {
            let (ignored, name) = (ignored.escape_ascii(), name.escape_ascii());
            let text = format_args!("querystring {ignored} ignored when exec'ing named location {name}");
            req.log(Level::Warn, text);
        }
        return Err(Stop::Flow(Flow::Jump(Jump::Named(name.into()))));
    }
    let (uri, own_args) = subrequest::target(req, "echo_exec", target)?;
    let args = if args.is_empty() { own_args } else { args };
    Err(Stop::Flow(Flow::Jump(Jump::Uri { uri, args: Some(args) })))
}

/// The pieces of `text`; empty ones are none.
fn split(text: &[u8], delimiter: &[u8]) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !delimiter.is_empty()
        && let Some(at) = memchr::memmem::find(rest, delimiter)
    {
        pieces.push(rest[..at].to_vec());
        rest = &rest[at + delimiter.len()..];
    }
    pieces.push(rest.to_vec());
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_a_list() {
        let split = |text: &str, delimiter: &str| {
            let pieces = split(text.as_bytes(), delimiter.as_bytes());
            pieces.iter().map(|piece| String::from_utf8(piece.clone()).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(split("a,b,,c", ","), ["a", "b", "c"]);
        assert_eq!(split("cat-a-dog", "-a-"), ["cat", "dog"]);
        assert_eq!(split("abc", ""), ["abc"]);
        assert!(split("", ",").is_empty());
    }
}
