//! One try over one connection: the request goes out, the head of a response comes in.
//!
//! Small requests are sent with one call, and only then is the response received: two ring operations. A large or streamed
//! body is sent while the response is already listened for, because a server may answer early and stop reading.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;

use http1::{BodyDecoder, Progress, ResponseHead, ResponseOptions, ResponseParser};
use net::{Buf, Timeout};

use super::interim::Interim;
use super::link::Link;
use super::protocol::{Decoder, Framed};
use super::retry::Failure;
use super::upload::{self, Unsent};
use super::{Conditions, Order, Upload};
use crate::fault::Fault;
use crate::log::Level;
use crate::request::Request;
use crate::transport::Transport;

pub(super) const SENDING: &str = "sending request to upstream";
pub(super) const READING_HEAD: &str = "reading response header from upstream";

/// A head was read; what follows it begins in `buf`.
pub(super) struct Answer {
    pub(super) buf: Buf,
    /// Takes the framing off it.
    pub(super) decoder: Decoder,
    /// The whole request was sent: the connection can be used again.
    pub(super) complete: bool,
}

/// Why there is no answer.
pub(super) enum NoAnswer {
    /// The server's doing: another try may follow.
    Failed(Failure),
    /// Not the server's doing: the request is over.
    Over(Fault),
}

impl From<Failure> for NoAnswer {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Sends the request and reads the head of the final response into `head`.
pub(super) async fn exchange(
    req: &mut Request,
    order: &Order<'_>,
    link: &Link,
    head: &mut ResponseHead,
) -> Result<Answer, NoAnswer> {
    order.doing.set(SENDING);
    head.clear();
    let mut reader = Reader::new(order, link);
    let small = match order.upload {
        Upload::None => upload::small(req, order, false),
        Upload::Kept => upload::small(req, order, true),
        Upload::Streamed { .. } => None,
    };
    let sent = match small {
        Some(buf) => match link.stream.start_send(buf) {
            Ok(spare) => {
                reader.offer(spare);
                Sent::Complete
            }
            Err(buf) => {
                let timeout = Timeout::ms(order.settings.send_timeout);
                let (result, empty) = link.stream.send_buf(buf, timeout).await;
                reader.offer(empty);
                result.map_or_else(Sent::Broken, |()| Sent::Complete)
            }
        },
        None => Box::pin(large(req, order, link, head, &mut reader)).await?,
    };
    order.doing.set(READING_HEAD);
    match sent {
        Sent::Complete => {
            reader.limit(order.settings.read_timeout);
            match reader.answer(req, order, head).await {
                Ok(()) => Ok(reader.into_answer(head, true)),
                Err(NoAnswer::Failed(failure)) => Err(reader.blame_sending(failure).await.into()),
                Err(over) => Err(over),
            }
        }
        Sent::Answered => {
            reader.finish(req, head);
            Ok(reader.into_answer(head, false))
        }
        Sent::Broken(error) => {
            let mut failure = Failure::io(&error, "writev", SENDING);
            if failure.condition == Conditions::TIMEOUT {
                return Err(failure.into());
            }
            // it may have answered before it closed
            reader.limit(order.settings.read_timeout.min(AFTER_BROKEN_MS));
            failure.stale = reader.reused;
            match reader.answer(req, order, head).await {
                Ok(()) => Ok(reader.into_answer(head, false)),
                Err(NoAnswer::Over(fault)) => Err(NoAnswer::Over(fault)),
                Err(NoAnswer::Failed(_)) => {
                    failure.stale &= !reader.received;
                    Err(failure.into())
                }
            }
        }
    }
}

/// How long to wait for an answer of a server that closed while the request was being sent: it is here or does not come.
const AFTER_BROKEN_MS: u64 = 1000;

/// When a request that was handed to the loop is looked at again, if no answer came: it ought to be gone at once.
const SETTLE_AFTER_MS: u64 = 1000;

/// How sending went.
enum Sent {
    /// All of it.
    Complete,
    /// The server takes no more.
    Broken(io::Error),
    /// The head of a response came before the end.
    Answered,
}

/// Sends a request while listening for an early response.
async fn large(
    req: &mut Request,
    order: &Order<'_>,
    link: &Link,
    head: &mut ResponseHead,
    reader: &mut Reader,
) -> Result<Sent, NoAnswer> {
    let timeout = Timeout::ms(order.settings.send_timeout);
    let result = if let Upload::Streamed { chunked } = order.upload {
        order.watching.set(false);
        let sending = upload::streamed(req, &link.stream, order, chunked, timeout);
        let result = race(pin!(sending), pin!(reader.final_head(head))).await;
        order.watching.set(true);
        result
    } else {
        let bytes = Buf::copy_of(&req.upstream.request).freeze();
        let body = req.body_chunks();
        let sending = upload::kept(&link.stream, order, bytes, body, timeout);
        race(pin!(sending), pin!(reader.final_head(head))).await
    };
    match result {
        Ok(Ok(())) => Ok(Sent::Complete),
        Ok(Err(Unsent::Server(error))) => Ok(Sent::Broken(error)),
        Ok(Err(Unsent::Body(fault))) => Err(NoAnswer::Over(fault)),
        Err(Ok(())) => Ok(Sent::Answered),
        Err(Err(failure)) => Err(failure.into()),
    }
}

/// Runs both until sending ends (`Ok`) or reading does (`Err`).
async fn race<A: Future, B: Future>(
    mut sending: Pin<&mut A>,
    mut reading: Pin<&mut B>,
) -> Result<A::Output, B::Output> {
    poll_fn(|cx| {
        if let Poll::Ready(result) = sending.as_mut().poll(cx) {
            return Poll::Ready(Ok(result));
        }
        reading.as_mut().poll(cx).map(Err)
    })
    .await
}

/// Reads response heads.
struct Reader {
    stream: Transport,
    options: ResponseOptions,
    parser: ResponseParser,
    /// Reads the response in place of `parser`.
    framed: Option<Box<dyn Framed>>,
    buf: Buf,
    /// Length of the head that was read, at the start of `buf`.
    head_len: usize,
    /// The next receive was started when the connection became idle.
    ahead: bool,
    reused: bool,
    /// Limit of a head in bytes.
    bytes_max: usize,
    /// When the time for the head is over, ms; `None`: the request is still being sent.
    deadline: Option<u64>,
    /// Something was received in this try.
    received: bool,
    interim: Interim,
}

impl Reader {
    fn new(order: &Order<'_>, link: &Link) -> Self {
        Self {
            stream: link.stream.clone(),
            options: ResponseOptions {
                head: order.head_only,
                upgrade: order.upgrade,
                ..ResponseOptions::default()
            },
            parser: ResponseParser::new(),
            framed: order.protocol.as_ref().map(|protocol| protocol.response(order.settings.buffer_size)),
            buf: Buf::new(),
            head_len: 0,
            ahead: link.reused,
            reused: link.reused,
            bytes_max: order.settings.buffer_size,
            deadline: None,
            received: false,
            interim: Interim::default(),
        }
    }

    /// The head was read.
    fn into_answer(self, head: &ResponseHead, complete: bool) -> Answer {
        let decoder = match self.framed {
            Some(framed) => Decoder::Framed(framed),
            None => Decoder::Http(BodyDecoder::new(head.framing)),
        };
        Answer { buf: self.buf, decoder, complete }
    }

    /// Takes a buffer that is not needed otherwise.
    fn offer(&mut self, buf: Buf) {
        if !self.ahead && buf.capacity() >= self.bytes_max {
            self.buf = buf;
        }
    }

    /// From now on the head has so many milliseconds.
    fn limit(&mut self, ms: u64) {
        self.deadline = Some(net::now().0.saturating_add(ms));
    }

    /// Reads the final head; interim ones may go to the client.
    async fn answer(
        &mut self,
        req: &mut Request,
        order: &Order<'_>,
        head: &mut ResponseHead,
    ) -> Result<(), NoAnswer> {
        loop {
            let read = self.head(head).await;
            for message in self.framed.as_mut().map(|framed| framed.messages()).unwrap_or_default() {
                req.log_error(format_args!("{message} while {READING_HEAD}"));
            }
            read?;
            if !head.is_interim() {
                break;
            }
            let len = self.head_len;
            Box::pin(self.interim.pass(req, order, head, len)).await.map_err(NoAnswer::Over)?;
            self.skip();
        }
        self.finish(req, head);
        Ok(())
    }

    /// Reads the final head; interim ones are dropped.
    async fn final_head(&mut self, head: &mut ResponseHead) -> Result<(), Failure> {
        loop {
            self.head(head).await?;
            if !head.is_interim() {
                return Ok(());
            }
            self.skip();
        }
    }

    /// Done with the final head: what remains in the buffer is the body.
    fn finish(&mut self, req: &Request, head: &ResponseHead) {
        for range in &head.ignored {
            let line = &self.buf[range.start as usize..range.end as usize];
            req.log(
                Level::Warn,
                format_args!(
                    "upstream sent duplicate header line: \"{}\", ignored while {READING_HEAD}",
                    line.escape_ascii()
                ),
            );
        }
        self.buf.consume(self.head_len);
    }

    /// Goes on behind an interim head.
    fn skip(&mut self) {
        self.buf.consume(self.head_len);
        self.parser.reset_after_interim();
    }

    /// Reads one head of any kind. May be dropped and called again: nothing is lost.
    async fn head(&mut self, head: &mut ResponseHead) -> Result<(), Failure> {
        while self.buf.is_empty() || !self.parse(head)? {
            let sending = self.stream.is_sending();
            let timeout = match self.deadline {
                None => Timeout::NEVER,
                Some(at) => {
                    let left = at.saturating_sub(net::now().0).max(1);
                    Timeout::ms(if sending { left.min(SETTLE_AFTER_MS) } else { left })
                }
            };
            let result = if self.ahead {
                let (result, buf) = self.stream.recv_started(timeout).await;
                self.ahead = false;
                self.buf = buf;
                result
            } else {
                self.receive(timeout).await
            };
            match result {
                Ok(0) => return Err(self.closed()),
                Ok(_) => self.received = true,
                // the server took a part of the request only: send the rest, then wait on
                Err(error)
                    if sending && error.kind() == io::ErrorKind::TimedOut && self.stream.is_sending() =>
                {
                    let left = self.deadline.map_or(0, |at| at.saturating_sub(net::now().0));
                    if left == 0 {
                        return Err(Failure::io(&error, "recv", READING_HEAD));
                    }
                    let settled = self.stream.settle(Timeout::ms(left)).await;
                    settled.map_err(|error| Failure::io(&error, "writev", SENDING))?;
                }
                Err(error) => {
                    let mut failure = Failure::io(&error, "recv", READING_HEAD);
                    failure.stale = self.reused && !self.received && failure.condition != Conditions::TIMEOUT;
                    return Err(failure);
                }
            }
        }
        Ok(())
    }

    /// The request may have failed to leave, unnoticed so far: that is the cause then.
    async fn blame_sending(&self, failure: Failure) -> Failure {
        if failure.condition == Conditions::TIMEOUT || !self.stream.is_sending() {
            return failure;
        }
        match self.stream.settle(Timeout::ms(1)).await {
            Err(error) if error.kind() != io::ErrorKind::TimedOut => {
                let mut cause = Failure::io(&error, "writev", SENDING);
                cause.stale = self.reused && !self.received;
                cause
            }
            _ => failure,
        }
    }

    /// Receives behind what is there. A receive that is dropped keeps its buffer, so the beginning of a head stays here.
    async fn receive(&mut self, timeout: Timeout) -> io::Result<usize> {
        let room = if self.buf.capacity() >= self.bytes_max && self.buf.is_empty() {
            std::mem::take(&mut self.buf)
        } else {
            Buf::with_capacity(self.bytes_max)
        };
        let (result, room) = self.stream.recv(room, timeout).await;
        if self.buf.is_empty() {
            self.buf = room;
        } else {
            self.buf.extend_from_slice(&room);
        }
        result
    }

    /// Whether a head is complete.
    fn parse(&mut self, head: &mut ResponseHead) -> Result<bool, Failure> {
        let invalid = |text: String| Err(Failure::new(Conditions::INVALID_HEADER, text));
        if let Some(framed) = &mut self.framed {
            self.head_len = 0;
            return match framed.head(&mut self.buf, head) {
                Ok(progress) => Ok(matches!(progress, Progress::Done { .. })),
                Err(error) => invalid(format!("{error} while {READING_HEAD}")),
            };
        }
        let complete = match self.parser.parse(&self.buf, &self.options, head) {
            Ok(Progress::Done { consumed }) => {
                self.head_len = consumed;
                true
            }
            Ok(Progress::NeedMore | Progress::Host) => {
                self.head_len = self.buf.len() + 1;
                false
            }
            Err(error) => return invalid(format!("{error} while {READING_HEAD}")),
        };
        if self.head_len > self.bytes_max {
            return invalid(format!("upstream sent too big header while {READING_HEAD}"));
        }
        Ok(complete)
    }

    fn closed(&self) -> Failure {
        let text = format!("upstream prematurely closed connection while {READING_HEAD}");
        let mut failure = Failure::new(Conditions::ERROR, text);
        failure.stale = self.reused && !self.received;
        failure
    }
}
