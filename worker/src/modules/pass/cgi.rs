//! Response heads of gateways: fields without a status line, the status among them (RFC 3875 section 6).

use http1::{Decoded, Framing, Known, Progress, ResponseHead, ResponseOptions, ResponseParser, Truncated};
use net::Buf;

use crate::upstream::{Framed, Plain, Protocol};

/// The protocol of servers that answer with such a head and the body as it is: SCGI, uwsgi.
pub(in crate::modules) struct Gateway;

impl Protocol for Gateway {
    fn response(&self, head_max: usize) -> Box<dyn Framed> {
        Box::new(Response { head_max, looked: 0, body: None })
    }
}

struct Response {
    head_max: usize,
    /// Up to where the end of the head was looked for.
    looked: usize,
    body: Option<Plain>,
}

impl Framed for Response {
    fn head(&mut self, buf: &mut Buf, head: &mut ResponseHead) -> Result<Progress, Box<str>> {
        let end = end_of_head(buf, self.looked);
        self.looked = buf.len();
        if end.unwrap_or(buf.len()) > self.head_max {
            return Err("upstream sent too big header".into());
        }
        let Some(end) = end else { return Ok(Progress::NeedMore) };
        parse(&buf[..end], StatusLine::Allowed, head)?;
        buf.consume(end);
        self.body = Some(Plain::after(head));
        Ok(Progress::Done { consumed: 0 })
    }

    fn decode(&mut self, input: &[u8]) -> Result<Decoded, Box<str>> {
        match &mut self.body {
            Some(body) => Ok(body.decode(input)),
            None => Err("upstream sent no header".into()),
        }
    }

    fn is_end(&self) -> bool {
        self.body.as_ref().is_some_and(Plain::is_end)
    }

    fn close(&self) -> Result<(), Truncated> {
        self.body.as_ref().map_or(Err(Truncated), Plain::close)
    }

    fn left(&self) -> Option<u64> {
        self.body.as_ref().and_then(Plain::left)
    }

    /// The server closes.
    fn is_reusable(&self) -> bool {
        false
    }
}

/// Whether a status line may come first, as some servers send it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::modules) enum StatusLine {
    Allowed,
    Refused,
}

/// Where the head at the start of `text` ends: behind its empty line. `from`: up to where it was looked for before.
pub(in crate::modules) fn end_of_head(text: &[u8], from: usize) -> Option<usize> {
    if text.starts_with(b"\n") || text.starts_with(b"\r\n") {
        return memchr::memchr(b'\n', text).map(|end| end + 1);
    }
    let start = from.saturating_sub(3);
    memchr::memchr_iter(b'\n', &text[start..]).map(|at| start + at).find_map(|at| match &text[at + 1..] {
        [b'\n', ..] => Some(at + 2),
        [b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    })
}

/// Reads a whole head. Lines may end in a line feed alone.
///
/// # Errors
/// The line for the log.
pub(in crate::modules) fn parse(
    text: &[u8],
    status_line: StatusLine,
    head: &mut ResponseHead,
) -> Result<(), Box<str>> {
    let has_status_line = status_line == StatusLine::Allowed && text.starts_with(b"HTTP/");
    let mut message = Vec::with_capacity(text.len() + 64);
    if !has_status_line {
        message.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    }
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        message.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
        message.extend_from_slice(b"\r\n");
    }
    match ResponseParser::new().parse(&message, &ResponseOptions::default(), head) {
        Ok(Progress::Done { .. }) => {}
        Ok(Progress::NeedMore | Progress::Host) => return Err("upstream sent no valid header".into()),
        Err(error) => return Err(error.to_string().into()),
    }
    // ranges of a buffer that is gone
    head.ignored.clear();
    if !has_status_line {
        take_status(head)?;
    }
    if head.is_interim() || head.status == 101 {
        return Err(format!("upstream sent unexpected status {}", head.status).into());
    }
    head.framing = match head.framing {
        _ if matches!(head.status, 204 | 304) => Framing::None,
        // bodies stand as they are in these protocols
        Framing::Chunked => Framing::UntilClose,
        framing => framing,
    };
    Ok(())
}

fn take_status(head: &mut ResponseHead) -> Result<(), Box<str>> {
    let line = match head.headers.known(Known::Status) {
        Some(line) => line.to_vec(),
        None if head.headers.contains_known(Known::Location) => b"302 Moved Temporarily".to_vec(),
        None => return Ok(()),
    };
    if head.set_status(&line) {
        return Ok(());
    }
    Err(format!("upstream sent invalid status \"{}\"", line.escape_ascii()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, status_line: StatusLine) -> Result<ResponseHead, Box<str>> {
        let end = end_of_head(text.as_bytes(), 0).expect("a whole head");
        let mut head = ResponseHead::new();
        parse(&text.as_bytes()[..end], status_line, &mut head).map(|()| head)
    }

    #[test]
    fn statuses() {
        for (text, status, line) in [
            ("Content-Type: text/html\n\nbody", 200, "200 OK"),
            ("Status: 404 Gone fishing\r\n\r\n", 404, "404 Gone fishing"),
            ("Status: 404\n\n", 404, "404 Not Found"),
            ("Location: http://a/\n\n", 302, "302 Moved Temporarily"),
            ("Location: /a\nStatus: 301 Moved\n\n", 301, "301 Moved"),
            ("\nbody", 200, "200 OK"),
        ] {
            let head = read(text, StatusLine::Refused).unwrap();
            assert_eq!((head.status, head.status_line()), (status, line.as_bytes()), "{text}");
        }
        let head = read("HTTP/1.0 403 No\nA: b\n\n", StatusLine::Allowed).unwrap();
        assert_eq!((head.status, head.headers.get(b"a")), (403, Some(&b"b"[..])));
    }

    #[test]
    fn framing_is_the_protocols_own() {
        let framing = |text: &str| read(text, StatusLine::Refused).map(|head| head.framing);
        assert_eq!(framing("Content-Length: 5\n\n"), Ok(Framing::Length(5)));
        assert_eq!(framing("Transfer-Encoding: chunked\n\n"), Ok(Framing::UntilClose));
        assert_eq!(framing("Status: 304 Not Modified\nContent-Length: 5\n\n"), Ok(Framing::None));
        for bad in [
            "Content-Length: 5\nTransfer-Encoding: chunked\n\n",
            "Content-Length: 5\nContent-Length: 6\n\n",
            "Content-Length: -1\n\n",
            "no field\n\n",
            "HTTP/1.1 200 OK\n\n",
            "Status: abc\n\n",
            "Status: 100 Continue\n\n",
            "Status: 101 Switching\n\n",
        ] {
            assert!(framing(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ends_are_found_across_pieces() {
        let text = b"a: b\r\n\r\nx";
        assert_eq!(end_of_head(text, 0), Some(8));
        assert_eq!(end_of_head(text, 7), Some(8));
        assert_eq!(end_of_head(&text[..7], 0), None);
        assert_eq!(end_of_head(b"a\n\nb", 2), Some(3));
    }
}
