//! Messages whose end two readers could see in different places are refused and never forwarded. One name per class.

use kit::{Client, Gateway, Origin};

/// Requests that must get 400 (or the status given) and the end of the connection, and that no origin may see.
const REFUSED: &[(&str, &str, u16)] = &[
    (
        "length and transfer encoding",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET",
        400,
    ),
    (
        "transfer encoding and length",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nGET",
        400,
    ),
    ("two lengths", "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", 400),
    ("two equal lengths", "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400),
    ("a list of lengths", "Content-Length: 5, 5\r\n\r\nhello", 400),
    ("a signed length", "Content-Length: +5\r\n\r\nhello", 400),
    ("a negative length", "Content-Length: -5\r\n\r\nhello", 400),
    ("a hexadecimal length", "Content-Length: 0x5\r\n\r\nhello", 400),
    ("a length with an underscore", "Content-Length: 5_0\r\n\r\nhello", 400),
    ("an empty length", "Content-Length: \r\n\r\nhello", 400),
    ("a length with a blank inside", "Content-Length: 5 0\r\n\r\nhello", 400),
    ("a length beyond 64 bits", "Content-Length: 18446744073709551621\r\n\r\nhello", 400),
    ("a length beyond 63 bits", "Content-Length: 9223372036854775808\r\n\r\nhello", 400),
    ("chunked twice", "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 501),
    (
        "chunked in two fields",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    ("another coding first", "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    ("another coding alone", "Transfer-Encoding: gzip\r\n\r\nhello", 501),
    ("identity", "Transfer-Encoding: identity\r\n\r\nhello", 501),
    ("chunked with a tail", "Transfer-Encoding: chunkedx\r\n\r\n0\r\n\r\n", 501),
    ("chunked with a vertical tab", "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
    ("a blank before the colon", "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
    ("a blank before the colon of a length", "Content-Length : 5\r\n\r\nhello", 400),
    ("a folded field", "X-One: 1\r\n Transfer-Encoding: chunked\r\n\r\n", 400),
    ("a field without a colon", "Transfer-Encoding chunked\r\n\r\n", 400),
    ("an empty field name", ": value\r\n\r\n", 400),
    ("a NUL in a value", "X-One: a\0b\r\n\r\n", 400),
    ("a CR in a value", "X-One: a\rTransfer-Encoding: chunked\r\n\r\n", 400),
    ("a NUL in a name", "X-O\0ne: a\r\n\r\n", 400),
    ("two hosts", "Host: other\r\n\r\n", 400),
];

fn gateway(origin: &Origin) -> Gateway {
    let conf = "http { server { listen @0; location / { proxy_pass http://%0; } location /own { return 200 own; } } }";
    Gateway::start_with(conf, &[origin.addr], |_| {})
}

#[test]
fn ambiguous_requests_are_refused_and_not_forwarded() {
    let origin = Origin::fixed("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let gateway = gateway(&origin);
    for path in ["/", "/own"] {
        for (name, rest, status) in REFUSED {
            let mut client = Client::connect(gateway.addr(0));
            client.send(format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{rest}"));
            let answer = client.answer().unwrap_or_else(|| panic!("{name}: no answer"));
            assert_eq!(answer.status, *status, "{name}");
            assert_eq!(client.rest(), b"", "{name}: the connection ends with the answer");
        }
    }
    assert_eq!(origin.seen.all(), Vec::<String>::new(), "nothing was forwarded");
    gateway.quit();
}

/// Chunked bodies that break the framing: what came before may have been forwarded, but never as a complete request.
const BAD_CHUNKS: &[(&str, &str)] = &[
    ("a bare LF behind the size", "5\nhello\r\n0\r\n\r\n"),
    ("a bare CR behind the size", "5\rhello\r\n0\r\n\r\n"),
    ("a bare LF behind the data", "5\r\nhello\n0\r\n\r\n"),
    ("more data than the size says", "5\r\nhelloX\r\n0\r\n\r\n"),
    ("less data than the size says", "6\r\nhello\r\n0\r\n\r\n"),
    ("a signed size", "+5\r\nhello\r\n0\r\n\r\n"),
    ("a prefixed size", "0x5\r\nhello\r\n0\r\n\r\n"),
    ("a size with a blank before", " 5\r\nhello\r\n0\r\n\r\n"),
    ("a size with an underscore", "5_0\r\nhello\r\n0\r\n\r\n"),
    ("a size beyond 64 bits", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
    ("an empty size", "\r\nhello\r\n0\r\n\r\n"),
    ("an extension with a bare LF", "5;a\nb\r\nhello\r\n0\r\n\r\n"),
    ("an extension with a bare CR", "5;a\rb\r\nhello\r\n0\r\n\r\n"),
    ("a trailer with a blank before the colon", "0\r\nX-One : 1\r\n\r\n"),
];

#[test]
fn broken_chunks_never_make_a_complete_request() {
    let origin = Origin::fixed("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let gateway = gateway(&origin);
    for (name, chunks) in BAD_CHUNKS {
        let mut client = Client::connect(gateway.addr(0));
        client
            .send(format!("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"))
            .finish();
        let answer = client.answer().unwrap_or_else(|| panic!("{name}: no answer"));
        assert_eq!(answer.status, 400, "{name}");
        assert_eq!(client.rest(), b"", "{name}: the connection ends with the answer");
    }
    assert_eq!(origin.seen.all(), Vec::<String>::new(), "nothing was forwarded");
    gateway.quit();
}

#[test]
fn an_unread_body_is_not_the_next_request() {
    let origin = Origin::fixed("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let gateway = gateway(&origin);
    let inner = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for path in ["/own", "/"] {
        let mut client = Client::connect(gateway.addr(0));
        client.send(format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{inner}",
            inner.len()
        ));
        client.send("GET /own HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        assert_eq!(client.answer().expect("an answer to the first").status, 200);
        let second = client.answer().expect("an answer to the second");
        assert_eq!(second.text(), "own", "the body of {path} was not taken for a request");
        assert!(client.answer().is_none());
    }
    assert!(origin.seen.all().iter().all(|request| !request.starts_with("GET /smuggled")));
    gateway.quit();
}

#[test]
fn a_redirect_to_a_decoded_path_does_not_split_the_response() {
    let gateway = Gateway::start("http { server { listen @0; location / { return 302 http://x$uri; } } }");
    let answer = kit::get(gateway.addr(0), "/a%0d%0aSet-Cookie:%20evil=1");
    assert_eq!(answer.status, 302);
    assert_eq!(answer.header("Set-Cookie"), None, "{}", answer.head);
    gateway.quit();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let gateway = Gateway::start("http { server { listen @0; location / { return 200 $uri; } } }");
    let mut client = Client::connect(gateway.addr(0));
    let requests: String =
        (0..100).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: localhost\r\n\r\n")).collect();
    client.send(requests);
    for n in 0..100 {
        assert_eq!(client.answer().expect("an answer").text(), format!("/{n}"));
    }
    gateway.quit();
}

#[test]
fn a_head_in_single_bytes_is_a_head() {
    let gateway = Gateway::start("http { server { listen @0; location / { return 200 $http_x_one; } } }");
    let mut client = Client::connect(gateway.addr(0));
    for byte in b"GET / HTTP/1.1\r\nHost: localhost\r\nX-One: slow\r\n\r\n" {
        client.send([*byte]);
    }
    assert_eq!(client.answer().expect("an answer").text(), "slow");
    gateway.quit();
}

#[test]
fn garbage_is_refused_without_harm() {
    let gateway = Gateway::start("http { server { listen @0; location / { return 200 ok; } } }");
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"\0\0\0\0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &[0xff; 5000],
    ] {
        let mut client = Client::connect(gateway.addr(0));
        client.send(garbage).finish();
        let _ = client.rest();
    }
    assert_eq!(kit::get(gateway.addr(0), "/").status, 200);
    gateway.quit();
}
