//! Request heads: a parser that is given a growing buffer, and the head it fills.
//!
//! The parser keeps where it is, not what it read: each call gets the same bytes again with more behind them, and no byte is
//! looked at twice. What is accepted is narrower than what nginx accepts wherever two readers of one message could disagree
//! about it.

use crate::{
    host::validate_host,
    request_error::RequestError,
    request_line::{self, TargetForm},
    syntax,
};

mod assembled;
mod head;
mod room;

pub use head::RequestHead;
use room::Room;

/// Empty lines skipped before a request line (RFC 9112 section 2.2 asks for at least one).
pub const LEADING_EMPTY_LINES_MAX: u8 = 8;

/// What of the server's configuration decides whether a head is accepted. The defaults are nginx's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestOptions {
    /// `underscores_in_headers`: names with `_` are valid.
    pub underscores_in_headers: bool,
    /// `ignore_invalid_headers`: fields with names nginx calls invalid are left out instead of passed on. Names that are no
    /// token at all are refused in either case.
    pub ignore_invalid_headers: bool,
    /// `merge_slashes`: runs of slashes in the path become one.
    pub merge_slashes: bool,
    /// `max_headers`: most fields a head may have.
    pub max_headers: u32,
    /// `client_header_buffer_size`, bytes.
    pub header_buffer_size: u32,
    /// First number of `large_client_header_buffers`.
    pub large_buffers: u32,
    /// Second number of `large_client_header_buffers`, bytes.
    pub large_buffer_size: u32,
    /// Whether CONNECT is answered; otherwise 405.
    pub allow_connect: bool,
    /// Refuses a target with `#` (RFC 9112 section 3.2 knows none) instead of dropping the fragment as nginx does.
    pub reject_fragment: bool,
    /// Stops once with [`Progress::Host`], for addresses whose servers have different options.
    pub stop_at_host: bool,
}

impl Default for RequestOptions {
    fn default() -> Self {
        Self {
            underscores_in_headers: false,
            ignore_invalid_headers: true,
            merge_slashes: true,
            max_headers: 1000,
            header_buffer_size: 1024,
            large_buffers: 4,
            large_buffer_size: 8192,
            allow_connect: false,
            reject_fragment: false,
            stop_at_host: false,
        }
    }
}

impl RequestOptions {
    /// Most bytes a head can have; a buffer that grows to this size always suffices.
    pub fn head_bytes_max(&self) -> usize {
        let leading = 2 * LEADING_EMPTY_LINES_MAX as usize;
        let large = self.large_buffers as usize * self.large_buffer_size as usize;
        leading + self.header_buffer_size as usize + large
    }
}

/// What a call of a parser came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The host is known, in the target or in a field; call again with the same bytes. The lines behind it are read as the
    /// options of that call say. Comes at most once, and only if [`RequestOptions::stop_at_host`] asks for it.
    Host,
    /// The head is not complete; call again with more bytes behind the same ones.
    NeedMore,
    /// The head is complete.
    Done {
        /// How many bytes of the buffer belong to it; what follows is body or the next message.
        consumed: usize,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Before the request line, after so many empty lines.
    Start { empty_lines: u8 },
    /// Behind the request line.
    Fields,
    /// The head was complete or refused.
    Ended,
}

/// Reads one request head from a buffer that grows.
#[derive(Debug, Clone)]
pub struct RequestParser {
    stage: Stage,
    /// Where the line that is read begins.
    at: usize,
    /// Up to where a line end was looked for.
    scan: usize,
    /// Where the request line began.
    began: usize,
    room: Room,
    /// [`Progress::Host`] was returned.
    stopped: bool,
}

impl Default for RequestParser {
    fn default() -> Self {
        Self::new()
    }
}

impl RequestParser {
    /// A parser at the start of a request.
    pub const fn new() -> Self {
        Self {
            stage: Stage::Start { empty_lines: 0 },
            at: 0,
            scan: 0,
            began: 0,
            room: Room::EMPTY,
            stopped: false,
        }
    }

    /// Back to the start, for the next request; its buffer begins behind what the last one consumed.
    pub fn reset(&mut self) {
        *self = Self::new();
    }

    /// Whether nothing of a request has come in `buf` yet but empty lines: a connection that ends here was idle.
    pub fn is_idle(&self, buf: &[u8]) -> bool {
        matches!(self.stage, Stage::Start { .. }) && buf[self.at.min(buf.len())..].iter().all(|&b| b == b'\r')
    }

    /// Whether the request line is complete.
    pub fn has_request_line(&self) -> bool {
        self.stage == Stage::Fields
    }

    /// Reads on. `buf` must begin with the bytes of the call before; the first call of a request clears `head`.
    ///
    /// After an error or [`Progress::Done`] the parser must be [`reset`](Self::reset) before it is used again.
    pub fn parse(
        &mut self,
        buf: &[u8],
        opts: &RequestOptions,
        head: &mut RequestHead,
    ) -> Result<Progress, RequestError> {
        let result = self.advance(buf, opts, head);
        if !matches!(result, Ok(Progress::NeedMore | Progress::Host)) {
            self.stage = Stage::Ended;
        }
        result
    }

    fn advance(
        &mut self,
        buf: &[u8],
        opts: &RequestOptions,
        head: &mut RequestHead,
    ) -> Result<Progress, RequestError> {
        if self.stage == (Stage::Start { empty_lines: 0 }) {
            head.clear();
            self.room = Room::of(opts);
        }
        while let Stage::Start { empty_lines } = self.stage {
            let Some((line, next)) = syntax::next_line(buf, self.at, &mut self.scan) else {
                return self.unfinished_request_line(buf, opts, head);
            };
            if !line.is_empty() {
                self.take_request_line(&buf[line], next, opts, head)?;
            } else if empty_lines >= LEADING_EMPTY_LINES_MAX {
                return Err(RequestError::InvalidRequest);
            } else {
                self.stage = Stage::Start { empty_lines: empty_lines + 1 };
            }
            self.at = next;
        }
        if self.stage == Stage::Ended {
            return Err(RequestError::InvalidRequest);
        }
        self.take_fields(buf, opts, head)
    }

    /// Garbage and lines without end are refused before their end comes.
    fn unfinished_request_line(
        &mut self,
        buf: &[u8],
        opts: &RequestOptions,
        head: &mut RequestHead,
    ) -> Result<Progress, RequestError> {
        let line = &buf[self.at.min(buf.len())..];
        if line == b"\r" {
            return Ok(Progress::NeedMore);
        }
        let checked = request_line::check_method_prefix(line);
        let refused = if checked.is_ok() && !self.room.may_grow(line.len(), opts) {
            Err(RequestError::UriTooLong)
        } else {
            checked
        };
        if refused.is_err() {
            head.line.extend_from_slice(line);
            head.line_len = line.len();
        }
        refused.map(|()| Progress::NeedMore)
    }

    fn take_request_line(
        &mut self,
        line: &[u8],
        next: usize,
        opts: &RequestOptions,
        head: &mut RequestHead,
    ) -> Result<(), RequestError> {
        self.began = self.at;
        head.line.clear();
        head.line.extend_from_slice(line);
        head.line_len = line.len();
        if !self.room.take(next - self.at, opts) {
            request_line::check_method_prefix(line)?;
            return Err(RequestError::UriTooLong);
        }
        let parsed = request_line::request_line(line)?;
        head.method = parsed.method;
        head.method_len = parsed.method_len;
        head.form = parsed.form;
        head.version = parsed.version;
        head.target = parsed.target;
        head.scheme = parsed.scheme;
        head.take_origin(parsed.origin, opts)?;
        if !parsed.authority.is_empty() || parsed.form == TargetForm::Absolute {
            head.port = validate_host(&line[parsed.authority], &mut head.host)
                .map_err(|_| RequestError::InvalidHostInRequestLine)?;
        }
        self.stage = Stage::Fields;
        Ok(())
    }

    fn take_fields(
        &mut self,
        buf: &[u8],
        opts: &RequestOptions,
        head: &mut RequestHead,
    ) -> Result<Progress, RequestError> {
        loop {
            if opts.stop_at_host && !self.stopped && head.has_host() {
                self.stopped = true;
                return Ok(Progress::Host);
            }
            let Some((line, next)) = syntax::next_line(buf, self.at, &mut self.scan) else {
                let unfinished = &buf[self.at.min(buf.len())..];
                if !self.room.may_grow(unfinished.len(), opts) {
                    return Err(too_large(unfinished));
                }
                return Ok(Progress::NeedMore);
            };
            if !self.room.take(next - self.at, opts) {
                return Err(too_large(&buf[line]));
            }
            self.at = next;
            if line.is_empty() {
                head.check(opts)?;
                return Ok(self.finish(next, head));
            }
            head.take_field(&buf[line.clone()], line, opts)?;
        }
    }

    fn finish(&mut self, consumed: usize, head: &mut RequestHead) -> Progress {
        head.head_len = consumed - self.began;
        Progress::Done { consumed }
    }
}

fn too_large(line: &[u8]) -> RequestError {
    if line.is_empty() { RequestError::TooLargeRequest } else { RequestError::line_too_long(line) }
}

#[cfg(test)]
mod tests;
