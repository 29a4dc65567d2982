//! Upstreams that fail: what the client must see, what must never be sent twice, and what must never reach anybody.

use std::io::Write;
use std::net::{Shutdown, SocketAddr};

use kit::{Client, Gateway, Origin, Places, read_request};

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi";

fn gateway(settings: &str, origins: &[SocketAddr]) -> Gateway {
    let servers: String = (0..origins.len()).map(|n| format!("server %{n} max_fails=0; ")).collect();
    let conf = format!(
        "http {{ upstream u {{ {servers} keepalive 8; }}
         server {{ listen @0; location / {{ proxy_pass http://u; proxy_read_timeout 1s; {settings} }} }} }}"
    );
    Gateway::start_with(&conf, origins, |_| {})
}

/// A gateway that would wait for an answer longer than any test.
fn patient_gateway(origin: SocketAddr) -> Gateway {
    let conf = "http { server { listen @0; location / { proxy_pass http://%0; proxy_read_timeout 60s; } } }";
    Gateway::start_with(conf, &[origin], |_| {})
}

fn ok() -> Origin {
    Origin::fixed("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
}

/// An origin that reads the request and ends the connection without a byte.
fn silent() -> Origin {
    Origin::once("")
}

#[test]
fn a_refusing_server_is_passed_over_for_every_method() {
    let nobody = Places::address();
    let other = ok();
    let gateway = gateway("", &[nobody, other.addr]);
    for request in [GET, POST, GET, POST] {
        assert_eq!(kit::request(gateway.addr(0), request).status, 200, "{request}");
    }
    assert_eq!(other.seen.all().len(), 4);
    gateway.quit();
}

#[test]
fn nobody_listening_is_a_502() {
    let gateway = gateway("", &[Places::address()]);
    assert_eq!(kit::request(gateway.addr(0), GET).status, 502);
    gateway.quit();
}

#[test]
fn a_request_without_effect_goes_to_the_next_server_and_one_with_effect_never_twice() {
    let (first, second) = (silent(), silent());
    let gateway = gateway("", &[first.addr, second.addr]);
    assert_eq!(kit::request(gateway.addr(0), GET).status, 502);
    assert_eq!((first.seen.all().len(), second.seen.all().len()), (1, 1), "a GET is tried everywhere");
    for n in 1..=4 {
        assert_eq!(kit::request(gateway.addr(0), POST).status, 502);
        let posts =
            |origin: &Origin| origin.seen.all().iter().filter(|request| request.starts_with("POST")).count();
        assert_eq!(posts(&first) + posts(&second), n, "a POST is sent once");
    }
    gateway.quit();
}

#[test]
fn a_stale_connection_is_tried_again() {
    // answers once per connection, and closes without saying so
    let origin = Origin::once("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let gateway = gateway("", &[origin.addr]);
    for _ in 0..20 {
        assert_eq!(kit::request(gateway.addr(0), GET).status, 200);
    }
    gateway.quit();
}

/// Answers that are a 502.
const BAD_ANSWERS: &[(&str, &str)] = &[
    ("garbage", "this is not HTTP\r\n\r\n"),
    ("binary garbage", "\x16\x03\x01\x00\x05hello\r\n\r\n"),
    ("an answer of HTTP/0.9", "<html>hello</html>"),
    ("a cut head", "HTTP/1.1 200 OK\r\nContent-Le"),
    ("nothing", ""),
    (
        "length and transfer encoding",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!"),
    ("a bad length", "HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok"),
    ("a signed length", "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok"),
    ("another coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok"),
    ("chunked twice", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    (
        "a switch nobody asked for",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ),
    ("a NUL in a field", "HTTP/1.1 200 OK\r\nX-One: a\0b\r\nContent-Length: 2\r\n\r\nok"),
    ("a blank before the colon", "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok"),
    ("a status of two digits", "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok"),
];

#[test]
fn answers_that_are_none_are_a_502() {
    for (name, answer) in BAD_ANSWERS {
        let origin = Origin::once(*answer);
        let gateway = gateway("", &[origin.addr]);
        assert_eq!(kit::request(gateway.addr(0), GET).status, 502, "{name}");
        gateway.quit();
    }
}

#[test]
fn a_head_larger_than_the_buffer_is_a_502() {
    let origin = Origin::once(format!("HTTP/1.1 200 OK\r\nX-Long: {}\r\n\r\n", "x".repeat(100_000)));
    let gateway = gateway("", &[origin.addr]);
    assert_eq!(kit::request(gateway.addr(0), GET).status, 502);
    assert!(
        gateway
            .error_log()
            .contains("upstream sent too big header while reading response header from upstream")
    );
    gateway.quit();
}

/// Bodies that end before their time: the client must not take them for complete.
const CUT_BODIES: &[(&str, &str)] = &[
    ("short of its length", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"),
    ("without a last chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
    ("in a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhello"),
    ("in a chunk's size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nf"),
    ("with a broken chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n"),
];

#[test]
fn a_cut_body_is_seen_to_be_cut() {
    for (name, answer) in CUT_BODIES {
        for buffering in ["on", "off"] {
            let origin = Origin::once(*answer);
            let gateway = gateway(&format!("proxy_buffering {buffering};"), &[origin.addr]);
            let mut client = Client::connect(gateway.addr(0));
            client.send(GET);
            match client.answer() {
                Some(answer) if answer.status == 200 => {
                    assert!(!answer.complete, "{name}, buffering {buffering}")
                }
                Some(answer) => assert_eq!(answer.status, 502, "{name}, buffering {buffering}"),
                None => {}
            }
            gateway.quit();
        }
    }
}

#[test]
fn a_server_that_never_answers_is_a_504() {
    let origin = Origin::script(|stream, seen| {
        while let Some(request) = read_request(stream) {
            seen.add(request);
        }
    });
    let gateway = gateway("", &[origin.addr]);
    assert_eq!(kit::request(gateway.addr(0), GET).status, 504);
    gateway.quit();
}

#[test]
fn bytes_behind_a_body_reach_nobody() {
    let origin = Origin::script(|stream, seen| {
        while let Some(request) = read_request(stream) {
            let answer = if request.starts_with(b"GET /first") {
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong"
            } else {
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
            };
            seen.add(request);
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    });
    let gateway = gateway("", &[origin.addr]);
    for target in ["/first", "/second", "/first", "/third"] {
        let answer = kit::get(gateway.addr(0), target);
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "{target}");
    }
    gateway.quit();
}

#[test]
fn interim_answers_are_not_the_answer() {
    let origin = Origin::fixed("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let gateway = gateway("", &[origin.addr]);
    for _ in 0..3 {
        let answer = kit::request(gateway.addr(0), POST);
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    }
    gateway.quit();
}

#[test]
fn a_body_until_close_is_passed_on_whole() {
    let origin = Origin::once(format!("HTTP/1.0 200 OK\r\n\r\n{}", "x".repeat(200_000)));
    let gateway = gateway("", &[origin.addr]);
    let answer = kit::request(gateway.addr(0), GET);
    assert_eq!((answer.status, answer.body.len(), answer.complete), (200, 200_000, true));
    gateway.quit();
}

#[test]
fn an_early_answer_is_delivered() {
    let origin = Origin::script(|stream, seen| {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n")
            && std::io::Read::read(stream, &mut byte).is_ok_and(|count| count > 0)
        {
            head.push(byte[0]);
        }
        seen.add(head);
        // the body is not read: an answer, and the end
        let _ =
            stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig");
        let _ = stream.shutdown(Shutdown::Write);
        let mut rest = Vec::new();
        let _ = std::io::Read::read_to_end(stream, &mut rest);
    });
    for settings in ["", "proxy_request_buffering off;"] {
        let gateway = gateway(&format!("client_max_body_size 0; {settings}"), &[origin.addr]);
        let mut client = Client::connect(gateway.addr(0));
        client
            .send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n")
            .send(vec![b'x'; 3_000_000]);
        let answer = client.answer().expect("the early answer");
        assert_eq!((answer.status, answer.text().as_str()), (413, "big"), "{settings}");
        gateway.quit();
    }
}

#[test]
fn a_client_that_leaves_is_noticed_upstream() {
    let (sender, gone) = std::sync::mpsc::channel();
    let sender = std::sync::Mutex::new(sender);
    let origin = Origin::script(move |stream, seen| {
        let Some(request) = read_request(stream) else { return };
        seen.add(request);
        // no answer: the next thing to come must be the end
        let next = read_request(stream);
        let sender = sender.lock().expect("no origin panics");
        sender.send(next.is_none()).expect("the test listens");
    });
    let gateway = patient_gateway(origin.addr);
    let mut client = Client::connect(gateway.addr(0));
    client.send(GET);
    while origin.seen.all().is_empty() {
        std::thread::yield_now();
    }
    drop(client);
    assert_eq!(gone.recv_timeout(kit::WAIT_MAX), Ok(true));
    gateway.quit();
}

/// Sends `pieces` one after the other, so many milliseconds apart, until nobody listens any more.
fn drip(stream: &mut std::net::TcpStream, pieces: impl Iterator<Item = u8>) {
    for byte in pieces {
        if stream.write_all(&[byte]).is_err() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn a_head_that_trickles_is_a_504_in_time() {
    let origin = Origin::script(|stream, seen| {
        let Some(request) = read_request(stream) else { return };
        seen.add(request);
        let head = b"HTTP/1.1 200 OK\r\nX-Slow: ".iter().copied();
        drip(stream, head.chain(std::iter::repeat_n(b'x', 1000)));
    });
    let gateway = gateway("", &[origin.addr]);
    let start = std::time::Instant::now();
    assert_eq!(kit::request(gateway.addr(0), GET).status, 504);
    assert!(start.elapsed().as_secs() < 5, "the read timeout of 1 s is for the whole head");
    gateway.quit();
}

#[test]
fn a_request_body_that_trickles_is_a_408_in_time() {
    let origin = ok();
    let conf = "http { server { listen @0; client_body_timeout 500ms; client_body_min_rate 1k;
        location / { proxy_pass http://%0; } } }";
    let gateway = Gateway::start_with(conf, &[origin.addr], |_| {});
    let mut client = std::net::TcpStream::connect(gateway.addr(0)).expect("the gateway listens");
    let head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n";
    client.write_all(head).expect("a connection");
    let start = std::time::Instant::now();
    drip(&mut client, std::iter::repeat_n(b'x', 1000));
    assert!(start.elapsed().as_secs() < 5, "it was cut off");
    assert_eq!(origin.seen.all().len(), 0, "nothing was passed on");
    gateway.quit();
}

#[test]
fn an_early_answer_with_a_reset_behind_it_is_delivered() {
    let origin = Origin::script(|stream, seen| {
        let mut some = [0; 1000];
        let Ok(count @ 1..) = std::io::Read::read(stream, &mut some) else { return };
        seen.add(some[..count].to_vec());
        // unread bytes make the close a reset
        let _ = stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig");
    });
    for settings in ["", "proxy_request_buffering off;"] {
        let gateway = gateway(&format!("client_max_body_size 0; {settings}"), &[origin.addr]);
        let mut client = Client::connect(gateway.addr(0));
        client
            .send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n")
            .send(vec![b'x'; 3_000_000]);
        let answer = client.answer().expect("the early answer");
        assert_eq!((answer.status, answer.text().as_str()), (413, "big"), "{settings}");
        gateway.quit();
    }
}

#[test]
fn a_request_with_effect_that_was_answered_is_never_sent_twice() {
    let answer = "HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nno";
    let (first, second) = (Origin::fixed(answer), Origin::fixed(answer));
    let gateway = gateway("proxy_next_upstream http_503;", &[first.addr, second.addr]);
    for n in 1..=4 {
        assert_eq!(kit::request(gateway.addr(0), POST).status, 503);
        assert_eq!(first.seen.all().len() + second.seen.all().len(), n);
    }
    gateway.quit();
}
