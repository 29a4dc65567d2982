//! A server at the level of frames: what a client sends on the left, what it must see on the right. RFC 9113's demands as
//! h2spec words them, and the abuse classes with the point at which they end.

mod peer;

use http2::Code;
use peer::{Peer, Seen, block, frame, settings};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const PRIORITY_UPDATE: u8 = 16;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const WITH_PRIORITY: u8 = 32;

/// `:method: GET`, `:scheme: http`, `:path: /`, `:authority: a`.
const GET: &[u8] = &[0x82, 0x86, 0x84, 0x01, 0x01, b'a'];
/// The same with POST.
const POST: &[u8] = &[0x83, 0x86, 0x84, 0x01, 0x01, b'a'];

fn get(id: u32) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, id, GET)
}

fn post(id: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, id, POST)
}

/// Runs each case on a connection of its own.
fn check(cases: &[(&str, Vec<Vec<u8>>, Seen)]) {
    for (what, frames, expected) in cases {
        let mut peer = Peer::new();
        for bytes in frames {
            peer.send(bytes);
        }
        assert_eq!(peer.outcome(), *expected, "{what}");
    }
}

fn go(code: Code) -> Seen {
    Seen::Goaway(code)
}

fn rst(id: u32, code: Code) -> Seen {
    Seen::Reset(id, code)
}

#[test]
fn frames_and_sizes() {
    let long = vec![0; 65_537];
    check(&[
        ("unknown types are ignored", vec![frame(0xee, 0xff, 0, b"x"), get(1)], Seen::Answer(1)),
        ("undefined flags are ignored", vec![frame(PING, 0x16, 0, &[0; 8]), get(1)], Seen::Answer(1)),
        ("too long a frame", vec![post(1), frame(DATA, 0, 1, &long)], go(Code::FRAME_SIZE_ERROR)),
        ("too long a SETTINGS", vec![frame(SETTINGS, 0, 0, &long)], go(Code::FRAME_SIZE_ERROR)),
        ("PRIORITY of 4", vec![get(1), frame(PRIORITY, 0, 1, &[0; 4])], rst(1, Code::FRAME_SIZE_ERROR)),
        ("RST_STREAM of 3", vec![post(1), frame(RST_STREAM, 0, 1, &[0; 3])], go(Code::FRAME_SIZE_ERROR)),
        ("SETTINGS of 5", vec![frame(SETTINGS, 0, 0, &[0; 5])], go(Code::FRAME_SIZE_ERROR)),
        ("SETTINGS ACK of 6", vec![frame(SETTINGS, ACK, 0, &[0; 6])], go(Code::FRAME_SIZE_ERROR)),
        ("PING of 7", vec![frame(PING, 0, 0, &[0; 7])], go(Code::FRAME_SIZE_ERROR)),
        ("GOAWAY of 7", vec![frame(GOAWAY, 0, 0, &[0; 7])], go(Code::FRAME_SIZE_ERROR)),
        ("WINDOW_UPDATE of 3", vec![frame(WINDOW_UPDATE, 0, 0, &[0; 3])], go(Code::FRAME_SIZE_ERROR)),
        ("DATA without its padding", vec![post(1), frame(DATA, PADDED, 1, &[])], go(Code::FRAME_SIZE_ERROR)),
        ("HEADERS without its priority", vec![frame(HEADERS, 0x2d, 1, &[0; 4])], go(Code::FRAME_SIZE_ERROR)),
        ("PRIORITY_UPDATE of 3", vec![frame(PRIORITY_UPDATE, 0, 0, &[0; 3])], go(Code::FRAME_SIZE_ERROR)),
    ]);
}

#[test]
fn identifiers() {
    let four = [0, 0, 0, 1];
    check(&[
        ("DATA on 0", vec![frame(DATA, 0, 0, b"x")], go(Code::PROTOCOL_ERROR)),
        ("DATA on idle", vec![frame(DATA, 0, 1, b"x")], go(Code::PROTOCOL_ERROR)),
        ("HEADERS on 0", vec![frame(HEADERS, 5, 0, GET)], go(Code::PROTOCOL_ERROR)),
        ("HEADERS on an even stream", vec![get(2)], go(Code::PROTOCOL_ERROR)),
        ("HEADERS on a lower stream", vec![get(5), get(3)], go(Code::PROTOCOL_ERROR)),
        ("HEADERS on a closed stream", vec![get(1), get(1)], go(Code::STREAM_CLOSED)),
        ("PRIORITY on 0", vec![frame(PRIORITY, 0, 0, &[0; 5])], go(Code::PROTOCOL_ERROR)),
        ("RST_STREAM on 0", vec![frame(RST_STREAM, 0, 0, &four)], go(Code::PROTOCOL_ERROR)),
        ("RST_STREAM on idle", vec![frame(RST_STREAM, 0, 1, &four)], go(Code::PROTOCOL_ERROR)),
        ("SETTINGS on 1", vec![frame(SETTINGS, 0, 1, &[])], go(Code::PROTOCOL_ERROR)),
        ("PING on 1", vec![frame(PING, 0, 1, &[0; 8])], go(Code::PROTOCOL_ERROR)),
        ("GOAWAY on 1", vec![frame(GOAWAY, 0, 1, &[0; 8])], go(Code::PROTOCOL_ERROR)),
        ("WINDOW_UPDATE on idle", vec![frame(WINDOW_UPDATE, 0, 1, &four)], go(Code::PROTOCOL_ERROR)),
        ("PUSH_PROMISE", vec![frame(PUSH_PROMISE, 4, 1, &[0; 5])], go(Code::PROTOCOL_ERROR)),
        ("PRIORITY_UPDATE on 1", vec![frame(PRIORITY_UPDATE, 0, 1, &four)], go(Code::PROTOCOL_ERROR)),
        ("PRIORITY on idle is fine", vec![frame(PRIORITY, 0, 9, &[0; 5]), get(1)], Seen::Answer(1)),
    ]);
}

#[test]
fn stream_states() {
    let four = [0, 0, 0, 1];
    let reset = frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]);
    let end = frame(DATA, END_STREAM, 1, b"x");
    check(&[
        ("DATA when half-closed", vec![frame(HEADERS, 5, 1, POST), end.clone()], go(Code::STREAM_CLOSED)),
        ("DATA after RST_STREAM", vec![post(1), reset.clone(), end], rst(1, Code::STREAM_CLOSED)),
        ("HEADERS after RST_STREAM", vec![post(1), reset, get(1)], rst(1, Code::STREAM_CLOSED)),
        (
            "WINDOW_UPDATE when closed",
            vec![get(1), frame(WINDOW_UPDATE, 0, 1, &four), get(3)],
            Seen::Answer(3),
        ),
        ("CONTINUATION alone", vec![frame(CONTINUATION, 4, 1, GET)], go(Code::PROTOCOL_ERROR)),
        (
            "CONTINUATION behind END_HEADERS",
            vec![post(1), frame(CONTINUATION, 4, 1, GET)],
            go(Code::PROTOCOL_ERROR),
        ),
        (
            "another frame in a block",
            vec![frame(HEADERS, 1, 1, GET), frame(PING, 0, 0, &[0; 8])],
            go(Code::PROTOCOL_ERROR),
        ),
        (
            "CONTINUATION of another stream",
            vec![frame(HEADERS, 1, 1, GET), frame(CONTINUATION, 4, 3, &[])],
            go(Code::PROTOCOL_ERROR),
        ),
        (
            "an unknown frame in a block",
            vec![frame(HEADERS, 1, 1, GET), frame(0xee, 0, 0, &[])],
            go(Code::PROTOCOL_ERROR),
        ),
        (
            "a block in pieces",
            vec![
                frame(HEADERS, 1, 1, &GET[..2]),
                frame(CONTINUATION, 0, 1, &[]),
                frame(CONTINUATION, 4, 1, &GET[2..]),
            ],
            Seen::Answer(1),
        ),
        (
            "a stream that depends on itself",
            vec![frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 0])],
            go(Code::PROTOCOL_ERROR),
        ),
        (
            "HEADERS that depends on itself",
            vec![frame(HEADERS, 5 | WITH_PRIORITY, 1, &[&[0, 0, 0, 1, 0], GET].concat())],
            rst(1, Code::PROTOCOL_ERROR),
        ),
        (
            "padding and priority",
            vec![frame(
                HEADERS,
                5 | PADDED | WITH_PRIORITY,
                1,
                &[&[2, 0, 0, 0, 0, 9], GET, &[0, 0]].concat(),
            )],
            Seen::Answer(1),
        ),
        ("too much padding", vec![post(1), frame(DATA, PADDED, 1, &[2, 0])], go(Code::PROTOCOL_ERROR)),
        (
            "trailers without the end",
            vec![post(1), frame(HEADERS, END_HEADERS, 1, &block(&[("x", "y")]))],
            rst(1, Code::PROTOCOL_ERROR),
        ),
        (
            "trailers with pseudo-headers",
            vec![post(1), frame(HEADERS, 5, 1, &block(&[(":path", "/")]))],
            rst(1, Code::PROTOCOL_ERROR),
        ),
        ("trailers", vec![post(1), frame(HEADERS, 5, 1, &block(&[("x", "y")])), get(3)], Seen::Answer(3)),
    ]);
}

#[test]
fn settings_and_windows() {
    let over = 0x8000_0000u32;
    let window = |id: u32, by: u32| frame(WINDOW_UPDATE, 0, id, &by.to_be_bytes());
    check(&[
        ("ENABLE_PUSH 2", vec![settings(&[(2, 2)])], go(Code::PROTOCOL_ERROR)),
        ("INITIAL_WINDOW_SIZE 2^31", vec![settings(&[(4, over)])], go(Code::FLOW_CONTROL_ERROR)),
        ("MAX_FRAME_SIZE 16383", vec![settings(&[(5, 16_383)])], go(Code::PROTOCOL_ERROR)),
        ("MAX_FRAME_SIZE 2^24", vec![settings(&[(5, 1 << 24)])], go(Code::PROTOCOL_ERROR)),
        ("NO_RFC7540_PRIORITIES 2", vec![settings(&[(9, 2)])], go(Code::PROTOCOL_ERROR)),
        ("an unknown setting", vec![settings(&[(0xff, 1)]), get(1)], Seen::Answer(1)),
        ("increment 0", vec![window(0, 0)], go(Code::PROTOCOL_ERROR)),
        ("increment 0 of a stream", vec![post(1), window(1, 0)], rst(1, Code::PROTOCOL_ERROR)),
        ("connection overflow", vec![window(0, 0x7fff_ffff)], go(Code::FLOW_CONTROL_ERROR)),
        ("stream overflow", vec![post(1), window(1, 0x7fff_ffff)], rst(1, Code::FLOW_CONTROL_ERROR)),
        (
            "a setting that overflows a stream",
            vec![post(1), window(1, 0x7000_0000), settings(&[(4, 0x7fff_ffff)])],
            go(Code::FLOW_CONTROL_ERROR),
        ),
        (
            "more than the stream's window",
            vec![post(1), frame(DATA, 0, 1, &vec![0; 65_535]), frame(DATA, 0, 1, b"x")],
            rst(1, Code::FLOW_CONTROL_ERROR),
        ),
        ("the first frame is no SETTINGS", vec![], Seen::Nothing),
    ]);
    let mut peer = Peer::silent();
    peer.send(http2::PREFACE);
    peer.send(&frame(PING, 0, 0, &[0; 8]));
    assert_eq!(peer.outcome(), go(Code::PROTOCOL_ERROR), "the first frame must be SETTINGS");
    let mut peer = Peer::silent();
    peer.send(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n");
    assert_eq!(peer.outcome(), go(Code::PROTOCOL_ERROR), "a wrong preface");
}

#[test]
fn responses_keep_to_the_windows() {
    let mut peer = Peer::new();
    peer.send(&settings(&[(4, 1)]));
    peer.send(&get(1));
    assert_eq!(peer.data(1), b"b", "one byte");
    peer.send(&frame(WINDOW_UPDATE, 0, 1, &1u32.to_be_bytes()));
    assert_eq!(peer.data(1), b"bo");
    peer.send(&settings(&[(4, 0)]));
    peer.send(&frame(WINDOW_UPDATE, 0, 1, &1u32.to_be_bytes()));
    assert_eq!(peer.data(1), b"bo", "the window was negative and is zero");
    peer.send(&settings(&[(4, 100)]));
    assert_eq!(peer.data(1), b"body");
}

#[test]
fn urgent_responses_go_first() {
    let mut peer = Peer::new();
    peer.send(&settings(&[(4, 0)]));
    for (id, priority) in [(1, "u=5"), (3, "u=1"), (5, "u=3")] {
        let block = [GET, &block(&[("priority", priority)])].concat();
        peer.send(&frame(HEADERS, 5, id, &block));
    }
    // a later wish counts
    peer.send(&frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\x01u=0"));
    peer.send(&settings(&[(4, 100)]));
    assert_eq!(peer.order(), [1, 3, 5]);
}

#[test]
fn malformed_requests() {
    let with = |list: &[(&str, &str)]| [GET, &block(list)].concat();
    for (what, block) in [
        ("an upper-case name", with(&[("X", "y")])),
        ("an unknown pseudo-header", with(&[(":x", "y")])),
        ("a response's pseudo-header", with(&[(":status", "200")])),
        ("a pseudo-header behind fields", with(&[("x", "y"), (":authority", "b")])),
        ("connection", with(&[("connection", "close")])),
        ("te", with(&[("te", "gzip")])),
        ("two paths", with(&[(":path", "/")])),
        ("no method", GET[1..].to_vec()),
        ("no scheme", [&GET[..1], &GET[2..]].concat()),
        ("no path", [&GET[..2], &GET[3..]].concat()),
        ("an empty path", block(&[(":method", "GET"), (":scheme", "http"), (":path", "")])),
        ("a line break in a value", with(&[("x", "a\r\nb: c")])),
        ("a blank in the path", block(&[(":method", "GET"), (":scheme", "http"), (":path", "/ HTTP/1.1")])),
        ("a length and no body", with(&[("content-length", "1")])),
        ("extended CONNECT that was not offered", with(&[(":protocol", "websocket")])),
    ] {
        let mut peer = Peer::new();
        peer.send(&frame(HEADERS, 5, 1, &block));
        assert_eq!(peer.outcome(), rst(1, Code::PROTOCOL_ERROR), "{what}");
    }
    for (sent, what) in [("abc", "more than announced"), ("a", "less than announced")] {
        let mut peer = Peer::new();
        let block = [POST, &block(&[("content-length", "2")])].concat();
        peer.send(&frame(HEADERS, END_HEADERS, 1, &block));
        peer.send(&frame(DATA, END_STREAM, 1, sent.as_bytes()));
        assert_eq!(peer.outcome(), rst(1, Code::PROTOCOL_ERROR), "{what}");
    }
}

#[test]
fn hpack_faults_end_the_connection() {
    for bad in [&[0x80][..], &[0xbe], &[0x40], &[0x3f, 0xe2, 0x1f], &[0x00, 0x81, 0xff, 0x00], &[0x82, 0x20]]
    {
        let mut peer = Peer::new();
        peer.send(&frame(HEADERS, 5, 1, bad));
        assert_eq!(peer.outcome(), go(Code::COMPRESSION_ERROR), "{bad:x?}");
    }
}

/// Sends `make(0)`, `make(1)`, … until the connection ends; how many it took.
fn flood(peer: &mut Peer, make: impl Fn(u32) -> Vec<u8>) -> u32 {
    for count in 0..100_000 {
        peer.send(&make(count));
        if peer.is_over() {
            return count;
        }
    }
    panic!("the connection goes on for ever");
}

#[test]
fn floods_end() {
    let id = |count: u32| 2 * count + 1;
    let rapid_reset = |count| [post(id(count)), frame(RST_STREAM, 0, id(count), &[0, 0, 0, 8])].concat();
    let made_you_reset = |count| [post(id(count)), frame(WINDOW_UPDATE, 0, id(count), &[0; 4])].concat();
    for (what, most, make) in [
        ("rapid reset", 1000, &rapid_reset as &dyn Fn(u32) -> Vec<u8>),
        ("made you reset", 1000, &made_you_reset),
        ("ping", 5000, &|_| frame(PING, 0, 0, &[0; 8])),
        ("settings", 5000, &|_| settings(&[])),
        ("settings ack", 5000, &|_| frame(SETTINGS, ACK, 0, &[])),
        ("priority", 5000, &|_| frame(PRIORITY, 0, 1, &[0; 5])),
        ("window dribble", 5000, &|_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("unknown frames", 5000, &|_| frame(0xee, 0, 0, &[])),
        ("malformed requests", 1000, &|count| frame(HEADERS, 5, id(count), &block(&[("X", "y")]))),
    ] {
        let mut peer = Peer::new();
        let count = flood(&mut peer, make);
        assert!(count <= most, "{what} ended after {count}");
        assert_eq!(peer.outcome(), go(Code::ENHANCE_YOUR_CALM), "{what}");
    }
}

#[test]
fn floods_of_one_stream_end() {
    let mut peer = Peer::new();
    peer.send(&post(1));
    assert!(flood(&mut peer, |_| frame(DATA, 0, 1, &[])) <= 5000, "empty DATA");
    let mut peer = Peer::new();
    peer.send(&frame(HEADERS, END_STREAM, 1, GET));
    assert!(flood(&mut peer, |_| frame(CONTINUATION, 0, 1, &[])) <= 100, "empty CONTINUATION");
    let mut peer = Peer::new();
    peer.send(&frame(HEADERS, END_STREAM, 1, GET));
    assert!(flood(&mut peer, |_| frame(CONTINUATION, 0, 1, &[0; 8192])) <= 100, "large CONTINUATION");
}

#[test]
fn too_many_streams_are_refused() {
    let mut peer = Peer::holding();
    for count in 0..128 {
        peer.send(&post(2 * count + 1));
    }
    peer.send(&post(257));
    assert_eq!(peer.outcome(), rst(257, Code::REFUSED_STREAM));
}
