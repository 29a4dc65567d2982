//! What comes back: records with pieces of the output and error streams, and the end.
//!
//! ```text
//!  Header ── 8 bytes ──► Content ── its length ──► Padding ──┐
//!    ▲                                                       │
//!    └───────────────────────────────────────────────────────┘
//! ```

use std::ops::Range;
use std::rc::Rc;

use bytes::Bytes;
use http1::{BodyState, Decoded, Progress, ResponseHead, Truncated};
use net::{Buf, Chain};

use super::record::{self, END_REQUEST, HEADER_BYTES, REQUEST_ID, STDERR, STDOUT, VERSION};
use crate::modules::pass::cgi::{self, StatusLine};
use crate::upstream::{Framed, Protocol};

/// Bytes of a response's error stream that are logged.
const STDERR_BYTES_MAX: usize = 16 * 1024;

/// The protocol as a location speaks it.
pub(super) struct FastCgi {
    pub(super) keep_conn: bool,
    pub(super) catch_stderr: Rc<[Box<[u8]>]>,
}

impl Protocol for FastCgi {
    fn response(&self, head_max: usize) -> Box<dyn Framed> {
        Box::new(Response {
            records: Records::default(),
            head_max,
            text: Vec::new(),
            rest: None,
            keep_conn: self.keep_conn,
            catch_stderr: Rc::clone(&self.catch_stderr),
            output_ended: false,
            ended: false,
            reusable: false,
            messages: Vec::new(),
            said: 0,
        })
    }

    fn frame(&self, piece: Bytes, out: &mut Chain) {
        record::push_body(piece, out);
    }

    fn body_end(&self) -> &'static [u8] {
        record::END_OF_BODY
    }
}

/// Reads the records of one response.
#[derive(Default)]
struct Records {
    state: State,
    kind: u8,
    padding: u8,
}

#[derive(Clone, Copy)]
enum State {
    /// This much of a header.
    Header([u8; HEADER_BYTES], usize),
    /// Bytes of content to come.
    Content(usize),
    /// Bytes of padding to come.
    Padding(usize),
}

impl Default for State {
    fn default() -> Self {
        Self::Header([0; HEADER_BYTES], 0)
    }
}

/// What the start of the input was.
#[derive(Debug, PartialEq, Eq)]
enum Piece {
    /// Framing.
    Nothing,
    /// A piece of the output.
    Output(Range<usize>),
    /// A piece of the error stream.
    Error(Range<usize>),
    /// The output is complete.
    OutputEnd,
    /// The end begins.
    Ending,
    /// The response is complete, its last padding included.
    End,
}

impl Records {
    /// Reads the start of `input`, which is not empty; returns how much of it.
    fn next(&mut self, input: &[u8]) -> Result<(usize, Piece), Box<str>> {
        match self.state {
            State::Header(mut bytes, have) => {
                let taken = input.len().min(HEADER_BYTES - have);
                bytes[have..have + taken].copy_from_slice(&input[..taken]);
                if have + taken < HEADER_BYTES {
                    self.state = State::Header(bytes, have + taken);
                    return Ok((taken, Piece::Nothing));
                }
                Ok((taken, self.header(bytes)?))
            }
            State::Content(left) => {
                let taken = input.len().min(left);
                self.content(left - taken);
                let piece = match self.kind {
                    STDOUT => Piece::Output(0..taken),
                    STDERR => Piece::Error(0..taken),
                    _ => self.end_if_complete(),
                };
                Ok((taken, piece))
            }
            State::Padding(left) => {
                let taken = input.len().min(left);
                self.padding(left - taken);
                Ok((taken, self.end_if_complete()))
            }
        }
    }

    fn header(&mut self, bytes: [u8; HEADER_BYTES]) -> Result<Piece, Box<str>> {
        let [version, kind, id_high, id_low, high, low, padding, _] = bytes;
        if version != VERSION {
            return Err(format!("upstream sent unsupported FastCGI protocol version: {version}").into());
        }
        if !matches!(kind, STDOUT | STDERR | END_REQUEST) {
            return Err(format!("upstream sent invalid FastCGI record type: {kind}").into());
        }
        let id = u16::from_be_bytes([id_high, id_low]);
        if id != REQUEST_ID {
            return Err(format!("upstream sent unexpected FastCGI request id: {id}").into());
        }
        let len = usize::from(u16::from_be_bytes([high, low]));
        (self.kind, self.padding) = (kind, padding);
        self.content(len);
        Ok(match kind {
            END_REQUEST if matches!(self.state, State::Header(..)) => Piece::End,
            END_REQUEST => Piece::Ending,
            STDOUT if len == 0 => Piece::OutputEnd,
            _ => Piece::Nothing,
        })
    }

    fn content(&mut self, left: usize) {
        if left > 0 {
            self.state = State::Content(left);
        } else {
            self.padding(usize::from(self.padding));
        }
    }

    fn padding(&mut self, left: usize) {
        self.state = if left > 0 { State::Padding(left) } else { State::default() };
    }

    fn end_if_complete(&self) -> Piece {
        let complete = self.kind == END_REQUEST && matches!(self.state, State::Header(..));
        if complete { Piece::End } else { Piece::Nothing }
    }

    /// Gives `bytes` of a content that was just read back.
    fn put_back(&mut self, bytes: usize) {
        match &mut self.state {
            State::Content(left) => *left += bytes,
            state => *state = State::Content(bytes),
        }
    }
}

struct Response {
    records: Records,
    head_max: usize,
    /// The head so far.
    text: Vec<u8>,
    /// Bytes of the body to come, if its length is known.
    rest: Option<u64>,
    keep_conn: bool,
    catch_stderr: Rc<[Box<[u8]>]>,
    /// The output stream is complete.
    output_ended: bool,
    ended: bool,
    reusable: bool,
    messages: Vec<String>,
    /// Bytes in messages so far.
    said: usize,
}

const STDOUT_CLOSED: &str = "upstream prematurely closed FastCGI stdout";

impl Response {
    /// Takes note of a piece of the error stream; whether it makes the response invalid.
    fn complain(&mut self, text: &[u8]) -> bool {
        let end = text.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n' | b'.' | b' '));
        let text = &text[..end.map_or(0, |end| end + 1)];
        if self.said < STDERR_BYTES_MAX {
            let shown = &text[..text.len().min(STDERR_BYTES_MAX - self.said)];
            self.said += shown.len().max(1);
            self.messages.push(format!("FastCGI sent in stderr: \"{}\"", String::from_utf8_lossy(shown)));
        }
        self.catch_stderr.iter().any(|caught| memchr::memmem::find(text, caught).is_some())
    }

    /// Appends output to the head; how many bytes behind its end came along, when it is complete.
    fn take(&mut self, piece: &[u8]) -> Result<Option<usize>, Box<str>> {
        let looked = self.text.len();
        self.text.extend_from_slice(piece);
        let end = cgi::end_of_head(&self.text, looked);
        if end.unwrap_or(self.text.len()) > self.head_max {
            return Err("upstream sent too big header".into());
        }
        Ok(end.map(|end| self.text.len() - end))
    }

    fn output(&mut self, range: Range<usize>, consumed: usize) -> Decoded {
        if let Some(rest) = self.rest
            && range.len() as u64 > rest
        {
            // less than the range
            let data = range.start..range.start + rest as usize;
            (self.ended, self.reusable) = (true, false);
            return Decoded { consumed: data.end, data, state: BodyState::End };
        }
        if let Some(rest) = &mut self.rest {
            *rest -= range.len() as u64;
        }
        Decoded { consumed, data: range, state: BodyState::More }
    }
}

impl Framed for Response {
    fn head(&mut self, buf: &mut Buf, head: &mut ResponseHead) -> Result<Progress, Box<str>> {
        while !buf.is_empty() {
            let (mut consumed, piece) = self.records.next(buf)?;
            match piece {
                Piece::Nothing => {}
                Piece::Error(range) => {
                    if self.complain(&buf[range]) {
                        return Err("upstream sent caught FastCGI stderr".into());
                    }
                }
                Piece::OutputEnd => return Err(STDOUT_CLOSED.into()),
                Piece::Ending | Piece::End => {
                    return Err(format!("upstream sent unexpected FastCGI record: {END_REQUEST}").into());
                }
                Piece::Output(range) => {
                    if let Some(behind) = self.take(&buf[range])? {
                        if behind > 0 {
                            self.records.put_back(behind);
                            consumed -= behind;
                        }
                        buf.consume(consumed);
                        let end = self.text.len() - behind;
                        cgi::parse(&self.text[..end], StatusLine::Refused, head)?;
                        self.rest = match head.framing {
                            http1::Framing::None => Some(0),
                            http1::Framing::Length(length) => Some(length),
                            _ => None,
                        };
                        return Ok(Progress::Done { consumed: 0 });
                    }
                }
            }
            buf.consume(consumed);
        }
        Ok(Progress::NeedMore)
    }

    fn decode(&mut self, input: &[u8]) -> Result<Decoded, Box<str>> {
        if self.ended || input.is_empty() {
            let state = if self.ended { BodyState::End } else { BodyState::More };
            return Ok(Decoded { consumed: 0, data: 0..0, state });
        }
        let (consumed, piece) = self.records.next(input)?;
        let missing = self.rest.is_some_and(|rest| rest > 0);
        match piece {
            Piece::Nothing => {}
            Piece::Error(range) => {
                self.complain(&input[range]);
            }
            Piece::Output(range) => return Ok(self.output(range, consumed)),
            Piece::OutputEnd if missing => return Err(STDOUT_CLOSED.into()),
            Piece::Ending | Piece::End if missing => {
                return Err("upstream prematurely closed FastCGI request".into());
            }
            // the end of the request follows; a server that closes its connection instead owes us nothing more
            Piece::OutputEnd => self.output_ended = true,
            Piece::Ending => {}
            Piece::End => (self.ended, self.reusable) = (true, self.keep_conn),
        }
        let state = if self.ended { BodyState::End } else { BodyState::More };
        Ok(Decoded { consumed, data: 0..0, state })
    }

    fn is_end(&self) -> bool {
        self.ended
    }

    fn close(&self) -> Result<(), Truncated> {
        let complete = self.ended || self.rest == Some(0) || (self.output_ended && self.rest.is_none());
        if complete { Ok(()) } else { Err(Truncated) }
    }

    fn is_reusable(&self) -> bool {
        self.reusable
    }

    fn messages(&mut self) -> Vec<String> {
        std::mem::take(&mut self.messages)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(kind: u8, content: &[u8], padding: u8) -> Vec<u8> {
        let mut out = vec![1, kind, 0, 1];
        out.extend_from_slice(&(content.len() as u16).to_be_bytes());
        out.extend_from_slice(&[padding, 0]);
        out.extend_from_slice(content);
        out.extend_from_slice(&vec![0xaa; padding.into()]);
        out
    }

    /// Status, body, whether the connection can be used again, bytes left over.
    type Read = Result<(u16, Vec<u8>, bool, usize), String>;

    fn read(pieces: &[&[u8]], keep_conn: bool) -> Read {
        let mut response = FastCgi { keep_conn, catch_stderr: Rc::from([]) }.response(4096);
        let (mut head, mut body, mut buf) = (ResponseHead::new(), Vec::new(), Buf::new());
        let mut in_head = true;
        let mut left_over = 0;
        for piece in pieces {
            buf.extend_from_slice(piece);
            if in_head {
                match response.head(&mut buf, &mut head)? {
                    Progress::NeedMore | Progress::Host => continue,
                    Progress::Done { .. } => in_head = false,
                }
            }
            while !buf.is_empty() && !response.is_end() {
                let decoded = response.decode(&buf)?;
                body.extend_from_slice(&buf[decoded.data.clone()]);
                buf.consume(decoded.consumed);
            }
            left_over = buf.len();
        }
        response.close().map_err(|_| "cut".to_owned())?;
        Ok((head.status, body, response.is_reusable(), left_over))
    }

    fn sample() -> Vec<u8> {
        [
            record(STDERR, b"warning.\n", 7),
            record(STDOUT, b"Status: 404 No", 2),
            record(STDOUT, b"\r\nA: b\r\n\r\nhel", 0),
            record(STDERR, b"more", 0),
            record(STDOUT, b"lo", 6),
            record(STDOUT, b"", 0),
            record(END_REQUEST, &[0; 8], 3),
        ]
        .concat()
    }

    #[test]
    fn a_response_in_many_records() {
        let all = sample();
        assert_eq!(read(&[&all], true), Ok((404, b"hello".to_vec(), true, 0)));
        let bytes: Vec<&[u8]> = all.chunks(1).collect();
        assert_eq!(read(&bytes, true), Ok((404, b"hello".to_vec(), true, 0)));
    }

    #[test]
    fn lengths_are_kept() {
        let say = |text: &[u8]| [record(STDOUT, text, 0), record(STDOUT, b"", 0)].concat();
        let too_long = say(b"Content-Length: 3\n\nhello");
        let (_, body, reusable, left) = read(&[&too_long], true).unwrap();
        assert_eq!((&body[..], reusable), (&b"hel"[..], false));
        assert!(left > 0, "what is too much is noticed");
        assert_eq!(read(&[&say(b"Content-Length: 9\n\nhello")], false), Err(STDOUT_CLOSED.to_owned()));
        assert_eq!(read(&[&say(b"bad")], false), Err(STDOUT_CLOSED.to_owned()));
        let cut = record(STDOUT, b"A: b\n\nhello", 0);
        assert_eq!(read(&[&cut], false), Err("cut".to_owned()), "a cut response is no response");
    }

    #[test]
    fn garbage_is_refused() {
        for bad in [
            &b"HTTP/1.1 200 OK\r\n\r\n"[..],
            &record(9, b"x", 0),
            &[2, 6, 0, 1, 0, 1, 0, 0],
            &[1, 6, 0, 2, 0, 1, 0, 0],
            &record(END_REQUEST, &[0; 8], 0),
            &record(STDOUT, &[b'a'; 5000], 0),
        ] {
            assert!(read(&[bad], true).is_err());
        }
    }

    proptest! {
        #[test]
        fn anything_may_come(start in 0usize..100, noise in prop::collection::vec(any::<u8>(), 0..64), keep: bool) {
            let all = sample();
            let start = start.min(all.len());
            let _ = read(&[&all[..start], &noise, &all[start..]], keep);
        }

        #[test]
        fn pieces_do_not_matter(cut in 0usize..200) {
            let all = sample();
            let (first, second) = all.split_at(cut.min(all.len()));
            prop_assert_eq!(read(&[first, second], true), read(&[&all], true));
        }
    }
}
