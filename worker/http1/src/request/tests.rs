use super::*;
use crate::{Framing, Known, Method, Version};

/// What one head came to: the head and what is left, the error, or not enough.
type Outcome = Result<Option<(RequestHead, Vec<u8>)>, RequestError>;

fn parse_by(input: &[u8], step: usize, opts: &RequestOptions) -> Outcome {
    let mut parser = RequestParser::new();
    let mut head = RequestHead::new();
    let mut end = 0;
    while end < input.len() {
        end = input.len().min(end + step);
        if let Progress::Done { consumed } = parser.parse(&input[..end], opts, &mut head)? {
            return Ok(Some((head, input[consumed..].to_vec())));
        }
    }
    Ok(None)
}

/// A line that is too long is noticed at different lengths, depending on how it came.
fn without_excerpt(error: RequestError) -> RequestError {
    match error {
        RequestError::HeaderLineTooLong(_) => RequestError::HeaderLineTooLong(b"".as_slice().into()),
        other => other,
    }
}

fn summary(outcome: &Outcome) -> String {
    match outcome {
        Ok(None) => "more".into(),
        Ok(Some((head, rest))) => format!("{head:?} {rest:?}"),
        Err(error) => format!("{:?}", without_excerpt(error.clone())),
    }
}

fn parse_with(input: &[u8], opts: &RequestOptions) -> Outcome {
    let whole = parse_by(input, input.len().max(1), opts);
    for step in [1, 2, 3, 7, 64] {
        let pieces = parse_by(input, step, opts);
        assert_eq!(summary(&pieces), summary(&whole), "{:?} by {step}", String::from_utf8_lossy(input));
    }
    whole
}

fn parse(input: &[u8]) -> Outcome {
    parse_with(input, &RequestOptions::default())
}

fn accept_with(input: &str, opts: &RequestOptions) -> RequestHead {
    match parse_with(input.as_bytes(), opts) {
        Ok(Some((head, _))) => head,
        other => panic!("{input:?}: {other:?}"),
    }
}

fn accept(input: &str) -> RequestHead {
    accept_with(input, &RequestOptions::default())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_usual_request() {
    let head = accept(
        "GET /a%20b/../c.html?x=1 HTTP/1.1\r\nHost: Example.org:8080\r\nUser-Agent: me\r\nX-A:\t1 \r\n\r\nrest",
    );
    assert_eq!(head.method, Method::Get);
    assert_eq!(text(head.request_line()), "GET /a%20b/../c.html?x=1 HTTP/1.1");
    assert_eq!(text(head.method_name()), "GET");
    assert_eq!(text(head.target()), "/a%20b/../c.html?x=1");
    assert_eq!(text(head.request_uri()), "/a%20b/../c.html?x=1");
    assert_eq!(text(head.uri.path()), "/c.html");
    assert_eq!(text(head.uri.args()), "x=1");
    assert_eq!(text(head.uri.exten()), "html");
    assert_eq!((text(&head.host).as_str(), head.port), ("example.org", Some(8080)));
    assert_eq!(head.headers.known(Known::Host), Some(&b"Example.org:8080"[..]));
    assert_eq!(head.headers.get(b"x-a"), Some(&b"1"[..]));
    assert_eq!(head.version, Version::HTTP_11);
    assert_eq!(head.framing, Framing::None);
    assert!(head.keep_alive());
    assert_eq!(head.head_len, 86);
}

#[test]
fn accepted() {
    let cases: &[(&str, &str)] = &[
        ("CRLF", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("LF line ends in the head", "GET / HTTP/1.1\nHost: a\n\n"),
        ("mixed line ends", "GET / HTTP/1.1\nHost: a\r\n\n"),
        ("empty line first", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("empty LF lines first", "\n\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("HTTP/1.0 without Host", "GET / HTTP/1.0\r\n\r\n"),
        ("minor version above 1", "GET / HTTP/1.9\r\nHost: a\r\n\r\n"),
        ("no blank behind the colon", "GET / HTTP/1.1\r\nHost:a\r\n\r\n"),
        ("tabs around a value", "GET / HTTP/1.1\r\nHost:\ta\t\r\n\r\n"),
        ("empty value", "GET / HTTP/1.1\r\nHost: a\r\nX:\r\n\r\n"),
        ("obs-text in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: \u{e9}\r\n\r\n"),
        ("raw UTF-8 in the target", "GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("unwise characters in the target", "GET /{a}|<b>\"^`\\ HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("unknown method", "M-SEARCH_X / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("length 0", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"),
        ("leading zeros in the length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 005\r\n\r\n"),
        ("Chunked in capitals", "POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: CHUNKED\r\n\r\n"),
        ("body with GET", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"),
        (
            "repeated fields that are lists",
            "GET / HTTP/1.1\r\nHost: a\r\nAccept: a\r\nAccept: b\r\nCookie: a\r\nCookie: b\r\n\r\n",
        ),
        ("IPv6 host", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"),
        ("absolute target", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("absolute target in HTTP/1.0", "GET http://b/ HTTP/1.0\r\n\r\n"),
        ("asterisk", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
    ];
    for (name, input) in cases {
        assert!(matches!(parse(input.as_bytes()), Ok(Some(_))), "{name}: {:?}", parse(input.as_bytes()));
    }
}

/// (name, request, status, what the log says behind `client sent `)
type Refusal = (&'static str, &'static [u8], u16, &'static str);

fn refuse(cases: &[Refusal]) {
    for (name, input, status, message) in cases {
        match parse(input) {
            Err(error) => {
                assert_eq!(error.status(), *status, "{name}");
                assert_eq!(error.to_string(), format!("client sent {message}"), "{name}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn request_lines_refused() {
    const METHOD: &str = "invalid method";
    const REQUEST: &str = "invalid request";
    refuse(&[
        ("lower case method", b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 400, METHOD),
        ("digit in the method", b"GET1 / HTTP/1.1\r\nHost: a\r\n\r\n", 400, METHOD),
        ("blank first", b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, METHOD),
        ("tab first", b"\tGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, METHOD),
        ("tab behind the method", b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, METHOD),
        ("NUL behind the method", b"GET\0/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, METHOD),
        ("TLS to a plain port", b"\x16\x03\x01\x02\x00\x01\x00", 400, METHOD),
        ("method alone", b"GET\r\n\r\n", 400, METHOD),
        ("CR before the method", b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, METHOD),
        ("byte order mark", b"\xef\xbb\xbfGET / HTTP/1.1\r\n\r\n", 400, METHOD),
        ("field in place of a request", b"X: y\r\n\r\n", 400, METHOD),
        (
            "method of 65 bytes",
            b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1\r\n\r\n",
            400,
            METHOD,
        ),
        ("two blanks behind the method", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, REQUEST),
        ("two blanks before the version", b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400, REQUEST),
        ("blank behind the version", b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400, REQUEST),
        ("blank in the target", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400, REQUEST),
        ("tab in the target", b"GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n", 400, REQUEST),
        ("tab before the version", b"GET /\tHTTP/1.1\r\nHost: a\r\n\r\n", 400, REQUEST),
        ("vertical tab before the version", b"GET /\x0bHTTP/1.1\r\nHost: a\r\n\r\n", 400, REQUEST),
        ("form feed before the version", b"GET / \x0cHTTP/1.1\r\nHost: a\r\n\r\n", 400, REQUEST),
        ("NUL in the target", b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400, REQUEST),
        ("DEL in the target", b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", 400, REQUEST),
        ("control character in the target", b"GET /\x02 HTTP/1.1\r\nHost: a\r\n\r\n", 400, REQUEST),
        ("CR in the target", b"GET /\rx HTTP/1.1\r\nHost: a\r\n\r\n", 400, REQUEST),
        ("CR alone behind the version", b"GET / HTTP/1.1\rHost: a\r\n\r\n", 400, REQUEST),
        ("CR CR LF", b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", 400, REQUEST),
        ("encoded NUL", b"GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400, REQUEST),
        ("broken escape", b"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400, REQUEST),
        ("above the root", b"GET /../ HTTP/1.1\r\nHost: a\r\n\r\n", 400, REQUEST),
        ("above the root, encoded", b"GET /a/%2e%2e/%2e%2e/b HTTP/1.1\r\nHost: a\r\n\r\n", 400, REQUEST),
        ("relative target", b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400, REQUEST),
        ("query alone", b"GET ?a HTTP/1.1\r\nHost: a\r\n\r\n", 400, REQUEST),
        ("asterisk with GET", b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400, REQUEST),
        ("asterisk and more", b"OPTIONS *x HTTP/1.1\r\nHost: a\r\n\r\n", 400, REQUEST),
        ("preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, REQUEST),
        ("authority with GET", b"GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400, REQUEST),
        ("other scheme", b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, REQUEST),
        ("scheme without slashes", b"GET http:a HTTP/1.1\r\nHost: a\r\n\r\n", 400, REQUEST),
        ("scheme with one slash", b"GET http:/a HTTP/1.1\r\nHost: a\r\n\r\n", 400, REQUEST),
        ("CONNECT with a path", b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", 400, REQUEST),
        ("CONNECT without a port", b"CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", 400, REQUEST),
        ("CONNECT with an empty port", b"CONNECT a: HTTP/1.1\r\nHost: a\r\n\r\n", 400, REQUEST),
        (
            "CONNECT with an absolute target",
            b"CONNECT http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n",
            400,
            REQUEST,
        ),
        ("lower case version", b"GET / http/1.1\r\nHost: a\r\n\r\n", 400, REQUEST),
        ("version without a minor", b"GET / HTTP/1\r\nHost: a\r\n\r\n", 400, REQUEST),
        ("two digits of minor", b"GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400, REQUEST),
        ("leading zero in the version", b"GET / HTTP/01.1\r\nHost: a\r\n\r\n", 400, REQUEST),
        ("version 0.9 spelled out", b"GET / HTTP/0.9\r\n\r\n", 400, REQUEST),
        ("text behind the version", b"GET / HTTP/1.1x\r\nHost: a\r\n\r\n", 400, REQUEST),
        ("other protocol", b"GET / RTSP/1.0\r\nHost: a\r\n\r\n", 400, REQUEST),
        ("blank in place of the version", b"GET / \r\n", 400, REQUEST),
        ("HTTP/0.9 with an absolute target", b"GET http://a/\r\n", 400, REQUEST),
        ("nine empty lines", b"\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.0\r\n\r\n", 400, REQUEST),
        ("major version 2", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "invalid version"),
        ("no version", b"GET /\r\n", 400, REQUEST),
        ("no version and POST", b"POST /\r\n", 400, REQUEST),
    ]);
}

#[test]
fn hosts_refused() {
    const HEADER: &str = "invalid host header";
    const LINE: &str = "invalid host in request line";
    refuse(&[
        ("none in 1.1", b"GET / HTTP/1.1\r\n\r\n", 400, "HTTP/1.1 request without \"Host\" header"),
        (
            "none in 1.1 with an absolute target",
            b"GET http://a/ HTTP/1.1\r\n\r\n",
            400,
            "HTTP/1.1 request without \"Host\" header",
        ),
        ("empty", b"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400, HEADER),
        ("blank inside", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, HEADER),
        ("list", b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400, HEADER),
        ("path", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, HEADER),
        ("user", b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400, HEADER),
        ("URL", b"GET / HTTP/1.1\r\nHost: http://a\r\n\r\n", 400, HEADER),
        ("port with text", b"GET / HTTP/1.1\r\nHost: a:80x\r\n\r\n", 400, HEADER),
        ("port too large", b"GET / HTTP/1.1\r\nHost: a:98777\r\n\r\n", 400, HEADER),
        ("invalid beside an absolute target", b"GET http://a/ HTTP/1.1\r\nHost: b/c\r\n\r\n", 400, HEADER),
        (
            "twice",
            b"GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n",
            400,
            "duplicate host header: \"host: b\", previous value: \"Host: a\"",
        ),
        (
            "twice the same",
            b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n",
            400,
            "duplicate host header: \"Host: a\", previous value: \"Host: a\"",
        ),
        ("empty in the target", b"GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n", 400, LINE),
        ("user in the target", b"GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, LINE),
        ("user and port in the target", b"GET http://a:80@b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, LINE),
        ("backslash in the target", b"GET http://a\\b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, LINE),
        ("open bracket in the target", b"GET http://[::1/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, LINE),
        ("invalid in CONNECT", b"CONNECT a/b:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400, LINE),
    ]);
}

#[test]
fn field_lines_refused() {
    refuse(&[
        (
            "blank before the colon",
            b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            400,
            "invalid header line: \"Host\\x20...\"",
        ),
        (
            "tab before the colon",
            b"GET / HTTP/1.1\r\nHost\t: a\r\n\r\n",
            400,
            "invalid header line: \"Host\\x09...\"",
        ),
        ("empty name", b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400, "invalid header line: \"\\x3a...\""),
        ("colon first", b"GET / HTTP/1.0\r\n:foo: x\r\n\r\n", 400, "invalid header line: \"\\x3a...\""),
        (
            "obs-fold with a blank",
            b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n",
            400,
            "invalid header line: \"\\x20...\"",
        ),
        (
            "obs-fold with a tab",
            b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\tc\r\n\r\n",
            400,
            "invalid header line: \"\\x09...\"",
        ),
        (
            "fold of the first line",
            b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
            400,
            "invalid header line: \"\\x20...\"",
        ),
        ("no colon", b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", 400, "invalid header line: \"X\\x0d...\""),
        ("NUL in a name", b"GET / HTTP/1.1\r\nX\0Y: a\r\n\r\n", 400, "invalid header line: \"X\\x00...\""),
        (
            "control character in a name",
            b"GET / HTTP/1.1\r\nX\x02: a\r\n\r\n",
            400,
            "invalid header line: \"X\\x02...\"",
        ),
        ("CR in a name", b"GET / HTTP/1.1\r\nX\rY: a\r\n\r\n", 400, "invalid header line: \"X\\x0d...\""),
        (
            "separator in a name",
            b"GET / HTTP/1.1\r\nX(: a\r\n\r\n",
            400,
            "invalid header line: \"X\\x28...\"",
        ),
        ("quoted name", b"GET / HTTP/1.1\r\n\"X\": a\r\n\r\n", 400, "invalid header line: \"\\x22...\""),
        (
            "obs-text in a name",
            b"GET / HTTP/1.1\r\nX\xe9: a\r\n\r\n",
            400,
            "invalid header line: \"X\\xe9...\"",
        ),
        (
            "NUL in a value",
            b"GET / HTTP/1.1\r\nX: a\0b\r\n\r\n",
            400,
            "invalid header line: \"X: a\\x00...\"",
        ),
        ("CR in a value", b"GET / HTTP/1.1\r\nX: a\rb\r\n\r\n", 400, "invalid header line: \"X: a\\x0d...\""),
        ("CR before CRLF", b"GET / HTTP/1.1\r\nX: a\r\r\n\r\n", 400, "invalid header line: \"X: a\\x0d...\""),
        (
            "vertical tab in a value",
            b"GET / HTTP/1.1\r\nX: a\x0bb\r\n\r\n",
            400,
            "invalid header line: \"X: a\\x0b...\"",
        ),
        (
            "DEL in a value",
            b"GET / HTTP/1.1\r\nX: a\x7f\r\n\r\n",
            400,
            "invalid header line: \"X: a\\x7f...\"",
        ),
        (
            "escape in a value",
            b"GET / HTTP/1.1\r\nX: \x1b[1m\r\n\r\n",
            400,
            "invalid header line: \"X: \\x1b...\"",
        ),
        (
            "blank line with a blank",
            b"GET / HTTP/1.1\r\nHost: a\r\n \r\n\r\n",
            400,
            "invalid header line: \"\\x20...\"",
        ),
        (
            "CR alone ends the head",
            b"GET / HTTP/1.1\r\nHost: a\r\n\rX: y\r\n\r\n",
            400,
            "invalid header line: \"\\x0d...\"",
        ),
        (
            "second request line",
            b"GET / HTTP/1.1\r\nGET / HTTP/1.1\r\n\r\n",
            400,
            "invalid header line: \"GET\\x20...\"",
        ),
    ]);
}

#[test]
fn framing_refused() {
    const LENGTH: &str = "invalid \"Content-Length\" header";
    const BOTH: &str = "\"Content-Length\" and \"Transfer-Encoding\" headers at the same time";
    refuse(&[
        (
            "CL and TE",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
            BOTH,
        ),
        (
            "TE and CL",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
            400,
            BOTH,
        ),
        (
            "TE and CL of 0",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
            400,
            BOTH,
        ),
        (
            "two lengths",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            400,
            "duplicate header line: \"Content-Length: 6\", previous value: \"Content-Length: 5\"",
        ),
        (
            "the same length twice",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\ncontent-length: 5\r\n\r\n",
            400,
            "duplicate header line: \"content-length: 5\", previous value: \"Content-Length: 5\"",
        ),
        ("list of lengths", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n", 400, LENGTH),
        ("empty length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400, LENGTH),
        ("blank length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \t \r\n\r\n", 400, LENGTH),
        ("plus", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n", 400, LENGTH),
        ("minus", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n", 400, LENGTH),
        ("hexadecimal", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n", 400, LENGTH),
        ("underscore", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5_0\r\n\r\n", 400, LENGTH),
        ("blank inside", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5 0\r\n\r\n", 400, LENGTH),
        ("fraction", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5.0\r\n\r\n", 400, LENGTH),
        ("quoted", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \"5\"\r\n\r\n", 400, LENGTH),
        (
            "other digits",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \u{665}\r\n\r\n".as_bytes(),
            400,
            LENGTH,
        ),
        ("2^63", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\n", 400, LENGTH),
        ("2^64", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n", 400, LENGTH),
        (
            "2^64 + 5",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551621\r\n\r\n",
            400,
            LENGTH,
        ),
        (
            "invalid length and TE",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
            LENGTH,
        ),
        (
            "TE twice",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
            "duplicate header line: \"Transfer-Encoding: chunked\", previous value: \"Transfer-Encoding: chunked\"",
        ),
        (
            "TE in HTTP/1.0",
            b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
            "HTTP/1.0 request with \"Transfer-Encoding\" header",
        ),
        (
            "TE in HTTP/1.0 with a length",
            b"POST / HTTP/1.0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
            "HTTP/1.0 request with \"Transfer-Encoding\" header",
        ),
    ]);
}

#[test]
fn transfer_codings_refused() {
    let codings = [
        "identity",
        "chunked, identity",
        "identity, chunked",
        "gzip, chunked",
        "chunked, chunked",
        "chunked,",
        ",chunked",
        "gzip",
        "",
        "xchunked",
        "chunkedx",
        "chunked;q=1",
        "\"chunked\"",
        "'chunked'",
        "chunke",
        "c hunked",
        "chunked x",
        "\u{e9}chunked",
    ];
    for coding in codings {
        let input = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {coding}\r\n\r\n");
        let error = parse(input.as_bytes()).unwrap_err();
        assert_eq!(error.status(), 501, "{coding}");
        assert_eq!(error.to_string(), format!("client sent unknown \"Transfer-Encoding\": \"{coding}\""));
        let input =
            format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: {coding}\r\n\r\n");
        assert_eq!(parse(input.as_bytes()).unwrap_err().status(), 501, "{coding}");
    }
    for coding in ["\x0bchunked", "chunked\x0c", "chun\0ked", "chunked\r"] {
        let input = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {coding}\r\n\r\n");
        assert_eq!(parse(input.as_bytes()).unwrap_err().status(), 400, "{coding:?}");
    }
}

/// Names a lenient reader could take for those that frame a message.
#[test]
fn lookalikes_never_frame() {
    for name in
        ["Content_Length", "Transfer_Encoding", "Content.Length", "Transfer-Encoding~", "Content-Length!"]
    {
        let input = format!("POST / HTTP/1.1\r\nHost: a\r\n{name}: chunked\r\n\r\n");
        let head = accept(&input);
        assert_eq!(head.framing, Framing::None, "{name}");
        assert_eq!((head.headers.len(), head.ignored.len()), (1, 1), "{name}");
        let ignored = &head.ignored[0];
        assert!(input[ignored.start as usize..ignored.end as usize].starts_with(name));
    }
}

#[test]
fn methods_refused() {
    refuse(&[
        ("TRACE", b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405, "TRACE method"),
        ("CONNECT", b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 405, "CONNECT method"),
    ]);
    let opts = RequestOptions { allow_connect: true, ..RequestOptions::default() };
    let head = accept_with("CONNECT B:80 HTTP/1.1\r\nHost: a\r\n\r\n", &opts);
    assert_eq!((head.form, text(&head.host).as_str(), head.port), (TargetForm::Authority, "b", Some(80)));
    assert_eq!((text(head.request_uri()).as_str(), text(head.uri.path()).as_str()), ("/", "/"));
    let with_body = b"CONNECT b:80 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(parse_with(with_body, &opts).unwrap_err(), RequestError::ConnectWithBody);
    let in_10 = b"CONNECT b:80 HTTP/1.0\r\nHost: a\r\n\r\n";
    assert_eq!(parse_with(in_10, &opts).unwrap_err(), RequestError::Connect);
}

#[test]
fn repeated_fields_refused() {
    let names = [
        "If-Modified-Since",
        "If-Unmodified-Since",
        "If-Match",
        "If-None-Match",
        "If-Range",
        "Content-Range",
        "Expect",
        "Authorization",
        "Proxy-Authorization",
    ];
    for name in names {
        let input = format!("GET / HTTP/1.1\r\nHost: a\r\n{name}: 1\r\n{name}: 2\r\n\r\n");
        let message =
            format!("client sent duplicate header line: \"{name}: 2\", previous value: \"{name}: 1\"");
        assert_eq!(parse(input.as_bytes()).unwrap_err().to_string(), message);
    }
}

#[test]
fn absolute_targets() {
    let cases: &[(&str, &str, &str, &str, &str)] = &[
        ("http://B", "b", "/", "/", ""),
        ("http://b/", "b", "/", "/", ""),
        ("HTTPS://b:8080", "b", "/", "/", ""),
        ("http://b?args", "b", "/?args", "/", "args"),
        ("http://b?args#frag", "b", "/?args", "/", "args"),
        ("http://b:80/x//y?z", "b", "/x//y?z", "/x/y", "z"),
        ("http://b#frag", "b", "/", "/", ""),
        ("http://[::1]:80/x", "[::1]", "/x", "/x", ""),
        ("http://b.:80/", "b", "/", "/", ""),
    ];
    for (target, host, request_uri, path, args) in cases {
        let head = accept(&format!("GET {target} HTTP/1.1\r\nHost: other\r\nX: y\r\n\r\n"));
        assert_eq!(text(&head.host), *host, "{target}");
        assert_eq!(text(head.request_uri()), *request_uri, "{target}");
        assert_eq!(
            (text(head.uri.path()).as_str(), text(head.uri.args()).as_str()),
            (*path, *args),
            "{target}"
        );
        assert_eq!(text(head.target()), *target);
        assert_eq!(head.form, TargetForm::Absolute);
        // the target decides, whatever `Host` says
        let (_, authority) = target.split_once("://").unwrap();
        let authority = authority.split(['/', '?', '#']).next().unwrap();
        assert_eq!(text(head.headers.known(Known::Host).unwrap()), authority, "{target}");
        assert_eq!(head.headers.len(), 2);
    }
}

#[test]
fn fragments() {
    for target in ["/a#b", "/a?b#c", "/#", "/a/.#b", "http://b/#c"] {
        let input = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let head = accept(&input);
        assert!(!head.request_uri().contains(&b'#'), "{target}");
        assert!(!head.uri.args().contains(&b'#'), "{target}");
        let opts = RequestOptions { reject_fragment: true, ..RequestOptions::default() };
        assert_eq!(parse_with(input.as_bytes(), &opts).unwrap_err(), RequestError::InvalidRequest);
    }
}

#[test]
fn asterisk() {
    let head = accept("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(head.form, TargetForm::Asterisk);
    assert_eq!((text(head.request_uri()).as_str(), text(head.uri.path()).as_str()), ("*", "/"));
}

#[test]
fn persistence() {
    let cases = [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: keep-alive, close\r\n", false),
        ("1.1", "Connection: x\r\nConnection: Close\r\n", false),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: keep-alive\r\nConnection: close\r\n", false),
    ];
    for (version, field, expected) in cases {
        let head = accept(&format!("GET / HTTP/{version}\r\nHost: a\r\n{field}\r\n"));
        assert_eq!(head.keep_alive(), expected, "{version} {field}");
    }
}

#[test]
fn bodies() {
    let cases = [
        ("", Framing::None),
        ("Content-Length: 0\r\n", Framing::None),
        ("Content-Length: 5\r\n", Framing::Length(5)),
        ("Content-Length: 9223372036854775807\r\n", Framing::Length(i64::MAX as u64)),
        ("Transfer-Encoding: chunked\r\n", Framing::Chunked),
        ("Transfer-Encoding: \t Chunked \t\r\n", Framing::Chunked),
    ];
    for (field, framing) in cases {
        assert_eq!(accept(&format!("POST / HTTP/1.1\r\nHost: a\r\n{field}\r\n")).framing, framing, "{field}");
    }
}

#[test]
fn invalid_names() {
    let default = RequestOptions::default();
    let keep = RequestOptions { ignore_invalid_headers: false, ..RequestOptions::default() };
    let underscores = RequestOptions { underscores_in_headers: true, ..RequestOptions::default() };
    let cases = [
        ("x_foo", &default, false),
        ("_foo", &default, false),
        ("x.foo", &default, false),
        ("x_foo", &underscores, true),
        ("_foo", &underscores, true),
        ("x.foo", &underscores, false),
        ("x_foo", &keep, true),
        (".foo", &keep, true),
    ];
    for (name, opts, kept) in cases {
        let head = accept_with(&format!("GET / HTTP/1.0\r\n{name}: x-bar\r\n\r\n"), opts);
        assert_eq!(head.headers.contains(name.as_bytes()), kept, "{name}");
        assert_eq!(head.ignored.len(), usize::from(!kept), "{name}");
    }
    assert!(parse_with(b"GET / HTTP/1.0\r\n</kie>: x\r\n\r\n", &keep).is_err());
}

#[test]
fn field_count() {
    let opts = RequestOptions { max_headers: 5, ..RequestOptions::default() };
    let request = |count: usize| format!("GET / HTTP/1.0\r\n{}\r\n", "X-Blah: 1\r\n".repeat(count));
    assert!(parse_with(request(5).as_bytes(), &opts).is_ok());
    let error = parse_with(request(6).as_bytes(), &opts).unwrap_err();
    assert_eq!((error.status(), error.to_string().as_str()), (494, "client sent too many header lines"));
}

#[test]
fn buffer_sizes() {
    let opts = RequestOptions {
        header_buffer_size: 128,
        large_buffers: 2,
        large_buffer_size: 256,
        ..RequestOptions::default()
    };
    let status = |input: &str| match parse_with(input.as_bytes(), &opts) {
        Ok(Some(_)) => 200,
        Ok(None) => 0,
        Err(error) => error.status(),
    };
    let line = |len: usize| format!("GET /{} HTTP/1.0\r\n", "a".repeat(len - 16));
    let field = |len: usize| format!("X: {}\r\n", "a".repeat(len - 5));
    assert_eq!(status(&format!("{}\r\n", line(256))), 200);
    assert_eq!(status(&format!("{}\r\n", line(257))), 414);
    // without its end it is refused as soon as it fills the buffer
    assert_eq!(status(&line(300)[..255]), 0);
    assert_eq!(status(&line(300)[..256]), 414);
    assert_eq!(status(&format!("GET / HTTP/1.0\r\n{}\r\n", field(256))), 200);
    assert_eq!(status(&format!("GET / HTTP/1.0\r\n{}\r\n", field(257))), 494);
    assert_eq!(status(&format!("GET / HTTP/1.0\r\n{}", &field(300)[..256])), 494);
    // the first buffer holds two lines of 50, each large one but one of 200
    let small = field(50).repeat(2);
    assert_eq!(status(&format!("GET / HTTP/1.0\r\n{small}{}\r\n", field(200).repeat(2))), 200);
    assert_eq!(status(&format!("GET / HTTP/1.0\r\n{small}{}\r\n", field(200).repeat(3))), 494);
    assert!(opts.head_bytes_max() >= 128 + 512);
    let error = parse_with(format!("GET / HTTP/1.0\r\n{}\r\n", field(257)).as_bytes(), &opts).unwrap_err();
    assert!(error.to_string().starts_with("client sent too long header line: \"X: aaa"));
}

#[test]
fn pipelined() {
    let input = b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n\r\nGET /2 HTTP/1.1\r\nHost: b\r\n\r\n";
    let mut parser = RequestParser::new();
    let mut head = RequestHead::new();
    let opts = RequestOptions::default();
    let Ok(Progress::Done { consumed }) = parser.parse(input, &opts, &mut head) else { panic!("no head") };
    assert_eq!(head.uri.path(), b"/1");
    parser.reset();
    let rest = &input[consumed..];
    assert_eq!(parser.parse(rest, &opts, &mut head), Ok(Progress::Done { consumed: rest.len() }));
    assert_eq!((head.uri.path(), head.host.as_slice()), (&b"/2"[..], &b"b"[..]));
    assert_eq!(head.head_len, rest.len() - 2);
    assert_eq!(head.headers.len(), 1);
}

#[test]
fn idle() {
    let mut parser = RequestParser::new();
    let mut head = RequestHead::new();
    let opts = RequestOptions::default();
    assert!(parser.is_idle(b""));
    parser.parse(b"\r\n\r", &opts, &mut head).unwrap();
    assert!(parser.is_idle(b"\r\n\r"));
    parser.parse(b"\r\n\r\nG", &opts, &mut head).unwrap();
    assert!(!parser.is_idle(b"\r\n\r\nG"));
    assert!(!parser.has_request_line());
    parser.parse(b"\r\n\r\nGET / HTTP/1.1\r\n", &opts, &mut head).unwrap();
    assert!(parser.has_request_line() && !parser.is_idle(b""));
}

#[test]
fn refused_line_is_there_for_the_log() {
    let mut parser = RequestParser::new();
    let mut head = RequestHead::new();
    parser.parse(b"GET  / HTTP/1.1\r\n", &RequestOptions::default(), &mut head).unwrap_err();
    assert_eq!(text(head.request_line()), "GET  / HTTP/1.1");
    // a parser that has refused stays so
    assert!(parser.parse(b"GET / HTTP/1.1\r\n", &RequestOptions::default(), &mut head).is_err());
}

#[test]
fn lines_behind_the_host_are_read_as_its_server_says() {
    let first = RequestOptions { stop_at_host: true, ..RequestOptions::default() };
    let second = RequestOptions { underscores_in_headers: true, ..RequestOptions::default() };
    for request in [
        "GET / HTTP/1.1\r\na_a: 1\r\nHost: b\r\nc_c: 2\r\n\r\n",
        "GET http://b/ HTTP/1.1\r\na-a: 1\r\nc_c: 2\r\nHost: other\r\n\r\n",
    ] {
        let mut parser = RequestParser::new();
        let mut head = RequestHead::new();
        let mut opts = &first;
        for end in 0..=request.len() {
            let mut stops = 0;
            let done = loop {
                match parser.parse(&request.as_bytes()[..end], opts, &mut head).unwrap() {
                    Progress::Host => (stops, opts) = (stops + 1, &second),
                    progress => break progress != Progress::NeedMore,
                }
            };
            assert!(stops <= 1 && done == (end == request.len()), "{end} of {request:?}");
        }
        assert_eq!((opts, text(&head.host)), (&second, "b".into()));
        assert_eq!(head.headers.get(b"a_a"), None);
        assert_eq!(head.headers.get(b"c_c"), Some(&b"2"[..]), "{request:?}");
    }
}
