//! Clients that send requests without a pause, and say of each that failed how it failed.
//!
//! What a change of processes may cost depends on what the client had done: a connection refused or reset before the request
//! was sent, an answer that never came, one that was cut. So every loss has a kind, and says whether the connection had
//! carried requests before.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::places::WAIT_MAX;

/// What a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// GET after GET on one connection.
    Keep,
    /// The same with pauses, so that the connection is idle most of the time.
    KeepIdle,
    /// GET, a connection for each.
    Fresh,
    /// POST with a body after POST on one connection.
    Post,
    /// POST in chunks, a connection for each.
    FreshPost,
}

impl Habit {
    /// One of each.
    pub const ALL: [Habit; 5] = [Habit::Keep, Habit::KeepIdle, Habit::Fresh, Habit::Post, Habit::FreshPost];

    fn request(self) -> &'static str {
        match self {
            Habit::Keep | Habit::KeepIdle => "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            Habit::Fresh => "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            Habit::Post => "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
            Habit::FreshPost => {
                "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
            }
        }
    }
}

/// How a request was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// No connection.
    Connect(io::ErrorKind),
    /// The connection broke while the request was sent.
    Send(io::ErrorKind),
    /// The connection ended or broke before the first byte of an answer.
    Silent(Option<io::ErrorKind>),
    /// It ended in the middle of the answer.
    Cut(String),
    /// An answer, but not with status 200.
    Status(String),
    /// Nothing for a long time.
    Timeout,
}

/// A request that was not answered as it should be.
#[derive(Debug, Clone)]
pub struct Lost {
    /// Whose it was.
    pub habit: Habit,
    /// How many requests the connection had carried before.
    pub before: usize,
    /// What happened.
    pub loss: Loss,
    /// When, from the start of the load.
    pub at: Duration,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} after {} at {:?}: {:?}", self.habit, self.before, self.at, self.loss)
    }
}

/// Running clients.
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    addr: SocketAddr,
    stop: AtomicBool,
    answered: AtomicUsize,
    lost: Mutex<Vec<Lost>>,
    begun: Instant,
}

/// Pause of [`Habit::KeepIdle`].
const PAUSE: Duration = Duration::from_millis(3);

impl Load {
    /// Starts `each` clients of every habit.
    pub fn start(addr: SocketAddr, habits: &[Habit], each: usize) -> Self {
        let shared = Arc::new(Shared {
            addr,
            stop: AtomicBool::new(false),
            answered: AtomicUsize::new(0),
            lost: Mutex::default(),
            begun: Instant::now(),
        });
        let clients = habits.iter().flat_map(|habit| std::iter::repeat_n(*habit, each));
        let threads = clients
            .map(|habit| {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || shared.run(habit))
            })
            .collect();
        Self { shared, threads }
    }

    /// Requests answered so far.
    pub fn answered(&self) -> usize {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Requests lost so far.
    pub fn lost(&self) -> usize {
        self.shared.lost.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Ends the load: the number of answers, and what was lost.
    pub fn stop(self) -> (usize, Vec<Lost>) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().expect("a client does not panic"));
        let lost = std::mem::take(&mut *self.shared.lost.lock().unwrap_or_else(PoisonError::into_inner));
        (self.shared.answered.load(Ordering::Relaxed), lost)
    }

    /// Ends the load and panics when anything was lost.
    pub fn stop_without_loss(self) -> usize {
        let (answered, lost) = self.stop();
        let some: Vec<String> = lost.iter().take(10).map(Lost::to_string).collect();
        assert!(lost.is_empty(), "{} of {answered} lost:\n{}", lost.len(), some.join("\n"));
        answered
    }
}

impl Shared {
    fn run(&self, habit: Habit) {
        let mut kept: Option<(TcpStream, usize)> = None;
        while !self.stop.load(Ordering::Relaxed) {
            let before = kept.as_ref().map_or(0, |(_, before)| *before);
            let connected = match kept.take() {
                Some((stream, _)) => Ok(stream),
                None => connect(self.addr),
            };
            match connected.and_then(|stream| exchange(stream, habit.request())) {
                Ok(stream) => {
                    self.answered.fetch_add(1, Ordering::Relaxed);
                    kept = stream.map(|stream| (stream, before + 1));
                }
                Err(loss) => {
                    let lost = Lost { habit, before, loss, at: self.begun.elapsed() };
                    self.lost.lock().unwrap_or_else(PoisonError::into_inner).push(lost);
                }
            }
            if habit == Habit::KeepIdle {
                std::thread::sleep(PAUSE);
            }
        }
    }
}

fn connect(addr: SocketAddr) -> Result<TcpStream, Loss> {
    let stream = TcpStream::connect_timeout(&addr, WAIT_MAX).map_err(|error| Loss::Connect(error.kind()))?;
    let ready = stream.set_read_timeout(Some(WAIT_MAX)).and_then(|()| stream.set_nodelay(true));
    ready.map_err(|error| Loss::Connect(error.kind()))?;
    Ok(stream)
}

/// Sends a request and reads its answer; the connection comes back if it may be used again.
fn exchange(mut stream: TcpStream, request: &str) -> Result<Option<TcpStream>, Loss> {
    let sent = stream.write_all(request.as_bytes());
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let failed = |kind| match (answer.is_empty(), kind) {
            (_, Some(io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)) => Loss::Timeout,
            (true, kind) => match &sent {
                Err(error) => Loss::Send(error.kind()),
                Ok(()) => Loss::Silent(kind),
            },
            (false, _) => Loss::Cut(String::from_utf8_lossy(&answer).into_owned()),
        };
        match stream.read(&mut piece) {
            Ok(0) => return Err(failed(None)),
            Ok(count) => answer.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(Some(error.kind()))),
        }
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name).map(str::trim));
        let length = field("Content-Length:").and_then(|length| length.parse::<usize>().ok());
        if length.is_some_and(|length| body.len() < length) {
            continue;
        }
        if !head.starts_with("HTTP/1.1 200 ") || length.is_none() {
            return Err(Loss::Status(head.to_owned()));
        }
        let keep = field("Connection:").is_none_or(|value| value == "keep-alive");
        return Ok(keep.then_some(stream));
    }
}
