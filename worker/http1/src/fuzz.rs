//! One entrance for fuzzers: arbitrary bytes go through every parser, and what must always hold is asserted.

use crate::{
    body::{BodyDecoder, BodyState},
    date, escape,
    framing::Framing,
    host,
    request::{Progress, RequestHead, RequestOptions, RequestParser},
    response::{ResponseHead, ResponseOptions, ResponseParser},
    syntax,
    uri::Uri,
};

/// Feeds `data` to every parser of this crate. Panics only on a fault of the crate itself.
pub fn every_parser(data: &[u8]) {
    request(data);
    response(data);
    chunked(data);
    uri(data);
    let _ = host::validate_host(data, &mut Vec::new());
    let _ = date::parse_http_time(data);
    let mut out = Vec::new();
    escape::escape_uri(&mut out, data, escape::Escape::UriComponent);
    let mut back = Vec::new();
    escape::unescape_uri(&mut back, &out, escape::Unescape::All);
    assert_eq!(back, data, "what was escaped is found again");
}

/// Parses `data` as requests one after another, whole and in two pieces.
pub fn request(data: &[u8]) {
    let opts = RequestOptions::default();
    let mut parser = RequestParser::new();
    let mut head = RequestHead::new();
    let mut rest = data;
    loop {
        parser.reset();
        let middle = rest.len() / 2;
        let first = parser.parse(&rest[..middle], &opts, &mut head);
        let pieces =
            if first == Ok(Progress::NeedMore) { parser.parse(rest, &opts, &mut head) } else { first };
        parser.reset();
        let whole = parser.parse(rest, &opts, &mut head);
        match (&pieces, &whole) {
            (Err(a), Err(b)) => assert_eq!(a.status(), b.status(), "pieces change nothing"),
            _ => assert_eq!(pieces, whole, "pieces change nothing"),
        }
        let Ok(Progress::Done { consumed }) = whole else { return };
        check_request(&head);
        rest = &rest[consumed..];
        let mut body = BodyDecoder::new(head.framing);
        rest = match read_body(&mut body, rest) {
            Some(behind) => behind,
            None => return,
        };
    }
}

/// What holds for every accepted request.
fn check_request(head: &RequestHead) {
    assert!(head.uri.path().starts_with(b"/"), "a path begins with a slash");
    assert!(!head.uri.path().contains(&0), "no NUL in a path");
    assert!(!head.uri.path().split(|&byte| byte == b'/').any(|segment| segment == b".." || segment == b"."));
    assert!(!head.request_uri().contains(&b'#'), "no fragment is passed on");
    assert!(head.framing != Framing::UntilClose, "a request never ends with the connection");
    for (name, value) in head.headers.iter() {
        assert!(syntax::is_token(name) && syntax::is_field_text(value), "fields are clean");
    }
}

fn read_body<'a>(body: &mut BodyDecoder, mut rest: &'a [u8]) -> Option<&'a [u8]> {
    while !body.is_end() && !rest.is_empty() {
        let decoded = body.decode(rest).ok()?;
        assert!(decoded.data.end <= decoded.consumed && decoded.consumed <= rest.len());
        assert!(decoded.consumed > 0 || decoded.state == BodyState::End, "decoding goes on");
        rest = &rest[decoded.consumed..];
    }
    body.is_end().then_some(rest)
}

/// Parses `data` as a response, whole and in two pieces, and its body.
pub fn response(data: &[u8]) {
    let opts = ResponseOptions::default();
    let mut head = ResponseHead::new();
    let mut parser = ResponseParser::new();
    let first = parser.parse(&data[..data.len() / 2], &opts, &mut head);
    let pieces = if first == Ok(Progress::NeedMore) { parser.parse(data, &opts, &mut head) } else { first };
    let whole = ResponseParser::new().parse(data, &opts, &mut head);
    assert_eq!(pieces, whole, "pieces change nothing");
    let Ok(Progress::Done { consumed }) = whole else { return };
    for (name, value) in head.headers.iter() {
        assert!(syntax::is_token(name) && syntax::is_field_text(value), "fields are clean");
    }
    read_body(&mut BodyDecoder::new(head.framing), &data[consumed..]);
}

/// Decodes `data` as a chunked body, whole and byte by byte.
pub fn chunked(data: &[u8]) {
    let decode = |step: usize| {
        let mut body = BodyDecoder::new(Framing::Chunked);
        let mut content = Vec::new();
        let mut at = 0;
        while at < data.len() && !body.is_end() {
            let piece = &data[at..data.len().min(at + step)];
            match body.decode(piece) {
                Err(error) => return (content, Err(error)),
                Ok(decoded) => {
                    content.extend_from_slice(&piece[decoded.data]);
                    at += decoded.consumed;
                }
            }
        }
        (content, Ok((at, body.is_end())))
    };
    assert_eq!(decode(data.len().max(1)), decode(1), "pieces change nothing");
}

/// Normalises `data`; the escaped result normalises to itself.
pub fn uri(data: &[u8]) {
    for merge_slashes in [true, false] {
        let mut once = Uri::new();
        if once.parse(data, merge_slashes).is_err() {
            continue;
        }
        let mut escaped = Vec::new();
        escape::escape_uri(&mut escaped, once.path(), escape::Escape::Uri);
        let mut twice = Uri::new();
        twice.parse(&escaped, merge_slashes).expect("a normalised path can be normalised");
        assert_eq!(once.path(), twice.path(), "normalising twice changes nothing");
    }
}
