//! Entrances for fuzzers: arbitrary bytes go through decoder and connection, and what must always hold is asserted.

use std::task::{Context, Waker};

use crate::connection::{Config, Connection, Event};
use crate::error::Code;
use crate::frame::{Header, Kind};
use crate::hpack::{Decoder, Fields};

/// Decodes `data` as header blocks of one connection; its first byte says how long they are.
pub fn hpack(data: &[u8]) {
    const LIST_MAX: usize = 4096;
    let Some((&size, data)) = data.split_first() else { return };
    let mut decoder = Decoder::new(256);
    let mut fields = Fields::new();
    for block in data.chunks(usize::from(size).max(1)) {
        fields.clear();
        if decoder.decode(block, &mut fields, LIST_MAX).is_err() {
            return;
        }
        let kept: usize = fields.iter().map(|(name, value)| name.len() + value.len() + 32).sum();
        assert!(kept <= LIST_MAX, "the list is bounded");
        assert!(fields.is_overflowed() == (kept != fields.size()), "what was left out is marked");
    }
}

/// Most memory a connection with [`Config::default`] may come to hold for its peer's body bytes.
const HELD_MAX: usize = 1 << 20;

/// Runs `data` through a server whose requests are answered at once, whole and in pieces.
pub fn server(data: &[u8]) {
    let config = Config { streams_max: 8, ..Config::default() };
    let whole = serve(&config, data, data.len().max(1));
    let pieces = serve(&config, data, 7);
    assert_eq!(whole, pieces, "pieces change nothing");
}

/// Serves a connection that sends `data`; returns what the server sent in the end, frame types only.
fn serve(config: &Config, data: &[u8], step: usize) -> Vec<u8> {
    let mut connection = Connection::server(config.clone());
    let mut sent = Vec::new();
    let mut held = 0;
    let mut at = 0;
    for end in (step..data.len().saturating_add(step)).step_by(step) {
        let input = &data[..end.min(data.len())];
        loop {
            match connection.receive(&input[at..], 0) {
                Ok((consumed, event)) => {
                    at += consumed;
                    match event {
                        Some(event) => answer(&mut connection, event, &mut held),
                        None => break,
                    }
                }
                Err(fatal) => {
                    assert_ne!(fatal.code, Code::INTERNAL_ERROR);
                    collect(&mut connection, &mut sent);
                    return sent;
                }
            }
        }
    }
    assert!(connection.streams() <= 2 * config.streams_max as usize);
    assert!(held <= HELD_MAX);
    collect(&mut connection, &mut sent);
    sent
}

fn answer(connection: &mut Connection, event: Event, held: &mut usize) {
    let Event::Request { id, end, malformed } = event;
    if malformed.is_none() {
        let parts = crate::message::request(connection.fields()).expect("it was checked");
        assert!(!parts.method.is_empty());
    }
    connection.send_head(id, false, false, |encoder, out| {
        encoder.status(out, 200);
        encoder.repeated(out, b"server", b"fuzz");
    });
    if !connection.send_small(id, b"body", true) {
        connection.queue_data(id, bytes::Bytes::from_static(b"body"));
        connection.queue_end(id, None);
    }
    // streams with a body are kept: their windows must bound what they hold
    if !end && connection.streams() < 8 {
        let mut cx = Context::from_waker(Waker::noop());
        if let std::task::Poll::Ready(Ok(Some(bytes))) = connection.poll_body(id, &mut cx) {
            *held += bytes.len();
        }
        return;
    }
    connection.release(id, Code::INTERNAL_ERROR);
}

/// Whatever is sent consists of whole frames of sizes the peer must accept.
fn collect(connection: &mut Connection, sent: &mut Vec<u8>) {
    connection.fill(usize::MAX);
    let bytes: Vec<u8> = connection.output().take().concat();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let header = Header::parse(rest).expect("output has whole frames");
        assert!(header.kind != Kind::PUSH_PROMISE);
        rest = rest.get(9 + header.len..).expect("output has whole frames");
        sent.push(header.kind.0);
    }
}
