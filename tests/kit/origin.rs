//! Origins: servers behind the gateway that do what a test tells them, and remember what they were sent.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use crate::places::{Places, WAIT_MAX};

/// What an origin does with one connection. It returns when the connection shall end.
pub type Script = dyn Fn(&mut TcpStream, &Seen) + Send + Sync;

/// What origins were sent: every request with its body, in order of arrival.
#[derive(Default, Clone)]
pub struct Seen(Arc<Mutex<Vec<Vec<u8>>>>);

impl Seen {
    /// Remembers one request.
    pub fn add(&self, request: Vec<u8>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(request);
    }

    /// How many there were so far.
    pub fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Those that came when there had been `count`.
    pub fn since(&self, count: usize) -> Vec<Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[count..].to_vec()
    }

    /// All requests so far, as text.
    pub fn all(&self) -> Vec<String> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().map(|request| String::from_utf8_lossy(request).into_owned()).collect()
    }
}

/// A listening origin. Its threads end with the test process.
pub struct Origin {
    /// Where it listens.
    pub addr: SocketAddr,
    /// What it was sent.
    pub seen: Seen,
}

impl Origin {
    /// Runs `script` for every connection.
    pub fn script(script: impl Fn(&mut TcpStream, &Seen) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(Places::address()).expect("an address of our own");
        let addr = listener.local_addr().expect("a bound socket");
        let seen = Seen::default();
        let (script, of_thread): (Arc<Script>, Seen) = (Arc::new(script), seen.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let (script, seen) = (Arc::clone(&script), of_thread.clone());
                std::thread::spawn(move || {
                    stream.set_read_timeout(Some(WAIT_MAX)).expect("a valid timeout");
                    script(&mut stream, &seen);
                });
            }
        });
        Self { addr, seen }
    }

    /// Answers every request with exactly `answer`, keeping the connection.
    pub fn fixed(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::script(move |stream, seen| {
            while let Some(request) = read_request(stream) {
                seen.add(request);
                if stream.write_all(&answer).is_err() {
                    return;
                }
            }
        })
    }

    /// Sends `answer` after the first request and closes.
    pub fn once(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::script(move |stream, seen| {
            if let Some(request) = read_request(stream) {
                seen.add(request);
                // a gateway that has closed already loses nothing
                let _ = stream.write_all(&answer);
            }
        })
    }

    /// Answers with the request itself as the body.
    pub fn echo() -> Self {
        Self::script(|stream, seen| {
            while let Some(request) = read_request(stream) {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.len());
                seen.add(request.clone());
                if stream.write_all(head.as_bytes()).is_err() || stream.write_all(&request).is_err() {
                    return;
                }
            }
        })
    }
}

/// Reads one request with its body, as it came; `None` at the end of the connection.
pub fn read_request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        request.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&request).to_ascii_lowercase();
    let field = |name: &str| {
        head.lines().find_map(|line| line.strip_prefix(name).map(|value| value.trim().to_owned()))
    };
    if field("transfer-encoding:").is_some() {
        while !request.ends_with(b"0\r\n\r\n") {
            if stream.read(&mut byte).ok()? == 0 {
                return None;
            }
            request.push(byte[0]);
        }
    } else if let Some(length) = field("content-length:") {
        let mut body = vec![0; length.parse().ok()?];
        stream.read_exact(&mut body).ok()?;
        request.extend(body);
    }
    Some(request)
}
