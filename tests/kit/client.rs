//! A client that sends exactly the bytes it is told to, and reads answers the strict way.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::places::WAIT_MAX;

/// A connection.
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// One answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Status line and fields, with their line ends.
    pub head: String,
    /// The body without framing.
    pub body: Vec<u8>,
    /// Whether the body came to its proper end.
    pub complete: bool,
}

impl Answer {
    /// The first value of field `name`.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| field(line, name))
    }

    /// All values of field `name`.
    pub fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.head.lines().skip(1).filter_map(move |line| field(line, name))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// The value of a field line called `name`.
fn field<'l>(line: &'l str, name: &str) -> Option<&'l str> {
    let (key, value) = line.split_once(':')?;
    key.eq_ignore_ascii_case(name).then(|| value.trim())
}

impl Client {
    /// Connects.
    pub fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&addr, WAIT_MAX).expect("the gateway listens");
        stream.set_read_timeout(Some(WAIT_MAX)).expect("a valid timeout");
        stream.set_write_timeout(Some(WAIT_MAX)).expect("a valid timeout");
        stream.set_nodelay(true).expect("a TCP socket");
        Self { stream, buffer: Vec::new() }
    }

    /// Sends bytes; a peer that has closed already is no failure.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        // the answer tells what became of it
        let _ = self.stream.write_all(bytes.as_ref());
        self
    }

    /// Ends our side.
    pub fn finish(&mut self) -> &mut Self {
        let _ = self.stream.shutdown(Shutdown::Write);
        self
    }

    fn fill(&mut self) -> bool {
        let mut piece = [0; 16 * 1024];
        match self.stream.read(&mut piece) {
            Ok(0) => false,
            Ok(count) => {
                self.buffer.extend_from_slice(&piece[..count]);
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => true,
            Err(error) => panic!(
                "no answer within {WAIT_MAX:?}: {error}; so far: {:?}",
                String::from_utf8_lossy(&self.buffer)
            ),
        }
    }

    /// Whether bytes of an answer have come, without taking them.
    pub fn has_answer(&self) -> bool {
        !self.buffer.is_empty() || self.stream.peek(&mut [0]).is_ok_and(|count| count > 0)
    }

    /// Whether the connection has ended, answer or not.
    pub fn has_ended(&mut self) -> bool {
        let mut piece = [0; 4096];
        self.stream.set_nonblocking(true).expect("a socket");
        let ended = loop {
            match self.stream.read(&mut piece) {
                Ok(0) => break true,
                Ok(count) => self.buffer.extend_from_slice(&piece[..count]),
                Err(error) => break error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        };
        self.stream.set_nonblocking(false).expect("a socket");
        ended
    }

    /// Reads one answer to a request with a body in it; `None` when the connection ends first.
    pub fn answer(&mut self) -> Option<Answer> {
        self.answer_to("GET")
    }

    /// Reads one answer to a request with `method`; interim answers are given as they come.
    pub fn answer_to(&mut self, method: &str) -> Option<Answer> {
        let end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
            if !self.fill() {
                return None;
            }
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end);
        let status = head.get(9..12).and_then(|code| code.parse().ok()).expect("a status line");
        let mut answer = Answer { status, head, body: Vec::new(), complete: true };
        if method == "HEAD" || status < 200 || status == 204 || status == 304 {
            return Some(answer);
        }
        if answer.header("Transfer-Encoding").is_some() {
            self.read_chunked(&mut answer);
        } else if let Some(length) = answer.header("Content-Length") {
            let length: usize = length.parse().expect("a decimal length");
            while self.buffer.len() < length && self.fill() {}
            answer.complete = self.buffer.len() >= length;
            answer.body = self.buffer.drain(..length.min(self.buffer.len())).collect();
        } else {
            while self.fill() {}
            answer.body = std::mem::take(&mut self.buffer);
        }
        Some(answer)
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = find(&self.buffer, b"\r\n") {
                let line = String::from_utf8_lossy(&self.buffer[..at]).into_owned();
                self.buffer.drain(..at + 2);
                return Some(line);
            }
            if !self.fill() {
                return None;
            }
        }
    }

    fn read_chunked(&mut self, answer: &mut Answer) {
        answer.complete = false;
        while let Some(line) = self.line() {
            let size =
                usize::from_str_radix(&line, 16).unwrap_or_else(|_| panic!("not a chunk size: {line:?}"));
            if size == 0 {
                while let Some(trailer) = self.line() {
                    if trailer.is_empty() {
                        answer.complete = true;
                        return;
                    }
                    answer.head.push_str(&trailer);
                    answer.head.push_str("\r\n");
                }
                return;
            }
            while self.buffer.len() < size + 2 && self.fill() {}
            if self.buffer.len() < size + 2 {
                answer.body.append(&mut self.buffer);
                return;
            }
            answer.body.extend(self.buffer.drain(..size));
            assert_eq!(self.buffer.drain(..2).collect::<Vec<_>>(), b"\r\n", "a chunk ends with CRLF");
        }
    }

    /// The next `count` bytes as they are, or fewer when the connection ends.
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count && self.fill() {}
        self.buffer.drain(..count.min(self.buffer.len())).collect()
    }

    /// Everything until the connection ends, as it is.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.buffer)
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// Sends a GET for `target` on a connection of its own and returns the answer.
pub fn get(addr: SocketAddr, target: &str) -> Answer {
    request(addr, &format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
}

/// Sends `raw` on a connection of its own and returns the first answer.
pub fn request(addr: SocketAddr, raw: &str) -> Answer {
    let method = raw.split(' ').next().unwrap_or_default();
    Client::connect(addr).send(raw).answer_to(method).unwrap_or_else(|| panic!("no answer to {raw:?}"))
}
