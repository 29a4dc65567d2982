use super::*;

type Outcome = Result<Option<(ResponseHead, Vec<u8>)>, ResponseError>;

fn parse_by(input: &[u8], step: usize, opts: &ResponseOptions) -> Outcome {
    let mut parser = ResponseParser::new();
    let mut head = ResponseHead::new();
    let mut end = 0;
    while end < input.len() {
        end = input.len().min(end + step);
        if let Progress::Done { consumed } = parser.parse(&input[..end], opts, &mut head)? {
            return Ok(Some((head, input[consumed..].to_vec())));
        }
    }
    Ok(None)
}

fn parse_with(input: &[u8], opts: &ResponseOptions) -> Outcome {
    let whole = parse_by(input, input.len().max(1), opts);
    for step in [1, 2, 5, 64] {
        let pieces = parse_by(input, step, opts);
        assert_eq!(
            format!("{pieces:?}"),
            format!("{whole:?}"),
            "{:?} by {step}",
            String::from_utf8_lossy(input)
        );
    }
    whole
}

fn accept_with(input: &str, opts: &ResponseOptions) -> ResponseHead {
    match parse_with(input.as_bytes(), opts) {
        Ok(Some((head, _))) => head,
        other => panic!("{input:?}: {other:?}"),
    }
}

fn accept(input: &str) -> ResponseHead {
    accept_with(input, &ResponseOptions::default())
}

#[test]
fn a_usual_response() {
    let head = accept("HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\nServer: x\r\n\r\nhello");
    assert_eq!((head.status, head.version), (404, Version::HTTP_11));
    assert_eq!((head.status_line(), head.reason()), (&b"404 Not Found"[..], &b"Not Found"[..]));
    assert_eq!((head.framing, head.content_length), (Framing::Length(5), Some(5)));
    assert_eq!(head.headers.len(), 2);
    assert!(head.keep_alive() && !head.is_interim());
}

#[test]
fn status_lines() {
    let good: &[(&str, u16, &str)] = &[
        ("HTTP/1.1 200 OK", 200, "OK"),
        ("HTTP/1.1 200 ", 200, ""),
        ("HTTP/1.1 200", 200, ""),
        ("HTTP/1.0 200 OK", 200, "OK"),
        ("HTTP/1.2 200 OK", 200, "OK"),
        ("HTTP/1.1 999 Go away", 999, "Go away"),
        ("HTTP/1.1 200 \u{e9}t\u{e9}", 200, "\u{e9}t\u{e9}"),
        ("HTTP/1.1 200  two", 200, " two"),
    ];
    for (line, status, reason) in good {
        for end in ["\r\n", "\n"] {
            let head = accept(&format!("{line}{end}{end}"));
            assert_eq!(
                (head.status, String::from_utf8_lossy(head.reason()).as_ref()),
                (*status, *reason),
                "{line}"
            );
        }
    }
    let bad: &[&[u8]] = &[
        b"garbage\r\n\r\n",
        b"\r\nHTTP/1.1 200 OK\r\n\r\n",
        b" HTTP/1.1 200 OK\r\n\r\n",
        b"http/1.1 200 OK\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/0.9 200 OK\r\n\r\n",
        b"HTTP/1.10 200 OK\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"HTTP/1.1\t200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/1.1 000 OK\r\n\r\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"HTTP/1.1 200OK\r\n\r\n",
        b"HTTP/1.1 403.1 IIS\r\n\r\n",
        b"HTTP/1.1 200\tOK\r\n\r\n",
        b"HTTP/1.1 200 O\0K\r\n\r\n",
        b"HTTP/1.1 200 O\rK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\r\n\r\n",
        b"HTTP/1.1 +20 OK\r\n\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 \r\n\r\n",
        b"<html>",
        b"SSH-2.0-x",
        b"ICY 200 OK\r\n\r\n",
        b"HTTQ",
    ];
    for input in bad {
        let error = parse_with(input, &ResponseOptions::default()).unwrap_err();
        assert_eq!(error, ResponseError::NoStatusLine, "{:?}", String::from_utf8_lossy(input));
        assert_eq!(error.to_string(), "upstream sent no valid HTTP/1.0 header");
    }
}

#[test]
fn framing() {
    let default = ResponseOptions::default();
    let head = ResponseOptions { head: true, ..ResponseOptions::default() };
    let upgrade = ResponseOptions { upgrade: true, ..ResponseOptions::default() };
    let cases: &[(&ResponseOptions, &str, &str, Framing, bool)] = &[
        (&default, "200 OK", "Content-Length: 0\r\n", Framing::Length(0), true),
        (&default, "200 OK", "Content-Length: 5\r\n", Framing::Length(5), true),
        (&default, "200 OK", "Transfer-Encoding: chunked\r\n", Framing::Chunked, true),
        (&default, "200 OK", "Transfer-Encoding: Chunked\r\n", Framing::Chunked, true),
        (&default, "200 OK", "", Framing::UntilClose, false),
        (&default, "200 OK", "Connection: close\r\nContent-Length: 5\r\n", Framing::Length(5), false),
        (&default, "204 No Content", "", Framing::None, true),
        (&default, "204 No Content", "Content-Length: 5\r\n", Framing::None, true),
        (&default, "204 No Content", "Transfer-Encoding: chunked\r\n", Framing::None, true),
        (&default, "304 Not Modified", "Content-Length: 5\r\n", Framing::None, true),
        (&default, "304 Not Modified", "", Framing::None, true),
        (&head, "200 OK", "Content-Length: 5\r\n", Framing::None, true),
        (&head, "200 OK", "", Framing::None, true),
        (&head, "200 OK", "Transfer-Encoding: chunked\r\n", Framing::None, true),
        (&upgrade, "101 Switching Protocols", "Upgrade: x\r\n", Framing::None, false),
        (&upgrade, "200 OK", "Content-Length: 5\r\n", Framing::Length(5), true),
        (&default, "100 Continue", "", Framing::None, true),
        (&default, "103 Early Hints", "Content-Length: 5\r\nTransfer-Encoding: x\r\n", Framing::None, true),
    ];
    for (opts, status, fields, framing, keep_alive) in cases {
        let head = accept_with(&format!("HTTP/1.1 {status}\r\n{fields}\r\n"), opts);
        assert_eq!(head.framing, *framing, "{status} {fields}");
        assert_eq!(head.keep_alive(), *keep_alive, "{status} {fields}");
    }
    assert!(!accept("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n").keep_alive());
    assert!(accept("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\n").keep_alive());
}

#[test]
fn refused() {
    let cases: &[(&str, &[u8], &str)] = &[
        (
            "CL and TE",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "\"Content-Length\" and \"Transfer-Encoding\" headers at the same time",
        ),
        (
            "TE and CL",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
            "\"Content-Length\" and \"Transfer-Encoding\" headers at the same time",
        ),
        (
            "CL and TE with 204",
            b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
            "\"Content-Length\" and \"Transfer-Encoding\" headers at the same time",
        ),
        (
            "two lengths",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "duplicate header line: \"Content-Length: 6\", previous value: \"Content-Length: 5\"",
        ),
        (
            "the same length twice",
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
            "duplicate header line: \"Content-Length: 0\", previous value: \"Content-Length: 0\"",
        ),
        (
            "TE twice",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "duplicate header line: \"Transfer-Encoding: chunked\", previous value: \"Transfer-Encoding: chunked\"",
        ),
        (
            "no number",
            b"HTTP/1.1 200 OK\r\nContent-Length: foo\r\n\r\n",
            "invalid \"Content-Length\" header: \"Content-Length: foo\"",
        ),
        (
            "list",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n",
            "invalid \"Content-Length\" header: \"Content-Length: 5, 5\"",
        ),
        (
            "plus",
            b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
            "invalid \"Content-Length\" header: \"Content-Length: +5\"",
        ),
        (
            "empty",
            b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
            "invalid \"Content-Length\" header: \"Content-Length: \"",
        ),
        (
            "overflow",
            b"HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775808\r\n\r\n",
            "invalid \"Content-Length\" header: \"Content-Length: 9223372036854775808\"",
        ),
        (
            "other coding",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: foo\r\n\r\n",
            "unknown \"Transfer-Encoding\": \"foo\"",
        ),
        (
            "coding before chunked",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "unknown \"Transfer-Encoding\": \"gzip, chunked\"",
        ),
        (
            "TE in HTTP/1.0",
            b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.0 response with \"Transfer-Encoding\" header",
        ),
        ("101 not asked for", b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", "unexpected 101 response"),
        ("103 in HTTP/1.0", b"HTTP/1.0 103 Early\r\n\r\n", "HTTP/1.0 response with early hints"),
        ("blank before the colon", b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n", "invalid header: \"X\\x20...\""),
        ("obs-fold", b"HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n", "invalid header: \"\\x20...\""),
        ("no colon", b"HTTP/1.1 200 OK\r\nXYZ\r\n\r\n", "invalid header: \"XYZ\\x0d...\""),
        ("empty name", b"HTTP/1.1 200 OK\r\n: y\r\n\r\n", "invalid header: \"\\x3a...\""),
        ("NUL in a value", b"HTTP/1.1 200 OK\r\nX: a\0\r\n\r\n", "invalid header: \"X: a\\x00...\""),
        ("CR in a value", b"HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n", "invalid header: \"X: a\\x0d...\""),
        (
            "second status line",
            b"HTTP/1.1 200 OK\r\nHTTP/1.1 200 OK\r\n\r\n",
            "invalid header: \"HTTP\\x2f...\"",
        ),
    ];
    for (name, input, message) in cases {
        match parse_with(input, &ResponseOptions::default()) {
            Err(error) => assert_eq!(error.to_string(), format!("upstream sent {message}"), "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn names_of_any_token() {
    let head = accept("HTTP/1.1 200 OK\r\nx_y.z~: 1\r\n\r\n");
    assert_eq!(head.headers.get(b"X_Y.Z~"), Some(&b"1"[..]));
}

#[test]
fn repeated_fields() {
    let input = "HTTP/1.1 200 OK\r\nExpires: foo\r\nExpires: bar\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nServer: x\r\nserver: y\r\n\r\n";
    let head = accept(input);
    assert_eq!(head.headers.get_all(b"expires").collect::<Vec<_>>(), [b"foo"]);
    assert_eq!(head.headers.get_all(b"set-cookie").count(), 2);
    assert_eq!(head.headers.get_all(b"server").count(), 1);
    let ignored: Vec<_> =
        head.ignored.iter().map(|line| &input[line.start as usize..line.end as usize]).collect();
    assert_eq!(ignored, ["Expires: bar", "server: y"]);
}

#[test]
fn interim_heads() {
    let input = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 \nLink: <x>\n\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let mut parser = ResponseParser::new();
    let mut head = ResponseHead::new();
    let opts = ResponseOptions::default();
    let mut at = 0;
    for status in [100, 103, 200] {
        let Ok(Progress::Done { consumed }) = parser.parse(&input[at..], &opts, &mut head) else {
            panic!("{status}")
        };
        assert_eq!((head.status, head.is_interim()), (status, status != 200));
        at += consumed;
        parser.reset_after_interim();
    }
    assert_eq!(at, input.len());

    parser.reset();
    for _ in 0..INTERIM_HEADS_MAX {
        parser.parse(b"HTTP/1.1 100 Continue\r\n\r\n", &opts, &mut head).unwrap();
        parser.reset_after_interim();
    }
    let flooded = parser.parse(b"HTTP/1.1 100 Continue\r\n\r\n", &opts, &mut head);
    assert_eq!(flooded, Err(ResponseError::TooManyInterim));
}

#[test]
fn field_count() {
    let opts = ResponseOptions { max_headers: 3, ..ResponseOptions::default() };
    let response = |count: usize| format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(count));
    assert!(parse_with(response(3).as_bytes(), &opts).is_ok());
    assert_eq!(parse_with(response(4).as_bytes(), &opts).unwrap_err(), ResponseError::TooManyHeaders);
}
