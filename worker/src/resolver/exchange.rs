//! One question to one name server: over UDP from a socket of its own, over TCP when the answer does not fit.

use std::io;
use std::time::Duration;

use net::{Addr, Buf, ConnectOptions, Timeout, Udp};

use super::message::{self, RecordType, Reply};
use crate::log::{self, Level};

/// Largest datagram accepted, bytes.
const DATAGRAM_MAX: usize = 4096;
/// FORMERR: the server did not understand.
pub(super) const FORMAT_ERROR: u8 = 1;
/// Datagrams looked at while waiting for the right one: somebody guessing must not keep us busy.
const DATAGRAMS_MAX: usize = 64;

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoReply {
    /// Nothing came in time.
    Silence,
    /// The server is not there or does not understand; it need not be waited for.
    Useless,
}

/// A question.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) name: &'a str,
    pub(super) kind: RecordType,
}

/// Asks `server` and waits at most `patience`.
pub(super) async fn ask(server: &Addr, question: Question<'_>, patience: Duration) -> Result<Reply, NoReply> {
    let id = rand::random();
    let Some(query) = message::query(id, question.name, question.kind) else { return Err(NoReply::Useless) };
    let end = net::Tick(net::now().0 + patience.as_millis() as u64);
    let asked = over_udp(server, &query, id, question, end).await;
    let reply = match asked {
        Ok(reply) if reply.truncated => over_tcp(server, query, id, question, end).await,
        asked => asked,
    };
    match reply {
        Ok(reply) if reply.code == FORMAT_ERROR => {
            complain(
                server,
                format_args!("DNS error (1: Format error), query id:{id}, name:\"{}\"", question.name),
            );
            Err(NoReply::Useless)
        }
        Ok(reply) => Ok(reply),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(NoReply::Silence),
        Err(error) => {
            complain(
                server,
                format_args!("DNS query for {} failed ({})", question.name, conf::error::errno(&error)),
            );
            Err(NoReply::Useless)
        }
    }
}

/// A socket of its own has a port of its own, chosen by the kernel: together with the identifier that is what somebody
/// who cannot read the query would have to guess.
async fn over_udp(
    server: &Addr,
    query: &[u8],
    id: u16,
    question: Question<'_>,
    end: net::Tick,
) -> io::Result<Reply> {
    let socket = Udp::connect(server, None)?;
    socket.send(query).await?;
    for _ in 0..DATAGRAMS_MAX {
        let mut buf = Buf::with_capacity(DATAGRAM_MAX);
        socket.recv(&mut buf, end.since(net::now())).await?;
        match message::reply(buf.as_slice(), id, question.name, question.kind) {
            Ok(reply) => return Ok(reply),
            Err(error) => complain(server, format_args!("{error} for {}", question.name)),
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

async fn over_tcp(
    server: &Addr,
    query: Vec<u8>,
    id: u16,
    question: Question<'_>,
    end: net::Tick,
) -> io::Result<Reply> {
    let left = || end.since(net::now());
    let options = ConnectOptions { timeout: Some(left()), nodelay: true, ..ConnectOptions::default() };
    let stream = net::connect(server, &options).await?;
    let length = query.len() as u16;
    let framed = [&length.to_be_bytes()[..], &query].concat();
    stream.send(framed, Timeout::after(left())).await?;
    let mut buf = Buf::with_capacity(2 + DATAGRAM_MAX);
    loop {
        if let Some(message) = framed_message(buf.as_slice()) {
            return match message::reply(message, id, question.name, question.kind) {
                Ok(reply) if !reply.truncated => Ok(reply),
                Ok(_) => Err(io::Error::other("invalid TCP DNS response")),
                Err(error) => Err(io::Error::other(error)),
            };
        }
        if buf.spare_len() == 0 {
            // a message has at most 64 KB: the length has 16 bits
            buf.reserve(buf.len());
        }
        let (result, back) = stream.recv(buf, Timeout::after(left())).await;
        buf = back;
        if result? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// The message behind its length, once all of it is there.
fn framed_message(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.get(..usize::from(u16::from_be_bytes(*length)))
}

fn complain(server: &Addr, text: std::fmt::Arguments<'_>) {
    log::process(Level::Error, format_args!("{text}, resolver: {server}"));
}
