//! Properties over generated messages: pieces change nothing, nothing panics, and whatever is accepted another strict parser
//! (`httparse`) accepts with the same method, target and fields.

use http1::{
    Progress, RequestError, RequestHead, RequestOptions, RequestParser, ResponseHead, ResponseOptions,
    ResponseParser, Version, fuzz,
};
use proptest::prelude::*;

/// Pieces of requests, right and wrong, that random bytes alone would never build.
fn request_pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec![
            "GET / HTTP/1.1\r\n", "GET /a/../b?c#d HTTP/1.1\r\n", "POST /%2e%2e/%41 HTTP/1.1\r\n", "OPTIONS * HTTP/1.1\r\n",
            "GET http://h:1/p?q HTTP/1.0\r\n", "GET /x HTTP/1.0\n", "PUT /", " HTTP/1.1", "GET /\r\n", "CONNECT h:1 HTTP/1.1\r\n",
        ]),
        8 => prop::sample::select(vec![
            "Host: a\r\n", "Host: a\n", "Host : a\r\n", "host:[::1]:80\r\n", "X: y\r\n", "X_y: z\r\n", "X:\t\r\n", " fold\r\n",
            "Content-Length: 3\r\n", "Content-Length: +3\r\n", "Transfer-Encoding: chunked\r\n", "Transfer-Encoding: x\r\n",
            "Connection: close\r\n", "Cookie: a=b\r\n",
        ]),
        4 => prop::sample::select(vec![
            "\r\n", "\n", "\r", " ", "\t", ":", "\0", "\x0b", "#", "%", "3\r\nabc\r\n", "0\r\n\r\n", "abc", "HTTP/1.1", "é",
        ]),
    ];
    let bytes = prop::collection::vec(any::<u8>(), 0..4);
    prop::collection::vec(
        prop_oneof![12 => piece.prop_map(|text| text.as_bytes().to_vec()), 1 => bytes],
        0..12,
    )
    .prop_map(|pieces| pieces.concat())
}

/// A valid head with up to two bytes changed.
fn mutated_request() -> impl Strategy<Value = Vec<u8>> {
    const VALID: &[u8] = b"POST /a/./b//c%20d?e=f HTTP/1.1\r\nHost: example.org:80\r\nUser-Agent: x y\r\nX-A:b\r\nContent-Length: 3\r\n\r\nabc";
    let changes = prop::collection::vec((0..VALID.len(), any::<u8>(), 0..3u8), 0..3);
    changes.prop_map(|changes| {
        let mut bytes = VALID.to_vec();
        for (at, byte, how) in changes {
            let at = at.min(bytes.len() - 1);
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => {
                    bytes.remove(at);
                }
            }
        }
        bytes
    })
}

fn any_request() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![request_pieces(), mutated_request()]
}

fn response_pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.0 404 \n",
        "HTTP/1.1 204\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "Content-Length: 3\r\n",
        "Transfer-Encoding: chunked\r\n",
        "X: y\r\n",
        "X : y\r\n",
        " z\r\n",
        "\r\n",
        "\n",
        "\r",
        "\0",
        "abc",
        "3\r\nabc\r\n",
        "0\r\n\r\n",
        "Set-Cookie: a\r\n",
        "Server: b\r\n",
        "HTTP/1.1",
    ]);
    prop::collection::vec(piece, 0..10).prop_map(|pieces| pieces.concat().into_bytes())
}

fn parse(bytes: &[u8]) -> (Result<Progress, RequestError>, RequestHead) {
    let mut head = RequestHead::new();
    let progress = RequestParser::new().parse(bytes, &RequestOptions::default(), &mut head);
    (progress, head)
}

/// `httparse` looks at syntax only and knows no HTTP/0.9.
fn agrees_with_httparse(bytes: &[u8], consumed: usize, head: &RequestHead) {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut other = httparse::Request::new(&mut fields);
    let status = other.parse(bytes).expect("what is accepted here is accepted there");
    assert_eq!(status, httparse::Status::Complete(consumed));
    assert_eq!(other.method.map(str::as_bytes), Some(head.method_name()));
    assert_eq!(other.path.map(str::as_bytes), Some(head.target()));
    assert_eq!(other.version, Some(head.version.minor));
    let kept = other.headers.iter().filter(|field| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        field.name.bytes().all(is_plain)
    });
    let is_absolute = !head.scheme().is_empty();
    let theirs: Vec<_> = kept.map(|field| (field.name.as_bytes(), field.value)).collect();
    let ours: Vec<_> = head.headers.iter().collect();
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert!(ours.0.eq_ignore_ascii_case(theirs.0));
        // an absolute target replaces `Host`
        assert!(ours.1 == theirs.1 || (is_absolute && ours.0 == b"Host"), "{ours:?} {theirs:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases * 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics(data in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzz::every_parser(&data);
    }

    #[test]
    fn nothing_panics_on_pieces(data in any_request()) {
        fuzz::every_parser(&data);
    }

    #[test]
    fn responses(data in response_pieces()) {
        fuzz::response(&data);
    }

    #[test]
    fn requests_split_anywhere(data in any_request()) {
        let (whole, head) = parse(&data);
        for cut in 0..data.len() {
            let mut parser = RequestParser::new();
            let mut split = RequestHead::new();
            let opts = RequestOptions::default();
            let mut progress = parser.parse(&data[..cut], &opts, &mut split);
            if progress == Ok(Progress::NeedMore) {
                progress = parser.parse(&data, &opts, &mut split);
            }
            prop_assert_eq!(&progress, &whole);
            if matches!(whole, Ok(Progress::Done { .. })) {
                prop_assert_eq!(format!("{split:?}"), format!("{head:?}"));
            }
        }
    }

    #[test]
    fn requests_like_httparse(data in any_request()) {
        let (progress, head) = parse(&data);
        // httparse knows no version but 1.0 and 1.1 and wants UTF-8 in the target
        if let Ok(Progress::Done { consumed }) = progress
            && (head.version == Version::HTTP_10 || head.version == Version::HTTP_11)
            && head.target().is_ascii()
        {
            agrees_with_httparse(&data, consumed, &head);
        }
    }

    #[test]
    fn responses_like_httparse(data in response_pieces()) {
        let mut head = ResponseHead::new();
        let progress = ResponseParser::new().parse(&data, &ResponseOptions::default(), &mut head);
        if let Ok(Progress::Done { consumed }) = progress {
            let mut fields = [httparse::EMPTY_HEADER; 64];
            let mut other = httparse::Response::new(&mut fields);
            prop_assert_eq!(other.parse(&data).unwrap(), httparse::Status::Complete(consumed));
            prop_assert_eq!(other.code, Some(head.status));
            let theirs: Vec<_> = other.headers.iter().map(|field| (field.name.as_bytes(), field.value)).collect();
            prop_assert_eq!(theirs.len(), head.headers.len() + head.ignored.len());
            for (name, value) in head.headers.iter() {
                prop_assert!(theirs.contains(&(name, value)));
            }
        }
    }

    #[test]
    fn targets(data in "(/|//|\\.|\\.\\.|%2e|%2F|%41|%3f|%|\\?|#|a|\\+|é){0,12}") {
        fuzz::uri(data.as_bytes());
        fuzz::uri(format!("/{data}").as_bytes());
    }

    #[test]
    fn chunked_bodies(data in "(0|1|5|a|;|x|=|\"|\\\\| |\r\n|\r|\n|\t|X: y|abc|hello){0,12}") {
        fuzz::chunked(data.as_bytes());
    }
}
