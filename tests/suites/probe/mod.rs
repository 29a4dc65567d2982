//! Several hundred raw messages and a great many mutations of them, judged from outside: what the client got, whether the
//! connection went on, and what the origin was sent, read by a strict parser of its own.
//!
//! Every message goes to a proxied location with buffering, to one without, to a local answer, to an error page and to a
//! file, because each has its own way of dealing with a body.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use kit::strict::{self, Leniency, Message, Reading};
use kit::{Gateway, Origin};

mod cases;
mod mutations;
mod paths;
mod tunnels;

/// Locations that answer 200 to whatever they accept, and whether they are proxied.
const PLACES: &[(&str, bool)] =
    &[("/", true), ("/stream/", true), ("/own/", false), ("/error/", false), ("/file/", false)];

const CONF: &str = "
http {
    client_header_timeout 5s; client_body_timeout 5s; lingering_time 1s; lingering_timeout 1s;
    proxy_ignore_client_abort on;
    server {
        listen @0;
        location / { proxy_pass http://%0; }
        location /stream/ { proxy_pass http://%0; proxy_request_buffering off; proxy_buffering off; }
        location /own/ { return 200 own; }
        location /error/ { error_page 403 =200 /page; return 403; }
        location = /page { return 200 page; }
        location /file/ { root @prefix/html; error_page 405 =200 /page; index index.html; }
        location = /after { return 299 after; }
    }
}";

/// How the origin reads.
const PASSED: Leniency = Leniency { may: false, raw: true };

/// Behind every message, to see whether the connection goes on where it should.
const AFTER: &str = "GET /after HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// The status that answers [`AFTER`].
const AFTER_STATUS: u16 = 299;

fn start(origin: &Origin) -> Gateway {
    Gateway::start_with(CONF, &[origin.addr], |prefix| {
        std::fs::create_dir(prefix.join("html/file")).expect("a fresh directory");
        std::fs::write(prefix.join("html/file/index.html"), "file").expect("a fresh file");
    })
}

/// An origin that reads strictly, answers 200, and notes what it could not read.
fn strict_origin() -> Origin {
    Origin::script(|stream, seen| {
        let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
        loop {
            match strict::read(&bytes, PASSED) {
                Reading::Request(message, used) => {
                    seen.add(bytes.drain(..used).collect());
                    let answer: &[u8] = match message.method.as_str() {
                        "HEAD" => b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n",
                        _ => b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\norigin",
                    };
                    if stream.write_all(answer).is_err() {
                        return;
                    }
                    continue;
                }
                Reading::Invalid(why) => return seen.add(note(why, &bytes)),
                Reading::Incomplete => {}
            }
            match stream.read(&mut piece) {
                Ok(count @ 1..) => bytes.extend_from_slice(&piece[..count]),
                // a message that was cut is none
                _ => return,
            }
        }
    })
}

/// Marks what the origin could not read.
const UNREADABLE: &str = "UNREADABLE";

fn note(why: &str, bytes: &[u8]) -> Vec<u8> {
    [UNREADABLE.as_bytes(), b" ", why.as_bytes(), b": ", bytes].concat()
}

/// What came back on one connection.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    /// The final status of every answer.
    statuses: Vec<u16>,
    /// Bytes that are no answer.
    garbage: Vec<u8>,
}

/// Sends `bytes`, ends our side, and reads all that comes. `heads` says which requests get answers without a body.
fn exchange(addr: SocketAddr, bytes: &[u8], heads: &[bool]) -> Outcome {
    let mut stream = TcpStream::connect(addr).expect("the gateway listens");
    stream.set_read_timeout(Some(Duration::from_secs(15))).expect("a valid timeout");
    // a gateway that refused early may have closed
    let _ = stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write));
    let (mut all, mut piece) = (Vec::new(), [0; 16 * 1024]);
    loop {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => all.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                panic!("no end of the connection: {error}; sent {:?}", String::from_utf8_lossy(bytes))
            }
        }
    }
    answers(&all, heads)
}

fn answers(mut rest: &[u8], heads: &[bool]) -> Outcome {
    let mut outcome = Outcome::default();
    while !rest.is_empty() {
        let Some(end) = rest.windows(4).position(|window| window == b"\r\n\r\n") else { break };
        let head = String::from_utf8_lossy(&rest[..end]).to_ascii_lowercase();
        let Some(status) = head.strip_prefix("http/1.1 ").and_then(|line| line.get(..3)?.parse::<u16>().ok())
        else {
            break;
        };
        rest = &rest[end + 4..];
        if status < 200 {
            continue;
        }
        let without_body = heads.get(outcome.statuses.len()) == Some(&true) || status == 204 || status == 304;
        outcome.statuses.push(status);
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        let Some(length) = length.filter(|_| !without_body) else { continue };
        rest = &rest[length.min(rest.len())..];
    }
    outcome.garbage = rest.to_vec();
    outcome
}

/// What `bytes` are to a reader that takes what the RFC lets it take: requests, and whether it refuses what follows them.
fn requests(mut bytes: &[u8]) -> (Vec<Message>, Option<&'static str>) {
    let mut found = Vec::new();
    loop {
        match strict::read(bytes, Leniency { may: true, raw: true }) {
            Reading::Request(message, used) => {
                bytes = &bytes[used..];
                let option = |wanted: &str| {
                    let values =
                        message.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("connection"));
                    let mut options = values.flat_map(|(_, value)| value.split(|byte| *byte == b','));
                    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes()))
                };
                let last = option("close") || message.minor == 0 && !option("keep-alive");
                found.push(message);
                if last || bytes.is_empty() {
                    return (found, None);
                }
            }
            Reading::Incomplete => return (found, None),
            Reading::Invalid(why) => return (found, Some(why)),
        }
    }
}
